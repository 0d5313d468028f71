//! Tests whose turn it is.

use super::{encoder::*, *};

const QOS1: u8 = 2;
const QOS2: u8 = 4;
const DUP: u8 = 8;

/// Up, with a PUBLISH that was sent.
fn publishing(protocol: Protocol, flags: u8, id: u16) -> Inspector {
    let mut inspector = up(protocol);
    let packet = publish(protocol, flags, "t", id, &[], b"x");
    assert!(matches!(inspector.sent(&packet, Moment(0)), Sent::Publish { topic: "t", payload: b"x", .. }));
    inspector
}

fn ok(inspector: &mut Inspector, packet: &[u8]) {
    inspector.received(packet).expect("let through");
}

#[test]
fn connack_is_first_and_comes_once() {
    for protocol in BOTH {
        let mut inspector = Inspector::new(protocol, MAXIMUM);
        assert_eq!(refused(&mut inspector, &connack(protocol)), "CONNACK before CONNECT was sent");
        let mut inspector = Inspector::new(protocol, MAXIMUM);
        inspector.sent(&connect(protocol, None), Moment(0));
        assert_eq!(refused(&mut inspector, &[0xd0, 0]), "PINGRESP before CONNACK");
        let mut inspector = up(protocol);
        assert_eq!(refused(&mut inspector, &connack(protocol)), "CONNACK a second time");
        assert_eq!(refused(&mut inspector, &[0xd0, 0]), "PINGRESP behind what was the last packet");
    }
    let mut inspector = Inspector::new(Protocol::V5, MAXIMUM);
    inspector.sent(&connect(Protocol::V5, None), Moment(0));
    assert_eq!(refused(&mut inspector, &[0xe0, 0]), "DISCONNECT before CONNACK");
}

#[test]
fn behind_a_refusal_or_a_disconnect_there_is_nothing() {
    for (protocol, bytes) in [
        (Protocol::V311, &[0x20, 2, 0, 5][..]),
        (Protocol::V5, &[0x20, 3, 0, 0x87, 0]),
        (Protocol::V5, &[0x20, 2, 0, 0]),
        (Protocol::V5, &[0x20, 2, 0, 1]),
    ] {
        let mut inspector = Inspector::new(protocol, MAXIMUM);
        inspector.sent(&connect(protocol, None), Moment(0));
        ok(&mut inspector, bytes);
        assert_eq!(refused(&mut inspector, &[0xd0, 0]), "PINGRESP behind what was the last packet");
    }
    let mut inspector = up(Protocol::V5);
    ok(&mut inspector, &[0xe0, 0]);
    assert_eq!(refused(&mut inspector, &[0xd0, 0]), "PINGRESP behind what was the last packet");
}

#[test]
fn a_pingresp_that_nobody_asked_for_is_harmless() {
    assert_eq!(up(Protocol::V311).received(&[0xd0, 0]), Ok(Received::PingResp));
    assert_eq!(refused(&mut up(Protocol::V5), &[0xd0, 1, 0]), "PINGRESP with bytes behind its end");
}

#[test]
fn puback_is_for_a_message_at_qos_1() {
    for protocol in BOTH {
        let mut inspector = publishing(protocol, QOS1, 7);
        assert_eq!(inspector.received(&about(0x40, 7, &[])), Ok(Received::PubAck { id: 7, code: 0, reason: None }));
        assert_eq!(
            refused(&mut inspector, &about(0x40, 7, &[])),
            "PUBACK for packet identifier 7, which is not in flight"
        );
        assert_eq!(
            refused(&mut publishing(protocol, QOS2, 7), &about(0x40, 7, &[])),
            "PUBACK for packet identifier 7, which is a PUBLISH at QoS 2 that has no PUBREC yet"
        );
        for (first, name) in [(0x50, "PUBREC"), (0x70, "PUBCOMP"), (0xb0, "UNSUBACK")] {
            let rest: &[u8] = if first == 0xb0 && protocol == Protocol::V5 { &[0, 0] } else { &[] };
            assert_eq!(
                refused(&mut publishing(protocol, QOS1, 7), &about(first, 7, rest)),
                format!("{name} for packet identifier 7, which is a PUBLISH at QoS 1")
            );
        }
    }
    let mut inspector = publishing(Protocol::V5, QOS1, 7);
    let words: &[u8] = &[0x87, 5, 0x1f, 0, 2, b'n', b'o'];
    assert_eq!(
        inspector.received(&about(0x40, 7, words)),
        Ok(Received::PubAck { id: 7, code: 0x87, reason: Some("no") })
    );
}

#[test]
fn qos_2_goes_step_by_step() {
    for protocol in BOTH {
        let mut inspector = publishing(protocol, QOS2, 7);
        assert_eq!(
            refused(&mut inspector.clone(), &about(0x70, 7, &[])),
            "PUBCOMP for packet identifier 7, which is a PUBLISH at QoS 2 that has no PUBREC yet"
        );
        ok(&mut inspector, &about(0x50, 7, &[]));
        assert_eq!(
            refused(&mut inspector.clone(), &about(0x70, 7, &[])),
            "PUBCOMP for packet identifier 7, which is a PUBLISH at QoS 2 whose PUBREL was not sent yet"
        );
        assert_eq!(inspector.sent(&about(0x62, 7, &[]), Moment(0)), Sent::PubRel { id: 7 });
        assert_eq!(
            refused(&mut inspector.clone(), &about(0x40, 7, &[])),
            "PUBACK for packet identifier 7, which is a PUBLISH at QoS 2 that was released"
        );
        ok(&mut inspector, &about(0x70, 7, &[]));
        for (first, name) in [(0x40, "PUBACK"), (0x50, "PUBREC"), (0x70, "PUBCOMP")] {
            assert_eq!(
                refused(&mut inspector.clone(), &about(first, 7, &[])),
                format!("{name} for packet identifier 7, which is not in flight")
            );
        }
    }
}

#[test]
fn a_pubrec_that_fails_ends_it() {
    let mut inspector = publishing(Protocol::V5, QOS2, 7);
    ok(&mut inspector, &about(0x50, 7, &[0x97]));
    assert_eq!(
        refused(&mut inspector, &about(0x70, 7, &[])),
        "PUBCOMP for packet identifier 7, which is not in flight"
    );
}

#[test]
fn paho_is_given_a_pubrec_without_properties() {
    let words: &[u8] = &[0x10, 5, 0x1f, 0, 2, b'o', b'k'];
    for (rest, instead) in
        [(words, Some([0x50, 3, 1, 7, 0x10])), (&[0x97, 0], Some([0x50, 3, 1, 7, 0x97])), (&[0], None), (&[], None)]
    {
        let mut inspector = publishing(Protocol::V5, QOS2, 0x107);
        let packet = about(0x50, 0x107, rest);
        let received = inspector.received(&packet).expect("a PUBREC");
        assert_eq!(inspector.instead(&packet, &received), instead.map(Vec::from));
    }
    let mut inspector = publishing(Protocol::V311, QOS2, 7);
    let received = inspector.received(&[0x50, 0x82, 0x80, 0, 0, 7]).expect("a PUBREC");
    assert_eq!(inspector.instead(&[0x50, 0x82, 0x80, 0, 0, 7], &received), None);
}

/// ejabberd refuses with 0x8f there.
#[test]
fn paho_is_given_a_refusal_of_3_1_1_as_it_knows_it() {
    for (protocol, head, packet, instead) in [
        (Protocol::V311, 4, vec![0x90, 5, 0, 7, 0x8f, 1, 0xff], Some(vec![0x90, 5, 0, 7, 0x80, 1, 0x80])),
        (Protocol::V311, 5, vec![0x90, 0x84, 0, 0, 7, 0x87, 2], Some(vec![0x90, 0x84, 0, 0, 7, 0x80, 2])),
        (Protocol::V311, 4, vec![0x90, 4, 0, 7, 0x80, 2], None),
        (Protocol::V5, 5, vec![0x90, 4, 0, 7, 0, 0x8f], None),
    ] {
        let received = Received::SubAck { id: 7, codes: &packet[head..], reason: None };
        assert_eq!(up(protocol).instead(&packet, &received), instead);
    }
}

#[test]
fn pubrec_may_come_again_in_mqtt_3_only() {
    let mut inspector = publishing(Protocol::V5, QOS2, 7);
    ok(&mut inspector, &about(0x50, 7, &[]));
    assert_eq!(
        refused(&mut inspector, &about(0x50, 7, &[])),
        "PUBREC for packet identifier 7, which is a PUBLISH at QoS 2 whose PUBREL was not sent yet"
    );
    // Paho answers both with PUBREL, and a broker answers those.
    let mut inspector = publishing(Protocol::V311, QOS2, 7);
    ok(&mut inspector, &about(0x50, 7, &[]));
    inspector.sent(&about(0x62, 7, &[]), Moment(0));
    ok(&mut inspector, &about(0x50, 7, &[]));
    inspector.sent(&about(0x62, 7, &[]), Moment(0));
    ok(&mut inspector, &about(0x70, 7, &[]));
    ok(&mut inspector, &about(0x70, 7, &[]));
    assert_eq!(
        refused(&mut inspector, &about(0x70, 7, &[])),
        "PUBCOMP for packet identifier 7, which is not in flight"
    );
    // One that never came does not stand in the way of the identifier's next use.
    let mut inspector = publishing(Protocol::V311, QOS2, 7);
    ok(&mut inspector, &about(0x50, 7, &[]));
    ok(&mut inspector, &about(0x50, 7, &[]));
    inspector.sent(&about(0x62, 7, &[]), Moment(0));
    ok(&mut inspector, &about(0x70, 7, &[]));
    inspector.sent(&publish(Protocol::V311, QOS1, "t", 7, &[], b"x"), Moment(0));
    ok(&mut inspector.clone(), &about(0x40, 7, &[]));
    assert_eq!(
        refused(&mut inspector, &about(0x70, 7, &[])),
        "PUBCOMP for packet identifier 7, which is a PUBLISH at QoS 1"
    );
}

#[test]
fn a_message_that_paho_sends_again_goes_on_where_it_was() {
    let mut inspector = publishing(Protocol::V311, QOS2, 7);
    ok(&mut inspector, &about(0x50, 7, &[]));
    inspector.sent(&publish(Protocol::V311, QOS2 | DUP, "t", 7, &[], b"x"), Moment(0));
    inspector.sent(&about(0x62, 7, &[]), Moment(0));
    ok(&mut inspector, &about(0x70, 7, &[]));
    // Of a session of before.
    inspector.sent(&about(0x62, 9, &[]), Moment(0));
    ok(&mut inspector, &about(0x70, 9, &[]));
}

#[test]
fn suback_has_a_code_for_each_filter() {
    for protocol in BOTH {
        let suback = |id, codes: &[u8]| about(0x90, id, &[listed(protocol, &[]), codes.to_vec()].concat());
        let mut inspector = up(protocol);
        assert_eq!(inspector.sent(&subscribe(protocol, 3, &["a", "b/#"]), Moment(0)), Sent::Subscribe { id: 3 });
        for (codes, words) in [
            (&[0][..], "SUBACK with 1 reason code to 2 topic filters"),
            (&[0, 1, 2], "SUBACK with 3 reason codes to 2 topic filters"),
        ] {
            assert_eq!(refused(&mut inspector.clone(), &suback(3, codes)), words);
        }
        assert_eq!(
            refused(&mut inspector.clone(), &suback(4, &[0, 1])),
            "SUBACK for packet identifier 4, which is not in flight"
        );
        assert_eq!(
            refused(&mut inspector.clone(), &about(0x40, 3, &[])),
            "PUBACK for packet identifier 3, which is a SUBSCRIBE"
        );
        let bytes = suback(3, &[0x80, 2]);
        assert_eq!(inspector.received(&bytes), Ok(Received::SubAck { id: 3, codes: &[0x80, 2], reason: None }));
        assert_eq!(
            refused(&mut inspector, &suback(3, &[0, 1])),
            "SUBACK for packet identifier 3, which is not in flight"
        );
        assert_eq!(
            refused(&mut publishing(protocol, QOS1, 7), &suback(7, &[0])),
            "SUBACK for packet identifier 7, which is a PUBLISH at QoS 1"
        );
    }
}

#[test]
fn unsuback_has_a_code_for_each_filter_in_mqtt_5() {
    let mut inspector = up(Protocol::V5);
    assert_eq!(inspector.sent(&unsubscribe(Protocol::V5, 3, &["a", "b"]), Moment(0)), Sent::Unsubscribe { id: 3 });
    assert_eq!(
        refused(&mut inspector.clone(), &about(0xb0, 3, &[0, 0])),
        "UNSUBACK with 1 reason code to 2 topic filters"
    );
    assert_eq!(
        refused(&mut inspector.clone(), &about(0x90, 3, &[0, 0, 0])),
        "SUBACK for packet identifier 3, which is an UNSUBSCRIBE"
    );
    ok(&mut inspector, &about(0xb0, 3, &[0, 0, 0x11]));
    let mut inspector = up(Protocol::V311);
    inspector.sent(&unsubscribe(Protocol::V311, 3, &["a", "b"]), Moment(0));
    ok(&mut inspector, &about(0xb0, 3, &[]));
}

#[test]
fn identifiers_of_the_broker() {
    let v311 = |flags| publish(Protocol::V311, flags, "t", 9, &[], b"x");
    let mut inspector = up(Protocol::V311);
    ok(&mut inspector, &v311(QOS2));
    ok(&mut inspector, &v311(QOS2 | DUP));
    assert_eq!(refused(&mut inspector.clone(), &v311(QOS2)), "PUBLISH for packet identifier 9, which is in use");
    ok(&mut inspector, &about(0x62, 9, &[]));
    ok(&mut inspector, &v311(QOS2));
    // Unknown, which Paho answers.
    ok(&mut inspector, &about(0x62, 8, &[]));
    let mut inspector = up(Protocol::V5);
    let again = publish(Protocol::V5, QOS2 | DUP, "t", 9, &[], b"x");
    ok(&mut inspector, &again);
    assert_eq!(refused(&mut inspector, &again), "PUBLISH for packet identifier 9, which is in use");
}

#[test]
fn the_receive_maximum_is_kept() {
    let mut inspector = Inspector::new(Protocol::V5, MAXIMUM);
    inspector.sent(&connect(Protocol::V5, Some(2)), Moment(0));
    ok(&mut inspector, &super::connack(Protocol::V5));
    let message = |flags, id| publish(Protocol::V5, flags, "t", id, &[], b"x");
    ok(&mut inspector, &message(QOS1, 1));
    ok(&mut inspector, &message(QOS2, 2));
    ok(&mut inspector, &message(0, 0));
    let mut other = inspector.clone();
    assert_eq!(refused(&mut other, &message(QOS1, 3)), "PUBLISH beyond the receive maximum");
    inspector.sent(&about(0x40, 1, &[]), Moment(0));
    ok(&mut inspector, &message(QOS1, 3));
    inspector.sent(&about(0x50, 2, &[]), Moment(0));
    assert_eq!(refused(&mut inspector.clone(), &message(QOS1, 4)), "PUBLISH beyond the receive maximum");
    ok(&mut inspector, &about(0x62, 2, &[]));
    inspector.sent(&about(0x70, 2, &[]), Moment(0));
    ok(&mut inspector, &message(QOS1, 4));
}

#[test]
fn what_does_not_parse_of_paho_is_other() {
    let mut inspector = up(Protocol::V5);
    for bytes in [&[][..], &[0x30], &[0x30, 9, 0, 1, b't'], &[0x36, 0], &[0x82, 3, 0, 1, 0], &[0x20, 2, 0, 0]] {
        assert_eq!(inspector.sent(bytes, Moment(0)), Sent::Other, "{bytes:02x?}");
    }
    assert_eq!(inspector.sent(&[0xc0, 0], Moment(0)), Sent::PingReq);
    assert_eq!(inspector.sent(&[0xe0, 0], Moment(0)), Sent::Disconnect);
}
