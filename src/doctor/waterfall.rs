//! Defines the doctor's page on an endpoint for people: its stages as bars on one time line, its certificates, what the broker allows a client, the verdict; 80 columns, ASCII, so that any terminal and mail can show it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use unicode_width::UnicodeWidthStr;

use super::{
    advice,
    case::{Case, Kind, Stage},
    trial::{Granted, Step},
};
use crate::{
    event::{Certificate, Connack, Session, StageKind},
    fleet::{Endpoint, ProbeKind, Protocol, Settings},
    text::{Scrubbed, ellipsize},
    words::figures,
};

/// The width of the page, in columns.
const PAGE: usize = 80;
/// The width of the time line, in columns.
const LINE: usize = 20;
/// Where values begin that stand behind a label.
const VALUE: usize = 14;
/// Names of a certificate that are shown.
const NAMES: usize = 6;
/// Subscriptions that are shown.
const SUBSCRIPTIONS: usize = 20;
/// The width of a topic filter in front of its QoS.
const FILTER: usize = 40;

pub(super) fn text(case: &Case<'_>, now: DateTime<Utc>) -> String {
    let blocks = [title(case), time_line(case), facts(case, now), verdict(case, now)];
    blocks.iter().filter(|block| !block.is_empty()).map(String::as_str).collect::<Vec<_>>().join("\n")
}

/// The endpoint's URL.
pub(super) fn url(endpoint: &Endpoint) -> String {
    let path = endpoint.transport.websocket().map_or("", |websocket| &websocket.path);
    let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
    Scrubbed::new(&format!("{}://{}{slash}{path}", endpoint.transport.scheme(), endpoint.address())).to_string()
}

fn title(case: &Case<'_>) -> String {
    let (name, url) = (&case.endpoint.name, url(case.endpoint));
    // An endpoint of the command line is called by its address.
    if **name == case.endpoint.address() { format!("{url}\n") } else { format!("{name}  {url}\n") }
}

/// The stages, each with its time as a figure and as a bar.
fn time_line(case: &Case<'_>) -> String {
    let mut out = String::new();
    let (mut begin, total) = (Duration::ZERO, case.took());
    for stage in case.stages() {
        let bar = bar(begin, stage.took, total, if stage.ok { '=' } else { 'x' });
        let (name, took) = (stage.kind.name(), figures::latency(stage.took));
        let row = format!("  {name:<9} {took:>7}  |{bar}|  {}", says(&stage, case));
        out.push_str(&ellipsize(row.trim_end(), PAGE));
        out.push('\n');
        begin += stage.took;
    }
    out
}

/// What was learnt on the way.
fn facts(case: &Case<'_>, now: DateTime<Utc>) -> String {
    let mut out = String::new();
    // One that the environment named, nobody may have thought of.
    if case.endpoint.proxy.is_some() {
        labelled(&mut out, "by way of", &[advice::proxy(case.endpoint)]);
    }
    for certificate in case.finding.session.iter().flat_map(|s| &s.chain) {
        labelled(&mut out, "certificate", &self::certificate(certificate, now));
    }
    let (Some(trial), Some(patient)) = (case.trial, case.patient) else { return out };
    if let Some(connack) = &trial.connack {
        labelled(&mut out, "broker", &allows(connack, &patient.client.settings));
        labelled(&mut out, "subscribed", &subscriptions(&trial.subscriptions));
        if !patient.is_alias {
            let note = "a client that was running with this ID has been thrown off by this test; --as ID avoids that";
            labelled(&mut out, "note", &[note.to_owned()]);
        }
    }
    out
}

fn verdict(case: &Case<'_>, now: DateTime<Utc>) -> String {
    let mut out = String::new();
    labelled(&mut out, "verdict", &[advice::verdict(case)]);
    labelled(&mut out, "to do", advice::advice(case, now).as_slice());
    out
}

/// Where on the time line a stage lies; at least one column wide, so that none is lost.
fn bar(begin: Duration, took: Duration, total: Duration, mark: char) -> String {
    let column = |at: Duration| {
        let share = at.as_secs_f64() / total.as_secs_f64().max(1e-9);
        ((share * LINE as f64).round() as usize).min(LINE)
    };
    let from = column(begin).min(LINE - 1);
    let to = column(begin + took).max(from + 1);
    (0..LINE).map(|at| if (from..to).contains(&at) { mark } else { ' ' }).collect()
}

/// Adds lines behind a label, the long ones folded at their spaces.
fn labelled(out: &mut String, label: &str, lines: &[String]) {
    let mut label = label;
    for line in lines.iter().flat_map(|line| folded(line, PAGE - VALUE - 2)) {
        out.push_str(&format!("  {label:<VALUE$}{line}\n"));
        label = "";
    }
}

/// Cuts a line into pieces of at most `width` columns, at spaces where there are any.
fn folded(line: &str, width: usize) -> Vec<String> {
    if line.width() <= width {
        return vec![line.to_owned()];
    }
    let mut pieces = vec![String::new()];
    for word in line.split(' ') {
        let last = pieces.last_mut().map(|l| (l.width(), l));
        match last {
            Some((used, piece)) if used == 0 || used + 1 + word.width() <= width => {
                if used > 0 {
                    piece.push(' ');
                }
                piece.push_str(&ellipsize(word, width));
            }
            _ => pieces.push(ellipsize(word, width)),
        }
    }
    pieces
}

fn says(stage: &Stage, case: &Case<'_>) -> String {
    if !stage.ok {
        return "failed".into();
    }
    let (endpoint, finding) = (case.endpoint, case.finding);
    match stage.kind {
        Kind::Probe(StageKind::Dns) => {
            let list: Vec<String> = finding.addresses.iter().map(|a| a.ip().to_string()).collect();
            list.join(", ")
        }
        Kind::Probe(StageKind::Tcp) => finding.address.map(|a| a.to_string()).unwrap_or_default(),
        Kind::Probe(StageKind::Proxy) => format!("tunnel to {}", endpoint.address()),
        Kind::Probe(StageKind::Tls) => finding.session.as_ref().map(session).unwrap_or_default(),
        Kind::Probe(StageKind::WebSocket) => "subprotocol mqtt".into(),
        Kind::Trial(Step::Connect) => "once more, by a real client".into(),
        Kind::Trial(Step::Connack) => case.patient.map_or(String::new(), |p| format!("accepts {}", p.client.name)),
        Kind::Trial(Step::Suback) => {
            let asked = case.trial.map_or(0, |t| t.subscriptions.len());
            format!("{asked} subscription{}", if asked == 1 { "" } else { "s" })
        }
        Kind::Trial(Step::Probe(ProbeKind::Echo)) => "a message there and back".into(),
        Kind::Trial(Step::Probe(_)) => "a message acknowledged".into(),
    }
}

fn session(session: &Session) -> String {
    let alpn = session.alpn.as_ref().map(|name| format!("ALPN {name}"));
    let parts = [session.protocol.map(str::to_owned), session.cipher.as_ref().map(|c| c.to_string()), alpn];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn certificate(certificate: &Certificate, now: DateTime<Utc>) -> Vec<String> {
    let (begin, end) = (certificate.not_before, certificate.not_after);
    let left = match certificate.days_left(now) {
        Some(days @ ..0) => format!(", ended {} ago", advice::days(-days)),
        Some(_) if begin.is_some_and(|begin| begin > now) => ", not yet valid".into(),
        Some(days) => format!(", {} left", advice::days(days)),
        None => String::new(),
    };
    let mut lines = vec![format!("{}{left}", certificate.subject)];
    if !certificate.names.is_empty() {
        let names: Vec<&str> = certificate.names.iter().take(NAMES).map(|n| n.as_str()).collect();
        let more = certificate.names.len().saturating_sub(NAMES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!("for {}{more}", names.join(", ")));
    }
    let issuer = if certificate.issuer == certificate.subject { "itself" } else { &*certificate.issuer };
    let day = |time: Option<DateTime<Utc>>| time.map_or("?".into(), |t| t.format("%Y-%m-%d").to_string());
    lines.push(format!("issued by {issuer}, {} to {}", day(begin), day(end)));
    lines
}

/// What the broker allows the client, in two columns: what it did not say has the value that MQTT 5.0
/// (§3.2.2.3) gives it.
fn allows(connack: &Connack, settings: &Settings) -> Vec<String> {
    let yes = |said: Option<bool>| if said.unwrap_or(true) { "yes" } else { "no" }.to_owned();
    let count = |n: u64| figures::count(n);
    let seconds = |n: u64| format!("{} s", figures::count(n));
    let session = ("session present", if connack.session_present { "yes" } else { "no" }.to_owned());
    if settings.protocol == Protocol::V311 {
        return vec![format!("{} {} (MQTT 3.1.1 tells no more)", session.0, session.1)];
    }
    let expiry = match connack.session_expiry.map_or(settings.session_expiry.as_secs(), u64::from) {
        n if n == u64::from(u32::MAX) => "never".into(),
        n => seconds(n),
    };
    let keep_alive = match connack.server_keep_alive.map_or(settings.keep_alive.as_secs(), u64::from) {
        0 => "off".into(),
        n => seconds(n),
    };
    let packet = connack.maximum_packet_size.map_or("no limit".into(), |n| format!("{} B", count(n.into())));
    let left = [
        session,
        ("session expiry", expiry),
        ("keep alive", keep_alive),
        ("receive maximum", count(connack.receive_maximum.unwrap_or(u16::MAX).into())),
        ("topic alias maximum", count(connack.topic_alias_maximum.unwrap_or(0).into())),
        ("maximum packet size", packet),
    ];
    let right = [
        ("maximum QoS", connack.maximum_qos.unwrap_or(2).to_string()),
        ("retained messages", yes(connack.retain_available)),
        ("wildcard subscriptions", yes(connack.wildcard_subscription_available)),
        ("shared subscriptions", yes(connack.shared_subscription_available)),
        ("subscription identifiers", yes(connack.subscription_identifiers_available)),
    ];
    let mut right = right.iter().map(|(name, value)| format!("{name:<25}{value}"));
    let line = |(name, value)| format!("{name:<20}{value:<16}{}", right.next().unwrap_or_default());
    let mut lines: Vec<String> = left.into_iter().map(line).map(|l| l.trim_end().to_owned()).collect();
    let words = [
        ("assigned client ID", &connack.assigned_client_id),
        ("server reference", &connack.server_reference),
        ("says", &connack.reason_string),
    ];
    lines.extend(words.iter().filter_map(|(name, said)| Some(format!("{name} {}", said.as_ref()?))));
    lines
}

fn subscriptions(subscriptions: &[Granted]) -> Vec<String> {
    let shown = &subscriptions[..subscriptions.len().min(SUBSCRIPTIONS)];
    let width = shown.iter().map(|s| s.filter.width()).max().unwrap_or(0).min(FILTER);
    let mut lines: Vec<String> = shown
        .iter()
        .map(|s| {
            let filter = ellipsize(&s.filter, width);
            let pad = " ".repeat(width - filter.width());
            let granted = match s.granted {
                Some(qos) if qos == s.asked => format!("QoS {qos}"),
                Some(qos) => format!("QoS {qos} only, {} was asked for", s.asked),
                None if s.detail.is_empty() => "refused".into(),
                None => format!("refused: {}", s.detail),
            };
            format!("{filter}{pad}  {granted}")
        })
        .collect();
    if subscriptions.len() > shown.len() {
        lines.push(format!("and {} more", subscriptions.len() - shown.len()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_follow_each_other_on_one_line() {
        let ms = Duration::from_millis;
        assert_eq!(bar(ms(0), ms(50), ms(100), '='), format!("{}{}", "=".repeat(10), " ".repeat(10)));
        assert_eq!(bar(ms(50), ms(50), ms(100), 'x'), format!("{}{}", " ".repeat(10), "x".repeat(10)));
        assert_eq!(bar(ms(100), ms(0), ms(100), '='), format!("{}=", " ".repeat(19)));
        assert_eq!(bar(ms(0), ms(0), ms(0), '='), format!("={}", " ".repeat(19)));
    }

    #[test]
    fn long_lines_are_folded_at_spaces() {
        assert_eq!(folded("one two three", 7), ["one two", "three"]);
        assert_eq!(folded("", 7), [""]);
        assert_eq!(folded("a 1234567890 b", 5), ["a", "12…90", "b"]);
    }

    #[test]
    fn what_a_broker_allows_fits_the_page() {
        let connack = Connack {
            receive_maximum: Some(20),
            maximum_qos: Some(1),
            maximum_packet_size: Some(u32::MAX),
            server_keep_alive: Some(60),
            session_expiry: Some(u32::MAX),
            assigned_client_id: Some(Scrubbed::new("auto-1")),
            ..Connack::default()
        };
        let lines = allows(&connack, &Settings::default());
        assert!(lines.iter().all(|l| l.width() <= PAGE - VALUE - 2), "{lines:#?}");
        insta::assert_snapshot!(lines.join("\n"), @r"
        session present     no              maximum QoS              1
        session expiry      never           retained messages        yes
        keep alive          60 s            wildcard subscriptions   yes
        receive maximum     20              shared subscriptions     yes
        topic alias maximum 0               subscription identifiers yes
        maximum packet size 4,294,967,295 B
        assigned client ID auto-1
        ");
        let old = Settings { protocol: Protocol::V311, ..Settings::default() };
        assert_eq!(allows(&connack, &old), ["session present no (MQTT 3.1.1 tells no more)"]);
    }
}
