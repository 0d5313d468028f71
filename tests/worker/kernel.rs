//! Tests that what the kernel says of a connection is what `ss` says of the same one.

use std::{
    net::TcpStream,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use mqfleet::{
    event::TcpState,
    fleet::{Transport, WebSocket},
    wire::SlotTcp,
};
use mqfleet_test_support::{
    mosquitto::{Mosquitto, Setup, free_port},
    worker::Worker,
};

use super::{SOON, def, defs};

/// Every connection is looked at within 5 s.
const A_ROUND: Duration = Duration::from_secs(20);

/// How often two readings may differ.
const READINGS: usize = 5;

/// The client's port of each connection that the broker accepted: `New client connected from
/// 127.0.0.1:43210 as client-0001 (…`.
fn port_of(log: &str, client_id: &str) -> u16 {
    let line = log.lines().find(|l| l.contains(&format!(" as {client_id} (p"))).expect("a line about it");
    let address = line.split_whitespace().nth(4).expect("an address");
    address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

/// What `ss` says of the connection between these ports: the state, and `rtt:0.045/0.022`, in ms. The kernel gives the
/// client's port to others as well, for another destination.
fn ss(port: u16, of_broker: u16) -> (String, Duration, Duration) {
    let filter = format!("sport = :{port} and dport = :{of_broker}");
    let out = Command::new("ss").args(["-H", "-t", "-i", "-n", &filter]).output().expect("ss");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let rtt = text.split_whitespace().find_map(|word| word.strip_prefix("rtt:")).unwrap_or_else(|| panic!("{text}"));
    let ms = |text: &str| Duration::from_micros((text.parse::<f64>().expect("a number") * 1e3).round() as u64);
    let (rtt, variation) = rtt.split_once('/').expect("two numbers");
    let state = text.split_whitespace().next().expect("a state").to_owned();
    (state, ms(rtt), ms(variation))
}

#[tokio::test]
async fn the_kernel_s_view_is_that_of_ss() {
    if Command::new("ss").arg("-V").output().is_err() {
        eprintln!("SKIPPED: ss is not installed (iproute2)");
        return;
    }
    let web = free_port();
    let lines = [format!("listener {web} 127.0.0.1"), "protocol websockets".into(), "socket_domain ipv4".into()];
    let broker = Mosquitto::with(Setup { lines: lines.into(), ..Setup::default() });
    // Its WebSockets come after its other listeners.
    let deadline = Instant::now() + SOON;
    while let Err(e) = TcpStream::connect(("127.0.0.1", web)) {
        assert!(Instant::now() < deadline, "mosquitto has no WebSockets: {e}; it said:\n{}", broker.log());
        thread::sleep(Duration::from_millis(5));
    }
    // With nothing said the figures stay as they are between our look and that of ss.
    let mut all = defs(40, broker.port());
    let mut by_web = def("by-web", web);
    by_web.remote.endpoint.transport = Transport::WebSocket(Arc::new(WebSocket::new("/mqtt")));
    all.push(by_web);
    // Not even a heartbeat is.
    all.iter_mut().for_each(|one| one.settings.keep_alive = Duration::from_secs(3_600));
    let n = all.len();
    let ids: Vec<_> = all.iter().map(|d| d.id.clone()).collect();
    let mut worker = Worker::start(all).await;
    let connected = Instant::now();
    worker.connect(0..n as u32).await;
    let all_up = worker.until(A_ROUND, |w| w.up() == n).await;
    assert!(all_up, "{} up; by WebSocket: {:?}", worker.up(), worker.step(n as u32 - 1));
    let of = |w: &Worker, slot: usize| w.tcp.iter().find(|t| t.slot as usize == slot).copied();
    let log = broker.log();
    // Two readings are of two moments: where something was said between them they are taken again.
    let mut different: Vec<usize> = (0..n).collect();
    for _ in 0..READINGS {
        worker.tcp.clear();
        let all_told = worker.until(A_ROUND, |w| different.iter().all(|&slot| of(w, slot).is_some())).await;
        assert!(all_told, "{:?}", worker.tcp);
        different.retain(|&slot| {
            let SlotTcp { tcp, generation, .. } = of(&worker, slot).expect("it");
            let (state, rtt, variation) =
                ss(port_of(&log, &ids[slot]), if slot == n - 1 { web } else { broker.port() });
            assert_eq!((tcp.state.name(), generation), (&*state, 1));
            assert_eq!((tcp.state, tcp.retransmits, tcp.unacknowledged), (TcpState::Established, 0, 0));
            assert!(tcp.since_received <= connected.elapsed() && tcp.rtt > Duration::ZERO, "{tcp:?}");
            let is_same = |ours: Duration, its: Duration| ours.abs_diff(its) <= Duration::from_micros(1);
            !is_same(tcp.rtt, rtt) || !is_same(tcp.rtt_variation, variation)
        });
        if different.is_empty() {
            break;
        }
    }
    assert!(different.is_empty(), "{different:?} differ from ss time and again");
    // Its end is the end of it.
    worker.disconnect([0]).await;
    assert!(worker.until(A_ROUND, |w| w.is_ended(0)).await);
    worker.tcp.clear();
    worker.until(A_ROUND, |w| (1..n).all(|slot| of(w, slot).is_some())).await;
    assert_eq!(of(&worker, 0), None);
}
