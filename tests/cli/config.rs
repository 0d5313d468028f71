//! The user's own configuration, and the list of keys: what is in force is said, what is wrong is said with its place, and a file that is printed reads back the same.
#![allow(clippy::unwrap_used, reason = "what panics here is a failed test")]

use std::{fs, process::Command};

use mqfleet_test_support::program;
use tempfile::TempDir;

/// A folder of configurations, and what is in mqfleet's own there.
struct Home(TempDir);

impl Home {
    fn new() -> Home {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("mqfleet")).unwrap();
        Home(dir)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join("mqfleet").join(name), text).unwrap();
    }

    /// The exit code, what is printed and what is complained of.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(program());
        let done = command.args(arguments).env("XDG_CONFIG_HOME", self.0.path()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.code(), text(done.stdout), text(done.stderr))
    }
}

#[test]
fn what_is_in_force_is_a_file_that_reads_back_the_same() {
    let home = Home::new();
    let (code, path, _) = home.run(&["config", "path"]);
    assert_eq!((code, path.trim_end()), (Some(0), home.0.path().join("mqfleet/config.toml").to_str().unwrap()));
    let (code, all, _) = home.run(&["config", "show"]);
    assert!(
        code == Some(0) && all.contains("theme = \"terminal\" # as it comes") && all.contains("\nup = [\"k\", \"up\"]")
    );
    home.write("config.toml", "theme = 'dark'\n[keys]\ndisconnect = ['X']\nmark_all = []\n");
    let (_, shown, _) = home.run(&["config", "show"]);
    assert!(shown.contains("theme = \"dark\"\n") && shown.contains("\ndisconnect = [\"X\"]"), "{shown}");
    home.write("config.toml", &shown);
    assert_eq!(home.run(&["config", "check"]).0, Some(0));
    let (_, again, _) = home.run(&["config", "show"]);
    let keys = |text: &str| text.lines().filter(|line| line.contains(" = ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(keys(&again).split_off(2), keys(&shown).split_off(2));
    // The list of keys has the user's own.
    let (_, json, _) = home.run(&["keys", "--format", "json"]);
    let lines: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys = |name: &str| lines.iter().find(|line| line["name"] == name).unwrap()["keys"].clone();
    assert_eq!((keys("disconnect"), keys("mark_all")), (serde_json::json!(["X"]), serde_json::json!([])));
    let (_, text, _) = home.run(&["keys", "--builtin"]);
    assert!(text.lines().any(|line| line.starts_with("d ") && line.contains("disconnect [QUERY]")), "{text}");
}

#[test]
fn all_that_is_wrong_is_said_at_once_with_its_place() {
    let home = Home::new();
    home.write(
        "config.toml",
        "theme = 'drak'\nascii = 1\ncolour = true\n[keys]\nreconnect = ['j']\nhold = ['f']\nfly = ['Z']\n",
    );
    let (code, _, said) = home.run(&["config", "check"]);
    assert_eq!(code, Some(2));
    for words in [
        "config.toml:1:",
        "there is no theme \"drak\"",
        "config.toml:2:",
        "colour",
        "j cannot be bound to `reconnect`",
        "f is bound twice",
        "in the built-in keymap to `freeze`",
        "there is no action \"fly\"",
    ] {
        assert!(said.contains(words), "{words}:\n{said}");
    }
    // Nothing is shown with half of it.
    assert_eq!(home.run(&["keys"]).0, Some(2));
    home.write("config.toml", "theme = './mine.toml'\n");
    let (code, _, said) = home.run(&["config", "check"]);
    assert!(code == Some(2) && said.contains("mine.toml"), "{said}");
    home.write("mine.toml", "");
    assert_eq!(home.run(&["config", "check"]).0, Some(0));
    // What was read once is not left out silently.
    home.write("keymap.toml", "[keys]\n");
    let (code, _, said) = home.run(&["keys"]);
    assert!(code == Some(2) && said.contains("keymap.toml") && said.contains("put its [keys] into"), "{said}");
}
