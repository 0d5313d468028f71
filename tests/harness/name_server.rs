//! A name server for tests that can be told to hang, in a network and with a resolver's configuration of the test's own; it knows one name.
#![allow(clippy::unwrap_used, reason = "what panics here is a failed test")]

use std::{
    fs,
    net::UdpSocket,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The name it knows; it stands for 127.0.0.1. The last part is reserved for tests (RFC 6761).
pub const NAME: &str = "far.broker.test";

pub struct NameServer {
    hangs: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    const INSIDE: &str = "MQFLEET_TEST_OWN_NETWORK";

    /// Starts it for the test of this name. Names are looked up at port 53 of where the system's
    /// configuration says, so the test runs once more, in a child with a network and a view of /etc
    /// of its own: there this returns a name server, and outside nothing is left to do.
    pub fn of(test: &str) -> Option<NameServer> {
        if std::env::var_os(Self::INSIDE).is_some() {
            return Some(Self::start());
        }
        let own = ["--map-root-user", "--net", "--mount"];
        let can = Command::new("unshare").args(own).args(["ip", "link", "set", "lo", "up"]).output();
        if !can.is_ok_and(|done| done.status.success()) {
            println!("NOT SHOWN HERE: a network of one's own needs root or user namespaces, `unshare` and `ip`");
            return None;
        }
        let dir = tempfile::TempDir::new().unwrap();
        // One server, asked once, waited for 30 s; nothing else is asked.
        fs::write(dir.path().join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:30 attempts:1\n").unwrap();
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
            .args(["--exact", test, "--nocapture"])
            .env(Self::INSIDE, "1")
            .stdin(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "see above");
        None
    }

    fn start() -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
        let server = NameServer { hangs: Arc::default(), asked: Arc::default() };
        let (hangs, asked) = (server.hangs.clone(), server.asked.clone());
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((len, from)) = socket.recv_from(&mut query) {
                asked.fetch_add(1, Ordering::SeqCst);
                if !hangs.load(Ordering::SeqCst) {
                    let _ = socket.send_to(&answer(&query[..len]), from);
                }
            }
        });
        server
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

/// The answer to a question (RFC 1035 §4.1): that there is one address, of version 4.
fn answer(query: &[u8]) -> Vec<u8> {
    let name = query[12..].iter().position(|b| *b == 0).unwrap() + 13;
    let is_a = query[name..name + 2] == [0, 1];
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    reply.extend(&query[12..name + 4]);
    if is_a {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    reply
}
