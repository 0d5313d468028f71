//! What is known of each client's past outlives its agent, and a file that tells nonsense is no obstacle.

use super::*;

/// The clients that match a query.
fn matching(agent: &Agent, query: &str) -> usize {
    let listed = agent.run(&["ls", "test", "--format", "json", "--where", query]);
    String::from_utf8_lossy(&listed.stdout).lines().count()
}

#[track_caller]
fn wait_matching(agent: &Agent, query: &str, count: usize) {
    let end = Instant::now() + SOON;
    while matching(agent, query) != count {
        assert!(Instant::now() < end, "{query}: {} and not {count}", matching(agent, query));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn restarted(mut agent: Agent, signal: Signal, between: impl FnOnce()) -> Agent {
    process::signal(agent.child.id(), signal);
    agent.child.wait().expect("it is ours");
    between();
    let home = std::mem::replace(&mut agent.home, TempDir::new().expect("a folder"));
    Agent::start_in(home, &agent.file.clone())
}

#[test]
fn a_client_s_record_goes_on_after_a_restart_of_its_agent() {
    let mut broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 10);
    let mut agent = Agent::start(&file);
    agent.wait_up(10);
    broker.stop();
    wait_matching(&agent, "state:down", 10);
    broker.restart();
    agent.wait_up(10);
    wait_matching(&agent, "reconnects=1 availability<100%", 10);
    for _ in 0..2 {
        agent = restarted(agent, Signal::TERM, || ());
        agent.wait_up(10);
        // What happened before is known, and the restart itself is no outage.
        assert_eq!(matching(&agent, "reconnects=1 availability<100%"), 10);
        let mut console = agent.console(&["--read-only"]);
        console.wait_text("● 10 up");
        console.resize(120, 40);
        console.press("j\r");
        console.wait_for("its losses", |screen| screen.contains("availability") && screen.contains("1 loss"));
        console.press("q");
        assert_eq!(console.wait_exit().code, 0);
    }

    // Written or not, whole or not: an agent starts, and says what it could not use.
    let path = agent.state("records");
    let whole = fs::read(&path).expect("records");
    let broken: [(&[u8], &str); 3] = [
        (&whole[..whole.len() - 7], "it is damaged"),
        (
            b"{\"version\":99,\"at\":1,\"wall\":\"2026-01-01T00:00:00Z\",\"boot\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}\n",
            "it is of version 99",
        ),
        (b"", "its first line is cut off"),
    ];
    for (bytes, why) in broken {
        agent = restarted(agent, Signal::KILL, || fs::write(&path, bytes).expect("the state folder is ours"));
        agent.wait_up(10);
        assert_eq!(matching(&agent, "reconnects=0"), 10);
        let console = agent.console(&["--read-only"]);
        console.wait_text("records begin anew");
        console.resize(200, 40);
        console.wait_text(why);
    }
    // And from then on there are records again.
    agent = restarted(agent, Signal::TERM, || ());
    let console = agent.console(&["--read-only"]);
    console.wait_text("● 10 up");
    assert!(!console.screen().contains("records begin anew"));
    agent.end();
}
