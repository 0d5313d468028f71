use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("demo-broker") => mqfleet::demo::broker_main(),
        Some("demo-site") => mqfleet::demo::site_main(),
        _ => ExitCode::from(2),
    }
}
