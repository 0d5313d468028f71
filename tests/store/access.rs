//! Who may do what in a store: users as `store acl` prints them, command by command; passwords and TLS.

use std::{fs, os::unix::fs::PermissionsExt};

use mqfleet_test_support::{
    certs::{Authority, VALID},
    mosquitto::{Mosquitto, free_port},
    process, redis,
};
use rustix::process::Signal;

use super::*;

/// The users of fleet `plant`, made from what the program prints, with these passwords.
fn make_users(redis: &Redis) {
    let printed = mqfleet(&["store", "acl", "plant"]);
    assert!(printed.status.success(), "{}", said(&printed));
    for (line, password) in said(&printed).lines().zip(["agents-own", "lookers-own"]) {
        let words: Vec<String> = line.split(' ').map(|word| word.replace("CHANGE-ME", password)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(redis.cli(&words), "OK", "{line}");
    }
}

/// What the server says to a command of a user.
fn as_user(redis: &Redis, user: &str, password: &str, words: &[&str]) -> String {
    let output = redis.command().args(["--no-auth-warning", "--user", user, "--pass", password]).args(words).output();
    said(&output.expect("redis-cli runs"))
}

#[test]
fn each_user_may_do_what_it_needs_and_nothing_else() {
    if !redis::is_there() {
        return;
    }
    let (broker, redis) = (Mosquitto::start(), Redis::start());
    make_users(&redis);
    let file = FleetFile::new(&text(
        broker.port(),
        "press",
        3,
        &redis.url(),
        "hall-3",
        "username = \"mqfleet\"\npassword = { file = \"pw\" }",
    ));
    let password = file.dir.path().join("pw");
    fs::write(&password, "agents-own\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let agent = agent(&file);
    agent.wait_up(3);
    wait_rows_up(&redis, "hall-3", 3);
    let check = mqfleet(&["store", "check", file.path()]);
    assert!(check.status.success(), "{}", said(&check));
    assert_eq!(redis.cli(&["ACL", "LOG"]), "", "nothing that it does is refused");

    let listed = Command::new(program())
        .args([
            "ls",
            "--store",
            &format!("{}/plant", redis.url()),
            "--username",
            "mqfleet-look",
            "--password-env",
            "PW",
        ])
        .env("PW", "lookers-own")
        .output()
        .expect("it runs");
    assert_eq!(said(&listed).lines().count(), 4, "{}", said(&listed));
    assert_eq!(redis.cli(&["ACL", "LOG"]), "");

    let (rows, other) = ("mqfleet:{plant}:rows:hall-3", "mqfleet:{other}:rows:hall-3");
    redis.cli(&["HSET", other, "x", "{}"]);
    // What both may, what an agent alone may, and what neither may.
    let both: &[&[&str]] = &[
        &["HGET", rows, "press-0001"],
        &["HGETALL", rows],
        &["HSCAN", rows, "0"],
        &["HLEN", rows],
        &["HGETALL", "mqfleet:{plant}:agents"],
        &["MGET", "mqfleet:{plant}:agent:hall-3"],
        &["XREAD", "STREAMS", "mqfleet:{plant}:events", "0"],
        &["XRANGE", "mqfleet:{plant}:events", "-", "+", "COUNT", "1"],
        &["TIME"],
        &["INFO", "memory"],
        &["PING"],
    ];
    let agents: &[&[&str]] = &[
        &["HSET", "mqfleet:{plant}:rows:try", "x", "{}"],
        &["HDEL", "mqfleet:{plant}:rows:try", "x"],
        &["SET", "mqfleet:{plant}:agent:try", "1", "PX", "10"],
        &["XADD", "mqfleet:{plant}:events", "*", "lines", "x"],
        &["PUBLISH", "mqfleet:{plant}:changes", "x"],
        &["EVAL", "return redis.call('HLEN', KEYS[1])", "1", rows],
        &["UNLINK", "mqfleet:{plant}:rows:try"],
    ];
    let nobody: &[&[&str]] = &[
        &["FLUSHALL"],
        &["FLUSHDB"],
        &["KEYS", "*"],
        &["SCAN", "0"],
        &["RANDOMKEY"],
        &["DBSIZE"],
        &["CONFIG", "GET", "*"],
        &["CONFIG", "SET", "maxmemory", "1"],
        &["ACL", "LIST"],
        &["ACL", "SETUSER", "me", "on", "allcommands"],
        &["CLIENT", "LIST"],
        &["CLIENT", "KILL", "ID", "1"],
        &["MONITOR"],
        &["SHUTDOWN"],
        &["SAVE"],
        &["SCRIPT", "FLUSH"],
        &["FUNCTION", "FLUSH"],
        &["REPLICAOF", "NO", "ONE"],
        &["SWAPDB", "0", "1"],
        &["MIGRATE", "127.0.0.1", "1", rows, "0", "1"],
        &["HGET", other, "x"],
        &["HSET", other, "x", "{}"],
        &["HGETALL", "mqfleet:{other}:agents"],
        &["UNLINK", other],
        &["RENAME", rows, other],
        &["COPY", other, "mqfleet:{plant}:rows:try"],
        &["PUBLISH", "mqfleet:{other}:changes", "x"],
        &["SUBSCRIBE", "mqfleet:{other}:changes"],
        &["EVAL", "return redis.call('HSET', KEYS[1], 'x', 'y')", "1", other],
        &["EVAL", "return redis.call('HSET', 'mqfleet:{other}:rows:hall-3', 'x', 'y')", "0"],
        &["EVAL", "return redis.call('FLUSHALL')", "0"],
    ];
    let refused = |user: &str, password: &str, words: &[&str]| {
        let answer = as_user(&redis, user, password, words);
        (
            answer.contains("NOPERM")
                || answer.contains("no permissions")
                || answer.contains("user executing the script can't"),
            answer,
        )
    };
    for (user, password, may, may_not) in [
        ("mqfleet", "agents-own", [both, agents].concat(), nobody.to_vec()),
        ("mqfleet-look", "lookers-own", both.to_vec(), [agents, nobody].concat()),
    ] {
        for words in may {
            let (is_refused, answer) = refused(user, password, words);
            assert!(!is_refused && !answer.contains("ERR"), "{user}: {words:?}: {answer}");
        }
        for words in may_not {
            let (is_refused, answer) = refused(user, password, words);
            assert!(is_refused, "{user}: {words:?}: {answer}");
        }
    }
    assert_eq!(redis.cli(&["HGET", other, "x"]), "{}", "nobody has changed it");
    drop(agent);
}

#[test]
fn a_password_that_is_wrong_is_said_and_one_that_is_mended_is_taken() {
    if !redis::is_there() {
        return;
    }
    let (broker, redis) = (Mosquitto::start(), Redis::with(&["requirepass store-own"]));
    let file = FleetFile::new(&text(broker.port(), "press", 2, &redis.url(), "hall-3", "password = { file = \"pw\" }"));
    let password = file.dir.path().join("pw");
    fs::write(&password, "hunter2\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let check = said(&mqfleet(&["store", "check", file.path()]));
    assert!(check.contains("it does not take this user name and password") && !check.contains("hunter2"), "{check}");
    let none = said(&mqfleet(&["ls", "--store", &format!("{}/plant", redis.url())]));
    assert!(none.contains("it wants a password"), "{none}");
    let agent = agent(&file);
    agent.wait_up(2);
    let told = wait_notice(&agent, "the store is not to be had");
    assert!(told.contains("it does not take this user name and password"), "{told}");
    fs::write(&password, "store-own\n").unwrap();
    wait_notice(&agent, "the store is back after ");
    let check = mqfleet(&["store", "check", file.path()]);
    assert_eq!(check.status.code(), Some(0), "{}", said(&check));
    assert!(
        agent
            .heard()
            .lines
            .iter()
            .all(|line| !line.to_string().contains("hunter2") && !line.to_string().contains("store-own"))
    );
}

#[test]
fn over_tls_the_server_is_verified() {
    if !redis::is_there() {
        return;
    }
    let authority = Authority::new("Store CA");
    let (certificate, key) = authority.issue("store", "DNS:localhost,IP:127.0.0.1", VALID);
    let (broker, tls_port) = (Mosquitto::start(), free_port());
    let redis = Redis::with(&[
        &format!("tls-port {tls_port}"),
        &format!("tls-cert-file {}", certificate.display()),
        &format!("tls-key-file {}", key.display()),
        &format!("tls-ca-cert-file {}", authority.pem().display()),
        "tls-auth-clients no",
    ]);
    let url = format!("rediss://127.0.0.1:{tls_port}");
    let ca_file = format!("ca_file = \"{}\"", authority.pem().display());
    let file = FleetFile::new(&text(broker.port(), "press", 3, &url, "hall-3", &ca_file));
    let agent = agent(&file);
    agent.wait_up(3);
    wait_rows_up(&redis, "hall-3", 3);
    let place = format!("{url}/plant");
    let ca = authority.pem();
    let listed = mqfleet(&["ls", "--store", &place, "--ca-file", ca.to_str().unwrap()]);
    assert_eq!(said(&listed).lines().count(), 4, "{}", said(&listed));
    let unknown = mqfleet(&["ls", "--store", &place]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(said(&unknown).contains("certificate"), "{}", said(&unknown));
    drop(agent);
}

#[test]
fn in_a_cluster_the_node_is_found_that_has_the_keys() {
    if !redis::is_there() {
        return;
    }
    let broker = Mosquitto::start();
    let nodes = [0, 1].map(|_| Redis::with(&["cluster-enabled yes", &format!("cluster-port {}", free_port())]));
    assert_eq!(nodes[0].cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]), "OK");
    assert_eq!(nodes[1].cli(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]), "OK");
    let bus = nodes[1].cli(&["CONFIG", "GET", "cluster-port"]);
    let (port, bus) = (nodes[1].port().to_string(), bus.lines().last().expect("a port").to_owned());
    assert_eq!(nodes[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]), "OK");
    let begin = Instant::now();
    while !nodes.iter().all(|node| node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")) {
        assert!(begin.elapsed() < SOON, "{}", nodes[0].cli(&["CLUSTER", "INFO"]));
        std::thread::sleep(Duration::from_millis(50));
    }
    let slot: u32 = nodes[0].cli(&["CLUSTER", "KEYSLOT", "mqfleet:{plant}:agents"]).parse().expect("a slot");
    let (owner, other) = if slot < 8_192 { (&nodes[0], &nodes[1]) } else { (&nodes[1], &nodes[0]) };
    let file = file(broker.port(), 3, &other.url(), "hall-3");
    let agent = agent(&file);
    agent.wait_up(3);
    wait_rows_up(owner, "hall-3", 3);
    let listed = mqfleet(&["ls", "--store", &format!("{}/plant", other.url())]);
    assert_eq!(said(&listed).lines().count(), 4, "{}", said(&listed));
    // Another node has the keys from now on, moved by hand while nobody writes.
    process::signal(agent.id(), Signal::STOP);
    assert_eq!(owner.cli(&["FLUSHALL"]), "OK");
    let ids = [owner, other].map(|node| node.cli(&["CLUSTER", "MYID"]));
    for node in [other, owner] {
        assert_eq!(node.cli(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &ids[1]]), "OK");
    }
    process::signal(agent.id(), Signal::CONT);
    wait_rows_up(other, "hall-3", 3);
}
