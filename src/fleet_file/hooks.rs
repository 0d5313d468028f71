//! Defines how hooks are read (`[[hook]]`), and the programs that are run for what happens; nothing is run here.

use std::{
    ffi::OsString,
    path::{Path, absolute},
    time::Duration,
};

use super::{
    Surroundings, format,
    telling::{Known, needed, read_match, words},
};
use crate::{
    document::{Draft, Report, Table, Value, quoted},
    event::State,
    fleet::Fleet,
    program::{self, Program},
    telling::{Hook, Match, Mode},
    text::Scrubbed,
};

const EXAMPLE: &str = "run = [\"/usr/local/bin/notify\", \"%f\"]";
const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(3_600);

pub(super) fn read(root: &Table<'_>, fleet: &Fleet, report: &mut Report<'_>, around: &Surroundings<'_>) -> Vec<Hook> {
    let mut hooks: Vec<Hook> = Vec::new();
    let items = root.get("hook").and_then(|value| value.list(report, "[[hook]], once for each"));
    for item in items.unwrap_or_default() {
        let Some(table) = item.table(report, "[[hook]]", "[[hook]]") else { continue };
        table.check(format::HOOK, report);
        let Some(hook) = read_one(&table, fleet, report, around) else { continue };
        if hooks.iter().any(|known| known.name == hook.name) {
            let span = table.get("name").map_or(table.span, |name| name.span);
            let title = format!("there are two hooks called {}", quoted(&hook.name));
            report.error(Draft::at(span, title).help("each has a name of its own, by which it is told of and tested"));
        }
        hooks.push(hook);
    }
    hooks
}

fn read_one(table: &Table<'_>, fleet: &Fleet, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<Hook> {
    let name = needed(table, "name", "name = \"tickets\"", report);
    let run = needed(table, "run", EXAMPLE, report);
    let name = name.and_then(|value| {
        let name = value.string(report, "a name in quotes")?;
        if name.trim().is_empty() {
            report.error(Draft::at(value.span.clone(), "a hook's name is empty").help("such as name = \"tickets\""));
        }
        Some(Scrubbed::new(name))
    });
    let run = run.and_then(|value| read_program(&value, fleet, report, around));
    let mut states = |key: &str| {
        let names = State::ALL.map(|state| (state.name(), state));
        table.get(key).map(|value| words(&value, &names, report)).unwrap_or_default()
    };
    let (from, to) = (states("from"), states("to"));
    let matching = table.get("match").map(|value| read_match(&value, Known::All, fleet, report));
    let mode = read_mode(table, report);
    let timeout = table.get("timeout").and_then(|value| value.duration(report, LEAST, MOST));
    let initial = table.get("initial").and_then(|value| value.boolean(report));
    Some(Hook {
        name: name?,
        from,
        to,
        matching: matching.unwrap_or_else(|| Some(Match::default()))?,
        run: run?,
        mode: mode?,
        timeout: timeout.unwrap_or(Hook::TIMEOUT),
        initial: initial.unwrap_or_default(),
    })
}

fn read_mode(table: &Table<'_>, report: &mut Report<'_>) -> Option<Mode> {
    const WORDS: [(&str, Mode); 3] =
        [("batch", Mode::Batch), ("each", Mode::Each { at_most: Mode::AT_MOST }), ("stream", Mode::Stream)];
    let mode = table.get("mode").map_or(Some(Mode::Batch), |value| value.word(report, &WORDS))?;
    let at_most = table.get("at_most").and_then(|value| value.number(report, 1..1_001, "processes"));
    let mut is_idle = |key: &str, of: &str| {
        let Some(span) = table.key_span(key) else { return };
        report.error(Draft::at(span, format!("`{key}` means nothing with mode = \"{}\"", mode.name())).help(of));
    };
    match mode {
        Mode::Each { .. } => {}
        Mode::Batch => is_idle("at_most", "a batch is one process at a time; at_most is for mode = \"each\""),
        Mode::Stream => {
            is_idle("at_most", "a stream is one process; at_most is for mode = \"each\"");
            is_idle("timeout", "a stream is one process that stays; timeout is for the other modes");
        }
    }
    Some(match (mode, at_most) {
        (Mode::Each { .. }, Some(at_most)) => Mode::Each { at_most: at_most as usize },
        _ => mode,
    })
}

/// Reads a program and its arguments, in which `%f` is the fleet's name and `%h` this host's.
pub(super) fn read_program(
    value: &Value<'_>,
    fleet: &Fleet,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Option<Program> {
    let key = &value.key;
    let items = value.list(report, &EXAMPLE.replacen("run", key, 1))?;
    let words: Vec<Option<String>> = items.iter().map(|item| read_word(item, fleet, report, around)).collect();
    let mut words = words.into_iter().collect::<Option<Vec<String>>>()?;
    if words.is_empty() {
        let title = format!("`{key}` is empty");
        report.error(Draft::at(value.span.clone(), title).help(format!("such as {}", EXAMPLE.replacen("run", key, 1))));
        return None;
    }
    let program = words.remove(0);
    let folder = absolute(Path::new(".").join(around.base_dir)).unwrap_or_else(|_| Path::new("/").to_owned());
    // Found now, a name is the same program tomorrow.
    let named: OsString = match program.contains('/') {
        true => folder.join(&program).into(),
        false => (&program).into(),
    };
    let Some(path) = program::find(&named, &(around.env)("PATH").unwrap_or_default()) else {
        let title = format!("there is no program {}", quoted(&program));
        report.error(Draft::at(items[0].span.clone(), title).help(format!(
            "the first word of `{key}` is a program in PATH, or the path of one that may be executed; it is run without \
             a shell"
        )));
        return None;
    };
    Some(Program { path: path.into(), arguments: words, folder })
}

fn read_word(item: &Value<'_>, fleet: &Fleet, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<String> {
    let text = item.string(report, "a list of words in quotes")?;
    if text.contains('\0') {
        report.error(Draft::at(item.span.clone(), format!("`{}` has a NUL character", item.key)));
        return None;
    }
    let (mut filled, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match (c, if c == '%' { chars.next().map(|(_, letter)| letter) } else { None }) {
            ('%', Some('f')) => filled.push_str(&fleet.name),
            ('%', Some('h')) => filled.push_str(&(around.host)()),
            ('%', Some('%')) => filled.push('%'),
            ('%', letter) => {
                let shown: String = Some('%').into_iter().chain(letter).collect();
                let place = item.part(report, at..at + shown.len());
                let help = "%f is the fleet's name, %h this host, %% a percent sign; what is told of clients is in the \
                            lines on standard input and in the environment";
                report.error(Draft::at(place, format!("{} is no pattern", quoted(&shown))).help(help));
                return None;
            }
            (c, _) => filled.push(c),
        }
    }
    Some(filled)
}
