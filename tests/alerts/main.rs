//! Alerts of real fleets, told to real receivers: by webhook, by mail and by programs, over outages, deaths and silence.

mod alertmanager;
mod handling;
mod mending;
mod receivers;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use mqfleet_test_support::{
    certs::{Authority, VALID},
    fleet_file::FleetFile,
    headless::Headless,
    mosquitto::{Mosquitto, free_port},
    program,
};
use receivers::{MailServer, Manner, Receiver, silent, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

const SECRET: &str = "let-me-tell-you-7";

fn file(broker: u16, clients: usize, more: &str) -> FleetFile {
    let file = FleetFile::new(&format!(
        r#"
        [fleet]
        name = "test"
        [endpoint.eu-1]
        url = "mqtt://127.0.0.1:{broker}"
        [defaults]
        probe = {{ kind = "off" }}
        reconnect = {{ strategy = "fixed", every = "300ms" }}
        labels = {{ site = "hall-3" }}
        [[client]]
        id = "press-%02i"
        count = {clients}
        endpoints = ["eu-1"]
        {more}
        "#
    ));
    let secret = file.dir.path().join("secret");
    fs::write(&secret, format!("{SECRET}\n")).expect("a file");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("a mode");
    file
}

const DOWN: &str = r#"
    match = { label = { site = "hall-3" } }
    state = ["backoff", "failed", "held"]
    for = "1s"
    clear = { for = "1s" }
"#;

fn mqfleet(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(program()).args(args).envs(env.iter().copied()).stdin(Stdio::null()).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An agent in folders of its own, that may be killed and started again.
struct Agent {
    home: TempDir,
    file: String,
    child: Child,
}

impl Agent {
    fn start(home: TempDir, file: &FleetFile) -> Agent {
        let child = Agent::spawn(&home, file.path());
        Agent { home, file: file.path().to_owned(), child }
    }

    fn spawn(home: &TempDir, file: &str) -> Child {
        let mut command = Command::new(program());
        command.args(["agent", file, "--log"]).arg(home.path().join("log"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        for name in ["XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME"] {
            command.env(name, home.path());
        }
        command.env_remove("STATE_DIRECTORY").spawn().expect("the agent starts")
    }

    fn kill9(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is ours");
    }

    fn start_again(&mut self) {
        self.child = Agent::spawn(&self.home, &self.file);
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    fn alerts(&self) -> PathBuf {
        self.home.path().join("mqfleet/test/alerts")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] }).collect()
}

#[test]
fn a_fleet_that_is_lost_is_one_message_a_receiver_and_one_when_it_is_back_and_a_rehearsal_says_the_same() {
    let mut broker = Mosquitto::start();
    let receiver = Receiver::start();
    let more = format!(
        r#"
        [[alert]]
        name = "presses down"
        {DOWN}
        at_least = "50%"
        severity = "critical"
        notify = ["webhook.center", "exec.pager"]
        [[alert]]
        name = "nobody's"
        match = {{ id = "oven-*" }}
        state = "backoff"
        [notify.webhook.center]
        url = "http://127.0.0.1:{}/mqfleet"
        token = {{ file = "secret" }}
        group = "1s"
        [notify.exec.pager]
        run = ["./pager", "an argument"]
        group = "1s"
        "#,
        receiver.port
    );
    let file = file(broker.port(), 30, &more);
    let pager = file.dir.path().join("pager");
    let pages = file.dir.path().join("pages");
    fs::write(&pager, format!("#!/bin/sh\n{{ env; cat; }} >>{0}.$$ && mv {0}.$$ {0}.done.$$\n", pages.display()))
        .expect("a file");
    fs::set_permissions(&pager, fs::Permissions::from_mode(0o700)).expect("a mode");
    let recording = file.dir.path().join("night");
    let night = recording.to_str().expect("a path");
    let mut run = Headless::start(&["run", file.path(), "--record", night], &[("MQFLEET_TEST_SECRET", SECRET)]);
    run.wait_up(30);
    broker.kill9();
    let first = receiver.wait_for(1);
    // Whoever is told first is not the last: nothing else comes while it lasts.
    drop(run.wait_for("the alert", |heard| heard.of_type("alert").any(|line| line["status"] == "firing")));
    let body = &first[0].body;
    assert_eq!((body["version"].as_str(), body["status"].as_str()), (Some("4"), Some("firing")), "{body:#}");
    assert_eq!(body["alerts"][0]["labels"]["severity"], "critical");
    assert_eq!(body["alerts"][0]["annotations"]["clients"], "30", "{body:#}");
    let cause = body["alerts"][0]["annotations"]["cause"].as_str().expect("a cause");
    assert!(cause.contains("all 30 down"), "{cause}");
    let names = body["alerts"][0]["annotations"]["names"].as_str().expect("names");
    assert_eq!(names.split(", ").count(), 20, "{names}");
    assert_eq!((first[0].authorization.as_str(), first[0].path.as_str()), (&*format!("Bearer {SECRET}"), "/mqfleet"));
    broker.restart();
    let both = receiver.wait_for(2);
    assert_eq!(both[1].body["status"], "resolved");
    assert_eq!(both[1].body["alerts"][0]["fingerprint"], both[0].body["alerts"][0]["fingerprint"]);
    assert_eq!(both[1].body["alerts"][0]["startsAt"], both[0].body["alerts"][0]["startsAt"]);
    let is_page = |path: &PathBuf| path.to_string_lossy().contains("pages.done");
    let paged = wait_for("two pages", || {
        Some(files(file.dir.path())).filter(|all| all.iter().filter(|p| is_page(p)).count() == 2)
    });
    let page = fs::read_to_string(paged.iter().find(|path| is_page(path)).expect("a page")).expect("a file");
    assert!(page.contains("MQFLEET_NOTIFIER=exec.pager") && page.contains("\"version\":\"4\""), "{page}");
    assert!(!page.contains("MQFLEET_TEST_SECRET") && !page.contains(SECRET), "{page}");
    let lines: Vec<Value> = {
        let heard = run.wait_for("its end", |heard| heard.of_type("alert").count() == 2);
        heard.of_type("alert").cloned().collect()
    };
    assert_eq!(
        (lines[0]["clients"].as_u64(), lines[0]["alert"].as_str()),
        (Some(30), Some("presses down")),
        "{lines:#?}"
    );
    assert_eq!((lines[1]["status"].as_str(), lines[1]["first"].as_array().map(Vec::len)), (Some("resolved"), Some(0)));
    mqfleet_test_support::process::signal(run.id(), Signal::INT);
    run.wait_exit();
    assert_eq!(receiver.posted().len(), 2, "told more than once");

    // The same rules on what was recorded: the same lines, the same messages, of the same names and times.
    let said = mqfleet(&["alerts", file.path(), "--on", night, "--format", "json"], &[]);
    assert!(said.status.success(), "{}", text(&said.stderr));
    let said: Vec<Value> = text(&said.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |kind: &str| said.iter().filter(move |line| line["type"] == kind).cloned().collect::<Vec<_>>();
    assert_eq!(of("alert"), lines);
    let center: Vec<Value> = of("message").into_iter().filter(|line| line["notifier"] == "webhook.center").collect();
    let bodies: Vec<&Value> = center.iter().map(|line| &line["body"]).collect();
    assert_eq!(bodies, both.iter().map(|posted| &posted.body).collect::<Vec<_>>());
    assert_eq!(of("message").len(), 4);
    let said = text(&mqfleet(&["alerts", file.path(), "--on", night], &[]).stdout);
    assert!(
        said.contains("would tell webhook.center: [FIRING critical] test: presses down: 30 clients since "),
        "{said}"
    );
    assert!(said.contains("presses down: fired once, ") && said.contains("nobody's: never fired\n"), "{said}");
    // A replay tells of them as the live run did.
    let replayed = text(&mqfleet(&["replay", night, "--format", "json"], &[]).stdout);
    let replayed: Vec<Value> = replayed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(replayed.into_iter().filter(|line| line["type"] == "alert").collect::<Vec<_>>(), lines);
}

/// 50 rules, each about one client.
fn rules(notify: &str) -> String {
    let rule = |n: usize| {
        format!(
            "[[alert]]\nname = \"rule {n:02}\"\nmatch = {{ id = \"press-{n:02}\" }}\nstate = [\"backoff\", \"failed\", \
             \"held\"]\nfor = \"1s\"\nnotify = {notify}\n"
        )
    };
    (1..=50).map(rule).collect()
}

/// How often each rule was told, by its name and whether it fires.
fn told(texts: &[String]) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    for line in texts.iter().flat_map(|text| text.lines()).filter(|line| line.contains("FIRING rule")) {
        *told.entry(line.split(':').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    told
}

#[test]
fn a_mail_server_that_is_away_gets_all_of_it_once_also_where_the_agent_is_killed_meanwhile() {
    let mut broker = Mosquitto::start();
    let port = free_port();
    let more = format!(
        r#"
        {}
        [notify.mail.ops]
        server = "smtp://127.0.0.1:{port}"
        tls = "never"
        from = "mqfleet@example.net"
        to = ["ops@example.net"]
        group = "1s"
        "#,
        rules("\"mail.ops\"")
    );
    let file = file(broker.port(), 50, &more);
    let mut agent = Agent::start(TempDir::new().expect("a folder"), &file);
    let up = |agent: &Agent| agent.log().matches(" connected to ").count();
    wait_for("50 up", || Some(()).filter(|()| up(&agent) >= 50));
    broker.kill9();
    // The first ten are on disk by themselves, the rest wait for the brake.
    let spool = agent.alerts().join("spool/mail.ops");
    wait_for("ten messages", || Some(()).filter(|()| files(&spool).len() >= 10));
    wait_for("word of it", || Some(()).filter(|()| agent.log().contains("cannot tell mail.ops: 127.0.0.1")));
    agent.kill9();
    agent.start_again();
    // What the brake holds back follows within a minute, also after the restart.
    let spooled = || {
        let messages = files(&spool).into_iter().filter_map(|path| fs::read(path).ok());
        let messages = messages.filter_map(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        messages.map(|message| message["alerts"].as_array().map_or(0, Vec::len)).sum::<usize>()
    };
    let end = Instant::now() + Duration::from_secs(180);
    while spooled() < 50 {
        assert!(Instant::now() < end, "{} alerts are on disk", spooled());
        std::thread::sleep(Duration::from_millis(50));
    }
    // Once more in the middle of it; in the long form the server is away for ten minutes.
    agent.kill9();
    agent.start_again();
    std::thread::sleep(std::env::var("MQFLEET_ROUNDS").map_or(Duration::ZERO, |_| Duration::from_secs(600)));
    wait_for("a try", || Some(()).filter(|()| agent.log().matches("cannot tell mail.ops").count() >= 3));
    let Some(server) = MailServer::start(Manner { port, ..Manner::default() }) else { return };
    let back = Instant::now();
    let texts =
        || server.mails().iter().map(|mail| mail["text"].as_str().expect("a text").to_owned()).collect::<Vec<_>>();
    wait_for("50 alerts", || Some(()).filter(|()| told(&texts()).len() >= 50));
    eprintln!(
        "50 alerts in {} mails, {:.1} s after the server came back",
        server.mails().len(),
        back.elapsed().as_secs_f64()
    );
    assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());
    wait_for("an empty spool", || Some(()).filter(|()| files(&spool).is_empty()));
    agent.kill9();
    agent.start_again();
    // It knows whom it told: nothing comes again, and when all is well each hears so.
    broker.restart();
    let over = || {
        texts()
            .iter()
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter(|l| l.starts_with("RESOLVED rule"))
            .count()
    };
    let end = Instant::now() + Duration::from_secs(240);
    while over() < 50 {
        assert!(Instant::now() < end, "{} are over", over());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(told(&texts()).values().all(|count| *count == 1), "{:?}", told(&texts()));
    assert_eq!((told(&texts()).len(), over()), (50, 50));
    let mut ids: Vec<Value> = server.mails().iter().map(|mail| mail["id"].clone()).collect();
    let count = ids.len();
    ids.sort_by_key(|id| id.to_string());
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn who_is_silent_delays_nobody_else_and_each_try_ends() {
    let mut broker = Mosquitto::start();
    let receiver = Receiver::start();
    let (mail, web) = (silent(), silent());
    let more = format!(
        r#"
        [[alert]]
        name = "down"
        {DOWN}
        notify = ["mail.silent", "webhook.silent", "exec.stuck", "webhook.center"]
        [notify.mail.silent]
        server = "smtp://127.0.0.1:{mail}"
        from = "mqfleet@example.net"
        to = "ops@example.net"
        group = "0s"
        [notify.webhook.silent]
        url = "http://127.0.0.1:{web}/"
        group = "0s"
        [notify.exec.stuck]
        run = ["sh", "-c", "sleep 600 & sleep 600"]
        group = "0s"
        [notify.webhook.center]
        url = "http://127.0.0.1:{}/"
        group = "0s"
        "#,
        receiver.port
    );
    let file = file(broker.port(), 5, &more);
    let run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(5);
    broker.kill9();
    receiver.wait_for(1);
    let stamp = |ts: &Value| chrono::DateTime::parse_from_rfc3339(ts.as_str().expect("a time")).expect("RFC 3339");
    let fired = {
        let heard = run.wait_for("the alert", |heard| heard.of_type("alert").count() == 1);
        stamp(&heard.of_type("alert").next().expect("it")["ts"])
    };
    let told = receiver.posted()[0].wall - fired.to_utc();
    eprintln!("told {} ms after it fired, beside three who are silent", told.num_milliseconds());
    assert!(told.num_milliseconds() < 3_000);
    let is_about = |name: &'static str| {
        move |line: &Value| line["text"].as_str().is_some_and(|text| text.starts_with(&format!("cannot tell {name}")))
    };
    for name in ["mail.silent", "webhook.silent", "exec.stuck"] {
        drop(run.wait_for(name, |heard| heard.of_type("notice").any(is_about(name))));
    }
    broker.restart();
    assert_eq!(receiver.wait_for(2)[1].body["status"], "resolved");
    drop(run);
    // One by one.
    for name in ["mail.silent", "webhook.silent", "exec.stuck"] {
        let begin = Instant::now();
        let said = mqfleet(&["notify", "test", file.path(), name], &[]);
        assert_eq!(said.status.code(), Some(3), "{}", text(&said.stdout));
        assert!(begin.elapsed() < Duration::from_secs(22), "{name} took {:?}", begin.elapsed());
        assert!(text(&said.stdout).starts_with(&format!("{name}: cannot be told: ")), "{}", text(&said.stdout));
        eprintln!("{name} ends after {:?}: {}", begin.elapsed(), text(&said.stdout).trim());
    }
    let said = mqfleet(&["notify", "test", file.path(), "webhook.center"], &[]);
    assert_eq!(said.status.code(), Some(0));
    assert_eq!(
        receiver.posted().last().expect("a request").body["alerts"][0]["labels"]["alertname"],
        "mqfleet notify test"
    );
}

#[test]
fn mail_goes_by_tls_and_with_a_login_or_not_at_all() {
    let ca = Authority::new("test authority");
    let (cert, key) = ca.issue("server", "DNS:localhost", VALID);
    let mail = |port: u16, scheme: &str, password: &str, more: &str| {
        file(
            1,
            1,
            &format!(
                "[notify.mail.ops]\nserver = \"{scheme}://localhost:{port}\"\nfrom = \"mqfleet <mqfleet@example.net>\"\nto = [\"ops@example.net\", \"Night <night@example.net>\"]\nusername = \"mqfleet\"\npassword = {password}\n{more}\n"
            ),
        )
    };
    let ca_file = ca.pem();
    let trust = [("SSL_CERT_FILE", ca_file.to_str().expect("a path")), ("WRONG", "not-that-one-9")];
    let test = |file: &FleetFile, env: &[(&str, &str)]| {
        let said = mqfleet(&["notify", "test", file.path(), "--format", "json"], env);
        let line: Value = serde_json::from_str(text(&said.stdout).trim()).unwrap_or_else(|_| panic!("{said:?}"));
        assert!(!format!("{said:?}").contains(SECRET) && !format!("{said:?}").contains("not-that-one-9"));
        (said.status.code(), line["detail"].as_str().expect("a detail").to_owned())
    };
    for mode in ["smtps", "starttls"] {
        let manner = Manner { mode, identity: Some((&cert, &key)), password: SECRET, ..Manner::default() };
        let Some(server) = MailServer::start(manner) else { return };
        let scheme = if mode == "smtps" { "smtps" } else { "smtp" };
        let right = mail(server.port, scheme, "{ file = \"secret\" }", "");
        assert_eq!(test(&right, &trust), (Some(0), String::new()), "{mode}");
        let mails = wait_for("a mail", || Some(server.mails()).filter(|mails| !mails.is_empty()));
        assert_eq!((mails[0]["tls"].as_bool(), mails[0]["login"].as_bool()), (Some(true), Some(true)));
        assert_eq!(mails[0]["to"].as_array().map(Vec::len), Some(2));
        assert_eq!(mails[0]["auto"], "auto-generated");
        assert!(
            mails[0]["subject"].as_str().expect("a subject").starts_with("[FIRING info] test: mqfleet notify test"),
            "{mails:?}"
        );
        let (code, why) = test(&mail(server.port, scheme, "{ env = \"WRONG\" }", ""), &trust);
        assert!(code == Some(3) && why.contains("535"), "{why}");
        // Nobody vouches for it.
        let (code, why) = test(&right, &[]);
        assert!(code == Some(3) && why.contains("certificate verify failed"), "{why}");
        assert_eq!(server.mails().len(), 1);
    }
    // A server without STARTTLS gets no password and no mail; with tls = "never" it gets both, and that is warned of.
    let Some(plain) = MailServer::start(Manner { password: SECRET, ..Manner::default() }) else { return };
    let (code, why) = test(&mail(plain.port, "smtp", "{ file = \"secret\" }", ""), &trust);
    assert!(code == Some(3) && why.to_lowercase().contains("starttls"), "{why}");
    let never = mail(plain.port, "smtp", "{ file = \"secret\" }", "tls = \"never\"");
    assert_eq!(test(&never, &[]), (Some(0), String::new()));
    assert_eq!(wait_for("a mail", || Some(plain.mails()).filter(|mails| !mails.is_empty())).len(), 1);
    let said = mqfleet(&["check", never.path()], &[]);
    assert!(text(&said.stderr).contains("goes over the network in clear"), "{}", text(&said.stderr));
    // One that refuses says why.
    let Some(full) = MailServer::start(Manner { refuse: "452 mailbox is full", ..Manner::default() }) else { return };
    let text = format!(
        "[notify.mail.ops]\nserver = \"smtp://127.0.0.1:{}\"\ntls = \"never\"\nfrom = \"a@b\"\nto = \"c@d\"\n",
        full.port
    );
    let (code, why) = test(&file(1, 1, &text), &[]);
    assert!(code == Some(3) && why.contains("mailbox is full"), "{why}");
}

#[test]
fn what_a_receiver_refuses_is_kept_on_disk_without_any_secret_and_told_when_it_takes_it() {
    let mut broker = Mosquitto::start();
    let receiver = Receiver::start();
    receiver.answer(503);
    let more = format!(
        r#"
        [[alert]]
        name = "down"
        {DOWN}
        notify = ["webhook.center", "webhook.shy"]
        [notify.webhook.center]
        url = {{ file = "hook" }}
        username = "mqfleet"
        password = {{ file = "secret" }}
        group = "0s"
        [notify.webhook.shy]
        url = "http://127.0.0.1:{}/shy"
        group = "0s"
        resolved = false
        "#,
        receiver.port
    );
    let file = file(broker.port(), 5, &more);
    let hook = file.dir.path().join("hook");
    fs::write(&hook, format!("http://127.0.0.1:{}/T000/{SECRET}", receiver.port)).expect("a file");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o600)).expect("a mode");
    let agent = Agent::start(TempDir::new().expect("a folder"), &file);
    wait_for("5 up", || Some(()).filter(|()| agent.log().matches(" connected to ").count() >= 5));
    broker.kill9();
    wait_for("word of it", || {
        Some(()).filter(|()| agent.log().contains("cannot tell webhook.center: http://127.0.0.1"))
    });
    let spool = agent.alerts().join("spool");
    wait_for("two on disk", || Some(()).filter(|()| files(&spool).len() == 2));
    broker.restart();
    wait_for("its end", || Some(()).filter(|()| agent.log().contains("alert warning: down: over after")));
    let is_over = |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains("\"is_untold\":true"));
    wait_for("one of two", || Some(()).filter(|()| files(&spool).iter().filter(|path| is_over(path)).count() == 1));
    for path in files(agent.home.path()).into_iter().filter(|path| path.is_file()) {
        let bytes = fs::read(&path).unwrap_or_default();
        assert!(!text(&bytes).contains(SECRET), "{}", path.display());
        assert_eq!(path.metadata().map_or(0o600, |meta| meta.permissions().mode() & 0o077), 0, "{}", path.display());
    }
    receiver.answer(200);
    let posted = receiver.wait_for(2);
    let center = posted.iter().find(|posted| posted.path.starts_with("/T000/")).expect("the secret path");
    assert_eq!(center.body["status"], "resolved");
    assert!(center.body["alerts"][0]["annotations"]["untold"].is_string(), "{:#}", center.body);
    assert!(center.authorization.starts_with("Basic "));
    let shy = posted.iter().find(|posted| posted.path == "/shy").expect("the other one");
    assert_eq!(shy.body["status"], "firing");
    wait_for("an empty spool", || Some(()).filter(|()| files(&spool).is_empty()));
    assert!(agent.log().contains("takes messages again"), "{}", agent.log());
}

#[test]
fn the_console_says_how_many_alerts_fire() {
    let mut broker = Mosquitto::start();
    let file = file(broker.port(), 5, &format!("[[alert]]\nname = \"presses down\"\n{DOWN}"));
    let console = mqfleet_test_support::console::Console::start(120, 30, &["run", file.path()]);
    console.wait_text("5 up");
    broker.kill9();
    console.wait_text(" 1 alert ");
    console.wait_text("presses down: 5 clients");
    broker.restart();
    console.wait_text("presses down: over after");
}

#[test]
fn all_errors_of_rules_and_receivers_are_told_at_once_with_their_places() {
    let broken = file(
        1,
        1,
        "[[alert]]\nname = 'a'\nslwo = true\n[[alert]]\nname = 'b'\nstate = 'down'\nnotify = 'mail.ops'\n[notify.webhook.x]\nurl = 'ftp://x'\n",
    );
    let said = mqfleet(&["check", broken.path()], &[]);
    let said = (said.status.code(), text(&said.stderr));
    assert_eq!(said.0, Some(2));
    for says in [
        "did you mean `slow`?",
        "`state` cannot be \"down\"",
        "nobody to be told has the name \"mail.ops\"",
        "begins with https:// or http://",
    ] {
        assert!(said.1.contains(says), "{says}: {}", said.1);
    }
}

#[test]
fn a_program_has_been_told_when_it_ends_whatever_it_leaves_behind_and_however_the_file_is_named() {
    let pager = r#"
        [notify.exec.pager]
        run = ["./pager"]
    "#;
    let file = file(1, 1, pager);
    let script = "#!/bin/sh\ncat > told\nsleep 60 &\nexit 0\n";
    let path = file.dir.path().join("pager");
    fs::write(&path, script).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    let name = Path::new(file.path()).file_name().expect("a name");
    let begin = Instant::now();
    let mut test = Command::new(program());
    let tested = test.args(["notify", "test"]).arg(name).current_dir(file.dir.path()).output().expect("it runs");
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
    assert!(begin.elapsed() < Duration::from_secs(14), "it waited for what was left behind: {:?}", begin.elapsed());
    assert!(fs::read_to_string(file.dir.path().join("told")).expect("a message").contains("\"version\":\"4\""));
}
