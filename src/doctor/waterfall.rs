//! Defines the doctor's page on an endpoint for people: its stages as bars on one time line, its certificates, the verdict; ASCII, so that any terminal and mail can show it.

use std::{fmt::Write, time::Duration};

use chrono::{DateTime, Utc};

use super::advice;
use crate::{
    event::{Certificate, Finding, Session, StageKind},
    fleet::{Endpoint, Transport},
    text::Scrubbed,
    words::figures,
};

/// The width of the time line, in columns.
const WIDTH: usize = 24;
/// Names of a certificate that are shown.
const NAMES: usize = 6;

pub(super) fn text(endpoint: &Endpoint, finding: &Finding, now: DateTime<Utc>) -> String {
    let mut text = String::new();
    page(&mut text, endpoint, finding, now).unwrap_or_default(); // a String never refuses
    text
}

/// The endpoint's URL.
pub(super) fn url(endpoint: &Endpoint) -> String {
    let path = match &endpoint.transport {
        Transport::WebSocket(path) | Transport::SecureWebSocket(path, _) => path,
        Transport::Tcp | Transport::Tls(_) => "",
    };
    let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
    Scrubbed::new(&format!("{}://{}{slash}{path}", endpoint.transport.scheme(), endpoint.address())).to_string()
}

fn page(out: &mut String, endpoint: &Endpoint, finding: &Finding, now: DateTime<Utc>) -> std::fmt::Result {
    writeln!(out, "{}  {}", endpoint.name, url(endpoint))?;
    let (mut begin, total) = (Duration::ZERO, finding.took());
    for stage in &finding.stages {
        let failed = finding.failure.as_ref().is_some_and(|f| f.stage == stage.kind);
        let (name, took) = (stage.kind.name(), figures::latency(stage.took));
        let bar = bar(begin, stage.took, total, if failed { 'x' } else { '=' });
        let says = if failed { "failed".into() } else { says(stage.kind, endpoint, finding) };
        writeln!(out, "  {name:<6}{took:>7}  |{bar}|  {says}")?;
        begin += stage.took;
    }
    for certificate in finding.session.iter().flat_map(|s| &s.chain) {
        writeln!(out, "  {}", self::certificate(certificate, now))?;
    }
    writeln!(out, "  verdict: {}", advice::verdict(finding))?;
    if let Some(advice) = advice::advice(endpoint, finding, now) {
        writeln!(out, "  to do: {advice}")?;
    }
    Ok(())
}

/// Where on the time line a stage lies; at least one column wide, so that none is lost.
fn bar(begin: Duration, took: Duration, total: Duration, mark: char) -> String {
    let column = |at: Duration| {
        let share = at.as_secs_f64() / total.as_secs_f64().max(1e-9);
        ((share * WIDTH as f64).round() as usize).min(WIDTH)
    };
    let from = column(begin).min(WIDTH - 1);
    let to = column(begin + took).max(from + 1);
    (0..WIDTH).map(|at| if (from..to).contains(&at) { mark } else { ' ' }).collect()
}

fn says(stage: StageKind, endpoint: &Endpoint, finding: &Finding) -> String {
    match stage {
        StageKind::Dns => {
            let list: Vec<String> = finding.addresses.iter().map(|a| a.ip().to_string()).collect();
            list.join(", ")
        }
        StageKind::Tcp => finding.address.map(|a| a.to_string()).unwrap_or_default(),
        StageKind::Proxy => format!("tunnel to {}", endpoint.address()),
        StageKind::Tls => finding.session.as_ref().map(session).unwrap_or_default(),
    }
}

fn session(session: &Session) -> String {
    let alpn = session.alpn.as_ref().map(|name| format!("ALPN {name}"));
    let parts = [session.protocol.map(str::to_owned), session.cipher.as_ref().map(|c| c.to_string()), alpn];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn certificate(certificate: &Certificate, now: DateTime<Utc>) -> String {
    let mut text = format!("certificate {}", certificate.subject);
    if !certificate.names.is_empty() {
        let names: Vec<&str> = certificate.names.iter().take(NAMES).map(|n| n.as_str()).collect();
        let more = certificate.names.len().saturating_sub(NAMES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        text.push_str(&format!(", for {}{more}", names.join(", ")));
    }
    if certificate.issuer == certificate.subject {
        text.push_str(", issued by itself");
    } else {
        text.push_str(&format!(", issued by {}", certificate.issuer));
    }
    if let (Some(begin), Some(end), Some(days)) =
        (certificate.not_before, certificate.not_after, certificate.days_left(now))
    {
        let left = match days {
            ..0 => format!("ended {} ago", advice::days(-days)),
            _ if begin > now => "not yet valid".into(),
            days => format!("{} left", advice::days(days)),
        };
        text.push_str(&format!(", {} to {} ({left})", begin.format("%Y-%m-%d"), end.format("%Y-%m-%d")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_follow_each_other_on_one_line() {
        let ms = Duration::from_millis;
        assert_eq!(bar(ms(0), ms(50), ms(100), '='), format!("{}{}", "=".repeat(12), " ".repeat(12)));
        assert_eq!(bar(ms(50), ms(50), ms(100), 'x'), format!("{}{}", " ".repeat(12), "x".repeat(12)));
        assert_eq!(bar(ms(100), ms(0), ms(100), '='), format!("{}=", " ".repeat(23)));
        assert_eq!(bar(ms(0), ms(0), ms(0), '='), format!("={}", " ".repeat(23)));
    }
}
