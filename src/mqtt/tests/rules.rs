//! Tests the rules of each packet by itself.

use super::*;

/// Refused by a client that is up, in these words.
fn check(protocol: Protocol, cases: &[(&[u8], &str)]) {
    for (bytes, words) in cases {
        assert_eq!(refused(&mut up(protocol), bytes), *words, "{bytes:02x?}");
    }
}

/// Refused in the place of CONNACK, in these words.
fn check_first(protocol: Protocol, cases: &[(&[u8], &str)]) {
    for (bytes, words) in cases {
        let mut inspector = Inspector::new(protocol, MAXIMUM);
        inspector.sent(&encoder::connect(protocol, None), Moment(0));
        assert_eq!(refused(&mut inspector, bytes), *words, "{bytes:02x?}");
    }
}

#[test]
fn a_frame_needs_its_header() {
    assert_eq!(frame(&[], 10), Ok(None));
    assert_eq!(frame(&[0x30], 10), Ok(None));
    assert_eq!(frame(&[0x30, 0x80, 0x80, 0x80], 10), Ok(None));
    assert_eq!(frame(&[0x30, 3, 0, 1], 10), Ok(None));
    assert_eq!(frame(&[0x30, 3, 0, 1, b'a', 9], 10), Ok(Some(5)));
    assert_eq!(frame(&[0x30, 0x83, 0, 0, 1, b'a'], 10), Ok(Some(6)));
    assert_eq!(frame(&[0xd0, 0], 2), Ok(Some(2)));
    // In both directions.
    assert_eq!(frame(&[0x82, 1], 10), Ok(None));
}

#[test]
fn a_frame_is_refused_by_its_header() {
    let words = |bytes: &[u8]| frame(bytes, 262_144).expect_err("refused").to_string();
    assert_eq!(words(&[0x30, 0x80, 0x80, 0x80, 0x80]), "PUBLISH with a remaining length of more than four bytes");
    assert_eq!(words(&[0x30, 0xdc, 0xa7, 0x12]), "PUBLISH of 300,000 bytes, of which 262,144 are allowed");
    assert_eq!(words(&[0x30, 0xff, 0xff, 0xff, 0x7f]), "PUBLISH of 268,435,460 bytes, of which 262,144 are allowed");
    assert_eq!(words(&[0x00]), "reserved packet type 0 that no packet has");
    assert_eq!(words(b"HTTP/1.1"), "PUBACK with flags 0x08");
    assert_eq!(words(&[0x36]), "PUBLISH with QoS 3");
    assert_eq!(words(&[0x38]), "PUBLISH repeated at QoS 0");
    for first in [0x21, 0x41, 0x52, 0x60, 0x63, 0x71, 0x80, 0x92, 0xb1, 0xd1, 0xe8, 0xf1] {
        assert!(words(&[first]).contains("with flags"), "{first:#x}");
    }
    assert_eq!(frame(&[0x30, 0x7f], 129), Ok(None));
    assert_eq!(frame(&[0x30, 0x7f], 128).map_err(|v| v.code()), Err(0x95));
}

#[test]
fn a_violation_knows_its_packet_and_its_code() {
    let violation = up(Protocol::V5).received(&[0x90, 3, 0, 7, 0]).expect_err("refused");
    assert_eq!((violation.packet(), violation.code()), ("SUBACK", 0x82));
    let violation = up(Protocol::V5).received(&[0x40, 1, 0]).expect_err("refused");
    assert_eq!((violation.packet(), violation.code()), ("PUBACK", 0x81));
}

#[test]
fn brokers_send_some_types_only() {
    let clients: [(&[u8], &str); 4] = [
        (&[0x10, 0], "CONNECT from a broker"),
        (&[0x82, 0], "SUBSCRIBE from a broker"),
        (&[0xa2, 0], "UNSUBSCRIBE from a broker"),
        (&[0xc0, 0], "PINGREQ from a broker"),
    ];
    check(Protocol::V311, &clients);
    check(Protocol::V5, &clients);
    check(
        Protocol::V311,
        &[(&[0xe0, 0], "DISCONNECT from a broker of MQTT 3.1.1"), (&[0xf0, 0], "AUTH in MQTT 3.1.1")],
    );
    check(Protocol::V5, &[(&[0xf0, 2, 0x18, 0], "AUTH that was not asked for")]);
}

#[test]
fn only_whole_packets_are_read() {
    let cases: [(&[u8], &str); 4] = [
        (&[], "reserved packet type 0 that is not whole"),
        (&[0xd0], "PINGRESP that is not whole"),
        (&[0xd0, 1], "PINGRESP that is not whole"),
        (&[0xd0, 0, 0], "PINGRESP that is not whole"),
    ];
    check(Protocol::V311, &cases);
    check(Protocol::V5, &cases);
    check(Protocol::V5, &[(&[0xd0, 0x80, 0], "PINGRESP with a remaining length of too many bytes")]);
    assert_eq!(up(Protocol::V311).received(&[0xd0, 0x80, 0]), Ok(Received::PingResp));
    let large = packet(0x30, &vec![0; MAXIMUM as usize]);
    check(Protocol::V5, &[(&large, "PUBLISH of 262,148 bytes, of which 262,144 are allowed")]);
}

#[test]
fn connack() {
    check_first(
        Protocol::V311,
        &[
            (&[0x20, 0], "CONNACK that ends too early"),
            (&[0x20, 1, 0], "CONNACK that ends too early"),
            (&[0x20, 3, 0, 0, 0], "CONNACK with bytes behind its end"),
            (&[0x20, 2, 2, 0], "CONNACK with acknowledge flags 0x02"),
            (&[0x20, 2, 1, 5], "CONNACK with a session, but refused"),
        ],
    );
    check_first(
        Protocol::V5,
        &[
            (&[0x20, 3, 0x80, 0, 0], "CONNACK with acknowledge flags 0x80"),
            (&[0x20, 3, 1, 0x87, 0], "CONNACK with a session, but refused"),
            (&[0x20, 3, 0, 1, 0], "CONNACK with reason code 0x01"),
            (&[0x20, 4, 0, 0, 0, 0], "CONNACK with bytes behind its end"),
            (&[0x20, 3, 0, 0, 1], "CONNACK that ends too early"),
            (&[0x20, 7, 0, 0, 0x80, 0x80, 0x80, 0x80, 1], "CONNACK with a number of too many bytes"),
            (&[0x20, 4, 0, 0, 0x80, 0], "CONNACK with a number of too many bytes"),
        ],
    );
    let first = |protocol, bytes: &'static [u8]| {
        let mut inspector = Inspector::new(protocol, MAXIMUM);
        inspector.sent(&encoder::connect(protocol, None), Moment(0));
        inspector.received(bytes)
    };
    let plain = |code, session_present, version3| {
        Ok(Received::ConnAck {
            code,
            session_present,
            reason: None,
            reference: None,
            server_keep_alive: None,
            version3,
        })
    };
    assert_eq!(first(Protocol::V311, &[0x20, 2, 1, 0]), plain(0, true, false));
    assert_eq!(first(Protocol::V311, &[0x20, 2, 0, 5]), plain(5, false, false));
    assert_eq!(first(Protocol::V311, &[0x20, 2, 0, 200]), plain(200, false, false));
    assert_eq!(first(Protocol::V5, &[0x20, 2, 0, 1]), plain(1, false, true));
    assert_eq!(first(Protocol::V5, &[0x20, 3, 0, 0x87, 0]), plain(0x87, false, false));
    let told: &[u8] = &[0x20, 16, 0, 0x9c, 13, 0x13, 0, 7, 0x1f, 0, 2, b'n', b'o', 0x1c, 0, 2, b'b', b'2'];
    let both = Received::ConnAck {
        code: 0x9c,
        session_present: false,
        reason: Some("no"),
        reference: Some("b2"),
        server_keep_alive: Some(7),
        version3: false,
    };
    assert_eq!(first(Protocol::V5, told), Ok(both));
}

#[test]
fn properties() {
    let refuse = |properties: &[u8], words: &str| {
        let body = [vec![0, 0], encoder::listed(Protocol::V5, properties)].concat();
        check_first(Protocol::V5, &[(&packet(0x20, &body), words)]);
    };
    refuse(&[0x21, 0, 0], "CONNACK with property Receive Maximum, whose value is out of range");
    refuse(&[0x24, 2], "CONNACK with property Maximum QoS, whose value is out of range");
    refuse(&[0x25, 2], "CONNACK with property Retain Available, whose value is out of range");
    refuse(&[0x27, 0, 0, 0, 0], "CONNACK with property Maximum Packet Size, whose value is out of range");
    refuse(&[0x2a, 0xff], "CONNACK with property Shared Subscription Available, whose value is out of range");
    refuse(&[0x13, 0, 9, 0x13, 0, 9], "CONNACK with property Server Keep Alive, which it has twice");
    refuse(&[0x0b, 1], "CONNACK with property Subscription Identifier, which it must not have");
    refuse(&[0x17, 1], "CONNACK with property Request Problem Information, which it must not have");
    refuse(&[0x7f], "CONNACK with property 0x7f, which it must not have");
    refuse(&[0x80, 1], "CONNACK with property 0x80, which it must not have");
    refuse(&[0x18, 0, 0, 0, 0], "CONNACK with property 0x18, which it must not have");
    // Paho reads what follows the packet for these.
    refuse(&[0x24], "CONNACK that ends too early");
    refuse(&[0x13, 0], "CONNACK that ends too early");
    refuse(&[0x11, 0, 0, 0], "CONNACK that ends too early");
    refuse(&[0x1f, 0], "CONNACK that ends too early");
    refuse(&[0x1f, 0, 3, b'a', b'b'], "CONNACK that ends too early");
    refuse(&[0x26, 0, 1, b'a', 0, 1], "CONNACK that ends too early");
    refuse(&[0x1f, 0, 1, 0], "CONNACK with U+0000 in its text");
    refuse(&[0x26, 0, 1, b'a', 0, 1, 0], "CONNACK with U+0000 in its text");
    refuse(&[0x1f, 0, 1, 0xff], "CONNACK with text that is not UTF-8");
    refuse(&[0x1f, 0, 3, 0xed, 0xa0, 0x80], "CONNACK with text that is not UTF-8");
    let user: &[u8] = &[0x26, 0, 0, 0, 0];
    refuse(&user.repeat(65), "CONNACK with more than 64 user properties");
    refuse(&user.repeat(3277), "CONNACK with more than 16 KiB of properties");
    let body = [vec![0, 0], encoder::listed(Protocol::V5, &user.repeat(64))].concat();
    let mut inspector = Inspector::new(Protocol::V5, MAXIMUM);
    inspector.sent(&encoder::connect(Protocol::V5, None), Moment(0));
    assert!(inspector.received(&packet(0x20, &body)).is_ok());
    // A list that ends within a property: Paho's count of what is left goes below zero.
    check(Protocol::V5, &[(&[0x30, 7, 0, 1, b't', 1, 0x02, 0, 0], "PUBLISH that ends too early")]);
}

#[test]
fn publish() {
    let both: [(&[u8], &str); 8] = [
        (&[0x30, 0], "PUBLISH that ends too early"),
        (&[0x30, 1, 0], "PUBLISH that ends too early"),
        (&[0x30, 3, 0, 2, b't'], "PUBLISH that ends too early"),
        (&[0x32, 4, 0, 1, b't', 0], "PUBLISH that ends too early"),
        (&[0x32, 6, 0, 1, b't', 0, 0, 0], "PUBLISH with packet identifier 0"),
        (&[0x34, 6, 0, 1, b't', 0, 0, 0], "PUBLISH with packet identifier 0"),
        (&[0x30, 4, 0, 1, 0, 0], "PUBLISH with U+0000 in its text"),
        (&[0x30, 4, 0, 1, 0xff, 0], "PUBLISH with text that is not UTF-8"),
    ];
    check(Protocol::V311, &both);
    check(Protocol::V5, &both);
    for protocol in BOTH {
        for topic in ["a/+", "#", "a#b"] {
            let bytes = encoder::publish(protocol, 0, topic, 0, &[], &[]);
            check(protocol, &[(&bytes, "PUBLISH with a wildcard in its topic")]);
        }
        let bytes = encoder::publish(protocol, 0, "", 0, &[], b"x");
        check(protocol, &[(&bytes, "PUBLISH without a topic")]);
    }
    let v5 = |properties: &[u8], words: &str| {
        check(Protocol::V5, &[(&encoder::publish(Protocol::V5, 0, "t", 0, properties, b"x"), words)]);
        check(Protocol::V5, &[(&encoder::publish(Protocol::V5, 2, "t", 9, properties, b"x"), words)]);
    };
    v5(&[0x23, 0, 1], "PUBLISH with a topic alias, though none was allowed");
    v5(&[0x23, 0, 0], "PUBLISH with property Topic Alias, whose value is out of range");
    v5(&[0x01, 2], "PUBLISH with property Payload Format Indicator, whose value is out of range");
    v5(&[0x0b, 0], "PUBLISH with property Subscription Identifier, whose value is out of range");
    v5(&[0x0b, 0xff, 0xff, 0xff, 0xff], "PUBLISH with a number of too many bytes");
    v5(&[0x0b, 0xff], "PUBLISH that ends too early");
    v5(&[0x1f, 0, 0], "PUBLISH with property Reason String, which it must not have");
    v5(&[0x0b, 1].repeat(1025), "PUBLISH with more than 1,024 properties");
    let alias = encoder::publish(Protocol::V5, 0, "", 0, &[0x23, 0, 1], b"x");
    let violation = up(Protocol::V5).received(&alias).expect_err("refused");
    assert_eq!(violation.code(), 0x94);

    let bytes = encoder::publish(Protocol::V5, 0x0b, "a/b", 7, &[0x0b, 1, 0x0b, 2, 0x26, 0, 0, 0, 0], b"\0\xff");
    assert_eq!(
        up(Protocol::V5).received(&bytes),
        Ok(Received::Publish { topic: "a/b", payload: b"\0\xff", qos: 1, id: Some(7), retain: true, duplicate: true })
    );
    // Without properties the payload begins at once.
    assert_eq!(
        up(Protocol::V311).received(&[0x30, 4, 0, 1, b't', 1]),
        Ok(Received::Publish { topic: "t", payload: &[1], qos: 0, id: None, retain: false, duplicate: false })
    );
}

#[test]
fn acknowledgements() {
    for (first, name) in [(0x40, "PUBACK"), (0x50, "PUBREC"), (0x62, "PUBREL"), (0x70, "PUBCOMP")] {
        let said = |words: &str| format!("{name} {words}");
        for protocol in BOTH {
            check(protocol, &[(&[first, 0], &said("that ends too early"))]);
            check(protocol, &[(&[first, 1, 0], &said("that ends too early"))]);
            check(protocol, &[(&[first, 2, 0, 0], &said("with packet identifier 0"))]);
        }
        check(Protocol::V311, &[(&[first, 3, 0, 1, 0], &said("with bytes behind its end"))]);
        check(
            Protocol::V5,
            &[
                (&[first, 3, 0, 1, 1], &said("with reason code 0x01")),
                (&[first, 5, 0, 1, 0, 0, 0], &said("with bytes behind its end")),
                (&[first, 4, 0, 1, 0, 1], &said("that ends too early")),
                (&[first, 6, 0, 1, 0, 2, 0x24, 1], &said("with property Maximum QoS, which it must not have")),
                (&[first, 8, 0, 1, 0, 4, 0x1f, 0, 1, 0], &said("with U+0000 in its text")),
            ],
        );
    }
}

#[test]
fn suback_and_unsuback() {
    check(
        Protocol::V311,
        &[
            (&[0x90, 0], "SUBACK that ends too early"),
            (&[0x90, 2, 0, 7], "SUBACK without reason codes"),
            (&[0x90, 3, 0, 7, 3], "SUBACK with return code 0x03"),
            (&[0x90, 4, 0, 7, 0x80, 0x7f], "SUBACK with return code 0x7f"),
            (&[0xb0, 1, 0], "UNSUBACK that ends too early"),
            (&[0xb0, 3, 0, 7, 0], "UNSUBACK with bytes behind its end"),
        ],
    );
    check(
        Protocol::V5,
        &[
            (&[0x90, 2, 0, 7], "SUBACK that ends too early"),
            (&[0x90, 3, 0, 7, 0], "SUBACK without reason codes"),
            (&[0x90, 4, 0, 7, 0, 3], "SUBACK with reason code 0x03"),
            (&[0x90, 4, 0, 7, 9, 0], "SUBACK that ends too early"),
            (&[0xb0, 2, 0, 7], "UNSUBACK that ends too early"),
            (&[0xb0, 3, 0, 7, 0], "UNSUBACK without reason codes"),
            (&[0xb0, 4, 0, 7, 0, 1], "UNSUBACK with reason code 0x01"),
        ],
    );
}

#[test]
fn disconnect() {
    check(
        Protocol::V5,
        &[
            (&[0xe0, 1, 4], "DISCONNECT with reason code 0x04"),
            (&[0xe0, 2, 0x8b, 1], "DISCONNECT that ends too early"),
            (&[0xe0, 3, 0x8b, 0, 0], "DISCONNECT with bytes behind its end"),
            (
                &[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 1],
                "DISCONNECT with property Session Expiry Interval, which it must not have",
            ),
        ],
    );
    let told = |bytes| match up(Protocol::V5).received(bytes) {
        Ok(Received::Disconnect { code, reason, reference }) => (code, reason, reference),
        other => panic!("{other:?}"),
    };
    assert_eq!(told(&[0xe0, 0]), (0, None, None));
    assert_eq!(told(&[0xe0, 1, 0x8b]), (0x8b, None, None));
    assert_eq!(told(&[0xe0, 2, 0xfe, 0]), (0xfe, None, None));
    assert_eq!(told(&[0xe0, 6, 0x9c, 4, 0x1c, 0, 1, b's']), (0x9c, None, Some("s")));
}
