//! Metrics as a scraper and a database see them: served and pushed by the real program, of real clients, read by promtool, Prometheus and InfluxDB; what single figures are made of is the library's matter.

mod dashboards;
mod influx;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    time::Instant,
};

use mqfleet_test_support::{
    SOON,
    fleet_file::FleetFile,
    headless::Headless,
    mosquitto::{Mosquitto, free_port},
    process, program,
};
use rustix::process::Signal;

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";

/// Status, head and body of an answer; `None` where nobody listens yet.
fn get(port: u16, path: &str, accept: &str) -> Option<(u16, String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    Some((status, head.to_owned(), body.to_owned()))
}

/// The series by name and labels.
type Series = BTreeMap<String, f64>;

fn series(body: &str) -> Series {
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

fn scrape(port: u16) -> Option<Series> {
    get(port, "/metrics", "").filter(|(status, ..)| *status == 200).map(|(.., body)| series(&body))
}

/// Scrapes until the figures are as wanted.
#[track_caller]
fn wait_for(port: u16, what: &str, wanted: impl Fn(&Series) -> bool) -> Series {
    let begin = Instant::now();
    loop {
        let seen = scrape(port);
        if let Some(seen) = seen.as_ref().filter(|seen| wanted(seen)) {
            return seen.clone();
        }
        assert!(begin.elapsed() < SOON, "not scraped: {what}; last: {seen:#?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// The sum of all series of a metric whose labels have this.
fn sum(series: &Series, metric: &str, has: &str) -> f64 {
    let of = |name: &str| name.split('{').next() == Some(metric) && name.contains(has);
    series.iter().filter(|(name, _)| of(name)).map(|(_, value)| value).sum()
}

/// Has Prometheus' own parser read what is scraped; where there is none, says so.
fn promtool(body: &str) {
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else { return eprintln!("skipped: there is no promtool") };
    child.stdin.take().expect("a pipe").write_all(body.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

fn file(broker: u16, more: &str) -> FleetFile {
    FleetFile::new(&format!(
        r#"
        [fleet]
        name = "test"
        worker_size = 10
        [endpoint.eu-1]
        url = "mqtt://127.0.0.1:{broker}"
        [defaults]
        probe = {{ kind = "ack", every = "200ms" }}
        reconnect = {{ strategy = "fixed", every = "500ms" }}
        publish = {{ topic = "t/%c", payload = "x", every = "300ms" }}
        subscribe = [{{ topic = "t/%c", qos = 0 }}]
        labels = {{ site = "hall-3" }}
        [[client]]
        id = "press-%02i"
        count = 15
        endpoints = ["eu-1"]
        {more}
        "#
    ))
}

#[test]
fn figures_are_those_of_the_same_second_and_never_fall_when_a_worker_dies() {
    let broker = Mosquitto::start();
    let port = free_port();
    let file = file(broker.port(), &format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\nlabel = \"site\""));
    let run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(15);
    let is_told = |series: &Series| {
        sum(series, "mqfleet_messages_received_total", "") > 30.0
            && sum(series, "mqfleet_network_sent_bytes_total", "") > 0.0
    };
    let before = wait_for(port, "messages and bytes", is_told);
    assert_eq!(before["mqfleet_clients{endpoint=\"eu-1\",site=\"hall-3\",state=\"up\"}"], 15.0, "{before:#?}");
    assert_eq!(
        (sum(&before, "mqfleet_connects_total", ""), before["mqfleet_endpoint_open{endpoint=\"eu-1\"}"]),
        (15.0, 1.0)
    );
    assert!(sum(&before, "mqfleet_round_trip_seconds_count", "") > 15.0);
    assert_eq!(sum(&before, "mqfleet_connect_duration_seconds_count", ""), 15.0);
    assert_eq!(get(port, "/readyz", "").expect("an answer").2, "15 of 15 clients are up\n");

    let same_second = |series: &Series| {
        let second = series["mqfleet_last_second_timestamp_seconds"];
        let heard = run.wait_for("the second's summary", |heard| {
            heard.of_type("summary").any(|line| stamp(&line["ts"]) == (second * 1e3).round() as i64)
        });
        let line =
            heard.of_type("summary").find(|line| stamp(&line["ts"]) == (second * 1e3).round() as i64).expect("it");
        for state in ["off", "held", "queued", "connecting", "up", "backoff", "failed"] {
            assert_eq!(
                Some(sum(series, "mqfleet_clients", &format!("state=\"{state}\"")) as u64),
                line[state].as_u64(),
                "{state}"
            );
        }
        assert_eq!(Some(sum(series, "mqfleet_slow_clients", "") as u64), line["slow"].as_u64());
        assert_eq!(Some(sum(series, "mqfleet_messages_received_total", "") as u64), line["received"].as_u64());
        let accepted =
            sum(series, "mqfleet_messages_published_total", "") - sum(series, "mqfleet_messages_refused_total", "");
        assert_eq!(Some(accepted as u64), line["published"].as_u64());
    };
    same_second(&before);

    // The first of two workers holds 8 of the 15.
    let victim = run.workers()[&0];
    process::signal(victim, Signal::KILL);
    let lost = "mqfleet_disconnects_total{endpoint=\"eu-1\",site=\"hall-3\",reason=\"worker_lost\"}";
    let mut last = before;
    let is_back = |series: &Series| {
        let deaths = series["mqfleet_worker_deaths_total{worker=\"0\"}"];
        deaths == 1.0
            && sum(series, "mqfleet_connects_total", "") >= 23.0
            && sum(series, "mqfleet_clients", "up") == 15.0
    };
    let begin = Instant::now();
    loop {
        let now = scrape(port).expect("it listens");
        for (name, value) in last
            .iter()
            .filter(|(name, _)| name.contains("_total") || name.contains("_count") || name.contains("_bucket"))
        {
            assert!(now.get(name).is_some_and(|now| now >= value), "{name} fell from {value} to {:?}", now.get(name));
        }
        last = now;
        let processes = last.keys().filter(|name| name.starts_with("mqfleet_process_cpu_seconds_total")).count();
        if is_back(&last) && processes == 3 && last.get(lost) == Some(&8.0) {
            break;
        }
        assert!(begin.elapsed() < SOON, "not back: {last:#?}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    same_second(&last);
    assert_eq!(last["mqfleet_worker_up{worker=\"0\"}"], 1.0);
}

fn stamp(ts: &serde_json::Value) -> i64 {
    let ts = ts.as_str().expect("a time");
    chrono::DateTime::parse_from_rfc3339(ts).expect("RFC 3339").timestamp_millis()
}

#[test]
fn any_client_id_is_read_by_prometheus_and_the_cap_holds() {
    let broker = Mosquitto::start();
    let port = free_port();
    let more = "
        [[client]]
        id = 'a\"b\\c'
        endpoints = [\"eu-1\"]
        [[client]]
        id = \"two\\nlines\"
        endpoints = [\"eu-1\"]
        [metrics]
        clients = { match = { endpoint = \"eu-1\", id = \"*[!]*\" }, at_most = 2 }
    ";
    let odd = file(broker.port(), &more.replace("*[!]*", "[!]*"));
    let none = Headless::start(&["run", odd.path(), "--metrics", &format!("127.0.0.1:{port}")], &[]);
    none.wait_up(16);
    wait_for(port, "nobody", |series| !series.keys().any(|name| name.starts_with("mqfleet_client_up")));
    drop(none);
    let port = free_port();
    let picked = file(broker.port(), &more.replace("*[!]*", "*").replace("at_most = 2", "at_most = 16"));
    let run = Headless::start(&["run", picked.path(), "--metrics", &format!("127.0.0.1:{port}")], &[]);
    run.wait_up(16);
    let seen = wait_for(port, "a picked client's answer", |series| sum(series, "mqfleet_client_up", "") == 16.0);
    assert_eq!(seen["mqfleet_clients_left_out"], 1.0);
    assert_eq!(seen["mqfleet_client_up{client=\"a\\\"b\\\\c\",endpoint=\"eu-1\"}"], 1.0, "{seen:#?}");
    drop(run);
    let port = free_port();
    let both = file(broker.port(), &more.replace("*[!]*", "*").replace("at_most = 2", "at_most = 17"));
    let run = Headless::start(&["run", both.path(), "--metrics", &format!("127.0.0.1:{port}")], &[]);
    run.wait_up(16);
    let two = "mqfleet_client_up{client=\"two\\nlines\",endpoint=\"eu-1\"}";
    // Which no broker lets in.
    wait_for(port, "a client whose ID has two lines", |series| series.get(two) == Some(&0.0));
    let (_, head, text) = get(port, "/metrics", "text/plain").expect("an answer");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    promtool(&text);
    let (_, head, open) = get(port, "/metrics", OPEN_METRICS).expect("an answer");
    assert!(head.contains(OPEN_METRICS.split(';').next().expect("a type")) && open.ends_with("# EOF\n"), "{head}");
    assert!(open.contains("# TYPE mqfleet_connects counter\nmqfleet_connects_total{"));
}

#[test]
fn what_is_no_page_and_no_address_says_so() {
    let broker = Mosquitto::start();
    let port = free_port();
    let file = file(broker.port(), "");
    let run = Headless::start(&["run", file.path(), "--metrics", &format!("127.0.0.1:{port}")], &[]);
    wait_for(port, "anything", |_| true);
    assert_eq!(
        get(port, "/", "").map(|(status, _, body)| (status, body)),
        Some((404, "there are /metrics, /healthz and /readyz\n".into()))
    );
    assert_eq!(get(port, "/healthz", "").map(|(status, _, body)| (status, body)), Some((200, "ok\n".into())));
    // Half a request, and one that is none.
    let mut half = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    half.write_all(b"GET /met").expect("it reads");
    let mut wrong = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    wrong.write_all(b"\x16\x03\x01 hello\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    wrong.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(get(port, "/healthz", "").map(|(status, ..)| status), Some(200));

    let refused = |address: &str| {
        let output = Command::new(program())
            .args(["run", file.path(), "--plain", "--metrics", address])
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let taken = refused(&format!("127.0.0.1:{port}"));
    assert!(
        taken.0 == Some(1) && taken.1.contains(&format!("cannot serve metrics at 127.0.0.1:{port}: ")),
        "{taken:?}"
    );
    for address in [":9464", "9464", "localhost:9464"] {
        let (code, said) = refused(address);
        assert!(code == Some(2) && said.contains("write \"127.0.0.1:9464\", or \"0.0.0.0:9464\""), "{said}");
    }
    drop(run);
}

#[test]
fn figures_follow_a_fleet_file_that_is_read_anew() {
    let broker = Mosquitto::start();
    let port = free_port();
    let metrics = format!(
        "[metrics]\nlisten = \"127.0.0.1:{port}\"\nlabel = \"site\"\nclients = {{ match = {{ endpoint = \"eu-1\" }}, at_most = 20 }}"
    );
    let (before, other) = (file(broker.port(), &metrics), file(broker.port(), &metrics));
    let folder = before.dir.path().join("folders");
    let mut agent = Command::new(program());
    agent.args(["agent", before.path()]).env("XDG_RUNTIME_DIR", &folder).env("XDG_STATE_HOME", &folder);
    let agent = Guard(agent.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("the agent starts"));
    let all_up = |count: f64| move |series: &Series| sum(series, "mqfleet_clients", "state=\"up\"") == count;
    wait_for(port, "all up", all_up(15.0));

    // Three of them go, and two come, at another site.
    let text = std::fs::read_to_string(other.path()).expect("the file").replace("count = 15", "count = 12");
    let new = "[[client]]\nid = \"crane-%i\"\ncount = 2\nendpoints = [\"eu-1\"]\nlabels = { site = \"hall-9\" }\n";
    std::fs::write(before.path(), format!("{text}\n{new}")).expect("the file");
    process::signal(agent.0.id(), Signal::HUP);
    let now = wait_for(port, "who is new", |series| {
        all_up(14.0)(series) && sum(series, "mqfleet_clients", "site=\"hall-9\",state=\"up\"") == 2.0
    });
    assert_eq!((sum(&now, "mqfleet_clients", ""), sum(&now, "mqfleet_connects_total", "")), (14.0, 17.0), "{now:#?}");
    assert_eq!((sum(&now, "mqfleet_client_up", "crane"), sum(&now, "mqfleet_client_up", "")), (2.0, 14.0));
    assert_eq!(get(port, "/readyz", "").expect("an answer").2, "14 of 14 clients are up\n");
}

/// A process that does not outlive its test.
struct Guard(std::process::Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
