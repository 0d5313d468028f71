//! What is written is read back to the letter, wherever a file is cut, and nothing secret is in it.

use std::{fs, path::Path, sync::Arc, time::Duration};

use proptest::prelude::*;
use tokio::runtime::Runtime;

mod anything;

use anything::{CLIENTS, begin, events, fleet, what};

use super::{segment::Draft, *};
use crate::{
    bus::Bus,
    clock::{Anchor, Moment},
    event::*,
    fleet::{ClientKey, Endpoint, EndpointKey, Fleet, ProbeKind, Settings},
    lines,
    model::{Known, Row},
    report::Tally,
    text::Scrubbed,
};

/// Records these events, a batch each, and waits until all is written.
fn record(path: &Path, limits: Limits, events: &[Event]) {
    let bus = Bus::new(Anchor::now()); // each is a run of its own
    let recorder = Recorder::start(path, limits, Arc::new(fleet()), 2, &bus).expect("a recorder");
    events.iter().for_each(|event| bus.publish([event.clone()]));
    bus.close();
    let runtime = Runtime::new().expect("a runtime");
    assert_eq!(runtime.block_on(recorder.finish()), None);
}

/// What is read, without how things stood at the begin.
fn read(recording: &Arc<Recording>) -> Vec<Event> {
    recording.entries().map(|entry| entry.expect("an entry").event()).collect()
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

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Who attaches to an agent in the middle sees what those see who were there all the time.
    #[test]
    fn what_is_known_is_told_whole_to_who_comes_late(before in events(0..80), after in events(0..40)) {
        let shared = Arc::new(fleet());
        let mut known = Known::new(shared.clone(), begin().moment());
        before.iter().for_each(|event| known.apply(event));
        let bytes = known.encode();
        let mut late = Known::decode(&bytes, shared.clone()).expect("what was encoded");
        let same = |known: &Known, late: &Known| {
            // Maps have no order of their own.
            let all = |known: &Known| {
                let mut shortfalls: Vec<String> = shared.keys().map(|key| format!("{:?}", known.shortfalls(key))).collect();
                shortfalls.push(format!("{:?}", known.rows()));
                shortfalls.push(format!("{:?} {:?} {:?}", known.totals(), known.pulse(), known.log()));
                shortfalls.push(format!("{:?} {:?} {:?}", known.latencies(), known.latency(), known.insights()));
                shortfalls
            };
            all(known) == all(late)
        };
        prop_assert!(same(&known, &late));
        for event in &after {
            known.apply(event);
            late.apply(event);
        }
        prop_assert!(same(&known, &late));
        // What is cut or of another fleet is refused, and ends nobody.
        for cut in [0, bytes.len() / 3, bytes.len().saturating_sub(1)] {
            prop_assert!(Known::decode(&bytes[..cut], shared.clone()).is_none());
        }
        prop_assert!(Known::decode(&bytes, Fleet::none()).is_none());
    }

    #[test]
    fn bytes_that_nobody_encoded_end_nobody(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Known::decode(&bytes, Arc::new(fleet()));
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
        known.apply(&entry.unwrap().event());
    }
    assert_eq!(known.totals().all(), CLIENTS);
    let last = alone.segments().last().unwrap().label;
    assert_eq!(known.totals().of(State::Up), last.up, "the label tells another number than the events");

    // Starting in the middle gives the same as having been there all the time.
    let at = whole.begin() + (whole.end().since(whole.begin()) / 2);
    let entries: Vec<Event> = whole.entries_from(at).map(|e| e.unwrap().event()).collect();
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
        assert_eq!((&a.host, a.port), (&b.host, b.port));
        let proxy = |e: &Endpoint| e.proxy.as_ref().map(|p| (p.kind, p.host.clone(), p.port));
        assert_eq!(proxy(a), proxy(b));
    }
    for (a, b) in told.clients.iter().zip(&fleet.clients) {
        assert_eq!((&a.name, &a.endpoints, &a.labels, &a.username), (&b.name, &b.endpoints, &b.labels, &b.username));
        assert_eq!(a.password.as_ref().and_then(|p| p.fixed()).map(|p| p.expose()), Some(""), "there was one");
        assert_eq!(*a.settings, Settings { user_properties: Vec::new(), ..Settings::clone(&b.settings) });
        assert_eq!(a.conversation.subscribe, b.conversation.subscribe);
        assert_eq!(a.conversation.publish.as_ref().map(|p| p.every), b.conversation.publish.as_ref().map(|p| p.every));
    }
    assert_eq!(told.clients.len(), fleet.clients.len());
    assert!(Arc::ptr_eq(&told.clients[0].settings, &told.clients[2].settings), "settings are shared");
    assert_eq!(recording.header().workers, 2);
}
