//! Recordings that were damaged, or made to do harm: whatever is wrong with one, whoever reads it ends in good order, soon, and in little memory. That what is whole is read to the letter, the recording's own tests show.
#![allow(clippy::unwrap_used, reason = "what panics here is a failed test")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, LazyLock},
    time::Duration,
};

use chrono::FixedOffset;
use mqfleet::{
    action::Action,
    appearance::{Glyphs, Keymap, Theme},
    bus::Bus,
    clock::{Anchor, Moment},
    event::{
        Connack, Event, Finding, Late, Messages, Reason, Request, Sample, Shortfall, State, Tcp, TcpState, Transition,
        What,
    },
    fleet::{Client, ClientKey, Endpoint, EndpointKey, Fleet, ProbeKind, Settings},
    lines,
    model::{Model, Motion, Timeline},
    recording::{Label, Limits, Place, Recorder, Recording},
    replay,
    report::Format,
    text::Scrubbed,
    ui::{self, Context, Widths},
};
use mqfleet_test_support::program;
use proptest::{prelude::*, sample::select};
use ratatui::{Terminal, backend::TestBackend, layout::Rect};
use tempfile::TempDir;

/// A segment: its label, and its lines.
type Segment = (Label, String);

/// Some clients that come up, answer, and are lost.
static RECORDED: LazyLock<Vec<Segment>> = LazyLock::new(|| {
    let settings = Arc::new(Settings { slow_p99: Some(Duration::from_millis(250)), ..Settings::default() });
    let client = |n: u32| Client::new(&format!("press-{n:04}"), EndpointKey((n % 2) as u16), settings.clone());
    let fleet = Arc::new(Fleet {
        name: Scrubbed::new("plant"),
        env: None,
        worker_size: 500,
        endpoints: ["eu-1", "eu-2"].map(|name| Endpoint::new(name, "localhost", 1883)).into(),
        clients: (0..8).map(client).collect(),
    });
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("run");
    let bus = Bus::new(Anchor::now());
    let recorder = Recorder::start(&path, Limits::default(), fleet, 1, &bus).unwrap();
    let anchor = bus.begin();
    for second in 0..6u64 {
        let at = anchor.moment() + Duration::from_secs(second);
        let events = (0..8).map(|n| Event { at, what: happened(ClientKey(n), second) }).collect::<Vec<_>>();
        bus.publish(events.into_iter().chain([Event { at, what: What::Second(anchor.utc(at)) }]));
    }
    bus.close();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(runtime.block_on(recorder.finish()), None);
    segments(&fs::read(&path).unwrap())
});

fn happened(client: ClientKey, second: u64) -> What {
    let (probe, since) = (ProbeKind::Ack, Moment(1_000_000));
    let step = |from, to, reason| {
        let endpoint = EndpointKey((client.0 % 2) as u16);
        let next_try = (to == State::Backoff).then_some(Duration::from_secs(3));
        let detail = Scrubbed::new("words");
        What::State(Transition { client, endpoint, from, to, reason, detail, attempt: 1, next_try })
    };
    match second {
        0 => step(State::Off, State::Up, Reason::Connected),
        1 if client.0 < 4 => What::Sample(Sample { client, probe, rtt: Duration::from_millis(3) }),
        1 => What::Late(Late { client, probe, since }),
        2 if client.0 < 4 => What::Messages(Messages { client, received: 3, published: 4, refused: 1 }),
        2 => What::Tcp(
            client,
            Tcp {
                state: TcpState::Established,
                rtt: Duration::from_millis(1),
                rtt_variation: Duration::from_millis(1),
                retransmits: 1,
                unacknowledged: 1,
                since_received: Duration::from_secs(1),
                sent: 300,
                received: 200,
            },
        ),
        3 if client.0 == 2 => {
            let limits = Connack { session_expiry: Some(60), server_keep_alive: Some(20), ..Connack::default() };
            What::Connack(client, Arc::new(limits))
        }
        3 if client.0 < 2 => What::Finding(EndpointKey(client.0 as u16), Arc::new(Finding::default())),
        3 => {
            let (filter, detail) = (Scrubbed::new("cmd/#"), Scrubbed::default());
            let request = Request::Subscription;
            What::Shortfall(Shortfall { client, request, filter, asked: 1, granted: None, detail })
        }
        4 => step(State::Up, State::Backoff, Reason::ConnectionLost),
        _ => step(State::Backoff, State::Up, Reason::Connected),
    }
}

fn segments(mut bytes: &[u8]) -> Vec<Segment> {
    let mut found = Vec::new();
    while let Some((label, rest)) = bytes.split_at_checked(Label::LEN) {
        let label = Label::from_bytes(label.try_into().unwrap()).expect("a label");
        let (packed, rest) = rest.split_at(label.packed as usize);
        found.push((label, String::from_utf8(zstd::stream::decode_all(packed).unwrap()).unwrap()));
        bytes = rest;
    }
    found
}

/// The file of these segments, whose labels tell the truth of their sizes.
fn file(segments: &[Segment]) -> Vec<u8> {
    let pack = |(label, text): &Segment| {
        let packed = zstd::bulk::compress(text.as_bytes(), 3).unwrap();
        let (size, lines) = (text.len() as u32, text.lines().count() as u32);
        let label = Label { packed: packed.len() as u32, unpacked: size, lines, ..*label };
        [&label.to_bytes()[..], &packed].concat()
    };
    segments.iter().flat_map(pack).collect()
}

/// Has a file read by all that read recordings, in the way that the program does.
fn read(bytes: &[u8]) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("run");
    fs::write(&path, bytes).unwrap();
    let recording = match Recording::open(&path) {
        Ok(recording) => recording,
        Err(error) => return assert!(error.to_string().contains("run"), "{error}: no file is named"),
    };
    let fleet = recording.fleet().clone();
    let mut model = Model::new(fleet.clone(), recording.begin());
    let mut last = recording.header().anchor();
    for entry in recording.entries() {
        let Ok(entry) = entry else { break };
        (last, _) = (entry.anchor(), lines::plain_summary(model.live(), &entry.anchor(), entry.at));
        let event = entry.event();
        let _ = (lines::plain(&fleet, &last, &event), lines::json(&fleet, &last, &event, true));
        model.apply(&event);
    }
    draw(&mut model, &recording, last);
    for place in [None, Some(Place::After(Duration::from_secs(3)))] {
        if let Ok(report) = replay::report(&recording, place, None) {
            for format in [Format::Text, Format::Markdown, Format::Json] {
                let _ = report.render(format);
            }
        }
    }
}

fn draw(model: &mut Model, recording: &Recording, anchor: Anchor) {
    let (theme, keymap, now) = (Theme::builtin("terminal").unwrap(), Keymap::builtin(), recording.end());
    let motion = Motion::Paused;
    let timeline = Timeline { motion, speed: 1.0, begin: recording.begin(), end: now, stretches: &[] };
    let context = Context {
        now,
        anchor,
        zone: FixedOffset::east_opt(14 * 3_600).unwrap(),
        theme: &theme,
        glyphs: Glyphs::UNICODE,
        keymap: &keymap,
        widths: Widths::of(model.fleet()),
        bytes_per_second: None,
        recording: None,
        attached: None,
        gone: "",
        timeline: Some(timeline),
    };
    for action in [None, Some(Action::Detail), Some(Action::Latency)] {
        if let Some(action) = action {
            model.act(action, now);
        }
        model.set_height(ui::table_height(Rect::new(0, 0, 120, 40), true));
        model.tick(now);
        let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
        terminal.draw(|frame| ui::draw(frame, model, &context)).unwrap();
    }
}

/// What may stand where a number, or a text, was.
fn anything() -> impl Strategy<Value = String> {
    const VALUES: [&str; 20] = [
        "0",
        "-1",
        "4294967295",
        "4294967296",
        "9223372036854775807",
        "18446744073709551615",
        "1e308",
        "2.5",
        "\"9223372036854775807s\"",
        "\"4294967295s\"",
        "\"584542046090years\"",
        "\"0s\"",
        "\"9998-12-31T23:59:59.999Z\"",
        "\"+262142-12-31T23:59:59Z\"",
        "\"-0001-01-01T00:00:00Z\"",
        "\"\"",
        "null",
        "[]",
        "{}",
        "true",
    ];
    select(&VALUES[..]).prop_map(str::to_owned)
}

/// Puts `new` in the place of the `nth` value of the lines: a number, or a text after a colon.
fn replaced(text: &str, nth: usize, new: &str) -> String {
    let bytes = text.as_bytes();
    let begins = |at: &usize| matches!(bytes[at - 1], b':' | b'[' | b',') && !matches!(bytes[*at], b'{' | b'[');
    let places: Vec<usize> = (1..bytes.len()).filter(begins).collect();
    let from = places[nth % places.len()];
    let is_text = bytes[from] == b'"';
    let end = |at: &usize| match is_text {
        true => *at > from && bytes[at - 1] == b'"' && *at > from + 1,
        false => matches!(bytes[*at], b',' | b'}' | b']' | b'\n'),
    };
    let to = (from..bytes.len()).find(end).unwrap_or(bytes.len());
    [&text[..from], new, &text[to..]].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn no_value_in_a_recording_ends_the_program(
        changes in proptest::collection::vec((any::<usize>(), any::<usize>(), anything()), 1..4),
    ) {
        let mut segments = RECORDED.clone();
        for (segment, nth, new) in &changes {
            let at = segment % segments.len();
            if !segments[at].1.is_empty() {
                segments[at].1 = replaced(&segments[at].1, *nth, new);
            }
        }
        read(&file(&segments));
    }

    #[test]
    fn no_bits_turned_over_and_no_cut_end_the_program(
        turned in proptest::collection::vec((any::<proptest::sample::Index>(), 0u8..8), 0..9),
        cut in any::<proptest::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut bytes = file(&RECORDED);
        for (at, bit) in &turned {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        read(&bytes);
    }

    #[test]
    fn no_label_ends_the_program(numbers in any::<[u32; 7]>(), times in any::<[u64; 2]>(), which in any::<usize>()) {
        let segments = &*RECORDED;
        let at = which % segments.len();
        let [packed, unpacked, lines, lost, up, slow, down] = numbers;
        let few = |n: u32| n % 4_096;
        let label = Label {
            packed: few(packed), unpacked: few(unpacked), lines, lost, up, slow, down,
            first: Moment(times[0].min(times[1])), last: Moment(times[0].max(times[1])),
            ..segments[at].0
        };
        // One that lies about its sizes, and one that lies about all else.
        let lies = [&file(&segments[..at])[..], &label.to_bytes(), &file(&segments[at..])[Label::LEN..]].concat();
        read(&lies);
        let mut others = segments.clone();
        others[at].0 = label;
        read(&file(&others));
    }
}

/// What the program says of a file, with ten seconds of processor time at most, and memory for no more than a
/// real fleet of this size would take.
fn report(path: &Path) -> Output {
    let limited = "ulimit -t 10 && ulimit -v 400000 && exec \"$0\" report \"$1\"";
    Command::new("sh").args(["-c", limited, program()]).arg(path).output().unwrap()
}

#[test]
fn what_a_small_file_claims_to_be_is_not_believed() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| -> PathBuf { dir.path().join(name) };
    let [(entrance, head), .., (other, _)] = &RECORDED[..] else { panic!("too few segments") };
    let other = &Label { is_end: false, ..*other };
    let start = head.lines().next().unwrap();
    let with_clients = |n: usize| {
        let client = head.lines().find(|line| line.contains(r#""type":"client""#)).unwrap();
        let others: String =
            head.lines().skip(1).take_while(|l| !l.contains(r#""type":"client""#)).map(|l| format!("{l}\n")).collect();
        let start = start.replace(r#""clients":8"#, &format!(r#""clients":{n}"#));
        assert!(start.contains(&n.to_string()));
        let mut rng = fastrand::Rng::with_seed(7);
        let junk: String = (0..12_000).map(|_| rng.alphanumeric()).collect();
        format!("{start}\n{others}{}{junk}\n", format!("{client}\n").repeat(n))
    };
    let small = |n: usize| "{}\n".repeat(n);
    for (name, segments, says) in [
        // 36 MiB in lines of three bytes, as an entrance and as the others are.
        ("entrances", vec![(*entrance, format!("{head}{}", small(12 << 20)))], "cannot be"),
        ("others", vec![(*entrance, head.clone()), (*other, small(12 << 20)), (*other, small(12 << 20))], "torn"),
        // Many segments, none of which is large.
        ("many", [vec![(*entrance, head.clone())], vec![(*other, small(1 << 20)); 12]].concat(), "torn"),
        // Clients that are all alike, and as much that is not as makes them credible.
        ("clients", vec![(*entrance, with_clients(100_000))], "too small for the 100000 clients"),
    ] {
        let bytes = file(&segments);
        assert!(bytes.len() < 120_000, "{name}: {} bytes are no small file", bytes.len());
        fs::write(path(name), &bytes).unwrap();
        let done = report(&path(name));
        let err = String::from_utf8_lossy(&done.stderr);
        assert!(matches!(done.status.code(), Some(0 | 1)), "{name}: {:?}: {err}", done.status);
        assert!(err.contains(says), "{name}: {err}");
    }
}

/// Case 22: a head whose probes are 292 billion years apart.
#[test]
fn a_head_with_an_impossible_time_is_no_head() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("run");
    let mut segments = RECORDED.clone();
    let (before, every) = (segments[0].1.clone(), r#""probe_every":"9223372036854775807s""#);
    segments[0].1 = before.replace(r#""probe_every":"5s""#, every);
    assert_ne!(segments[0].1, before);
    fs::write(&path, file(&segments)).unwrap();
    for arguments in [&["report"][..], &["replay", "--plain"], &["replay", "--format", "json", "--from", "2s"]] {
        let done = Command::new(program()).args(arguments).arg(&path).output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{err}");
        assert!(err.contains("is no recording") && err.contains("9223372036854775807s"), "{err}");
    }
}

/// As lines were before keys were given one shape and one unit.
fn with_old_keys(text: &str) -> String {
    let mut old = String::new();
    for line in text.lines() {
        let line =
            match line.split_once(r#","failed_stage":null,"addresses":[]"#) {
                Some((before, after)) => {
                    let after = after.replacen(r#""tls":null,"#, r#""tls":null,"cipher":null,"certificate":null,"#, 1);
                    format!("{before}{}", after.replacen(r#""detail":"""#, r#""detail":null"#, 1))
                }
                None => line
                    .replacen(r#""session_expiry_interval_s":60"#, r#""session_expiry_interval":60"#, 1)
                    .replacen(r#""server_keep_alive_s":20"#, r#""server_keep_alive":20"#, 1),
            };
        old.push_str(&line);
        old.push('\n');
    }
    old
}

#[test]
fn a_recording_with_the_keys_of_before_replays_as_one_of_today() {
    let old: Vec<Segment> = RECORDED.iter().map(|(label, text)| (*label, with_old_keys(text))).collect();
    let (of_today, of_before): (String, String) =
        (RECORDED.iter().map(|s| &*s.1).collect(), old.iter().map(|s| &*s.1).collect());
    let changed = of_today.lines().zip(of_before.lines()).filter(|(new, old)| new != old).count();
    assert_eq!(changed, 3, "two findings and a CONNACK");
    let dir = TempDir::new().unwrap();
    let told = [&RECORDED[..], &old].map(|segments| {
        let path = dir.path().join("run");
        fs::write(&path, file(segments)).unwrap();
        let arguments = ["replay", "--format", "json", "--samples"];
        let done = Command::new(env!("CARGO_BIN_EXE_mqfleet")).args(arguments).arg(&path).output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    });
    assert!(told[0].contains(r#""server_keep_alive_s":20"#), "{}", told[0]);
    assert_eq!(told[0], told[1]);
}
