//! Makes up a fleet and anything that can happen to it; what is recorded of that is the tests' matter.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use chrono::{DateTime, TimeZone, Utc};
use proptest::{prelude::*, sample::select};

use crate::{
    clock::{Anchor, Moment},
    event::*,
    fleet::{
        Client, ClientKey, Conversation, Endpoint, EndpointKey, Fleet, Message, Password, ProbeKind, Proxy, ProxyKind,
        Secret, Settings, Subscription, Tls, Traffic, Transport, WebSocket, WorkerKey,
    },
    text::Scrubbed,
};

pub(super) const CLIENTS: u32 = 40;

pub(super) fn fleet() -> Fleet {
    let settings = Settings {
        slow_p99: Some(Duration::from_millis(250)),
        user_properties: vec![("token".into(), "hush-property".into())],
        ..Settings::default()
    };
    let settings = [Arc::new(settings), Arc::default()];
    let tls = Arc::new(Tls { insecure: true, ..Tls::default() });
    let headers = vec![("Authorization".into(), Secret::new("hush-header".into()))];
    let websocket = WebSocket { headers, ..WebSocket::new("/mqtt?token=hush-query") };
    let endpoints = vec![
        Endpoint {
            transport: Transport::SecureWebSocket(Arc::new(websocket), tls),
            proxy: Some(Proxy {
                username: Some("hush-proxy-user".into()),
                password: Some(Secret::new("hush-proxy".into())),
                ..Proxy::new(ProxyKind::Http, "proxy", 3128)
            }),
            connect_rate: 17,
            ..Endpoint::new("eu-1", "::1", 8883)
        },
        Endpoint {
            proxy: Some(Proxy {
                username: Some("hush-proxy-user".into()),
                password: Some(Secret::new("hush-proxy".into())),
                ..Proxy::new(ProxyKind::Socks5h, "socks", 1080)
            }),
            bind: ["192.0.2.7".parse().unwrap()].into(),
            ..Endpoint::new("eu-2", "eu-2.example", 1883)
        },
        Endpoint {
            transport: Transport::Unix("/run/mosquitto/mqtt.sock".into()),
            ..Endpoint::new("here", "localhost", 0)
        },
    ];
    let message =
        |topic: &str| Message { topic: topic.into(), payload: Arc::new(*b"hush-payload"), qos: 1, retain: true };
    let client = |n: u32| {
        // Two of them have the same ID.
        let mut client =
            Client::new(&format!("press-{:04}", n / 2), EndpointKey((n % 2) as u16), settings[n as usize % 2].clone());
        client.username = Some("op".into());
        client.password = Some(Password::Fixed(Secret::new("hush-password".into())));
        client.labels = Arc::new([(Scrubbed::new("site"), Scrubbed::new(&format!("hall-{}", n % 3)))].into());
        client.conversation = Arc::new(Conversation {
            will: Some(message("gone")),
            birth: None,
            subscribe: vec![Subscription { filter: "cmd/#".into(), qos: 1 }],
            publish: Some(Traffic { message: message("data"), every: Duration::from_millis(1_500) }),
        });
        client
    };
    Fleet {
        name: Scrubbed::new("plant-eu"),
        env: Some(Scrubbed::new("prod")),
        worker_size: 20,
        endpoints,
        clients: (0..CLIENTS).map(client).collect(),
    }
}

pub(super) fn begin() -> Anchor {
    Anchor::new(Moment(7_000_000), Utc.with_ymd_and_hms(2026, 11, 22, 12, 0, 0).unwrap())
}

fn text() -> impl Strategy<Value = Scrubbed> {
    "(?s).{0,40}|\"\\\\\\PC{0,20}|".prop_map(|raw| Scrubbed::new(&raw))
}

fn time() -> impl Strategy<Value = Duration> {
    (0u64..1 << 40, 0u32..1_000_000_000).prop_map(|(s, ns)| Duration::new(s, ns))
}

fn client() -> impl Strategy<Value = ClientKey> {
    (0..CLIENTS).prop_map(ClientKey)
}

fn endpoint() -> impl Strategy<Value = EndpointKey> {
    (0u16..2).prop_map(EndpointKey)
}

fn reason() -> impl Strategy<Value = Reason> {
    select(vec![Reason::ConnectionLost, Reason::BadCredentials, Reason::Start, Reason::OtherBrokerReason])
}

fn state() -> impl Strategy<Value = State> {
    select(State::ALL.to_vec())
}

pub(super) fn moment() -> impl Strategy<Value = Moment> {
    (0u64..1 << 50).prop_map(Moment)
}

fn cause() -> impl Strategy<Value = Cause> {
    (reason(), text()).prop_map(|(reason, detail)| Cause { reason, detail })
}

fn transition() -> impl Strategy<Value = Transition> {
    (client(), endpoint(), state(), state(), reason(), text(), any::<u32>(), proptest::option::of(time())).prop_map(
        |(client, endpoint, from, to, reason, detail, attempt, next_try)| Transition {
            client,
            endpoint,
            from,
            to,
            reason,
            detail,
            attempt,
            next_try,
        },
    )
}

fn counts() -> impl Strategy<Value = Counts> {
    // As it may come from a file that is not to be trusted: any numbers, and an odd number of them.
    let number = || prop_oneof![0u32..9, any::<u32>()];
    proptest::collection::vec(number(), 0..9).prop_map(|n| serde_json::from_value(n.into()).expect("counts"))
}

fn window() -> impl Strategy<Value = Window> {
    let part = (counts(), any::<u16>(), any::<u16>(), any::<u32>()).prop_map(|(counts, answered, lost, max)| Part {
        counts,
        answered,
        lost,
        max,
    });
    (any::<u32>(), any::<u64>(), proptest::collection::vec(part, 0..5), any::<u32>(), any::<f32>()).prop_map(
        |(width, newest, parts, last, jitter)| {
            let jitter = if jitter.is_finite() { jitter } else { -1.0 }; // JSON has no other
            Window { width, newest, parts, last, jitter, usual: jitter }
        },
    )
}

fn past() -> impl Strategy<Value = (Past, Strip)> {
    let strip = (moment(), any::<u32>(), any::<u32>(), proptest::collection::vec(any::<(u8, u8)>(), 0..4))
        .prop_map(|(origin, width, newest, runs)| Strip { origin, width, newest, runs });
    let past = (any::<u64>(), any::<bool>(), any::<[u64; 8]>(), proptest::option::of(moment()), any::<[u32; 4]>());
    let past = past.prop_map(|(entered, is_idle, times, outage, [mending, mended, longest, flaps])| Past {
        entered: Moment(entered),
        is_idle,
        in_state: std::array::from_fn(|n| times[n]),
        idle: times[7],
        outage,
        mending: u64::from(mending) << 32,
        mended,
        longest: u64::from(longest) << 32,
        flaps,
    });
    (past, strip)
}

fn standing() -> impl Strategy<Value = Standing> {
    let figures = (any::<u32>(), proptest::option::of((moment(), time())), any::<u64>(), any::<u64>());
    let since = proptest::array::uniform4(proptest::option::of(any::<u64>().prop_map(Moment)));
    let connection =
        (proptest::option::of(connack()), proptest::option::of(time()), proptest::collection::vec(shortfall(), 0..3));
    let reading = (moment(), tcp(), any::<u32>(), any::<u8>(), any::<bool>(), any::<u8>())
        .prop_map(|(at, tcp, grown, rises, is_lossy, stuck)| Reading { at, tcp, grown, rises, is_lossy, stuck });
    let more = (proptest::option::of(reading), past(), proptest::option::of(window()));
    let awaited = proptest::option::of((client(), moment()).prop_map(|(client, since)| Late {
        client,
        probe: ProbeKind::Ack,
        since,
    }));
    (transition(), (moment(), awaited), figures, since, connection, more).prop_map(
        |(
            step,
            (since, awaited),
            (ups, last, received, published),
            [next_try, slow, late, violated],
            connection,
            more,
        )| {
            Standing {
                client: step.client,
                endpoint: step.endpoint,
                state: step.to,
                since,
                reason: step.reason,
                detail: step.detail,
                attempt: step.attempt,
                next_try,
                ups,
                last,
                received,
                published,
                refused: published / 2,
                measured: late.map(|_| ProbeKind::Heartbeat),
                slow,
                late,
                awaited,
                violated,
                connack: connection.0.map(Arc::new),
                subscribed: connection.1,
                shortfalls: connection.2,
                link: more.0,
                past: more.1.0,
                strip: more.1.1,
                answers: more.2,
            }
        },
    )
}

fn fleet_standing() -> impl Strategy<Value = FleetStanding> {
    let slice = || (counts(), any::<u32>(), any::<u64>()).prop_map(|(counts, lost, max)| Slice { counts, lost, max });
    let slices = || {
        (any::<u64>(), proptest::collection::vec(slice(), 0..4)).prop_map(|(newest, slices)| Slices { newest, slices })
    };
    let many = || proptest::collection::vec(slices(), 0..4);
    (any::<u64>(), any::<u32>(), proptest::option::of(any::<u32>().prop_map(WorkerKey)), many(), many(), slices())
        .prop_map(|(samples_lost, worker_deaths, last_worker_death, endpoints, groups, heat)| FleetStanding {
            samples_lost,
            worker_deaths,
            last_worker_death,
            endpoints,
            groups,
            heat,
        })
}

fn shortfall() -> impl Strategy<Value = Shortfall> {
    let request = select(vec![Request::Subscription, Request::Publish, Request::Probe]);
    (client(), request, text(), 0u8..3, proptest::option::of(0u8..3), text()).prop_map(
        |(client, request, filter, asked, granted, detail)| Shortfall {
            client,
            request,
            filter,
            asked,
            granted,
            detail,
        },
    )
}

fn day() -> impl Strategy<Value = Option<DateTime<Utc>>> {
    proptest::option::of((-4_000_000_000i64..40_000_000_000).prop_map(|s| DateTime::from_timestamp(s, 0).unwrap()))
}

fn finding() -> impl Strategy<Value = Finding> {
    let kind = || select(vec![StageKind::Dns, StageKind::Tcp, StageKind::Proxy, StageKind::WebSocket]);
    let stage = (kind(), time()).prop_map(|(kind, took)| Stage { kind, took });
    let address = || {
        (any::<[u8; 16]>(), any::<u16>(), any::<bool>()).prop_map(|(ip, port, v4)| match v4 {
            true => SocketAddr::from(([ip[0], ip[1], ip[2], ip[3]], port)),
            false => SocketAddr::from((ip, port)),
        })
    };
    let certificate = (text(), text(), proptest::collection::vec(text(), 0..3), day(), day()).prop_map(
        |(subject, issuer, names, not_before, not_after)| Certificate { subject, issuer, names, not_before, not_after },
    );
    let session = (
        proptest::option::of(select(vec!["TLSv1.3", "TLSv1.2", "unknown"])),
        proptest::option::of(text()),
        proptest::collection::vec(certificate, 0..3),
        proptest::option::of(cause()),
        any::<bool>(),
    )
        .prop_map(|(protocol, cipher, chain, overlooked, wants_certificate)| Session {
            protocol,
            alpn: cipher.clone(),
            cipher,
            chain,
            overlooked,
            wants_certificate,
        });
    (
        proptest::collection::vec(stage, 0..4),
        proptest::collection::vec(address(), 0..3),
        proptest::option::of(address()),
        proptest::option::of(session),
        proptest::option::of((kind(), cause()).prop_map(|(stage, cause)| Failure { stage, cause })),
    )
        .prop_map(|(stages, addresses, address, session, failure)| Finding {
            stages,
            addresses: addresses.into(),
            address,
            session,
            failure,
        })
}

fn connack() -> impl Strategy<Value = Connack> {
    let some = |n| proptest::option::of(n);
    (
        (any::<bool>(), some(time().boxed()), some(time().boxed())),
        (proptest::option::of(any::<u32>()), proptest::option::of(any::<u16>()), proptest::option::of(any::<bool>())),
        (proptest::option::of(text()), proptest::option::of(any::<u8>())),
    )
        .prop_map(|((session_present, reached, answered), (long, short, flag), (words, qos))| Connack {
            stages: Vec::new(),
            session_present,
            reached,
            answered,
            session_expiry: long,
            receive_maximum: short,
            maximum_qos: qos,
            retain_available: flag,
            maximum_packet_size: long,
            assigned_client_id: words.clone(),
            topic_alias_maximum: short,
            reason_string: words.clone(),
            wildcard_subscription_available: flag,
            subscription_identifiers_available: None,
            shared_subscription_available: flag,
            server_keep_alive: short,
            server_reference: words,
        })
}

fn gate() -> impl Strategy<Value = Gate> {
    let shut =
        (cause(), proptest::option::of(moment())).prop_map(|(cause, next_probe)| Condition::Shut { cause, next_probe });
    let condition =
        prop_oneof![select(vec![Condition::Unknown, Condition::Probing, Condition::Open, Condition::OnHold]), shut];
    (condition, any::<[u32; 4]>(), time()).prop_map(|(condition, [waiting, in_flight, rate_set, rate], eta)| Gate {
        condition,
        waiting,
        in_flight,
        rate_set,
        rate,
        eta,
    })
}

fn tcp() -> impl Strategy<Value = Tcp> {
    let state = select(vec![TcpState::Established, TcpState::CloseWait, TcpState::FinWait1]);
    (state, time(), time(), any::<[u32; 2]>(), time(), any::<[u64; 2]>()).prop_map(
        |(state, rtt, rtt_variation, [retransmits, unacknowledged], since_received, [sent, received])| Tcp {
            state,
            rtt,
            rtt_variation,
            retransmits,
            unacknowledged,
            since_received,
            sent,
            received,
        },
    )
}

pub(super) fn what() -> impl Strategy<Value = What> {
    let probe = select(vec![ProbeKind::Heartbeat, ProbeKind::Ack, ProbeKind::Echo]);
    let worker = select(vec![WorkerEvent::Started, WorkerEvent::Silent, WorkerEvent::Died, WorkerEvent::Restarted]);
    let level = select(vec![Level::Info, Level::Warning, Level::Error]);
    prop_oneof![
        transition().prop_map(What::State),
        standing().prop_map(|standing| What::Standing(Box::new(standing))),
        fleet_standing().prop_map(|standing| What::FleetStanding(Box::new(standing))),
        (client(), probe, time()).prop_map(|(client, probe, rtt)| What::Sample(Sample { client, probe, rtt })),
        (any::<u32>(), worker, text()).prop_map(|(n, event, detail)| What::Worker {
            worker: WorkerKey(n),
            event,
            detail
        }),
        any::<u32>().prop_map(What::SamplesLost),
        (client(), moment()).prop_map(|(client, since)| What::Late(Late { client, probe: ProbeKind::Echo, since })),
        (client(), tcp()).prop_map(|(client, tcp)| What::Tcp(client, tcp)),
        (endpoint(), gate()).prop_map(|(endpoint, gate)| What::Gate(endpoint, gate)),
        (endpoint(), finding()).prop_map(|(endpoint, finding)| What::Finding(endpoint, Arc::new(finding))),
        (client(), connack()).prop_map(|(client, connack)| What::Connack(client, Arc::new(connack))),
        (client(), time()).prop_map(|(client, took)| What::Subscribed(client, took)),
        shortfall().prop_map(What::Shortfall),
        (client(), any::<u32>(), any::<u32>()).prop_map(|(client, received, published)| What::Messages(Messages {
            client,
            received,
            published,
            refused: received / 2,
        })),
        (client(), text())
            .prop_map(|(client, detail)| { What::Measured(Measured { client, by: ProbeKind::Heartbeat, detail }) }),
        (level, text()).prop_map(|(level, text)| What::Notice { level, text }),
        text().prop_map(What::Trouble),
        (client(), any::<u32>(), any::<bool>())
            .prop_map(|(client, number, is_turn)| What::Job(job(client, number, is_turn))),
        (text(), client(), any::<bool>(), any::<u32>()).prop_map(|(rule, client, is_firing, lasted)| {
            What::Alert(Box::new(Alert {
                agent: None,
                rule,
                severity: Severity::Critical,
                is_firing,
                lasted: Duration::from_millis(lasted.into()),
                clients: 1,
                of: 2,
                first: vec![client; usize::from(is_firing)],
                cause: Scrubbed::default(),
            }))
        }),
        (text(), text(), 0u8..6).prop_map(|(rule, text, what)| {
            let recovery = |stage| Recovery { step: 1, kind: RecoveryKind::Run, stage, clients: 2, text: text.clone() };
            let what = match what {
                0 => Handled::Told { notifier: text, is_firing: true },
                1 => Handled::Muted { until: Some(begin().utc(begin().moment())), by: text },
                2 => Handled::Muted { until: None, by: text },
                3 => Handled::Acknowledged { by: text },
                4 => Handled::Recovery(recovery(RecoveryStage::Waiting)),
                _ => Handled::Recovery(recovery(RecoveryStage::Failed)),
            };
            What::Handling(Box::new(Handling::of(&rule, what)))
        }),
    ]
}

pub(super) fn events(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Event>> {
    let event = (0u64..90_000_000, what()).prop_map(|(us, what)| Event { at: Moment(begin().moment().0 + us), what });
    proptest::collection::vec(event, count)
}

fn job(client: ClientKey, number: u32, is_turn: bool) -> Box<JobNews> {
    let id = JobId { agent: 0, number };
    let job = Job {
        id,
        deed: Deed::Reconnect,
        roll: Roll::default(),
        state: JobState::Stopped,
        begun: begin().moment(),
        ended: is_turn.then(|| begin().moment()),
        undoes: None,
        left: number / 2,
        under_way: 1,
        done: 2,
        failed: 3,
        skipped: 4,
    };
    Box::new(JobNews { job, is_turn, fates: vec![(client, Fate::Failed(Reason::ConnectionLost))] })
}
