//! The doctor as a whole program: what it prints for people and scripts about endpoints and about a client there, at real brokers and at small servers; each way a probe can fail is tested with the endpoint.
#![allow(clippy::unwrap_used, reason = "what panics here is a failed test")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use mqfleet_test_support::{
    certs::{Certified, Trust, Wanted},
    mosquitto::{Mosquitto, Setup, free_port},
    peers::{self, TlsSetup, accepted, serve, serve_http, serve_tls},
    program, script,
};
use openssl::ssl::{SslAcceptorBuilder, SslOptions, SslVersion};
use serde_json::{Value, json};

/// A fleet file in this folder, by its name.
fn fleet(trust: &Trust, text: &str) -> String {
    trust.file("fleet.toml", text).display().to_string()
}

/// The doctor's exit code and what it printed.
fn doctor(arguments: &[&str], ca_of_the_system: &Path) -> (Option<i32>, String, String) {
    let done = Command::new(program())
        .arg("doctor")
        .args(arguments)
        .env("SSL_CERT_FILE", ca_of_the_system)
        .env("PRESS_PASSWORD", "let-me-in-7")
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(done.stdout), text(done.stderr));
    assert!(!out.contains("let-me-in-7") && !err.contains("let-me-in-7"), "it told the password");
    for line in out.lines().filter(|l| !l.starts_with('{')) {
        assert!(unicode_width::UnicodeWidthStr::width(line) <= 80, "wider than a terminal: {line}");
    }
    (done.status.code(), out, err)
}

/// The same as JSON, one line.
fn told(arguments: &[&str]) -> (Option<i32>, Value) {
    let (code, out, err) = doctor(&[arguments, &["--format", "json"]].concat(), Path::new("/dev/null"));
    let line = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    (code, line)
}

/// The names of the stages in a line, and whether each was well; in their order, which a JSON object does not have.
fn stages(line: &Value) -> Vec<(&str, bool)> {
    const ORDER: [&str; 11] =
        ["dns", "tcp", "proxy", "tls", "websocket", "connect", "connack", "suback", "heartbeat", "ack", "echo"];
    let took = line["stages_us"].as_object().unwrap();
    assert!(took.iter().all(|(name, us)| ORDER.contains(&name.as_str()) && us.is_u64()), "{line}");
    let stages = ORDER.into_iter().filter(|name| took.contains_key(*name));
    stages.map(|name| (name, line["failed_stage"] != name)).collect()
}

/// Waits for a listener besides a broker's first.
fn wait_for(port: u16) {
    let end = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "nobody listens at {port}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Makes all that differs from run to run alike.
macro_rules! assert_page {
    ($page:expr, @$expected:literal) => {
        insta::with_settings!({filters => vec![
            (r"\|[ =x]{20}\|", "|bar|"),
            (r" +[\d.]+(µs|ms|s)\b", " TIME"),
            (r"(localhost|127\.0\.0\.1):\d+", "ADDRESS"),
            (r"\|  (::1, )?127\.0\.0\.1(, ::1)?", "|  ADDRESSES"),
            (r"\d{4}-\d\d-\d\d", "DAY"),
            (r"[\d,]+ days", "N days"),
            (r"TLS_\w+", "CIPHER"),
        ]}, { insta::assert_snapshot!($page, @$expected) })
    };
}

#[test]
fn a_fleet_s_endpoints_are_told() {
    let trust = Trust::new();
    let well = serve(drop);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fleet = |ports: &[u16]| {
        let endpoints = ports.iter().enumerate();
        let endpoints: String =
            endpoints.map(|(n, p)| format!("[endpoint.e{n}]\nurl = \"mqtt://127.0.0.1:{p}\"\n")).collect();
        fleet(&trust, &format!("{endpoints}[[client]]\nid = \"x\"\nendpoints = [\"e0\"]\n"))
    };
    let (code, out, err) = doctor(&[&fleet(&[well.port(), free.port()])], &trust.ca_file());
    assert_eq!((code, err.as_str()), (Some(3), ""));
    assert_page!(out, @r"
    e0  mqtt://ADDRESS

      tcp TIME  |bar|  ADDRESS

      verdict       answers after TIME

    e1  mqtt://ADDRESS

      tcp TIME  |bar|  failed

      verdict       failed at tcp: connection refused: ADDRESS
      to do         check that a broker at ADDRESS is running, and the port
    ");
    assert_eq!(doctor(&[&fleet(&[well.port()])], &trust.ca_file()).0, Some(0));
}

#[test]
fn a_certificate_is_verified_against_the_system_s_store() {
    let trust = Trust::new();
    let own = trust.ca.issue(&Wanted { names: &["localhost", "x\x1b[2J"], to: 10, ..Wanted::LOCALHOST });
    let url = format!("mqtts://localhost:{}", serve_tls(&own, TlsSetup::default()).port());
    let (code, out, err) = doctor(&[&url], &trust.ca_file());
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert_page!(out, @r"
    mqtts://ADDRESS

      dns TIME  |bar|  ADDRESSES
      tcp TIME  |bar|  ADDRESS
      tls TIME  |bar|  TLSv1.3, CIPHER

      certificate   CN=broker, N days left
                    for localhost, x␛[2J
                    issued by CN=Test CA, DAY to DAY
      certificate   CN=Test CA, N days left
                    issued by itself, DAY to DAY

      verdict       answers after TIME
      to do         renew a certificate of the chain: one ends in N days
    ");

    let foreign = trust.file("foreign.pem", Certified::ca("Foreign").pem());
    let (code, out, _) = doctor(&[&url, "--format", "json"], &foreign);
    assert_eq!(code, Some(3));
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&line["ok"], &line["failed_stage"]), (&false.into(), &"tls".into()));
    assert_eq!((&line["reason"], &line["client"]), (&"certificate_unknown_ca".into(), &Value::Null));
    assert_eq!(stages(&line).get(2), Some(&("tls", false)));
    assert_eq!(line["tls"]["chain"][0]["names"][1], "x␛[2J");
    assert_eq!(line["tls"]["chain"][0]["days_left"], 9);
    let ca = trust.ca_file().display().to_string();
    assert_eq!(doctor(&[&url, "--ca-file", &ca], &foreign).0, Some(0));
    let (code, line) = told(&[&url, "--insecure"]);
    let verdict = line["verdict"].as_str().unwrap();
    assert!(code == Some(0) && verdict.contains("was not verified: certificate of unknown CA"), "{verdict}");
}

#[test]
fn wrong_usage_is_told_with_what_would_be_right() {
    let trust = Trust::new();
    let fleet = fleet(
        &trust,
        "[endpoint.e]\nurl = \"mqtt://127.0.0.1\"\n[[client]]\nid = \"press-%04i\"\ncount = 20\nendpoints = [\"e\"]\n",
    );
    for (arguments, says) in [
        (&["/nowhere/fleet.toml"][..], "cannot open"),
        (&["broker.example"], "a broker is named by its URL, such as mqtt://broker.example"),
        (&["mqtt://user:hunter2@a"], "a URL here has no user"),
        (&["mqtt://a/b"], "has a path"),
        (&[&fleet, "--client", "press-0O07"], "has the ID \"press-0O07\": did you mean press-0007?"),
        (&[&fleet, "--client", "press"], "did you mean press-0001 or press-0002 or press-0003?"),
        (&[&fleet, "--client", "lathe\x1b[2J"], "\"lathe␛[2J\": it has 20 clients, press-0001 to press-0020"),
        (&[&fleet, "--client", "press-0001", "--username", "x"], "are for a URL"),
        (&[&fleet, "--as", "x"], "--client"),
        (&["mqtt://a", "--client", "x", "--password-env", "hunter2!"], "must be the name of an environment variable"),
        (&["mqtt://a", "--client", "x", "--password-env", "NO_SUCH"], "\"NO_SUCH\" is not set"),
        (&["mqtt://a", "--client", "x", "--password-file", "/nowhere/pw"], "cannot read the password file"),
        (&["mqtt://a", "--ca-file", "x"], "--ca-file and --insecure say nothing"),
    ] {
        let (code, out, err) = doctor(arguments, &trust.ca_file());
        assert!(code == Some(2) && err.contains(says) && !err.contains("hunter2"), "{arguments:?}: {code:?} {err}");
        assert_eq!(out, "");
    }
}

#[test]
fn a_client_is_followed_to_its_echo() {
    let trust = Trust::new();
    let own = trust.ca.issue(&Wanted { to: 300, ..Wanted::LOCALHOST });
    let (cert, key) = (trust.file("own.pem", own.pem()), trust.file("own.key", own.key_pem()));
    let (secure, web, both) = (free_port(), free_port(), free_port());
    let lines = vec![
        "max_qos 1".into(),
        "max_keepalive 20".into(),
        format!("listener {secure} 127.0.0.1"),
        format!("certfile {}", cert.display()),
        format!("keyfile {}", key.display()),
        format!("listener {web} 127.0.0.1"),
        "protocol websockets".into(),
        "socket_domain ipv4".into(),
        format!("listener {both} 127.0.0.1"),
        format!("certfile {}", cert.display()),
        format!("keyfile {}", key.display()),
        "protocol websockets".into(),
        "socket_domain ipv4".into(),
    ];
    let users = vec![("fleet".to_owned(), "let-me-in-7".to_owned())];
    let broker = Mosquitto::with(Setup { users, lines, verbose: true, ..Setup::default() });
    let plain = broker.port();
    wait_for(web); // they are opened in their order
    let fleet = fleet(
        &trust,
        &format!(
            r#"
        [endpoint.plain]
        url = "mqtt://127.0.0.1:{plain}"
        [endpoint.secure]
        url = "mqtts://localhost:{secure}"
        ca_file = "ca.pem"
        [endpoint.web]
        url = "ws://localhost:{web}/mqtt"
        [[client]]
        id = "press-%04i"
        count = 2
        endpoints = ["plain", "secure", "web"]
        username = "fleet"
        password = {{ env = "PRESS_PASSWORD" }}
        subscribe = [{{ topic = "orders/%c/#", qos = 1 }}, {{ topic = "alarms", qos = 2 }}]
        will = {{ topic = "will/%c", payload = "gone" }}
        birth = {{ topic = "birth/%c", payload = "here" }}
        publish = {{ topic = "data/%c", payload = "%s", every = "10ms" }}
        [[client]]
        id = "old"
        endpoints = ["plain"]
        protocol = "3.1.1"
        username = "fleet"
        password = {{ env = "PRESS_PASSWORD" }}
        "#
        ),
    );
    let (code, out, err) = doctor(&[&fleet, "--client", "press-0002"], &trust.ca_file());
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert_page!(out, @r"
    plain  mqtt://ADDRESS

      tcp TIME  |bar|  ADDRESS
      connect TIME  |bar|  once more, by a real client
      connack TIME  |bar|  accepts press-0002
      suback TIME  |bar|  2 subscriptions
      echo TIME  |bar|  a message there and back

      broker        session present     no              maximum QoS              1
                    session expiry      0 s             retained messages        yes
                    keep alive          20 s            wildcard subscriptions   yes
                    receive maximum     20              shared subscriptions     yes
                    topic alias maximum 10              subscription identifiers yes
                    maximum packet size no limit
      subscribed    orders/press-0002/#  QoS 1
                    alarms               QoS 1 only, 2 was asked for
      note          a client that was running with this ID has been thrown off by
                    this test; --as ID avoids that

      verdict       press-0002 connects, subscribes and hears its echo, all within
     TIME, but gets alarms with QoS 1 instead of 2

    secure  mqtts://ADDRESS

      dns TIME  |bar|  ADDRESSES
      tcp TIME  |bar|  ADDRESS
      tls TIME  |bar|  TLSv1.3, CIPHER
      connect TIME  |bar|  once more, by a real client
      connack TIME  |bar|  accepts press-0002
      suback TIME  |bar|  2 subscriptions
      echo TIME  |bar|  a message there and back

      certificate   CN=broker, N days left
                    for localhost
                    issued by CN=Test CA, DAY to DAY
      certificate   CN=Test CA, N days left
                    issued by itself, DAY to DAY
      broker        session present     no              maximum QoS              2
                    session expiry      0 s             retained messages        yes
                    keep alive          20 s            wildcard subscriptions   yes
                    receive maximum     20              shared subscriptions     yes
                    topic alias maximum 10              subscription identifiers yes
                    maximum packet size no limit
      subscribed    orders/press-0002/#  QoS 1
                    alarms               QoS 2
      note          a client that was running with this ID has been thrown off by
                    this test; --as ID avoids that

      verdict       press-0002 connects, subscribes and hears its echo, all within
     TIME

    web  ws://ADDRESS/mqtt

      dns TIME  |bar|  ADDRESSES
      tcp TIME  |bar|  ADDRESS
      websocket TIME  |bar|  subprotocol mqtt
      connect TIME  |bar|  once more, by a real client
      connack TIME  |bar|  accepts press-0002
      suback TIME  |bar|  2 subscriptions
      echo TIME  |bar|  a message there and back

      broker        session present     no              maximum QoS              2
                    session expiry      0 s             retained messages        yes
                    keep alive          20 s            wildcard subscriptions   yes
                    receive maximum     20              shared subscriptions     yes
                    topic alias maximum 10              subscription identifiers yes
                    maximum packet size no limit
      subscribed    orders/press-0002/#  QoS 1
                    alarms               QoS 2
      note          a client that was running with this ID has been thrown off by
                    this test; --as ID avoids that

      verdict       press-0002 connects, subscribes and hears its echo, all within
     TIME
    ");
    let ca = trust.ca_file().display().to_string();
    let (code, line) = told(&[&format!("wss://localhost:{both}/mqtt"), "--ca-file", &ca]);
    assert_eq!((code, stages(&line).last()), (Some(0), Some(&("websocket", true))), "{line}");
    let log = broker.log();
    assert!(log.contains("Received PUBLISH from press-0002") && log.contains("mqfleet/probe/press-0002"), "{log}");
    for never in ["birth/", "data/", "will/", "press-0001", "rror"] {
        assert!(!log.contains(never), "{never}: {log}");
    }
    assert_eq!(log.matches("Received DISCONNECT from press-0002").count(), 3, "{log}");

    let (code, line) = told(&[&fleet, "--client", "old", "--as", "visitor"]);
    assert_eq!((code, &line["client"], &line["own_id"]), (Some(0), &json!("visitor"), &json!(false)));
    let names: Vec<&str> = stages(&line).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["tcp", "connect", "connack", "echo"]);
    assert!(!broker.log().contains("as old "), "{}", broker.log());

    let pw = trust.file("pw", "let-me-in-7\n").display().to_string();
    let url = format!("mqtt://127.0.0.1:{plain}");
    for password in [["--password-env", "PRESS_PASSWORD"], ["--password-file", &pw]] {
        let (code, line) = told(&[&[url.as_str(), "--client", "x", "--username", "fleet"][..], &password].concat());
        assert_eq!((code, &line["ok"]), (Some(0), &json!(true)), "{line}");
        let connack = &line["connack"];
        assert_eq!((&connack["maximum_qos"], &connack["server_keep_alive_s"]), (&json!(1), &json!(20)), "{line}");
    }
}

#[test]
fn a_client_that_is_refused_is_told_what_to_do() {
    let users = vec![("fleet".to_owned(), "let-me-in-7".to_owned())];
    let broker = Mosquitto::with(Setup { users, ..Setup::default() });
    let trust = Trust::new();
    let fleet = fleet(
        &trust,
        &format!(
            "[endpoint.e]\nurl = 'mqtt://127.0.0.1:{}'\n[defaults]\nusername = 'fleet'\npassword = {{ file = 'pw' }}\n\
         [[client]]\nid = 'new'\nendpoints = ['e']\n[[client]]\nid = 'old'\nprotocol = '3.1.1'\nendpoints = ['e']\n",
            broker.port()
        ),
    );
    trust.file("pw", "wrong");
    for client in ["new", "old"] {
        let (code, line) = told(&[&fleet, "--client", client]);
        assert_eq!(
            (code, &line["failed_stage"], &line["reason"]),
            (Some(3), &json!("connack"), &json!("not_authorized"))
        );
        assert_eq!(stages(&line).last(), Some(&("connack", false)));
        let advice = line["advice"].as_str().unwrap();
        assert!(advice.starts_with("check user name and password"), "{advice}");
    }
    let (code, out, _) = doctor(&[&fleet, "--client", "new"], &trust.ca_file());
    assert_eq!(code, Some(3));
    assert_page!(out, @r"
    e  mqtt://ADDRESS

      tcp TIME  |bar|  ADDRESS
      connack TIME  |bar|  failed

      verdict       failed at connack: not authorized
      to do         check user name and password, and which clients the broker's
                    access rules (ACL) let in
    ");
}

/// The access rules are those of mosquitto's own plugin, whose file the broker reads as it is.
#[test]
fn a_subscription_that_is_refused_and_an_echo_that_does_not_come_are_named() {
    let trust = Trust::new();
    let rules = |allowed: &[&str], heard: bool| {
        let acls: Vec<Value> = allowed
            .iter()
            .map(|topic| json!({ "acltype": "subscribePattern", "topic": topic, "priority": 0, "allow": true }))
            .collect();
        json!({
            "defaultACLAccess": {
                "publishClientSend": true, "publishClientReceive": heard, "subscribe": false, "unsubscribe": true,
            },
            "clients": [],
            "groups": [{ "groupname": "all", "roles": [{ "rolename": "reader", "priority": 0 }], "clients": [] }],
            "roles": [{ "rolename": "reader", "acls": acls }],
            "anonymousGroup": "all",
        })
    };
    let plugin = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/lib64"]
        .map(|folder| PathBuf::from(folder).join("mosquitto_dynamic_security.so"));
    let plugin = plugin.iter().find(|p| p.exists()).expect("mosquitto's plugin for access rules");
    let broker = |name: &str, allowed: &[&str], heard| {
        let rules = trust.file(name, rules(allowed, heard).to_string());
        let lines = vec![format!("plugin {}", plugin.display()), format!("plugin_opt_config_file {}", rules.display())];
        Mosquitto::with(Setup { lines, verbose: true, ..Setup::default() })
    };
    let fleet = |broker: &Mosquitto| {
        fleet(
            &trust,
            &format!(
                "[endpoint.e]\nurl = 'mqtt://127.0.0.1:{}'\n[[client]]\nid = 'ears'\nendpoints = ['e']\n\
             subscribe = [{{ topic = 'open/#' }}, {{ topic = 'secret/#', qos = 1 }}]\n",
                broker.port()
            ),
        )
    };
    let strict = broker("strict.json", &["open/#", "mqfleet/probe/#"], true);
    let fleet_file = fleet(&strict);
    let (code, line) = told(&[&fleet_file, "--client", "ears"]);
    assert_eq!(
        (code, &line["failed_stage"], &line["reason"]),
        (Some(3), &json!("suback"), &json!("subscription_refused")),
        "{line}"
    );
    assert_eq!(
        line["subscriptions"],
        json!([
            { "filter": "open/#", "asked": 0, "granted": 0, "detail": "" },
            { "filter": "secret/#", "asked": 1, "granted": null, "detail": "not authorized" },
        ])
    );
    assert_eq!(line["detail"], "secret/#: not authorized");
    let (_, out, _) = doctor(&[&fleet_file, "--client", "ears"], &trust.ca_file());
    assert_page!(out, @r"
    e  mqtt://ADDRESS

      tcp TIME  |bar|  ADDRESS
      connect TIME  |bar|  once more, by a real client
      connack TIME  |bar|  accepts ears
      suback TIME  |bar|  failed

      broker        session present     no              maximum QoS              2
                    session expiry      0 s             retained messages        yes
                    keep alive          30 s            wildcard subscriptions   yes
                    receive maximum     20              shared subscriptions     yes
                    topic alias maximum 10              subscription identifiers yes
                    maximum packet size no limit
      subscribed    open/#    QoS 0
                    secret/#  refused: not authorized
      note          a client that was running with this ID has been thrown off by
                    this test; --as ID avoids that

      verdict       failed at suback: subscription refused: secret/#: not authorized
      to do         let the broker's access rules (ACL) allow ears to subscribe to
                    secret/#
    ");

    let picky = broker("picky.json", &["open/#", "secret/#"], true);
    let (code, line) = told(&[&fleet(&picky), "--client", "ears"]);
    assert_eq!((code, &line["failed_stage"], &line["reason"]), (Some(3), &json!("echo"), &json!("no_echo")), "{line}");
    assert_eq!(line["detail"], "SUBSCRIBE mqfleet/probe/ears: not authorized");
    assert!(line["advice"].as_str().unwrap().contains("mqfleet/probe/#"), "{line}");

    let mute = broker("mute.json", &["#"], false);
    let (code, line) = told(&[&fleet(&mute), "--client", "ears", "--timeout", "1500ms"]);
    assert_eq!((code, &line["reason"], &line["detail"]), (Some(3), &json!("no_echo"), &json!("the echo never came")));

    // While it waits in vain, the real one comes back.
    let (log, address) = (|| mute.log().matches("Received PUBLISH from ears").count(), mute.address());
    let before = log();
    let line = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| told(&[&fleet(&mute), "--client", "ears", "--timeout", "20s"]).1);
        while log() == before {
            assert!(!waiting.is_finished(), "it never asked for its echo");
            std::thread::sleep(Duration::from_millis(5));
        }
        // What is cut off right after it asked for something, is for that: this is not.
        std::thread::sleep(Duration::from_secs(4));
        let mut ears = TcpStream::connect(address).unwrap();
        // CONNECT of MQTT 5.0, clean start, keep alive 60 s (§3.1).
        ears.write_all(b"\x10\x11\0\x04MQTT\x05\x02\0\x3c\0\0\x04ears").unwrap();
        waiting.join().unwrap()
    });
    // Mosquitto only hangs up.
    assert!([json!("session_taken_over"), json!("connection_lost")].contains(&line["reason"]), "{line}");
    assert_eq!(line["ok"], false);
    assert!(line["advice"].as_str().unwrap().contains("--as ID"), "{line}");
}

#[test]
fn a_client_s_own_certificate_is_shown_and_the_want_of_one_named() {
    let trust = Trust::new();
    let papers = |name: &str| {
        let own = trust.ca.issue(&Wanted::LOCALHOST);
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        (trust.file(&cert, own.pem()), trust.file(&key, own.key_pem()))
    };
    let ((cert, key), _) = (papers("server"), papers("client"));
    let mutual = free_port();
    let lines = vec![
        format!("listener {mutual} 127.0.0.1"),
        format!("certfile {}", cert.display()),
        format!("keyfile {}", key.display()),
        format!("cafile {}", trust.ca_file().display()),
        "require_certificate true".into(),
    ];
    let _broker = Mosquitto::with(Setup { lines, ..Setup::default() });
    wait_for(mutual);
    let fleet = fleet(
        &trust,
        &format!(
            "[endpoint.e]\nurl = 'mqtts://localhost:{mutual}'\nca_file = 'ca.pem'\n\
         [defaults]\nprobe = {{ kind = 'off' }}\n\
         [[client]]\nid = 'shown'\nendpoints = ['e']\ncert_file = 'client.pem'\nkey_file = 'client.key'\n\
         [[client]]\nid = 'bare'\nendpoints = ['e']\n"
        ),
    );
    let (code, line) = told(&[&fleet]);
    assert_eq!((code, &line["tls"]["wants_certificate"]), (Some(0), &json!(true)), "{line}");
    let (code, line) = told(&[&fleet, "--client", "shown"]);
    assert_eq!((code, stages(&line).last()), (Some(0), Some(&("connack", true))), "its probe is off: {line}");
    let (code, line) = told(&[&fleet, "--client", "bare"]);
    assert_eq!((code, &line["failed_stage"]), (Some(3), &json!("connect")), "{line}");
    // With TLS 1.3 the client does not always get to read the refusal.
    assert!([json!("client_certificate_refused"), json!("tls_failed")].contains(&line["reason"]), "{line}");
    assert!(line["advice"].as_str().unwrap().starts_with("give the client a certificate"), "{line}");
}

#[test]
fn a_websocket_that_only_the_probe_gets_is_named() {
    let (tell, _heard) = mpsc::channel();
    let asked = Arc::new(AtomicUsize::new(0));
    let address = serve_http(tell, move |request| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => accepted(request),
        _ => "HTTP/1.1 404 Not Found\r\n\r\n".into(),
    });
    let (code, line) = told(&[&format!("ws://{address}/mqtt"), "--client", "x"]);
    assert_eq!(
        (code, stages(&line)),
        (Some(3), vec![("tcp", true), ("websocket", true), ("connect", false)]),
        "{line}"
    );
    assert_eq!(
        (&line["reason"], &line["detail"]),
        (&json!("websocket_refused"), &json!("404 Not Found: is the path right?"))
    );
}

/// What is at fault is said in a sentence, and with it where to look (case 12).
#[test]
fn what_two_sides_have_not_in_common_has_its_own_advice() {
    let trust = Trust::new();
    let own = trust.ca.issue(&Wanted::LOCALHOST);
    let port = |setup: TlsSetup| serve_tls(&own, setup).port();
    let old: fn(&mut SslAcceptorBuilder) = |acceptor| {
        acceptor.clear_options(SslOptions::NO_TLSV1_1);
        acceptor.set_min_proto_version(Some(SslVersion::TLS1_1)).unwrap();
        acceptor.set_max_proto_version(Some(SslVersion::TLS1_1)).unwrap();
        acceptor.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
    };
    let anonymous: fn(&mut SslAcceptorBuilder) = |acceptor| acceptor.set_cipher_list("ADH:@SECLEVEL=0").unwrap();
    let choosy: fn(&mut SslAcceptorBuilder) = |acceptor| {
        acceptor.set_alpn_select_callback(|_, offered| {
            openssl::ssl::select_next_proto(b"\x02h2", offered).ok_or(openssl::ssl::AlpnError::ALERT_FATAL)
        });
    };
    let middle = TlsSetup { version: Some(SslVersion::TLS1_2), ..TlsSetup::default() };
    let ca = format!("ca_file = '{}'\n", trust.ca_file().display());
    for (port, more, detail, advice) in [
        (
            port(TlsSetup { more: Some(old), ..TlsSetup::default() }),
            "",
            "the broker speaks TLS 1.1 at most",
            "let the broker speak TLS 1.2 or later: older versions are broken",
        ),
        (
            port(middle.clone()),
            "tls_min = '1.3'",
            "the broker speaks TLS 1.2 at most, and tls_min is \"1.3\"",
            "let the broker speak TLS 1.3, or set tls_min = \"1.2\"",
        ),
        (
            port(TlsSetup { more: Some(anonymous), ..middle }),
            "",
            "no cipher in common: the broker takes none of the ciphers, curves and signatures offered",
            "compare the broker's ciphers and the kind of its key with what OpenSSL takes: no old ones",
        ),
        (
            port(TlsSetup { more: Some(choosy), ..TlsSetup::default() }),
            "alpn = ['mqtt']",
            "the broker takes none of alpn = [\"mqtt\"]",
            "set alpn to a protocol that the broker's listener has, or leave it out",
        ),
        (
            // What it has not read would make a reset of its end.
            serve(|mut s| drop(s.read(&mut [0; 2048]))).port(),
            "",
            "closed by the server instead of an answer in TLS (it may be full, or this be no TLS port)",
            "check that this is the broker's TLS port (8883 is usual), and in the broker's log whether it is full",
        ),
    ] {
        let fleet = fleet(
            &trust,
            &format!(
                "[endpoint.e]\nurl = 'mqtts://localhost:{port}'\n{ca}{more}\n[[client]]\nid = 'x'\nendpoints = ['e']\n"
            ),
        );
        let (code, line) = told(&[&fleet]);
        assert_eq!((code, &line["failed_stage"]), (Some(3), &json!("tls")), "{line}");
        assert_eq!((&line["detail"], &line["advice"]), (&json!(detail), &json!(advice)));
    }
}

/// MQTT 5 at a broker of MQTT 3.1.1, in its three shapes, and a broker that hangs up on what is not allowed.
#[test]
fn a_broker_that_does_not_say_why_is_seen_through() {
    let trust = Trust::new();
    type Answer = fn(&[u8]) -> Vec<Vec<u8>>;
    let told_of = |answer: Answer| {
        let port = script::peer(move |_, packet| answer(packet));
        let fleet = fleet(
            &trust,
            &format!(
                "[endpoint.e]\nurl = 'mqtt://127.0.0.1:{port}'\n[[client]]\nid = 'x'\nendpoints = ['e']\n\
             subscribe = [{{ topic = 'cmd/#' }}]\n"
            ),
        );
        let (code, line) = told(&[&fleet, "--client", "x", "--timeout", "1500ms"]);
        assert_eq!(code, Some(3), "{line}");
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        (text("failed_stage"), text("advice"))
    };
    let shapes: [Answer; 3] =
        [|_| vec![script::CLOSE.to_vec()], |_| Vec::new(), |_| vec![vec![0x20, 2, 0, 1], script::CLOSE.to_vec()]];
    for shape in shapes {
        let (stage, advice) = told_of(shape);
        assert!(stage == "connack" && advice.contains("set protocol = \"3.1.1\""), "{stage}: {advice}");
    }
    // Where either version will do, the older one is found.
    let port = script::peer(|_, packet| match (packet[0] >> 4, packet.get(8)) {
        (1, Some(4)) => vec![script::ACCEPT_V311.to_vec()],
        (1, _) => vec![script::CLOSE.to_vec()],
        _ => Vec::new(),
    });
    let fleet = fleet(
        &trust,
        &format!(
            "[endpoint.e]\nurl = 'mqtt://127.0.0.1:{port}'\n[[client]]\nid = 'x'\nendpoints = ['e']\n\
         protocol = 'auto'\nprobe = {{ kind = 'off' }}\n"
        ),
    );
    let (code, line) = told(&[&fleet, "--client", "x"]);
    assert_eq!(code, Some(0), "{line}");
    // Case 11.
    let (stage, advice) = told_of(|packet| match packet[0] >> 4 {
        1 => vec![script::ACCEPT_V5.to_vec()],
        8 => vec![script::CLOSE.to_vec()],
        _ => Vec::new(),
    });
    assert_eq!(stage, "suback");
    assert_eq!(advice, "let the broker's access rules (ACL) allow it to x: the broker closed on SUBSCRIBE cmd/#");
}

/// A proxy is called what it is, and who named it is said: a variable is not in the file that is looked at.
#[test]
fn a_proxy_that_is_in_the_way_is_named_with_its_variable() {
    let trust = Trust::new();
    let refuses = peers::serve_proxy(([127, 0, 0, 1], 1).into(), |_| Some("HTTP/1.1 403 Forbidden"));
    let mail = serve(|mut s| drop(s.write_all(b"220 mail.example ESMTP\r\n")));
    let fleet = fleet(&trust, "[endpoint.e]\nurl = 'mqtt://192.0.2.1:1883'\n[[client]]\nid = 'x'\nendpoints = ['e']\n");
    let gone = free_port();
    for (variable, value, stage, advice) in [
        (
            "all_proxy",
            format!("socks5h://{mail}"),
            "proxy",
            format!(
                "check that the SOCKS5 proxy {mail} (set by the environment variable all_proxy) is one, and that it reaches 192.0.2.1:1883"
            ),
        ),
        (
            "http_proxy",
            format!("http://{refuses}"),
            "proxy",
            format!("let the HTTP proxy {refuses} (set by the environment variable http_proxy) allow 192.0.2.1:1883"),
        ),
        (
            "http_proxy",
            format!("http://127.0.0.1:{gone}"),
            "tcp",
            format!(
                "check that the HTTP proxy 127.0.0.1:{gone} (set by the environment variable http_proxy) is running, and the port"
            ),
        ),
    ] {
        let done = Command::new(program())
            .args(["doctor", &fleet, "--format", "json"])
            .env(variable, &value)
            .output()
            .unwrap();
        let line: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!((done.status.code(), &line["failed_stage"]), (Some(3), &json!(stage)), "{line}");
        assert_eq!(line["advice"], json!(advice));
        assert_eq!(line["proxy"], json!({ "url": value, "variable": variable }));
    }
}

/// Where all is well, too: nobody may have thought of it.
#[test]
fn a_proxy_of_the_environment_is_named() {
    let broker = Mosquitto::start();
    let proxy = peers::serve_proxy(broker.address(), |_| None);
    let done = Command::new(program())
        .args(["doctor", "broker.example:1883"])
        .env("http_proxy", format!("http://{proxy}"))
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(0));
    assert_page!(String::from_utf8(done.stdout).unwrap(), @r"
    mqtt://broker.example:1883

      tcp TIME  |bar|  ADDRESS
      proxy TIME  |bar|  tunnel to broker.example:1883

      by way of     the HTTP proxy ADDRESS (set by the environment variable
                    http_proxy)

      verdict       answers after TIME
    ");
}

#[test]
fn a_broker_may_be_named_by_host_and_port() {
    let broker = Mosquitto::start();
    let place = format!("127.0.0.1:{}", broker.port());
    let (code, line) = told(&[&place, "--client", "x"]);
    assert_eq!((code, &line["url"]), (Some(0), &json!(format!("mqtt://{place}"))), "{line}");
}

/// A broker that accepts everybody in this version, gives subscriptions with `ours` in their filter the code
/// `ours`, and others the code `others`; without a code it does not answer.
fn grants(v5: bool, ours: Option<u8>, others: Option<u8>) -> u16 {
    let talk = move |mut stream: TcpStream| {
        loop {
            let mut head = [0; 2];
            if stream.read_exact(&mut head).is_err() {
                return;
            }
            let mut rest = vec![0; usize::from(head[1])]; // one byte says how long these packets are
            let _ = stream.read_exact(&mut rest);
            let is_ours = rest.windows(8).any(|w| w == b"mqfleet/");
            let answer = match (head[0] >> 4, if is_ours { ours } else { others }) {
                (1, _) if v5 => vec![0x20, 3, 0, 0, 0],
                (1, _) => vec![0x20, 2, 0, 0],
                (8, Some(code)) if v5 => vec![0x90, 4, rest[0], rest[1], 0, code],
                (8, Some(code)) => vec![0x90, 3, rest[0], rest[1], code],
                _ => continue,
            };
            let _ = stream.write_all(&answer);
        }
    };
    serve(talk).port()
}

/// In 3.1.1 there is one code for that, in 5 there are many. Nothing of it waits for the limit of 10 s, and the
/// times that are told are those that it took.
#[test]
fn what_is_refused_is_refused_at_once_in_both_versions() {
    let trust = Trust::new();
    for (version, code) in [("3.1.1", 0x80), ("5", 0x80), ("5", 0x87), ("5", 0x97), ("5", 0xa2)] {
        for (is_ours, stage, reason) in [(false, "suback", "subscription_refused"), (true, "echo", "no_echo")] {
            let port = match is_ours {
                true => grants(version == "5", Some(code), Some(1)),
                false => grants(version == "5", Some(1), Some(code)),
            };
            let fleet = fleet(
                &trust,
                &format!(
                    "[endpoint.e]\nurl = 'mqtt://127.0.0.1:{port}'\n[[client]]\nid = 'ears'\nendpoints = ['e']\n\
                 protocol = '{version}'\nsubscribe = [{{ topic = 'cmd/#', qos = 1 }}]\n"
                ),
            );
            let (status, line) = told(&[&fleet, "--client", "ears"]);
            let found = (status, &line["failed_stage"], &line["reason"]);
            assert_eq!(found, (Some(3), &json!(stage), &json!(reason)), "{version} {code:#x}: {line}");
            assert!(line["took_us"].as_u64().unwrap() < 5_000_000, "{version} {code:#x}: it waited: {line}");
            let detail = line["detail"].as_str().unwrap();
            assert!(!detail.ends_with([':', ' ']), "{detail:?}");
            assert!(line["verdict"].as_str().unwrap().contains("refused") || version == "5", "{line}");
        }
    }
}

#[test]
fn who_leaves_a_subscribe_unanswered_has_refused_nothing() {
    let trust = Trust::new();
    for version in ["3.1.1", "5"] {
        let port = grants(version == "5", Some(0), None);
        let fleet = fleet(
            &trust,
            &format!(
                "[endpoint.e]\nurl = 'mqtt://127.0.0.1:{port}'\n[[client]]\nid = 'ears'\nendpoints = ['e']\n\
             protocol = '{version}'\nsubscribe = [{{ topic = 'cmd/#', qos = 1 }}]\n"
            ),
        );
        // With less than the 10 s that a worker waits itself, and with more.
        for (limit, least) in [("2s", 1_900_000), ("20s", 9_900_000)] {
            let (status, line) = told(&[&fleet, "--client", "ears", "--timeout", limit]);
            assert_eq!((status, &line["reason"]), (Some(3), &json!("no_suback")), "{line}");
            assert_eq!(stages(&line).last(), Some(&("suback", false)), "{line}");
            assert!(line["stages_us"]["suback"].as_u64().unwrap() >= least, "{line}");
            assert!(line["advice"].as_str().unwrap().contains("without an answer"), "{line}");
        }
    }
}
