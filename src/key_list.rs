//! Defines the list of actions with the keys that mean them: to read, for scripts, for the README, and as part of a configuration file to start from.

use serde::Serialize;

use crate::{
    action::{Action, Argument, Place},
    appearance::Keymap,
    headless::Format,
};

/// An action, for scripts.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    /// As a keymap file writes them.
    keys: Vec<String>,
    help: &'static str,
    /// `everywhere`, `live`, `own run`, `attached` or `replay`.
    scope: &'static str,
    screens: Vec<Place>,
    /// What may stand behind its name on the console's command line.
    argument: Argument,
    /// Whether only who commands can have it.
    commands: bool,
}

/// The list as this keymap has it.
pub fn of(keymap: &Keymap, format: Format) -> String {
    match format {
        Format::Text => text(keymap),
        Format::Json => json(keymap),
    }
}

fn text(keymap: &Keymap) -> String {
    let rows = Action::ALL.map(|action| {
        let name = match action.argument() {
            Argument::None => action.name().to_owned(),
            argument => format!("{} {}", action.name(), argument.words()),
        };
        let keys: Vec<String> = keymap.keys(action).iter().map(ToString::to_string).collect();
        (keys.join(" "), name, action.help(), place(action))
    });
    let keys = rows.iter().map(|(keys, ..)| keys.len()).max().unwrap_or(0);
    let names = rows.iter().map(|(_, name, ..)| name.len()).max().unwrap_or(0);
    let head = ("KEYS".to_owned(), "COMMAND".to_owned(), "WHAT IT DOES", String::new());
    std::iter::once(&head)
        .chain(&rows)
        .map(|(key, name, help, place)| format!("{key:keys$}  {name:names$}  {help}{place}\n"))
        .collect()
}

/// Where it means anything, where that is not everywhere: ` [live: clients, client]`.
fn place(action: Action) -> String {
    let on: Vec<&str> = screens(action).into_iter().map(Place::name).collect();
    let scope = action.scope().words();
    match (scope, on.len() == Place::ALL.len()) {
        ("", true) => String::new(),
        (scope, true) => format!(" [{scope}]"),
        ("", false) => format!(" [{}]", on.join(", ")),
        (scope, false) => format!(" [{scope}: {}]", on.join(", ")),
    }
}

fn screens(action: Action) -> Vec<Place> {
    Place::ALL.into_iter().filter(|place| action.is_on(*place)).collect()
}

/// The keys of an action as a keymap file writes them.
fn written(keymap: &Keymap, action: Action) -> Vec<String> {
    keymap.keys(action).iter().map(|key| key.written()).collect()
}

fn json(keymap: &Keymap) -> String {
    let line = |action: Action| Line {
        name: action.name(),
        keys: written(keymap, action),
        help: action.help(),
        scope: if action.scope().words().is_empty() { "everywhere" } else { action.scope().words() },
        screens: screens(action),
        argument: action.argument(),
        commands: action.is_command(),
    };
    let lines = Action::ALL.map(|action| serde_json::to_string(&line(action)).unwrap_or_default());
    lines.map(|line| format!("{line}\n")).concat()
}

/// The keys as the `[keys]` of a configuration file.
pub fn keys(keymap: &Keymap) -> String {
    let head = "\
# A key is a character (\"j\", \"G\", \"?\"), a name (up, down, left, right, pageup, pagedown, home, end,
# enter, esc, space, tab, backspace, delete, insert) or ctrl- and a letter (\"ctrl-d\"). An action that is
# named here has these keys and no others; an empty list takes it off the keyboard. Ctrl-C always quits.
[keys]
";
    let line = |action: Action| {
        // What JSON writes for a string, TOML reads.
        let keys = written(keymap, action).into_iter().map(|key| serde_json::Value::from(key).to_string());
        let keys = keys.collect::<Vec<_>>().join(", ");
        format!("{} = [{keys}] # {}{}\n", action.name(), action.help(), place(action))
    };
    head.to_owned() + &Action::ALL.map(line).concat()
}

/// The table of the README.
pub fn document() -> String {
    let keymap = Keymap::builtin();
    let row = |action: Action| {
        let keys: Vec<String> = keymap.keys(action).iter().map(|key| format!("`{key}`")).collect();
        let argument = if action.argument() == Argument::None { "" } else { " " };
        let name = format!("`{}{argument}{}`", action.name(), action.argument().words());
        format!("| {} | {name} | {}{} |\n", keys.join(" "), action.help(), place(action))
    };
    "| Key | Command | Does |\n|---|---|---|\n".to_owned() + &Action::ALL.map(row).concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appearance::Config;

    #[test]
    fn the_keys_of_a_file_are_read_back_the_same() {
        let own =
            Config::parse("[keys]\ndisconnect = ['X']\nmark_all = []\nunmark_all = ['\\']\n", "k.toml").unwrap().keymap;
        for keymap in [Keymap::builtin(), own] {
            assert_eq!(Config::parse(&keys(&keymap), "k.toml").unwrap().keymap, keymap);
        }
    }

    #[test]
    fn every_action_is_in_each_list() {
        let keymap = Keymap::builtin();
        let lines = of(&keymap, Format::Json);
        assert_eq!(lines.lines().count(), Action::ALL.len());
        for (action, line) in Action::ALL.into_iter().zip(lines.lines()) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["name"], action.name());
            assert_eq!(line["keys"].as_array().unwrap().len(), keymap.keys(action).len());
            assert!(text(&keymap).contains(action.help()));
        }
        assert!(lines.contains(
            r#"{"name":"reconnect","keys":["r"],"help":"reconnect the marked clients, or the one under the cursor","scope":"live","screens":["clients","client"],"argument":"query","commands":true}"#
        ));
        assert!(text(&keymap).contains("k Up "));
    }
}
