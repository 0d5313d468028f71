//! What is written is read back to the letter, wherever a file is cut, and nothing secret is in it.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, TimeZone, Utc};
use proptest::{prelude::*, sample::select};
use tokio::runtime::Runtime;

use super::{segment::Draft, *};
use crate::{
    clock::{Anchor, Moment},
    event::*,
    fleet::{
        Client, ClientKey, Conversation, Endpoint, EndpointKey, Fleet, Message, ProbeKind, Proxy, Secret, Settings,
        Subscription, Tls, Traffic, Transport, WorkerKey,
    },
    lines,
    model::{Known, Row},
    report::Tally,
    text::Scrubbed,
};

const CLIENTS: u32 = 40;

fn fleet() -> Fleet {
    let settings = Settings {
        slow_p99: Some(Duration::from_millis(250)),
        user_properties: vec![("token".into(), "hush-property".into())],
        ..Settings::default()
    };
    let settings = [Arc::new(settings), Arc::default()];
    let tls = Arc::new(Tls { insecure: true, ..Tls::default() });
    let endpoints = vec![
        Endpoint {
            transport: Transport::SecureWebSocket("/mqtt?token=hush-query".into(), tls),
            proxy: Some(Proxy {
                host: "proxy".into(),
                port: 3128,
                username: Some("hush-proxy-user".into()),
                password: Some(Secret::new("hush-proxy".into())),
            }),
            connect_rate: 17,
            ..Endpoint::new("eu-1", "::1", 8883)
        },
        Endpoint::new("eu-2", "eu-2.example", 1883),
    ];
    let message =
        |topic: &str| Message { topic: topic.into(), payload: Arc::new(*b"hush-payload"), qos: 1, retain: true };
    let client = |n: u32| {
        // Two of them have the same ID.
        let mut client =
            Client::new(&format!("press-{:04}", n / 2), EndpointKey((n % 2) as u16), settings[n as usize % 2].clone());
        client.username = Some("op".into());
        client.password = Some(Secret::new("hush-password".into()));
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

fn begin() -> Anchor {
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

fn moment() -> impl Strategy<Value = Moment> {
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
            Window { width, newest, parts, last, jitter }
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
    (client(), text(), 0u8..3, proptest::option::of(0u8..3), text())
        .prop_map(|(client, filter, asked, granted, detail)| Shortfall { client, filter, asked, granted, detail })
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
        proptest::option::of("[A-Z\n]{0,99}"),
        proptest::option::of(cause()),
        any::<bool>(),
    )
        .prop_map(|(protocol, cipher, chain, anchor, overlooked, wants_certificate)| Session {
            protocol,
            alpn: cipher.clone(),
            cipher,
            chain,
            anchor: anchor.map(Into::into),
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
    (state, time(), time(), any::<[u32; 2]>(), time()).prop_map(
        |(state, rtt, rtt_variation, [retransmits, unacknowledged], since_received)| Tcp {
            state,
            rtt,
            rtt_variation,
            retransmits,
            unacknowledged,
            since_received,
        },
    )
}

fn what() -> impl Strategy<Value = What> {
    let probe = select(vec![ProbeKind::Heartbeat, ProbeKind::Ack, ProbeKind::Echo]);
    let worker = select(vec![WorkerEvent::Started, WorkerEvent::Died, WorkerEvent::Restarted]);
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
            published
        })),
        (level, text()).prop_map(|(level, text)| What::Notice { level, text }),
        text().prop_map(What::Trouble),
    ]
}

fn events(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Event>> {
    let event = (0u64..90_000_000, what()).prop_map(|(us, what)| Event { at: Moment(begin().moment().0 + us), what });
    proptest::collection::vec(event, count)
}

/// Records these events, a batch each, and waits until all is written.
fn record(path: &Path, limits: Limits, events: &[Event]) {
    let recorder = Recorder::start(path, limits, Arc::new(fleet()), 2).expect("a recorder");
    for event in events {
        recorder.write(&begin(), std::slice::from_ref(event));
    }
    let runtime = Runtime::new().expect("a runtime");
    assert_eq!(runtime.block_on(recorder.finish_within(Duration::from_secs(60))), None);
}

/// What is read, without how things stood at the begin.
fn read(recording: &Arc<Recording>) -> Vec<Event> {
    recording.entries().map(|entry| entry.expect("an entry").event().expect("an event")).collect()
}

/// A small recording: its bytes, and the events in it.
fn small(dir: &Path) -> (Vec<u8>, Vec<Event>) {
    let path = dir.join("small");
    let sample =
        |n: u64| Sample { client: ClientKey(n as u32 % CLIENTS), probe: ProbeKind::Ack, rtt: Duration::from_micros(n) };
    let events: Vec<Event> = (0..50)
        .map(|n| Event { at: begin().moment() + Duration::from_millis(n), what: What::Sample(sample(n)) })
        .collect();
    record(&path, Limits::default(), &events);
    (fs::read(path).expect("a recording"), events)
}

fn open(dir: &Path, bytes: &[u8]) -> Result<Arc<Recording>, RecordingError> {
    let path = dir.join("cut");
    fs::write(&path, bytes).expect("a file");
    Recording::open(&path)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn what_is_recorded_is_read_to_the_letter(events in events(0..120)) {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("run");
        record(&path, Limits::default(), &events);
        let recording = Recording::open(&path).unwrap();
        prop_assert_eq!(recording.ending(), Ending::Orderly);
        prop_assert_eq!(read(&recording), events);
    }

    #[test]
    fn every_recorded_line_holds_the_line_that_scripts_read(what in what()) {
        let event = Event { at: begin().moment(), what };
        let kept: serde_json::Value = serde_json::from_str(&lines::json_kept(&fleet(), &begin(), &event, false)).unwrap();
        if let Some(line) = lines::json(&fleet(), &begin(), &event, true) {
            let line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
            for (name, value) in line {
                prop_assert_eq!(&kept[&name], &value, "{}", name);
            }
        }
        prop_assert_eq!(&kept["at_us"], &serde_json::json!(7_000_000));
    }

    /// A line may tell anything, in any order: nothing of it is a reason to end.
    #[test]
    fn nothing_that_a_recording_tells_ends_the_program(events in events(1..60), later in any::<u64>()) {
        let mut known = Known::new(Arc::new(fleet()), begin().moment());
        let mut tally = Tally::new(Arc::new(fleet()), Moment(begin().moment().0 + 30_000_000));
        let now = Moment(later.max(begin().moment().0));
        for event in &events {
            known.apply(event);
            known.look(event.at);
            tally.apply(event);
        }
        let last = events.last().expect("an event").clone();
        known.apply(&Event { at: now, ..last });
        known.look(now);
        for row in known.rows() {
            let record = &row.record;
            let _ = (record.strip(now, true), record.share(now), record.longest_outage(now), record.is_strip_full(now));
            let _ = row.answers().map(|answers| (answers.histogram(now), answers.jitter(), answers.loss(now)));
            let _ = row.link.as_ref().map(|link| link.is_stuck());
        }
        let _ = tally.report(now, &begin());
        let told: Vec<Event> = known.standings(now).collect();
        prop_assert!(told.iter().all(|event| serde_json::to_string(&event.what).is_ok()));
    }
}

#[test]
fn a_file_cut_anywhere_gives_whole_segments_and_says_what_is_lost() {
    let dir = tempfile::TempDir::new().unwrap();
    let (bytes, events) = small(dir.path());
    let whole = Recording::open(&dir.path().join("small")).unwrap();
    let first = Label::LEN + whole.segments()[0].label.packed as usize;
    for cut in 0..bytes.len() {
        match open(dir.path(), &bytes[..cut]) {
            Err(RecordingError::NoRecording { .. }) => assert!(cut < first, "{cut}"),
            Err(other) => panic!("{cut}: {other}"),
            Ok(recording) => {
                assert!(cut >= first, "{cut}");
                let read = read(&recording);
                assert_eq!(read, events[..read.len()], "{cut}");
                let kept: u64 =
                    recording.segments().iter().map(|s| Label::LEN as u64 + u64::from(s.label.packed)).sum();
                match recording.ending() {
                    Ending::Torn { bytes, .. } => assert_eq!(bytes, cut as u64 - kept, "{cut}"),
                    Ending::Open => assert_eq!(cut as u64, kept),
                    Ending::Orderly => panic!("{cut} is not its end"),
                }
            }
        }
    }
    assert_eq!(whole.ending(), Ending::Orderly);
}

#[test]
fn a_torn_segment_whose_label_was_written_says_how_much_it_was() {
    let dir = tempfile::TempDir::new().unwrap();
    let (mut bytes, _) = small(dir.path());
    let mut draft = Draft::default();
    (0..9).for_each(|n| draft.push(Moment(8_000_000 + n), "{}"));
    let (label, segment) = draft.finish(&mut zstd::bulk::Compressor::new(3).unwrap(), |_| {}).unwrap();
    bytes.extend(&segment[..segment.len() - 1]);
    let bytes_lost = segment.len() as u64 - 1;
    assert_eq!(label.lines, 9);
    let recording = open(dir.path(), &bytes).unwrap();
    assert_eq!(recording.ending(), Ending::Torn { bytes: bytes_lost, lost: Some((9, Moment(8_000_008))) });
    // The length alone is there: what the death of a whole machine leaves.
    bytes.push(0);
    let at = bytes.len() - 9;
    bytes[at..].fill(0);
    let recording = open(dir.path(), &bytes).unwrap();
    assert!(matches!(recording.ending(), Ending::Torn { lost: Some((9, _)), .. }), "{:?}", recording.ending());
}

#[test]
fn other_files_are_told_from_recordings_and_newer_ones_too() {
    let dir = tempfile::TempDir::new().unwrap();
    let (bytes, _) = small(dir.path());
    let packed = zstd::bulk::compress(b"text", 3).unwrap();
    for (content, says) in [
        (&b""[..], "it is empty"),
        (b"{\"type\":\"start\"}\n", "plain JSON"),
        (&packed, "packed by zstd"),
        (b"[fleet]", "did not write it"),
        (&bytes[..70], "first half second"),
    ] {
        let error = open(dir.path(), content).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let line = r#"{"type":"start","version":"9.9.0","recording":2,"other":"things"}"#;
    let mut draft = Draft::default();
    draft.push(Moment(1), line);
    let (_, newer) = draft.finish(&mut zstd::bulk::Compressor::new(3).unwrap(), |_| {}).unwrap();
    let error = open(dir.path(), &newer).unwrap_err().to_string();
    assert!(error.contains("9.9.0") && error.contains("version 2"), "{error}");
    let error = Recording::open(Path::new("/no/such/file")).unwrap_err().to_string();
    assert!(error.contains("/no/such/file") && error.contains("No such file"), "{error}");
}

#[test]
fn a_damaged_segment_in_the_middle_is_an_error_and_lines_of_a_newer_program_are_not() {
    let dir = tempfile::TempDir::new().unwrap();
    let (bytes, events) = small(dir.path());
    let whole = Recording::open(&dir.path().join("small")).unwrap();
    let first = Label::LEN + whole.segments()[0].label.packed as usize;
    let mut draft = Draft::default();
    let lines = [
        r#"{"type":"weather","ts":"2026-11-22T12:00:00.000Z","at_us":7000000,"exact":{"rain":1}}"#.to_owned(),
        // Clients and endpoints that the fleet does not have.
        lines::json_kept(&fleet(), &begin(), &events[0], false).replace(r#""client":0"#, r#""client":99"#),
        lines::json_kept(&fleet(), &begin(), &events[0], false),
    ];
    lines.iter().for_each(|line| draft.push(begin().moment(), line));
    let (_, segment) = draft.finish(&mut zstd::bulk::Compressor::new(3).unwrap(), |_| {}).unwrap();
    let with_newer = [&bytes[..first], &segment, &segment].concat();
    let recording = open(dir.path(), &with_newer).unwrap();
    let mut entries = recording.entries();
    assert_eq!(entries.by_ref().map(Result::unwrap).count(), 2);
    assert_eq!(entries.skipped(), 4);
    let mut damaged = with_newer;
    damaged[first + Label::LEN + 12] ^= 0x55;
    let recording = open(dir.path(), &damaged).unwrap();
    let read: Vec<_> = recording.entries().collect();
    let error = read.last().unwrap().as_ref().unwrap_err().to_string();
    assert!(read.len() == 1 && error.contains(&format!("damaged at byte {first}")), "{read:?}");
}

#[test]
fn files_of_a_run_are_read_as_one_and_each_alone() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("run");
    let detail = |n: u64| {
        Scrubbed::new(&format!(
            "{:016x}{:016x}",
            n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            n.wrapping_mul(0xbf58_476d_1ce4_e5b9)
        ))
    };
    let event = |n: u64| {
        let (from, to) = if (n / 40).is_multiple_of(2) { (State::Off, State::Up) } else { (State::Up, State::Off) };
        let step = Transition {
            client: ClientKey(n as u32 % CLIENTS),
            endpoint: EndpointKey(0),
            from,
            to,
            reason: Reason::Connected,
            detail: detail(n),
            attempt: 1,
            next_try: None,
        };
        Event { at: begin().moment() + Duration::from_millis(n), what: What::State(step) }
    };
    let events: Vec<Event> = (0..20_000).map(event).collect();
    // Two runs, so that the older files are of both.
    record(&path, Limits::default(), &events[..100]);
    record(&path, Limits { size: Some(16 << 20), age: None }, &events);
    let whole = Recording::open(&path).unwrap();
    assert_eq!(read(&whole), events);
    assert!(whole.segments().iter().filter(|s| s.label.is_entrance).count() > 2, "nowhere to start");

    let limits = Limits { size: Some(600_000), age: None };
    record(&path, limits, &events);
    let kept = Recording::open(&path).unwrap();
    let read_back = read(&kept);
    let tail: Vec<&Event> = read_back.iter().filter(|e| matches!(e.what, What::State(_))).collect();
    assert!(tail.len() < events.len() && tail.len() > 3_000, "{} of {}", tail.len(), events.len());
    assert!(tail.iter().rev().zip(events.iter().rev()).all(|(a, b)| *a == b), "a gap, or another order");

    let alone = Recording::open(&dir.path().join("run.1")).unwrap();
    let mut known = Known::new(alone.fleet().clone(), alone.begin());
    for entry in alone.entries() {
        known.apply(&entry.unwrap().event().unwrap());
    }
    assert_eq!(known.totals().all(), CLIENTS);
    let last = alone.segments().last().unwrap().label;
    assert_eq!(known.totals().of(State::Up), last.up, "the label tells another number than the events");

    // Starting in the middle gives the same as having been there all the time.
    let at = whole.begin() + (whole.end().since(whole.begin()) / 2);
    let entries: Vec<Event> = whole.entries_from(at).map(|e| e.unwrap().event().unwrap()).collect();
    let stood = entries.iter().take_while(|e| !matches!(e.what, What::State(_))).count();
    assert!(stood > 0 && entries.len() - stood < events.len(), "it starts at the begin");
    assert_eq!(entries[stood..], events[events.len() - (entries.len() - stood)..]);
    assert!(entries[stood].at <= at);
    let figures = |events: &[Event]| {
        let mut known = Known::new(whole.fleet().clone(), whole.begin());
        events.iter().for_each(|event| known.apply(event));
        let figures = |row: &Row| {
            let times = State::ALL.map(|state| row.record.time_in(state, whole.end()));
            (row.since, row.reconnects, times, row.record.meant(whole.end()))
        };
        known.rows().iter().map(figures).collect::<Vec<_>>()
    };
    assert_eq!(figures(&entries), figures(&events));
}

#[test]
fn a_head_tells_the_fleet_and_no_secret() {
    let dir = tempfile::TempDir::new().unwrap();
    let (bytes, _) = small(dir.path());
    let text = String::from_utf8(zstd::stream::decode_all(&*bytes).unwrap()).unwrap();
    assert!(!text.contains("hush"), "{text}");
    let recording = open(dir.path(), &bytes).unwrap();
    let (told, fleet) = (recording.fleet(), fleet());
    assert_eq!((&told.name, &told.env, told.worker_size), (&fleet.name, &fleet.env, fleet.worker_size));
    for (a, b) in told.endpoints.iter().zip(&fleet.endpoints) {
        assert_eq!((&a.name, a.address(), a.connect_rate), (&b.name, b.address(), b.connect_rate));
        assert_eq!(a.transport.scheme(), b.transport.scheme());
        assert_eq!(a.transport.tls().map(|t| t.insecure), b.transport.tls().map(|t| t.insecure));
        assert_eq!(a.proxy.is_some(), b.proxy.is_some());
    }
    for (a, b) in told.clients.iter().zip(&fleet.clients) {
        assert_eq!((&a.name, &a.endpoints, &a.labels, &a.username), (&b.name, &b.endpoints, &b.labels, &b.username));
        assert_eq!(a.password.as_ref().map(|p| p.expose()), Some(""), "there was one");
        assert_eq!(*a.settings, Settings { user_properties: Vec::new(), ..Settings::clone(&b.settings) });
        assert_eq!(a.conversation.subscribe, b.conversation.subscribe);
        assert_eq!(a.conversation.publish.as_ref().map(|p| p.every), b.conversation.publish.as_ref().map(|p| p.every));
    }
    assert_eq!(told.clients.len(), fleet.clients.len());
    assert!(Arc::ptr_eq(&told.clients[0].settings, &told.clients[2].settings), "settings are shared");
    assert_eq!(recording.header().workers, 2);
}
