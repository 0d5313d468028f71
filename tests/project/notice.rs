//! Holds NOTICE to what is really linked: the versions of Paho in it are those of Cargo.lock and of the bundled source.

use std::fs;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The version of a package in Cargo.lock.
fn locked(package: &str) -> String {
    let lock = read("Cargo.lock");
    let entry = lock.split("[[package]]").find(|entry| entry.contains(&format!("\nname = \"{package}\"\n")));
    let line = entry.and_then(|entry| entry.lines().find_map(|line| line.strip_prefix("version = ")));
    line.unwrap_or_else(|| panic!("{package} is not in Cargo.lock")).trim_matches('"').to_owned()
}

#[test]
fn the_notice_names_the_versions_that_are_linked() {
    let notice = read("NOTICE");
    for package in ["paho-mqtt", "paho-mqtt-sys"] {
        let named = format!("{package} {}", locked(package));
        assert!(notice.contains(&named), "NOTICE does not name {named}");
    }
    // The crate's version fixes that of the C library in it.
    assert_eq!(locked("paho-mqtt-sys"), "0.11.0", "look up which Paho C it bundles, and write it into NOTICE");
    assert!(notice.contains("Eclipse Paho MQTT C 1.3.16") && read("README.md").contains("Eclipse Paho MQTT C 1.3.16"));
    for licence in ["EPL-2.0 OR BSD-3-Clause", "https://www.eclipse.org/legal/epl-2.0/", "edl-v10.php"] {
        assert!(notice.contains(licence), "NOTICE does not name {licence}");
    }
}

#[test]
fn the_notice_goes_with_the_package() {
    let manifest = read("Cargo.toml");
    let excluded = manifest.lines().find(|line| line.starts_with("exclude")).unwrap_or_default();
    assert!(!excluded.contains("NOTICE") && !manifest.lines().any(|line| line.starts_with("include")), "{excluded}");
}
