//! Defines the JSON lines of what an endpoint is and what it says when it accepts a client; the other lines are in `lines`.

use std::{net::SocketAddr, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::event::{self, StageKind};

/// What a probe found.
#[derive(Serialize)]
pub(super) struct Finding<'a> {
    ts: String,
    endpoint: &'a str,
    ok: bool,
    stages_us: Stages,
    address: Option<SocketAddr>,
    tls: Option<&'static str>,
    cipher: Option<&'a str>,
    certificate: Option<Certificate<'a>>,
    reason: Option<&'static str>,
    detail: Option<&'a str>,
}

impl<'a> Finding<'a> {
    pub(super) fn of(ts: String, endpoint: &'a str, finding: &'a event::Finding, now: DateTime<Utc>) -> Finding<'a> {
        let mut stages_us = Stages::default();
        for stage in &finding.stages {
            let place = match stage.kind {
                StageKind::Dns => &mut stages_us.dns,
                StageKind::Tcp => &mut stages_us.tcp,
                StageKind::Proxy => &mut stages_us.proxy,
                StageKind::Tls => &mut stages_us.tls,
                StageKind::WebSocket => &mut stages_us.websocket,
            };
            *place = Some(micros(stage.took));
        }
        let session = finding.session.as_ref();
        let cause = finding.failure.as_ref().map(|failure| &failure.cause);
        Finding {
            ts,
            endpoint,
            ok: finding.is_ok(),
            stages_us,
            address: finding.address,
            tls: session.and_then(|s| s.protocol),
            cipher: session.and_then(|s| s.cipher.as_deref()),
            certificate: finding.certificate().map(|certificate| Certificate {
                subject: &certificate.subject,
                not_after: certificate.not_after.map(|end| end.to_rfc3339_opts(SecondsFormat::Secs, true)),
                days_left: certificate.days_left(now),
            }),
            reason: cause.map(|c| c.reason.name()),
            detail: cause.map(|c| c.detail.as_str()),
        }
    }
}

/// What a broker said when it accepted a client.
#[derive(Serialize)]
pub(super) struct Connack<'a> {
    ts: String,
    client: &'a str,
    session_present: bool,
    reached_us: Option<u64>,
    answered_us: Option<u64>,
    #[serde(flatten)]
    said: Said<'a>,
}

impl<'a> Connack<'a> {
    pub(super) fn of(ts: String, client: &'a str, connack: &'a event::Connack) -> Connack<'a> {
        Connack {
            ts,
            client,
            session_present: connack.session_present,
            reached_us: connack.reached.map(micros),
            answered_us: connack.answered.map(micros),
            said: Said::of(connack),
        }
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

/// How long each stage took; those that were not gone through are left out.
#[derive(Default, Serialize)]
struct Stages {
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    websocket: Option<u64>,
}

/// The broker's own certificate.
#[derive(Serialize)]
struct Certificate<'a> {
    subject: &'a str,
    not_after: Option<String>,
    days_left: Option<i64>,
}

/// The properties of a CONNACK, by their names in MQTT 5.0 §3.2.2.3; those that were not said are
/// left out.
#[derive(Serialize)]
struct Said<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    session_expiry_interval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receive_maximum: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum_qos: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retain_available: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum_packet_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assigned_client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_alias_maximum: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_string: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wildcard_subscription_available: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_identifiers_available: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shared_subscription_available: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_keep_alive: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_reference: Option<&'a str>,
}

impl<'a> Said<'a> {
    fn of(connack: &'a event::Connack) -> Said<'a> {
        Said {
            session_expiry_interval: connack.session_expiry,
            receive_maximum: connack.receive_maximum,
            maximum_qos: connack.maximum_qos,
            retain_available: connack.retain_available,
            maximum_packet_size: connack.maximum_packet_size,
            assigned_client_id: connack.assigned_client_id.as_deref(),
            topic_alias_maximum: connack.topic_alias_maximum,
            reason_string: connack.reason_string.as_deref(),
            wildcard_subscription_available: connack.wildcard_subscription_available,
            subscription_identifiers_available: connack.subscription_identifiers_available,
            shared_subscription_available: connack.shared_subscription_available,
            server_keep_alive: connack.server_keep_alive,
            server_reference: connack.server_reference.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use chrono::{TimeZone, Utc};

    use crate::{
        clock::{Anchor, Moment},
        event::{
            Cause, Certificate, Connack, Event, Failure, Finding, Reason, Session, Shortfall, Stage, StageKind, What,
        },
        fleet::{Client, ClientKey, Endpoint, EndpointKey, Fleet},
        text::Scrubbed,
    };

    #[test]
    fn what_a_connection_is_has_lines_of_its_own() {
        let fleet = Fleet {
            name: Scrubbed::new("plant-eu"),
            env: None,
            worker_size: 500,
            endpoints: vec![Endpoint::new("eu-1", "h", 1)],
            clients: vec![Client::new("press-0002", EndpointKey(0), Arc::default())],
        };
        let anchor = Anchor::new(Moment(0), Utc.with_ymd_and_hms(2026, 11, 22, 12, 0, 0).unwrap());
        let json = |what| crate::lines::json(&fleet, &anchor, &Event { at: Moment(1_500_000), what }, false).unwrap();
        let stage = |kind, us| Stage { kind, took: Duration::from_micros(us) };
        let certificate = Certificate {
            subject: Scrubbed::new("CN=eu-1"),
            issuer: Scrubbed::new("CN=ca"),
            names: Vec::new(),
            not_before: None,
            not_after: Some("2026-11-25T12:00:00Z".parse().unwrap()),
        };
        let mut finding = Finding {
            stages: vec![stage(StageKind::Dns, 2_100), stage(StageKind::Tcp, 900), stage(StageKind::Tls, 12_000)],
            addresses: Arc::default(),
            address: Some("192.0.2.1:8883".parse().unwrap()),
            session: Some(Session {
                protocol: Some("TLSv1.3"),
                cipher: Some(Scrubbed::new("TLS_AES_256_GCM_SHA384")),
                alpn: None,
                chain: vec![certificate],
                overlooked: None,
                wants_certificate: false,
            }),
            failure: None,
        };
        let says = |finding: &Finding| json(What::Finding(EndpointKey(0), Arc::new(finding.clone())));
        assert_eq!(
            says(&finding),
            r#"{"type":"finding","ts":"2026-11-22T12:00:01.500Z","endpoint":"eu-1","ok":true,"stages_us":{"dns":2100,"tcp":900,"tls":12000},"address":"192.0.2.1:8883","tls":"TLSv1.3","cipher":"TLS_AES_256_GCM_SHA384","certificate":{"subject":"CN=eu-1","not_after":"2026-11-25T12:00:00Z","days_left":2},"reason":null,"detail":null}"#
        );
        let cause = Cause { reason: Reason::ConnectionRefused, detail: Scrubbed::new("by 192.0.2.1:8883") };
        (finding.session, finding.failure) = (None, Some(Failure { stage: StageKind::Tcp, cause }));
        finding.stages.pop();
        assert_eq!(
            says(&finding),
            r#"{"type":"finding","ts":"2026-11-22T12:00:01.500Z","endpoint":"eu-1","ok":false,"stages_us":{"dns":2100,"tcp":900},"address":"192.0.2.1:8883","tls":null,"cipher":null,"certificate":null,"reason":"connection_refused","detail":"by 192.0.2.1:8883"}"#
        );
        let connack = Connack {
            session_present: true,
            reached: Some(Duration::from_micros(14_000)),
            maximum_qos: Some(1),
            server_keep_alive: Some(60),
            ..Connack::default()
        };
        assert_eq!(
            json(What::Connack(ClientKey(0), Arc::new(connack))),
            r#"{"type":"connack","ts":"2026-11-22T12:00:01.500Z","client":"press-0002","session_present":true,"reached_us":14000,"answered_us":null,"maximum_qos":1,"server_keep_alive":60}"#
        );
        let shortfall = Shortfall {
            client: ClientKey(0),
            request: crate::event::Request::Subscription,
            filter: Scrubbed::new("cmd/#"),
            asked: 1,
            granted: None,
            detail: Scrubbed::default(),
        };
        assert_eq!(
            json(What::Shortfall(shortfall)),
            r#"{"type":"shortfall","ts":"2026-11-22T12:00:01.500Z","client":"press-0002","request":"subscription","filter":"cmd/#","asked":1,"granted":null,"detail":""}"#
        );
    }
}
