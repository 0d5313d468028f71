//! Defines how a client's connection is told: what the broker granted, what it is bound to, what comes next and when; what a connection is made of is the model's matter.

use std::time::Duration;

use super::figures;
use crate::{
    clock::Moment,
    event::{Condition, Connack, Reason, Request, Shortfall, State},
    fleet::{ClientKey, ProbeKind, Settings},
    model::{Known, Slow},
};

/// A subscription that is less than what was asked for:
/// `subscribed to cmd/# with QoS 0 only, 1 was asked for`.
pub fn shortfall(shortfall: &Shortfall) -> String {
    let Shortfall { request, filter, asked, granted, detail, .. } = shortfall;
    if *request != Request::Subscription {
        let what = if filter.is_empty() { "a message".to_owned() } else { format!("the message to {filter}") };
        return match granted {
            Some(granted) if granted == asked => format!("{what}: {detail}"),
            Some(granted) => format!("{what} goes with QoS {granted}, {asked} was asked for: {detail}"),
            None if detail.is_empty() => format!("{what} was refused"),
            None => format!("{what} was refused: {detail}"),
        };
    }
    match granted {
        Some(granted) => format!("subscribed to {filter} with QoS {granted} only, {asked} was asked for"),
        None if detail.is_empty() => format!("the broker refused the subscription to {filter}"),
        None => format!("the broker refused the subscription to {filter}: {detail}"),
    }
}

/// Why a client that is up is not well, from the longest form to the shortest; empty where it is.
pub fn slow(known: &Known, key: ClientKey, now: Moment) -> Vec<String> {
    let row = known.row(key);
    let Some(slow) = row.slow else { return Vec::new() };
    match slow {
        Slow::Late => {
            let Some(since) = row.late else {
                let silence = figures::age(row.silence(now));
                return vec![format!("no answer for {silence}")];
            };
            let late = figures::age(now.since(since));
            let probe = row.probe(&known.fleet().client(key).settings).name();
            vec![format!("no answer to its {probe} for {late}"), format!("no answer for {late}")]
        }
        Slow::Unsubscribed => {
            let since = figures::age(now.since(row.since));
            vec![format!("no answer to its subscriptions for {since}"), "not subscribed yet".to_owned()]
        }
        Slow::Short => {
            let Some((first, others)) = known.shortfalls(key).split_first() else {
                return vec![slow.words().to_owned()];
            };
            let more = if others.is_empty() { String::new() } else { format!(", and {} more", others.len()) };
            let (brief, briefest) = match first.granted {
                Some(granted) => (
                    format!("QoS {granted}, not {}, for {}{more}", first.asked, first.filter),
                    format!("QoS {granted}, not {}", first.asked),
                ),
                None if first.request == Request::Publish => {
                    (format!("message refused: {}{more}", first.filter), "message refused".to_owned())
                }
                None => (format!("refused: {}{more}", first.filter), "not subscribed".to_owned()),
            };
            vec![format!("{}{more}", shortfall(first)), brief, briefest]
        }
        Slow::Objective => {
            let (objective, p99) = (known.fleet().client(key).settings.slow_p99, row.p99(now));
            let is_over = p99 > objective;
            let [limit, p99] = [objective, p99].map(|time| time.map(figures::latency).unwrap_or_default());
            match is_over {
                true => vec![format!("p99 {p99} is over {limit}"), format!("p99 over {limit}")],
                false => vec![format!("p99 {p99} was over {limit}"), format!("p99 was over {limit}")],
            }
        }
        Slow::Stuck => {
            let silence = row.link.as_ref().map(|link| figures::age(link.tcp.since_received)).unwrap_or_default();
            let count = row.link.as_ref().map_or(0, |link| link.tcp.unacknowledged);
            vec![
                format!("{} not acknowledged, nothing came for {silence}", figures::segments(count)),
                format!("in flight {silence}"),
            ]
        }
        Slow::Lossy => {
            let count = row.link.as_ref().map_or(0, |link| link.tcp.retransmits);
            vec![format!("{} sent again, and more of them", figures::segments(count)), "retransmits".to_owned()]
        }
    }
}

/// What a broker's CONNACK binds a client to that it would not be bound to otherwise, the gravest first.
pub fn limits(connack: &Connack, settings: &Settings) -> Vec<String> {
    let said = |what: &str, value: Option<String>| value.map(|value| format!("{what} {value}"));
    let no = |what: &str, available: Option<bool>| (available == Some(false)).then(|| format!("no {what}"));
    let keep_alive = connack.server_keep_alive.filter(|s| Duration::from_secs((*s).into()) != settings.keep_alive);
    let receive_maximum = connack.receive_maximum.filter(|n| *n < u16::MAX);
    let expiry = connack.session_expiry.filter(|s| Duration::from_secs((*s).into()) != settings.session_expiry);
    [
        said("server reference", connack.server_reference.as_ref().map(|s| s.to_string())),
        said("client ID", connack.assigned_client_id.as_ref().map(|id| id.to_string())),
        said("maximum QoS", connack.maximum_qos.filter(|qos| *qos < 2).map(|qos| qos.to_string())),
        said("keep alive", keep_alive.map(|s| format!("{s} s by the broker"))),
        said("receive maximum", receive_maximum.map(figures::count)),
        said("packets up to", connack.maximum_packet_size.map(|n| format!("{} bytes", figures::count(n)))),
        said(
            "session kept",
            expiry.map(|s| match s {
                u32::MAX => "for ever".to_owned(),
                s => format!("for {}", figures::age(Duration::from_secs(s.into()))),
            }),
        ),
        no("retain", connack.retain_available),
        no("wildcards", connack.wildcard_subscription_available),
        no("shared subscriptions", connack.shared_subscription_available),
        no("subscription IDs", connack.subscription_identifiers_available),
        said("topic aliases", connack.topic_alias_maximum.filter(|n| *n > 0).map(figures::count)),
        said("reason", connack.reason_string.as_ref().map(|s| s.to_string())),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What happens next to a client, and when: its next ping, its next try, or what has to happen first.
pub fn next(known: &Known, key: ClientKey, now: Moment) -> String {
    let row = known.row(key);
    let name = &known.fleet().endpoint(row.endpoint).name;
    let soon = |at: Moment| match at.since(now) {
        Duration::ZERO => "now".to_owned(),
        due => format!("in {}", figures::wait(due)),
    };
    match (row.state, row.reason) {
        (State::Up, _) => ping(known, key, now),
        (State::Connecting, _) => {
            let limit = known.fleet().client(key).settings.connect_timeout;
            format!("CONNACK, or a failure within {} of the try", figures::wait(limit))
        }
        (State::Queued, _) => match known.gate(row.endpoint) {
            Some(gate) if gate.eta >= Duration::from_secs(1) => {
                let waiting = figures::clients(gate.waiting);
                format!("its turn within {}: {waiting} wait, {}/s", figures::wait(gate.eta), gate.rate)
            }
            _ => format!("its turn to connect to {name}"),
        },
        (State::Backoff, _) => match row.next_try {
            Some(at) => format!("try #{} {}", row.attempt, soon(at)),
            None => format!("try #{}", row.attempt),
        },
        (State::Held, reason) if reason.is_workers() => "connects once its worker is back".to_owned(),
        (State::Held, Reason::Start) => "connects once its worker has started".to_owned(),
        (State::Held, Reason::OperatorHold) => format!("connects once {name} is released"),
        (State::Held, _) => match (row.next_try, known.gate(row.endpoint).map(|gate| &gate.condition)) {
            (Some(at), _) => format!("{name} is asked again {}", soon(at)),
            (None, Some(Condition::Probing)) => format!("{name} is being asked"),
            (None, _) => format!("connects once {name} answers"),
        },
        (State::Failed, _) => match row.next_try {
            Some(at) => format!("tried again {}", soon(at)),
            None => "nothing: not tried again by itself".to_owned(),
        },
        (State::Off, _) => "nothing until it is told to connect".to_owned(),
    }
}

/// When Paho sends the next PINGREQ (MQTT 5.0 §3.1.2.10): a keep alive after the last packet. Of a
/// client that does nothing but ping the last packet is known; of others only the rule is told.
fn ping(known: &Known, key: ClientKey, now: Moment) -> String {
    let (row, client) = (known.row(key), known.fleet().client(key));
    let keep_alive = row.connection.keep_alive(client.settings.keep_alive);
    let talk = &client.conversation;
    let is_quiet = talk.subscribe.is_empty() && talk.publish.is_none();
    match row.last {
        _ if keep_alive.is_zero() => "no ping: keep alive is off".to_owned(),
        Some((at, _)) if is_quiet && row.probe(&client.settings) == ProbeKind::Heartbeat => {
            match (at + keep_alive).since(now) {
                Duration::ZERO => "ping due now".to_owned(),
                due => format!("ping in {}", figures::wait(due)),
            }
        }
        _ => format!("ping after {} s of silence", keep_alive.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        event::{Event, Late, Sample, Transition, What},
        fleet::{Client, Conversation, Endpoint, EndpointKey, Fleet, Subscription},
        text::Scrubbed,
    };

    fn ms(ms: u64) -> Moment {
        Moment(ms * 1_000)
    }

    /// A quiet client, and one that subscribes to two topics.
    fn known() -> Known {
        let mut fleet = Fleet {
            name: Scrubbed::new("f"),
            env: None,
            worker_size: 500,
            endpoints: vec![Endpoint::new("eu-1", "h", 1)],
            clients: ["a", "b"].map(|id| Client::new(id, EndpointKey(0), Arc::default())).into(),
        };
        let filter = |filter: &str| Subscription { filter: filter.into(), qos: 1 };
        fleet.clients[1].conversation =
            Arc::new(Conversation { subscribe: vec![filter("cmd/#"), filter("all")], ..Conversation::default() });
        Known::new(Arc::new(fleet), ms(0))
    }

    fn step(known: &mut Known, at: Moment, client: u32, to: State, reason: Reason, next: Option<u64>) {
        let client = ClientKey(client);
        let what = What::State(Transition {
            client,
            endpoint: EndpointKey(0),
            from: known.row(client).state,
            to,
            reason,
            detail: Scrubbed::default(),
            attempt: 4,
            next_try: next.map(Duration::from_millis),
        });
        known.apply(&Event { at, what });
    }

    #[test]
    fn the_next_ping_is_claimed_only_of_a_client_that_does_nothing_else() {
        let mut known = known();
        for client in 0..2 {
            step(&mut known, ms(0), client, State::Up, Reason::Connected, None);
            let sample =
                Sample { client: ClientKey(client), probe: ProbeKind::Heartbeat, rtt: Duration::from_millis(3) };
            known.apply(&Event { at: ms(30_000), what: What::Sample(sample) });
        }
        assert_eq!(next(&known, ClientKey(0), ms(48_000)), "ping in 12 s");
        assert_eq!(next(&known, ClientKey(0), ms(60_000)), "ping due now");
        assert_eq!(next(&known, ClientKey(1), ms(48_000)), "ping after 30 s of silence");
        let connack = Connack { server_keep_alive: Some(60), ..Connack::default() };
        known.apply(&Event { at: ms(48_000), what: What::Connack(ClientKey(0), Arc::new(connack)) });
        assert_eq!(next(&known, ClientKey(0), ms(48_000)), "ping in 42 s");
        let connack = Connack { server_keep_alive: Some(0), ..Connack::default() };
        known.apply(&Event { at: ms(48_000), what: What::Connack(ClientKey(0), Arc::new(connack)) });
        assert_eq!(next(&known, ClientKey(0), ms(48_000)), "no ping: keep alive is off");
    }

    #[test]
    fn what_comes_next_is_said_in_every_state() {
        for (to, reason, due, says) in [
            (State::Backoff, Reason::ConnectionLost, Some(9_400), "try #4 in 9.4 s"),
            (State::Backoff, Reason::ConnectionLost, Some(0), "try #4 now"),
            (State::Held, Reason::CertificateExpired, Some(60_000), "eu-1 is asked again in 60 s"),
            (State::Held, Reason::EndpointUnknown, None, "connects once eu-1 answers"),
            (State::Held, Reason::WorkerLost, None, "connects once its worker is back"),
            (State::Held, Reason::WorkerSilent, None, "connects once its worker is back"),
            (State::Held, Reason::Start, None, "connects once its worker has started"),
            (State::Held, Reason::OperatorHold, None, "connects once eu-1 is released"),
            (State::Failed, Reason::NotAuthorized, Some(420_000), "tried again in 7 min"),
            (State::Failed, Reason::Banned, None, "nothing: not tried again by itself"),
            (State::Queued, Reason::Start, None, "its turn to connect to eu-1"),
            (State::Connecting, Reason::Admitted, None, "CONNACK, or a failure within 10 s of the try"),
            (State::Off, Reason::OperatorDisconnect, None, "nothing until it is told to connect"),
        ] {
            let mut known = known();
            step(&mut known, ms(5), 0, to, reason, due);
            assert_eq!(next(&known, ClientKey(0), ms(5)), says);
        }
    }

    #[test]
    fn a_slow_client_says_which_subscription_it_lacks() {
        let mut known = known();
        step(&mut known, ms(0), 1, State::Up, Reason::Connected, None);
        known.look(ms(10_500));
        assert_eq!(slow(&known, ClientKey(1), ms(10_500))[0], "no answer to its subscriptions for 10s");
        let (client, detail) = (ClientKey(1), Scrubbed::default());
        let first = Shortfall {
            client,
            filter: Scrubbed::new("cmd/#"),
            asked: 1,
            granted: Some(0),
            detail,
            request: Request::Subscription,
        };
        let second = Shortfall { filter: Scrubbed::new("all"), granted: None, ..first.clone() };
        known.apply(&Event { at: ms(11_000), what: What::Shortfall(first) });
        known.apply(&Event { at: ms(11_000), what: What::Subscribed(client, Duration::from_secs(11)) });
        let says = ["subscribed to cmd/# with QoS 0 only, 1 was asked for", "QoS 0, not 1, for cmd/#", "QoS 0, not 1"];
        assert_eq!(slow(&known, client, ms(11_000)), says);
        known.apply(&Event { at: ms(11_000), what: What::Shortfall(second.clone()) });
        assert!(slow(&known, client, ms(11_000))[0].ends_with("1 was asked for, and 1 more"));
        assert_eq!(shortfall(&second), "the broker refused the subscription to all");
    }

    #[test]
    fn what_is_late_is_told_for_as_long_as_it_is() {
        let (mut known, client) = (known(), ClientKey(0));
        step(&mut known, ms(0), 0, State::Up, Reason::Connected, None);
        let late = Late { client, probe: ProbeKind::Heartbeat, since: ms(30_000) };
        known.apply(&Event { at: ms(32_000), what: What::Late(late) });
        let says = |now| slow(&known, client, ms(now));
        assert_eq!(says(34_900), ["no answer to its heartbeat for 4s", "no answer for 4s"]);
        assert_eq!(says(151_000)[1], "no answer for 2m");
    }

    #[test]
    fn only_what_binds_is_a_limit() {
        let settings = Settings::default();
        let usual = Connack {
            receive_maximum: Some(u16::MAX),
            retain_available: Some(true),
            server_keep_alive: Some(30),
            session_expiry: Some(0),
            ..Connack::default()
        };
        assert_eq!(limits(&usual, &settings), Vec::<String>::new());
        let strict = Connack {
            receive_maximum: Some(20),
            maximum_qos: Some(1),
            retain_available: Some(false),
            server_keep_alive: Some(60),
            maximum_packet_size: Some(65_536),
            ..usual
        };
        let says = [
            "maximum QoS 1",
            "keep alive 60 s by the broker",
            "receive maximum 20",
            "packets up to 65,536 bytes",
            "no retain",
        ];
        assert_eq!(limits(&strict, &settings), says);
    }
}
