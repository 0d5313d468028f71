//! Compares lines with what scripts are promised, word for word.

use std::{sync::Arc, time::Duration};

use chrono::TimeZone;

use super::*;
use crate::{
    event::{Alert, Event, Late, Reason, Sample, Severity, State, Tcp, TcpState, Transition, What, WorkerEvent},
    fleet::{Client, ClientKey, Endpoint, EndpointKey, Fleet, ProbeKind, Settings, WorkerKey},
    model::Known,
    text::Scrubbed,
};

fn fleet() -> Fleet {
    Fleet {
        name: Scrubbed::new("plant-eu"),
        env: None,
        worker_size: 500,
        endpoints: vec![Endpoint::new("eu-1", "h", 1)],
        clients: vec![Client::new("press-0002", EndpointKey(0), Arc::new(Settings::default()))],
    }
}

fn anchor() -> Anchor {
    Anchor::new(Moment(0), chrono::Utc.with_ymd_and_hms(2026, 11, 22, 12, 0, 0).unwrap())
}

fn lost() -> Event {
    let step = Transition {
        client: ClientKey(0),
        endpoint: EndpointKey(0),
        from: State::Up,
        to: State::Backoff,
        reason: Reason::ConnectionLost,
        detail: Scrubbed::new("peer closed the \"socket\""),
        attempt: 1,
        next_try: Some(Duration::from_millis(812)),
    };
    Event { at: Moment(1_500_000), what: What::State(step) }
}

fn tcp() -> Tcp {
    Tcp {
        state: TcpState::Established,
        rtt: Duration::from_micros(412),
        rtt_variation: Duration::ZERO,
        retransmits: 3,
        unacknowledged: 1,
        since_received: Duration::ZERO,
        sent: 4_100,
        received: 830,
    }
}

#[test]
fn json_lines_are_the_documented_ones_to_the_letter() {
    let (fleet, anchor) = (fleet(), anchor());
    let json = |what| json(&fleet, &anchor, &Event { at: Moment(1_500_000), what }, true).unwrap();
    assert_eq!(
        json(lost().what),
        r#"{"type":"state","ts":"2026-11-22T12:00:01.500Z","client":"press-0002","endpoint":"eu-1","from":"up","to":"backoff","reason":"connection_lost","detail":"peer closed the \"socket\"","attempt":1,"next_try_ms":812}"#
    );
    let sample = Sample { client: ClientKey(0), probe: ProbeKind::Heartbeat, rtt: Duration::from_micros(412) };
    assert_eq!(
        json(What::Sample(sample)),
        r#"{"type":"sample","ts":"2026-11-22T12:00:01.500Z","client":"press-0002","probe":"heartbeat","rtt_us":412}"#
    );
    let late = Late { client: ClientKey(0), probe: ProbeKind::Heartbeat, since: Moment(200_900) };
    assert_eq!(
        json(What::Late(late)),
        r#"{"type":"late","ts":"2026-11-22T12:00:01.500Z","client":"press-0002","probe":"heartbeat","since":"2026-11-22T12:00:00.200Z"}"#
    );
    assert_eq!(
        json(What::Tcp(ClientKey(0), tcp())),
        r#"{"type":"tcp","ts":"2026-11-22T12:00:01.500Z","client":"press-0002","state":"ESTAB","rtt_us":412,"retransmits":3,"unacknowledged":1}"#
    );
    assert_eq!(
        json(What::Worker {
            worker: WorkerKey(3),
            event: WorkerEvent::Restarted,
            detail: Scrubbed::new("killed by signal 9")
        }),
        r#"{"type":"worker","ts":"2026-11-22T12:00:01.500Z","worker":3,"event":"restarted","detail":"killed by signal 9"}"#
    );
    assert_eq!(
        json_start(&fleet, 2, &anchor, Moment(0)),
        format!(
            r#"{{"type":"start","ts":"2026-11-22T12:00:00.000Z","version":"{}","schema":1,"fleet":"plant-eu","clients":1,"workers":2}}"#,
            env!("CARGO_PKG_VERSION")
        )
    );
    let known = Known::new(Arc::new(fleet.clone()), Moment(0));
    assert_eq!(
        json_summary(&known, &anchor, Moment(0)),
        r#"{"type":"summary","ts":"2026-11-22T12:00:00.000Z","clients":1,"off":1,"held":0,"queued":0,"connecting":0,"up":0,"slow":0,"backoff":0,"failed":0,"p50_us":null,"p90_us":null,"p99_us":null,"max_us":null,"lost":0,"received":0,"published":0}"#
    );
}

#[test]
fn an_insight_is_a_line_and_so_is_its_end() {
    let mut fleet = fleet();
    fleet.clients = vec![fleet.clients[0].clone(); 6];
    let mut known = Known::new(Arc::new(fleet), Moment(0));
    let (anchor, ts) = (anchor(), r#""ts":"2026-11-22T12:00:02.000Z""#);
    let now = Moment(2_000_000);
    assert_eq!(json_insight(&known, &anchor, now), format!(r#"{{"type":"insight",{ts},"text":null}}"#));
    for client in 0..6 {
        let What::State(step) = lost().what else { unreachable!() };
        let what = What::State(Transition { client: ClientKey(client), ..step });
        known.apply(&Event { at: Moment(1_500_000), what });
    }
    known.look(now);
    let text = "all 6 down: connection lost, since 12:00";
    assert_eq!(json_insight(&known, &anchor, now), format!(r#"{{"type":"insight",{ts},"text":"{text}"}}"#));
    assert_eq!(plain_insight(&known, &anchor, now), format!("2026-11-22T12:00:02.000Z insight: {text}"));
}

#[test]
fn what_is_measured_has_lines_only_where_asked_for() {
    let sample = Sample { client: ClientKey(0), probe: ProbeKind::Ack, rtt: Duration::ZERO };
    for what in [What::Sample(sample), What::Tcp(ClientKey(0), tcp())] {
        let event = Event { at: Moment(0), what };
        let lines = [false, true].map(|samples| json(&fleet(), &anchor(), &event, samples).is_some());
        assert_eq!(lines, [false, true], "{event:?}");
    }
}

/// A replay knows the time of a line to the millisecond, and all else to the microsecond.
#[test]
fn since_when_a_client_is_late_is_the_same_by_the_stamp_of_its_line() {
    let late = Late { client: ClientKey(0), probe: ProbeKind::Heartbeat, since: Moment(200_900) };
    let event = Event { at: Moment(1_500_700), what: What::Late(late) };
    let begin = chrono::Utc.with_ymd_and_hms(2026, 11, 22, 12, 0, 1).unwrap();
    let told = Anchor::of_line(event.at, begin + chrono::Duration::milliseconds(500));
    let live = json(&fleet(), &anchor(), &event, false).unwrap();
    assert!(live.contains(r#""since":"2026-11-22T12:00:00.200Z""#), "{live}");
    assert_eq!(json(&fleet(), &told, &event, false), Some(live));
}

#[test]
fn plain_lines_tell_why_and_what_next() {
    assert_eq!(
        plain(&fleet(), &anchor(), &lost()).unwrap(),
        "2026-11-22T12:00:01.500Z press-0002 lost its connection to eu-1: peer closed the \"socket\"; retry in 0.8 s"
    );
}

#[test]
fn an_alert_is_a_line_as_json_and_as_text() {
    let (fleet, anchor) = (fleet(), anchor());
    let alert = Alert {
        agent: None,
        rule: Scrubbed::new("presses down"),
        severity: Severity::Critical,
        is_firing: true,
        lasted: Duration::from_millis(31_500),
        clients: 1,
        of: 4,
        first: vec![ClientKey(0)],
        cause: Scrubbed::new("connection refused"),
    };
    let over = Alert { is_firing: false, first: Vec::new(), cause: Scrubbed::default(), ..alert.clone() };
    let [alert, over] = [alert, over].map(|of| Event { at: Moment(31_500_000), what: What::Alert(Box::new(of)) });
    assert_eq!(
        json(&fleet, &anchor, &alert, false).unwrap(),
        r#"{"type":"alert","ts":"2026-11-22T12:00:31.500Z","alert":"presses down","severity":"critical","status":"firing","since":"2026-11-22T12:00:00.000Z","clients":1,"of":4,"first":["press-0002"],"cause":"connection refused"}"#
    );
    let plain = |event| plain(&fleet, &anchor, event).unwrap();
    let says = "2026-11-22T12:00:31.500Z alert critical: presses down: 1 of 4 clients (press-0002) for 32 s: connection refused";
    assert_eq!(plain(&alert), says);
    assert_eq!(
        plain(&over),
        "2026-11-22T12:00:31.500Z alert critical: presses down: over after 32 s, at most 1 of 4 clients"
    );
}
