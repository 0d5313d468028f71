//! Compiles the one file that is not Rust: Paho's log, which `src/paho/log.c` defines anew.

fn main() {
    println!("cargo::rerun-if-changed=src/paho/log.c");
    cc::Build::new().file("src/paho/log.c").std("c99").warnings_into_errors(false).compile("mqfleet_log");
}
