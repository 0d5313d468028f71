//! Defines how Paho's answer to a connect that was accepted becomes a [`Connack`]; pure.

use std::time::Duration;

use paho_mqtt::{Properties, PropertyCode, ServerResponse};

use crate::{
    clock::Moment,
    event::{Connack, Stage},
    text::Scrubbed,
};

/// When a connect was ordered, when CONNECT went out, as far as that is known, and when CONNACK came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub ordered: Moment,
    pub asked: Option<Moment>,
    pub up: Moment,
}

pub(super) fn connack(answer: &ServerResponse, times: Times, stages: &[Stage]) -> Connack {
    let session_present = answer.connect_response().is_some_and(|r| r.session_present);
    let reached = times.asked.map(|at| at.since(times.ordered));
    let answered = times.asked.map(|at| times.up.since(at));
    let said = said(answer.properties(), session_present, reached, answered);
    Connack { stages: stages.to_vec(), ..said }
}

/// What is out of the range that MQTT 5.0 §3.2.2.3 gives it counts as not said.
fn said(
    properties: &Properties,
    session_present: bool,
    reached: Option<Duration>,
    answered: Option<Duration>,
) -> Connack {
    let byte = |code| properties.get(code)?.get_byte();
    let flag = |code| match byte(code)? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    };
    let two = |code| properties.get(code)?.get_u16();
    let four = |code| properties.get(code)?.get_u32();
    let text = |code| properties.get_string(code).map(|text| Scrubbed::new(&text));
    Connack {
        session_present,
        stages: Vec::new(),
        reached,
        answered,
        session_expiry: four(PropertyCode::SessionExpiryInterval),
        receive_maximum: two(PropertyCode::ReceiveMaximum).filter(|&n| n > 0),
        maximum_qos: byte(PropertyCode::MaximumQos).filter(|&qos| qos < 2),
        retain_available: flag(PropertyCode::RetainAvailable),
        maximum_packet_size: four(PropertyCode::MaximumPacketSize).filter(|&n| n > 0),
        assigned_client_id: text(PropertyCode::AssignedClientIdentifer),
        topic_alias_maximum: two(PropertyCode::TopicAliasMaximum),
        reason_string: text(PropertyCode::ReasonString),
        wildcard_subscription_available: flag(PropertyCode::WildcardSubscriptionAvailable),
        subscription_identifiers_available: flag(PropertyCode::SubscriptionIdentifiersAvailable),
        shared_subscription_available: flag(PropertyCode::SharedSubscriptionAvailable),
        server_keep_alive: two(PropertyCode::ServerKeepAlive),
        server_reference: text(PropertyCode::ServerReference),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_is_nothing_known() {
        assert_eq!(said(&Properties::new(), false, None, None), Connack::default());
    }

    #[test]
    fn what_makes_no_sense_counts_as_not_said() {
        let mut properties = Properties::new();
        properties.push_u16(PropertyCode::ReceiveMaximum, 0).unwrap();
        properties.push_byte(PropertyCode::MaximumQos, 2).unwrap();
        properties.push_byte(PropertyCode::RetainAvailable, 7).unwrap();
        properties.push_u32(PropertyCode::MaximumPacketSize, 0).unwrap();
        assert_eq!(said(&properties, false, None, None), Connack::default());
    }
}
