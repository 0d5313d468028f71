//! Holds the README's table of metrics to the table that the exposition is made of.

#[test]
fn the_readme_has_every_metric() {
    let table = mqfleet::metrics::table::document();
    let readme = std::fs::read_to_string("README.md").expect("README.md");
    assert!(readme.contains(&table), "put this table into README.md, under \"Metrics\":\n{table}");
}

#[test]
#[ignore = "prints the table, for the README"]
fn print_the_table() {
    eprint!("{}", mqfleet::metrics::table::document());
}
