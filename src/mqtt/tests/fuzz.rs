//! Tests that whatever a broker sends is either refused or harmless, and that what is well-formed is accepted.

use super::{
    conversation::{Conversation, Step},
    paho::Paho,
    *,
};
use fastrand::Rng;
use proptest::prelude::*;

/// Of what one packet of the broker's may cost: the list of identifiers grows by doubling, and ends at
/// 65,535.
const HEAP_MAX: usize = 2 * 65_536 * size_of::<u16>();

/// What is accepted is read the same when it is written again, and Paho survives it.
fn accepted(protocol: Protocol, packet: &[u8], received: &Received, paho: &mut Paho) {
    let written = encoder::again(protocol, received);
    assert_eq!(frame(&written, u32::MAX), Ok(Some(written.len())));
    let header = frame::header(&written).expect("a header").expect("a whole one");
    assert_eq!(incoming::read(protocol, header, &written[header.len..]), Ok(*received), "{packet:02x?}");
    let instead = Inspector::new(protocol, MAXIMUM).instead(packet, received);
    if !matches!(received, Received::ConnAck { version3: true, .. }) {
        paho.receives(instead.as_ref().map_or(packet, |bytes| bytes));
    }
}

/// Some other bytes.
fn mutated(rng: &mut Rng, source: &[u8]) -> Vec<u8> {
    let mut bytes = source.to_vec();
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..bytes.len().max(1));
        match rng.u8(0..8) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << rng.u8(0..8),
            1 if !bytes.is_empty() => bytes[at] = rng.u8(..),
            2 if !bytes.is_empty() => bytes[at] = [0, 1, 2, 4, 0x7f, 0x80, 0xff][rng.usize(..7)],
            3 => bytes.insert(at.min(bytes.len()), rng.u8(..)),
            4 if !bytes.is_empty() => drop(bytes.remove(at)),
            5 => bytes.truncate(at),
            6 => bytes.extend((0..rng.usize(..6)).map(|_| rng.u8(..))),
            _ => bytes = (0..rng.usize(..24)).map(|_| rng.u8(..)).collect(),
        }
    }
    // What is far off in its length is refused for that alone.
    if bytes.len() > 1 && rng.u8(0..4) > 0 {
        let body = bytes.split_off(2);
        bytes = packet(bytes[0], &body);
    }
    bytes
}

/// Tries so many inputs, each in a conversation that went well up to it.
fn fuzz(inputs: u64) {
    let seed = std::env::var("MQFLEET_SEED").map_or_else(|_| fastrand::u64(..), |s| s.parse().expect("a seed"));
    println!("MQFLEET_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let (mut tried, mut let_through) = (0, 0_u64);
    while tried < inputs {
        let protocol = rng.choice(BOTH).expect("a protocol");
        let mut conversation = Conversation::new(protocol, rng.u64(..));
        let mut state = (Inspector::new(protocol, MAXIMUM), Paho::new(protocol));
        // What came before is sent again at times, and what is let through may be where it goes on: then
        // the conversation need not go well any more.
        let (mut before, mut strayed) = (vec![vec![]], false);
        for _ in 0..rng.usize(1..60) {
            let packet = match conversation.next() {
                Step::Sent(packet) => {
                    assert_ne!(state.0.sent(&packet, Moment(0)), Sent::Other);
                    state.1.sends(&packet);
                    continue;
                }
                Step::Received(packet) => packet,
            };
            for _ in 0..4 {
                tried += 1;
                let source = if rng.u8(0..4) == 0 { rng.choice(&before).expect("the first") } else { &packet };
                let bytes = if rng.u8(0..8) == 0 { source.clone() } else { mutated(&mut rng, source) };
                let mut other = state.clone();
                let _ = frame(&bytes, MAXIMUM);
                if let Ok(received) = other.0.received(&bytes) {
                    let_through += 1;
                    accepted(protocol, &bytes, &received, &mut other.1);
                    if rng.u8(0..32) == 0 {
                        (state, strayed) = (other.clone(), true);
                    }
                }
                let _ = other.0.sent(&bytes, Moment(0));
            }
            match state.0.received(&packet) {
                Ok(received) => accepted(protocol, &packet, &received, &mut state.1),
                Err(_) if strayed => break,
                Err(violation) => panic!("{violation}: {packet:02x?}"),
            }
            before.push(packet);
        }
    }
    println!("{tried} inputs, {let_through} let through");
    assert!(let_through > tried / 100, "hardly anything was let through");
}

#[test]
fn broken_packets_are_refused_or_harmless() {
    let rounds = std::env::var("MQFLEET_ROUNDS").map_or(1, |n| n.parse().expect("MQFLEET_ROUNDS is a number"));
    fuzz(rounds * 100_000);
}

#[test]
#[ignore = "minutes: cargo test --release --lib mqtt -- --ignored"]
fn ten_million_broken_packets_are_refused_or_harmless() {
    fuzz(10_000_000);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn any_bytes_are_refused_or_harmless(
        is_v5: bool,
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
    ) {
        let protocol = BOTH[usize::from(is_v5)];
        let (mut inspector, mut paho) = (up(protocol), Paho::new(protocol));
        for bytes in &packets {
            let _ = frame(bytes, MAXIMUM);
            if let Ok(received) = inspector.received(bytes) {
                accepted(protocol, bytes, &received, &mut paho);
            }
            prop_assert!(inspector.flight.heap() <= HEAP_MAX);
            let violation = inspector.received(bytes);
            prop_assert!(violation.is_ok() || violation.is_err_and(|v| v.to_string().len() < 200));
        }
    }

    #[test]
    fn conversations_that_keep_to_the_rules_are_let_through(is_v5: bool, seed: u64, steps in 1..400_usize) {
        let protocol = BOTH[usize::from(is_v5)];
        let mut conversation = Conversation::new(protocol, seed);
        let (mut inspector, mut paho) = (Inspector::new(protocol, MAXIMUM), Paho::new(protocol));
        for _ in 0..steps {
            match conversation.next() {
                Step::Sent(packet) => {
                    prop_assert_ne!(inspector.sent(&packet, Moment(0)), Sent::Other);
                    paho.sends(&packet);
                }
                Step::Received(packet) => {
                    prop_assert_eq!(frame(&packet, MAXIMUM), Ok(Some(packet.len())));
                    let received = inspector.received(&packet);
                    prop_assert!(received.is_ok(), "{:?} for {:02x?}", received, packet);
                    accepted(protocol, &packet, &received.expect("let through"), &mut paho);
                }
            }
        }
    }

    #[test]
    fn a_packet_is_told_when_it_is_whole(body in proptest::collection::vec(any::<u8>(), 0..300), cut in 0..310_usize) {
        let mut bytes = packet(0x30, &body);
        let whole = bytes.len();
        bytes.extend_from_slice(&[0xff; 10]);
        bytes.truncate(cut);
        prop_assert_eq!(frame(&bytes, 1000), Ok((cut >= whole).then_some(whole)));
    }
}

#[test]
fn all_identifiers_in_flight_take_a_bounded_room() {
    let mut inspector = up(Protocol::V311);
    for id in (1..=u16::MAX).rev() {
        let packet = encoder::publish(Protocol::V311, 4, "t", id, &[], &[]);
        inspector.received(&packet).expect("a free identifier");
    }
    assert!(inspector.flight.heap() <= HEAP_MAX);
    for id in 1..=u16::MAX {
        inspector.received(&encoder::about(0x62, id, &[])).expect("a release");
    }
    assert_eq!(inspector.flight.heap(), 0);
}
