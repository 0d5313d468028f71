//! Holds what is made of the table of metrics (the README's table, the dashboards, the alert rules) to it; that their queries work is shown where there are figures.

use std::{fs, path::Path};

use mqfleet::metrics::{Source, dashboard, rules};

#[test]
fn the_readme_has_every_metric() {
    let table = mqfleet::metrics::table::document();
    let readme = fs::read_to_string("README.md").expect("README.md");
    assert!(readme.contains(&table), "put this table into README.md, under \"Metrics\":\n{table}");
}

#[test]
#[ignore = "prints the table, for the README"]
fn print_the_table() {
    eprint!("{}", mqfleet::metrics::table::document());
}

/// Each file is what the program prints. `MQFLEET_DASHBOARDS=write` writes them anew.
#[test]
fn dashboards_and_rules_are_those_of_the_table() {
    let files = [
        ("assets/grafana/mqfleet.json", dashboard(Source::Prometheus)),
        ("assets/grafana/mqfleet-influx.json", dashboard(Source::Influx)),
        ("assets/prometheus/mqfleet.yml", rules()),
    ];
    let is_written = std::env::var("MQFLEET_DASHBOARDS").is_ok_and(|what| what == "write");
    for (path, text) in files {
        if is_written {
            fs::create_dir_all(Path::new(path).parent().expect("a folder")).expect("a folder");
            fs::write(path, &text).expect("a file");
        }
        let kept = fs::read_to_string(path).unwrap_or_default();
        assert!(kept == text, "{path} is old: MQFLEET_DASHBOARDS=write cargo test --test project metrics::");
    }
}
