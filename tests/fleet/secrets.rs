//! Every kind of secret that a fleet can have, looked for in all that the program writes and shows, in what its processes are called with, and in what they know of the environment.

use std::{
    fs,
    os::unix::{fs::MetadataExt, fs::PermissionsExt, process::ExitStatusExt},
    process::{Command, Output},
};

use mqfleet_test_support::{
    certs::{Authority, VALID},
    console::Console,
    fleet_file::FleetFile,
    headless::{self, Headless},
    mosquitto::{Mosquitto, Setup, free_port},
    peers, process, program,
};
use rustix::process::Signal;

const PASSWORD: &str = "let-me-in-7";
const WRONG: &str = "not-the-one-9";
const KEY: &str = "open-sesame-5";
const PROXY: &str = "tunnel-vision-3";
const DENIED: &str = "no-way-through-4";
const FILED: &str = "in-the-drawer-8";
const TOKEN: &str = "just-this-once-6";
const LISTED: &str = "by-the-thousand-2";

/// Each secret in the forms it takes on its way: as it is, as in a URL, as in `Proxy-Authorization`.
fn forms() -> Vec<Vec<u8>> {
    let secrets = [PASSWORD, WRONG, KEY, PROXY, DENIED, FILED, TOKEN, LISTED];
    let forms = secrets.iter().flat_map(|secret| {
        let basic = openssl::base64::encode_block(format!("op:{secret}").as_bytes());
        [secret.to_string(), secret.replace('-', "%2D"), basic]
    });
    forms.map(String::into_bytes).collect()
}

/// What was looked through, and the secrets in it.
#[derive(Default)]
struct Search {
    places: usize,
    leaks: Vec<String>,
}

impl Search {
    fn look(&mut self, place: &str, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "{place} is empty: looking there shows nothing");
        self.places += 1;
        for form in forms() {
            if bytes.windows(form.len()).any(|window| window == form) {
                self.leaks.push(format!("{place} has {}", String::from_utf8_lossy(&form)));
            }
        }
    }

    fn look_at_output(&mut self, place: &str, output: &Output) {
        self.look(place, &[&output.stdout[..], &output.stderr].concat());
    }

    /// The arguments of these processes and, but for the operator's own, their environment.
    fn look_at_processes(&mut self, program: u32) {
        let arguments = |id: u32| process::read(id, "cmdline").expect("what everybody may read");
        self.look("the program's arguments", &arguments(program));
        let workers = process::descendants(program);
        assert!(!workers.is_empty());
        for worker in workers {
            self.look(&format!("the arguments of {worker}"), &arguments(worker));
            if let Some(environment) = process::read(worker, "environ") {
                self.look(&format!("the environment of {worker}"), &environment);
            }
        }
    }
}

#[test]
fn no_secret_is_written_shown_or_handed_on_in_the_open() {
    let ca = Authority::new("test authority");
    let server = ca.issue("server", "DNS:localhost", VALID);
    let (cert, key) = ca.issue("client", "DNS:client", VALID);
    let locked = ca.encrypted(&key, KEY);
    let mutual = free_port();
    let lines = vec![
        format!("listener {mutual} 127.0.0.1"),
        format!("certfile {}", server.0.display()),
        format!("keyfile {}", server.1.display()),
        format!("cafile {}", ca.pem().display()),
        "require_certificate true".into(),
    ];
    let users = vec![("op".into(), PASSWORD.into()), ("filed".into(), FILED.into()), ("token".into(), TOKEN.into())];
    let users = [users, vec![("listed".into(), LISTED.into())]].concat();
    let broker = Mosquitto::with(Setup { users, lines, ..Setup::default() });
    let plain = broker.port();
    let granting = peers::serve_proxy(broker.address(), |request| {
        let basic = openssl::base64::encode_block(format!("op:{PROXY}").as_bytes());
        (!request.contains(&basic)).then_some("HTTP/1.1 407 Proxy Authentication Required")
    });
    let denying = peers::serve_proxy(broker.address(), |_| Some("HTTP/1.1 407 Proxy Authentication Required"));
    let file = FleetFile::new(&format!(
        r#"
        [fleet]
        worker_size = 1
        [endpoint.plain]
        url = "mqtt://127.0.0.1:{plain}"
        [endpoint.mutual]
        url = "mqtts://localhost:{mutual}"
        ca_file = "{ca}"
        [endpoint.tunnel]
        url = "mqtt://127.0.0.1:{plain}"
        proxy = "http://op:{PROXY}@{granting}"
        [endpoint.denied]
        url = "mqtt://127.0.0.1:{plain}"
        proxy = "http://op:{DENIED}@{denying}"
        [defaults]
        username = "op"
        password = {{ env = "OP_PASSWORD" }}
        reconnect = {{ strategy = "fixed", every = "500ms" }}
        [[client]]
        id = "good"
        endpoints = ["plain"]
        [[client]]
        id = "bad"
        endpoints = ["plain"]
        password = {{ file = "wrong.pw" }}
        [[client]]
        id = "mutual"
        endpoints = ["mutual"]
        cert_file = "{cert}"
        key_file = "{locked}"
        key_password = {{ credential = "key" }}
        [[client]]
        id = "filed"
        endpoints = ["plain"]
        username = "filed"
        password = {{ file = "%c.pw" }}
        [[client]]
        id = "token"
        endpoints = ["plain"]
        username = "token"
        password = {{ command = ["cat", "issued"], every = "1s" }}
        [[client]]
        from = "devices.csv"
        endpoints = ["plain"]
        [[client]]
        id = "failing"
        endpoints = ["plain"]
        password = {{ command = ["sh", "-c", "cat issued; echo no server >&2; exit 3"] }}
        [[client]]
        id = "tunnel"
        endpoints = ["tunnel"]
        [[client]]
        id = "denied"
        endpoints = ["denied"]
        "#,
        ca = ca.pem().display(),
        cert = cert.display(),
        locked = locked.display(),
    ));
    let folder = file.dir.path();
    fs::write(folder.join("wrong.pw"), WRONG).expect("a file");
    fs::write(folder.join("key"), KEY).expect("a file");
    fs::write(folder.join("filed.pw"), FILED).expect("a file");
    fs::write(folder.join("issued"), TOKEN).expect("a file");
    fs::write(folder.join("devices.csv"), format!("id,username,password\nlisted,listed,{LISTED}\n")).expect("a file");
    // With a secret wherever there may be a slip.
    let slips = format!("id,username,password\n,u,{LISTED}\na,{LISTED}\nb,u,{LISTED},{LISTED}\nc,u,{LISTED}\0\n");
    fs::write(folder.join("slips.csv"), format!("{slips}d,u,\"{LISTED}\n")).expect("a file");
    fs::write(folder.join("nameless.csv"), format!("listed,listed,{LISTED}\n")).expect("a file");
    let json = format!(
        "[{{\"id\":[\"{LISTED}\"]}},\n{{\"id\":\"e\",\"password\":{{\"{LISTED}\":\"{LISTED}\"}}}},\"{LISTED}\"]"
    );
    fs::write(folder.join("slips.json"), json).expect("a file");
    let tables = ["slips.csv", "nameless.csv", "slips.json"]
        .map(|name| format!("[[client]]\nfrom = '{name}'\nendpoints = ['plain']\n"));
    let slips = folder.join("slips.toml");
    fs::write(&slips, format!("[endpoint.plain]\nurl = 'mqtt://127.0.0.1'\n{}", tables.concat())).expect("a file");
    let slips = slips.to_str().expect("a path");
    let env = [("OP_PASSWORD", PASSWORD), ("CREDENTIALS_DIRECTORY", folder.to_str().expect("a path"))];
    let log = folder.join("events.log");
    let mut proof = Search::default();
    proof.look("the fleet file", &fs::read(file.path()).expect("a file"));
    assert_eq!(proof.leaks.len(), 2, "what is there is found: {:?}", proof.leaks);
    let mut search = Search::default();

    // On the screen, with everything about each client, through the death of a worker.
    let debug_log = folder.join("debug.log");
    let [log_path, debug_path] = [&log, &debug_log].map(|path| path.to_str().expect("a path"));
    let args = ["run", file.path(), "--log", log_path, "--debug-log", debug_path];
    let mut console = Console::start_with(200, 60, &args, &env);
    console.wait_for("six up, one refused, one held, one without a password", |screen| {
        ["6 up", "not authorized", "proxy wants a password", "no server"].iter().all(|words| screen.contains(words))
    });
    search.look_at_processes(console.id());
    for id in ["good", "bad", "mutual", "filed", "token", "listed", "failing", "tunnel", "denied"] {
        console.press(&format!("/{id}\r\x1b[B\r"));
        console.wait_for(&format!("the detail view of {id}"), |screen| {
            screen.contains("user name") && screen.contains(", with a password") && screen.contains(id)
        });
        // Together with what comes next it would be another key.
        for _ in 0..2 {
            console.press("\x1b");
            console.wait_read();
        }
    }
    process::signal(process::descendants(console.id())[0], Signal::KILL);
    console.wait_text("6 up");
    console.press("?");
    console.wait_text("help");
    console.signal(Signal::TERM);
    console.wait_exit();
    search.look("all that went to the terminal", &console.bytes());
    search.look("the log file", &fs::read(&log).expect("a log"));
    let told = fs::read(&debug_log).expect("a debug log");
    let text = String::from_utf8_lossy(&told);
    assert!(text.contains(" worker 0 DEBUG ") && text.contains(" console DEBUG "), "{text}");
    search.look("the debug log", &told);

    // Without one.
    let runs: [&[&str]; 7] = [
        &["run", file.path(), "--duration", "3s", "--format", "json", "--samples"],
        &["run", file.path(), "--duration", "2s", "--plain"],
        &["check", file.path()],
        &["check", slips],
        &["check", file.path(), "--connect"],
        &["doctor", file.path()],
        &["doctor", file.path(), "--format", "json"],
    ];
    for args in runs {
        let mut command = Command::new(program());
        let output = command.args(args).envs(env).output().expect("the program");
        search.look_at_output(&args.join(" "), &output);
    }
    assert!(search.places > 12, "{}", search.places);
    assert_eq!(search.leaks, [""; 0]);
}

/// The program as an ordinary user's, where we are root, and with core files of any size allowed.
fn crashing(file: &FleetFile) -> Command {
    let mut command = match rustix::process::geteuid().is_root() {
        true => {
            fs::set_permissions(file.dir.path(), PermissionsExt::from_mode(0o755)).expect("a folder for everybody");
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "sh"]);
            command
        }
        false => Command::new("sh"),
    };
    command.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh", program(), "run", file.path()]);
    command
}

#[test]
fn a_crash_writes_no_memory_to_disk_and_no_other_program_of_the_user_reads_it() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 3);
    let mut run = Headless::of(&mut crashing(&file));
    run.wait_up(3);
    let worker = run.workers()[&0];
    for id in [run.id(), worker] {
        assert_eq!(process::core_limits(id), ["0", "0"]);
        // What the kernel lets nobody look into it gives to root (proc(5)).
        let owner = |file: &str| fs::metadata(format!("/proc/{id}/{file}")).expect("a process").uid();
        assert_eq!(owner("mem"), 0);
        let status = String::from_utf8(process::read(id, "status").expect("what everybody may read")).expect("text");
        assert!(status.lines().any(|line| line.starts_with("Uid:") && !line.contains("\t0\t")), "{status}");
    }
    // As an assertion of a C library does it.
    process::signal(worker, Signal::ABORT);
    let died =
        |h: &headless::Heard| h.of_type("worker").any(|l| l["detail"].as_str().is_some_and(|d| d.contains("signal 6")));
    drop(run.wait_for("the death", died));
    run.wait_up(3); // an ordinary user's program starts another one
    process::signal(run.id(), Signal::ABORT);
    let status = run.wait_exit();
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
}
