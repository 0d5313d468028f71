//! Defines the alert rules for Prometheus, made of the table of metrics: what whoever scrapes fleets wants to know of any of them; rules about sets of clients are the fleet file's (`[[alert]]`).

use std::{fmt::Write as _, time::Duration};

use super::table::{self, Metric};
use crate::event::Severity;

/// A rule.
struct Rule {
    name: &'static str,
    expression: String,
    /// It fires when that was true for so long.
    lasting: Duration,
    /// `None` where the series say it themselves.
    severity: Option<Severity>,
    /// What is the matter, and what to do; `{{ $labels.x }}` and `{{ $value }}` are Prometheus'.
    summary: &'static str,
    description: &'static str,
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// For what is true for a while whenever it happens once.
const AT_ONCE: Duration = Duration::ZERO;

/// The rules as a file that Prometheus reads (`rule_files`), and `promtool check rules`.
pub fn rules() -> String {
    let mut text = "# Alert rules for Prometheus about fleets of MQTT clients: `mqfleet prometheus-rules` prints them.\ngroups:\n  - name: mqfleet\n    rules:\n".to_owned();
    for rule in all() {
        let lasting = humantime::format_duration(rule.lasting).to_string().replace(' ', "");
        let quoted = |text: &str| format!("{text:?}");
        let _ = writeln!(text, "      - alert: {}\n        expr: {}", rule.name, quoted(&rule.expression));
        if !rule.lasting.is_zero() {
            let _ = writeln!(text, "        for: {lasting}");
        }
        if let Some(severity) = rule.severity {
            let _ = writeln!(text, "        labels:\n          severity: {}", severity.name());
        }
        let _ = writeln!(text, "        annotations:\n          summary: {}", quoted(rule.summary));
        let _ = writeln!(text, "          description: {}", quoted(rule.description));
    }
    text
}

/// A sum by instance and endpoint of the series that `filter` lets through.
fn by_endpoint(metric: Metric, filter: &str) -> String {
    let filter = if filter.is_empty() { String::new() } else { format!("{{{filter}}}") };
    format!("sum by (job, instance, endpoint) ({}{filter})", metric.name())
}

fn days_left(metric: Metric, days: u32) -> String {
    format!("{} - time() < {days} * 86400", metric.name())
}

fn grew(metric: Metric, within: &str) -> String {
    format!("increase({}[{within}]) > 0", metric.name())
}

fn all() -> Vec<Rule> {
    const CRITICAL: Option<Severity> = Some(Severity::Critical);
    const WARNING: Option<Severity> = Some(Severity::Warning);
    const INFO: Option<Severity> = Some(Severity::Info);
    let rule = |name, expression: String, lasting, severity, summary, description| Rule {
        name,
        expression,
        lasting,
        severity,
        summary,
        description,
    };
    // Who is off is so because the operator wants it.
    let wanted = by_endpoint(table::CLIENTS, "state!=\"off\"");
    let down = by_endpoint(table::CLIENTS, "state=~\"held|backoff|failed\"");
    let (late, slow) = (by_endpoint(table::LATE, ""), by_endpoint(table::SLOW, ""));
    let up = by_endpoint(table::CLIENTS, "state=\"up\"");
    let connects =
        format!("sum by (job, instance, endpoint) (increase({}[10m])) > 3 * {wanted}", table::CONNECTS.name());
    let p99 = format!(
        "histogram_quantile(0.99, sum by (job, instance, endpoint, le) (rate({}_bucket[5m]))) > 1",
        table::ROUND_TRIP.name()
    );
    let left_out = [table::LEFT_OUT, table::VALUES_LEFT_OUT, table::RULES_LEFT_OUT];
    let left_out = left_out.map(|metric| format!("{} > 0", metric.name())).join(" or ");
    let dropped = [table::NOTIFICATIONS_DROPPED, table::POINTS_DROPPED].map(|metric| grew(metric, "1h")).join(" or ");
    vec![
        rule(
            "MqfleetStale",
            format!("time() - {} > 30", table::SECOND.name()),
            MINUTE,
            CRITICAL,
            "mqfleet at {{ $labels.instance }} counts nothing any more",
            "Its last figures are {{ $value | humanizeDuration }} old: it hangs, or its clock is wrong. Where it does not answer at all, `up` is 0.",
        ),
        rule(
            "MqfleetClientsDown",
            format!("{down} / {wanted} > 0.1"),
            5 * MINUTE,
            CRITICAL,
            "{{ $value | humanizePercentage }} of the clients of {{ $labels.endpoint }} are down",
            "They should be connected and are not. `mqfleet attach` says why, by client; `mqfleet doctor FILE` says where it fails.",
        ),
        rule(
            "MqfleetClientsFailed",
            format!("{} > 0", by_endpoint(table::CLIENTS, "state=\"failed\"")),
            5 * MINUTE,
            WARNING,
            "{{ $value }} clients of {{ $labels.endpoint }} have given up",
            "They connect no more until somebody says so: `mqfleet ctl NAME connect --where state:failed`, once the reason is gone.",
        ),
        rule(
            "MqfleetEndpointShut",
            format!("{} == 0", table::OPEN.name()),
            2 * MINUTE,
            CRITICAL,
            "{{ $labels.endpoint }} does not answer, or is on hold",
            "Nobody can connect to it. `mqfleet doctor FILE` says which stage fails; `mqfleet ctl NAME release` ends a hold.",
        ),
        rule(
            "MqfleetClientsUnanswered",
            format!("{late} / {up} > 0.1"),
            2 * MINUTE,
            CRITICAL,
            "{{ $value | humanizePercentage }} of the clients of {{ $labels.endpoint }} get no answer",
            "They are connected, and their probes are not answered: the broker hangs, or the network drops packets.",
        ),
        rule(
            "MqfleetClientsSlow",
            format!("{slow} / {up} > 0.1"),
            10 * MINUTE,
            WARNING,
            "{{ $value | humanizePercentage }} of the clients of {{ $labels.endpoint }} are not well",
            "They are connected, and slow, short of a subscription or without an answer.",
        ),
        rule(
            "MqfleetRoundTripsSlow",
            p99,
            10 * MINUTE,
            WARNING,
            "round trips of {{ $labels.endpoint }} take {{ $value | humanizeDuration }} (p99)",
            "One of a hundred takes longer than that.",
        ),
        rule(
            "MqfleetReconnects",
            connects,
            5 * MINUTE,
            WARNING,
            "the clients of {{ $labels.endpoint }} connect again and again",
            "{{ $value | humanize }} connects within ten minutes, more than three for each client. The reasons are in mqfleet_disconnects_total.",
        ),
        rule(
            "MqfleetProbesLost",
            format!("sum by (job, instance, endpoint) (increase({}[5m])) > 10", table::PROBES_LOST.name()),
            AT_ONCE,
            WARNING,
            "{{ $value | humanize }} probes of {{ $labels.endpoint }} were never answered within five minutes",
            "Their connections broke before an answer came.",
        ),
        rule(
            "MqfleetServerCertificateEnds",
            days_left(table::CERTIFICATE, 14),
            AT_ONCE,
            WARNING,
            "the certificate of {{ $labels.endpoint }} ends in {{ $value | humanizeDuration }}",
            "Then nobody connects to it any more.",
        ),
        rule(
            "MqfleetServerCertificateEndsSoon",
            days_left(table::CERTIFICATE, 3),
            AT_ONCE,
            CRITICAL,
            "the certificate of {{ $labels.endpoint }} ends in {{ $value | humanizeDuration }}",
            "Then nobody connects to it any more.",
        ),
        rule(
            "MqfleetClientCertificateEnds",
            days_left(table::OWN_CERTIFICATE, 14),
            AT_ONCE,
            WARNING,
            "a client's certificate for {{ $labels.endpoint }} ends in {{ $value | humanizeDuration }}",
            "`mqfleet check FILE` names the files.",
        ),
        rule(
            "MqfleetWorkerDied",
            grew(table::WORKER_DEATHS, "15m"),
            AT_ONCE,
            WARNING,
            "worker {{ $labels.worker }} died",
            "It was replaced, and its clients connected anew. The event log says how it ended.",
        ),
        rule(
            "MqfleetWorkerDown",
            format!("{} == 0", table::WORKER_UP.name()),
            MINUTE,
            CRITICAL,
            "worker {{ $labels.worker }} is not there",
            "Its clients are not connected. Memory, or the limit on open files, may be too low.",
        ),
        rule(
            "MqfleetAlertFires",
            format!("{} == 1", table::FIRING.name()),
            AT_ONCE,
            None,
            "{{ $labels.alert }}",
            "A rule of the fleet file fires, and whom it names is told. Route this one where nobody else is.",
        ),
        rule(
            "MqfleetNotifierAway",
            format!("{} > 0", table::NOTIFICATIONS_WAITING.name()),
            5 * MINUTE,
            WARNING,
            "{{ $labels.notifier }} does not take messages",
            "{{ $value }} wait for it. `mqfleet notify test FILE {{ $labels.notifier }}` says why.",
        ),
        rule(
            "MqfleetDropped",
            dropped,
            AT_ONCE,
            WARNING,
            "mqfleet gave up {{ $value | humanize }} messages or points",
            "Their receiver was away for too long, or refused them. The event log says which.",
        ),
        rule(
            "MqfleetHookFails",
            grew(table::HOOK_FAILURES, "10m"),
            10 * SECOND,
            WARNING,
            "hook {{ $labels.hook }} fails",
            "`mqfleet hook test FILE {{ $labels.hook }}` shows what it says.",
        ),
        rule(
            "MqfleetFiguresDropped",
            grew(table::SAMPLES_DROPPED, "10m"),
            AT_ONCE,
            WARNING,
            "round trips were measured and are in no figure",
            "{{ $value | humanize }} within ten minutes: the machine is too slow for this fleet.",
        ),
        rule(
            "MqfleetSeriesLeftOut",
            left_out,
            5 * MINUTE,
            INFO,
            "mqfleet at {{ $labels.instance }} leaves {{ $value }} series out",
            "There are more clients, values of the label or rules than may have series of their own.",
        ),
    ]
}
