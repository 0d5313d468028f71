//! Defines the doctor's line for scripts, one JSON object an endpoint; names in it are stable.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::{
    advice,
    case::{Case, Failure, Patient},
    trial::{Granted, Why},
    waterfall,
};
use crate::{
    event::{Cause, Certificate, Connack, Session},
    fleet::{Endpoint, Proxy},
};

pub(super) fn line(case: &Case<'_>, now: DateTime<Utc>) -> Value {
    let failure = case.failure();
    let stages = case.stages();
    let stages = stages.iter().map(|s| json!({ "stage": s.kind.name(), "ms": ms(s.took), "ok": s.ok }));
    json!({
        "type": "endpoint",
        "endpoint": case.endpoint.name,
        "url": waterfall::url(case.endpoint),
        "ok": case.is_ok(),
        "ms": ms(case.took()),
        "stages": stages.collect::<Vec<_>>(),
        "proxy": case.endpoint.proxy.as_ref().map(proxy),
        "addresses": *case.finding.addresses,
        "address": case.finding.address,
        "tls": case.finding.session.as_ref().map(|s| session(s, now)),
        "client": case.patient.map(|p| client(p, case)),
        "failed_stage": failure.map(|f| f.kind().name()),
        "reason": failure.map(reason),
        "detail": failure.map(|f| advice::detail(case, f)),
        "verdict": advice::verdict(case),
        "advice": advice::advice(case, now),
    })
}

/// Where the proxy is, and which environment variable named it, where one did.
fn proxy(proxy: &Proxy) -> Value {
    let place = Endpoint::new("", &proxy.host, proxy.port).address();
    json!({ "url": format!("{}://{place}", proxy.kind.scheme()), "variable": proxy.variable })
}

/// The name of a reason; those that only a trial has are called here.
fn reason(failure: Failure<'_>) -> &'static str {
    match failure {
        Failure::Probe(_, cause) | Failure::Trial(_, Why::Ended(cause)) => cause.reason.name(),
        Failure::Trial(_, Why::Refused) => "subscription_refused",
        Failure::Trial(_, Why::NoSuback) => "no_suback",
        Failure::Trial(_, Why::NoEcho(_)) => "no_echo",
    }
}

fn client(patient: &Patient, case: &Case<'_>) -> Value {
    let subscription = |s: &Granted| {
        json!({
            "filter": s.filter,
            "asked_qos": s.asked,
            "granted_qos": s.granted,
            "detail": Some(s.detail.as_str()).filter(|d| !d.is_empty()),
        })
    };
    json!({
        "client_id": patient.client.name,
        "own_id": !patient.is_alias,
        "connack": case.trial.and_then(|t| t.connack.as_ref()).map(connack),
        "subscriptions": case.trial.map(|t| t.subscriptions.iter().map(subscription).collect::<Vec<_>>()),
    })
}

/// What the broker did not say is null.
fn connack(connack: &Connack) -> Value {
    json!({
        "session_present": connack.session_present,
        "session_expiry_s": connack.session_expiry,
        "receive_maximum": connack.receive_maximum,
        "maximum_qos": connack.maximum_qos,
        "retain_available": connack.retain_available,
        "maximum_packet_size": connack.maximum_packet_size,
        "assigned_client_id": connack.assigned_client_id,
        "topic_alias_maximum": connack.topic_alias_maximum,
        "reason_string": connack.reason_string,
        "wildcard_subscription_available": connack.wildcard_subscription_available,
        "subscription_identifiers_available": connack.subscription_identifiers_available,
        "shared_subscription_available": connack.shared_subscription_available,
        "server_keep_alive_s": connack.server_keep_alive,
        "server_reference": connack.server_reference,
    })
}

fn session(session: &Session, now: DateTime<Utc>) -> Value {
    let flaw = |c: &Cause| json!({ "reason": c.reason.name(), "detail": c.detail });
    json!({
        "protocol": session.protocol,
        "cipher": session.cipher,
        "alpn": session.alpn,
        "wants_certificate": session.wants_certificate,
        "overlooked": session.overlooked.as_ref().map(flaw),
        "chain": session.chain.iter().map(|c| certificate(c, now)).collect::<Vec<_>>(),
    })
}

fn certificate(certificate: &Certificate, now: DateTime<Utc>) -> Value {
    let time = |t: Option<DateTime<Utc>>| t.map(|t| t.to_rfc3339_opts(SecondsFormat::Secs, true));
    json!({
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "names": certificate.names,
        "not_before": time(certificate.not_before),
        "not_after": time(certificate.not_after),
        "days_left": certificate.days_left(now),
    })
}

/// Milliseconds with three decimals.
fn ms(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}
