//! Recordings of the whole program: what a death, a full disk and limits leave of them, and that a replay prints what the live run printed. How the file looks inside is the library's own tests' matter.

mod damaged;
mod replay;

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use mqfleet::{
    clock::{Anchor, Moment},
    event::{State, What},
    recording::{Ending, Recording},
};
use mqfleet_test_support::{
    SOON,
    console::Console,
    fleet_file::FleetFile,
    headless::Headless,
    mosquitto::{Mosquitto, Setup},
    process, program,
    witness::Witness,
};
use rustix::process::Signal;

/// How often the program is killed: a short form by default, the whole with `make chaos`.
const SECOND: Duration = Duration::from_secs(1);

fn rounds() -> usize {
    std::env::var("MQFLEET_ROUNDS").map_or(2, |n| n.parse::<usize>().expect("MQFLEET_ROUNDS is a number").min(10))
}

fn mqfleet(args: &[&str]) -> Output {
    Command::new(program()).args(args).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// A fleet that tells more than 5,000 events a second: a sample of each of 600 clients every 100 ms.
fn busy_fleet(port: u16) -> FleetFile {
    FleetFile::new(&format!(
        r#"
        [endpoint.eu-1]
        url = "mqtt://127.0.0.1:{port}"
        [defaults]
        probe = {{ kind = "ack", every = "100ms" }}
        [[client]]
        id = "press-%04i"
        count = 600
        endpoints = ["eu-1"]
        "#
    ))
}

#[test]
fn a_killed_program_leaves_all_but_the_last_second() {
    let broker = Mosquitto::start();
    let file = busy_fleet(broker.port());
    let path = file.dir.path().join("run.rec");
    let witness = Witness::start();
    for round in 1..=rounds() {
        let _ = fs::remove_file(&path);
        let mut run = Headless::start(&["run", file.path(), "--record", path.to_str().unwrap()], &[]);
        run.wait_up(600);
        // Not always at the same place between two segments.
        let begin = Instant::now();
        let patience = Duration::from_millis(2_000 + 137 * round as u64);
        drop(run.wait_for("some seconds of it", |_| begin.elapsed() > patience));
        let workers = process::descendants(run.id());
        let (killed, had_time) = (Moment::now(), witness.had_time(Instant::now() - 2 * SECOND, 2 * SECOND));
        process::signal(run.id(), Signal::KILL);
        run.wait_exit();
        process::assert_gone(&workers);

        let recording = Recording::open(&path).expect("a recording");
        assert_ne!(recording.ending(), Ending::Orderly);
        let (mut samples, mut lines, mut last) = (0, 0, recording.begin());
        let mut entries = recording.entries();
        for entry in entries.by_ref() {
            let entry = entry.expect("no torn record is shown as data");
            lines += 1;
            samples += u32::from(matches!(entry.what, What::Sample(_)));
            last = last.max(entry.at);
        }
        assert_eq!(entries.skipped(), 0, "a line that is none");
        let seconds = recording.end().since(recording.begin()).as_secs_f64();
        let missing = killed.since(last);
        println!(
            "round {round}: {lines} lines, {:.0} samples a second, ends {missing:?} before the kill, {:?}",
            f64::from(samples) / seconds,
            recording.ending()
        );
        assert_eq!(last, recording.end());
        assert!(samples > 1_000, "{samples} samples: nothing is shown by so few");
        // A second is promised; a busy machine may be late to write and to kill.
        let bound = if had_time { SECOND + SECOND / 4 } else { 10 * SECOND };
        assert!(missing <= bound, "it ends {missing:?} before the kill");
        let summary = mqfleet(&["replay", path.to_str().unwrap(), "--format", "json"]);
        assert!(summary.status.success() && text(&summary.stderr).contains("the recording ends at"), "{summary:?}");
        let last_line = text(&summary.stdout).lines().last().expect("a line");
        assert!(last_line.contains(r#""type":"summary""#), "{last_line}");
        assert!(!had_time || last_line.contains(r#""up":600"#), "{last_line}");
    }
}

/// Whoever reads the lines stops, while the broker goes and comes; log and recording have all of it.
#[test]
fn a_stuck_reader_of_the_lines_costs_neither_the_log_nor_the_recording_anything() {
    let mut broker = Mosquitto::start();
    let file = busy_fleet(broker.port());
    let (path, log) = (file.dir.path().join("run.rec"), file.dir.path().join("run.log"));
    let mut command = Command::new(program());
    command.args(["run", file.path(), "--plain", "--record", path.to_str().unwrap(), "--log", log.to_str().unwrap()]);
    // A pipe that nobody reads takes 64 kB.
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the program starts");
    let logged = |what: &str| fs::read_to_string(&log).unwrap_or_default().matches(what).count();
    let wait_logged = |what: &str, count: usize| {
        let end = Instant::now() + SOON;
        while logged(what) < count {
            assert!(Instant::now() < end, "{what}: {} of {count}", logged(what));
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait_logged(" connected to eu-1", 600);
    let seconds = std::env::var("MQFLEET_ROUNDS").map_or(8, |_| 60);
    let begin = Instant::now();
    let mut losses = 0;
    while begin.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_secs(2)); // of samples, which nobody can wait for here
        broker.stop();
        losses += 600;
        broker.restart();
        wait_logged(" connected to eu-1", 600 + losses);
    }
    process::signal(child.id(), Signal::TERM);
    child.wait().expect("it is ours");

    let recording = Recording::open(&path).expect("a recording");
    assert_eq!(recording.ending(), Ending::Orderly);
    let (mut samples, mut ups, mut downs, mut notices) = (0u32, 0, 0, Vec::new());
    for entry in recording.entries() {
        match entry.expect("an entry").what {
            What::Sample(_) => samples += 1,
            What::SamplesLost(count) => panic!("{count} samples were folded"),
            What::State(step) if step.to == State::Up => ups += 1,
            What::State(step) if step.from == State::Up => downs += 1,
            What::Notice { text, .. } => notices.push(text),
            _ => {}
        }
    }
    assert!(notices.is_empty(), "{notices:?}");
    println!("{samples} samples, {ups} ups, {downs} losses in the recording");
    assert_eq!((ups, downs), (600 + losses, losses));
    assert_eq!(logged(" connected to eu-1"), ups, "the log has each of them");
    assert!(samples > 2_000, "{samples} samples: nothing is shown by so few");
}

/// A disk of 64 kB, where the test may mount one.
fn with_small_disk(test: impl FnOnce(&Path) + std::panic::UnwindSafe) {
    let dir = tempfile::TempDir::new().expect("a folder");
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).expect("a folder");
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&disk).status();
    if !mount.is_ok_and(|s| s.success()) {
        println!("not shown here: mounting a small disk needs root");
        return;
    }
    let result = std::panic::catch_unwind(|| test(&disk));
    assert!(Command::new("umount").arg("-l").arg(&disk).status().expect("umount").success());
    result.expect("the test");
}

#[test]
fn a_full_disk_turns_recording_off_with_a_badge_and_the_console_goes_on() {
    with_small_disk(|disk| {
        let broker = Mosquitto::start();
        let file = FleetFile::presses(broker.port(), 200);
        fs::write(disk.join("filler"), vec![b'x'; 32 << 10]).expect("half of the disk");
        let path = disk.join("run.rec");
        let mut console = Console::start(140, 40, &["run", file.path(), "--record", path.to_str().unwrap()]);
        console.wait_for("the badge of a recording", |s| s.lines().next().is_some_and(|l| l.contains(" rec ")));
        console.wait_text("rec off");
        console.wait_text("No space left on device");
        // It goes on: keys, news and the table.
        console.press("/0042\r");
        console.wait_text("1 of 200 match");
        console.press("\x1b[B");
        console.wait_for("the cursor on it", |s| s.lines().any(|l| l.starts_with('>') && l.contains("press-0042")));
        console.press("d");
        console.wait_text("isconnect press-0042");
        console.press("y");
        console.wait_text("1 off");
        console.press("\x03");
        console.wait_text("Quit");
        console.press("y");
        assert_eq!(console.wait_exit().code, 1, "as with a log that could not be written");
        // What it wrote last may still be on its way to us.
        console.wait_text("recording is off: cannot write");
        let recording = Recording::open(&path).expect("what was written before is there");
        assert_eq!(recording.ending(), Ending::Open, "a torn segment was left");
        let entries: Result<Vec<_>, _> = recording.entries().collect();
        assert!(entries.expect("entries").len() > 100);
    });
}

#[test]
fn a_replay_prints_what_the_live_run_printed_and_the_report_names_the_outage() {
    let mut broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 60);
    let path = file.dir.path().join("run.rec");
    let path = path.to_str().unwrap();
    let mut run = Headless::start(&["run", file.path(), "--samples", "--record", path], &[]);
    run.wait_up(60);
    broker.kill9();
    run.wait_up(0);
    broker.restart();
    run.wait_up(60);
    drop(run.wait_for("some seconds", |h| h.of_type("summary").count() >= 4));
    process::signal(run.id(), Signal::TERM);
    assert_eq!(run.wait_exit().code(), Some(143));
    let live: Vec<serde_json::Value> = run.heard().lines.clone();

    for speed in ["max", "20x"] {
        let replay = mqfleet(&["replay", path, "--format", "json", "--samples", "--speed", speed]);
        assert!(replay.status.success() && replay.stderr.is_empty(), "{replay:?}");
        let told: Vec<serde_json::Value> =
            text(&replay.stdout).lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        for (n, (live, told)) in live.iter().zip(&told).enumerate() {
            assert_eq!(live, told, "line {n} at speed {speed}");
        }
        assert_eq!(live.len(), told.len());
    }
    // From the middle, the same lines again.
    let replay = mqfleet(&["replay", path, "--format", "json", "--samples", "--from", "00:00:01"]);
    let lines: Vec<&str> = text(&replay.stdout).lines().collect();
    let all = mqfleet(&["replay", path, "--format", "json", "--samples"]);
    assert!(lines.len() > 100, "{lines:?}");
    // After the line of the start.
    let whole: Vec<&str> = text(&all.stdout).lines().collect();
    for (from_middle, from_begin) in lines[1..].iter().rev().zip(whole.iter().rev()) {
        assert_eq!(from_middle, from_begin, "other lines from the middle on");
    }

    let report = mqfleet(&["report", path, "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).expect("JSON");
    let hit = report["outages"].as_array().unwrap().iter().find(|o| o["clients"] == 60).expect("the outage of all");
    assert_eq!(hit["endpoint"], "eu-1");
    assert!(hit["to"].is_string(), "it is over: {hit}");
    assert!(report["whole"]["availability"].as_f64().is_some_and(|share| (0.01..0.999).contains(&share)), "{report}");
    assert!(report["whole"]["latency"]["p99_us"].as_u64().is_some_and(|us| us > 0));
    assert!(report["storms"].as_array().is_some_and(|s| !s.is_empty()), "the start is one");
    for format in ["text", "markdown"] {
        let report = mqfleet(&["report", path, "--format", format]);
        assert!(report.status.success() && text(&report.stdout).contains("Outages"), "{report:?}");
    }
}

#[test]
fn other_tools_read_the_lines_and_no_secret_is_in_them() {
    let secret = "hush-3f9a1c";
    let broker = Mosquitto::with(Setup { users: vec![("op".into(), secret.into())], ..Setup::default() });
    let file = FleetFile::new(&format!(
        r#"
        [endpoint.eu-1]
        url = "mqtt://127.0.0.1:{}"
        [[client]]
        id = "press-%i"
        count = 3
        endpoints = ["eu-1"]
        username = "op"
        password = {{ env = "PRESS_PASSWORD" }}
        will = {{ topic = "gone/%c", payload = "hush-payload" }}
        "#,
        broker.port()
    ));
    let path = file.dir.path().join("run.rec");
    let args = ["run", file.path(), "--record", path.to_str().unwrap()];
    let mut run = Headless::start(&args, &[("PRESS_PASSWORD", secret)]);
    run.wait_up(3);
    process::signal(run.id(), Signal::TERM);
    run.wait_exit();
    let lines = zstd::stream::decode_all(&*fs::read(&path).unwrap()).expect("a zstd file like any other");
    let lines = String::from_utf8(lines).expect("UTF-8");
    assert!(!lines.contains("hush"), "{lines}");
    let ups = lines.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).expect("a JSON line"));
    assert_eq!(ups.filter(|l| l["type"] == "state" && l["to"] == "up").count(), 3);
    assert_eq!(Recording::open(&path).expect("a recording").ending(), Ending::Orderly);
}

#[test]
fn a_size_limit_is_kept_and_the_newest_part_is_readable_alone() {
    let broker = Mosquitto::start();
    let file = busy_fleet(broker.port());
    let path = file.dir.path().join("run.rec");
    let limit = 800_000;
    let (size, name) = (limit.to_string(), path.to_str().unwrap());
    let mut run = Headless::start(&["run", file.path(), "--record", name, "--record-max-size", &size], &[]);
    run.wait_up(600);
    let third = file.dir.path().join("run.rec.3");
    drop(run.wait_for("older files", |_| third.exists()));
    let first = file.dir.path().join("run.rec.1");
    let alone = Recording::open(&first).expect("an older file alone");
    assert_eq!(alone.fleet().clients.len(), 600);
    let known = mqfleet(&["replay", first.to_str().unwrap(), "--format", "json"]);
    let last = text(&known.stdout).lines().last().expect("a line").to_owned();
    assert!(last.contains(r#""up":600"#), "how things stood at its begin is not in it: {last}");
    process::signal(run.id(), Signal::TERM);
    run.wait_exit();
    let sizes: Vec<u64> = fs::read_dir(file.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("run.rec"))
        .map(|entry| entry.metadata().unwrap().len())
        .collect();
    // A segment more than the limit says: it is written whole.
    assert!(sizes.iter().sum::<u64>() < limit + 100_000, "{sizes:?}");
    let whole = Recording::open(&path).expect("all files of it");
    assert!(whole.end().since(whole.begin()) > alone.end().since(alone.begin()));
    assert!(whole.header().anchor().utc(whole.end()) <= Anchor::now().utc(Moment::now()));
    // An older file that cannot be read may be of the same night: that is said.
    fs::write(&first, "damaged").expect("a file");
    let short = mqfleet(&["report", name]);
    assert!(short.status.success());
    let said = text(&short.stderr);
    assert!(
        said.contains("the run may have begun before this: ") && said.contains("run.rec.1 is no recording"),
        "{said}"
    );
}

#[test]
fn what_is_no_recording_is_neither_read_nor_overwritten() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 2);
    let before = fs::read_to_string(file.path()).unwrap();
    let output = mqfleet(&["run", file.path(), "--duration", "1s", "--record", file.path()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("not overwritten"), "{output:?}");
    assert_eq!(fs::read_to_string(file.path()).unwrap(), before);
    for command in ["replay", "report"] {
        let output = mqfleet(&[command, file.path()]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("is no recording"), "{output:?}");
    }
    assert_eq!(
        mqfleet(&["run", file.path(), "--record-max-size", "1GiB"]).status.code(),
        Some(2),
        "a limit of nothing"
    );
}
