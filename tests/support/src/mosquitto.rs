//! A real mosquitto for tests: its own process, free port and temporary directory; killed with its owner. It knows nothing of mqfleet.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
        mpsc::Sender,
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

/// One broker on one loopback port. The port stays the same over restarts.
pub struct Mosquitto {
    dir: TempDir,
    port: u16,
    ear: Option<Sender<(Instant, String)>>,
    child: Option<Child>,
}

/// How a broker is set up; every part has a sensible default.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// User names and passwords; empty for an open broker.
    pub users: Vec<(String, String)>,
    /// Further lines for `mosquitto.conf`.
    pub lines: Vec<String>,
    /// Log everything but payloads, for tests that read the log. Slow with thousands of clients.
    pub verbose: bool,
    /// Is told each line of the log, and when it came.
    pub ear: Option<Sender<(Instant, String)>>,
}

impl Mosquitto {
    /// The time a broker may take to start on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Starts an open broker that logs connects and disconnects.
    pub fn start() -> Mosquitto {
        Mosquitto::with(Setup::default())
    }

    pub fn with(setup: Setup) -> Mosquitto {
        let dir = TempDir::new().expect("a temporary directory");
        let port = free_port();
        let mut conf = vec![
            format!("listener {port} 127.0.0.1"),
            format!("allow_anonymous {}", setup.users.is_empty()),
            "persistence false".into(),
            "user root".into(), // as another user it could not read its directory
            "max_connections -1".into(),
            "max_queued_messages 1000".into(),
            "log_dest stderr".into(),
            "log_timestamp false".into(),
        ];
        let types: &[&str] = if setup.verbose { &["all"] } else { &["error", "warning", "notice"] };
        conf.extend(types.iter().map(|t| format!("log_type {t}")));
        if !setup.users.is_empty() {
            let file = dir.path().join("passwords");
            fs::write(&file, "").expect("an empty password file");
            setup.users.iter().for_each(|(name, password)| set_password(&file, name, password));
            conf.push(format!("password_file {}", file.display()));
        }
        conf.extend(setup.lines);
        fs::write(dir.path().join("mosquitto.conf"), conf.join("\n") + "\n").expect("a configuration file");
        let mut broker = Mosquitto { dir, port, ear: setup.ear, child: None };
        broker.run();
        broker
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Ends it by SIGKILL: the kernel closes every connection at once.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("to kill mosquitto");
            child.wait().expect("mosquitto's end");
        }
    }

    /// Ends it by SIGTERM and waits: clients of MQTT 5.0 are told.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        if let Some(mut child) = self.child.take() {
            child.wait().expect("mosquitto's end");
        }
    }

    /// Gives a user another password, which counts from the next start on.
    pub fn set_password(&self, name: &str, password: &str) {
        set_password(&self.dir.path().join("passwords"), name, password);
    }

    /// Starts it again on the same port.
    pub fn restart(&mut self) {
        self.kill9();
        self.run();
    }

    /// Freezes it: connections stay, nothing answers.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// The lowest descriptor that it has not, once nobody is connected.
    pub fn files_at_rest(&self) -> u64 {
        let id = self.child.as_ref().map(Child::id).expect("a running broker");
        let deadline = Instant::now() + Self::PATIENCE;
        // Each line of the table: number, own address (port as four hexadecimal digits), far address,
        // state; 01 is established, 08 what the other side has closed.
        let own = format!(":{:04X}", self.port);
        let is_connected = |line: &str| {
            let mut words = line.split_whitespace().skip(1);
            let is_own = words.next().is_some_and(|address| address.ends_with(&own));
            is_own && words.nth(1).is_some_and(|state| matches!(state, "01" | "08"))
        };
        while fs::read_to_string("/proc/net/tcp").expect("a table").lines().any(is_connected) {
            assert!(Instant::now() < deadline, "somebody stays connected");
            std::thread::sleep(Duration::from_millis(5));
        }
        let has = |file: &u64| fs::symlink_metadata(format!("/proc/{id}/fd/{file}")).is_ok();
        (0..).find(|file| !has(file)).expect("a number")
    }

    /// Sets how many files it may have.
    pub fn limit_files(&self, limit: Rlimit) {
        let id = Pid::from_child(self.child.as_ref().expect("a running broker"));
        prlimit(Some(id), Resource::Nofile, limit).expect("to set its limit");
    }

    /// All that it logged since its first start.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn run(&mut self) {
        let mut log = File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let words: Stdio = match &self.ear {
            None => log.into(),
            Some(ear) => {
                let (reader, writer) = io::pipe().expect("a pipe");
                let ear = ear.clone();
                std::thread::spawn(move || {
                    for line in BufReader::new(reader).lines().map_while(Result::ok) {
                        let _ = ear.send((Instant::now(), line.clone())); // a test that has heard enough
                        writeln!(log, "{line}").expect("room for the log");
                    }
                });
                writer.into()
            }
        };
        let child = Command::new(mosquitto())
            .arg("-c")
            .arg(self.dir.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(words)
            .spawn()
            .expect("mosquitto: is it installed?");
        self.child = Some(child);
        let deadline = Instant::now() + Self::PATIENCE;
        while let Err(e) = TcpStream::connect(self.address()) {
            assert!(Instant::now() < deadline, "mosquitto does not listen: {e}; it said:\n{}", self.log());
            let ended = self.child.as_mut().is_some_and(|c| !matches!(c.try_wait(), Ok(None)));
            assert!(!ended, "mosquitto ended at once:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            kill_process(Pid::from_child(child), signal).expect("to signal mosquitto");
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill9();
    }
}

fn set_password(file: &Path, name: &str, password: &str) {
    let done = Command::new("mosquitto_passwd").arg("-b").arg(file).args([name, password]).output();
    assert!(done.expect("mosquitto_passwd").status.success());
}

/// Debian keeps it outside an ordinary user's path.
fn mosquitto() -> PathBuf {
    let sbin = PathBuf::from("/usr/sbin/mosquitto");
    if sbin.exists() { sbin } else { "mosquitto".into() }
}

/// A loopback port that nobody uses. It is none of those that the kernel gives to whoever asks for any
/// (from 32768 on Linux), so that it is still free when a server comes for it, or comes back to it.
pub fn free_port() -> u16 {
    // Processes start anywhere, so that they do not meet.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(fastrand::u16(..)));
    let mut ports = (0..1_000).map(|_| 20_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 12_000);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}
