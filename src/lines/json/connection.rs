//! Defines the objects of what a connection is made of, the same in every line: stages, TLS and certificates, what a broker's CONNACK says, subscriptions.

use std::{net::SocketAddr, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use super::super::utc;
use crate::event::{self, Cause, Session};

/// What became of reaching an endpoint.
#[derive(Serialize)]
pub struct Outcome<'a> {
    pub ok: bool,
    pub stages_us: Stages,
    /// The one where it ended, where it failed.
    pub failed_stage: Option<&'static str>,
    /// All that the name stands for, and the one that accepted the connection.
    pub addresses: &'a [SocketAddr],
    pub address: Option<SocketAddr>,
    /// None where there was none.
    pub tls: Option<Tls<'a>>,
    /// Why it failed, by the reason's name.
    pub reason: Option<&'static str>,
    /// More about that; empty where there is nothing.
    pub detail: &'a str,
}

impl<'a> Outcome<'a> {
    pub(super) fn of(finding: &'a event::Finding, now: DateTime<Utc>) -> Outcome<'a> {
        let failure = finding.failure.as_ref();
        Outcome {
            ok: finding.is_ok(),
            stages_us: Stages::of(&finding.stages),
            failed_stage: failure.map(|failure| failure.stage.name()),
            addresses: &finding.addresses,
            address: finding.address,
            tls: finding.session.as_ref().map(|session| Tls::of(session, now)),
            reason: failure.map(|failure| failure.cause.reason.name()),
            detail: failure.map_or("", |failure| &failure.cause.detail),
        }
    }
}

/// How long each stage took, in microseconds by its name, in their order; those that were not gone through are left out.
pub struct Stages(Vec<(&'static str, Duration)>);

impl Stages {
    fn of(stages: &[event::Stage]) -> Stages {
        stages.iter().map(|stage| (stage.kind.name(), stage.took)).collect()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(&'static str, Duration)> for Stages {
    fn from_iter<I: IntoIterator<Item = (&'static str, Duration)>>(stages: I) -> Stages {
        Stages(stages.into_iter().collect())
    }
}

impl Serialize for Stages {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, took)| (name, micros(*took))))
    }
}

/// A time in microseconds, as all that is measured is told.
pub(super) fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

/// A TLS session, as far as it came.
#[derive(Serialize)]
pub struct Tls<'a> {
    /// The version, such as `TLSv1.3`.
    protocol: Option<&'static str>,
    cipher: Option<&'a str>,
    alpn: Option<&'a str>,
    wants_certificate: bool,
    /// What is wrong with it, and was not to be looked at (`insecure`).
    overlooked: Option<Flaw<'a>>,
    /// The broker's own certificate first.
    chain: Vec<Certificate<'a>>,
}

impl<'a> Tls<'a> {
    pub fn of(session: &'a Session, now: DateTime<Utc>) -> Tls<'a> {
        let flaw = |cause: &'a Cause| Flaw { reason: cause.reason.name(), detail: &cause.detail };
        Tls {
            protocol: session.protocol,
            cipher: session.cipher.as_deref(),
            alpn: session.alpn.as_deref(),
            wants_certificate: session.wants_certificate,
            overlooked: session.overlooked.as_ref().map(flaw),
            chain: session.chain.iter().map(|certificate| Certificate::of(certificate, now)).collect(),
        }
    }
}

#[derive(Serialize)]
struct Flaw<'a> {
    reason: &'static str,
    detail: &'a str,
}

#[derive(Serialize)]
struct Certificate<'a> {
    subject: &'a str,
    issuer: &'a str,
    names: Vec<&'a str>,
    not_before: Option<String>,
    not_after: Option<String>,
    days_left: Option<i64>,
}

impl<'a> Certificate<'a> {
    fn of(certificate: &'a event::Certificate, now: DateTime<Utc>) -> Certificate<'a> {
        Certificate {
            subject: &certificate.subject,
            issuer: &certificate.issuer,
            names: certificate.names.iter().map(|name| name.as_str()).collect(),
            not_before: certificate.not_before.map(utc),
            not_after: certificate.not_after.map(utc),
            days_left: certificate.days_left(now),
        }
    }
}

/// A subscription, or a message, and what the broker granted of it.
#[derive(Serialize)]
pub struct Subscription<'a> {
    pub filter: &'a str,
    /// The QoS, 0 to 2.
    pub asked: u8,
    /// The QoS; none where it was refused.
    pub granted: Option<u8>,
    pub detail: &'a str,
}

/// What a broker said when it accepted a client: the properties of its CONNACK, by their names in MQTT 5.0 §3.2.2.3.
/// Those that were not said are left out.
#[derive(Serialize)]
pub struct Connack<'a> {
    session_present: bool,
    /// The client's own, until CONNECT went out.
    #[serde(skip_serializing_if = "Stages::is_empty")]
    stages_us: Stages,
    /// All of them together.
    reached_us: Option<u64>,
    /// From CONNECT until CONNACK.
    answered_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_expiry_interval_s: Option<u32>,
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
    server_keep_alive_s: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_reference: Option<&'a str>,
}

impl<'a> Connack<'a> {
    pub fn of(connack: &'a event::Connack) -> Connack<'a> {
        Connack {
            session_present: connack.session_present,
            stages_us: Stages::of(&connack.stages),
            reached_us: connack.reached.map(micros),
            answered_us: connack.answered.map(micros),
            session_expiry_interval_s: connack.session_expiry,
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
            server_keep_alive_s: connack.server_keep_alive,
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
            r#"{"type":"finding","ts":"2026-11-22T12:00:01.500Z","endpoint":"eu-1","ok":true,"stages_us":{"dns":2100,"tcp":900,"tls":12000},"failed_stage":null,"addresses":[],"address":"192.0.2.1:8883","tls":{"protocol":"TLSv1.3","cipher":"TLS_AES_256_GCM_SHA384","alpn":null,"wants_certificate":false,"overlooked":null,"chain":[{"subject":"CN=eu-1","issuer":"CN=ca","names":[],"not_before":null,"not_after":"2026-11-25T12:00:00Z","days_left":2}]},"reason":null,"detail":""}"#
        );
        let cause = Cause { reason: Reason::ConnectionRefused, detail: Scrubbed::new("by 192.0.2.1:8883") };
        (finding.session, finding.failure) = (None, Some(Failure { stage: StageKind::Tcp, cause }));
        finding.stages.pop();
        assert_eq!(
            says(&finding),
            r#"{"type":"finding","ts":"2026-11-22T12:00:01.500Z","endpoint":"eu-1","ok":false,"stages_us":{"dns":2100,"tcp":900},"failed_stage":"tcp","addresses":[],"address":"192.0.2.1:8883","tls":null,"reason":"connection_refused","detail":"by 192.0.2.1:8883"}"#
        );
        let connack = Connack {
            session_present: true,
            stages: vec![stage(StageKind::Tcp, 900)],
            reached: Some(Duration::from_micros(14_000)),
            maximum_qos: Some(1),
            server_keep_alive: Some(60),
            ..Connack::default()
        };
        assert_eq!(
            json(What::Connack(ClientKey(0), Arc::new(connack))),
            r#"{"type":"connack","ts":"2026-11-22T12:00:01.500Z","client":"press-0002","session_present":true,"stages_us":{"tcp":900},"reached_us":14000,"answered_us":null,"maximum_qos":1,"server_keep_alive_s":60}"#
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
