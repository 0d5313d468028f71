//! Shows the demo from outside, with its real processes and MQTT by hand; the console on top of it is shown elsewhere.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use mqfleet::{
    demo::{self, Act, Cut, Demo, DemoError, Options, Site, Step, Trouble},
    event::{Reason, What},
    fleet::{Client, Fleet, Probe, ProbeKind, Secret, Settings},
    wire::{ClientDef, Remote},
};
use mqfleet_test_support::{
    process, program,
    worker::{self, Def, Worker},
};
use rustix::process::Signal;
use tokio::sync::Mutex;

/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// One demo at a time: its processes are told from others by being this process's children.
static ALONE: Mutex<()> = Mutex::const_new(());

fn options(clients: u32) -> Options {
    Options { clients, seed: 3, calm: true }
}

async fn start(options: Options, steps: Vec<Step>) -> Demo {
    demo::start_with(program().into(), options, steps.into_iter()).await.unwrap()
}

/// Waits until `what` gives something.
fn until<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LONG;
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(Instant::now() < end, "this should have happened long ago");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The running children of `parent`, by role.
fn children(parent: u32) -> HashMap<String, Vec<u32>> {
    let mut found: HashMap<String, Vec<u32>> = HashMap::new();
    for id in process::children(parent) {
        let Ok(line) = fs::read(format!("/proc/{id}/cmdline")) else { continue };
        if let Some(role) = line.split(|&b| b == 0).nth(1).filter(|arg| arg.starts_with(b"demo-")) {
            found.entry(String::from_utf8_lossy(role).into_owned()).or_default().push(id);
        }
    }
    found
}

fn mine() -> HashMap<String, Vec<u32>> {
    children(std::process::id())
}

/// Sends an MQTT 5.0 CONNECT and reads the CONNACK's reason code (§3.2.2.2).
fn connect(port: u16, id: &str, user: &str, password: &str) -> io::Result<(TcpStream, u8)> {
    connect_within(LONG, port, id, user, password)
}

fn connect_within(limit: Duration, port: u16, id: &str, user: &str, password: &str) -> io::Result<(TcpStream, u8)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(limit))?;
    let text = |s: &str| [&(s.len() as u16).to_be_bytes()[..], s.as_bytes()].concat();
    let body = [
        text("MQTT"),
        vec![5, 0b1100_0010, 0, 60, 0], // version, user name + password + clean start, keep alive, no properties
        text(id),
        text(user),
        text(password),
    ]
    .concat();
    assert!(body.len() < 128);
    stream.write_all(&[&[0x10, body.len() as u8][..], &body].concat())?;
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    assert_eq!(head[0], 0x20, "not a CONNACK");
    let mut rest = vec![0; head[1] as usize];
    stream.read_exact(&mut rest)?;
    Ok((stream, rest[1]))
}

fn connect_as(fleet: &Fleet, client: &Client) -> io::Result<(TcpStream, u8)> {
    let password = client.password.as_ref().unwrap().fixed().unwrap().expose();
    connect(fleet.endpoint(client.endpoint()).port, &client.id, client.username.as_ref().unwrap(), password)
}

/// A PINGREQ and its PINGRESP.
fn ping(stream: &mut TcpStream) -> io::Result<Duration> {
    let start = Instant::now();
    stream.write_all(&[0xc0, 0])?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer)?;
    assert_eq!(answer, [0xd0, 0]);
    Ok(start.elapsed())
}

fn of_site(fleet: &Fleet, site: Site) -> &Client {
    fleet.clients.iter().find(|c| c.endpoint().index() == site.index()).unwrap()
}

async fn trouble(demo: &mut Demo, starts_with: &str) -> String {
    tokio::time::timeout(LONG, async {
        loop {
            match demo.events.recv().await.expect("the network ended").what {
                What::Trouble(text) if text.starts_with(starts_with) => return text.to_string(),
                _ => {}
            }
        }
    })
    .await
    .unwrap_or_else(|_| panic!("no word of {starts_with:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_lets_in_exactly_who_knows_the_password() {
    let _alone = ALONE.lock().await;
    let demo = start(Options { clients: 40, seed: 3, calm: false }, vec![]).await;
    let mut refused = 0;
    let mut open = Vec::new();
    for client in &demo.fleet.clients {
        let (stream, code) = connect_as(&demo.fleet, client).unwrap();
        match code {
            0 => open.push(stream),
            0x86 => refused += 1,
            other => panic!("{}: reason code {other:#x}", client.name),
        }
    }
    assert_eq!(refused, 1);
    let near = demo.fleet.endpoints[0].port;
    let good = demo.fleet.clients[0].password.as_ref().unwrap().fixed().unwrap().expose();
    assert_eq!(connect(near, "x", "demo", "").unwrap().1, 0x86);
    assert_eq!(connect(near, "x", "somebody", good).unwrap().1, 0x86);
    demo.stop().await;
    assert!(mine().is_empty(), "{:?}", mine());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_gets_in_publishes_and_reads_why_not() {
    let _alone = ALONE.lock().await;
    let demo = start(options(8), vec![]).await;
    let client = of_site(&demo.fleet, Site::Regional).clone();
    let endpoint = demo.fleet.endpoint(client.endpoint());
    let def = |id: &str, password: Secret| {
        let client = ClientDef {
            settings: Settings {
                connect_timeout: LONG,
                probe: Probe { kind: ProbeKind::Ack, every: Duration::from_millis(100) },
                ..worker::settings()
            },
            username: Some("demo".into()),
            password: Some(password),
            ..worker::client(id)
        };
        Def { client, remote: Remote::from(endpoint) }
    };
    let good = def(&client.id, client.password.as_ref().unwrap().fixed().unwrap().clone());
    let mut worker = Worker::start(vec![good, def("other", Secret::new("guess".into()))]).await;
    worker.connect(0..2).await;
    assert!(worker.until(LONG, |w| !w.samples.is_empty() && w.is_ended(1)).await, "{:?}", worker.steps);
    assert!(worker.is_up(0));
    assert_eq!(worker.cause(1).reason, Reason::BadCredentials);
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_site_is_as_far_away_as_it_should_be() {
    let _alone = ALONE.lock().await;
    let demo = start(options(8), vec![]).await;
    let medians = Site::ALL.map(|site| {
        let (mut stream, code) = connect_as(&demo.fleet, of_site(&demo.fleet, site)).unwrap();
        assert_eq!(code, 0);
        let mut times: Vec<_> = (0..9).map(|_| ping(&mut stream).unwrap()).collect();
        times.sort();
        times[4].as_secs_f64() * 1000.0
    });
    println!("median round trips: {medians:.2?} ms");
    let [near, regional, far, bad] = medians;
    assert!(near < 30.0 && (8.0..100.0).contains(&regional), "{medians:?}");
    assert!((65.0..300.0).contains(&far) && (20.0..1500.0).contains(&bad), "{medians:?}");
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_is_felt_at_once_and_healed_by_the_scenario() {
    let _alone = ALONE.lock().await;
    let lasts = Duration::from_millis(1500);
    let steps = vec![
        Step { at: Duration::from_millis(400), act: Act::Begin { trouble: Trouble::Crash, lasts } },
        Step { at: Duration::from_millis(400) + lasts, act: Act::End(Trouble::Crash) },
    ];
    let mut demo = start(options(8), steps).await;
    let before = mine()["demo-broker"].clone();
    let client = of_site(&demo.fleet, Site::Near).clone();
    let (mut stream, code) = connect_as(&demo.fleet, &client).unwrap();
    assert_eq!(code, 0);

    trouble(&mut demo, "broker crashed").await;
    let end = stream.read(&mut [0; 1]);
    assert!(matches!(end, Ok(0) | Err(_)), "the connection outlived its broker: {end:?}");
    assert!(connect_as(&demo.fleet, &client).is_err(), "nobody should be there now");

    trouble(&mut demo, "broker is back").await;
    assert_eq!(connect_as(&demo.fleet, &client).unwrap().1, 0);
    let after = mine()["demo-broker"].clone();
    assert!(after.len() == 1 && after != before, "{before:?} → {after:?}");
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_die_by_themselves_are_started_again_where_they_were() {
    let _alone = ALONE.lock().await;
    let demo = start(options(8), vec![]).await;
    let fleet = demo.fleet.clone();
    tokio::task::spawn_blocking(move || {
        for (role, count) in [("demo-broker", 1), ("demo-site", 4)] {
            let victims = mine()[role].clone();
            assert_eq!(victims.len(), count);
            victims.iter().for_each(|&pid| process::signal(pid, Signal::KILL));
            until(|| victims.iter().all(|&pid| !process::is_running(pid)).then_some(()));
            for site in Site::ALL {
                let client = of_site(&fleet, site);
                until(|| connect_as(&fleet, client).ok().filter(|(_, code)| *code == 0));
            }
            assert_eq!(mine()[role].len(), count);
        }
    })
    .await
    .unwrap();
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dark_site_is_silent_while_others_are_not() {
    let _alone = ALONE.lock().await;
    let lasts = Duration::from_secs(3);
    let trouble_at = |at, act| Step { at: Duration::from_millis(at), act };
    let steps = vec![
        trouble_at(500, Act::Begin { trouble: Trouble::Dark(Site::Regional), lasts }),
        trouble_at(3500, Act::End(Trouble::Dark(Site::Regional))),
        trouble_at(4500, Act::Cut(Site::Regional, Cut::Reset)),
    ];
    let mut demo = start(options(8), steps).await;
    let regional = of_site(&demo.fleet, Site::Regional).clone();
    let (mut dark, _) = connect_as(&demo.fleet, &regional).unwrap();
    let (mut near, _) = connect_as(&demo.fleet, of_site(&demo.fleet, Site::Near)).unwrap();

    let words = trouble(&mut demo, "site regional is dark").await;
    assert_eq!(words, "site regional is dark: its 2 clients hear nothing");
    let begin = Instant::now();
    // Closed at once, or silent where it was let in at the last moment.
    let port = demo.fleet.endpoint(regional.endpoint()).port;
    until(|| connect_within(Duration::from_millis(500), port, "stranger", "", "").err());
    ping(&mut near).unwrap();
    ping(&mut dark).unwrap();
    assert!(begin.elapsed() > Duration::from_secs(1), "answered in the dark after {:?}", begin.elapsed());

    let end = dark.read(&mut [0; 1]).unwrap_err();
    assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_when_a_demo_is_dropped() {
    let _alone = ALONE.lock().await;
    let demo = start(options(4), vec![]).await;
    let ports: Vec<u16> = demo.fleet.endpoints.iter().map(|e| e.port).collect();
    assert_eq!(mine().values().map(Vec::len).sum::<usize>(), 5, "{:?}", mine());
    drop(demo);
    tokio::task::spawn_blocking(move || {
        until(|| mine().is_empty().then_some(()));
        // A port that is free may be another test's by now, but hardly all of them.
        let is_closed = |port: &u16| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_err();
        assert!(ports.iter().any(is_closed), "ports {ports:?} are still open");
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impossible_demos_say_why() {
    let asked = |clients| demo::start_with(program().into(), options(clients), [].into_iter());
    assert!(matches!(asked(0).await.err(), Some(DemoError::Clients { asked: 0 })));
    let nobody = demo::start_with("/nonexistent/mqfleet".into(), options(4), [].into_iter()).await;
    let words = nobody.err().unwrap().to_string();
    assert!(words.contains("/nonexistent/mqfleet"), "{words}");
}

#[test]
fn the_hidden_subcommands_say_whose_they_are() {
    let _alone = ALONE.blocking_lock();
    for role in ["demo-broker", "demo-site"] {
        let done = Command::new(program()).arg(role).stdin(Stdio::null()).output().unwrap();
        assert_eq!(done.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&done.stderr).contains("mqfleet demo"), "{done:?}");
    }
}

/// Not a test by itself: the process that the next test kills. It says the pids it answers for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by `no_part_outlives_a_killed_parent`"]
async fn a_parent() {
    if std::env::var_os("MQFLEET_TEST_PARENT").is_none() {
        return;
    }
    let _demo = start(options(4), vec![]).await;
    let pids: Vec<u32> = mine().into_values().flatten().collect();
    println!("pids {}", pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
    std::future::pending::<()>().await;
}

#[test]
fn no_part_outlives_a_killed_parent() {
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["demo::a_parent", "--exact", "--ignored", "--nocapture"])
        .env("MQFLEET_TEST_PARENT", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let said = lines.map_while(Result::ok).find_map(|line| line.split_once("pids ").map(|(_, pids)| pids.to_owned()));
    let pids: Vec<u32> = said.unwrap().split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 5);
    assert!(pids.iter().copied().all(process::is_running));
    parent.kill().unwrap(); // SIGKILL: nothing of the parent's runs any more
    parent.wait().unwrap();
    until(|| pids.iter().all(|&pid| !process::is_running(pid)).then_some(()));
}

/// Prints what a demo costs under clients that connect, publish at QoS 1 and wait for the PUBACK, as
/// the fleet's probes do: `cargo test --release --test fleet demo::figures -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures, asserts little"]
async fn figures() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let _alone = ALONE.lock().await;
    let clients = std::env::var("MQFLEET_CLIENTS").map_or(200, |n| n.parse().unwrap());
    let begin = Instant::now();
    let demo = start(options(clients), vec![]).await;
    println!("{clients} clients; started in {:?}", begin.elapsed());
    let parts: Vec<(String, u32)> =
        mine().into_iter().flat_map(|(role, pids)| pids.into_iter().map(move |pid| (role.clone(), pid))).collect();
    let cost = |title: &str| {
        for (role, pid) in &parts {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let field = |name: &str| status.lines().find(|l| l.starts_with(name)).unwrap().replace('\t', " ");
            println!(
                "  {title}: {role} {pid}: {} {} cpu {:.2} s",
                field("VmRSS"),
                field("RssAnon"),
                process::cpu(*pid).as_secs_f64()
            );
        }
    };
    cost("idle");
    let begin = Instant::now();
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(200));
    let mut joining = tokio::task::JoinSet::new();
    for client in demo.fleet.clients.clone() {
        let port = demo.fleet.endpoint(client.endpoint()).port;
        let gate = gate.clone();
        joining.spawn(async move {
            let _turn = gate.acquire().await.unwrap();
            let mut stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
            let text = |s: &str| [&(s.len() as u16).to_be_bytes()[..], s.as_bytes()].concat();
            let password = client.password.as_ref().unwrap().fixed().unwrap().expose();
            let body = [
                text("MQTT"),
                vec![5, 0b1100_0010, 0, 60, 0],
                text(&client.id),
                text(client.username.as_ref().unwrap()),
                text(password),
            ]
            .concat();
            stream.write_all(&[&[0x10, body.len() as u8][..], &body].concat()).await.unwrap();
            let mut head = [0; 2];
            stream.read_exact(&mut head).await.unwrap();
            let mut rest = vec![0; head[1] as usize];
            stream.read_exact(&mut rest).await.unwrap();
            assert_eq!(rest[1], 0);
            (client, stream)
        });
    }
    let open = joining.join_all().await;
    println!("all connected in {:?}", begin.elapsed());
    cost("connected");
    let every = demo.fleet.clients[0].settings.probe.every;
    let before: Vec<f64> = parts.iter().map(|(_, pid)| process::cpu(*pid).as_secs_f64()).collect();
    let begin = Instant::now();
    let mut probing = tokio::task::JoinSet::new();
    for (n, (client, mut stream)) in open.into_iter().enumerate() {
        probing.spawn(async move {
            let site = client.endpoint().index();
            tokio::time::sleep(every.mul_f64(n as f64 / f64::from(clients))).await;
            let mut times = Vec::new();
            let mut tick = tokio::time::interval(every);
            while begin.elapsed() < Duration::from_secs(20) {
                tick.tick().await;
                let sent = Instant::now();
                // PUBLISH, QoS 1, topic "p/n", packet ID 1, no properties, no payload.
                stream.write_all(&[0x32, 8, 0, 3, b'p', b'/', b'n', 0, 1, 0]).await.unwrap();
                let mut head = [0; 2];
                stream.read_exact(&mut head).await.unwrap();
                assert_eq!(head[0], 0x40, "not a PUBACK");
                stream.read_exact(&mut vec![0; head[1] as usize]).await.unwrap();
                times.push(sent.elapsed());
            }
            (site, times)
        });
    }
    let done = probing.join_all().await;
    let length = begin.elapsed().as_secs_f64();
    for site in Site::ALL {
        let mut times: Vec<_> = done.iter().filter(|(s, _)| *s == site.index()).flat_map(|(_, t)| t.clone()).collect();
        times.sort();
        let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize];
        println!(
            "  {site}: {} probes, p50 {:.1?} p90 {:.1?} p99 {:.1?} max {:.1?}",
            times.len(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0)
        );
    }
    for ((role, pid), before) in parts.iter().zip(before) {
        println!("  {role} {pid}: {:.1} % of a core", (process::cpu(*pid).as_secs_f64() - before) / length * 100.0);
    }
    cost("probed");
    demo.stop().await;
}
