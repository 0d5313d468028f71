//! A real Redis server, or Sentinel, for tests: its own process, free port and folder; killed with its owner. It knows nothing of mqfleet.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{SOON, mosquitto::free_port, process};

/// One server on one loopback port, which stays the same over restarts. It keeps nothing over a restart unless told so.
pub struct Redis {
    dir: TempDir,
    port: u16,
    mode: &'static str,
    child: Option<Child>,
}

/// Whether there is a server on this machine; where there is none, that is said.
pub fn is_there() -> bool {
    let there = found().is_some();
    if !there {
        eprintln!("skipped: there is no redis-server");
    }
    there
}

/// The server's program. Debian has the same one, without a service, as what checks its files: its name decides.
fn found() -> Option<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &&str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    ["redis-server", "redis-check-rdb", "valkey-server"].into_iter().find(is_there)
}

impl Redis {
    /// A server that is open to everybody on this host.
    pub fn start() -> Redis {
        Redis::with(&[])
    }

    /// The same with more lines in its configuration. `{dir}` in them is its folder.
    pub fn with(lines: &[&str]) -> Redis {
        let port = free_port();
        let mut all = vec![format!("port {port}"), "bind 127.0.0.1".into(), "save \"\"".into(), "appendonly no".into()];
        all.extend(lines.iter().map(|line| (*line).to_owned()));
        Redis::of("redis-server", port, &all)
    }

    /// A replica of another one.
    pub fn replica(of: &Redis) -> Redis {
        Redis::with(&[&format!("replicaof 127.0.0.1 {}", of.port), "repl-diskless-load on-empty-db"])
    }

    /// A Sentinel that, alone, decides when this master is dead, by the name `mymaster`.
    pub fn sentinel(of: &Redis) -> Redis {
        let port = free_port();
        let lines = [
            format!("port {port}"),
            "bind 127.0.0.1".into(),
            format!("sentinel monitor mymaster 127.0.0.1 {} 1", of.port),
            "sentinel down-after-milliseconds mymaster 1000".into(),
            "sentinel failover-timeout mymaster 5000".into(),
        ];
        Redis::of("redis-sentinel", port, &lines)
    }

    fn of(mode: &'static str, port: u16, lines: &[String]) -> Redis {
        let dir = TempDir::new().expect("a folder");
        let folder = dir.path().to_str().expect("a path").to_owned();
        let text: Vec<String> = lines.iter().map(|line| line.replace("{dir}", &folder)).collect();
        fs::write(dir.path().join("redis.conf"), format!("dir {folder}\n{}\n", text.join("\n")))
            .expect("a configuration");
        let mut redis = Redis { dir, port, mode, child: None };
        redis.run();
        redis
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Its URL, without a fleet.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it by SIGKILL.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("to kill redis");
            child.wait().expect("its end");
        }
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

    /// Its memory, in bytes.
    pub fn memory(&self) -> process::Memory {
        process::memory(self.child.as_ref().expect("it runs").id())
    }

    fn signal(&self, signal: Signal) {
        process::signal(self.child.as_ref().expect("it runs").id(), signal);
    }

    /// redis-cli with this server.
    pub fn command(&self) -> Command {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]);
        command
    }

    /// What redis-cli says to a command, errors too; a line for each element.
    pub fn cli(&self, words: &[&str]) -> String {
        let Output { stdout, stderr, .. } = self.command().args(words).output().expect("redis-cli runs");
        let said = [stdout, stderr].concat();
        String::from_utf8(said).expect("UTF-8").trim_end().to_owned()
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.path().join("log")).unwrap_or_default()).into_owned()
    }

    fn run(&mut self) {
        let log = File::options().create(true).append(true).open(self.dir.path().join("log")).expect("a log");
        let program = found().expect("redis-server: is it installed?");
        let child = Command::new(program)
            .arg0(self.mode)
            .arg(self.dir.path().join("redis.conf"))
            .args((self.mode == "redis-sentinel").then_some("--sentinel"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("redis-server starts");
        self.child = Some(child);
        let deadline = Instant::now() + SOON;
        while let Err(error) = TcpStream::connect(self.address()) {
            assert!(Instant::now() < deadline, "redis does not listen: {error}; it said:\n{}", self.log());
            let ended = self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            assert!(!ended, "redis ended at once:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
