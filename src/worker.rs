//! Stub.
pub const TEST_NO_GUARD: &str = "MQFLEET_TEST_NO_INTERRUPT_GUARD";
pub fn main() -> std::process::ExitCode {
    todo!()
}
