//! A broker's process for the table: started in a folder of its own with everything that it says in a log there, and ended with its owner; what broker it is, the file of that broker says.

use std::{
    fs::{self, File},
    io::Write,
    net::TcpStream,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

/// A broker may take long on a busy machine; RabbitMQ takes 16 s on an idle one.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Server {
    pub dir: TempDir,
    child: Option<Child>,
}

impl Server {
    /// A folder with these files.
    pub fn folder(files: &[(&str, String)]) -> TempDir {
        let dir = TempDir::new().expect("a folder");
        for (name, text) in files {
            fs::write(dir.path().join(name), text).expect("a file");
        }
        dir
    }

    /// Starts it, and waits until it listens at all of these ports of loopback.
    pub fn start(dir: TempDir, command: &mut Command, ports: &[u16]) -> Server {
        let log = File::options().create(true).append(true).open(dir.path().join("log")).expect("a log");
        let errors = log.try_clone().expect("a log");
        // A group of its own: some are scripts, whose broker is a process of theirs.
        command.process_group(0).current_dir(dir.path()).stdin(Stdio::piped()).stdout(log).stderr(errors);
        let child = command.spawn().expect("a broker");
        let mut server = Server { dir, child: Some(child) };
        let deadline = Instant::now() + PATIENCE;
        let listens = |port: &u16| TcpStream::connect(("127.0.0.1", *port)).is_ok();
        while !ports.iter().all(listens) {
            let ended = server.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            assert!(!ended && Instant::now() < deadline, "it does not listen at {ports:?}:\n{}", server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Waits until it logs that.
    pub fn wait_for(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(words) {
            assert!(Instant::now() < deadline, "it does not log {words:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// All that it said, on its outputs and in files of these names.
    pub fn log(&self) -> String {
        let read = |name: &str| fs::read(self.dir.path().join(name)).unwrap_or_default();
        let bytes = ["log", "broker.log"].map(read).concat();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A line on its standard input.
    pub fn say(&mut self, line: &str) {
        let input = self.child.as_mut().and_then(|child| child.stdin.as_mut()).expect("its input");
        writeln!(input, "{line}").expect("its input");
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            kill_process(Pid::from_child(child), signal).expect("to signal it");
        }
    }

    /// Ends it with all that it started: the kernel closes its connections.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _ = child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where a program is, if it is anywhere: Debian keeps servers outside an ordinary user's path.
pub fn program(name: &str) -> Option<PathBuf> {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin");
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// What `.ci/install-brokers` put into the folder of build results.
pub fn installed(path: &str) -> Option<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/brokers").join(path);
    file.exists().then_some(file)
}
