//! Ten thousand clients that are lost at once: how many processes that takes, when the first byte reaches them, and what it costs who looks on. It measures, and is run by hand: `cargo test --test hooks flood -- --ignored --nocapture`.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use mqfleet_test_support::{fleet_file::FleetFile, mosquitto::Mosquitto, program};
use serde_json::Value;

use super::{read, script};

const CLIENTS: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(300);

/// Says of each line when it came, in microseconds since the epoch.
const STAMPING: &str = r#"#!/usr/bin/env python3
import sys, time
out = open("told", "a")
open("started", "a").write("%d\n" % (time.time() * 1e6))
while line := sys.stdin.buffer.readline():
    out.write("%d %s" % (time.time() * 1e6, line.decode()))
out.close()
"#;

/// What a run said, and when each line came.
struct Shown {
    child: Child,
    lines: mpsc::Receiver<(i64, Value)>,
}

impl Shown {
    fn start(file: &FleetFile) -> Shown {
        let mut child = Command::new(program())
            .args(["run", file.path(), "--format", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let at = chrono::Utc::now().timestamp_micros();
                let Ok(line) = serde_json::from_str(&line) else { break }; // its end, in the middle of a line
                let _ = sender.send((at, line));
            }
        });
        Shown { child, lines }
    }

    /// The delays, in milliseconds, of so many steps that are as wanted.
    fn steps(&self, count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<f64> {
        let begin = Instant::now();
        let mut delays = Vec::new();
        while delays.len() < count {
            let line = self.lines.recv_timeout(Duration::from_secs(1));
            assert!(begin.elapsed() < PATIENCE, "{} of {count}", delays.len());
            let Ok((at, line)) = line else { continue };
            if line["type"] == "state" && wanted(&line) {
                let ts = chrono::DateTime::parse_from_rfc3339(line["ts"].as_str().expect("a time")).expect("RFC 3339");
                delays.push((at - ts.timestamp_micros()) as f64 / 1e3);
            }
        }
        delays
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn quantile(delays: &mut [f64], part: f64) -> f64 {
    delays.sort_by(f64::total_cmp);
    delays[((delays.len() - 1) as f64 * part) as usize]
}

fn fleet(port: u16, hooks: &str) -> FleetFile {
    FleetFile::new(&format!(
        "[endpoint.eu-1]\nurl = \"mqtt://127.0.0.1:{port}\"\nconnect_rate = 2000\nmax_connecting = 500\n[[client]]\nid = \"press-%05i\"\n\
         count = {CLIENTS}\nendpoints = [\"eu-1\"]\nprobe = {{ kind = \"off\" }}\nkeep_alive = \"600s\"\n{hooks}"
    ))
}

#[test]
#[ignore = "measures, for some minutes"]
fn ten_thousand_lost_at_once() {
    let is_loss = |line: &Value| line["from"] == "up";
    for hooks in [
        "",
        "[[hook]]\nname = \"h\"\nrun = [\"./hook\"]\nfrom = \"up\"\n",
        "[[hook]]\nname = \"e\"\nrun = [\"./each\"]\nfrom = \"up\"\nmode = \"each\"\nat_most = 4\n",
    ] {
        let mut broker = Mosquitto::start();
        let file = fleet(broker.port(), hooks);
        script(&file, "hook", "");
        fs::write(file.dir.path().join("hook"), STAMPING).expect("a script");
        script(&file, "each", "echo + >> trace; echo - >> trace");
        let shown = Shown::start(&file);
        shown.steps(CLIENTS, |line| line["to"] == "up");
        broker.kill9();
        let mut delays = shown.steps(CLIENTS, is_loss);
        let shown_p99 = quantile(&mut delays, 0.99);
        println!(
            "{}: event to line: p50 {:.1} ms, p99 {:.1} ms",
            hooks.lines().nth(1).unwrap_or("no hook"),
            quantile(&mut delays, 0.5),
            shown_p99
        );
        if hooks.contains("\"h\"") {
            let begin = Instant::now();
            while read(&file, "told").lines().count() < CLIENTS {
                assert!(begin.elapsed() < PATIENCE);
                std::thread::sleep(Duration::from_millis(100));
            }
            let told = read(&file, "told");
            let mut delays: Vec<f64> = told
                .lines()
                .map(|line| {
                    let (at, line) = line.split_once(' ').expect("a stamp");
                    let line: Value = serde_json::from_str(line).expect("JSON");
                    at.parse::<f64>().expect("a number") / 1e3 - line["at_ms"].as_f64().expect("a time")
                })
                .collect();
            let started = read(&file, "started").lines().count();
            let p99 = quantile(&mut delays, 0.99);
            println!(
                "{} lines, {started} processes; change to hook: p50 {:.1} ms, p99 {p99:.1} ms",
                delays.len(),
                quantile(&mut delays, 0.5)
            );
            // On a machine that has other things to do, what is shown is as late.
            assert!(started <= 3 && delays.len() == CLIENTS && p99 <= 300.0 + shown_p99);
        }
        if hooks.contains("\"e\"") {
            let begin = Instant::now();
            let ends = |text: &str| text.lines().filter(|line| *line == "-").count();
            while ends(&read(&file, "trace")) < CLIENTS {
                assert!(begin.elapsed() < PATIENCE, "{}", ends(&read(&file, "trace")));
                std::thread::sleep(Duration::from_millis(100));
            }
            let mut running = 0_i64;
            let most = read(&file, "trace")
                .lines()
                .map(|line| {
                    running += if line == "+" { 1 } else { -1 };
                    running
                })
                .max();
            println!("each: {CLIENTS} processes within {:?}, at most {most:?} at once", begin.elapsed());
            assert!(most <= Some(4));
        }
    }
}
