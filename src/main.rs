fn main() -> std::process::ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("worker") => mqfleet::worker::main(),
        _ => std::process::ExitCode::FAILURE,
    }
}
