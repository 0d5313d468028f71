//! Defines how a client becomes what Paho is told at a connect; pure.

use std::time::Duration;

use paho_mqtt as mqtt;

use super::message::message;
use crate::{fleet::Protocol, wire::ClientDef};

pub(super) fn connect_options(def: &ClientDef) -> mqtt::Result<mqtt::ConnectOptions> {
    let mut options = mqtt::ConnectOptionsBuilder::with_mqtt_version(version(def.settings.protocol));
    match def.settings.protocol {
        Protocol::V311 => options.clean_session(def.settings.clean_start),
        Protocol::V5 => options.clean_start(def.settings.clean_start).properties(properties(def)?),
    };
    let keep_alive = match def.settings.keep_alive {
        Duration::ZERO => NO_KEEP_ALIVE,
        d => whole_seconds(d),
    };
    // Whoever ordered the connect gives it up in time, not Paho.
    let connect_timeout = whole_seconds(def.settings.connect_timeout.saturating_mul(2));
    options.keep_alive_interval(keep_alive).connect_timeout(connect_timeout);
    if let Some(name) = &def.username {
        options.user_name(&**name);
    }
    if let Some(password) = &def.password {
        options.password(password.expose());
    }
    if let Some(will) = &def.conversation.will {
        options.will_message(message(will));
    }
    Ok(options.finalize())
}

/// No keep alive. The crate makes 1 s of 0, but of any other number takes the lower 32 bits; Paho itself
/// knows 0 and sends it.
const NO_KEEP_ALIVE: Duration = Duration::from_secs(1 << 32);

fn properties(def: &ClientDef) -> mqtt::Result<mqtt::Properties> {
    let mut properties = mqtt::Properties::new();
    if !def.settings.session_expiry.is_zero() {
        let seconds = u32::try_from(def.settings.session_expiry.as_secs()).unwrap_or(u32::MAX);
        properties.push_u32(mqtt::PropertyCode::SessionExpiryInterval, seconds)?;
    }
    if let Some(maximum) = def.settings.receive_maximum {
        properties.push_u16(mqtt::PropertyCode::ReceiveMaximum, maximum)?;
    }
    properties.push_u32(mqtt::PropertyCode::MaximumPacketSize, def.settings.maximum_packet_size)?;
    for (name, value) in &def.settings.user_properties {
        properties.push_string_pair(mqtt::PropertyCode::UserProperty, name, value)?;
    }
    Ok(properties)
}

pub(super) fn version(protocol: Protocol) -> u32 {
    match protocol {
        Protocol::V311 => mqtt::MQTT_VERSION_3_1_1,
        Protocol::V5 => mqtt::MQTT_VERSION_5,
    }
}

/// Paho counts in seconds: the next whole one, at least 1 and at most what a keep alive may be.
fn whole_seconds(d: Duration) -> Duration {
    Duration::from_secs(d.as_secs().saturating_add(u64::from(d.subsec_nanos() > 0)).clamp(1, 65_535))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up_to_what_paho_counts_in() {
        assert_eq!(whole_seconds(Duration::ZERO), Duration::from_secs(1));
        assert_eq!(whole_seconds(Duration::from_millis(1001)), Duration::from_secs(2));
        assert_eq!(whole_seconds(Duration::from_secs(3)), Duration::from_secs(3));
        assert_eq!(whole_seconds(Duration::MAX), Duration::from_secs(65_535));
    }
}
