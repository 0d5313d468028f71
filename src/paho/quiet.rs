//! Defines how Paho's own log is kept from writing what nobody here asked for.
#![allow(unsafe_code)]

/// Forgets what the environment says of Paho's trace, which would go to any file, with what clients publish
/// (`Log_initialize` in Paho's `Log.c`). To be called before Paho's first client, and any other thread.
pub(super) fn quiet() {
    for name in ["MQTT_C_CLIENT_TRACE", "MQTT_C_CLIENT_TRACE_LEVEL", "MQTT_C_CLIENT_TRACE_MAX_LINES"] {
        // SAFETY: no other thread runs yet that might read the environment meanwhile.
        unsafe { std::env::remove_var(name) }
    }
}
