//! Metrics pushed to InfluxDB: the real one of version 1, which goes away and comes back, and what a receiver of version 2 is sent.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use mqfleet_test_support::{
    SOON,
    headless::Headless,
    monitoring::Influx,
    mosquitto::{Mosquitto, free_port},
    process,
};

use crate::{file, scrape, sum, wait_for};

/// How long InfluxDB is away: `MQFLEET_SECONDS=600` for what an operator may live through.
fn outage() -> Duration {
    Duration::from_secs(std::env::var("MQFLEET_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6))
}

/// The milliseconds between points, the longest first.
fn gaps(influx: &Influx) -> Vec<u64> {
    let series = influx.query("mqfleet", "SELECT \"value\" FROM \"mqfleet_last_second_timestamp_seconds\"");
    let rows = series[0]["values"].as_array().expect("rows");
    let times: Vec<u64> = rows.iter().map(|row| row[0].as_u64().expect("a time")).collect();
    let mut gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable_by_key(|gap| std::cmp::Reverse(*gap));
    gaps
}

fn notices(run: &Headless) -> String {
    let heard = run.heard();
    let texts: Vec<String> = heard.of_type("notice").map(ToString::to_string).collect();
    texts.join("\n")
}

#[test]
fn nothing_is_lost_while_influxdb_is_away_and_memory_is_bounded() {
    let Some(mut influx) = Influx::start() else { return };
    let broker = Mosquitto::start();
    let port = free_port();
    let more = format!(
        "[metrics]\nlisten = \"127.0.0.1:{port}\"\nclients = {{ match = \"id:press-*\" }}\n[metrics.influx]\nurl = \"http://127.0.0.1:{}\"\ndatabase = \"mqfleet\"\nevery = \"1s\"",
        influx.port()
    );
    let file = file(broker.port(), &more);
    let run = Headless::start(&["run", file.path()], &[]);
    // There is no database yet: that is said, with what to do, and nothing is lost by it.
    let complaint = run.wait_for("the complaint", |heard| {
        heard.of_type("notice").any(|line| line.to_string().contains("CREATE DATABASE"))
    });
    drop(complaint);
    influx.query("", "CREATE DATABASE mqfleet");
    run.wait_up(15);
    let is_told = |series: &crate::Series| {
        sum(series, "mqfleet_influx_points_total", "") > 100.0
            && sum(series, "mqfleet_influx_points_waiting", "") == 0.0
    };
    wait_for(port, "points that were taken", is_told);
    let before = process::memory(run.id());

    influx.kill9();
    let begin = Instant::now();
    let mut most = 0.0_f64;
    while begin.elapsed() < outage() {
        most = most.max(scrape(port).map_or(0.0, |now| sum(&now, "mqfleet_influx_points_waiting", "")));
        std::thread::sleep(Duration::from_millis(200));
    }
    let during = process::memory(run.id());
    influx.start_again();
    let now = wait_for(port, "all taken", is_told);
    assert!(most > 300.0 && sum(&now, "mqfleet_influx_write_failures_total", "") > 1.0, "{most}");
    assert_eq!(sum(&now, "mqfleet_influx_points_dropped_total", ""), 0.0);
    let gaps = gaps(&influx);
    assert!(gaps[0] < 3_000 && gaps.len() as u64 >= outage().as_secs(), "a gap of {} ms", gaps[0]);
    let told = notices(&run);
    assert!(told.contains("takes metrics again; nothing was lost"), "{told}");
    let grown = during.anon.saturating_sub(before.anon) >> 20;
    eprintln!("away for {:?}: {most} points waited, memory grew by {grown} MiB, no gap above {} ms", outage(), gaps[0]);
    assert!(grown < 64, "{grown} MiB");
}

#[test]
fn what_is_too_old_is_dropped_and_told() {
    let Some(mut influx) = Influx::start() else { return };
    influx.query("", "CREATE DATABASE mqfleet");
    let broker = Mosquitto::start();
    let port = free_port();
    let more = format!(
        "[metrics]\nlisten = \"127.0.0.1:{port}\"\n[metrics.influx]\nurl = \"http://127.0.0.1:{}\"\ndatabase = \"mqfleet\"\nevery = \"1s\"\nkeep = \"2s\"",
        influx.port()
    );
    let file = file(broker.port(), &more);
    let run = Headless::start(&["run", file.path()], &[]);
    wait_for(port, "points that were taken", |series| sum(series, "mqfleet_influx_points_total", "") > 100.0);
    influx.kill9();
    let waited = wait_for(port, "drops", |series| sum(series, "mqfleet_influx_points_dropped_total", "") > 300.0);
    // Three seconds of some hundred points each, at most four.
    let each = waited.len() as f64;
    let waiting = sum(&waited, "mqfleet_influx_points_waiting", "");
    assert!(waiting > 0.0 && waiting < 4.0 * each, "{waiting} of {each} wait");
    let told = run.wait_for("it is told", |heard| {
        heard.of_type("notice").any(|line| line.to_string().contains("the oldest metrics are dropped"))
    });
    drop(told);
    influx.start_again();
    drop(run.wait_for("it is back", |heard| {
        heard.of_type("notice").any(|line| line.to_string().contains("points were dropped"))
    }));
}

/// What is posted: the request's line and headers, and its body.
fn receive() -> (u16, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (sender, receiver): (Sender<(String, Vec<u8>)>, _) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            let _ = reader.read_exact(&mut body);
            let _ = write!(&stream, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
            if sender.send((head, body)).is_err() {
                return;
            }
        }
    });
    (port, receiver)
}

#[test]
fn a_bucket_is_written_to_with_a_token_that_nobody_sees() {
    const TOKEN: &str = "let-me-write-4";
    let broker = Mosquitto::start();
    let (port, posted) = receive();
    let more = format!(
        "[metrics.influx]\nurl = \"http://127.0.0.1:{port}/influx\"\norg = \"my plant\"\nbucket = \"m/1\"\ntoken = {{ file = \"token\" }}\nevery = \"1s\""
    );
    let file = file(broker.port(), &more);
    let token = file.dir.path().join("token");
    fs::write(&token, format!("{TOKEN}\n")).expect("a file");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("a mode");
    let log = file.dir.path().join("log");
    let run = Headless::start(&["run", file.path(), "--log", log.to_str().expect("a path")], &[]);
    run.wait_up(15);
    let (head, body) = posted.recv_timeout(SOON).expect("a request");
    let first = head.lines().next().expect("a line");
    assert_eq!(first, "POST /influx/api/v2/write?org=my%20plant&bucket=m%2F1&precision=ms HTTP/1.1");
    let has = |line: &str| head.lines().any(|one| one.eq_ignore_ascii_case(line));
    assert!(has(&format!("authorization: Token {TOKEN}")) && has("content-encoding: gzip"), "{head}");
    let mut lines = String::new();
    GzDecoder::new(&body[..]).read_to_string(&mut lines).expect("gzip");
    assert!(lines.lines().all(|line| line.starts_with("mqfleet_") && line.contains(",fleet=test,host=")), "{lines}");
    for id in process::descendants(run.id()).into_iter().chain([run.id()]) {
        for what in ["cmdline", "environ"] {
            let bytes = process::read(id, what).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&bytes).contains(TOKEN), "{what} of {id}");
        }
    }
    assert!(!run.heard().lines.iter().any(|line| line.to_string().contains(TOKEN)));
    assert!(!fs::read_to_string(&log).expect("a log").contains(TOKEN));
    // What is said at the end is the last second.
    process::signal(run.id(), rustix::process::Signal::TERM);
    let mut last = lines;
    while let Ok((_, body)) = posted.recv_timeout(Duration::from_secs(5)) {
        last.clear();
        GzDecoder::new(&body[..]).read_to_string(&mut last).expect("gzip");
    }
    let clients: f64 = last
        .lines()
        .filter(|line| line.starts_with("mqfleet_clients,"))
        .map(|line| {
            line.split("value=")
                .nth(1)
                .expect("a value")
                .split(' ')
                .next()
                .expect("it")
                .parse::<f64>()
                .expect("a number")
        })
        .sum();
    assert_eq!(clients, 15.0, "{last}");
}
