//! Passwords that change while the program runs: files that are renewed, and commands that say tokens, against brokers that check them; how they are read from a fleet file is tested there.

use std::{
    collections::HashMap,
    fs,
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant, SystemTime},
};

use mqfleet_test_support::{
    SOON,
    console::Console,
    fleet_file::FleetFile,
    headless::{self, Headless},
    mosquitto::{Mosquitto, Setup},
    program, script,
};

/// A fleet of so many clients whose password comes from there.
fn fleet(port: u16, count: usize, password: &str) -> FleetFile {
    FleetFile::new(&format!(
        r#"
        [endpoint.plant]
        url = "mqtt://127.0.0.1:{port}"
        [[client]]
        id = "press-%i"
        count = {count}
        endpoints = ["plant"]
        username = "op"
        password = {password}
        reconnect = {{ min = "500ms", max = "1s" }}
        "#
    ))
}

fn broker(password: &str) -> Mosquitto {
    Mosquitto::with(Setup { users: vec![("op".into(), password.into())], ..Setup::default() })
}

/// Puts a file in the place of another, as tools that renew tokens do.
fn renew(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).and_then(|()| fs::rename(&new, path)).expect("a file");
}

#[test]
fn a_password_file_that_is_renewed_lets_the_clients_in_at_once_before_or_after_they_are_refused() {
    let mut broker = broker("the-first");
    let file = fleet(broker.port(), 3, "{ file = 'token' }");
    let token = file.dir.path().join("token");
    fs::write(&token, "the-first\n").expect("a file");
    let run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(3);
    // First the file, then the broker: nobody is refused.
    renew(&token, "the-second\n");
    broker.set_password("op", "the-second");
    broker.restart();
    drop(run.wait_for("the loss", |h| h.of_type("state").any(|l| l["from"] == "up")));
    run.wait_up(3);
    assert!(!run.heard().of_type("state").any(|l| l["reason"] == "not_authorized"));
    // First the broker: all are refused, and would be tried again in minutes.
    broker.set_password("op", "the-third");
    broker.restart();
    drop(run.wait_for("three refused", |h| {
        let refused = h.of_type("state").filter(|l| l["reason"] == "not_authorized");
        refused.filter_map(|l| l["client"].as_str()).collect::<std::collections::HashSet<_>>().len() == 3
    }));
    let begin = Instant::now();
    renew(&token, "the-third\n");
    run.wait_up(3);
    println!("a renewed file lets refused clients in after {:.1} s", begin.elapsed().as_secs_f64());
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
}

/// A pipe stands for a file on a host that does not answer: opening it blocks, until somebody writes.
#[test]
fn a_file_that_hangs_takes_nobody_else_s_turn_and_is_not_waited_for_at_the_end() {
    let mut broker = broker("the-first");
    let file = FleetFile::new(&format!(
        r#"
        [endpoint.plant]
        url = "mqtt://127.0.0.1:{}"
        max_connecting = 1
        [defaults]
        reconnect = {{ min = "100ms", max = "500ms" }}
        [[client]]
        id = "hangs-%i"
        count = 2
        endpoints = ["plant"]
        username = "op"
        password = {{ file = 'token-%i' }}
        [[client]]
        id = "press-%i"
        count = 3
        endpoints = ["plant"]
        username = "op"
        password = {{ file = 'well' }}
        "#,
        broker.port()
    ));
    let path = |name: &str| file.dir.path().join(name);
    ["token-1", "token-2", "well"].iter().for_each(|name| fs::write(path(name), "the-first").expect("a file"));
    let mut run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(5);
    for token in ["token-1", "token-2"] {
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe"), rustix::fs::Mode::RWXU).expect("a pipe");
        fs::rename(path("pipe"), path(token)).expect("a file in another's place");
    }
    broker.restart();
    drop(run.wait_for("the loss", |h| h.of_type("state").filter(|l| l["from"] == "up").count() == 5));
    run.wait_up(3);
    let is_told = |line: &&serde_json::Value| {
        let says = line["detail"].as_str().unwrap_or_default();
        line["reason"] == "password_unavailable" && says.contains("no answer within 10 s")
    };
    drop(run.wait_for("both told", |h| {
        let told: std::collections::HashSet<_> =
            h.of_type("state").filter(is_told).filter_map(|l| l["client"].as_str()).collect();
        told.len() == 2
    }));
    let begin = Instant::now();
    let id = rustix::process::Pid::from_raw(run.id() as i32).expect("a process");
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it runs");
    run.wait_exit();
    println!("with two reads that hang it ends after {:.1} s", begin.elapsed().as_secs_f64());
}

#[test]
fn a_reconnect_by_key_uses_the_newest_password() {
    let passwords = Arc::new(Mutex::new(Vec::new()));
    let heard = passwords.clone();
    let port = script::peer(move |_, packet| match packet[0] >> 4 {
        1 => {
            heard.lock().expect("a list").push(login(packet).1);
            vec![script::ACCEPT_V5.to_vec()]
        }
        12 => vec![vec![0xd0, 0]],
        _ => Vec::new(),
    });
    let file = fleet(port, 1, "{ file = 'token' }");
    fs::write(file.dir.path().join("token"), "the-first").expect("a file");
    let mut console = Console::start(120, 40, &["run", file.path()]);
    console.wait_text("1 up");
    renew(&file.dir.path().join("token"), "the-second");
    console.press("\x1b[B");
    console.press("r");
    let end = Instant::now() + SOON;
    while passwords.lock().expect("a list").len() < 2 {
        assert!(Instant::now() < end, "it does not reconnect");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(*passwords.lock().expect("a list"), ["the-first", "the-second"]);
}

#[test]
fn a_password_that_is_not_to_be_had_is_told_and_fetched_again() {
    let broker = broker("the-one");
    let file = fleet(broker.port(), 2, "{ command = ['./token'], every = '1h' }");
    let token = file.dir.path().join("token");
    executable(&token, "echo 'no \x1b[31mserver' >&2; exit 7");
    let mut command = std::process::Command::new(program());
    let once = command.args(["check", file.path(), "--connect"]).output().expect("the program");
    let said = String::from_utf8(once.stdout).expect("text");
    assert_eq!(once.status.code(), Some(3), "{said}");
    assert!(said.contains("password not to be had: its command ") && said.contains("(exit status: 7): no ␛[31mserver"));
    let run = Headless::start(&["run", file.path()], &[]);
    let refused = |h: &headless::Heard| h.of_type("state").any(|l| l["reason"] == "password_unavailable");
    drop(run.wait_for("the failure", refused));
    executable(&token, "echo the-one");
    run.wait_up(2);
}

fn executable(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let new = path.with_extension("new");
    fs::write(&new, format!("#!/bin/sh\n{script}\n")).expect("a file");
    fs::set_permissions(&new, PermissionsExt::from_mode(0o700)).expect("its mode");
    fs::rename(&new, path).expect("its place");
}

/// How long a token of the command below is good.
const LIFE: Duration = Duration::from_secs(5);
const MARK: &str = "hush-hush-";

/// Says a token: the time in nanoseconds. It takes a while, and leaves a mark where another one runs.
const ISSUE: &str = r#"
mkdir running || echo overlap >> overlaps
echo run >> runs
sleep 0.2
rmdir running
echo hush-hush-$(date +%s%N)
"#;

/// A broker that lets in who has a token that is not too old, and cuts all when it is told to.
#[derive(Default)]
struct TokenBroker {
    /// When a client was refused first since it was let in last.
    refused: HashMap<String, Instant>,
    refusals: usize,
    /// The longest from a first refusal to being let in.
    longest: Duration,
    accepted: usize,
    up: Vec<TcpStream>,
}

impl TokenBroker {
    fn start() -> (u16, Arc<Mutex<TokenBroker>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let broker = Arc::new(Mutex::new(TokenBroker::default()));
        let shared = broker.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let broker = shared.clone();
                thread::spawn(move || serve(stream, &broker));
            }
        });
        (port, broker)
    }
}

fn serve(mut stream: TcpStream, broker: &Mutex<TokenBroker>) -> Option<()> {
    use std::io::Write;
    while let Some(packet) = script::packet(&mut stream) {
        let answer = match packet[0] >> 4 {
            1 => {
                let (client, token) = login(&packet);
                let issued = token.strip_prefix(MARK)?.parse::<u128>().ok()?;
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_nanos();
                let is_good = now.saturating_sub(issued) < LIFE.as_nanos();
                let mut broker = broker.lock().ok()?;
                if is_good {
                    broker.accepted += 1;
                    broker.up.push(stream.try_clone().ok()?);
                    if let Some(first) = broker.refused.remove(&client) {
                        broker.longest = broker.longest.max(first.elapsed());
                    }
                } else {
                    broker.refusals += 1;
                    broker.refused.entry(client).or_insert_with(Instant::now);
                }
                vec![0x20, 3, 0, if is_good { 0 } else { 0x87 }, 0]
            }
            12 => vec![0xd0, 0],
            _ => continue,
        };
        stream.write_all(&answer).ok()?;
    }
    Some(())
}

/// The client ID and the password of a CONNECT of MQTT 5.0 with a user name and no properties.
fn login(packet: &[u8]) -> (String, String) {
    let start = 1 + packet[1..].iter().position(|byte| byte & 0x80 == 0).expect("a length") + 1;
    let properties = usize::from(packet[start + 10]);
    let mut at = start + 11 + properties;
    let mut text = || {
        let length = usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
        at += 2 + length;
        String::from_utf8(packet[at - length..at].to_vec()).expect("text")
    };
    let (id, _user, password) = (text(), text(), text());
    (id, password)
}

/// 500 clients whose tokens are good for 5 s, all cut every 3.5 s. In the long form it goes on for two minutes.
fn tokens(every: &str, name: &str) {
    const CLIENTS: usize = 500;
    let is_long = std::env::var_os("MQFLEET_ROUNDS").is_some();
    let length = Duration::from_secs(if is_long { 120 } else { 14 });
    let (port, broker) = TokenBroker::start();
    let file = fleet(port, CLIENTS, &format!("{{ command = ['./token']{every} }}"));
    let folder = file.dir.path();
    executable(&folder.join("token"), ISSUE);
    let log = folder.join("events.log");
    let run = Headless::start(&["run", file.path(), "--log", log.to_str().expect("a path")], &[]);
    run.wait_up(CLIENTS);
    let (begin, mut cuts) = (Instant::now(), 0);
    while begin.elapsed() < length {
        thread::sleep(Duration::from_millis(3_500)); // how often it is cut is what is tested
        cuts += 1;
        let up = std::mem::take(&mut broker.lock().expect("the broker").up);
        up.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }
    let end = Instant::now() + SOON;
    while broker.lock().expect("the broker").up.len() < CLIENTS {
        assert!(Instant::now() < end, "not all come back");
        thread::sleep(Duration::from_millis(20));
    }
    run.wait_up(CLIENTS);
    let broker = broker.lock().expect("the broker");
    let runs = fs::read_to_string(folder.join("runs")).expect("runs").lines().count();
    println!(
        "{name}: {CLIENTS} clients, {cuts} cuts in {:.0} s: {} connects, {} refused, the longest until it was let in \
         {:.2} s, {runs} runs of the command",
        begin.elapsed().as_secs_f64(),
        broker.accepted,
        broker.refusals,
        broker.longest.as_secs_f64(),
    );
    assert!(broker.refused.is_empty(), "{} are still refused", broker.refused.len());
    assert!(!folder.join("overlaps").exists(), "two at once");
    assert!(runs <= begin.elapsed().as_secs() as usize + 10, "{runs}: it is run for each client");
    // Of a build without optimisation, beside other tests, no such figure can be asked.
    let limit = if is_long { Duration::from_secs(2) } else { Duration::from_secs(10) };
    assert!(broker.longest <= limit, "{:?}", broker.longest);
    let said: String = run.heard().lines.iter().map(ToString::to_string).collect();
    for (place, text) in [("lines", said), ("log", fs::read_to_string(&log).expect("a log"))] {
        assert!(text.contains("press-1") && !text.contains(MARK), "{place}");
    }
    for process in [vec![run.id()], run.workers().into_values().collect()].concat() {
        let arguments = fs::read(format!("/proc/{process}/cmdline")).expect("a process");
        assert!(!String::from_utf8_lossy(&arguments).contains(MARK));
    }
}

#[test]
fn tokens_are_renewed_in_time_by_one_command_for_all() {
    tokens(", every = '3s'", "renewed every 3 s");
}

#[test]
fn tokens_are_renewed_when_they_are_refused_by_one_command_for_all() {
    tokens("", "renewed when refused");
}
