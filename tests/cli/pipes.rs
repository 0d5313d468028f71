//! Whoever reads what the program prints may be gone: no subcommand panics of that, whichever of its two outputs it is.
#![allow(clippy::unwrap_used, reason = "what panics here is a failed test")]

use std::{
    io,
    process::{Command, Stdio},
};

use mqfleet_test_support::{
    fleet_file::FleetFile,
    mosquitto::{self, Mosquitto},
    program,
};

/// An output whose reader is gone.
fn closed() -> Stdio {
    let (_, writer) = io::pipe().unwrap();
    writer.into()
}

#[test]
fn nothing_panics_where_nobody_reads() {
    let broker = Mosquitto::start();
    let good = FleetFile::presses(broker.port(), 3);
    let bad = FleetFile::new("[fleet]\nnam = \"x\"\n");
    let doubtful = FleetFile::new(&format!(
        "[endpoint.e]\nurl = \"mqtts://localhost:{}\"\ninsecure = true\n[[client]]\nid = \"a\"\npassword = \"x\"\nendpoints = [\"e\"]\n",
        mosquitto::free_port()
    ));
    let recording = good.dir.path().join("run.rec");
    let (good, bad, doubtful, recording) = (good.path(), bad.path(), doubtful.path(), recording.to_str().unwrap());
    let url = format!("mqtt://127.0.0.1:{}", broker.port());
    for (arguments, codes) in [
        (&["check", bad][..], &[2][..]),
        (&["check", bad, "--format", "json"], &[2]),
        (&["check", "/nowhere"], &[2]),
        (&["check", good], &[0]),
        (&["check", good, "--format", "json"], &[0]),
        (&["check", good, "--connect"], &[0]),
        (&["check", good, "--connect", "--format", "json"], &[0]),
        (&["check", doubtful], &[0]),
        (&["check", doubtful, "--connect"], &[3]),
        (&["doctor", &url], &[0]),
        (&["doctor", doubtful], &[3]),
        (&["doctor", &url, "--client", "x", "--format", "json"], &[0]),
        (&["doctor", "nothing://"], &[2]),
        (&["run", bad], &[2]),
        (&["run", doubtful, "--duration", "1s"], &[0, 3]),
        (&["run", good, "--duration", "1s", "--record", recording], &[0, 3]),
        (&["replay", recording, "--plain"], &[0]),
        (&["replay", recording, "--format", "json"], &[0]),
        (&["report", recording], &[0]),
        (&["report", "/nowhere"], &[1]),
        (&["init", "/dev/null/fleet.toml"], &[2]),
        (&["worker", "7"], &[1]),
        (&["demo-broker"], &[0, 2]),
        (&["--help"], &[0]),
        (&["nonsense"], &[2]),
    ] {
        for (which, out, err) in
            [("both", closed(), closed()), ("output", closed(), Stdio::null()), ("errors", Stdio::null(), closed())]
        {
            let mut command = Command::new(program());
            let status = command.args(arguments).stdin(Stdio::null()).stdout(out).stderr(err).status().unwrap();
            let code = status.code().unwrap_or_else(|| panic!("{arguments:?} with {which} closed: {status}"));
            assert!(codes.contains(&code), "{arguments:?} with {which} closed: exit code {code}, not {codes:?}");
        }
    }
}
