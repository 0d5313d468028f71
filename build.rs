//! Has the linker put the functions of `src/paho/wrapped.rs` before those of Paho's.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["MQTTProtocol_keepalive", "MQTTProtocol_retry"] {
        println!("cargo::rustc-link-arg=-Wl,--wrap={name}");
    }
}
