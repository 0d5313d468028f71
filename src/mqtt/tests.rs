//! Tests the inspector: rule by rule, and against conversations made at random.

mod conversation;
mod encoder;
mod fuzz;
mod paho;
mod rules;
mod turns;
mod unanswered;

use super::*;
use encoder::packet;

const MAXIMUM: u32 = 256 * 1024;
const BOTH: [Protocol; 2] = [Protocol::V311, Protocol::V5];

/// After CONNECT and a plain CONNACK.
fn up(protocol: Protocol) -> Inspector {
    let mut inspector = Inspector::new(protocol, MAXIMUM);
    assert_eq!(inspector.sent(&encoder::connect(protocol, None), Moment(0)), Sent::Connect { keep_alive: 30 });
    inspector.received(&connack(protocol)).expect("a CONNACK");
    inspector
}

fn connack(protocol: Protocol) -> Vec<u8> {
    packet(0x20, if protocol == Protocol::V5 { &[0, 0, 0] } else { &[0, 0] })
}

fn refused(inspector: &mut Inspector, packet: &[u8]) -> String {
    inspector.received(packet).expect_err("refused").to_string()
}

#[test]
fn a_connection_costs_little() {
    assert!(size_of::<Inspector>() <= 96, "{}", size_of::<Inspector>());
    assert!(size_of::<Violation>() <= 32, "{}", size_of::<Violation>());
    let inspector = up(Protocol::V5);
    assert_eq!((inspector.flight.heap(), inspector.unanswered.heap()), (0, 0));
}
