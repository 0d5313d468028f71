//! Tests of what is known and what is looked at, on made-up time; how any of it is drawn is not tested here.

mod filter;
mod health;
mod keys;
mod loyalty;
mod palette;
mod places;
mod silence;
mod standing;

use std::{sync::Arc, time::Duration};

use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};
use tui_input::InputRequest;

use super::*;
use crate::{
    action::Action,
    clock::Moment,
    command::Command,
    event::{Badge, Connack, Event, Finding, Reason, Sample, Shortfall, State, Transition, What},
    fleet::{Client, ClientKey, Conversation, Endpoint, EndpointKey, Fleet, ProbeKind, Settings, Subscription},
    query::Query,
    text::Scrubbed,
};

fn fleet(clients: u32) -> Arc<Fleet> {
    let settings = Arc::new(Settings { slow_p99: Some(Duration::from_millis(100)), ..Settings::default() });
    let client = |i: u32| Client::new(&format!("c{i}"), EndpointKey(0), settings.clone());
    Arc::new(Fleet {
        name: Scrubbed::new("test"),
        env: None,
        worker_size: 500,
        endpoints: vec![Endpoint::new("eu-1", "127.0.0.1", 1883)],
        clients: (0..clients).map(client).collect(),
    })
}

fn ms(ms: u64) -> Moment {
    Moment(1_000_000_000 + ms * 1_000)
}

fn step(known: &Known, at: Moment, client: u32, to: State, reason: Reason) -> Event {
    let client = ClientKey(client);
    let (from, detail) = (known.row(client).state, Scrubbed::default());
    let endpoint = EndpointKey(0);
    Event {
        at,
        what: What::State(Transition { client, endpoint, from, to, reason, detail, attempt: 1, next_try: None }),
    }
}

/// A model of which all clients are waiting, filtered for those, with the cursor on the second.
fn waiting(clients: u32) -> Model {
    let mut model = Model::new(fleet(clients), ms(0));
    for client in 0..clients {
        let event = step(model.live(), ms(1), client, State::Backoff, Reason::ConnectionLost);
        model.apply(&event);
    }
    model.set_height(20);
    model.act(Action::Filter, ms(2));
    "backoff".chars().for_each(|c| model.edit(InputRequest::InsertChar(c), ms(2)));
    model.accept();
    model.act(Action::Top, ms(3));
    model.act(Action::Down, ms(3));
    assert_eq!((model.cursor(), model.order().len()), (Some(ClientKey(1)), clients as usize));
    model
}

fn comes_up(model: &mut Model, at: Moment, client: u32) {
    let event = step(model.live(), at, client, State::Up, Reason::Connected);
    model.apply(&event);
}

#[test]
fn a_client_that_leaves_the_filter_by_itself_keeps_the_cursor_until_the_user_moves_it() {
    let mut model = waiting(3);
    comes_up(&mut model, ms(5_000), 1);
    model.tick(ms(10_000));
    assert_eq!(model.cursor(), Some(ClientKey(1)), "the cursor went to a client that nobody chose");
    assert_eq!(model.visible().len(), 3);
    assert_eq!(
        model.act(Action::Reconnect, ms(10_001)),
        Effect::Command(Command::Reconnect(vec![ClientKey(1)])),
        "a key hit another client"
    );
    model.act(Action::Up, ms(10_002));
    model.tick(ms(20_000));
    assert_eq!(model.order(), [ClientKey(0), ClientKey(2)]);
}

#[test]
fn a_mark_under_the_cursor_is_meant_although_the_filter_would_hide_it() {
    let mut model = waiting(3);
    model.act(Action::MarkAll, ms(4));
    comes_up(&mut model, ms(5_000), 0);
    comes_up(&mut model, ms(5_000), 1);
    model.tick(ms(10_000));
    assert_eq!(model.marked(), (3, 1));
    model.act(Action::Disconnect, ms(10_001));
    let Mode::Confirm(confirm) = model.mode() else { panic!("no question") };
    assert_eq!((confirm.targets.as_slice(), confirm.hidden), (&[ClientKey(1), ClientKey(2)][..], 1));
}

#[test]
fn a_client_that_the_filter_hides_is_out_of_reach_until_it_is_seen_again() {
    let mut model = waiting(3);
    model.act(Action::Back, ms(4));
    model.act(Action::Filter, ms(4));
    model.paste("c\x1b2", ms(5));
    assert_eq!((model.filter(), model.order(), model.cursor_place()), ("c2", &[ClientKey(2)][..], None));
    model.accept();
    model.paste("y", ms(6));
    assert_eq!(model.filter(), "c2");
    model.tick(ms(60_000));
    assert_eq!(model.order(), [ClientKey(2)], "a tick brought the hidden client back");
    assert_eq!(model.act(Action::Reconnect, ms(60_001)), Effect::Nothing, "a key hit a client that nobody sees");
    model.marks.insert(ClientKey(1));
    model.act(Action::Reconnect, ms(60_002));
    assert!(matches!(model.mode(), Mode::Table), "nor where it is marked");
    model.marks.clear();
    model.act(Action::Back, ms(60_002));
    assert_eq!((model.cursor(), model.cursor_place()), (Some(ClientKey(1)), Some(1)));
}

#[test]
fn behind_the_latency_view_no_key_hits_a_client() {
    let mut model = waiting(3);
    model.act(Action::Latency, ms(4));
    assert!(model.latency_view().is_some_and(|view| view.is_filtered && view.clients == 3));
    for action in [Action::Reconnect, Action::Disconnect, Action::MarkAll, Action::Mark, Action::Hold, Action::Down] {
        assert_eq!(model.act(action, ms(5_000)), Effect::Nothing, "{action:?}");
    }
    assert_eq!((model.marked(), model.cursor()), ((0, 0), Some(ClientKey(1))));
    assert!(matches!(model.mode(), Mode::Latency));
    model.act(Action::Help, ms(5_001));
    model.act(Action::Back, ms(5_002));
    assert!(matches!(model.mode(), Mode::Latency), "the help was laid over it");
    model.act(Action::Latency, ms(5_003));
    assert!(matches!(model.mode(), Mode::Table));
    model.apply(&Event { at: ms(9_000), what: What::Second(chrono::Utc::now()) });
    assert!(model.latency_view().is_none(), "nobody looks at it any more");
}

#[test]
fn the_latency_view_follows_the_fleet_or_the_filter_or_the_freeze() {
    let mut model = Model::new(fleet(3), ms(0));
    let answer = |model: &mut Model, at, client: u32, rtt: u64| {
        let sample = Sample { client: ClientKey(client), probe: ProbeKind::Heartbeat, rtt: Duration::from_millis(rtt) };
        model.apply(&Event { at, what: What::Sample(sample) });
    };
    for client in 0..3 {
        comes_up(&mut model, ms(0), client);
        answer(&mut model, ms(1_000), client, 10 * u64::from(client + 1));
    }
    let max = |model: &Model| model.latency_view().and_then(|view| view.histogram.latency()).map(|l| l.max.as_millis());
    model.act(Action::Latency, ms(2_000));
    assert_eq!((max(&model), model.latency_view().map(|view| view.clients)), (Some(30), Some(3)));
    answer(&mut model, ms(3_000), 0, 70);
    model.apply(&Event { at: ms(4_000), what: What::Second(chrono::Utc::now()) });
    assert_eq!(max(&model), Some(70));
    model.act(Action::Freeze, ms(4_000));
    answer(&mut model, ms(5_000), 0, 500);
    model.apply(&Event { at: ms(6_000), what: What::Second(chrono::Utc::now()) });
    assert_eq!(max(&model), Some(70), "it is frozen");
    model.act(Action::Freeze, ms(6_000));
    assert_eq!(max(&model), Some(500));
    model.act(Action::Filter, ms(6_000));
    "c1".chars().for_each(|c| model.edit(InputRequest::InsertChar(c), ms(6_000)));
    model.accept();
    let view = model.latency_view().unwrap();
    assert_eq!((view.clients, view.histogram.total()), (1, 1));
    let seen: u32 = view.slices.iter().flatten().map(|slice| slice.counts().iter().sum::<u32>()).sum();
    assert!(seen >= 1);
}

#[test]
fn a_client_that_answers_no_more_is_mute_and_counts_as_long_as_its_user_waits() {
    let mut known = Known::new(fleet(2), ms(0));
    for client in 0..2 {
        let event = step(&known, ms(0), client, State::Up, Reason::Connected);
        known.apply(&event);
        let rtt = Duration::from_millis(1 + u64::from(client));
        let sample = Sample { client: ClientKey(client), probe: ProbeKind::Heartbeat, rtt };
        known.apply(&Event { at: ms(30_000), what: What::Sample(sample) });
    }
    known.look(ms(60_000));
    assert_eq!((known.totals().slow(), known.latency().map(|l| l.p99)), (0, Some(Duration::from_millis(2))));
    let sample = Sample { client: ClientKey(0), probe: ProbeKind::Heartbeat, rtt: Duration::from_millis(1) };
    known.apply(&Event { at: ms(90_000), what: What::Sample(sample) });
    known.look(ms(120_000)); // a heartbeat every 30 s: the second client is an answer and a half late
    assert_eq!(
        (known.totals().wearing(Badge::Mute), known.latency().map(|l| l.max)),
        (1, Some(Duration::from_secs(60)))
    );
    assert!(known.row(ClientKey(1)).is_silent());
    let event = step(&known, ms(121_000), 1, State::Backoff, Reason::ConnectionLost);
    known.apply(&event);
    assert_eq!(known.totals().slow(), 0);
    known.look(ms(122_000));
    assert_eq!(known.latency().map(|l| l.max), Some(Duration::from_secs(61)), "it never came");
}

/// A fleet whose only client asks for two subscriptions, after it came up.
fn subscriber() -> Known {
    let mut fleet = Fleet::clone(&fleet(1));
    let filter = |filter: &str| Subscription { filter: filter.into(), qos: 1 };
    fleet.clients[0].conversation =
        Arc::new(Conversation { subscribe: vec![filter("cmd/#"), filter("all")], ..Conversation::default() });
    let mut known = Known::new(Arc::new(fleet), ms(0));
    known.apply(&step(&known, ms(0), 0, State::Up, Reason::Connected));
    known
}

fn less(filter: &str, granted: Option<u8>) -> What {
    let (client, filter) = (ClientKey(0), Scrubbed::new(filter));
    What::Shortfall(Shortfall {
        client,
        request: crate::event::Request::default(),
        filter,
        asked: 1,
        granted,
        detail: Scrubbed::default(),
    })
}

fn tell(known: &mut Known, at: Moment, what: What) {
    known.apply(&Event { at, what });
}

#[test]
fn a_subscription_that_is_less_than_asked_makes_a_client_slow_for_this_connection_only() {
    let (mut known, client) = (subscriber(), ClientKey(0));
    tell(&mut known, ms(5), less("cmd/#", Some(0)));
    tell(&mut known, ms(5), less("all", None));
    tell(&mut known, ms(6), What::Subscribed(client, Duration::from_millis(6)));
    assert_eq!((known.row(client).slow, known.totals().slow()), (Some(Slow::Short), 1));
    assert_eq!(known.shortfalls(client).len(), 2);
    assert_eq!(known.row(client).connection.subscribed, Some(Duration::from_millis(6)));
    known.apply(&step(&known, ms(7), 0, State::Backoff, Reason::ConnectionLost));
    assert_eq!((known.row(client).slow, known.totals().slow(), known.shortfalls(client).len()), (None, 0, 0));
    tell(&mut known, ms(8), less("cmd/#", Some(0)));
    assert!(known.shortfalls(client).is_empty(), "news of a connection that is gone");
    known.apply(&step(&known, ms(9), 0, State::Up, Reason::Connected));
    tell(&mut known, ms(10), less("all", None));
    known.apply(&step(&known, ms(11), 0, State::Up, Reason::Connected));
    assert_eq!((known.row(client).slow, known.shortfalls(client).len()), (None, 0), "a loss that was folded away");
    assert_eq!(known.row(client).since, ms(11));
}

#[test]
fn a_subscription_without_an_answer_makes_a_client_slow_after_a_while() {
    let (mut known, client) = (subscriber(), ClientKey(0));
    known.look(ms(10_000));
    assert_eq!(known.row(client).slow, None);
    known.look(ms(10_001));
    assert_eq!((known.row(client).slow, known.totals().slow()), (Some(Slow::Unsubscribed), 1));
    tell(&mut known, ms(12_000), What::Subscribed(client, Duration::from_secs(12)));
    assert_eq!((known.row(client).slow, known.totals().slow()), (None, 0));
    // The gravest of several reasons is the one that is told.
    tell(&mut known, ms(13_000), less("all", Some(0)));
    let sample = Sample { client, probe: ProbeKind::Heartbeat, rtt: Duration::from_secs(1) };
    tell(&mut known, ms(14_000), What::Sample(sample));
    assert_eq!(known.row(client).slow, Some(Slow::Short));
    known.look(ms(90_000));
    assert_eq!((known.row(client).slow, known.totals().slow()), (Some(Slow::Late), 1));
    assert!(known.row(client).is_silent());
}

#[test]
fn a_keep_alive_that_the_broker_sets_decides_when_an_answer_is_late() {
    let (mut known, client) = (Known::new(fleet(1), ms(0)), ClientKey(0));
    known.apply(&step(&known, ms(0), 0, State::Up, Reason::Connected));
    let connack =
        Connack { server_keep_alive: Some(300), reached: Some(Duration::from_millis(9)), ..Connack::default() };
    tell(&mut known, ms(1), What::Connack(client, Arc::new(connack)));
    assert_eq!(known.row(client).connection.reached, Some(Duration::from_millis(9)));
    known.look(ms(700_000));
    assert_eq!(known.row(client).slow, None);
    known.look(ms(750_001));
    assert_eq!(known.row(client).slow, Some(Slow::Late));
    known.apply(&step(&known, ms(760_000), 0, State::Backoff, Reason::KeepAliveTimeout));
    assert!(known.row(client).connection.terms.is_some(), "what the last connect was is still of interest");
    known.apply(&step(&known, ms(761_000), 0, State::Connecting, Reason::Retry));
    assert!(known.row(client).connection.terms.is_none() && known.row(client).connection.reached.is_none());
}

#[test]
fn the_newest_finding_of_an_endpoint_is_kept() {
    let mut known = Known::new(fleet(1), ms(0));
    assert!(known.finding(EndpointKey(0)).is_none());
    for (at, words) in [(1, "first"), (2, "second")] {
        tell(&mut known, ms(at), What::Finding(EndpointKey(0), Arc::new(Finding::broken(words))));
    }
    let (at, finding) = known.finding(EndpointKey(0)).unwrap();
    assert_eq!((at, finding.failure.as_ref().unwrap().cause.detail.as_str()), (ms(2), "second"));
}

#[test]
fn a_filter_finds_clients_by_what_makes_them_slow() {
    let mut known = subscriber();
    let shows = |known: &Known, text: &str| Query::parse(text).unwrap().matches(&known.facts(ClientKey(0), ms(5)));
    assert!(!shows(&known, "slow") && !shows(&known, "subscription"));
    tell(&mut known, ms(5), less("cmd/#", Some(0)));
    assert!(shows(&known, "slow") && shows(&known, "subscription less") && !shows(&known, "p99"));
}

#[test]
fn a_client_is_down_since_it_went_down_whatever_it_tries() {
    let mut known = Known::new(fleet(1), ms(0));
    let tries = [State::Up, State::Backoff, State::Queued, State::Connecting, State::Backoff, State::Connecting];
    for (n, to) in tries.into_iter().enumerate() {
        let event = step(&known, ms(1_000 * n as u64), 0, to, Reason::ConnectionLost);
        known.apply(&event);
    }
    assert_eq!(known.row(ClientKey(0)).since, ms(1_000));
}

#[test]
fn a_key_that_is_held_down_acts_once() {
    let mut model = waiting(3);
    let mut acted = 0;
    for at in std::iter::once(10_000).chain((10_660..15_000).step_by(33)) {
        acted += usize::from(model.act(Action::Reconnect, ms(at)) != Effect::Nothing);
    }
    assert_eq!(acted, 1);
    assert_ne!(model.act(Action::Reconnect, ms(16_000)), Effect::Nothing, "a new press is a new wish");
}

#[derive(Clone, Debug)]
enum Tale {
    Step(u32, State, bool),
    Sample(u32, u64),
    Wait(u64),
}

fn tales() -> impl Strategy<Value = Tale> {
    prop_oneof![
        4 => (0..5u32, prop::sample::select(&State::ALL), any::<bool>()).prop_map(|(c, s, b)| Tale::Step(c, s, b)),
        3 => (0..5u32, 1..300u64).prop_map(|(c, ms)| Tale::Sample(c, ms)),
        2 => (0..40_000u64).prop_map(Tale::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// However a story goes, the counts kept along the way are those that a recount finds.
    #[test]
    fn counts_are_those_of_the_rows(tales in prop::collection::vec(tales(), 1..200)) {
        let mut known = Known::new(fleet(5), ms(0));
        let all: Vec<ClientKey> = known.fleet().keys().collect();
        let (mut ups, mut now) = ([0u32; 5], ms(0));
        for tale in tales {
            match tale {
                Tale::Step(client, to, brokers) => {
                    let reason = if brokers { Reason::BadCredentials } else { Reason::Retry };
                    ups[client as usize] += u32::from(to == State::Up && !known.row(ClientKey(client)).is_up());
                    known.apply(&step(&known, now, client, to, reason));
                }
                Tale::Sample(client, millis) => {
                    let (client, rtt) = (ClientKey(client), Duration::from_millis(millis));
                    let what = What::Sample(Sample { client, probe: ProbeKind::Ack, rtt });
                    known.apply(&Event { at: now, what });
                }
                Tale::Wait(millis) => now = now + Duration::from_millis(millis),
            }
            prop_assert_eq!(known.totals(), &known.totals_of(&all));
            prop_assert_eq!(known.totals().all(), 5);
            for (row, ups) in known.rows().iter().zip(ups) {
                prop_assert_eq!(row.reconnects, ups.saturating_sub(1));
                prop_assert_eq!(row.is_slow() && !row.is_up(), false);
            }
        }
    }
}
