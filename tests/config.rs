//! Fleet files as a person writes them, right and wrong: what the public reader makes of them, and how its errors look.
fn show(text: &str) -> String {
    match mqfleet::config::parse(text, "fleet.toml", std::path::Path::new("/nonexistent")) {
        Ok(l) => format!("{:?}\n{}", l.fleet, l.warnings.iter().map(|w| w.to_string()).collect::<String>()),
        Err(e) => e.to_string(),
    }
}

#[test]
fn look() {
    println!("{}", show(include_str!("config/many.toml")));
    println!("{}", show(include_str!("config/syntax.toml")));
    println!("{}", show(mqfleet::config::STARTER));
}
