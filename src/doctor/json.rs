//! Defines the doctor's line for scripts, one JSON object an endpoint; names in it are stable.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::{advice, waterfall};
use crate::{
    event::Cause,
    event::{Certificate, Finding, Session},
    fleet::Endpoint,
};

pub(super) fn line(endpoint: &Endpoint, finding: &Finding, now: DateTime<Utc>) -> Value {
    let failure = finding.failure.as_ref();
    let stages: Vec<Value> = finding
        .stages
        .iter()
        .map(|stage| {
            let ok = failure.is_none_or(|f| f.stage != stage.kind);
            json!({ "stage": stage.kind.name(), "ms": ms(stage.took), "ok": ok })
        })
        .collect();
    json!({
        "type": "endpoint",
        "endpoint": endpoint.name,
        "url": waterfall::url(endpoint),
        "ok": finding.is_ok(),
        "ms": ms(finding.took()),
        "stages": stages,
        "addresses": *finding.addresses,
        "address": finding.address,
        "tls": finding.session.as_ref().map(|s| session(s, now)),
        "failed_stage": failure.map(|f| f.stage.name()),
        "reason": failure.map(|f| f.cause.reason.name()),
        "detail": failure.map(|f| f.cause.detail.as_str()),
        "verdict": advice::verdict(finding),
        "advice": advice::advice(endpoint, finding, now),
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
