//! Has the linker put a function of `src/paho/list.rs` before one of Paho's.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg=-Wl,--wrap=MQTTProtocol_retry");
}
