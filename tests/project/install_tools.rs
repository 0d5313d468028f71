//! Defines what the set-up script must run on each kind of machine, shown on machines made of stand-in tools; whether real packages hold what their names promise is CI's matter.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tempfile::TempDir;

/// Stands in for every package manager: notes its own command line and then makes the tools that the
/// packages hold. While the file `stale` is there, it fails as apt does with old lists.
const MANAGER: &str = r#"#!/bin/sh
here=${0%/*}
echo "${0##*/} $*" >>"$here/log"
if [ "$1" = update ]; then /bin/rm "$here/stale"; exit; fi
if [ -e "$here/stale" ] || [ -e "$here/broken" ]; then exit 100; fi
for package; do
    case "$package" in
    cmake | mosquitto) echo '#!/bin/sh' >"$here/$package" && /bin/chmod +x "$here/$package" ;;
    openssh | openssh-server) echo '#!/bin/sh' >"$here/sshd" && /bin/chmod +x "$here/sshd" ;;
    prometheus) echo '#!/bin/sh' >"$here/promtool" && /bin/chmod +x "$here/promtool" ;;
    influxdb) echo '#!/bin/sh' >"$here/influxd" && /bin/chmod +x "$here/influxd" ;;
    prometheus-alertmanager) echo '#!/bin/sh' >"$here/$package" && /bin/chmod +x "$here/$package" ;;
    ejabberd) echo '#!/bin/sh' >"$here/ejabberdctl" && /bin/chmod +x "$here/ejabberdctl" ;;
    redis-tools) echo '#!/bin/sh' >"$here/redis-cli" && /bin/chmod +x "$here/redis-cli" ;;
    python3-aiosmtpd) echo '#!/bin/sh' >"$here/aiosmtpd" && /bin/chmod +x "$here/aiosmtpd" ;;
    libssl-dev | openssl-devel | openssl) : >"$here/openssl.pc" ;;
    pkg-config | pkgconf | pkgconf-pkg-config)
        printf '#!/bin/sh\n[ "$*" = "--exists openssl" ] && [ -e "%s/openssl.pc" ]\n' "$here" >"$here/pkg-config"
        /bin/chmod +x "$here/pkg-config" ;;
    esac
done
"#;

const SUDO: &str = r#"#!/bin/sh
echo "sudo $*" >>"${0%/*}/log"
exec "$@"
"#;

/// Notes its own command line, and fails.
const NOTED: &str = r#"#!/bin/sh
echo "${0##*/} $*" >>"${0%/*}/log"
exit 1
"#;

/// A file that another thread's fork holds open for writing cannot be executed (ETXTBSY), so nobody
/// writes a stand-in while somebody starts a process.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A machine: its PATH is one folder, and nothing is in it but what a test put there.
struct Machine {
    bin: TempDir,
}

/// How a run of the script ended: `ran` holds the managers' command lines, `sudo`'s included.
struct Outcome {
    success: bool,
    ran: Vec<String>,
    said: String,
}

impl Machine {
    /// With a compiler and Rust, as the README asks, for the user of this number.
    fn of_user(user: u32) -> Machine {
        Machine::with_system(user, "Linux")
    }

    fn with_system(user: u32, system: &str) -> Machine {
        let machine = Machine { bin: TempDir::new().expect("a temporary folder") };
        machine.add("cc", "#!/bin/sh\n").add("cargo", "#!/bin/sh\n");
        machine.add("id", &format!("#!/bin/sh\necho {user}\n"));
        machine.add("uname", &format!("#!/bin/sh\necho {system}\n"));
        symlink("/usr/bin/env", machine.bin.path().join("env")).expect("a link to env");
        machine
    }

    fn add(&self, tool: &str, script: &str) -> &Machine {
        let _turn = turn();
        let path = self.bin.path().join(tool);
        fs::write(&path, script).expect("a stand-in is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a stand-in is made executable");
        self
    }

    fn remove(&self, tool: &str) -> &Machine {
        fs::remove_file(self.bin.path().join(tool)).expect("a stand-in is removed");
        self
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(arguments, &[])
    }

    fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
        let _turn = turn();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/install-tools");
        let output = Command::new("/bin/sh")
            .arg(script)
            .args(arguments)
            .env_clear()
            .env("PATH", self.bin.path())
            .envs(environment.iter().copied())
            .output()
            .expect("the script starts");
        let log = self.bin.path().join("log");
        let ran = fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect();
        let _ = fs::remove_file(&log);
        let said = [output.stdout, output.stderr].concat();
        Outcome {
            success: output.status.success(),
            ran,
            said: String::from_utf8(said).expect("the script speaks UTF-8"),
        }
    }
}

const APT: &str = "apt-get install -y -q --no-install-recommends";

#[test]
fn each_manager_gets_its_own_names_and_a_second_run_nothing() {
    let cases = [
        (
            "apt-get",
            format!(
                "{APT} cmake libssl-dev pkg-config mosquitto ejabberd prometheus prometheus-alertmanager influxdb python3-aiosmtpd redis-tools openssh-server openssh-client"
            ),
        ),
        (
            "dnf",
            "dnf install -y cmake openssl-devel pkgconf-pkg-config mosquitto openssh-server openssh-clients".into(),
        ),
        ("pacman", "pacman -S --needed --noconfirm cmake openssl pkgconf mosquitto openssh".into()),
    ];
    for (manager, command) in cases {
        let machine = Machine::of_user(0);
        machine.add(manager, MANAGER);

        let first = machine.run(&["--tests"]);
        assert!(first.success, "{manager}: {}", first.said);
        assert_eq!(first.ran, [command.as_str()]);
        assert_eq!(first.said.lines().count(), 1, "one line before it acts: {}", first.said);
        assert!(first.said.contains(&command), "the line holds the command: {}", first.said);

        let second = machine.run(&["--tests"]);
        assert!(second.success && second.ran.is_empty() && second.said.is_empty(), "{manager}: {}", second.said);
    }
}

#[test]
fn a_build_does_not_ask_for_brokers() {
    let machine = Machine::of_user(0);
    machine.add("apt-get", MANAGER);
    assert_eq!(machine.run(&[]).ran, [format!("{APT} cmake libssl-dev pkg-config")]);
    assert_eq!(
        machine.run(&["--tests"]).ran,
        [format!(
            "{APT} mosquitto ejabberd prometheus prometheus-alertmanager influxdb python3-aiosmtpd redis-tools openssh-server openssh-client"
        )]
    );
    assert_eq!(machine.remove("mosquitto").run(&["--tests"]).ran, [format!("{APT} mosquitto")]);
    assert_eq!(machine.remove("ejabberdctl").run(&["--tests"]).ran, [format!("{APT} ejabberd")]);
}

#[test]
fn services_that_come_along_are_left_off_and_no_others() {
    let machine = Machine::of_user(0);
    machine.add("apt-get", MANAGER).add("systemctl", NOTED);
    let [first, .., last] = &machine.run(&["--tests"]).ran[..] else { panic!("nothing ran") };
    assert!(first.starts_with("apt-get install") && last == "systemctl stop ssh", "{first} … {last}");
    machine.remove("influxd");
    let outcome = machine.run(&["--tests"]);
    let left_off = ["systemctl disable influxdb", "systemctl stop influxdb"];
    assert_eq!(outcome.ran[1..], left_off, "{}", outcome.said);
    assert!(outcome.said.contains("which are left off"), "{}", outcome.said);
    // Where there is no systemd.
    machine.remove("systemctl").remove("mosquitto").add("update-rc.d", NOTED).add("service", NOTED);
    let left_off = ["update-rc.d mosquitto disable", "service mosquitto stop"];
    assert_eq!(machine.run(&["--tests"]).ran[1..], left_off);
}

#[test]
fn headers_count_when_the_build_can_find_them() {
    let machine = Machine::of_user(0);
    machine.add("apt-get", MANAGER).add("cmake", "#!/bin/sh\n").add("openssl.pc", "");
    assert_eq!(machine.run(&[]).ran, [format!("{APT} libssl-dev pkg-config")]);
    machine.remove("openssl.pc");
    assert!(machine.run_with(&[], &[("OPENSSL_DIR", "/opt/ssl")]).ran.is_empty());
    assert_eq!(machine.run(&[]).ran, [format!("{APT} libssl-dev pkg-config")]);
}

#[test]
fn sudo_is_used_only_by_who_is_not_root() {
    let debian = Machine::of_user(1000);
    debian.add("apt-get", MANAGER).add("sudo", SUDO);
    let command = format!("{APT} cmake libssl-dev pkg-config");
    assert_eq!(debian.run(&[]).ran, [format!("sudo env DEBIAN_FRONTEND=noninteractive {command}"), command]);
}

#[test]
fn another_system_hears_that_it_is_none_for_mqfleet() {
    for (system, manager) in [("Darwin", "brew"), ("FreeBSD", "pkg")] {
        let machine = Machine::with_system(501, system);
        // Before anything else is asked for, what is there counts for nothing.
        machine.add(manager, MANAGER).add("sudo", SUDO).remove("cargo");
        for arguments in [&[][..], &["--tests"]] {
            let outcome = machine.run(arguments);
            assert!(!outcome.success && outcome.ran.is_empty(), "{system}: {}", outcome.said);
            let words = format!("install-tools: mqfleet runs on Linux, and this is {system}: nothing was installed.");
            assert_eq!(outcome.said.lines().next(), Some(words.as_str()), "{}", outcome.said);
        }
    }
}

#[test]
fn without_sudo_it_says_what_root_must_run() {
    let machine = Machine::of_user(1000);
    machine.add("dnf", MANAGER);
    let outcome = machine.run(&[]);
    assert!(!outcome.success && outcome.ran.is_empty());
    assert!(outcome.said.contains("dnf install -y cmake openssl-devel"), "{}", outcome.said);
}

#[test]
fn package_lists_are_fetched_only_when_the_first_try_failed() {
    let machine = Machine::of_user(0);
    machine.add("apt-get", MANAGER).add("stale", "");
    let outcome = machine.run(&[]);
    let install = format!("{APT} cmake libssl-dev pkg-config");
    assert!(outcome.success, "{}", outcome.said);
    assert_eq!(outcome.ran, [install.as_str(), "apt-get update -q", install.as_str()]);
}

#[test]
fn a_failed_or_impossible_install_says_what_to_do_by_hand() {
    let by_hand = "Install by hand and start again: cmake, OpenSSL's headers with pkg-config, the mosquitto broker, the OpenSSH server.";

    let broken = Machine::of_user(0);
    broken.add("pacman", MANAGER).add("broken", "");
    let outcome = broken.run(&["--tests"]);
    assert!(!outcome.success && outcome.said.contains(by_hand), "{}", outcome.said);

    let unknown = Machine::of_user(0).run(&["--tests"]);
    assert!(!unknown.success && unknown.ran.is_empty() && unknown.said.contains(by_hand), "{}", unknown.said);

    // A manager that reports success and brings nothing.
    let empty = Machine::of_user(0);
    empty.add("dnf", "#!/bin/sh\n");
    let outcome = empty.run(&["--tests"]);
    assert!(!outcome.success && outcome.said.contains("still not to be found"), "{}", outcome.said);
}

#[test]
fn rust_and_the_compiler_are_named_before_anything_is_installed() {
    for (tool, words) in [("cargo", "Rust is missing"), ("cc", "a C compiler is missing")] {
        let machine = Machine::of_user(0);
        machine.add("apt-get", MANAGER).remove(tool);
        let outcome = machine.run(&["--tests"]);
        assert!(!outcome.success && outcome.ran.is_empty());
        assert!(outcome.said.contains(words), "{}", outcome.said);
    }
}
