//! Holds the code to the tables in the crate doc: imports point down, pure modules stay pure, and each crate is used by whom it is for; it says nothing of behaviour.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

struct Layer {
    /// Counted from the ground.
    floor: usize,
    uses: BTreeSet<String>,
    without: Vec<String>,
}

/// Who may use a crate; `None` is everybody.
type Users = Option<BTreeSet<String>>;

fn words(cell: &str) -> impl Iterator<Item = String> + '_ {
    cell.split(',').map(|w| w.trim().trim_matches('`').to_owned()).filter(|w| !w.is_empty())
}

/// The rows of the crate doc's table with so many columns.
fn rows(columns: usize) -> Vec<Vec<String>> {
    let text = fs::read_to_string("src/lib.rs").expect("lib.rs");
    let rows = text.lines().filter_map(|l| l.strip_prefix("//! | `"));
    let rows = rows.map(|row| {
        let cells: Vec<String> = row.split('|').map(|cell| cell.trim().to_owned()).collect();
        cells[..cells.len() - 1].to_vec()
    });
    rows.filter(|cells| cells.len() == columns).collect()
}

fn layers() -> BTreeMap<String, Layer> {
    let rows = rows(3).into_iter().enumerate();
    rows.map(|(floor, cells)| {
        let layer = Layer { floor, uses: words(&cells[1]).collect(), without: words(&cells[2]).collect() };
        (cells[0].trim_matches('`').to_owned(), layer)
    })
    .collect()
}

fn crates() -> BTreeMap<String, Users> {
    let rows = rows(2).into_iter();
    rows.map(|cells| {
        let users = (cells[1] != "any").then(|| words(&cells[1]).collect());
        (cells[0].trim_matches('`').to_owned(), users)
    })
    .collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

struct Line<'t> {
    number: usize,
    text: &'t str,
    /// Whether it belongs to the tests of its module.
    is_test: bool,
}

/// The lines of a file but for comments.
fn code<'t>(file: &Path, text: &'t str) -> Vec<Line<'t>> {
    let is_test_file = file.components().any(|c| c.as_os_str() == "tests" || c.as_os_str() == "tests.rs");
    let mut of_test = false;
    let mut lines = Vec::new();
    for (i, line) in text.lines().enumerate() {
        of_test |= line == "#[cfg(test)]";
        if !line.trim_start().starts_with("//") {
            lines.push(Line { number: i + 1, text: line, is_test: is_test_file || of_test });
        }
        // What the attribute stands before ends with the first of these at the line's begin.
        let is_end = line.starts_with('}') || (!line.starts_with([' ', '#']) && line.ends_with(';'));
        of_test &= !is_end;
    }
    lines
}

/// The modules that lines name after `crate::`, alone or in braces, with their lines.
fn imports<'l>(lines: &'l [Line<'_>]) -> Vec<(&'l Line<'l>, String)> {
    let mut found = Vec::new();
    let mut depth = 0;
    for line in lines {
        for token in tokens(line.text) {
            match (token.as_str(), depth) {
                ("crate::{", _) => depth = 1,
                ("{", 1..) => depth += 1,
                ("}", 1..) => depth -= 1,
                (path, 0) => found.extend(path.strip_prefix("crate::").map(|p| (line, p.to_owned()))),
                (name, 1) => found.push((line, name.to_owned())),
                _ => {}
            }
        }
    }
    // `crate::a::b` and `a::b` are both about `a`.
    found.into_iter().map(|(n, path)| (n, path.split("::").next().unwrap_or_default().to_owned())).collect()
}

/// Splits a line into braces and paths; `crate::{` is one token.
fn tokens(line: &str) -> Vec<String> {
    let mut tokens = vec![String::new()];
    for c in line.chars() {
        match c {
            '{' if tokens.last().is_some_and(|t| t == "crate::") => tokens.last_mut().expect("one at least").push('{'),
            '{' | '}' => tokens.extend([c.to_string(), String::new()]),
            c if c.is_alphanumeric() || matches!(c, '_' | ':') => {
                if tokens.last().is_some_and(|t| t.ends_with('{')) {
                    tokens.push(String::new());
                }
                tokens.last_mut().expect("one at least").push(c);
            }
            _ => tokens.push(String::new()),
        }
    }
    tokens.retain(|t| !t.is_empty());
    tokens
}

/// Whether a line names a crate: at the begin of a path, or in a `use` of its own.
fn names_crate(line: &str, name: &str) -> bool {
    let line = line.trim();
    let whole = format!("use {name}");
    let path = format!("{name}::");
    let is_begin = |before: &str| {
        let before = before.trim_end_matches("::").chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_')
    };
    let starts_path = line.match_indices(&path).any(|(at, _)| is_begin(&line[..at]));
    starts_path || line.strip_prefix(&whole).is_some_and(|rest| rest.starts_with([';', ' ']))
}

/// What in a file's lines is against the tables.
fn offences(
    file: &Path,
    text: &str,
    layers: &BTreeMap<String, Layer>,
    crates: &BTreeMap<String, Users>,
) -> Vec<String> {
    let relative = file.strip_prefix("src").unwrap_or(file);
    let module = relative.components().next().expect("a name").as_os_str().to_str().expect("UTF-8");
    let module = module.trim_end_matches(".rs");
    let Some(layer) = layers.get(module) else { return vec![format!("{} is in no layer", file.display())] };
    let lines = code(relative, text);
    let mut wrong = Vec::new();
    for (line, used) in imports(&lines) {
        let Some(below) = layers.get(&used).filter(|_| used != module) else { continue };
        // Its tests may lean on all that is below it.
        let may = if line.is_test { below.floor < layer.floor } else { layer.uses.contains(&used) };
        if !may {
            wrong.push(format!("{}:{}: {module} must not use {used}", file.display(), line.number));
        }
    }
    for line in lines.iter().filter(|line| !line.is_test) {
        for word in layer.without.iter().filter(|word| line.text.contains(word.as_str())) {
            wrong.push(format!("{}:{}: {module} does without {word}", file.display(), line.number));
        }
        for (name, users) in crates {
            if users.as_ref().is_some_and(|users| !users.contains(module)) && names_crate(line.text, name) {
                wrong.push(format!("{}:{}: {module} must not use the crate {name}", file.display(), line.number));
            }
        }
    }
    wrong
}

#[test]
fn the_code_keeps_to_the_tables() {
    let (layers, crates) = (layers(), crates());
    assert!(layers.len() > 15 && crates.len() > 15, "the tables of lib.rs were not found");
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| !file.ends_with("src/lib.rs") && !file.ends_with("src/main.rs")) {
        let text = fs::read_to_string(file).unwrap();
        let opens = text.starts_with("//! ") || text.starts_with("#![");
        assert!(opens, "{} does not open with what it defines", file.display());
        wrong.extend(offences(file, &text, &layers, &crates));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_table_itself_points_down() {
    let layers = layers();
    for (module, layer) in &layers {
        for used in &layer.uses {
            let below = layers.get(used).unwrap_or_else(|| panic!("{module} uses {used}, which is in no layer"));
            assert!(below.floor < layer.floor, "{module} uses {used}, which stands below it in the table");
        }
    }
}

#[test]
fn every_dependency_has_its_users() {
    let manifest = fs::read_to_string("Cargo.toml").expect("Cargo.toml");
    let mut dependencies = BTreeSet::new();
    let mut are_ours = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            are_ours = line.ends_with("dependencies]") && line != "[dev-dependencies]";
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| are_ours && !line.starts_with('#')) {
            dependencies.insert(name.replace('-', "_"));
        }
    }
    assert_eq!(crates().into_keys().collect::<BTreeSet<_>>(), dependencies);
    let layers = layers();
    for (name, users) in crates() {
        for user in users.iter().flatten() {
            assert!(layers.contains_key(user), "{user}, who may use {name}, is in no layer");
        }
    }
}

#[test]
fn the_check_can_fail() {
    let text = "use crate::{\n    pool::{self, Pool},\n    ui,\n};\nuse ratatui::style::Style;\nuse tokio;\n\
                #[cfg(test)]\nmod tests;\nfn f() { crate::engine::x(Instant::now()); our_openssl::y(); ::toml::z() }\n\
                #[cfg(test)]\nmod more {\n    use crate::{run, text};\n    use ratatui::text;\n}\n";
    let wrong = offences(Path::new("src/lifecycle/x.rs"), text, &layers(), &crates());
    let wrong: Vec<&str> = wrong.iter().map(|w| w.strip_prefix("src/lifecycle/x.rs:").unwrap()).collect();
    assert_eq!(
        wrong,
        [
            "2: lifecycle must not use pool",
            "3: lifecycle must not use ui",
            "9: lifecycle must not use engine",
            "12: lifecycle must not use run",
            "5: lifecycle must not use the crate ratatui",
            "6: lifecycle must not use the crate tokio",
            "9: lifecycle does without Instant::now",
            "9: lifecycle must not use the crate toml",
        ]
    );
}
