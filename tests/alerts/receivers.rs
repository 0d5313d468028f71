//! Who is told in these tests: a real receiver of HTTP and a real mail server, each with what came, and one that says nothing.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use mqfleet_test_support::SOON;
use serde_json::Value;

/// A request: its `Authorization`, and its body.
#[derive(Clone, Debug)]
pub struct Posted {
    pub path: String,
    pub authorization: String,
    pub body: Value,
    pub wall: chrono::DateTime<chrono::Utc>,
}

/// Answers every request with one status, and keeps what came.
pub struct Receiver {
    pub port: u16,
    status: Arc<AtomicU16>,
    asked: Arc<AtomicU16>,
    posted: Arc<Mutex<Vec<Posted>>>,
}

impl Receiver {
    pub fn start() -> Receiver {
        Receiver::on(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    pub fn on(listener: TcpListener) -> Receiver {
        let port = listener.local_addr().expect("an address").port();
        let status = Arc::new(AtomicU16::new(200));
        let posted: Arc<Mutex<Vec<Posted>>> = Arc::default();
        let asked: Arc<AtomicU16> = Arc::default();
        let (answer, keep, count) = (status.clone(), posted.clone(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, keep) = (answer.clone(), keep.clone());
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || {
                    let Some(posted) = read(&stream) else { return };
                    let status = answer.load(Ordering::Relaxed);
                    if status == 200 {
                        keep.lock().unwrap_or_else(PoisonError::into_inner).push(posted);
                    }
                    let _ = write!(&stream, "HTTP/1.1 {status} x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
                });
            }
        });
        Receiver { port, status, asked, posted }
    }

    /// From now on it answers so; what it does not answer with 200 it has not taken.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// How often it was asked, whatever it answered.
    pub fn asked(&self) -> u16 {
        self.asked.load(Ordering::Relaxed)
    }

    pub fn posted(&self) -> Vec<Posted> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Posted> {
        wait_for(&format!("{count} requests"), || Some(self.posted()).filter(|posted| posted.len() >= count))
    }
}

fn read(stream: &TcpStream) -> Option<Posted> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut authorization, mut path) = (0, String::new(), String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if path.is_empty() {
            path = line.split(' ').nth(1)?.to_owned();
            continue;
        }
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => authorization = value.to_owned(),
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).expect("JSON");
    Some(Posted { path, authorization, body, wall: chrono::Utc::now() })
}

#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Takes connections, and says nothing.
pub fn silent() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().flatten() {
            held.push(stream);
        }
    });
    port
}

/// aiosmtpd, as a program of its own: it prints each mail as a line of JSON.
const SERVER: &str = r#"
import asyncio, json, ssl, sys
from email import message_from_bytes, policy
from aiosmtpd.smtp import SMTP, AuthResult
port, mode, cert, key, password, refuse = int(sys.argv[1]), *sys.argv[2:7]
class Handler:
    async def handle_DATA(self, server, session, envelope):
        if refuse:
            return refuse
        mail = message_from_bytes(envelope.content, policy=policy.default)
        print(json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "subject": mail["Subject"],
            "id": mail["Message-ID"], "text": mail.get_content(), "tls": session.ssl is not None or mode == "smtps",
            "auto": mail["Auto-Submitted"], "login": bool(session.authenticated)}), flush=True)
        return "250 OK"
def login(server, session, envelope, mechanism, data):
    return AuthResult(success=data.login == b"mqfleet" and data.password == password.encode(), handled=False)
tls = None
if mode != "plain":
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(cert, key)
def smtp():
    return SMTP(Handler(), hostname="localhost", tls_context=tls if mode == "starttls" else None,
        require_starttls=mode == "starttls", authenticator=login if password else None,
        auth_required=bool(password), auth_require_tls=mode == "starttls")
async def serve():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(smtp, "127.0.0.1", port, ssl=tls if mode == "smtps" else None)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
asyncio.run(serve())
"#;

/// How a mail server is to be.
#[derive(Clone, Copy, Default)]
pub struct Manner<'a> {
    /// `plain`, `starttls` or `smtps`.
    pub mode: &'a str,
    /// Certificate and key.
    pub identity: Option<(&'a Path, &'a Path)>,
    /// Whoever sends mail has to be `mqfleet`, with this password.
    pub password: &'a str,
    /// What it says to every mail in place of taking it.
    pub refuse: &'a str,
    /// 0: any that is free.
    pub port: u16,
}

pub struct MailServer {
    pub port: u16,
    child: Child,
    _stdin: Option<ChildStdin>,
    mails: Arc<Mutex<Vec<Value>>>,
}

impl MailServer {
    /// `None` where Python has no aiosmtpd, which is said.
    pub fn start(manner: Manner) -> Option<MailServer> {
        // The system's, where another one comes first.
        let has = |python: &&str| {
            let status = Command::new(python).args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        let Some(python) = ["python3", "/usr/bin/python3"].into_iter().find(has) else {
            eprintln!("skipped: there is no aiosmtpd");
            return None;
        };
        let mode = if manner.mode.is_empty() { "plain" } else { manner.mode };
        let identity = manner.identity.map(|(cert, key)| [cert, key].map(|path| path.to_str().expect("a path")));
        let [cert, key] = identity.unwrap_or_default();
        let mut child = Command::new(python)
            .args(["-c", SERVER, &manner.port.to_string(), mode, cert, key, manner.password, manner.refuse])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let ready = lines.next().expect("a line").expect("UTF-8");
        let port = ready.strip_prefix("ready ").expect("it is ready").parse().expect("a port");
        let mails: Arc<Mutex<Vec<Value>>> = Arc::default();
        let keep = mails.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mail = serde_json::from_str(&line).expect("JSON");
                keep.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
            }
        });
        Some(MailServer { port, _stdin: child.stdin.take(), child, mails })
    }

    pub fn mails(&self) -> Vec<Value> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
