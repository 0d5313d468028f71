//! The `mqfleet` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mqfleet::cli::main()
}
