//! Defines what of a case the doctor's line for scripts has; how the line looks is the `lines` module's matter.

use chrono::{DateTime, Utc};

use super::{
    advice,
    case::{Case, Failure},
    trial::{Granted, Why},
    waterfall,
};
use crate::{
    fleet::{Endpoint, Proxy},
    lines::{self, Connack, Doctor, Outcome, Subscription, Tls},
};

/// The line, without its end.
pub(super) fn line(case: &Case<'_>, now: DateTime<Utc>) -> String {
    let failure = case.failure();
    let detail = failure.map(|failure| advice::detail(case, failure)).unwrap_or_default();
    let outcome = Outcome {
        ok: case.is_ok(),
        stages_us: case.stages().iter().map(|stage| (stage.kind.name(), stage.took)).collect(),
        failed_stage: failure.map(|failure| failure.kind().name()),
        addresses: &case.finding.addresses,
        address: case.finding.address,
        tls: case.finding.session.as_ref().map(|session| Tls::of(session, now)),
        reason: failure.map(reason),
        detail: &detail,
    };
    let doctor = Doctor {
        endpoint: &case.endpoint.name,
        url: waterfall::url(case.endpoint),
        proxy: case.endpoint.proxy.as_ref().map(proxy),
        outcome,
        took: case.took(),
        client: case.patient.map(|patient| &*patient.client.name),
        own_id: case.patient.map(|patient| !patient.is_alias),
        connack: case.trial.and_then(|trial| trial.connack.as_ref()).map(Connack::of),
        subscriptions: case.trial.map(|trial| trial.subscriptions.iter().map(subscription).collect()),
        verdict: advice::verdict(case),
        advice: advice::advice(case, now),
    };
    lines::json_doctor(now, &doctor)
}

fn proxy(proxy: &Proxy) -> lines::Proxy<'_> {
    let place = Endpoint::new("", &proxy.host, proxy.port).address();
    lines::Proxy { url: format!("{}://{place}", proxy.kind.scheme()), variable: proxy.variable.as_deref() }
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

fn subscription(granted: &Granted) -> Subscription<'_> {
    Subscription { filter: &granted.filter, asked: granted.asked, granted: granted.granted, detail: &granted.detail }
}
