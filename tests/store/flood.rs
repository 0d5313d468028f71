//! Many rows and thousands of changes a second, published as an engine does, while the store is killed, emptied and frozen; `MQFLEET_ROWS=100000` for the whole size.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use mqfleet::{
    bus::Bus,
    clock::{Anchor, Moment},
    event::{Event, Reason, State, Transition, What},
    fleet::{Client, ClientKey, Endpoint, EndpointKey, Fleet},
    store::Store,
    telling::{self, Servers},
    text::Scrubbed,
};
use mqfleet_test_support::{redis, report::setting};

use super::*;

/// Changes a second.
const RATE: usize = 5_000;
/// All rows are right so soon; a machine that builds and tests beside this takes longer than one that does not.
const AIM: Duration = Duration::from_secs(2);
const MOST: Duration = Duration::from_secs(20);
const ROWS: &str = "mqfleet:{flood}:rows:hall-3";

fn step(n: usize, to: State) -> Event {
    let (from, reason) = match to {
        State::Up => (State::Backoff, Reason::Connected),
        _ => (State::Up, Reason::ConnectionLost),
    };
    let (client, endpoint, detail) = (ClientKey(n as u32), EndpointKey(0), Scrubbed::default());
    let step = Transition { client, endpoint, from, to, reason, detail, attempt: 1, next_try: None };
    Event { at: Moment::now(), what: What::State(step) }
}

/// How many rows of those that stay up say so, how many rows there are, and whether their agent is there.
fn calm(redis: &Redis) -> String {
    const COUNT: &str = "local n = 0 for _, row in ipairs(redis.call('HVALS', KEYS[1])) do \
        if string.find(row, '\"client\":\"calm', 1, true) and string.find(row, '\"state\":\"up\"', 1, true) then n = n + 1 end \
        end return {n, redis.call('HLEN', KEYS[1]), redis.call('EXISTS', KEYS[2])}";
    redis.cli(&["EVAL", COUNT, "2", ROWS, "mqfleet:{flood}:agent:hall-3"])
}

#[test]
fn all_rows_are_right_soon_after_the_store_is_back_at_thousands_of_changes_a_second() {
    if !redis::is_there() {
        return;
    }
    let all = setting("MQFLEET_ROWS", 10_000);
    let half = all / 2;
    let mut redis = Redis::start();
    let name = |n: usize| if n < half { format!("calm-{n:06}") } else { format!("wild-{n:06}") };
    let settings = Arc::default();
    let fleet = Arc::new(Fleet {
        name: Scrubbed::new("flood"),
        env: None,
        worker_size: 1_000,
        endpoints: vec![Endpoint::new("eu-1", "127.0.0.1", 1883)],
        clients: (0..all).map(|n| Client::new(&name(n), EndpointKey(0), Arc::clone(&settings))).collect(),
    });
    let bus = Bus::new(Anchor::now());
    let place = telling::Store::new(Servers::One("127.0.0.1".into(), redis.port()), "hall-3");
    let place = telling::Store { lease: Duration::from_secs(3), ..place };
    let store = Store::start(place, fleet, &bus).expect("a thread");
    bus.publish((0..all).map(|n| step(n, State::Up)));
    // The wild half goes down and up by turns.
    let is_over = Arc::new(AtomicBool::new(false));
    let states = Arc::new(Mutex::new(vec![State::Up; all]));
    let publisher = {
        let (bus, is_over, states) = (bus.clone(), is_over.clone(), states.clone());
        std::thread::spawn(move || {
            let (begin, mut sent) = (Instant::now(), 0);
            while !is_over.load(Relaxed) {
                let due = (begin.elapsed().as_secs_f64() * RATE as f64) as usize;
                let mut states = states.lock().expect("nobody panics");
                bus.publish((sent..due).map(|n| {
                    let client = half + n % (all - half);
                    let to = if states[client] == State::Up { State::Backoff } else { State::Up };
                    states[client] = to;
                    step(client, to)
                }));
                drop(states);
                sent = due;
                std::thread::sleep(Duration::from_millis(2));
            }
            (sent, begin.elapsed())
        })
    };
    let right = format!("{half}\n{all}\n1");
    let wait_right = |redis: &Redis, what: &str, begin: Instant| {
        loop {
            let (asked, now) = (Instant::now(), calm(redis));
            if now == right {
                break;
            }
            assert!(begin.elapsed() < MOST, "{what}: {} of {all} rows after {MOST:?}", now.replace('\n', " and "));
            // To count them keeps the store busy.
            std::thread::sleep(asked.elapsed() * 4);
        }
        let took = begin.elapsed();
        let verdict = if took <= AIM { "met" } else { "MISSED" };
        println!("{what}: {all} of {all} rows right after {took:.2?} (aim {AIM:?}: {verdict})");
    };
    wait_right(&redis, "at first", Instant::now());
    redis.kill9();
    std::thread::sleep(Duration::from_secs(3));
    redis.restart();
    wait_right(&redis, "killed for 3 s, and back empty", Instant::now());
    redis.cli(&["FLUSHALL"]);
    wait_right(&redis, "emptied", Instant::now());
    redis.freeze();
    std::thread::sleep(Duration::from_secs(5));
    redis.thaw();
    wait_right(&redis, "frozen for 5 s", Instant::now());

    is_over.store(true, Relaxed);
    let (sent, time) = publisher.join().expect("the publisher");
    println!("{:.0} changes a second", sent as f64 / time.as_secs_f64());
    assert!(sent as f64 / time.as_secs_f64() > RATE as f64 / 2.0, "{sent} changes in {time:?}");
    // When all is quiet every row is the last word of its client.
    let begin = Instant::now();
    loop {
        let asked = Instant::now();
        let rows = redis.cli(&["HGETALL", ROWS]);
        let states = states.lock().expect("nobody panics");
        let lines: Vec<&str> = rows.lines().collect();
        let wrong = lines.chunks_exact(2).filter(|pair| {
            let n: usize = pair[0][5..].parse().expect("a number");
            !pair[1].contains(&format!("\"state\":\"{}\"", states[n].name()))
        });
        let (count, wrong) = (lines.len() / 2, wrong.count());
        if (count, wrong) == (all, 0) {
            break;
        }
        assert!(begin.elapsed() < MOST, "{count} rows, {wrong} of them wrong");
        drop(states);
        std::thread::sleep(asked.elapsed() * 4);
    }
    bus.close();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    assert_eq!(runtime.block_on(store.finish()), None);
}
