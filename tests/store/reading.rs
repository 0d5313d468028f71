//! What other programs read of a store, by redis-cli alone, and what `ls --store` and `store` say of it.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc::channel,
};

use mqfleet_test_support::{mosquitto::Mosquitto, process, redis};
use rustix::process::Signal;

use super::*;

#[test]
fn redis_cli_alone_reads_rows_and_hears_of_changes() {
    if !redis::is_there() {
        return;
    }
    let (mut broker, redis) = (Mosquitto::start(), Redis::start());
    // Who subscribes before anything happens.
    let mut subscriber = redis.command();
    subscriber.args(["SUBSCRIBE", "mqfleet:{plant}:changes"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut subscriber = subscriber.spawn().expect("redis-cli");
    let out = BufReader::new(subscriber.stdout.take().expect("a pipe"));
    let (sender, published) = channel();
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    assert_eq!(published.recv_timeout(SOON).expect("it subscribes"), "subscribe");

    let file = file(broker.port(), 5, &redis.url(), "hall-3");
    let mut agent = agent(&file);
    agent.wait_up(5);
    wait_rows_up(&redis, "hall-3", 5);
    let row: Value = serde_json::from_str(&redis.cli(&["HGET", "mqfleet:{plant}:rows:hall-3", "press-0002"])).unwrap();
    for (key, value) in [
        ("client", "press-0002"),
        ("agent", "hall-3"),
        ("endpoint", "eu-1"),
        ("badge", "up"),
        ("state", "up"),
        ("reason", "connected"),
    ] {
        assert_eq!(row[key], value, "{row}");
    }
    assert_eq!(row["labels"]["site"], "hall-3");
    assert!(chrono::DateTime::parse_from_rfc3339(row["since"].as_str().expect("a time")).is_ok(), "{row}");
    // The same as `ls` has, and it is written anew when the broker has answered.
    wait_rows(&redis, "hall-3", "an answer", |rows| rows["press-0002"]["latency_us"].as_u64().is_some());
    let entry: Value = serde_json::from_str(&redis.cli(&["HGET", "mqfleet:{plant}:agents", "hall-3"])).unwrap();
    assert_eq!((&entry["clients"], &entry["pid"]), (&5.into(), &agent.id().into()), "{entry}");
    assert_eq!(redis.cli(&["EXISTS", "mqfleet:{plant}:agent:hall-3"]), "1");

    let from = redis.cli(&["XREVRANGE", "mqfleet:{plant}:events", "+", "-", "COUNT", "1"]);
    let from = from.lines().next().expect("an ID").to_owned();
    broker.kill9();
    wait_rows(&redis, "hall-3", "nobody up", |rows| rows.values().all(|row| row["state"] != "up"));
    let read = redis.cli(&["XREAD", "STREAMS", "mqfleet:{plant}:events", &from]);
    let losses = |text: &str| -> Vec<Value> {
        let lines = text.lines().filter_map(|line| serde_json::from_str(line.trim()).ok());
        lines.filter(|line: &Value| line["type"] == "state" && line["from"] == "up").collect()
    };
    let lost = losses(&read);
    assert_eq!(lost.len(), 5, "{read}");
    let mut clients: Vec<&str> = lost.iter().map(|line| line["client"].as_str().expect("an ID")).collect();
    clients.sort_unstable();
    assert_eq!((clients[0], clients[4]), ("press-0001", "press-0005"));
    assert!(lost.iter().all(|line| line["agent"] == "hall-3" && line["labels"]["site"] == "hall-3"), "{lost:?}");
    // Word for word what the program says itself, and what was published.
    let heard = agent.heard();
    let own: Vec<&Value> = heard.of_type("state").filter(|line| line["from"] == "up").collect();
    for line in &lost {
        let same =
            own.iter().any(|own| ["ts", "client", "to", "reason", "detail"].iter().all(|key| own[key] == line[key]));
        assert!(same, "{line} is none of {own:?}");
    }
    drop(heard);
    let mut told = Vec::new();
    while told.len() < 5 {
        told.extend(losses(&published.recv_timeout(SOON).expect("it is published")));
    }
    let sort = |mut lines: Vec<Value>| {
        lines.sort_by_key(|line| line["client"].to_string());
        lines
    };
    assert_eq!(sort(told), sort(lost));
    let _ = subscriber.kill();
    let _ = subscriber.wait();
    // Its end is told at once: what the rows say is what was known last.
    process::signal(agent.id(), Signal::TERM);
    agent.wait_exit();
    assert_eq!(redis.cli(&["EXISTS", "mqfleet:{plant}:agent:hall-3"]), "0");
    assert_eq!(rows(&redis, "hall-3").len(), 5);
}

#[test]
fn who_leaves_the_fleet_file_leaves_the_store() {
    if !redis::is_there() {
        return;
    }
    let (broker, redis) = (Mosquitto::start(), Redis::start());
    let file = file(broker.port(), 4, &redis.url(), "hall-3");
    let folder = file.dir.path().join("folders");
    let mut agent = Command::new(program());
    agent.args(["agent", file.path()]).env("XDG_RUNTIME_DIR", &folder).env("XDG_STATE_HOME", &folder);
    let mut agent = agent.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("the agent starts");
    wait_rows_up(&redis, "hall-3", 4);
    let reload = |text: &str| {
        std::fs::write(file.path(), text).unwrap();
        process::signal(agent.id(), Signal::HUP);
    };
    let text = std::fs::read_to_string(file.path()).unwrap();
    reload(&text.replace("count = 4", "count = 2\nstart = 2"));
    wait_rows(&redis, "hall-3", "two rows", |rows| {
        rows.keys().collect::<Vec<_>>() == ["press-0002", "press-0003"] && rows.values().all(|row| row["state"] == "up")
    });
    // Labels are written although nobody connects anew.
    reload(&text.replace("count = 4", "count = 2\nstart = 2").replace("site = \"hall-3\"", "site = \"hall-4\""));
    wait_rows(&redis, "hall-3", "other labels", |rows| {
        rows.len() == 2 && rows.values().all(|row| row["labels"]["site"] == "hall-4")
    });
    reload(&text);
    wait_rows_up(&redis, "hall-3", 4);
    process::signal(agent.id(), Signal::TERM);
    agent.wait().expect("it is ours");
}

#[test]
fn all_agents_of_a_fleet_are_listed_and_who_is_gone_is_unknown() {
    if !redis::is_there() {
        return;
    }
    let (broker, redis) = (Mosquitto::start(), Redis::start());
    let files = [("press", "hall-3", 3), ("oven", "hall-4", 2)]
        .map(|(id, agent, count)| FleetFile::new(&text(broker.port(), id, count, &redis.url(), agent, "")));
    let mut agents = files.each_ref().map(agent);
    agents[0].wait_up(3);
    agents[1].wait_up(2);
    wait_rows_up(&redis, "hall-3", 3);
    wait_rows_up(&redis, "hall-4", 2);
    let url = format!("{}/plant", redis.url());
    let json = |more: &[&str]| -> Vec<Value> {
        let listed = mqfleet(&[&["ls", "--store", &url, "--format", "json"], more].concat());
        assert!(listed.status.success(), "{}", said(&listed));
        let text = String::from_utf8(listed.stdout).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let all = json(&[]);
    assert_eq!(all.len(), 5);
    let as_kept = rows(&redis, "hall-3");
    assert_eq!(all[0]["client"], as_kept["press-0001"]["client"]);
    for (query, count) in [
        ("state:up", 5),
        ("id:oven-*", 2),
        ("endpoint:hall-3", 3),
        ("label.site:hall-3 -id:oven", 3),
        ("for<1h", 5),
        ("reason:connected", 5),
        ("protocol:5", 0),
        ("p99>1h", 0),
    ] {
        assert_eq!(json(&["--where", query]).len(), count, "{query}");
    }
    let table = said(&mqfleet(&["ls", "--store", &url]));
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("STATE  CLIENT      AGENT   ENDPOINT  LATENCY  RECONN"), "{table}");
    assert!(lines[1].starts_with("up     press-0001  hall-3  eu-1"), "{table}");
    // The fleet file says the same place.
    assert_eq!(said(&mqfleet(&["ls", "--store", files[0].path(), "--where", "id:oven"])).lines().count(), 3);

    let begin = Instant::now();
    let text = loop {
        let check = mqfleet(&["store", "check", files[0].path()]);
        let text = said(&check);
        assert_eq!(check.status.code(), Some(0), "{text}");
        // What agents say of themselves they say every second.
        if text.contains("agent hall-3: here, 3 of 3") && text.contains("agent hall-4: here, 2 of 2") {
            break text;
        }
        assert!(begin.elapsed() < SOON, "{text}");
        std::thread::sleep(Duration::from_millis(50));
    };
    for words in [
        "Redis ",
        "maxmemory-policy noeviction",
        "an agent hall-3 can write to fleet plant",
        "agent hall-4: here, 2 of 2",
    ] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    let alive = mqfleet(&["store", "forget", &url, "hall-4"]);
    assert!(!alive.status.success() && said(&alive).contains("is alive (process "), "{}", said(&alive));

    // Killed: nobody says so, and after its lease nobody takes its rows for true.
    process::signal(agents[1].id(), Signal::KILL);
    agents[1].wait_exit();
    let begin = Instant::now();
    let gone = loop {
        let gone = json(&["--where", "state:unknown"]);
        if gone.len() == 2 {
            break gone;
        }
        assert!(begin.elapsed() < SOON, "not unknown: {gone:?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    for row in &gone {
        assert_eq!((&row["state"], &row["was"], &row["badge"]), (&"unknown".into(), &"up".into(), &"unk".into()));
        assert!(row.get("latency_us").is_none() && row["agent"] == "hall-4", "{row}");
    }
    assert_eq!(json(&["--where", "state:up"]).len(), 3, "who is there stays");
    let table = mqfleet(&["ls", "--store", &url, "--where", "id:oven-0001"]);
    assert!(said(&table).contains("its agent is gone, it was up"), "{}", said(&table));
    assert!(said(&table).contains("warning: agent hall-4 (process "), "{}", said(&table));
    assert_eq!(mqfleet(&["store", "check", &url]).status.code(), Some(3));
    let forgotten = mqfleet(&["store", "forget", &url, "hall-4"]);
    assert!(said(&forgotten).contains("agent hall-4 of fleet plant is forgotten, with the rows of 2 clients"));
    assert_eq!((json(&[]).len(), mqfleet(&["store", "check", &url]).status.code()), (3, Some(0)));
    let none = mqfleet(&["store", "forget", &url, "hall-4"]);
    assert!(said(&none).contains("no agent hall-4 in the store; there are: hall-3"), "{}", said(&none));
}

#[test]
fn what_cannot_be_is_said_and_no_password_is_an_argument() {
    let url = "redis://127.0.0.1:1/plant";
    for (args, code, words) in [
        (&["ls", "--store", "redis://u:hunter2@h/plant"][..], 2, "a URL here has no user"),
        (&["ls", "--store", "redis://127.0.0.1:1"], 2, "which fleet?"),
        (&["ls", "--store", "http://127.0.0.1:1"], 2, "\"http://\" is unknown"),
        (&["ls", "--store", url], 1, "connection refused"),
        (&["ls", "plant", "--store", url], 2, "cannot be used with"),
        (&["ls", "--username", "u"], 2, "go with --store"),
        (&["ls", "--store", url, "--username", "u"], 2, "goes with --password-env"),
        (&["store", "check", "/no/such/file"], 2, "/no/such/file"),
        (&["store", "check", url, "--ca-file", "ca.pem"], 2, "without TLS there is no certificate"),
        (&["store", "acl", "plant", "--user", "a b"], 2, "no spaces"),
    ] {
        let output = mqfleet(args);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(words) && !text.contains("hunter2"), "{args:?}: {text}");
    }
    let broker = Mosquitto::start();
    let without = FleetFile::presses(broker.port(), 1);
    assert!(said(&mqfleet(&["ls", "--store", without.path()])).contains("has no [store]"));
}
