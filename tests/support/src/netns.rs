//! A network of a test's own, with a broker in it, whose parts can be taken away; what runs in it cannot reach this machine.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

pub struct Network {
    broker: Child,
    _dir: TempDir,
}

impl Network {
    /// The broker's port in its network, which nothing else has.
    pub const PORT: u16 = 40_000;

    /// # Errors
    /// What this machine does not permit: it takes root to make a network.
    pub fn start() -> Result<Network, String> {
        let can = Command::new("unshare").args(["-n", "ip", "link", "set", "lo", "up"]).output();
        let can = can.map_err(|e| format!("no unshare: {e}"))?;
        if !can.status.success() {
            return Err(format!("no network of its own: {}", String::from_utf8_lossy(&can.stderr).trim()));
        }
        let dir = TempDir::new().expect("a folder");
        let conf = dir.path().join("mosquitto.conf");
        let port = Network::PORT;
        fs::write(&conf, format!("listener {port} 0.0.0.0\nallow_anonymous true\nuser root\nlog_dest none\n"))
            .expect("a file");
        let script = "ip link set lo up && PATH=$PATH:/usr/sbin:/usr/local/sbin exec mosquitto -c \"$0\"";
        let mut unshare = Command::new("unshare");
        let broker = unshare.args(["-n", "sh", "-c", script]).arg(&conf).stdin(Stdio::null()).spawn();
        let mut network = Network { broker: broker.expect("unshare"), _dir: dir };
        let end = Instant::now() + Duration::from_secs(10);
        // Each line of the table: number, own address (port as four hexadecimal digits), far address, state.
        let listens = |table: String| table.lines().any(|l| l.contains(&format!(":{port:04X} 00000000:0000 0A")));
        while !fs::read_to_string(format!("/proc/{}/net/tcp", network.broker.id())).is_ok_and(listens) {
            assert!(matches!(network.broker.try_wait(), Ok(None)), "its broker ended at once");
            assert!(Instant::now() < end, "its broker does not listen");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(network)
    }

    /// A program in this network.
    pub fn run(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.broker.id().to_string(), "-n", program]).args(args);
        command
    }

    /// Gives the broker this address as well, besides 127.0.0.1. Until then no way leads there.
    pub fn add(&self, address: &str) {
        self.sh(&format!("ip address add {address}/32 dev lo"));
    }

    /// The ports that connections may go out from.
    pub fn local_ports(&self, from: u16, to: u16) {
        self.sh(&format!("echo {from} {to} > /proc/sys/net/ipv4/ip_local_port_range"));
    }

    fn sh(&self, script: &str) {
        assert!(self.run("sh", &["-c", script]).status().expect("nsenter").success(), "{script}");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.broker.kill();
        let _ = self.broker.wait();
    }
}
