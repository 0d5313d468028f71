//! A name server for tests on a loopback address of its own, that answers every name alike, or not at all; only programs that are started through it ask it.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::PathBuf,
    process::{self, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    thread,
};

use tempfile::TempDir;

/// What it says to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mood {
    Silent,
    /// There is no such name (NXDOMAIN).
    Denies,
    /// Every name is 127.0.0.1.
    Knows,
}

pub struct Dns {
    mood: Arc<AtomicU8>,
    asked: Arc<AtomicBool>,
    dir: TempDir,
}

impl Dns {
    /// # Errors
    /// What this machine does not permit: it takes root to serve names and to have a program ask elsewhere.
    pub fn start(mood: Mood) -> Result<Dns, String> {
        // One address for each process; whoever asks for a second server has to think again.
        let [.., high, low] = process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 53 + mood as u8, high, low.clamp(1, 254));
        let socket = UdpSocket::bind((address, 53)).map_err(|e| format!("no name server on {address}: {e}"))?;
        let dns = Dns {
            mood: Arc::new(AtomicU8::new(mood as u8)),
            asked: Arc::default(),
            dir: TempDir::new().expect("a folder"),
        };
        fs::write(dns.file("resolv.conf"), format!("nameserver {address}\noptions timeout:2 attempts:5\n"))
            .expect("a file");
        fs::write(dns.file("nsswitch.conf"), "hosts: files dns\n").expect("a file");
        let can = dns.run("true", &[]).output().map_err(|e| format!("no unshare: {e}"))?;
        if !can.status.success() {
            return Err(format!("no mounts of its own: {}", String::from_utf8_lossy(&can.stderr).trim()));
        }
        let (mood, asked) = (dns.mood.clone(), dns.asked.clone());
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                asked.store(true, Ordering::SeqCst);
                if let Some(answer) = answer(&question[..length], mood.load(Ordering::SeqCst)) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Ok(dns)
    }

    pub fn turn(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }

    pub fn was_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// A program that asks this server, and nobody else, for names.
    pub fn run(&self, program: &str, args: &[&str]) -> Command {
        let script =
            "mount --bind \"$0\" /etc/resolv.conf && mount --bind \"$1\" /etc/nsswitch.conf && shift && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script]);
        command.arg(self.file("resolv.conf")).arg(self.file("nsswitch.conf")).arg(program).args(args);
        command
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// The answer to a question (RFC 1035 §4.1), if any.
fn answer(question: &[u8], mood: u8) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let name = question.get(HEADER..)?.iter().position(|byte| *byte == 0)? + 1;
    let asked = question.get(HEADER..HEADER + name + 4)?;
    let is_for_v4 = asked[name..name + 2] == [0, 1];
    let (code, answers) = match mood {
        m if m == Mood::Denies as u8 => (3, 0),
        m if m == Mood::Knows as u8 => (0, u8::from(is_for_v4)),
        _ => return None,
    };
    let mut out = question[..2].to_vec();
    out.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
    out.extend(asked);
    if answers > 0 {
        // The name is the question's; class IN, type A, not to be kept, four bytes.
        out.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    Some(out)
}
