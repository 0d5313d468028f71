//! Tests what is told of a broker that hangs up.

use super::{encoder::*, *};

fn told(inspector: &Inspector) -> String {
    inspector.unanswered().map_or(String::new(), |(asked, _)| asked.to_string())
}

#[test]
fn it_is_the_first_that_waits_for_its_answer() {
    let mut inspector = Inspector::new(Protocol::V311, MAXIMUM);
    assert_eq!(told(&inspector), "");
    inspector.sent(&connect(Protocol::V311, None), Moment(0));
    assert_eq!(told(&inspector), "CONNECT");
    inspector.received(&connack(Protocol::V311)).expect("a CONNACK");
    assert_eq!(told(&inspector), "");
    inspector.sent(&publish(Protocol::V311, 0, "alive", 0, &[], b""), Moment(0));
    assert_eq!(told(&inspector), "PUBLISH to alive at QoS 0");
    inspector.sent(&subscribe(Protocol::V311, 1, &["cmd/#"]), Moment(0));
    assert_eq!(told(&inspector), "SUBSCRIBE cmd/#");
    inspector.sent(&publish(Protocol::V311, 2, "state", 2, &[], b""), Moment(0));
    inspector.sent(&publish(Protocol::V311, 0, "alive", 0, &[], b""), Moment(0));
    assert_eq!(told(&inspector), "SUBSCRIBE cmd/#");
    inspector.received(&about(0x90, 1, &[0])).expect("a SUBACK");
    assert_eq!(told(&inspector), "PUBLISH to state at QoS 1");
    inspector.received(&about(0x40, 2, &[])).expect("a PUBACK");
    assert_eq!(told(&inspector), "PUBLISH to alive at QoS 0");
    inspector.sent(&[0xc0, 0], Moment(0));
    assert_eq!(told(&inspector), "PINGREQ");
    inspector.received(&[0xd0, 0]).expect("a PINGRESP");
    assert_eq!(told(&inspector), "");
    assert_eq!(inspector.unanswered.heap(), 0);
}

#[test]
fn an_echo_is_an_answer() {
    let mut inspector = up(Protocol::V5);
    let packet = publish(Protocol::V5, 0, "mqfleet/probe/a", 0, &[], b"");
    inspector.sent(&packet, Moment(0));
    assert_eq!(told(&inspector), "PUBLISH to mqfleet/probe/a at QoS 0");
    inspector.received(&packet).expect("its echo");
    assert_eq!(told(&inspector), "");
}

#[test]
fn names_are_scrubbed_and_short() {
    let mut inspector = up(Protocol::V5);
    let long = "é".repeat(100);
    inspector.sent(&unsubscribe(Protocol::V5, 1, &[&long, "b", "c"]), Moment(0));
    assert_eq!(told(&inspector), format!("UNSUBSCRIBE {}… and 2 more", "é".repeat(30)));
    inspector.received(&about(0xb0, 1, &[0, 0, 0, 0])).expect("an UNSUBACK");
    inspector.sent(&publish(Protocol::V5, 4, "a\x1b[2J\u{202e}b", 2, &[], b""), Moment(0));
    assert_eq!(told(&inspector), "PUBLISH to a␛[2J·b at QoS 2");
    for raw in ["x".repeat(64), "x".repeat(65), "\u{1}".repeat(30), "e\u{301}\u{301}\u{301}\u{301}".repeat(9)] {
        assert!(asked::name(&raw).len() <= Asked::NAME_MAX, "{raw}");
    }
    assert_eq!(&*asked::name(&"x".repeat(64)), "x".repeat(64));
}

#[test]
fn the_first_and_the_last_are_kept() {
    let mut inspector = up(Protocol::V311);
    for id in 1..=1000 {
        inspector.sent(&publish(Protocol::V311, 2, &format!("t/{id}"), id, &[], b""), Moment(0));
    }
    assert_eq!(told(&inspector), "PUBLISH to t/1 at QoS 1");
    assert!(inspector.unanswered.heap() < 1500);
    for id in 1..=999 {
        inspector.received(&about(0x40, id, &[])).expect("a PUBACK");
    }
    assert_eq!(told(&inspector), "PUBLISH to t/1000 at QoS 1");
}
