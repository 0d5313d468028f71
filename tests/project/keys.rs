//! Holds the README's table of keys to the registry of actions.

#[test]
fn the_readme_has_every_action() {
    let table = mqfleet::key_list::document();
    let readme = std::fs::read_to_string("README.md").expect("README.md");
    assert!(readme.contains(&table), "put this table into README.md, under \"Keys\":\n{table}");
}

#[test]
#[ignore = "prints the table, for the README"]
fn print_the_keys() {
    eprint!("{}", mqfleet::key_list::document());
}
