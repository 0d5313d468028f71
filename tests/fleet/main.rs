//! Whole fleets on real brokers, seen through the JSON lines: faults heal by themselves, and scripts get what they were promised. The screen is tested in `console.rs`.

mod console;
mod credentials;
mod dead_endpoint;
mod demo;
mod late;
mod rights;
mod secrets;
mod storm;

use std::{
    collections::HashSet,
    fs,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use mqfleet_test_support::{
    SOON,
    console::Console,
    fleet_file::FleetFile,
    headless::{self, Headless},
    mosquitto::{self, Mosquitto, Setup},
    process, program,
    witness::Witness,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

const SECOND: Duration = Duration::from_secs(1);

/// How often the broker is killed: a short form by default, the whole with `make chaos`.
fn rounds() -> usize {
    std::env::var("MQFLEET_ROUNDS").map_or(3, |n| n.parse().expect("MQFLEET_ROUNDS is a number"))
}

/// Kills the broker under 1,000 clients and starts it again, over and over.
fn survive_broker_deaths(worker_size: usize) {
    let mut broker = Mosquitto::start();
    let file = FleetFile::sized(broker.port(), 1_000, worker_size);
    let started = Instant::now();
    let mut run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(1_000);
    println!("1,000 up {:?} after the program's start", started.elapsed());
    let workers = run.workers();
    for round in 1..=rounds() {
        let killed = Instant::now();
        broker.kill9();
        run.wait_up(0);
        let all_down = killed.elapsed();
        broker.restart();
        let restarted = Instant::now();
        run.wait_up(1_000);
        println!("round {round}: all down after {all_down:?}, all up {:?} after the restart", restarted.elapsed());
    }
    assert_eq!(run.workers(), workers, "a worker died, and with it the proof");
    process::signal(run.id(), Signal::TERM);
    assert_eq!(run.wait_exit().code(), Some(143));
}

#[test]
fn a_fleet_in_workers_of_500_survives_its_broker_s_deaths() {
    survive_broker_deaths(500);
}

#[test]
fn a_fleet_in_one_worker_of_1000_survives_its_broker_s_deaths() {
    survive_broker_deaths(1_000);
}

#[test]
fn a_killed_worker_costs_only_its_own_connections_and_only_for_a_moment() {
    let (a, b) = (Mosquitto::start(), Mosquitto::start());
    let file = FleetFile::new(&format!(
        r#"
        [fleet]
        worker_size = 250
        [endpoint.a]
        url = "mqtt://127.0.0.1:{}"
        [endpoint.b]
        url = "mqtt://127.0.0.1:{}"
        [[client]]
        id = "a-%i"
        count = 250
        endpoints = ["a"]
        [[client]]
        id = "b-%i"
        count = 250
        endpoints = ["b"]
        "#,
        a.port(),
        b.port()
    ));
    let mut run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(500);
    for round in 1..=rounds() as u64 {
        let said = run.heard().lines.len();
        let deaths = |h: &headless::Heard| h.of_type("worker").filter(|l| l["event"] == "died").count();
        let killed = Instant::now();
        process::signal(run.workers()[&0], Signal::KILL);
        drop(run.wait_for("the death", |h| deaths(h) as u64 == round));
        run.wait_up(500);
        println!("round {round}: its 250 clients are back {:?} after the kill", killed.elapsed());
        let heard = run.heard();
        let since: Vec<_> = heard.lines[said..].iter().collect();
        let touched: HashSet<&str> =
            since.iter().filter(|l| l["type"] == "state").map(|l| l["client"].as_str().unwrap()).collect();
        assert!(touched.iter().all(|c| c.starts_with("a-")), "another worker's clients blinked: {touched:?}");
        assert_eq!(touched.len(), 250);
        let died = since.iter().find(|l| l["event"] == "died").expect("a line about the death");
        let words = died["detail"].as_str().unwrap();
        assert!(words.contains("killed by signal 9") && words.contains("250 clients wait"), "{words}");
        let held = since.iter().find(|l| l["to"] == "held").expect("a held client");
        assert_eq!(held["reason"], "worker_lost");
    }
    let log = b.log();
    assert_eq!(log.matches("New client connected").count(), 250, "b saw reconnects");
    process::signal(run.id(), Signal::TERM);
    run.wait_exit();
}

/// Neither its clients nor its broker would ever say that it is stopped.
#[test]
fn a_stopped_worker_is_told_replaced_and_costs_only_its_own_connections() {
    let broker = Mosquitto::start();
    let file = FleetFile::sized(broker.port(), 40, 20);
    let mut run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(40);
    let said = run.heard().lines.len();
    let (stopped, witness) = (Instant::now(), Witness::start());
    process::signal(run.workers()[&0], Signal::STOP);
    let is = |l: &serde_json::Value, event: &str| l["type"] == "worker" && l["event"] == event;
    drop(run.wait_for("the silence", |h| h.lines[said..].iter().any(|l| is(l, "silent"))));
    let told = stopped.elapsed();
    let bound = Duration::from_secs(if witness.had_time(stopped + told - SECOND, SECOND) { 6 } else { 20 });
    assert!(told > Duration::from_secs(4) && told < bound, "told after {told:?}");
    drop(run.wait_for("another worker", |h| h.lines[said..].iter().any(|l| is(l, "restarted"))));
    run.wait_up(40);
    println!("told {told:?} after the stop, all up after {:?}", stopped.elapsed());
    let heard = run.heard();
    let since = &heard.lines[said..];
    let of_workers: Vec<_> = since.iter().filter(|l| l["type"] == "worker").collect();
    let events: Vec<_> = of_workers.iter().map(|l| l["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["silent", "died", "restarted"]);
    assert!(of_workers.iter().all(|l| l["worker"] == 0));
    let words = of_workers[1]["detail"].as_str().unwrap();
    assert!(words.starts_with("silent for 5 s, killed; its 20 clients wait"), "{words}");
    let steps: Vec<_> = since.iter().filter(|l| l["type"] == "state").collect();
    let touched: HashSet<&str> = steps.iter().map(|l| l["client"].as_str().unwrap()).collect();
    let its_own: HashSet<String> = (1..=20).map(|n| format!("press-{n:04}")).collect();
    assert_eq!(touched, its_own.iter().map(String::as_str).collect(), "others blinked, or its own did not");
    for client in &touched {
        let of_client = steps.iter().filter(|l| l["client"] == *client).map(|l| l["to"].as_str().unwrap());
        assert_eq!(of_client.collect::<Vec<_>>(), ["held", "queued", "connecting", "up"]);
    }
    assert!(steps.iter().filter(|l| l["to"] == "held").all(|l| l["reason"] == "worker_silent"));
    drop(heard);
    process::signal(run.id(), Signal::TERM);
    run.wait_exit();
}

#[test]
fn clients_of_a_silent_worker_are_not_counted_as_up_at_the_end() {
    let broker = Mosquitto::start();
    let file = FleetFile::sized(broker.port(), 40, 20);
    let mut run = Headless::start(&["run", file.path(), "--duration", "10s"], &[]);
    run.wait_up(40);
    // None can be started in its place.
    let program = Pid::from_raw(run.id() as i32).unwrap();
    let limit = getrlimit(Resource::Nofile);
    prlimit(Some(program), Resource::Nofile, Rlimit { current: Some(3), ..limit }).unwrap();
    process::signal(run.workers()[&0], Signal::STOP);
    assert_eq!(run.wait_exit().code(), Some(3));
    let heard = run.heard();
    let last = heard.lines.last().unwrap();
    assert_eq!((&last["type"], &last["up"], &last["held"]), (&"summary".into(), &20.into(), &20.into()));
    let silent = heard.of_type("state").filter(|l| l["reason"] == "worker_silent").count();
    assert_eq!(silent, 20);
}

#[test]
fn a_program_that_was_stopped_itself_takes_no_worker_for_silent() {
    let broker = Mosquitto::start();
    let file = FleetFile::sized(broker.port(), 40, 20);
    let mut run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(40);
    process::signal(run.id(), Signal::STOP);
    // This is the one thing that takes time: longer than a worker may be silent.
    std::thread::sleep(Duration::from_secs(7));
    process::signal(run.id(), Signal::CONT);
    let summaries = |h: &headless::Heard| h.of_type("summary").count();
    let before = summaries(&run.heard());
    drop(run.wait_for("seconds after it", |h| summaries(h) >= before + 3));
    let heard = run.heard();
    let events: Vec<_> = heard.of_type("worker").map(|l| l["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["started", "started"]);
    assert_eq!(heard.count("up"), 40);
    drop(heard);
    process::signal(run.id(), Signal::TERM);
    run.wait_exit();
}

/// Filters for one client and gives an order about it by key.
fn order(console: &mut Console, client: &str, key: &str) {
    console.press(&format!("/{client}\r"));
    console.wait_text("1 of 40 match");
    console.press("\x1b[B");
    let is_chosen = |s: &str| s.lines().any(|l| l.starts_with('>') && l.contains(client));
    console.wait_for("the cursor on it", is_chosen);
    console.press(key);
    match key {
        "d" => {
            console.wait_text(&format!("isconnect {client}"));
            console.press("y");
            console.wait_text(&format!("disconnecting {client}"));
        }
        _ => drop(console.wait_text(&format!("reconnecting {client}"))),
    }
    console.press("\x1b");
    console.wait_for("no filter", |s| !s.contains("match"));
}

/// Waits until the file says so, this many times.
#[track_caller]
fn wait_told(log: &std::path::Path, what: &str, times: usize) {
    let end = Instant::now() + SOON;
    while fs::read_to_string(log).unwrap_or_default().matches(what).count() < times {
        assert!(Instant::now() < end, "not in the log: {what}\n{}", fs::read_to_string(log).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_is_ordered_while_a_worker_is_silent_or_gone_is_kept_or_told() {
    let broker = Mosquitto::start();
    let file = FleetFile::sized(broker.port(), 40, 20);
    let log = file.dir.path().join("log");
    let mut console = Console::start(120, 40, &["run", file.path(), "--log", log.to_str().unwrap()]);
    console.wait_text("40 up");
    let connects = |client: &str| {
        let said = format!(" as {client} ");
        broker.log().lines().filter(|l| l.contains("New client connected") && l.contains(&said)).count()
    };

    // Nobody knows yet that it is stopped.
    process::signal(process::worker(0, &console.descendants()), Signal::STOP);
    order(&mut console, "press-0003", "d");
    order(&mut console, "press-0004", "r");
    wait_told(&log, "worker 0 has been silent for 5 s (stopped, or hung)", 1);
    console.wait_text("39 up");
    assert_eq!(["press-0002", "press-0003", "press-0004", "press-0030"].map(connects), [2, 1, 2, 1]);

    // The next one dies as well, and no other can be started in its place.
    let program = Pid::from_raw(console.id() as i32).unwrap();
    let limit = getrlimit(Resource::Nofile);
    prlimit(Some(program), Resource::Nofile, Rlimit { current: Some(3), ..limit }).unwrap();
    process::signal(process::worker(0, &console.descendants()), Signal::KILL);
    console.wait_text("20 up");
    order(&mut console, "press-0005", "d");
    order(&mut console, "press-0006", "r");
    // At its death, and again as the answer to the order.
    wait_told(&log, "press-0006 is waiting for its worker: worker died: killed by signal 9", 2);
    wait_told(&log, "worker 0 died: cannot start: Too many open files", 1);
    prlimit(Some(program), Resource::Nofile, limit).unwrap();
    console.wait_text("38 up");
    assert_eq!(["press-0003", "press-0005", "press-0006", "press-0030"].map(connects), [1, 2, 3, 1]);
    console.signal(Signal::TERM);
    console.wait_exit();
}

#[test]
fn a_frozen_worker_that_dies_is_replaced_and_a_killed_program_leaves_none() {
    let broker = Mosquitto::start();
    let file = FleetFile::sized(broker.port(), 40, 20);
    let mut run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(40);
    let workers: Vec<u32> = process::descendants(run.id());
    assert_eq!(workers.len(), 2);
    process::signal(run.id(), Signal::KILL);
    run.wait_exit();
    process::assert_gone(&workers);
}

#[test]
fn json_lines_are_whole_ordered_and_end_with_a_summary() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 30);
    let mut run = Headless::start(&["run", file.path(), "--samples", "--duration", "3s"], &[]);
    assert_eq!(run.wait_exit().code(), Some(0));
    let heard = run.heard();
    let first = &heard.lines[0];
    assert_eq!((&first["type"], &first["clients"], &first["workers"]), (&"start".into(), &30.into(), &1.into()));
    assert_eq!(first["schema"], 1);
    let last = heard.lines.last().unwrap();
    assert_eq!((&last["type"], &last["up"]), (&"summary".into(), &30.into()));
    assert!(last["p50_us"].as_u64().is_some_and(|us| us > 0), "{last}");
    assert!(heard.of_type("summary").count() >= 3, "a summary every second and one at the end");
    let samples: Vec<_> = heard.of_type("sample").collect();
    assert!(samples.len() >= 30, "{} samples", samples.len());
    assert!(samples.iter().all(|s| s["probe"] == "ack" && s["rtt_us"].as_u64().is_some()));
    let mut steps: Vec<[&str; 2]> = heard
        .of_type("state")
        .filter(|l| l["client"] == "press-0007")
        .map(|l| ["to", "reason"].map(|key| l[key].as_str().unwrap()))
        .collect();
    // Only where its worker was there before its endpoint was reached.
    steps.retain(|step| *step != ["held", "endpoint_unknown"]);
    assert_eq!(steps[0], ["held", "start"]);
    let steps: Vec<&str> = steps.into_iter().map(|[to, _]| to).collect();
    assert_eq!(steps, ["held", "queued", "connecting", "up"]);
    for line in &heard.lines {
        let ts = line["ts"].as_str().expect("every line has a time");
        assert!(chrono::DateTime::parse_from_rfc3339(ts).is_ok() && ts.ends_with('Z') && ts.len() == 24, "{ts}");
    }
}

#[test]
fn a_limited_run_in_which_not_all_are_up_is_a_failed_check() {
    let port = mosquitto::free_port();
    let file = FleetFile::presses(port, 3);
    let mut run = Headless::start(&["run", file.path(), "--duration", "1s"], &[]);
    assert_eq!(run.wait_exit().code(), Some(3));
    let heard = run.heard();
    // The endpoint is asked once, not by each client, and they are told what it said.
    let held: Vec<_> = heard.of_type("state").filter(|l| l["reason"] == "connection_refused").collect();
    assert_eq!(held.len(), 3, "{:?}", heard.lines);
    assert!(held.iter().all(|l| l["to"] == "held" && l["next_try_ms"].as_u64().is_some()), "{held:?}");
    assert!(heard.of_type("state").all(|l| l["to"] != "connecting"), "a client connected to a dead endpoint");
}

#[test]
fn a_reader_that_goes_away_ends_the_run_and_its_workers() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 10);
    let mut child =
        Command::new(program()).args(["run", file.path(), "--format", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"up\"") {
        line.clear();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    }
    let workers = process::descendants(child.id());
    drop(out);
    let ended = child.wait().unwrap();
    assert!(ended.success(), "{ended}");
    process::assert_gone(&workers);
}

fn mqfleet(args: &[&str]) -> Output {
    Command::new(program()).args(args).output().expect("the program runs")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

#[test]
fn a_run_under_nohup_outlives_its_terminal() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 3);
    let mut nohup = Command::new("nohup");
    let mut run = Headless::of(nohup.args([program(), "run", file.path()]));
    run.wait_up(3);
    process::signal(run.id(), Signal::HUP);
    let summaries = |h: &headless::Heard| h.of_type("summary").count();
    let before = summaries(&run.heard());
    drop(run.wait_for("life after the terminal's end", |h| summaries(h) >= before + 2));
    process::signal(run.id(), Signal::TERM);
    assert_eq!(run.wait_exit().code(), Some(143));
}

#[test]
fn check_tells_who_could_not_connect_and_why() {
    let broker = Mosquitto::with(Setup { users: vec![("op".into(), "right".into())], ..Setup::default() });
    let text = |password: &str| {
        format!(
            r#"
            [endpoint.eu-1]
            url = "mqtt://127.0.0.1:{}"
            [[client]]
            id = "good-%i"
            count = 3
            endpoints = ["eu-1"]
            username = "op"
            password = "right"
            [[client]]
            id = "doubtful"
            endpoints = ["eu-1"]
            username = "op"
            password = "{password}"
            "#,
            broker.port()
        )
    };
    let good = FleetFile::new(&text("right"));
    let output = mqfleet(&["check", good.path(), "--connect"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), "all 4 clients connected\n"));

    let bad = FleetFile::new(&text("wr0ng-s3cret"));
    let output = mqfleet(&["check", bad.path(), "--connect"]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("doubtful could not connect to eu-1") && said.contains("3 of 4 clients connected"), "{said}");
    let everything = [output.stdout, output.stderr].concat();
    assert!(!String::from_utf8_lossy(&everything).contains("wr0ng-s3cret"));

    let output = mqfleet(&["check", bad.path(), "--connect", "--format", "json"]);
    let lines: Vec<serde_json::Value> = stdout(&output).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(lines[..lines.len() - 1].iter().all(|l| l["type"] == "state"));
    let summary = lines.last().unwrap();
    assert_eq!((&summary["type"], &summary["up"], &summary["failed"]), (&"summary".into(), &3.into(), &1.into()));

    let output = mqfleet(&["check", bad.path()]);
    assert_eq!(output.status.code(), Some(0), "without --connect only the file is checked");
    assert!(stdout(&output).contains("4 clients"), "{}", stdout(&output));
    let output = mqfleet(&["check", "/no/such/file.toml"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn init_writes_a_file_that_checks_and_never_overwrites_one() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("fleet.toml");
    let path = path.to_str().unwrap();
    assert_eq!(mqfleet(&["init", path]).status.code(), Some(0));
    let output = mqfleet(&["check", path]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(path, "mine").unwrap();
    assert_ne!(mqfleet(&["init", path]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(path).unwrap(), "mine");
}

#[test]
fn a_secret_reaches_neither_argv_nor_environment_nor_output() {
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
        "#,
        broker.port()
    ));
    let log = file.dir.path().join("log");
    let args = ["run", file.path(), "--log", log.to_str().unwrap()];
    let mut run = Headless::start(&args, &[("PRESS_PASSWORD", secret)]);
    run.wait_up(3);
    let workers = process::descendants(run.id());
    assert!(!workers.is_empty());
    for worker in workers {
        assert!(process::is_running(worker));
        for file in ["cmdline", "environ"] {
            let Some(text) = process::read(worker, file) else { continue };
            assert!(!String::from_utf8_lossy(&text).contains(secret), "{file} of a worker holds the secret");
        }
    }
    process::signal(run.id(), Signal::TERM);
    run.wait_exit();
    let written = fs::read_to_string(log).unwrap();
    assert!(written.contains(" connected to eu-1") && !written.contains(secret));
    assert!(run.heard().lines.iter().all(|l| !l.to_string().contains(secret)));
}

#[test]
fn a_log_that_finds_its_disk_full_keeps_its_lines_and_writes_them_when_there_is_room() {
    let dir = tempfile::TempDir::new().unwrap();
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&disk).status();
    if !mount.is_ok_and(|s| s.success()) {
        println!("not shown here: mounting a small disk needs root");
        return;
    }
    let result = std::panic::catch_unwind(|| {
        let broker = Mosquitto::start();
        let file = FleetFile::presses(broker.port(), 50);
        let filler = disk.join("filler");
        fs::write(&filler, vec![b'x'; 64 << 10]).unwrap_or_default(); // as much as fits
        let log = disk.join("events.log");
        let args = ["run", file.path(), "--log", log.to_str().unwrap()];
        let mut run = Headless::start(&args, &[]);
        run.wait_up(50);
        let notice = |h: &headless::Heard, words: &str| {
            h.of_type("notice").any(|l| l["text"].as_str().is_some_and(|t| t.contains(words)))
        };
        drop(run.wait_for("a word about the full disk", |h| notice(h, "cannot write the log")));
        fs::remove_file(&filler).unwrap();
        drop(run.wait_for("a word about the recovery", |h| notice(h, "is written again")));
        process::signal(run.id(), Signal::TERM);
        run.wait_exit();
        let text = fs::read_to_string(&log).unwrap();
        assert_eq!(text.matches(" connected to eu-1").count(), 50, "lines were lost:\n{text}");
        assert!(text.ends_with('\n'), "a torn line");
    });
    assert!(Command::new("umount").arg("-l").arg(&disk).status().unwrap().success());
    result.unwrap();
}

#[test]
fn a_check_ends_where_an_endpoint_cannot_be_reached() {
    let broker = Mosquitto::start();
    let file = FleetFile::new(&format!(
        r#"
        [endpoint.here]
        url = "mqtt://127.0.0.1:{}"
        [endpoint.gone]
        url = "mqtt://127.0.0.1:1"
        [[client]]
        id = "good"
        endpoints = ["here"]
        [[client]]
        id = "second-choice"
        endpoints = ["gone", "here"]
        [[client]]
        id = "lost"
        endpoints = ["gone"]
        "#,
        broker.port()
    ));
    let output = mqfleet(&["check", file.path(), "--connect"]);
    let said = String::from_utf8_lossy(&output.stdout);
    let told =
        "lost could not connect to gone (127.0.0.1:1): connection refused: 127.0.0.1:1\n2 of 3 clients connected\n";
    assert_eq!((output.status.code(), &*said), (Some(3), told), "{}", String::from_utf8_lossy(&output.stderr));
}
