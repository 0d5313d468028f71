//! Tests of how things stand: who is told in the middle of a story knows what who heard all of it knows; the files that tell it are the recording's matter.

use super::*;
use crate::{
    event::{Condition, Gate, Late, Messages, Tcp, TcpState, WorkerEvent},
    fleet::{Labels, Probe, WorkerKey},
    model::trend::Trend,
};

const CLIENTS: u32 = 6;

/// Six clients at two endpoints, probed every second or every five, some with a subscription.
fn fleet() -> Arc<Fleet> {
    let settings = |kind, seconds, slow| {
        let probe = Probe { kind, every: Duration::from_secs(seconds) };
        Arc::new(Settings { probe, slow_p99: slow, ..Settings::default() })
    };
    let objective = Some(Duration::from_millis(100));
    let settings = [settings(ProbeKind::Ack, 1, objective), settings(ProbeKind::Heartbeat, 5, None)];
    let client = |n: u32| {
        let label = (Scrubbed::new("site"), Scrubbed::new(["north", "south"][n as usize / 3]));
        let subscribe = vec![Subscription { filter: "cmd/#".into(), qos: 1 }; n as usize % 2];
        Client {
            labels: Arc::new(Labels::from([label])),
            conversation: Arc::new(Conversation { subscribe, ..Conversation::default() }),
            ..Client::new(&format!("c{n}"), EndpointKey((n % 2) as u16), settings[n as usize % 2].clone())
        }
    };
    Arc::new(Fleet {
        name: Scrubbed::new("f"),
        env: None,
        worker_size: 500,
        endpoints: vec![Endpoint::new("eu-1", "h", 1), Endpoint::new("eu-2", "h", 2)],
        clients: (0..CLIENTS).map(client).collect(),
    })
}

/// What happens next; `None`: a second is over.
fn act() -> impl Strategy<Value = Option<What>> {
    let client = || (0..CLIENTS).prop_map(ClientKey);
    let ends = [
        (State::Backoff, Reason::ConnectionLost),
        (State::Held, Reason::ConnectionRefused),
        (State::Held, Reason::OperatorHold),
        (State::Queued, Reason::EndpointOpen),
        (State::Connecting, Reason::Admitted),
        (State::Failed, Reason::BadCredentials),
        (State::Off, Reason::OperatorDisconnect),
    ];
    let to = prop_oneof![
        2 => proptest::strategy::Just((State::Up, Reason::Connected)),
        1 => proptest::sample::select(ends.to_vec()),
    ];
    let step = (client(), to, any::<bool>()).prop_map(|(client, (to, reason), has_next)| {
        What::State(Transition {
            client,
            endpoint: EndpointKey((client.0 % 2) as u16),
            from: State::Off,
            to,
            reason,
            detail: Scrubbed::new("as it was said"),
            attempt: 2,
            next_try: has_next.then_some(Duration::from_secs(3)),
        })
    });
    // An answer a millisecond or a second late, and all between.
    let rtt = (0.0..7.2f64).prop_map(|exponent| Duration::from_micros(10f64.powf(exponent) as u64));
    let probe = || proptest::sample::select(vec![ProbeKind::Ack, ProbeKind::Ack, ProbeKind::Heartbeat]);
    let sample = (client(), probe(), rtt);
    let sample = sample.prop_map(|(client, probe, rtt)| What::Sample(Sample { client, probe, rtt }));
    let late = (client(), 0..999u64)
        .prop_map(|(client, at)| What::Late(Late { client, probe: ProbeKind::Ack, since: ms(at * 500) }));
    let tcp = (client(), 0..4u32, 0..2u32).prop_map(|(client, retransmits, unacknowledged)| {
        let (rtt, rtt_variation, since_received) = (Duration::from_millis(20), Duration::ZERO, Duration::from_secs(9));
        let state = TcpState::Established;
        What::Tcp(
            client,
            Tcp { state, rtt, rtt_variation, retransmits, unacknowledged, since_received, sent: 0, received: 0 },
        )
    });
    let connack = (client(), any::<bool>()).prop_map(|(client, is_set)| {
        let server_keep_alive = is_set.then_some(7);
        let reached = Some(Duration::from_millis(3));
        What::Connack(client, Arc::new(Connack { reached, server_keep_alive, ..Connack::default() }))
    });
    let shortfall = client().prop_map(|client| {
        let (filter, detail) = (Scrubbed::new("cmd/#"), Scrubbed::default());
        What::Shortfall(Shortfall {
            client,
            request: crate::event::Request::default(),
            filter,
            asked: 1,
            granted: None,
            detail,
        })
    });
    let gate = (0..2u16, any::<bool>()).prop_map(|(n, is_open)| {
        let condition = if is_open { Condition::Open } else { Condition::OnHold };
        let eta = Duration::from_secs(3);
        What::Gate(EndpointKey(n), Gate { condition, waiting: 60, in_flight: 2, rate_set: 9, rate: 9, eta })
    });
    let died = (0..9u32).prop_map(|n| What::Worker {
        worker: WorkerKey(n),
        event: WorkerEvent::Died,
        detail: Scrubbed::default(),
    });
    prop_oneof![
        12 => sample.prop_map(Some),
        5 => step.prop_map(Some),
        4 => proptest::strategy::Just(None),
        2 => late.prop_map(Some),
        4 => tcp.prop_map(Some),
        2 => connack.prop_map(Some),
        1 => client().prop_map(|client| Some(What::Subscribed(client, Duration::from_millis(2)))),
        1 => shortfall.prop_map(Some),
        1 => gate.prop_map(Some),
        1 => died.prop_map(Some),
        1 => (1..9u32).prop_map(|n| Some(What::SamplesLost(n))),
        1 => (client(), 0..9u32).prop_map(|(client, n)| {
            Some(What::Messages(Messages { client, received: n, published: n, refused: 0 }))
        }),
    ]
}

/// Each act with its time; a client that is answered, or not, is mostly up.
fn story() -> impl Strategy<Value = Vec<(Moment, Option<What>)>> {
    prop::collection::vec((0..4_000u64, act()), 1..240).prop_map(|acts| {
        let mut now = 0;
        let mut timed = |(after, act)| {
            now += after;
            (ms(now), act)
        };
        acts.into_iter().map(&mut timed).collect()
    })
}

fn go_on(known: &mut Known, story: &[(Moment, Option<What>)]) {
    for (at, act) in story {
        match act {
            Some(what) => known.apply(&Event { at: *at, what: what.clone() }),
            None => known.look(*at),
        }
    }
}

/// As it is read from a file.
fn read_back(event: Event) -> Event {
    let text = serde_json::to_string(&event.what).unwrap();
    Event { what: serde_json::from_str(&text).unwrap(), ..event }
}

/// All that a screen can show of a client, but for the past of its trend.
fn row(known: &Known, client: ClientKey) -> String {
    let mut row = known.row(client).clone();
    row.trend = Trend::new(Moment(0), Duration::from_secs(1));
    row.violate(row.violated());
    if !row.is_slow() {
        row.slow_since = Moment(0);
    }
    format!("{row:#?} {:?}", known.shortfalls(client))
}

/// All that a screen can show of the fleet, but for the log and the pulse.
fn whole(known: &Known, now: Moment) -> String {
    let told = |histogram: Histogram| {
        let counts: Vec<_> = histogram.counts().enumerate().filter(|(_, n)| *n > 0).collect();
        (histogram.latency(), histogram.total(), counts)
    };
    let latencies = known.latencies();
    let heat: Vec<_> = latencies
        .heat()
        .slices(now, Heat::SLICES)
        .map(|slice| {
            let counts = |slice: &Slice| slice.counts().iter().copied().enumerate().filter(|(_, n)| *n > 0).collect();
            slice.map(|slice| (counts(slice), slice.lost)).unwrap_or((Vec::new(), 0))
        })
        .collect();
    let gates: Vec<_> = known.fleet().endpoint_keys().map(|key| (known.gate(key), known.finding(key))).collect();
    format!(
        "{:#?}",
        (
            (known.totals(), known.totals_by_endpoint(), known.insights(), known.latency(), known.lost()),
            (known.received(), known.published(), known.samples_lost(), known.trouble()),
            (known.worker_deaths(), known.last_worker_death(), gates, told(latencies.fleet(now)), heat),
            [0, 1].map(|n| (told(latencies.endpoint(n, now)), told(latencies.group(n, now)))),
        )
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]
    #[test]
    fn who_is_told_in_the_middle_knows_what_who_was_there_from_the_begin_knows(story in story(), place in 0.0..1.0f64) {
        let (before, after) = story.split_at((story.len() as f64 * place) as usize);
        let mut known = Known::new(fleet(), ms(0));
        go_on(&mut known, before);
        let now = before.last().map_or(ms(0), |(at, _)| *at);
        known.look(now);
        let mut told = Known::new(fleet(), ms(0));
        known.standings(now).for_each(|event| told.apply(&read_back(event)));
        told.look(now);
        let end = story.last().map_or(now, |(at, _)| *at);
        for (until, rest) in [(now, &[][..]), (end, after)] {
            for known in [&mut known, &mut told] {
                go_on(known, rest);
                known.look(until);
            }
            for client in fleet().keys() {
                prop_assert_eq!(row(&known, client), row(&told, client));
            }
            prop_assert_eq!(whole(&known, until), whole(&told, until));
        }
    }
}
