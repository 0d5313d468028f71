//! No switch that is for tests is honoured by a release build; what the switches do is tested where they are used.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// How all of them begin.
const SWITCH: &str = "MQFLEET_TEST";

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

/// Whether a line that asks for a switch, the last of these, is in a debug build only.
fn is_guarded(lines: &[&str]) -> bool {
    matches!(lines, [.., before, _] if before.trim() == "#[cfg(debug_assertions)]")
}

#[test]
fn switches_are_asked_for_in_debug_builds_only() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut seen = 0;
    for file in files {
        let text = fs::read_to_string(&file).expect("a source");
        let lines: Vec<&str> = text.lines().collect();
        for (i, _) in lines.iter().enumerate().filter(|(_, line)| line.contains(SWITCH)) {
            seen += 1;
            assert!(is_guarded(&lines[..=i]), "{}:{}: honoured in a release build, too", file.display(), i + 1);
        }
    }
    assert!(seen > 0, "no switch was found: this test looks for the wrong name");
    assert!(!is_guarded(&["", r#"let panics = std::env::var("MQFLEET_TEST_PANIC").is_ok();"#]));
}

/// A program that can honour a switch has its name in it.
#[test]
fn a_release_build_does_not_know_their_names() {
    let program = fs::read(env!("CARGO_BIN_EXE_mqfleet")).expect("the program");
    let knows = program.windows(SWITCH.len()).any(|bytes| bytes == SWITCH.as_bytes());
    assert_eq!(knows, cfg!(debug_assertions));
}
