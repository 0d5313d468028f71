//! What the tests and benchmarks of mqfleet share: brokers and other peers, certificates, fleet files, and the program and its workers as processes.

#![allow(clippy::unwrap_used, reason = "what panics here is a failed test")]

pub mod async_peers;
pub mod certs;
pub mod comparison;
pub mod console;
pub mod delay;
pub mod dns;
pub mod ejabberd;
pub mod fleet_file;
pub mod headless;
pub mod monitoring;
pub mod mosquitto;
pub mod name_server;
pub mod netns;
pub mod peers;
pub mod process;
pub mod redis;
pub mod reference;
pub mod relay;
pub mod report;
pub mod rmqtt;
pub mod script;
pub mod svg;
pub mod witness;
pub mod worker;

use std::{env, sync::LazyLock, thread, time::Duration};

/// How long a test waits for what must come. It is no measure: these machines are busy.
pub const SOON: Duration = Duration::from_secs(60);

/// The real program. Cargo builds it for every test and benchmark, and puts it into the folder above theirs.
pub fn program() -> &'static str {
    static PROGRAM: LazyLock<String> = LazyLock::new(|| {
        let own = env::current_exe().expect("a program that runs");
        let folder = own.ancestors().nth(2).expect("Cargo's folders");
        folder.join("mqfleet").into_os_string().into_string().expect("a path in UTF-8")
    });
    &PROGRAM
}

/// What has the test that calls this run once more, and no other, as the arguments of its own program.
///
/// # Panics
/// On any thread but the test's own, which has its name: a name of no test would run none, and that succeeds.
pub fn this_test() -> [String; 3] {
    let thread = thread::current();
    let name = thread.name().filter(|name| *name != "main").expect("the thread of a test");
    ["--exact".into(), name.into(), "--nocapture".into()]
}
