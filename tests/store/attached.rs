//! A console on all agents of a fleet, by their rows in a store alone: it looks, and commands nothing.

use mqfleet_test_support::{console::Console, mosquitto::Mosquitto, process, redis};
use rustix::process::Signal;

use super::*;

#[test]
fn a_console_shows_all_agents_of_a_store_and_what_becomes_of_them() {
    if !redis::is_there() {
        return;
    }
    let (mut broker, mut redis) = (Mosquitto::start(), Redis::start());
    let files = [("press", "hall-3", 3), ("oven", "hall-4", 2)]
        .map(|(id, agent, count)| FleetFile::new(&text(broker.port(), id, count, &redis.url(), agent, "")));
    let mut agents = files.each_ref().map(agent);
    wait_rows_up(&redis, "hall-3", 3);
    wait_rows_up(&redis, "hall-4", 2);
    let url = format!("{}/plant", redis.url());
    let mut console = Console::start(120, 30, &["attach", &url]);
    console.wait_text("5 up");
    console.wait_text("hall-4");
    console.press("jr");
    console.wait_text("reading only");
    // What happens is seen as it happens.
    broker.kill9();
    console.wait_text("0 up");
    broker.restart();
    console.wait_text("5 up");
    // Who is gone is unknown, and known again when it is back.
    process::signal(agents[1].id(), Signal::KILL);
    agents[1].wait_exit();
    console.wait_text("2 unk");
    agents[1] = agent(&files[1]);
    console.wait_text("5 up");
    // So it is with the store itself.
    redis.kill9();
    console.wait_text("5 unk");
    redis.restart();
    console.wait_text("5 up");
    console.press("q");
    assert_eq!(console.wait_exit().code, 0);
    agents.iter().for_each(|agent| assert!(agent.heard().count("up") > 0));

    let none = mqfleet(&["attach", &format!("{}/plent", redis.url())]);
    assert!(said(&none).contains("no agent of a fleet called plent is there"), "{}", said(&none));
    let wrong = mqfleet(&["attach", "redis://u:hunter2@h/plant"]);
    assert!(said(&wrong).contains("a URL here has no user") && !said(&wrong).contains("hunter2"), "{}", said(&wrong));
}
