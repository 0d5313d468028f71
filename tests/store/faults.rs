//! What becomes of a store while clients change all the time (killed, emptied, failed over, full, frozen): no client notices, and its rows are right soon after it is back.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use mqfleet_test_support::{mosquitto::Mosquitto, redis};

use super::*;

/// Clients that must not be disturbed, and others that change all the time.
const CALM: usize = 100;
const WILD: usize = 40;

/// A broker that accepts everybody, and ends each connection at once; until it is told to end itself.
fn wild_broker() -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let is_over = Arc::new(AtomicBool::new(false));
    let over = is_over.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            if over.load(Relaxed) {
                return;
            }
            std::thread::spawn(move || {
                let mut packet = [0; 512];
                if stream.read(&mut packet).is_ok_and(|count| count > 0) {
                    let _ = stream.write_all(&[0x20, 0x03, 0, 0, 0]); // CONNACK (MQTT 5.0 §3.2)
                }
            });
        }
    });
    (port, is_over)
}

struct Field {
    _broker: Mosquitto,
    agent: Headless,
    wild_port: u16,
    wild_is_over: Arc<AtomicBool>,
    _file: FleetFile,
}

impl Field {
    /// An agent `hall-3` whose rows are all in the store; `redis` is where that is read.
    fn new(redis: &Redis, url: &str) -> Field {
        let broker = Mosquitto::start();
        let (wild_port, wild_is_over) = wild_broker();
        let wild = format!(
            "[endpoint.eu-2]\nurl = \"mqtt://127.0.0.1:{wild_port}\"\n[[client]]\nid = \"wild-%04i\"\ncount = {WILD}\n\
             endpoints = [\"eu-2\"]\nreconnect = {{ strategy = \"fixed\", every = \"20ms\" }}\n"
        );
        let file = FleetFile::new(&(text(broker.port(), "press", CALM, url, "hall-3", "") + &wild));
        let field = Field { agent: agent(&file), _broker: broker, wild_port, wild_is_over, _file: file };
        field.wait_right(redis, "at first");
        field
    }

    /// Waits until all rows are there and those of the calm are up; how long that takes.
    #[track_caller]
    fn wait_right(&self, redis: &Redis, what: &str) -> Duration {
        let took = wait_rows(redis, "hall-3", &format!("all rows right {what}"), |rows| {
            let calm = rows.iter().filter(|(id, row)| id.starts_with("press-") && row["state"] == "up").count();
            rows.len() == CALM + WILD && calm == CALM
        });
        println!("{what}: all rows right after {took:?}");
        took
    }

    /// Waits until so many changes more were told.
    #[track_caller]
    fn wait_changes(&self, more: usize) {
        let count = |heard: &mqfleet_test_support::headless::Heard| heard.of_type("state").count();
        let before = count(&self.agent.heard());
        drop(self.agent.wait_for(&format!("{more} changes"), |heard| count(heard) >= before + more));
    }

    /// Ends the changes, and compares every row with what the program itself said last.
    #[track_caller]
    fn end(self, redis: &Redis) {
        assert_eq!(losses(&self.agent, "press-"), 0, "a client was disconnected");
        self.wild_is_over.store(true, Relaxed);
        let _ = std::net::TcpStream::connect(("127.0.0.1", self.wild_port));
        wait_rows(redis, "hall-3", "every row as the program has it", |rows| {
            let states = self.agent.heard().states.clone();
            rows.len() == CALM + WILD
                && rows.iter().all(|(id, row)| row["state"].as_str() == states.get(id).map(String::as_str))
        });
        assert_eq!(losses(&self.agent, "press-"), 0, "a client was disconnected");
    }
}

#[test]
fn killed_emptied_and_frozen_the_store_is_right_soon_after_it_is_back() {
    if !redis::is_there() {
        return;
    }
    let mut redis = Redis::start();
    let field = Field::new(&redis, &redis.url());
    redis.kill9();
    wait_notice(&field.agent, "the store is not to be had: 127.0.0.1:");
    field.wait_changes(200);
    redis.restart();
    field.wait_right(&redis, "after kill -9, and empty");
    wait_notice(&field.agent, "the store is back after ");
    assert!(redis.cli(&["XLEN", "mqfleet:{plant}:events"]).parse::<u64>().unwrap() > 0);

    assert_eq!(redis.cli(&["FLUSHALL"]), "OK");
    field.wait_right(&redis, "after FLUSHALL");
    wait_notice(&field.agent, "the store lacks something (it knows nothing of this agent)");
    // A part of it is missing, as where rows were evicted.
    redis.cli(&["HDEL", "mqfleet:{plant}:rows:hall-3", "press-0007", "press-0008"]);
    field.wait_right(&redis, "after two rows were lost");

    let epoch = redis.cli(&["HGET", "mqfleet:{plant}:epochs", "hall-3"]);
    redis.freeze();
    field.wait_changes(200);
    // Longer than its lease: whoever looks finds it gone.
    std::thread::sleep(Duration::from_millis(3_200));
    redis.thaw();
    field.wait_right(&redis, "after SIGSTOP and SIGCONT");
    wait_rows(&redis, "hall-3", "it is registered anew", |_| {
        redis.cli(&["HGET", "mqfleet:{plant}:epochs", "hall-3"]) != epoch
    });
    field.end(&redis);
}

#[test]
fn a_store_that_evicts_is_told_of_and_filled_again() {
    if !redis::is_there() {
        return;
    }
    let redis = Redis::with(&["maxmemory 8mb", "maxmemory-policy allkeys-lru"]);
    let field = Field::new(&redis, &redis.url());
    let doubt = wait_notice(&field.agent, "the store throws away whatever it likes");
    assert!(doubt.contains("maxmemory-policy allkeys-lru") && doubt.contains("noeviction"), "{doubt}");
    // Others fill it until something of ours is gone.
    let evicted = |redis: &Redis| {
        let info = redis.cli(&["INFO", "stats"]);
        let count = info.lines().find_map(|line| line.trim().strip_prefix("evicted_keys:").map(str::to_owned));
        count.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0)
    };
    let begin = Instant::now();
    let lost = |field: &Field| notice(&field.agent.heard(), "the store lacks something").is_some();
    while !lost(&field) {
        redis.cli(&[
            "EVAL",
            "for i = 1, 400 do redis.call('SET', 'filler:' .. redis.call('TIME')[2] .. i, string.rep('x', 10000)) end",
            "0",
        ]);
        assert!(begin.elapsed() < SOON, "{} keys were evicted, none of ours", evicted(&redis));
    }
    assert!(evicted(&redis) > 0);
    assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    field.wait_right(&redis, "after evictions");
    field.end(&redis);
}

#[test]
fn a_store_that_is_full_says_so_and_the_fleet_goes_on() {
    if !redis::is_there() {
        return;
    }
    let redis = Redis::with(&["maxmemory-policy noeviction"]);
    let field = Field::new(&redis, &redis.url());
    assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    wait_notice(&field.agent, "its memory is full (maxmemory): nothing can be written");
    field.wait_changes(100);
    assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    field.wait_right(&redis, "after it was full");
    field.end(&redis);
}

#[test]
fn sentinel_names_another_master_and_it_gets_all_rows() {
    if !redis::is_there() {
        return;
    }
    let mut master = Redis::start();
    let replica = Redis::replica(&master);
    let sentinel = Redis::sentinel(&master);
    let begin = Instant::now();
    while !sentinel.cli(&["SENTINEL", "replicas", "mymaster"]).contains(&replica.port().to_string()) {
        assert!(begin.elapsed() < SOON, "the Sentinel does not see the replica");
        std::thread::sleep(Duration::from_millis(50));
    }
    // The first of them is dead, which is no matter.
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/mymaster", sentinel.port());
    let field = Field::new(&master, &url);
    master.kill9();
    wait_notice(&field.agent, "the store is not to be had");
    let begin = Instant::now();
    while !replica.cli(&["INFO", "replication"]).contains("role:master") {
        assert!(begin.elapsed() < SOON, "no failover: {}", sentinel.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    field.wait_right(&replica, "after a failover by Sentinel");
    wait_notice(&field.agent, "the store is back after ");
    let listed = mqfleet(&["ls", "--store", &format!("{url}/plant"), "--where", "id:press"]);
    assert_eq!(said(&listed).lines().count(), CALM + 1, "{}", said(&listed));
    field.end(&replica);
}
