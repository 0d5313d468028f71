//! A name server for tests that can be told to hang or to take its time, in a network and with a resolver's configuration of the test's own; it knows one name.

use std::{
    fs,
    net::{IpAddr, UdpSocket},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::this_test;

/// The name it knows; it stands for 127.0.0.1 until it is told otherwise. The last part is reserved for tests (RFC 6761).
pub const NAME: &str = "far.broker.test";

pub struct NameServer {
    hangs: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    says: Arc<Mutex<Says>>,
    /// The first of two, which hears everything and answers nothing.
    _dead: Option<UdpSocket>,
}

/// What it answers, and after how long.
#[derive(Clone)]
struct Says {
    addresses: Vec<IpAddr>,
    delay: Duration,
}

impl NameServer {
    const INSIDE: &str = "MQFLEET_TEST_OWN_NETWORK";

    /// Starts it for the test that calls this. Names are looked up at port 53 of where the system's
    /// configuration says, so the test runs once more, in a child with a network and a view of /etc
    /// of its own: there this returns a name server, and outside nothing is left to do.
    pub fn start() -> Option<NameServer> {
        // One server, asked once, waited for 30 s; nothing else is asked.
        Self::with("nameserver 127.0.0.1\noptions timeout:30 attempts:1\n")
    }

    /// The same, but it is only the second that is asked, as systems do by themselves: after 5 s.
    pub fn behind_a_dead_one() -> Option<NameServer> {
        let dead = "nameserver 127.0.0.53\nnameserver 127.0.0.1\noptions timeout:5 attempts:2\n";
        let server = Self::with(dead)?;
        Some(NameServer { _dead: Some(UdpSocket::bind("127.0.0.53:53").unwrap()), ..server })
    }

    fn with(configuration: &str) -> Option<NameServer> {
        if std::env::var_os(Self::INSIDE).is_some() {
            return Some(Self::serve());
        }
        let own = ["--map-root-user", "--net", "--mount"];
        let can = Command::new("unshare").args(own).args(["ip", "link", "set", "lo", "up"]).output();
        if !can.is_ok_and(|done| done.status.success()) {
            println!("NOT SHOWN HERE: a network of one's own needs root or user namespaces, `unshare` and `ip`");
            return None;
        }
        let dir = tempfile::TempDir::new().unwrap();
        fs::write(dir.path().join("resolv.conf"), configuration).unwrap();
        fs::write(dir.path().join("nsswitch.conf"), "hosts: files dns\n").unwrap();
        let script = r#"
            ip link set lo up
            for file in resolv.conf nsswitch.conf; do mount --bind "$0/$file" "/etc/$file"; done
            exec "$@""#;
        let status = Command::new("unshare")
            .args(own)
            .args(["sh", "-e", "-c", script])
            .arg(dir.path())
            .arg(std::env::current_exe().unwrap())
            .args(this_test())
            .env(Self::INSIDE, "1")
            .stdin(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "see above");
        None
    }

    fn serve() -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
        let says = Says { addresses: vec![[127, 0, 0, 1].into()], delay: Duration::ZERO };
        let says = Arc::new(Mutex::new(says));
        let server = NameServer { hangs: Arc::default(), asked: Arc::default(), says, _dead: None };
        let (hangs, asked, says) = (server.hangs.clone(), server.asked.clone(), server.says.clone());
        let socket = Arc::new(socket);
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((len, from)) = socket.recv_from(&mut query) {
                asked.fetch_add(1, Ordering::SeqCst);
                if !hangs.load(Ordering::SeqCst) {
                    let (socket, Says { addresses, delay }) = (socket.clone(), says.lock().unwrap().clone());
                    let answer = answer(&query[..len], &addresses);
                    // One that is far away answers everybody as late, and no later.
                    thread::spawn(move || {
                        thread::sleep(delay);
                        let _ = socket.send_to(&answer, from);
                    });
                }
            }
        });
        server
    }

    /// From now on this is what it answers, in this order.
    pub fn say(&self, addresses: &[&str]) {
        self.says.lock().unwrap().addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
    }

    /// From now on each answer takes so long.
    pub fn delay(&self, delay: Duration) {
        self.says.lock().unwrap().delay = delay;
    }

    /// From now on it hears everything and answers nothing.
    pub fn hang(&self) {
        self.hangs.store(true, Ordering::SeqCst);
    }

    /// How many questions it heard.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn wait_asked(&self) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.asked() == 0 {
            assert!(Instant::now() < end, "nobody asked");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The answer to a question (RFC 1035 §4.1): the addresses of the kind that is asked for.
fn answer(query: &[u8], addresses: &[IpAddr]) -> Vec<u8> {
    let name = query[12..].iter().position(|b| *b == 0).unwrap() + 13;
    let kind = query[name + 1];
    let octets = |address: &IpAddr| match (address, kind) {
        (IpAddr::V4(address), 1) => Some(address.octets().to_vec()),
        (IpAddr::V6(address), 28) => Some(address.octets().to_vec()),
        _ => None,
    };
    let records: Vec<Vec<u8>> = addresses.iter().filter_map(octets).collect();
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    reply.extend(&query[12..name + 4]);
    for octets in records {
        reply.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 1, 0, octets.len() as u8]);
        reply.extend(octets);
    }
    reply
}
