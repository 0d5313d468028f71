//! A real ejabberd with mod_mqtt for tests: its own Erlang process, ports and temporary directory, ended with its owner, however that ends; it is no Erlang node, so there is no epmd. It knows nothing of mqfleet.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{Write, stderr},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::mosquitto::free_port;

/// One broker with a door of each kind. TLS is spoken with one certificate at all of them.
pub struct Ejabberd {
    dir: TempDir,
    child: Child,
    pub plain: u16,
    pub tls: u16,
    /// Knows a client by its certificate, which names the user.
    pub mutual: u16,
    pub ws: u16,
    pub wss: u16,
}

/// What a broker is to show, and whom it is to know.
pub struct Setup<'a> {
    pub certificate: &'a Path,
    pub key: &'a Path,
    /// Who has to have signed a client's certificate.
    pub client_ca: &'a Path,
    /// The user at `closed.example` who needs this password; so does [`DENIED`].
    pub user: &'a str,
    pub password: &'a str,
}

/// The host where nobody is let in whom it does not know. Users of `localhost`, which is taken where a
/// user name has no host, are let in with any password, but not without one.
const CLOSED: &str = "closed.example";
/// The user at `closed.example` who may publish and subscribe to `free/#` only.
const DENIED: &str = "denied";

impl Ejabberd {
    /// The time it may take to start on a busy machine; else some two seconds; several start at once.
    const PATIENCE: Duration = Duration::from_secs(180);

    /// Whether it is installed. Where `make` installs it, it has to be; elsewhere it says what is skipped.
    pub fn is_there() -> bool {
        let there = control().is_some();
        assert!(there || !on_path("apt-get"), "ejabberd is not installed: run `make test-tools`");
        if !there {
            // Past the test harness, which would keep it to itself.
            let _ = writeln!(stderr(), "skipped: ejabberd is not installed");
        }
        there
    }

    pub fn start(setup: &Setup) -> Ejabberd {
        let dir = TempDir::new().expect("a temporary directory");
        let [plain, tls, mutual, ws, wss] = std::array::from_fn(|_| free_port());
        let path = |name: &str| dir.path().join(name).display().to_string();
        let conf = format!(
            r##"
hosts: [localhost, {CLOSED}]
loglevel: info
certfiles: ["{certificate}", "{key}"]
c2s_cafile: "{ca}"
auth_method: [mnesia]
host_config:
  localhost: {{auth_method: [anonymous], anonymous_protocol: login_anon, allow_multiple_connections: true}}
listen:
  - {{port: {plain}, ip: "127.0.0.1", module: mod_mqtt}}
  - {{port: {tls}, ip: "127.0.0.1", module: mod_mqtt, tls: true}}
  - {{port: {mutual}, ip: "127.0.0.1", module: mod_mqtt, tls: true, tls_verify: true}}
  - {{port: {ws}, ip: "127.0.0.1", module: ejabberd_http, request_handlers: {{/mqtt: mod_mqtt}}}}
  - {{port: {wss}, ip: "127.0.0.1", module: ejabberd_http, request_handlers: {{/mqtt: mod_mqtt}}, tls: true}}
acl:
  outcast: {{user: "{DENIED}@{CLOSED}"}}
access_rules:
  others: [{{deny: outcast}}, {{allow: all}}]
modules:
  mod_mqtt: 
    access_publish: {{"#": others, "free/#": all}}
    access_subscribe: {{"#": others, "free/#": all}}
"##,
            certificate = setup.certificate.display(),
            key = setup.key.display(),
            ca = setup.client_ca.display(),
        );
        fs::write(path("ejabberd.yml"), conf).expect("a configuration file");
        // It ends when its standard input does, which no way of dying of ours can forget.
        let then = format!(
            "[ok = ejabberd_auth:try_register(U, <<\"{CLOSED}\">>, <<\"{}\">>) || U <- [<<\"{}\">>, <<\"{DENIED}\">>]],
             spawn(fun() -> io:format(\"ready~n\"),
                            case io:get_line(\"\") of \"stop~n\" -> init:stop(); _ -> erlang:halt(0) end end).",
            setup.password, setup.user,
        )
        .replace("stop~n", "stop\\n");
        let child = Command::new("erl")
            .args(["-noshell", "+Bd", "-mnesia", "dir"])
            .arg(format!("{:?}", path("mnesia")))
            .args(["-s", "ejabberd", "-eval", &then])
            .env("ERL_LIBS", home())
            .env("EJABBERD_CONFIG_PATH", path("ejabberd.yml"))
            .env("EJABBERD_LOG_PATH", path("ejabberd.log"))
            .env("ERL_CRASH_DUMP", path("crash"))
            .stdin(Stdio::piped())
            .stdout(File::create(path("out")).expect("a file"))
            .stderr(File::create(path("err")).expect("a file"))
            .spawn()
            .expect("erl starts");
        let mut broker = Ejabberd { dir, child, plain, tls, mutual, ws, wss };
        broker.wait("its user", |b| b.read("out").contains("ready"));
        for port in [plain, tls, mutual, ws, wss] {
            broker.wait("every port", |_| TcpStream::connect(("127.0.0.1", port)).is_ok());
        }
        broker
    }

    /// Asks it to end.
    pub fn stop(&mut self) {
        writeln!(self.child.stdin.as_mut().expect("its input"), "stop").expect("its input");
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("to kill it");
    }

    /// What it logged.
    pub fn log(&self) -> String {
        ["out", "err", "ejabberd.log"].map(|name| self.read(name)).concat()
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.path().join(name)).unwrap_or_default()).into_owned()
    }

    fn wait(&mut self, what: &str, wanted: impl Fn(&Ejabberd) -> bool) {
        let deadline = Instant::now() + Self::PATIENCE;
        while !wanted(self) {
            let ended = !matches!(self.child.try_wait(), Ok(None));
            assert!(!ended && Instant::now() < deadline, "ejabberd is not ready, wanted {what}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Ejabberd {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its control program, a script that works for its own user only.
fn control() -> Option<String> {
    let file = env::split_paths(&path()).map(|dir| dir.join("ejabberdctl")).find(|file| file.is_file())?;
    fs::read_to_string(file).ok()
}

/// Where its code is, as its control program says.
fn home() -> String {
    let control = control().expect("ejabberd is installed");
    let line = control.lines().find_map(|line| line.trim().strip_prefix("ERL_LIBS="));
    line.expect("ERL_LIBS in ejabberdctl").trim_matches(['\'', '"']).to_owned()
}

fn on_path(tool: &str) -> bool {
    env::split_paths(&path()).any(|dir| dir.join(tool).is_file())
}

/// Debian keeps servers outside an ordinary user's path.
fn path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin");
    path
}
