//! Two agents of one name, and one that was stopped: who may write is clear to both, is told, and nothing is there twice.

use mqfleet_test_support::{mosquitto::Mosquitto, process, redis};
use rustix::process::Signal;

use super::*;

#[test]
fn of_two_agents_with_one_name_the_later_one_writes_and_both_say_so() {
    if !redis::is_there() {
        return;
    }
    let (broker, redis) = (Mosquitto::start(), Redis::start());
    let files = ["press", "oven"].map(|id| FleetFile::new(&text(broker.port(), id, 4, &redis.url(), "hall-3", "")));
    let first = agent(&files[0]);
    first.wait_up(4);
    wait_rows_up(&redis, "hall-3", 4);
    let mut second = agent(&files[1]);
    let taken = wait_notice(&second, "this agent takes the name hall-3 over from process ");
    assert!(taken.contains(&format!("process {} on ", first.id())), "{taken}");
    let fenced = wait_notice(&first, "is called hall-3 in the store of fleet plant, too");
    assert!(fenced.contains(&format!("process {} on ", second.id())) && fenced.contains("[store] agent"), "{fenced}");
    second.wait_up(4);
    wait_rows(&redis, "hall-3", "the rows of the later one alone", |rows| {
        rows.len() == 4 && rows.iter().all(|(id, row)| id.starts_with("oven-") && row["state"] == "up")
    });
    assert_eq!(losses(&first, "press-"), 0, "the fleet of who is fenced goes on");

    // Nobody takes the name from who has it: only when it is free.
    process::signal(second.id(), Signal::TERM);
    second.wait_exit();
    wait_notice(&first, "the name hall-3 is free again");
    wait_rows(&redis, "hall-3", "the rows of the first one alone", |rows| {
        rows.len() == 4 && rows.iter().all(|(id, row)| id.starts_with("press-") && row["state"] == "up")
    });
    let count = |has: &str| {
        let heard = first.heard();
        heard.of_type("notice").filter(|line| line["text"].as_str().is_some_and(|text| text.contains(has))).count()
    };
    assert_eq!((count("is called hall-3"), count("is free again")), (1, 1), "once each");
    assert_eq!(losses(&first, "press-"), 0);
}

#[test]
fn an_agent_that_was_stopped_goes_on_with_another_number_or_stands_aside() {
    if !redis::is_there() {
        return;
    }
    let (broker, redis) = (Mosquitto::start(), Redis::start());
    let file = file(broker.port(), 3, &redis.url(), "hall-3");
    let stopped = agent(&file);
    stopped.wait_up(3);
    wait_rows_up(&redis, "hall-3", 3);
    let epoch = || redis.cli(&["HGET", "mqfleet:{plant}:epochs", "hall-3"]);
    let is_present = || redis.cli(&["EXISTS", "mqfleet:{plant}:agent:hall-3"]) == "1";
    let wait_gone = || {
        let begin = Instant::now();
        while is_present() {
            assert!(begin.elapsed() < SOON, "its lease does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let before = epoch();
    process::signal(stopped.id(), Signal::STOP);
    wait_gone();
    process::signal(stopped.id(), Signal::CONT);
    wait_rows(&redis, "hall-3", "it is back with another number", |_| is_present() && epoch() != before);
    wait_rows_up(&redis, "hall-3", 3);

    // The same once more, and somebody else has taken the name meanwhile.
    process::signal(stopped.id(), Signal::STOP);
    wait_gone();
    let other = FleetFile::new(&text(broker.port(), "oven", 3, &redis.url(), "hall-3", ""));
    let other = agent(&other);
    other.wait_up(3);
    wait_rows_up(&redis, "hall-3", 3);
    let of_other = epoch();
    process::signal(stopped.id(), Signal::CONT);
    wait_notice(&stopped, "is called hall-3 in the store of fleet plant, too");
    assert_eq!(epoch(), of_other, "it has written nothing");
    assert!(rows(&redis, "hall-3").keys().all(|id| id.starts_with("oven-")));
}
