//! Whoever goes to a time, by any way, knows what was known then; steps and troubles are the same in both directions.

use std::sync::LazyLock;

use chrono::FixedOffset;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;
use crate::{
    bus::Bus,
    command::{Direction, Playback},
    event::{Event, Reason, Sample, State, Transition, What},
    fleet::{Client, Endpoint, EndpointKey, Fleet, ProbeKind},
    recording::{Limits, Recorder},
    text::Scrubbed,
};

const CLIENTS: u32 = 5;
const UTC: FixedOffset = FixedOffset::east_opt(0).expect("a zone");

fn fleet() -> Arc<Fleet> {
    Arc::new(Fleet {
        name: Scrubbed::new("f"),
        env: None,
        worker_size: 500,
        endpoints: vec![Endpoint::new("eu-1", "127.0.0.1", 1883)],
        clients: (0..CLIENTS).map(|n| Client::new(&format!("c{n}"), EndpointKey(0), Arc::default())).collect(),
    })
}

fn step(at: Moment, client: u32, from: State, to: State, reason: Reason) -> Event {
    let what = What::State(Transition {
        client: ClientKey(client),
        endpoint: EndpointKey(0),
        from,
        to,
        reason,
        detail: Scrubbed::default(),
        attempt: 1,
        next_try: None,
    });
    Event { at, what }
}

/// All come up in the first second; client 1 is lost after 60 and after 120 seconds, for two seconds;
/// all answer every second.
fn story(begin: Moment) -> Vec<Event> {
    let at = |ms: u64| begin + Duration::from_millis(ms);
    let mut events: Vec<Event> = (0..CLIENTS)
        .map(|n| step(at(10 + 100 * u64::from(n)), n, State::Connecting, State::Up, Reason::Connected))
        .collect();
    for lost in [60_000, 120_000] {
        events.push(step(at(lost), 1, State::Up, State::Backoff, Reason::ConnectionLost));
        events.push(step(at(lost + 2_000), 1, State::Connecting, State::Up, Reason::Connected));
    }
    for second in 1..180u64 {
        for n in 0..CLIENTS {
            let rtt = Duration::from_millis(second % 7 + u64::from(n));
            let sample = Sample { client: ClientKey(n), probe: ProbeKind::Ack, rtt };
            events.push(Event { at: at(second * 1_000 + 500 + u64::from(n)), what: What::Sample(sample) });
        }
    }
    events.sort_by_key(|event| event.at);
    events
}

/// Records events; each of the parts that `is_together` makes of them has a segment of its own.
fn record(events: impl Fn(Moment) -> Vec<Event>, is_together: impl Fn(Moment, &Event, &Event) -> bool) -> Recorded {
    let dir = tempfile::TempDir::new().expect("a folder");
    let path = dir.path().join("run");
    let bus = Bus::new(Anchor::now());
    let recorder = Recorder::start(&path, Limits::default(), fleet(), 1, &bus).expect("a recorder");
    let len = || path.metadata().map_or(0, |file| file.len());
    let wait_for_more_than = |before| {
        while len() <= before {
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    wait_for_more_than(0); // the head
    let begin = bus.begin().moment();
    for part in events(begin).chunk_by(|a, b| is_together(begin, a, b)) {
        let before = len();
        bus.publish(part.iter().cloned());
        wait_for_more_than(before);
    }
    bus.close();
    assert_eq!(Runtime::new().expect("a runtime").block_on(recorder.finish()), None);
    (Recording::open(&path).expect("a recording"), dir)
}

type Recorded = (Arc<Recording>, tempfile::TempDir);

/// A recording of the story; the losses have segments of their own.
fn recorded() -> &'static Arc<Recording> {
    static RECORDED: LazyLock<Recorded> = LazyLock::new(|| {
        let is_near = |begin, event: &Event| {
            let seconds = event.at.since(begin).as_secs();
            (55..65).contains(&seconds) || (115..125).contains(&seconds)
        };
        record(story, |begin, a, b| is_near(begin, a) == is_near(begin, b))
    });
    &RECORDED.0
}

/// What an operator sees who has this player.
struct Watcher {
    runtime: Runtime,
    player: Player,
    known: Known,
    notices: Vec<String>,
}

impl Watcher {
    fn new(recording: &Arc<Recording>) -> Watcher {
        Watcher {
            runtime: Runtime::new().expect("a runtime"),
            player: Player::new(recording.clone(), None, None, 1.0, true),
            known: Known::new(recording.fleet().clone(), recording.begin()),
            notices: Vec::new(),
        }
    }

    /// Has the player do something, and waits until it has.
    fn command(&mut self, playback: Playback) -> Result<Moment, String> {
        self.player.command(playback, UTC)?;
        Ok(self.settle())
    }

    fn settle(&mut self) -> Moment {
        while !matches!(self.player.motion(), Motion::Paused | Motion::Ended) {
            match self.runtime.block_on(self.player.next()) {
                News::Entries(entries) => {
                    entries.into_iter().for_each(|entry| self.known.apply(&entry.event()));
                }
                News::Known(known, _) => self.known = *known,
                News::Notice(_, text) => self.notices.push(text),
            }
        }
        self.player.now()
    }

    fn go_to(&mut self, milliseconds: u64) -> Moment {
        self.command(Playback::GoTo(format!("{milliseconds}ms"))).expect("a time")
    }

    fn sees(&self) -> String {
        let log: Vec<_> = self.known.log().newest().collect();
        format!("{:?}\n{:?}\n{log:?}", self.known.totals(), self.known.rows())
    }

    /// The times of all events that steps go to in a direction, in milliseconds after the begin.
    fn steps(&mut self, direction: Direction, client: Option<ClientKey>) -> Vec<u128> {
        let mut times = Vec::new();
        loop {
            let (was, said) = (self.player.now(), self.notices.len());
            let now = self.command(Playback::Event(direction, client)).expect("a step");
            if self.notices.len() > said || times.len() > 50 {
                assert!(now >= was || direction == Direction::Backward);
                return times;
            }
            times.push(now.since(self.player.recording().begin()).as_millis());
        }
    }
}

#[test]
fn steps_go_through_the_same_events_in_both_directions() {
    let mut watcher = Watcher::new(recorded());
    watcher.settle();
    let forward = watcher.steps(Direction::Forward, None);
    assert_eq!(forward, [10, 110, 210, 310, 410, 60_000, 62_000, 120_000, 122_000]);
    assert_eq!(watcher.player.motion(), Motion::Ended);
    let mut backward = watcher.steps(Direction::Backward, None);
    backward.reverse();
    assert_eq!(backward, forward);
    assert!(watcher.notices.iter().any(|text| text.contains("no such event before this")), "{:?}", watcher.notices);
    let of_one = watcher.steps(Direction::Forward, Some(ClientKey(1)));
    assert_eq!(of_one, [110, 60_000, 62_000, 120_000, 122_000]);
}

#[test]
fn steps_do_not_stop_where_a_segment_ends_with_an_event() {
    let events = |begin: Moment| {
        let at = |n: u64| begin + Duration::from_secs(n);
        let turn = |n: u64| match n % 2 {
            0 => step(at(n), 0, State::Up, State::Backoff, Reason::ConnectionLost),
            _ => step(at(n), 0, State::Connecting, State::Up, Reason::Connected),
        };
        (1..6).map(turn).collect()
    };
    let (recording, _dir) = record(events, |_, _, _| false);
    let mut watcher = Watcher::new(&recording);
    watcher.settle();
    assert_eq!(watcher.steps(Direction::Forward, None), [1_000, 2_000, 3_000, 4_000, 5_000]);
    // At the end the last one is the present.
    assert_eq!(watcher.steps(Direction::Backward, None), [4_000, 3_000, 2_000, 1_000]);
    for (time, before) in [(4_500, 3_000), (4_000, 3_000), (2_999, 1_000)] {
        watcher.go_to(time);
        let now = watcher.command(Playback::Event(Direction::Backward, None)).unwrap();
        assert_eq!(now.since(recording.begin()).as_millis(), before, "from {time}");
    }
}

#[test]
fn a_key_that_is_pressed_again_on_the_way_goes_on_from_where_that_leads() {
    let mut watcher = Watcher::new(recorded());
    let begin = watcher.settle();
    watcher.go_to(100_000);
    let skip = |watcher: &mut Watcher, direction| watcher.player.command(Playback::Skip(direction), UTC).unwrap();
    (0..3).for_each(|_| skip(&mut watcher, Direction::Backward));
    assert_eq!(watcher.settle().since(begin).as_secs(), 70);
    (0..4).for_each(|_| skip(&mut watcher, Direction::Forward));
    assert_eq!(watcher.settle().since(begin).as_secs(), 110);
}

#[test]
fn troubles_are_found_in_both_directions_and_a_time_before_they_begin() {
    let mut watcher = Watcher::new(recorded());
    let begin = watcher.settle();
    let mut at = |direction| watcher.command(Playback::Trouble(direction)).map(|at| at.since(begin).as_secs_f64());
    let (first, second) = (at(Direction::Forward).unwrap(), at(Direction::Forward).unwrap());
    assert!((50.0..=60.0).contains(&first) && (110.0..=120.0).contains(&second), "{first}, {second}");
    assert_eq!(at(Direction::Forward), Err("no trouble after this".to_owned()));
    assert_eq!(at(Direction::Backward), Ok(first));
    assert_eq!(at(Direction::Backward), Err("no trouble before this".to_owned()));
    let lost = |watcher: &Watcher| watcher.known.row(ClientKey(1)).state != State::Up;
    assert!(!lost(&watcher), "the trouble has not begun yet");
    watcher.command(Playback::Event(Direction::Forward, None)).unwrap();
    assert!(lost(&watcher));
}

#[test]
fn a_trouble_that_is_the_first_of_a_segment_is_gone_to_before_it_is_seen() {
    let is_lost = |begin, event: &Event| event.at.since(begin).as_secs() % 60 < 3;
    let (recording, _dir) = record(story, |begin, a, b| is_lost(begin, a) == is_lost(begin, b));
    let mut watcher = Watcher::new(&recording);
    let begin = watcher.settle();
    for seconds in [60, 120] {
        let at = watcher.command(Playback::Trouble(Direction::Forward)).expect("a trouble").since(begin);
        assert_eq!(at.as_secs_f64().round() as u64, seconds);
        assert_eq!(watcher.known.row(ClientKey(1)).state, State::Up, "the trouble has not begun yet");
        watcher.command(Playback::Event(Direction::Forward, None)).expect("an event");
        assert_ne!(watcher.known.row(ClientKey(1)).state, State::Up);
    }
}

#[test]
fn a_time_that_is_none_is_refused_in_words() {
    let mut watcher = Watcher::new(recorded());
    watcher.settle();
    for text in ["noon", "12:", "25:00:61", "-", "+5"] {
        let why = watcher.command(Playback::GoTo(text.into())).unwrap_err();
        assert!(why.contains(&format!("\"{text}\" is no time")) && why.contains("90s after the begin"), "{why}");
    }
    let begin = watcher.player.recording().begin();
    let clock = |seconds: u64| {
        let anchor = watcher.player.recording().header().anchor();
        anchor.utc(begin + Duration::from_secs(seconds)).format("%H:%M:%S").to_string()
    };
    let (at_90, at_30) = (clock(90), clock(30));
    let outside = [clock(10_800), "2020-01-01T00:00:00Z".to_owned(), "2120-01-01T00:00:00Z".to_owned()];
    for text in outside {
        let why = watcher.command(Playback::GoTo(text.clone())).unwrap_err();
        assert!(why.starts_with(&format!("{text} is not in this recording: it goes from ")), "{why}");
    }
    let mut after =
        |text: &str| watcher.command(Playback::GoTo(text.into())).unwrap().since(begin).as_secs_f64().round();
    assert!((after(&at_90) - 90.0).abs() <= 1.0);
    assert!((after(&at_30) - 30.0).abs() <= 1.0, "the clock is before this time today");
    assert_eq!(after("100s"), 100.0);
    assert_eq!(after("+1m"), 160.0);
    assert_eq!(after("-20s"), 140.0);
    assert_eq!(after("2h"), after("200s"), "the end is the end");
    assert_eq!(after("-2h"), 0.0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn whoever_goes_to_a_time_by_any_way_knows_what_was_known_then(times in prop::collection::vec(0u64..180_000, 1..8)) {
        let recording = recorded();
        let mut wanderer = Watcher::new(recording);
        wanderer.settle();
        for milliseconds in times {
            let mut straight = Watcher::new(recording);
            straight.settle();
            prop_assert_eq!(wanderer.go_to(milliseconds), straight.go_to(milliseconds));
            prop_assert_eq!(wanderer.sees(), straight.sees());
        }
    }
}
