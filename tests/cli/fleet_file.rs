//! Fleet files as people write them, right and wrong: what the reader makes of them and how its errors look; passwords from elsewhere are tested where they are read.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::IpAddr,
    path::Path,
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use mqfleet::{
    document::FileErrors,
    fleet::{EndpointKey, ProbeKind, Protocol, ProxyKind, Strategy as Retry, TlsMinimum, Transport},
    fleet_file::{self, Loaded},
};
use mqfleet_test_support::{
    certs::{Certified, Wanted},
    program,
};
use proptest::prelude::*;

const FULL: &str = include_str!("fleet_file/full.toml");
const HEAD: &str = "[endpoint.a]\nurl = \"mqtt://a\"\n";

fn parse(text: &str) -> Result<Loaded, FileErrors> {
    fleet_file::parse(text, "fleet.toml", Path::new("/nonexistent"))
}

/// All that a person would see of a file.
fn seen(text: &str) -> String {
    match parse(text) {
        Ok(loaded) => format!("{loaded:?}{}", loaded.warnings.iter().map(|w| w.to_string()).collect::<String>()),
        Err(errors) => errors.to_string(),
    }
}

fn errors(text: &str) -> String {
    match parse(text) {
        Ok(_) => panic!("this was taken for right:\n{text}"),
        Err(errors) => errors.to_string(),
    }
}

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({snapshot_path => "fleet_file", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!(name, errors(text));
    });
}

#[test]
fn all_errors_of_a_file_are_drawn() {
    snapshot("many", include_str!("fleet_file/many.toml"));
}

#[test]
fn all_syntax_errors_of_a_file_are_drawn() {
    snapshot("syntax", include_str!("fleet_file/syntax.toml"));
}

#[test]
fn every_key_reaches_the_fleet() {
    let Loaded { fleet, warnings, .. } = parse(FULL).unwrap();
    assert_eq!((fleet.name.as_str(), fleet.env.as_deref(), fleet.worker_size), ("plant-eu", Some("prod"), 250));

    let [b, a, c, d] = fleet.endpoints.as_slice() else { panic!("four endpoints") };
    assert_eq!((b.name.as_str(), b.address().as_str()), ("b", "[2001:db8::7]:11883"));
    assert_eq!((b.connect_rate, b.max_connecting), (100, 50));
    assert_eq!((a.name.as_str(), a.address().as_str(), a.connect_rate), ("a", "localhost:1883", 1000));

    let ids: Vec<&str> = fleet.clients.iter().map(|c| &*c.id).collect();
    assert_eq!(ids, ["press-9999", "press-10000", "press-10001", "dash", "lone", "all-1", "all-2"]);
    let names: Vec<_> = fleet.clients.iter().map(|c| c.username.as_deref()).collect();
    assert_eq!(
        names,
        [Some("u-9999"), Some("u-10000"), Some("u-10001"), Some("fleet"), Some("fleet"), Some("fleet"), Some("fleet")]
    );
    assert_eq!(fleet.clients.iter().map(|c| c.endpoint()).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 2, 2].map(EndpointKey));
    assert!(Arc::ptr_eq(&fleet.clients[0].settings, &fleet.clients[2].settings), "a table's clients share settings");

    let press = &*fleet.clients[0].settings;
    assert_eq!((press.protocol, press.keep_alive), (Protocol::V311, Duration::from_secs(60)));
    assert_eq!((press.clean_start, press.start_connected), (false, false));
    assert_eq!(press.connect_timeout, Duration::from_secs(5));
    assert_eq!((press.probe.kind, press.probe.every), (ProbeKind::Ack, Duration::from_secs(2)));
    assert_eq!(press.slow_p99, Some(Duration::from_millis(250)));
    let (min, max) = (Duration::from_millis(500), Duration::from_secs(90));
    assert_eq!(press.reconnect.strategy, Retry::Exponential { min, max });
    assert_eq!((press.reconnect.max_retries, press.reconnect.stable_after), (7, Duration::from_secs(10)));

    let dash = &*fleet.clients[3].settings;
    assert_eq!((dash.protocol, dash.keep_alive), (Protocol::V5, Duration::ZERO));
    assert_eq!((dash.clean_start, dash.start_connected), (true, true));
    assert_eq!(dash.reconnect.strategy, Retry::Fixed { every: Duration::from_secs(3) });
    assert_eq!(dash.reconnect.max_retries, 7, "what a table leaves out comes from the defaults");
    assert_eq!(dash.probe.kind, ProbeKind::Off);
    assert_eq!(fleet.clients[4].settings.reconnect.strategy, Retry::Never);

    assert_eq!((c.address().as_str(), c.transport.scheme()), ("c.example:443", "wss"));
    let tls = c.transport.tls().expect("TLS");
    assert!(tls.insecure && tls.ca_file.is_none() && tls.alpn == ["mqtt", "x"]);
    assert!(matches!(&c.transport, Transport::SecureWebSocket(websocket, _) if &*websocket.path == "/mqtt"));
    let proxy = c.proxy.as_ref().expect("a proxy");
    assert_eq!((&*proxy.host, proxy.port, proxy.username.as_deref()), ("proxy", 3128, Some("user")));
    assert_eq!((proxy.kind, &proxy.variable), (ProxyKind::Socks5h, &None));
    assert_eq!((tls.server_name.as_deref(), tls.min_version), (Some("real.example"), TlsMinimum::V1_3));
    let headers = &c.transport.websocket().expect("a WebSocket").headers;
    let headers: Vec<_> = headers.iter().map(|(name, value)| (&**name, value.expose())).collect();
    assert_eq!(headers, [("X-Tenant", "plant"), ("X-Line", "7")]);
    assert_eq!(*c.bind, ["127.0.0.1", "::1"].map(|a| a.parse::<IpAddr>().unwrap()));
    assert_eq!(*b.bind, ["::1".parse::<IpAddr>().unwrap()]);
    assert!(matches!(&d.transport, Transport::Unix(path) if path == Path::new("/run/mosquitto/mqtt.sock")));
    assert_eq!((&*d.host, d.port, d.address().as_str()), ("localhost", 0, "/run/mosquitto/mqtt.sock"));

    let all = &fleet.clients[6];
    assert_eq!(*all.endpoints, [EndpointKey(2), EndpointKey(1)]);
    assert_eq!(all.settings.session_expiry, Duration::from_secs(3600));
    assert_eq!(all.settings.maximum_packet_size, 64_000);
    assert_eq!(press.maximum_packet_size, 256 << 10);
    assert_eq!((all.settings.receive_maximum, all.settings.follow_redirects), (Some(7), true));
    assert_eq!(all.settings.user_properties, [("b".into(), "1".into()), ("a".into(), "2".into())]);
    assert_eq!(all.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), [("site", "hall-3")]);
    let talk = &all.conversation;
    let asked: Vec<_> = talk.subscribe.iter().map(|s| (&*s.filter, s.qos)).collect();
    assert_eq!(asked, [("cmd/all-2/#", 1), ("all", 0)]);
    let will = talk.will.as_ref().expect("a will");
    assert_eq!((&*will.topic, &*will.payload, will.qos, will.retain), ("status/all-2", &b"off 2 %"[..], 1, true));
    let birth = talk.birth.as_ref().expect("a birth");
    assert_eq!((&*birth.topic, &*birth.payload, birth.qos, birth.retain), ("status/all", &b""[..], 0, false));
    let traffic = talk.publish.as_ref().expect("traffic");
    assert_eq!((&*traffic.message.topic, traffic.every), ("data/2", Duration::from_secs(10)));
    assert_eq!((&*traffic.message.payload, traffic.message.qos), (&b"all-2 %s %%"[..], 2));

    let warnings: Vec<_> = warnings.iter().map(|w| w.title()).collect();
    let nobody = "nobody checks whose certificate this is: passwords may go to anyone";
    assert_eq!(warnings, [nobody, "a password in plain text"]);
}

#[test]
fn a_fleet_without_a_name_is_called_after_its_file() {
    let text = format!("{HEAD}[[client]]\nid = 'x'\nendpoints = ['a']");
    let loaded = fleet_file::parse(&text, "/etc/mqfleet/plant-7.toml", Path::new("/")).unwrap();
    assert_eq!(loaded.fleet.name.as_str(), "plant-7");
}

#[test]
fn labels_say_how_their_clients_are_measured() {
    let text = format!(
        r#"{HEAD}
        [defaults]
        probe = {{ kind = "heartbeat", every = "9s" }}
        labels = {{ kind = "press" }}
        [label.site.hall-3]
        probe = {{ kind = "ack", every = "2s" }}
        slow = {{ p99 = "50ms" }}
        [label.kind.press]
        slow = {{ p99 = "70ms" }}
        [label.site.hall-4]
        [[client]]
        id = "plain"
        endpoints = ["a"]
        labels = {{ kind = "oven" }}
        [[client]]
        id = "both"
        endpoints = ["a"]
        labels = {{ site = "hall-3" }}
        [[client]]
        id = "own"
        endpoints = ["a"]
        labels = {{ site = "hall-3" }}
        probe = {{ every = "1s" }}
        slow = {{ p99 = "90ms" }}
        "#
    );
    let Loaded { fleet, warnings, .. } = parse(&text).unwrap();
    let measured = fleet.clients.iter().map(|client| {
        let settings = &client.settings;
        (settings.probe.kind, settings.probe.every.as_secs(), settings.slow_p99.map(|p99| p99.as_millis()))
    });
    let expected = [(ProbeKind::Heartbeat, 9, None), (ProbeKind::Ack, 2, Some(70)), (ProbeKind::Ack, 1, Some(90))];
    assert_eq!(measured.collect::<Vec<_>>(), expected);
    let warnings: Vec<_> = warnings.iter().map(|w| w.title()).collect();
    assert_eq!(warnings, ["no client has the label site = \"hall-4\""]);
}

/// `mqfleet check - …` on this text, in this folder, with so many open files allowed.
fn check(text: &str, args: &str, folder: &Path, files: u32) -> Output {
    let script = format!("ulimit -n {files} && exec \"$0\" check - {args}");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, program()]).current_dir(folder);
    for variable in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(variable);
    }
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("a shell");
    // Whoever does not read it closes it: what was said tells.
    let _ = child.stdin.take().expect("a pipe").write_all(text.as_bytes());
    child.wait_with_output().expect("the program")
}

#[test]
fn a_fleet_file_on_standard_input_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("topic.pw"), "hunter2").unwrap();
    let text =
        format!("{HEAD}[[client]]\nid = 'x-%i'\ncount = 1200\nendpoints = ['a']\npassword = {{ file = 'topic.pw' }}\n");
    let output = check(&text, "", folder.path(), 1_000);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        said,
        "<stdin>: ok: fleet fleet, 1200 clients, 1 endpoint, 2 workers\n\
         1,200 clients → 2 workers of 600, about 23 MB; each worker needs 664 open files, your limit is 1,000\n"
    );

    let output = check(&format!("{HEAD}foo = 1\n"), "", folder.path(), 1_000);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--> <stdin>:3:1") && said.contains("unknown key \"foo\""), "{said}");
}

#[test]
fn a_plan_that_does_not_fit_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        format!("[fleet]\nworker_size = 2000\n{HEAD}[[client]]\nid = 'x-%i'\ncount = 140000\nendpoints = ['a']\n");
    let output = check(&text, "--format json", folder.path(), 1_024);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("needs 2,064 open files, and a process may have 1,024"), "{said}");
    assert!(said.contains("worker_size = 960") && said.contains("ulimit -Hn 2064"), "{said}");
    assert!(said.contains("140,000 clients connect to a:1883 (endpoint a) from one source address"), "{said}");
    assert!(said.contains(" addresses of this host"), "{said}");
    let lines: Vec<serde_json::Value> = output
        .stdout
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    let [check, plan] = lines.as_slice() else { panic!("two lines: {lines:?}") };
    assert_eq!((&check["type"], &check["ok"], &plan["type"]), (&"check".into(), &true.into(), &"plan".into()));
    assert_eq!(
        (&plan["workers"], &plan["worker_clients"], &plan["worker_files"]),
        (&70.into(), &2_000.into(), &2_064.into())
    );
    assert!(plan["warnings"].as_array().map(Vec::len) >= Some(2), "{plan}"); // one more where memory is short
}

/// What a client shows a broker: its own certificate, then who signed it.
#[test]
fn certificates_that_are_no_chain_are_warned_of() {
    let dir = tempfile::TempDir::new().unwrap();
    let root = Certified::ca("Root");
    let wanted = |subject, is_ca| Wanted { subject, names: &[], from: -1, to: 365, is_ca };
    let between = root.issue(&wanted("Between", true));
    let own = between.issue(&wanted("press", false));
    let put = |name: &str, parts: &[&Certified]| {
        std::fs::write(dir.path().join(name), parts.iter().map(|part| part.pem()).collect::<String>()).unwrap();
    };
    put("chain.pem", &[&own, &between, &root]);
    put("turned.pem", &[&own, &root, &between]);
    std::fs::write(dir.path().join("key.pem"), own.key_pem()).unwrap();
    for (file, warns) in [("chain.pem", false), ("turned.pem", true)] {
        let fleet = dir.path().join("fleet.toml");
        let text = format!(
            "[endpoint.e]\nurl = 'mqtts://e'\n[[client]]\nid = 'press'\nendpoints = ['e']\n\
             cert_file = '{file}'\nkey_file = 'key.pem'\n"
        );
        std::fs::write(&fleet, text).unwrap();
        let done = std::process::Command::new(program()).arg("check").arg(&fleet).output().unwrap();
        let err = String::from_utf8(done.stderr).unwrap();
        let says = "is no chain in its order: behind \"press\" is \"Root\", which did not sign it";
        assert_eq!((done.status.code(), err.contains(says)), (Some(0), warns), "{file}: {err}");
        assert!(!warns || err.contains("fleet.toml:6:"), "{err}");
    }
}

#[test]
fn probes_go_where_the_file_says() {
    let text = |client: &str| {
        format!(
            "[endpoint.a]\nurl = 'mqtt://localhost'\n[defaults]\nprobe = {{ kind = 'echo', topic = 'diag/%c' }}\n\
             [[client]]\nid = 'x-%i'\ncount = 2\nendpoints = ['a']\n{client}\n"
        )
    };
    let topics = |client: &str| {
        let loaded = parse(&text(client)).expect("a fleet");
        let topics = loaded.fleet.clients.iter().map(|c| c.probe_topic().to_string());
        (topics.collect::<Vec<_>>(), loaded.warnings.iter().map(|w| w.to_string()).collect::<String>())
    };
    assert_eq!(topics(""), (vec!["diag/x-1".into(), "diag/x-2".into()], String::new()));
    assert_eq!(topics("probe = { topic = 't/%03i' }").0, ["t/001", "t/002"]);
    let (shared, warnings) = topics("probe = { topic = 'all' }");
    assert_eq!(shared, ["all", "all"]);
    assert!(warnings.contains("the echoes of 2 clients go to one topic"), "{warnings}");
    let plain = parse("[endpoint.a]\nurl = 'mqtt://localhost'\n[[client]]\nid = '$x'\nendpoints = ['a']\n");
    assert_eq!(&*plain.expect("a fleet").fleet.clients[0].probe_topic(), "mqfleet/probe/_x");
    let label = "[label.site.hall]\nprobe = { topic = 'x' }\n";
    let errors = errors(&format!("{}labels = {{ site = 'hall' }}\n{label}", text("")));
    assert!(errors.contains("it belongs to `probe` of [defaults] or [[client]]"), "{errors}");
}

#[test]
fn auto_is_mqtt_5_first() {
    let text = "[endpoint.a]\nurl = 'mqtt://localhost'\n[defaults]\nprotocol = 'auto'\n[[client]]\nid = 'x'\n\
                endpoints = ['a']\n[[client]]\nid = 'y'\nendpoints = ['a']\nprotocol = '3.1.1'\n";
    let fleet = parse(text).expect("a fleet").fleet;
    let told: Vec<_> = fleet.clients.iter().map(|c| (c.settings.protocol, c.settings.falls_back)).collect();
    assert_eq!(told, [(Protocol::V5, true), (Protocol::V311, false)]);
}

#[test]
fn no_heartbeats_without_keep_alive() {
    let text = format!("{HEAD}[[client]]\nid = 'x'\nendpoints = ['a']\nkeep_alive = '0s'");
    let warnings = parse(&text).unwrap().warnings;
    assert!(warnings[0].to_string().contains("no heartbeats to measure"), "{}", warnings[0]);
}

/// Every class of error that one key of a client can make.
#[test]
fn wrong_client_keys_say_what_is_wrong() {
    for (more, says) in [
        ("keepalive = '5s'", "did you mean `keep_alive`?"),
        ("foo = 1", "[[client]] can have: id, count"),
        ("url = 'x'", "it belongs to [endpoint.NAME]"),
        ("worker_size = 1", "it belongs to [fleet]"),
        ("session_expiry = '1500ms'", "the next is \"2s\""),
        ("session_expiry = '5000000000s'", "`session_expiry` must be 0s to"),
        ("receive_maximum = 0", "1 to 65,535"),
        ("maximum_packet_size = 31", "bytes, or a text such as \"256KiB\", 32 to 268,435,456"),
        ("maximum_packet_size = '31'", "`maximum_packet_size` must be 32 bytes to 256 MiB"),
        ("maximum_packet_size = '257MiB'", "`maximum_packet_size` must be 32 bytes to 256 MiB"),
        ("maximum_packet_size = '256 k'", "such as \"64kB\", \"256KiB\" or \"1MiB\""),
        ("maximum_packet_size = -1", "32 to 268,435,456"),
        ("maximum_packet_size = 1.5", "not a float"),
        ("user_properties = { a = 1 }", "`a` must be a text in quotes"),
        ("user_properties = 'a'", "`user_properties` must be a table"),
        ("follow_redirects = 'yes'", "must be true or false"),
        ("protocol = '3.1.1'\nsession_expiry = '1h'", "MQTT 3.1.1 has no `session_expiry`"),
        ("protocol = '3.1.1'\nfollow_redirects = true", "use protocol = \"5\""),
        ("cert_file = 'x'", "`cert_file` without `key_file`"),
        ("key_file = 'x'", "`key_file` without `cert_file`"),
        ("key_file = 'k'\ncert_file = 'c'", "a certificate means nothing without TLS"),
        ("labels = { a = 1 }", "`a` must be a text in quotes"),
        ("labels = []", "`labels` must be a table"),
        ("subscribe = {}", "`subscribe` must be a list"),
        ("subscribe = ['a']", "`subscribe` must be a table, not a string"),
        ("subscribe = [{ qos = 1 }]", "`subscribe` has no `topic`"),
        ("subscribe = [{ topic = 'a/#/b' }]", "has a # that is not its last level"),
        ("subscribe = [{ topic = 'a+' }]", "has a + that is not a level alone"),
        ("subscribe = [{ topic = 'a', qos = 3 }]", "the QoS, 0 to 2"),
        ("subscribe = [{ topic = 'a', payload = 'b' }]", "unknown key \"payload\""),
        ("will = {}", "`will` has no `topic`"),
        ("will = { topic = '' }", "is empty"),
        ("will = { topic = 'a/#' }", "has a wildcard"),
        ("will = { topic = 'a', payload = '%s' }", "makes sense in the payload of `publish` only"),
        ("will = { topic = 'a', every = '1s' }", "unknown key \"every\""),
        ("birth = { topic = '%c/+' }", "the topic \"x/+\" has a wildcard"),
        ("birth = { topic = 'a', retain = 1 }", "must be true or false"),
        ("publish = { topic = 'a' }", "`publish` needs `every`"),
        ("publish = { topic = 'a', every = '1ms' }", "`every` must be 10ms to"),
        ("probe = { kind = 'ping' }", "it can be \"heartbeat\", \"ack\", \"echo\", \"off\""),
        ("probe = { kind = 'hartbeat' }", "did you mean \"heartbeat\"?"),
        ("probe = { every = '1ms' }", "`every` must be 100ms to 1h"),
        ("probe = 'ack'", "`probe` must be a table, not a string"),
        ("probe = { topic = 'a/#' }", "the topic \"a/#\" has a wildcard"),
        ("probe = { topic = '' }", "is empty (MQTT 5.0 §4.7.3)"),
        ("probe = { topic = '%s' }", "\"%s\" makes sense in the payload of `publish` only"),
        ("slow = { p50 = '1s' }", "`slow` can have: p99"),
        ("slow = { p99 = '0s' }", "`p99` must be 1ms to 1h"),
        ("protocol = 'v5'", "MQTT 5.0 is written \"5\""),
        ("protocol = 3.1", "put it in quotes: \"3.1\""),
        ("protocol = '3.1'", "too old"),
        ("protocol = '6'", "it can be \"5\", \"3.1.1\" or \"auto\""),
        ("keep_alive = '5'", "write \"5s\""),
        ("keep_alive = 5", "write \"5s\""),
        ("keep_alive = 1.5", "needs a unit"),
        ("keep_alive = -5", "is not a duration"),
        ("keep_alive = 'five'", "is not a duration"),
        ("keep_alive = '65536s'", "`keep_alive` must be 0s to 18h 12m 15s"),
        ("keep_alive = '1500ms'", "the next is \"2s\""),
        ("keep_alive = true", "a duration in quotes"),
        ("connect_timeout = '500ms'", "the next is \"1s\""),
        ("connect_timeout = '0s'", "`connect_timeout` must be"),
        ("clean_start = 1", "must be true or false, not an integer"),
        ("start_connected = 'no'", "must be true or false, not a string"),
        ("reconnect = { strategy = 'linear' }", "it can be \"exponential\", \"fixed\", \"never\""),
        ("reconnect = { strategy = 'fixd' }", "did you mean \"fixed\"?"),
        ("reconnect = { strategy = 'fixed' }", "needs `every`"),
        ("reconnect = { min = '3m' }", "`min` (3m) is more than `max` (2m)"),
        ("reconnect = { every = '3s' }", "`every` means nothing with strategy \"exponential\""),
        ("reconnect = { strategy = 'never', max_retries = 1 }", "\"never\" goes without any other key"),
        ("reconnect = { max_retries = -1 }", "0 to 1,000,000"),
        ("reconnect = { max_retries = 99999999999999999999 }", "0 to 1,000,000"),
        ("reconnect = { mni = '1s' }", "did you mean `min`?"),
        ("username = ''", "`username` is empty"),
        ("username = \"a\\u0000\"", "NUL"),
        ("username = '%q'", "\"%q\" is no pattern"),
        ("username = 5", "put it in quotes: \"5\""),
        ("password = {}", "comes from one place"),
        ("password = { env = 'A', file = 'b' }", "comes from one place"),
        ("password = { command = ['no-such-7'] }", "there is no program \"no-such-7\""),
        ("password = { command = [] }", "`command` is empty"),
        ("password = { command = 'true' }", "`command` must be a list, not a string"),
        ("password = { command = ['true'], every = '0s' }", "`every` must be 1s to"),
        ("password = { env = 'PATH', every = '5s' }", "`every` goes with `command`"),
        ("password = { file = 'a%x' }", "\"%x\" is no pattern"),
        ("password = { env = 'a%x' }", "must be the name of an environment variable"),
        ("password = { env = 'PW_%i' }", "the environment variable \"PW_1\" is not set"),
        ("password = { file = 'no/%c' }", "cannot read the password file \"/nonexistent/no/x\""),
        ("password = { evn = 'A' }", "did you mean `env`?"),
        ("password = { file = 'nosuch' }", "cannot read the password file \"/nonexistent/nosuch\""),
        ("password = 5", "`password` must be a table, not an integer"),
        ("protocol = '3.1.1'\npassword = 'x'", "a password without a `username`"),
        ("protocol = 'auto'\npassword = 'x'", "a password without a `username`"),
        ("count = 0", "1 to 1,000,000"),
        ("count = 1.5", "not a float"),
        ("count = 1_000_001", "1 to 1,000,000"),
        ("count = 2", "2 clients would share one ID"),
        ("start = -1", "0 to 4,294,967,295"),
    ] {
        let errors = errors(&format!("{HEAD}[[client]]\nid = 'x'\nendpoints = ['a']\n{more}\n"));
        assert!(errors.contains(says), "{more}\n{errors}");
        assert_eq!(errors.matches("error: ").count(), 1, "one slip, one error: {errors}");
        let line = 6 + more.matches('\n').count();
        let place = format!("fleet.toml:{}:", if more == "count = 2" { 4 } else { line });
        assert!(errors.contains(&place), "{errors}");
    }
}

#[test]
fn wrong_files_say_what_is_wrong() {
    let client = "[[client]]\nid = 'x'\nendpoints = ['a']\n";
    let with = |text: &str| format!("{HEAD}{text}");
    for (text, says) in [
        (String::new(), "there are no clients"),
        (HEAD.to_owned(), "there are no clients"),
        (with("client = []"), "unknown key \"client\""),
        (client.to_owned(), "there is no endpoint"),
        (with("[client]\nid = 'x'"), "write [[client]]"),
        (with("[clients]"), "did you mean `client`?"),
        (with("label = 1"), "unknown key \"label\""),
        (format!("label = 1\n{HEAD}{client}"), "`label` must be a table"),
        (with(&format!("{client}[label]\nsite = 'a'")), "`site` must be a table, not a string"),
        (with(&format!("{client}[label.a.b]\nkeep_alive = '1s'")), "it belongs to [defaults] or [[client]]"),
        (with(&format!("{client}[label.a.b]\nprobe = {{ kind = 'akc' }}")), "did you mean \"ack\"?"),
        (format!("{client}[endpoint]\nurl = 'mqtt://a'"), "write [endpoint.NAME]"),
        (format!("{client}[[endpoint]]\nurl = 'mqtt://a'"), "`endpoint` must be a table, not an array"),
        (format!("{client}[endpoint.a]"), "[endpoint.a] has no `url`"),
        (format!("{client}[endpoint.a]\nurl = 'mqtt://a'\nalpn = []"), "`alpn` means nothing without TLS"),
        (format!("{client}[endpoint.a]\nurl = 'ws://a'\ninsecure = true"), "`insecure` means nothing without TLS"),
        (format!("{client}[endpoint.a]\nurl = 'mqtts://a'\nalpn = ['']"), "has 1 to 255 bytes"),
        (format!("{client}[endpoint.a]\nurl = 'mqtts://a'\nca_file = 'x'"), "\"/nonexistent/x\" cannot be read"),
        (format!("{client}[endpoint.a]\nurl = 'mqtt://a'\nproxy = 'http://u:hunter2@'"), "`proxy` has no valid host"),
        (format!("{client}[endpoint.a]\nurl = 'mqtt://a'\nmax_connecting = 0"), "1 to 1,000,000"),
        (with("[[client]]\nid = 'x'"), "this client has no `endpoints`"),
        (with("[[client]]\nendpoints = ['a']"), "this client has no `id`"),
        (with("[[client]]\nid = 'x'\nendpoints = 'a'"), "`endpoints` must be a list, not a string"),
        (with("[[client]]\nid = 'x'\nendpoints = []"), "`endpoints` is empty"),
        (with("[[client]]\nid = 'x'\nendpoints = [1]"), "a list of endpoint names in quotes"),
        (with("[[client]]\nid = 'x'\nendpoints = ['bbb']"), "there are \"a\""),
        (with("[[client]]\nid = 'x'\nendpoints = ['a', 'a']"), "\"a\" is there twice"),
        (with("[[client]]\nid = ''\nendpoints = ['a']"), "the client ID is empty"),
        (with("[[client]]\nid = \"a\\u0000b\"\nendpoints = ['a']"), "NUL character, which MQTT forbids"),
        (with("[[client]]\nid = '%c'\nendpoints = ['a']"), "%c is the client ID itself"),
        (with("[[client]]\nid = 'a%'\nendpoints = ['a']"), "\"%\" is no pattern"),
        (with("[[client]]\nid = '%u'\nendpoints = ['a']"), "\"%u\" makes sense where a password comes from only"),
        (with("[[client]]\nid = '%99i'\nendpoints = ['a']"), "at most 20 digits"),
        (with(&format!("[[client]]\nid = '{}'\nendpoints = ['a']", "x".repeat(65_536))), "65,536 bytes are too long"),
        (with(&format!("[fleet]\nname = ' '\n{client}")), "`name` is empty"),
        (with(&format!("[fleet]\nworker_size = 2001\n{client}")), "1 to 2,000"),
        (with(&format!("[fleet]\nworker_size = 0\n{client}")), "1 to 2,000"),
        (with(&format!("[defaults]\ncount = 1\n{client}")), "it belongs to [[client]]"),
        (with(&format!("{client}{client}")), "the client ID \"x\" is there twice"),
        (with(&format!("{client}\nid = 'y'")), "duplicate key"),
    ] {
        let errors = errors(&text);
        assert!(errors.contains(says), "{text}\n{errors}");
    }
}

/// Every class of error that one key of an endpoint can make.
#[test]
fn wrong_endpoint_keys_say_what_is_wrong() {
    for (url, more, says) in [
        ("mqtt://a", "server_name = 'b'", "`server_name` means nothing without TLS"),
        ("ws://a", "tls_min = '1.3'", "`tls_min` means nothing without TLS"),
        ("mqtt://a", "headers = {}", "`headers` means nothing without a WebSocket"),
        ("mqtts://a", "headers = { X-Tenant = 'a' }", "`headers` means nothing without a WebSocket"),
        ("unix:///a", "insecure = true", "`insecure` means nothing without TLS"),
        ("unix:///a", "proxy = 'http://p'", "`proxy` means nothing with unix://"),
        ("unix:///a", "bind = '127.0.0.1'", "`bind` means nothing with unix://"),
        ("mqtts://a", "server_name = ''", "`server_name` is empty"),
        ("mqtts://a", "server_name = '10.0.0.7'", "put the address into `url`"),
        ("mqtts://a", "server_name = '[::1]'", "`server_name` is an IP address"),
        ("mqtts://a", "server_name = '*.example.net'", "has a wildcard"),
        ("mqtts://a", "server_name = 'b:8883'", "is more than a host name"),
        ("mqtts://a", "server_name = 'größe'", "xn--"),
        ("mqtts://a", "server_name = 'b.'", "is not a host name"),
        ("mqtts://a", "server_name = '-b'", "is not a host name"),
        ("mqtts://a", "server_name = 5", "put it in quotes: \"5\""),
        ("mqtts://a", "tls_min = '1.1'", "TLS 1.0 and 1.1 are not spoken any more"),
        ("mqtts://a", "tls_min = 'TLSv1.0'", "TLS 1.0 and 1.1 are not spoken any more"),
        ("mqtts://a", "tls_min = 'TLSv1.3'", "write \"1.3\""),
        ("mqtts://a", "tls_min = 1.2", "put it in quotes: \"1.2\""),
        ("mqtts://a", "tls_min = '2'", "`tls_min` cannot be \"2\""),
        ("mqtts://a", "crl_file = 'x'", "`crl_file` \"/nonexistent/x\" cannot be read"),
        ("mqtt://a", "bind = []", "`bind` is empty"),
        ("mqtt://a", "bind = 5", "`bind` must be an IP address in quotes"),
        ("mqtt://a", "bind = 'eth0'", "names and interfaces are not looked up"),
        ("mqtt://a", "bind = 'fe80::1%eth0'", "an address with a zone"),
        ("mqtt://a", "bind = '10.0.0.0/8'", "without the network's size"),
        ("mqtt://a", "bind = '[::1]:5'", "without brackets and port"),
        ("mqtt://a", "bind = '127.0.0.1:0'", "without brackets and port"),
        ("mqtt://a", "bind = ['127.0.0.1', '127.0.0.1']", "is there twice"),
        ("mqtt://a", "bind = '0.0.0.0'", "leave `bind` out"),
        ("mqtt://a", "bind = '::'", "leave `bind` out"),
        ("mqtt://a", "bind = '239.0.0.1'", "no single host's address"),
        ("mqtt://[::1]", "bind = '127.0.0.1'", "`bind` has no IPv6 address, and ::1 is one"),
        ("mqtt://a", "proxy = 'http://10.0.0.7'\nbind = '::1'", "`bind` has no IPv4 address, and 10.0.0.7 is one"),
        ("mqtt://a", "proxy = 'ftp://p'", "`proxy` is no proxy's URL"),
        ("mqtt://a", "proxy = 'socks4://p'", "use socks5h://"),
        ("mqtt://a", "proxy = 'http://u:hunter2'", "a user and a password stand before it and an @"),
        ("mqtt://a", "proxy = { url = 'http://p' }", "`proxy` must be a proxy's URL in quotes"),
        ("mqtt://a", "servername = 'b'", "did you mean `server_name`?"),
        ("mqtt://a", "maximum_packet_size = 5", "it belongs to [defaults] or [[client]]"),
    ] {
        let client = "[[client]]\nid = 'x'\nendpoints = ['a']\n";
        let errors = errors(&format!("{client}[endpoint.a]\nurl = '{url}'\n{more}\n"));
        assert!(errors.contains(says) && !errors.contains("hunter2"), "{more}\n{errors}");
        assert_eq!(errors.matches("error: ").count(), 1, "one slip, one error: {errors}");
        let place = format!("fleet.toml:{}:", 6 + more.matches('\n').count());
        assert!(errors.contains(&place), "{errors}");
    }
}

#[test]
fn a_certificate_may_be_for_an_ipv6_address() {
    let text = "[endpoint.a]\nurl = 'mqtts://[2001:db8::1]'\n[[client]]\nid = 'x'\nendpoints = ['a']";
    let Loaded { fleet, warnings, .. } = parse(text).unwrap();
    assert_eq!((fleet.endpoints[0].address().as_str(), warnings.len()), ("[2001:db8::1]:8883", 0));
}

#[test]
fn a_fleet_has_its_bounds() {
    let client = |id: &str, count: u32| format!("[[client]]\nid = '{id}'\ncount = {count}\nendpoints = ['a']\n");
    let many = format!("{HEAD}{}{}", client("a%i", 600_000), client("b%i", 400_001));
    assert!(errors(&many).contains("1,000,001 clients are too many"));
    let long = format!("{HEAD}{}", client(&format!("{}%i", "x".repeat(1_000)), 500_000));
    assert!(errors(&long).contains("take too much memory"));
    let wordy = |client: &str| format!("{client}birth = {{ topic = 'a', payload = '%c {}' }}\n", "x".repeat(600));
    let long = format!("{HEAD}{}", wordy(&client("b%i", 500_000)));
    assert!(errors(&long).contains("take too much memory"));
    let filters = format!("{{ topic = '{}' }},", "x".repeat(60_000)).repeat(9);
    let long = format!("{HEAD}{}subscribe = [{filters}]\n", client("c%i", 1));
    assert!(errors(&long).contains("a client can have at most 512 KiB"));
}

#[test]
fn shared_ids_are_told_once_for_two_tables() {
    let text = format!(
        "{HEAD}[[client]]\nid = 'p-%i'\ncount = 900\nendpoints = ['a']\n[[client]]\nid = 'p-%i'\ncount = 500\nstart = 801\nendpoints = ['a']\n"
    );
    let errors = errors(&text);
    assert!(errors.contains("100 client IDs are there twice, such as \"p-801\""), "{errors}");
    assert!(errors.contains("fleet.toml:8:6") && errors.contains("fleet.toml:4:6"), "both places: {errors}");
    assert_eq!(errors.matches("error: ").count(), 1);
}

/// A table for each client, as programs write it: what is more than 16 MiB is read, too.
#[test]
fn a_file_with_a_table_for_each_client_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = HEAD.to_owned();
    let note = "x".repeat(3_000); // so that few tables make a large file
    for i in 0..6_000 {
        let _ = write!(text, "[[client]]\nid = 'press-{i:05}'\nendpoints = ['a']\nusername = 'op-{i}' # {note}\n");
    }
    assert!(text.len() > 17 << 20, "{}", text.len());
    std::fs::write(dir.path().join("fleet.toml"), &text).unwrap();
    let fleet = fleet_file::load(&dir.path().join("fleet.toml")).unwrap().fleet;
    assert_eq!((fleet.clients.len(), &*fleet.clients[5_999].id), (6_000, "press-05999"));
    std::fs::write(dir.path().join("fleet.toml"), text.repeat(2)).unwrap();
    let errors = fleet_file::load(&dir.path().join("fleet.toml")).unwrap_err().to_string();
    assert!(errors.contains("is larger than 32 MiB") && errors.contains("from = \"devices.csv\""), "{errors}");
}

/// What stands before a forgotten `@host` is not shown by the program itself.
#[test]
fn check_shows_no_password_of_a_proxy_without_its_host() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fleet.toml");
    for proxy in ["http://u:PW-is-secret", "u:PW-is-secret", "socks5h://u:PW-is-secret"] {
        let text = format!("{HEAD}proxy = \"{proxy}\"\n[[client]]\nid = 'x'\nendpoints = ['a']\n");
        std::fs::write(&path, text).unwrap();
        let output = Command::new(program()).arg("check").arg(&path).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("`proxy`") && said.contains("[redacted]") && !said.contains("PW-is-secret"), "{said}");
    }
}

/// A hundred thousand clients, as a fleet of many tables.
fn large() -> String {
    let mut text = HEAD.to_owned();
    for i in 0..100 {
        let _ = write!(
            text,
            "[[client]]\nid = 'site-{i:02}/press-%05i'\nusername = '%c'\ncount = 1000\nendpoints = ['a']\n"
        );
    }
    text
}

#[test]
fn a_hundred_thousand_clients_are_read() {
    let text = large();
    let started = std::time::Instant::now();
    let fleet = parse(&text).unwrap().fleet;
    println!("100,000 clients in {:?}", started.elapsed());
    assert_eq!(fleet.clients.len(), 100_000);
    assert_eq!(&*fleet.clients[99_999].id, "site-99/press-01000");
}

/// Its pieces stand in no message of ours.
const SECRET: &str = "Zq7Xw9Vk3Jt5Hd1";

/// A file that is right, with the secret in all the places where one can be.
fn secretive() -> String {
    let starter = fleet_file::STARTER.replace("[defaults]", &format!("[defaults]\npassword = \"{SECRET}\""));
    format!(
        "{starter}\n[[client]]\nid = \"y\"\nendpoints = [\"local\"]\npassword = '''\n{SECRET}\n'''\n\n\
         [[client]]\nid = \"z\"\npassword = \"\"\"\n{SECRET}=\\\nid = {SECRET}\"\"\"\nendpoints = [\"local\"]\n"
    )
}

#[test]
fn the_secretive_file_is_right() {
    let loaded = parse(&secretive()).unwrap();
    assert!(loaded.fleet.clients.iter().all(|c| c.password.is_some()));
    assert_eq!(leaks(&seen(&secretive())), None);
}

/// Secrets where connections are described: each text is wrong in its own way.
#[test]
fn no_connection_shows_its_secret() {
    let values = [
        format!("proxy = \"http://u:{SECRET}\""),
        format!("proxy = \"https://u:{SECRET}\""),
        format!("proxy = \"socks5://u:{SECRET}\""),
        format!("proxy = \"socks5h://{SECRET}:\""),
        format!("proxy = \"u:{SECRET}\""),
        format!("proxy = \"u:{SECRET}@\""),
        format!("proxy = \"u:{SECRET}@p:x\""),
        format!("proxy = \"http:/u:{SECRET}@p\""),
        format!("proxy = \"http://u:%{SECRET}@p\""),
        format!("proxy = \"http://u:{SECRET}"),
        format!("proxy = http://u:{SECRET}"),
        format!("proxy = [\"http://u:{SECRET}@p\"]"),
        format!("proxy = {{ url = \"http://u:{SECRET}@p\" }}"),
        format!("proxy = {{\n  url = \"http://p\",\n  password = \"{SECRET}\",\n  id = \"{SECRET}\"\n}}"),
        format!("proxy.id = \"{SECRET}\""),
        format!("proxy: http://u:{SECRET}"),
        format!("prxy = \"u:{SECRET}\""),
        format!("proxies = \"http://u:{SECRET}@p\""),
        format!("url = \"mqtt://u:{SECRET}@a\""),
        format!("url = \"mqtt://u:{SECRET}\""),
        format!("url = \"mqtt://{SECRET}:@a\""),
        format!("url = \"mqtt:/u:{SECRET}@a\""),
        format!("url = \"u:{SECRET}\""),
        format!("url = \"u:{SECRET}@a\""),
        format!("url = \"tcp://u:{SECRET}\""),
        format!("url = \"mqt://u:{SECRET}@a\""),
        format!("url = \"unix://u:{SECRET}@a\""),
        format!("url = \"wss://a/mqtt?sig={SECRET} \""),
        format!("url = \"wss://a/mqtt#{SECRET}\""),
        format!("url = \"mqtt://a/mqtt?sig={SECRET}\""),
        format!("headers = {{ Authorization = \"Bearer {SECRET}\" }}"),
        format!("headers = {{ Host = \"{SECRET}\" }}"),
        format!("headers = {{ \"Bearer {SECRET}\" = \"Authorization\" }}"),
        format!("headers = {{ A = \"{SECRET}\\u0000\" }}"),
        format!("headers = {{ Cookie = \"{SECRET}\", cookie = \"{SECRET}\" }}"),
        format!("headers = {{ Authorization = \"{SECRET}\" "),
        format!("headers = {{ Authorization = {SECRET} }}"),
        format!("headers = {{ Authorization = {{ env = \"{SECRET}!\" }} }}"),
        format!("headers = {{\n  Authorization = \"{SECRET}\",\n  id = \"{SECRET}\",\n  foo = 1\n}}"),
        format!("headers = {{\n  id = \"{SECRET}\",\n  Host = \"{SECRET}\"\n}}\ninsecure = true"),
        format!("headers = [\"Authorization: {SECRET}\"]"),
        format!("headers = \"Authorization: {SECRET}\""),
        format!("headers.Host = \"{SECRET}\""),
        format!("headers.id = \"{SECRET}\"\nheaders.id = 5"),
        format!("headers.name = \"{SECRET}\\u0000\""),
        format!("haeders = {{ id = \"{SECRET}\" }}"),
        format!("[endpoint.a.headers]\nname = \"{SECRET}\\u0000\""),
        format!("[endpoint.a.headers]\nid = \"{SECRET}\"\nid = 5"),
        format!("[endpoint.a.haeders]\nid = \"{SECRET}"),
    ];
    for value in values {
        let url = if value.starts_with("url") { "" } else { "url = \"ws://a\"\n" };
        for text in [
            format!("[[client]]\nid = \"x\"\nendpoints = [\"a\"]\n[endpoint.a]\n{url}{value}\n"),
            format!(
                "[[client]]\nid = \"x\"\nendpoints = [\"b\"]\n[endpoint.a]\nurl = \"x\"\n  {value} # {value}\nalpn = 5\n"
            ),
            format!("[endpoint.a]\n{url}{value}\n[[client]]\nid = \"x\"\n"),
        ] {
            let shown = said(&text);
            assert!(shown.contains("fleet.toml"), "nothing is said of this:\n{text}");
            assert_eq!(leaks(&shown), None, "{text}\n{shown}");
        }
    }
}

/// What is said of a file, without what it was read as: a slip can make a name of a password.
fn said(text: &str) -> String {
    match parse(text) {
        Ok(loaded) => loaded.warnings.iter().map(|w| w.to_string()).collect(),
        Err(errors) => errors.to_string(),
    }
}

/// A file that is right, with the secret in all the places where a connection can have one.
fn connecting() -> String {
    format!(
        "[endpoint.a]\nurl = \"wss://a/mqtt\"\nproxy = \"http://u:{SECRET}@p:3128\"\n\
         headers = {{ Authorization = \"{SECRET}\", X-Tenant = \"plant\" }}\n\
         [endpoint.b]\nurl = \"ws://b\"\nproxy = \"socks5://u:{SECRET}@p\"\nconnect_rate = 5\n\
         [endpoint.b.headers]\nX-Api-Key = \"{SECRET}\"\n\
         [[client]]\nid = \"x\"\nendpoints = [\"a\", \"b\"]\n"
    )
}

#[test]
fn a_connection_s_secrets_are_read() {
    let loaded = parse(&connecting()).unwrap();
    let passwords = loaded.fleet.endpoints.iter().map(|e| e.proxy.as_ref().and_then(|p| p.password.as_ref()));
    assert!(passwords.into_iter().all(|p| p.is_some_and(|p| p.expose() == SECRET)));
    assert_eq!(leaks(&format!("{loaded:?}")), None);
}

fn leaks(shown: &str) -> Option<&'static str> {
    (0..SECRET.len() - 3).map(|i| &SECRET[i..i + 4]).find(|piece| shown.contains(piece))
}

#[derive(Clone, Debug)]
enum Slip {
    Insert(usize, char),
    Remove(usize),
    Swap(usize),
    Cut(usize),
    Repeat(usize),
}

fn slip() -> impl Strategy<Value = Slip> {
    let odd =
        prop_oneof![prop::sample::select("\"'=[]{}#\n\\,. %@:5x\t\u{1b}é".chars().collect::<Vec<_>>()), any::<char>(),];
    prop_oneof![
        4 => (any::<usize>(), odd).prop_map(|(at, c)| Slip::Insert(at, c)),
        4 => any::<usize>().prop_map(Slip::Remove),
        2 => any::<usize>().prop_map(Slip::Swap),
        1 => any::<usize>().prop_map(Slip::Cut),
        1 => any::<usize>().prop_map(Slip::Repeat),
    ]
}

/// The text with a slip in it, at any of its characters.
fn slipped(text: &str, slips: &[Slip]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for slip in slips {
        let n = chars.len().max(1);
        match slip {
            Slip::Insert(at, c) => chars.insert(at % n, *c),
            Slip::Remove(at) if at % n < chars.len() => drop(chars.remove(at % n)),
            Slip::Swap(at) if at % n + 1 < chars.len() => chars.swap(at % n, at % n + 1),
            Slip::Cut(at) => chars.truncate(at % n),
            Slip::Repeat(at) => {
                let line: Vec<char> =
                    chars[at % n..].iter().take_while(|c| **c != '\n').chain(&['\n']).copied().collect();
                chars.splice(at % n..at % n, line);
            }
            _ => {}
        }
    }
    chars.into_iter().collect()
}

proptest! {
    #[test]
    fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        seen(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_toml_can_be_read(text in "((\\[\\[client\\]\\]|\\[endpoint\\.a\\]|\\[defaults\\]|id|count|url|password|reconnect|[a-z%\"'=\\[\\]{}.,0-9 -]{1,4}|=|\n){1,2}){0,60}") {
        seen(&text);
    }

    #[test]
    fn slips_in_the_starter_are_errors_or_harmless(slips in prop::collection::vec(slip(), 1..6)) {
        let shown = seen(&slipped(fleet_file::STARTER, &slips));
        prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    }

    #[test]
    fn no_slip_shows_a_secret(slips in prop::collection::vec(slip(), 0..4)) {
        let text = slipped(&secretive(), &slips);
        let shown = seen(&text);
        prop_assert_eq!(leaks(&shown), None, "{}", shown);
    }

    #[test]
    fn no_slip_shows_the_secret_of_a_connection(slips in prop::collection::vec(slip(), 0..4)) {
        let text = slipped(&connecting(), &slips);
        let shown = said(&text);
        prop_assert_eq!(leaks(&shown), None, "{}\n{}", text, shown);
    }

    #[test]
    fn no_slip_near_a_secret_shows_it(at in 0usize..60, slips in prop::collection::vec(slip(), 1..3)) {
        let text = format!("[defaults]\npassword = \"{SECRET}\"\nkeep_alive = \"5s\"\n{HEAD}");
        let near: Vec<Slip> = slips.into_iter().map(|s| match s {
            Slip::Insert(_, c) => Slip::Insert(at, c),
            Slip::Remove(_) => Slip::Remove(at),
            Slip::Swap(_) => Slip::Swap(at),
            other => other,
        }).collect();
        let shown = seen(&slipped(&text, &near));
        prop_assert_eq!(leaks(&shown), None, "{}", shown);
    }
}

#[test]
fn every_error_in_metrics_is_told_with_its_place_and_a_hint() {
    let said = errors(&format!(
        "{HEAD}[[client]]\nid = \"x\"\nendpoints = [\"a\"]\n[metrics]\nlisten = \":9464\"\nlabl = \"site\"\n\
         clients = {{ match = {{ endpoint = \"b\", id = 7, state = \"up\" }}, at_most = 0 }}\n"
    ));
    for words in [
        "`listen` is not an address and a port: \":9464\"",
        "write \"127.0.0.1:9464\", or \"0.0.0.0:9464\"",
        "fleet.toml:7:10",
        "unknown key \"labl\" in [metrics]",
        "did you mean `label`?",
        "there is no endpoint \"b\"",
        "fleet.toml:9:34",
        "`id` must be a client ID in quotes, with * for any text, or a list of them, not an integer",
        "`state` is not known here: only how a client is defined counts",
        "`at_most` must be a whole number of clients",
        "6 errors",
    ] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    let picked = format!("{HEAD}[[client]]\nid = \"x\"\nendpoints = [\"a\"]\n[metrics]\nclients = {{ at_most = 2 }}\n");
    assert!(errors(&picked).contains("`clients` has no `match`"));
}

#[test]
fn every_error_in_a_store_is_told_with_its_place_and_a_hint() {
    let said = errors(&format!(
        "{HEAD}[[client]]\nid = \"x\"\nendpoints = [\"a\"]\n[store]\nurl = \"redis://u:hunter2@h\"\nurll = \"x\"\n\
         username = \"u\"\nagent = \"%i\"\nlease = \"1s\"\nevents = 1\nca_file = 7\n"
    ));
    for words in [
        "a URL here has no user",
        "fleet.toml:7:7",
        "unknown key \"urll\" in [store]",
        "did you mean `url`?",
        "a user name without a `password`",
        "fleet.toml:9:12",
        "`agent` speaks of a client, and there is none here",
        "`lease` must be 3s to 10m",
        "`events` must be a whole number of entries, 100 to 10,000,000",
        "`ca_file` must be a file's name in quotes",
        "7 errors",
    ] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
}

/// `match` of [metrics], as the sixth key of line 7.
fn with_match(matching: &str) -> String {
    format!("{HEAD}[[client]]\nid = \"x\"\nendpoints = [\"a\"]\n[metrics]\nclients = {{ match = {matching} }}\n")
}

#[test]
fn a_mistake_in_a_query_is_drawn_at_its_place_in_the_file() {
    for (matching, column, what, help) in [
        (r#""id:x idd:y""#, 27, "there is no field \"idd\"", "did you mean id?"),
        (r#"'id:x (label:"a"'"#, 27, "this bracket is not closed", "put ) at its end"),
        (r#""id:\"x\" p99>1s""#, 31, "p99 is not known here", "it can be id, endpoint, address"),
        (r#""id:x state:up""#, 27, "state is not known here", "it can be id"),
        (r#""id:x or ""#, 30, "a condition is missing here", "for example"),
    ] {
        let said = errors(&with_match(matching));
        assert!(said.contains(&format!("error: {what}")) && said.contains(help), "{said}");
        assert!(said.contains(&format!("--> fleet.toml:7:{column}\n")), "{matching}: {said}");
    }
    // What nobody can be meant by is doubtful, and no mistake.
    for matching in [r#""id:y*""#, r#"{ id = "y*" }"#] {
        let loaded = parse(&with_match(matching)).unwrap();
        let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
        let sign = if matching.starts_with('"') { ':' } else { '=' };
        assert_eq!(warning.title(), format!("`match` is for no client of this fleet: \"id{sign}y*\""));
    }
    assert!(errors(&with_match("{ id = [] }")).contains("`id` is an empty list"));
}
