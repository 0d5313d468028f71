//! Defines which keys a fleet file can have, table by table, and which of them this release understands; what they mean is their readers' matter.

use crate::document::{Keys, Redaction};

const AGENT_KEYS: &[&str] = &["group"];
const METRICS_KEYS: &[&str] = &["listen", "label", "clients", "influx"];
const INFLUX_KEYS: &[&str] = &["url", "database", "username", "password", "org", "bucket", "token", "every", "keep"];
const ALERT_KEYS: &[&str] = &[
    "name",
    "match",
    "state",
    "slow",
    "late",
    "certificate_ends",
    "reason",
    "flaps",
    "at_least",
    "for",
    "clear",
    "severity",
    "notify",
    "recover",
];
const STORE_KEYS: &[&str] = &["url", "username", "password", "ca_file", "agent", "lease", "events"];
const HOOK_KEYS: &[&str] = &["name", "from", "to", "match", "run", "mode", "at_most", "timeout", "initial"];
const FLEET_KEYS: &[&str] = &["name", "env", "worker_size"];
const ENDPOINT_KEYS: &[&str] = &[
    "url",
    "connect_rate",
    "max_connecting",
    "ca_file",
    "crl_file",
    "insecure",
    "server_name",
    "tls_min",
    "alpn",
    "headers",
    "proxy",
    "bind",
];
const CLIENT_KEYS: &[&str] = &["id", "count", "start", "endpoints", "from", "columns"];
pub(super) const COMMON_KEYS: &[&str] = &[
    "protocol",
    "keep_alive",
    "clean_start",
    "connect_timeout",
    "reconnect",
    "probe",
    "slow",
    "username",
    "password",
    "start_connected",
    "session_expiry",
    "receive_maximum",
    "maximum_packet_size",
    "user_properties",
    "follow_redirects",
    "cert_file",
    "key_file",
    "key_password",
    "labels",
    "subscribe",
    "will",
    "birth",
    "publish",
];

const IN_FLEET: (&str, &[&str]) = ("[fleet]", FLEET_KEYS);
const IN_ENDPOINT: (&str, &[&str]) = ("[endpoint.NAME]", ENDPOINT_KEYS);
const IN_CLIENT: (&str, &[&str]) = ("[[client]]", CLIENT_KEYS);
const IN_BOTH: (&str, &[&str]) = ("[defaults] or [[client]]", COMMON_KEYS);

pub(super) const TABLES: Keys = Keys {
    now: &["fleet", "agent", "metrics", "hook", "alert", "notify", "store", "endpoint", "defaults", "label", "client"],
    later: &[],
    elsewhere: &[IN_FLEET, IN_ENDPOINT, IN_CLIENT, IN_BOTH],
};
pub(super) const FLEET: Keys = Keys { now: FLEET_KEYS, later: &[], elsewhere: &[IN_ENDPOINT, IN_CLIENT, IN_BOTH] };
pub(super) const AGENT: Keys =
    Keys { now: AGENT_KEYS, later: &[], elsewhere: &[IN_FLEET, IN_ENDPOINT, IN_CLIENT, IN_BOTH] };
pub(super) const METRICS: Keys =
    Keys { now: METRICS_KEYS, later: &[], elsewhere: &[IN_FLEET, IN_ENDPOINT, IN_CLIENT, IN_BOTH] };
pub(super) const INFLUX: Keys = Keys { now: INFLUX_KEYS, later: &[], elsewhere: &[("[metrics]", METRICS_KEYS)] };
pub(super) const STORE: Keys = Keys { now: STORE_KEYS, later: &[], elsewhere: &[IN_ENDPOINT, IN_FLEET] };
pub(super) const HOOK: Keys =
    Keys { now: HOOK_KEYS, later: &[], elsewhere: &[("`clients` of [metrics]", &["clients"]), IN_ENDPOINT, IN_BOTH] };
pub(super) const PICKED: Keys = Keys { now: &["match", "at_most"], later: &[], elsewhere: &[] };
pub(super) const MATCH: Keys =
    Keys { now: &["endpoint", "label", "id", "state", "reason"], later: &[], elsewhere: &[] };
pub(super) const ALERT: Keys = Keys { now: ALERT_KEYS, later: &[], elsewhere: &[IN_NOTIFY] };
pub(super) const CLEAR: Keys = Keys { now: &["below", "for"], later: &[], elsewhere: &[] };
pub(super) const RECOVER: Keys =
    Keys { now: &["action", "run", "to", "after", "timeout", "at_most", "every"], later: &[], elsewhere: &[] };
pub(super) const FLAPS: Keys = Keys { now: &["more_than", "in"], later: &[], elsewhere: &[] };
/// Who is told, by kind.
pub(super) const NOTIFY: Keys = Keys { now: &["webhook", "alertmanager", "mail", "exec"], later: &[], elsewhere: &[] };
const IN_NOTIFY: (&str, &[&str]) = ("[notify.KIND.NAME]", &["at_most", "repeat", "group", "resolved"]);
pub(super) const WEBHOOK: Keys = Keys {
    now: &["url", "username", "password", "token", "at_most", "repeat", "group", "resolved"],
    later: &[],
    elsewhere: &[],
};
/// It groups by itself, and never hears too often.
pub(super) const ALERTMANAGER: Keys = Keys {
    now: &["url", "username", "password", "token", "repeat", "resolved"],
    later: &[],
    elsewhere: &[("the other kinds of notifiers", &["at_most", "group"])],
};
pub(super) const MAIL: Keys = Keys {
    now: &["server", "from", "to", "username", "password", "tls", "at_most", "repeat", "group", "resolved"],
    later: &[],
    elsewhere: &[],
};
pub(super) const EXEC: Keys =
    Keys { now: &["run", "at_most", "repeat", "group", "resolved"], later: &[], elsewhere: &[] };
pub(super) const ENDPOINT: Keys = Keys { now: ENDPOINT_KEYS, later: &[], elsewhere: &[IN_FLEET, IN_CLIENT, IN_BOTH] };
pub(super) const DEFAULTS: Keys = Keys { now: COMMON_KEYS, later: &[], elsewhere: &[IN_CLIENT, IN_ENDPOINT, IN_FLEET] };
pub(super) const LABEL: Keys =
    Keys { now: &["probe", "slow"], later: &[], elsewhere: &[IN_CLIENT, IN_BOTH, IN_ENDPOINT, IN_FLEET] };
pub(super) const CLIENT: Keys = Keys {
    now: &[
        "id",
        "count",
        "start",
        "endpoints",
        "from",
        "columns",
        "protocol",
        "keep_alive",
        "clean_start",
        "connect_timeout",
        "reconnect",
        "probe",
        "slow",
        "username",
        "password",
        "start_connected",
        "session_expiry",
        "receive_maximum",
        "maximum_packet_size",
        "user_properties",
        "follow_redirects",
        "cert_file",
        "key_file",
        "key_password",
        "labels",
        "subscribe",
        "will",
        "birth",
        "publish",
    ],
    later: &[],
    elsewhere: &[IN_ENDPOINT, IN_FLEET],
};
pub(super) const RECONNECT: Keys =
    Keys { now: &["strategy", "min", "max", "every", "max_retries", "stable_after"], later: &[], elsewhere: &[] };
pub(super) const PROBE: Keys = Keys { now: &["kind", "every", "topic"], later: &[], elsewhere: &[] };
pub(super) const PROBE_OF_LABEL: Keys =
    Keys { now: &["kind", "every"], later: &[], elsewhere: &[("`probe` of [defaults] or [[client]]", &["topic"])] };
pub(super) const SLOW: Keys = Keys { now: &["p99"], later: &[], elsewhere: &[] };
pub(super) const SUBSCRIPTION: Keys = Keys { now: &["topic", "qos"], later: &[], elsewhere: &[] };
pub(super) const MESSAGE: Keys = Keys { now: &["topic", "payload", "qos", "retain"], later: &[], elsewhere: &[] };
pub(super) const TRAFFIC: Keys =
    Keys { now: &["topic", "payload", "qos", "retain", "every"], later: &[], elsewhere: &[] };
pub(super) const PASSWORD: Keys =
    Keys { now: &["env", "file", "credential", "command", "every"], later: &[], elsewhere: &[] };
pub(super) const HEADER: Keys =
    Keys { now: &["env", "file", "credential"], later: &[], elsewhere: &[("`password`", &["command", "every"])] };

/// The lines of a fleet file that errors may show: those of its own keys, but for secrets.
pub(super) const REDACTION: Redaction = Redaction {
    shown: &[
        TABLES.now,
        FLEET_KEYS,
        AGENT_KEYS,
        METRICS_KEYS,
        INFLUX_KEYS,
        STORE_KEYS,
        HOOK_KEYS,
        PICKED.now,
        MATCH.now,
        ALERT_KEYS,
        CLEAR.now,
        FLAPS.now,
        RECOVER.now,
        MAIL.now,
        EXEC.now,
        ENDPOINT_KEYS,
        CLIENT_KEYS,
        COMMON_KEYS,
        RECONNECT.now,
        PROBE.now,
        SLOW.now,
        TRAFFIC.now,
        PASSWORD.now,
    ],
};
