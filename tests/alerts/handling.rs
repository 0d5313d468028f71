//! Mutes and acknowledgements of a real agent, by command and by key, over deaths; and what becomes of messages when the file changes.

use super::*;
use mqfleet_test_support::console::Console;

impl Agent {
    fn folders(&self) -> Vec<(&'static str, &str)> {
        let home = self.home.path().to_str().expect("a path");
        ["XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME"].map(|name| (name, home)).to_vec()
    }

    fn ctl(&self, args: &[&str]) -> (Option<i32>, String) {
        let said = mqfleet(&[&["ctl", "test"], args].concat(), &self.folders());
        (said.status.code(), text(&said.stderr))
    }

    #[track_caller]
    fn wait_log(&self, says: &str) {
        wait_for(says, || Some(()).filter(|()| self.log().contains(says)));
    }

    fn wait_up(&self, count: usize) {
        wait_for("all up", || Some(()).filter(|()| self.log().matches(" connected to ").count() >= count));
    }
}

fn one_rule(broker: u16, receiver: &Receiver) -> FleetFile {
    let more = format!(
        "[[alert]]\nname = \"presses down\"\n{DOWN}\nnotify = \"webhook.center\"\n[notify.webhook.center]\nurl = \
         \"http://127.0.0.1:{}/mqfleet\"\ngroup = \"0s\"\n",
        receiver.port
    );
    file(broker, 5, &more)
}

#[test]
fn a_rule_is_muted_and_acknowledged_by_command_and_by_key_and_a_death_changes_nothing() {
    let mut broker = Mosquitto::start();
    let receiver = Receiver::start();
    let file = one_rule(broker.port(), &receiver);
    let mut agent = Agent::start(TempDir::new().expect("a folder"), &file);
    agent.wait_up(5);
    let (code, why) = agent.ctl(&["mute", "presses up"]);
    assert!(code == Some(1) && why.contains("has no alert \"presses up\"; it has presses down"), "{why}");
    let (code, why) = agent.ctl(&["acknowledge", "presses down"]);
    assert!(code == Some(1) && why.contains("does not fire: there is nothing to acknowledge"), "{why}");
    assert_eq!(agent.ctl(&["mute", "presses down", "--for", "0s"]).0, Some(2));
    assert_eq!(agent.ctl(&["mute", "presses down"]), (Some(0), String::new()));
    agent.wait_log("presses down is muted by ");
    broker.kill9();
    agent.wait_log("alert warning: presses down: 5 clients");
    agent.kill9();
    agent.start_again();
    let restored = || agent.log().matches("presses down is muted by ").count();
    wait_for("the mute after the restart", || Some(()).filter(|()| restored() >= 2));
    assert_eq!(receiver.posted().len(), 0, "muted");
    // The screen tells of it, and ends it.
    let env = agent.folders();
    let mut console = Console::start_with(120, 30, &["attach", "test"], &env);
    console.wait_text("5 clients");
    console.press("7");
    console.wait_for("the alerts screen", |screen| {
        screen.contains("SEVERITY") && screen.contains("presses down") && screen.contains("muted until ")
    });
    console.press("m");
    console.wait_text("not muted any more");
    let posted = receiver.wait_for(1);
    assert_eq!(posted[0].body["status"], "firing");
    console
        .wait_for("who was told", |screen| screen.contains("told webhook.center ") && !screen.contains("muted until"));
    console.wait_text(" 1 alert ");
    console.press("a");
    console.wait_text("acknowledged by ");
    console.press("\r");
    console.wait_text("alert presses down");
    console.press("q");
    console.wait_exit();
    let alerts: Value = serde_json::from_slice(&wait_for("it on disk", || {
        fs::read(agent.alerts().join("alerts.json")).ok().filter(|bytes| !bytes.is_empty())
    }))
    .expect("JSON");
    assert!(alerts["firing"]["presses down"]["acknowledged"].is_string(), "{alerts:#}");
    let audit = fs::read_to_string(agent.home.path().join("mqfleet/test/audit.jsonl")).expect("an audit");
    for command in ["mute", "unmute", "acknowledge"] {
        let is_it =
            |line: &Value| line["command"] == command && line["alert"] == "presses down" && line["outcome"] == "done";
        assert!(audit.lines().any(|line| is_it(&serde_json::from_str(line).expect("JSON"))), "{command}: {audit}");
    }
    broker.restart();
    assert_eq!(receiver.wait_for(2)[1].body["status"], "resolved");
}

#[test]
fn a_rule_and_a_receiver_that_the_file_names_no_longer_leave_nobody_with_an_alert_that_fires_for_ever() {
    let mut broker = Mosquitto::start();
    let receiver = Receiver::start();
    let away = free_port();
    let text = |rule: &str, name: &str| {
        format!(
            "[[alert]]\nname = \"{rule}\"\n{DOWN}\nnotify = [\"webhook.center\", \"webhook.{name}\"]\n\
             [notify.webhook.center]\nurl = \"http://127.0.0.1:{}/\"\ngroup = \"0s\"\n\
             [notify.webhook.{name}]\nurl = \"http://127.0.0.1:{away}/\"\ngroup = \"0s\"\n",
            receiver.port
        )
    };
    let before = file(broker.port(), 5, &text("presses down", "old"));
    let mut agent = Agent::start(TempDir::new().expect("a folder"), &before);
    agent.wait_up(5);
    broker.kill9();
    receiver.wait_for(1);
    let spool = agent.alerts().join("spool/webhook.old");
    wait_for("one on disk", || Some(()).filter(|()| files(&spool).len() == 1));
    let taken = agent.alerts().join("spool/webhook.center");
    wait_for("none of the other one", || Some(()).filter(|()| files(&taken).is_empty()));
    agent.kill9();
    let after = file(broker.port(), 5, &text("presses", "new"));
    agent.file = after.path().to_owned();
    agent.start_again();
    // The one that was told hears the end of the one, and that of the other fires.
    let posted = receiver.wait_for(3);
    let mut told: Vec<(String, String)> = posted[1..]
        .iter()
        .map(|posted| &posted.body["alerts"][0])
        .map(|alert| (alert["labels"]["alertname"].to_string(), alert["status"].to_string()))
        .collect();
    told.sort();
    assert_eq!(
        told,
        [("\"presses down\"", "\"resolved\""), ("\"presses\"", "\"firing\"")].map(|(a, b)| (a.into(), b.into()))
    );
    let over = posted[1..].iter().find(|posted| posted.body["status"] == "resolved").expect("its end");
    let (first, over) = (&posted[0].body["alerts"][0], &over.body["alerts"][0]);
    assert_eq!((&over["fingerprint"], &over["startsAt"]), (&first["fingerprint"], &first["startsAt"]));
    agent.wait_log("1 message waits for webhook.old, whom the fleet file does not name any more");
    agent.wait_log("webhook.old was told that presses down fires, and cannot be told that it is over");
    assert_eq!(files(&spool).len(), 1, "it is left for who has the name again");
}

#[test]
fn what_is_refused_for_good_is_told_and_tried_ever_more_seldom() {
    let mut broker = Mosquitto::start();
    let receiver = Receiver::start();
    receiver.answer(400);
    let Some(server) = MailServer::start(Manner { refuse: "554 not for us", ..Manner::default() }) else { return };
    let more = format!(
        "[[alert]]\nname = \"presses down\"\n{DOWN}\nnotify = [\"webhook.center\", \"mail.ops\"]\n[notify.webhook.center]\nurl = \
         \"http://127.0.0.1:{}/mqfleet\"\ngroup = \"0s\"\n[notify.mail.ops]\nserver = \"smtp://127.0.0.1:{}\"\ntls = \
         \"never\"\nfrom = \"a@b\"\nto = \"c@d\"\ngroup = \"0s\"\n",
        receiver.port, server.port
    );
    let file = file(broker.port(), 5, &more);
    let agent = Agent::start(TempDir::new().expect("a folder"), &file);
    agent.wait_up(5);
    broker.kill9();
    agent.wait_log("webhook.center refuses a message: http://127.0.0.1");
    agent.wait_log("it is tried again, ever more seldom and for 24 h: [FIRING warning] test: presses down");
    agent.wait_log("mail.ops refuses a message: 127.0.0.1");
    assert!(agent.log().contains("not for us"), "{}", agent.log());
    // What is wrong with how it is asked is another matter.
    receiver.answer(401);
    agent.wait_log("it answers 401: it does not take these credentials; it is tried again, ever more seldom");
    receiver.answer(200);
    let posted = receiver.wait_for(1);
    assert_eq!(posted[0].body["status"], "firing");
    agent.wait_log("webhook.center was told that presses down fires");
    let begin = Instant::now();
    let asked = receiver.asked();
    eprintln!("asked {asked} times in {:.0} s", begin.elapsed().as_secs_f64());
    assert!(asked <= 6, "asked {asked} times");
}
