//! Consoles that attach over ssh, to a real sshd of the test's own: it is killed, and neither the fleet nor the far end minds.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use mqfleet_test_support::{
    SOON,
    console::Console,
    fleet_file::FleetFile,
    mosquitto::{self, Mosquitto},
    process, program,
};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{Agent, folders, rounds};

/// sshd for this user alone, on loopback.
struct Sshd {
    dir: TempDir,
    child: Child,
}

impl Sshd {
    /// `None` where there is no sshd on this machine.
    fn start(env: &[(String, String)]) -> Option<Sshd> {
        let sshd = ["/usr/sbin/sshd", "/usr/bin/sshd"].into_iter().find(|path| Path::new(path).exists())?;
        let dir = TempDir::new().expect("a folder");
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]).status();
            assert!(made.expect("ssh-keygen").success());
        }
        fs::copy(at("user.pub"), at("authorized")).expect("a copy");
        fs::set_permissions(at("authorized"), fs::Permissions::from_mode(0o600)).expect("ours");
        let port = mosquitto::free_port();
        // The far end finds mqfleet on its path, as a user has it there.
        fs::create_dir(at("bin")).expect("a folder");
        std::os::unix::fs::symlink(program(), at("bin/mqfleet")).expect("a link");
        let set: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPermitRootLogin yes\nSetEnv PATH={}:/usr/bin:/bin {}\n",
            at("host"),
            at("authorized"),
            at("bin"),
            set.join(" ")
        );
        fs::write(at("sshd_config"), config).expect("a file");
        let _ = fs::DirBuilder::new().mode(0o755).create("/run/sshd"); // where sshd is root's
        let mut command = Command::new(sshd);
        command.args(["-D", "-e", "-f", &at("sshd_config")]);
        let child = command.stderr(Stdio::null()).spawn().expect("sshd starts");
        let config = format!(
            "Host *\n Port {port}\n IdentityFile {}\n IdentitiesOnly yes\n StrictHostKeyChecking no\n \
             UserKnownHostsFile /dev/null\n LogLevel ERROR\n",
            at("user")
        );
        fs::write(at("ssh_config"), config).expect("a file");
        // What attach runs as `ssh`.
        fs::create_dir(at("near")).expect("a folder");
        fs::write(at("near/ssh"), format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", at("ssh_config")))
            .expect("a file");
        fs::set_permissions(at("near/ssh"), fs::Permissions::from_mode(0o755)).expect("ours");
        let end = Instant::now() + SOON;
        while TcpListener::bind(("127.0.0.1", port)).is_ok() {
            assert!(Instant::now() < end, "sshd does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Sshd { dir, child })
    }

    fn path(&self) -> String {
        format!("{}:/usr/bin:/bin", self.dir.path().join("near").display())
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn ssh_is_killed_and_no_client_blinks() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 20);
    let agent = Agent::start(&file);
    agent.wait_up(20);
    let Some(sshd) = Sshd::start(&agent.env()) else {
        println!("skipped: there is no sshd here");
        return;
    };
    let path = sshd.path();
    let near = TempDir::new().expect("a folder");
    let mut env = folders(&near);
    env.push(("PATH".into(), path));
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut console = Console::start_with(100, 30, &["attach", "ssh://127.0.0.1/test"], &env);
    for _ in 0..rounds(3) {
        console.wait_for("all of it", |screen| screen.contains("● 20 up") && !screen.contains("gone since"));
        let far: Vec<u32> = process::descendants(sshd.child.id());
        assert!(!far.is_empty());
        let ssh = console.descendants();
        ssh.iter().for_each(|id| process::signal(*id, Signal::KILL));
        console.wait_for("that it is gone", |screen| screen.contains("agent test is gone since"));
        process::assert_gone(&far);
    }
    console.wait_text("● 20 up");
    console.press("q");
    assert_eq!(console.wait_exit().code, 0);
    console.assert_restored();
    let log = broker.log();
    assert_eq!(log.matches("New client connected").count(), 20, "nobody lost its connection");
    // What is wrong there is said here.
    let mut nobody = Console::start_with(100, 30, &["attach", "ssh://127.0.0.1/other"], &env);
    nobody.wait_text("127.0.0.1: no agent answers at");
    assert_eq!(nobody.wait_exit().code, 1);
    // And once in good order.
    let mut console = Console::start_with(100, 30, &["attach", "ssh://127.0.0.1/"], &env);
    console.wait_text("20 up");
    console.press("q");
    assert_eq!(console.wait_exit().code, 0);
    agent.end();
}
