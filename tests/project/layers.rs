//! Holds the code to the layer table in the crate doc: imports point down, and pure floors stay pure; it says nothing of behaviour.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

struct Layer {
    floor: u32,
    uses: BTreeSet<String>,
    without: Vec<String>,
}

fn words(cell: &str) -> impl Iterator<Item = String> + '_ {
    cell.split(',').map(|w| w.trim().trim_matches('`').to_owned()).filter(|w| !w.is_empty())
}

fn table() -> BTreeMap<String, Layer> {
    let text = fs::read_to_string("src/lib.rs").expect("lib.rs");
    let rows = text.lines().filter_map(|l| l.strip_prefix("//! | ")).filter(|l| l.starts_with(char::is_numeric));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_end_matches('|').split('|').map(str::trim).collect();
        let [floor, module, uses, without] = cells[..] else { panic!("not four cells: {row}") };
        let layer = Layer {
            floor: floor.parse().expect("a floor"),
            uses: words(uses).collect(),
            without: words(without).collect(),
        };
        (module.trim_matches('`').to_owned(), layer)
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

/// The lines of the program itself: comments and the tests at a file's end do not count.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, l)| !l.starts_with("#[cfg(test)]"))
        .filter(|(_, l)| !l.trim_start().starts_with("//"))
        .map(|(i, l)| (i + 1, l))
}

/// The modules that a file names after `crate::`, alone or in braces, with the line.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut depth = 0;
    for (number, line) in code(text) {
        for token in tokens(line) {
            match (token.as_str(), depth) {
                ("crate::{", _) => depth = 1,
                ("{", 1..) => depth += 1,
                ("}", 1..) => depth -= 1,
                (path, 0) => found.extend(path.strip_prefix("crate::").map(|p| (number, p.to_owned()))),
                (name, 1) => found.push((number, name.to_owned())),
                _ => {}
            }
        }
    }
    // `crate::a::b` and `a::b` are both about `a`.
    found.iter().map(|(n, path)| (*n, path.split("::").next().unwrap_or_default().to_owned())).collect()
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

#[test]
fn the_code_keeps_to_the_layer_table() {
    let table = table();
    assert!(table.len() > 15, "the table of lib.rs was not found");
    let modules: BTreeSet<&str> = table.keys().map(String::as_str).collect();
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut wrong = Vec::new();
    let mut checked = 0;
    for file in files {
        let relative = file.strip_prefix("src").unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        let text = fs::read_to_string(&file).unwrap();
        if module == "lib" || module == "main" {
            continue;
        }
        let in_test_file = relative.file_stem().is_some_and(|s| s == "tests");
        assert!(
            text.starts_with("//! ") || text.starts_with("#!["),
            "{} does not open with what it defines",
            file.display()
        );
        let layer = table.get(module).unwrap_or_else(|| panic!("{} is in no layer", file.display()));
        if in_test_file {
            continue;
        }
        for (line, used) in imports(&text) {
            checked += 1;
            if used == module || !modules.contains(used.as_str()) {
                continue;
            }
            if !layer.uses.contains(&used) {
                wrong.push(format!("{}:{line}: {module} must not use {used}", file.display()));
            }
        }
        for (line, content) in code(&text) {
            for word in &layer.without {
                let path = format!("{word}::");
                let found = if word.contains([':', '&']) || word == "Mutex" {
                    content.contains(word.as_str())
                } else {
                    content.contains(&path) && !content.contains(&format!("_{path}"))
                };
                if found {
                    wrong.push(format!("{}:{line}: {module} does without {word}", file.display()));
                }
            }
        }
    }
    assert!(checked > 50, "imports were not found");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_table_itself_points_down() {
    let table = table();
    for (module, layer) in &table {
        for used in &layer.uses {
            let below = table.get(used).unwrap_or_else(|| panic!("{module} uses {used}, which is in no layer"));
            let same_floor_words = layer.floor == 1 && below.floor == 1 || layer.floor == 6 && below.floor == 6;
            assert!(below.floor < layer.floor || same_floor_words, "{module} uses {used} of its own floor or above");
        }
    }
}

#[test]
fn the_check_can_fail() {
    let text = "use crate::{\n    pool::{self, Pool},\n    ui,\n};\nfn f() { crate::engine::x() }\n";
    let found: Vec<String> = imports(text).into_iter().map(|(_, m)| m).collect();
    assert_eq!(found, ["pool", "ui", "engine"]);
}
