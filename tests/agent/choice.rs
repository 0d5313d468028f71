//! Which of several agents a console attaches to where none was named.

use super::*;

#[test]
fn of_several_agents_one_is_chosen_and_without_a_terminal_they_are_named() {
    let broker = Mosquitto::start();
    let (file, other) = (FleetFile::presses(broker.port(), 3), FleetFile::presses(broker.port(), 5));
    let text_of_other = fs::read_to_string(other.path()).expect("the file");
    let text_of_other = text_of_other.replace(r#""test""#, r#""zone""#).replace("press-", "oven-");
    fs::write(other.path(), text_of_other).expect("the file is written");
    let agent = Agent::start(&file);
    let mut zone = Command::new(program());
    zone.args(["agent", other.path()]).stdin(Stdio::null()).stderr(Stdio::null());
    let zone = Agent {
        home: TempDir::new().expect("a folder"),
        file: other.path().to_owned(),
        child: zone.envs(agent.env()).spawn().expect("the agent starts"),
    };
    let end = Instant::now() + SOON;
    while !agent.run(&["ls", "zone"]).status.success() {
        assert!(Instant::now() < end, "the second agent does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }

    let refused = agent.run(&["attach"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("several agents run here: test, zone; name one"), "{}", text(&refused));

    for (keys, header) in [("\r", "3 up"), ("\x1b[B\r", "5 up"), ("1", "3 up"), ("2", "5 up")] {
        let mut console = agent.console(&[]);
        console.wait_for("the list", |screen| screen.contains("> 1  test") && screen.contains("  2  zone"));
        console.press(keys);
        console.wait_text(header);
        console.press("q");
        assert_eq!(console.wait_exit().code, 0, "{keys:?}");
        console.assert_restored();
    }

    let mut leaving = agent.console(&[]);
    leaving.wait_text("attach to which fleet?");
    leaving.press("q");
    assert_eq!(leaving.wait_exit().code, 0);
    leaving.assert_restored();

    // What a killed agent left is nothing to choose: the other one is the only one.
    zone.kill();
    let mut console = agent.console(&[]);
    console.wait_text("3 up");
    console.press("q");
    assert_eq!(console.wait_exit().code, 0);
    agent.end();
}
