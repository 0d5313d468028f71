//! Recovery for real: what mends a broker is run, its clients come back by it, and who is told hears what was tried.

use super::*;

/// A program beside the fleet file.
fn script(file: &FleetFile, name: &str, text: &str) {
    let path = file.dir.path().join(name);
    fs::write(&path, format!("#!/bin/sh\ncd {}\n{text}", file.dir.path().display())).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

fn audit(agent: &Agent) -> Vec<Value> {
    let text = fs::read_to_string(agent.home.path().join("mqfleet/test/audit.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_broker_that_serves_again_only_after_the_program_ran_and_the_messages_tell_both_steps_and_how_long_it_took() {
    let mut broker = Mosquitto::start();
    let receiver = Receiver::start();
    let Some(server) = MailServer::start(Manner::default()) else { return };
    let more = format!(
        r#"
        [[alert]]
        name = "presses down"
        {DOWN}
        notify = ["webhook.center", "mail.ops"]
        recover = [{{ action = "reconnect", after = "1s" }}, {{ run = ["./mend", "%f"], after = "3s", timeout = "2m" }}]
        [notify.webhook.center]
        url = "http://127.0.0.1:{}/mqfleet"
        group = "0s"
        [notify.mail.ops]
        server = "smtp://127.0.0.1:{}"
        tls = "never"
        from = "mqfleet@example.net"
        to = "ops@example.net"
        group = "0s"
        "#,
        receiver.port, server.port
    );
    let file = file(broker.port(), 5, &more);
    let at = |name: &str| file.dir.path().join(name);
    // It has done its work once the broker serves.
    script(&file, "mend", "cat >told\nenv >env\necho \"$@\" >>runs\nuntil [ -e served ]; do sleep 0.05; done\n");
    let agent = Agent::start(TempDir::new().expect("a folder"), &file);
    wait_for("5 up", || Some(()).filter(|()| agent.log().matches(" connected to ").count() >= 5));
    broker.kill9();
    let lost = Instant::now();
    wait_for("the program", || Some(()).filter(|()| at("runs").exists()));
    assert!(agent.log().contains("recovery of presses down: reconnected 5 clients"), "{}", agent.log());
    assert_eq!(receiver.posted().len(), 1, "it fires still");
    broker.restart();
    fs::write(at("served"), "").expect("a file");
    let posted = receiver.wait_for(2);
    let outage = lost.elapsed();
    let over = &posted[1].body;
    assert_eq!(over["status"], "resolved", "{over:#}");
    let tried = over["alerts"][0]["annotations"]["recovery"].as_str().expect("what was tried");
    let steps: Vec<&str> = tried.strip_prefix("recovery: ").expect("steps").split("; ").collect();
    assert!(matches!(steps[..], [_, _]), "{tried}");
    assert!(steps[0].starts_with("reconnected 5 clients at ") && steps[0].ends_with(" UTC"), "{tried}");
    assert!(steps[1].starts_with("ran ") && steps[1].contains("/mend: exit 0 after "), "{tried}");
    // The length of the outage, to a second and the calm.
    let begin = &over["alerts"][0]["startsAt"];
    let time = |of: &Value| chrono::DateTime::parse_from_rfc3339(of.as_str().expect("a time")).expect("RFC 3339");
    let lasted = (time(&over["alerts"][0]["endsAt"]) - time(begin)).num_milliseconds() as f64 / 1e3;
    eprintln!("{lasted:.1} s are told of an outage of {:.1} s; {tried}", outage.as_secs_f64());
    assert!(lasted > 3.0 && lasted < outage.as_secs_f64() + 1.0, "{lasted}");
    let mails = wait_for("two mails", || Some(server.mails()).filter(|mails| mails.len() >= 2));
    let text = mails[1]["text"].as_str().expect("a text");
    assert!(text.contains(tried) && text.contains("presses down: over, was at most 5 clients, "), "{text}");
    // The program was told of whom, and knows nothing of ours.
    let told: Value = serde_json::from_str(&fs::read_to_string(at("told")).expect("a body")).expect("JSON");
    assert_eq!((told["status"].as_str(), told["version"].as_str()), (Some("firing"), Some("4")));
    assert_eq!(told["alerts"][0]["annotations"]["clients"], "5");
    let env = fs::read_to_string(at("env")).expect("an environment");
    for line in ["MQFLEET_ALERT=presses down", "MQFLEET_CLIENTS=5", "MQFLEET_STEP=2", "MQFLEET_FLEET=test"] {
        assert!(env.lines().any(|is| is == line), "{line}: {env}");
    }
    assert!(!env.contains("XDG_STATE_HOME"), "{env}");
    assert_eq!(fs::read_to_string(at("runs")).expect("runs"), "test\n", "once");
    // And each step is in the audit.
    let steps: Vec<(Value, Value)> = audit(&agent)
        .into_iter()
        .filter(|line| line["alert"] == "presses down")
        .map(|line| (line["command"].clone(), line["outcome"].clone()))
        .collect();
    let [(reconnect, done), (run, started), (_, ended)] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!((reconnect.as_str(), done.as_str()), (Some("reconnect"), Some("done: reconnected 5 clients")));
    assert!(run == "run" && started.as_str().is_some_and(|text| text.starts_with("started: runs ")), "{steps:?}");
    assert!(ended.as_str().is_some_and(|text| text.contains("exit 0 after ")), "{steps:?}");
}

#[test]
fn a_rehearsal_tells_which_recovery_would_have_run_and_runs_nothing() {
    let mut broker = Mosquitto::start();
    let receiver = Receiver::start();
    let more = format!(
        r#"
        [[alert]]
        name = "presses down"
        {DOWN}
        notify = "webhook.center"
        recover = [{{ run = ["./mend"], after = "1s" }}, {{ action = "reconnect", after = "2s" }}]
        [notify.webhook.center]
        url = "http://127.0.0.1:{}/mqfleet"
        group = "0s"
        "#,
        receiver.port
    );
    let file = file(broker.port(), 5, &more);
    script(&file, "mend", "echo run >>runs\necho 'no way to mend it' >&2\nexit 3\n");
    let runs = file.dir.path().join("runs");
    let recording = file.dir.path().join("night");
    let night = recording.to_str().expect("a path");
    let mut run = Headless::start(&["run", file.path(), "--record", night], &[]);
    run.wait_up(5);
    broker.kill9();
    let done = |line: &Value| line["action"] == "reconnect" && line["status"] == "done";
    drop(run.wait_for("both steps", |heard| heard.of_type("recovery").any(done)));
    broker.restart();
    receiver.wait_for(2);
    let steps: Vec<Value> = run.heard().of_type("recovery").cloned().collect();
    let failed = steps.iter().find(|line| line["status"] == "failed").expect("it failed");
    assert_eq!((failed["step"].as_u64(), failed["alert"].as_str()), (Some(1), Some("presses down")), "{failed}");
    assert!(failed["text"].as_str().is_some_and(|text| text.contains("exit 3") && text.contains("no way to mend it")));
    mqfleet_test_support::process::signal(run.id(), Signal::INT);
    run.wait_exit();
    assert_eq!(fs::read_to_string(&runs).expect("runs"), "run\n");
    let said = mqfleet(&["alerts", file.path(), "--on", night, "--format", "json"], &[]);
    assert!(said.status.success(), "{}", text(&said.stderr));
    let said: Vec<Value> = text(&said.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let would = said.iter().filter(|line| line["type"] == "recovery").collect::<Vec<_>>();
    let actions: Vec<_> = would.iter().map(|line| (line["action"].as_str(), line["status"].as_str())).collect();
    assert_eq!(actions, [(Some("run"), Some("would")), (Some("reconnect"), Some("would"))], "{would:?}");
    assert_eq!(would[1]["text"], "would reconnect 5 clients");
    // What would have been sent is what was, with what was tried in that night.
    let bodies: Vec<&Value> = said.iter().filter(|line| line["type"] == "message").map(|line| &line["body"]).collect();
    assert_eq!(bodies, receiver.posted().iter().map(|posted| &posted.body).collect::<Vec<_>>());
    assert_eq!(fs::read_to_string(&runs).expect("runs"), "run\n", "the rehearsal ran it");
    let said = text(&mqfleet(&["alerts", file.path(), "--on", night], &[]).stdout);
    assert!(
        said.contains(" recovery of presses down: would run ") && said.contains("; 2 steps of recovery\n"),
        "{said}"
    );
}
