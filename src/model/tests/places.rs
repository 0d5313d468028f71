//! Tests of the screens beside the table and the way between them: what a key shows is exactly whom it names, and Esc leads back.

use super::*;
use crate::{
    fleet::{Labels, Protocol},
    model::{By, Insight, PartKey},
};

/// Six halls at three endpoints, of which one is dead, and some others are refused.
fn plant(clients: u32) -> Model {
    let mut fleet = Fleet::clone(&fleet(clients));
    fleet.endpoints = ["eu-1", "eu-2", "ap-1"].map(|name| Endpoint::new(name, "127.0.0.1", 1883)).into();
    for (n, client) in fleet.clients.iter_mut().enumerate() {
        let label = |value: String| Arc::new(Labels::from([(Scrubbed::new("site"), Scrubbed::new(&value))]));
        let labels = if n % 7 == 0 { Arc::default() } else { label(format!("hall {}", n % 6)) };
        let protocol = if n % 5 == 0 { Protocol::V311 } else { Protocol::V5 };
        let settings = Arc::new(Settings { protocol, ..Settings::clone(&client.settings) });
        *client = Client { labels, ..Client::new(&client.name, EndpointKey((n % 3) as u16), settings) };
    }
    let mut model = Model::new(Arc::new(fleet), ms(0));
    model.set_height(10);
    model.set_pane((40, 12));
    for n in 0..clients {
        let to = |to, reason| (to, reason);
        let story = match n {
            _ if n % 3 == 1 => [to(State::Up, Reason::Connected), to(State::Held, Reason::ConnectionRefused)],
            _ if n % 11 == 0 => [to(State::Up, Reason::Connected), to(State::Failed, Reason::NotAuthorized)],
            _ => [to(State::Connecting, Reason::Start), to(State::Up, Reason::Connected)],
        };
        for (to, reason) in story {
            let mut event = step(model.live(), ms(u64::from(n) + 1), n, to, reason);
            if let What::State(step) = &mut event.what {
                step.endpoint = EndpointKey((n % 3) as u16);
            }
            model.apply(&event);
        }
    }
    second(&mut model, ms(5_000));
    model
}

fn second(model: &mut Model, at: Moment) {
    model.apply(&Event { at, what: What::Second(chrono::Utc::now()) });
    model.tick(at);
}

#[test]
fn every_group_has_whom_its_query_means_and_all_groups_have_everybody_once() {
    let mut model = plant(330);
    model.act(Action::Groups, ms(6_000));
    let kinds = By::all(model.live());
    assert_eq!(kinds.iter().map(By::name).collect::<Vec<_>>(), ["endpoint", "site", "state", "reason", "protocol"]);
    for by in kinds {
        let pivot = model.pivot().unwrap();
        assert_eq!(pivot.by, by);
        let parts: Vec<_> = pivot.parts().iter().map(|part| (part.key.clone(), part.totals)).collect();
        assert_eq!(parts.iter().map(|(_, totals)| totals.all()).sum::<u32>(), 330);
        assert!(parts.windows(2).all(|two| two[0].1.down >= two[1].1.down), "the worst first");
        for (place, (key, totals)) in parts.into_iter().enumerate() {
            model.act(Action::Top, ms(6_000));
            (0..place).for_each(|_| drop(model.act(Action::Down, ms(6_000))));
            model.act(Action::Detail, ms(6_000));
            assert!(matches!(model.mode(), Mode::Table));
            let shown = model.order().to_vec();
            assert_eq!(model.live().totals_of(&shown), totals, "{by:?} {key:?} /{}", model.filter());
            assert_eq!(Query::parse(model.filter()).unwrap().to_string(), model.filter(), "it can be typed");
            model.act(Action::Back, ms(6_000));
            assert_eq!((model.filter(), model.pivot().unwrap().cursor().map(|part| &part.key)), ("", Some(&key)));
        }
        model.act(Action::SortNext, ms(6_000));
    }
}

#[test]
fn a_group_within_a_group_is_whom_both_mean() {
    let mut model = plant(330);
    for action in [Action::Groups, Action::Detail, Action::Groups, Action::SortNext, Action::Detail] {
        model.act(action, ms(6_000));
    }
    assert_eq!(model.filter(), "endpoint=eu-2 label.site=\"hall 1\"");
    let expected = (0..330).filter(|n| n % 3 == 1 && n % 6 == 1 && n % 7 != 0).count();
    assert_eq!(model.order().len(), expected);
    let mut filters = Vec::new();
    for _ in 0..6 {
        model.act(Action::Back, ms(6_000));
        filters.push((model.filter().to_owned(), format!("{:?}", model.mode())));
    }
    let expected = [("endpoint=eu-2", "Groups"), ("endpoint=eu-2", "Table"), ("", "Groups"), ("", "Table")];
    let expected = expected.map(|(filter, mode)| (filter.to_owned(), mode.to_owned()));
    assert_eq!(filters[..4], expected);
    assert_eq!(filters[5], filters[3], "Esc never quits");
}

#[test]
fn number_keys_go_back_to_what_is_open_and_home() {
    let mut model = plant(66);
    for action in [Action::Groups, Action::Map, Action::Events, Action::Latency, Action::Map] {
        model.act(action, ms(6_000));
    }
    assert!(matches!(model.mode(), Mode::Map) && model.under.len() == 2, "{:?}", model.under);
    for _ in 0..50 {
        model.act(Action::Groups, ms(6_000));
        model.act(Action::Map, ms(6_000));
    }
    assert_eq!(model.under.len(), 2);
    model.act(Action::Map, ms(6_000));
    assert!(matches!(model.mode(), Mode::Groups), "from itself it is the way back");
    model.act(Action::Detail, ms(6_000));
    assert!(model.is_filtered() && matches!(model.mode(), Mode::Table));
    model.act(Action::Clients, ms(6_000));
    assert!(!model.is_filtered() && model.under.is_empty(), "home");
}

#[test]
fn a_cause_shows_exactly_the_clients_that_the_sentence_counts_and_they_stay_who_they_are() {
    let mut model = plant(330);
    let told: Vec<Insight> = model.live().insights().to_vec();
    assert_eq!(told.len(), 2, "{told:?}");
    let of = |n: usize| (0..330).filter(|i| if n == 0 { i % 3 == 1 } else { i % 3 != 1 && i % 11 == 0 }).count();
    for (n, insight) in told.iter().enumerate() {
        model.act(Action::Cause, ms(6_000));
        model.choose(n as isize, ms(6_000));
        model.accept();
        assert_eq!((model.order().len(), insight.clients as usize), (of(n), of(n)), "{insight:?}");
        let shown: Vec<ClientKey> = model.order().to_vec();
        assert!(shown.iter().all(|key| model.live().row(*key).is_down()));
        // They come back: they are still looked at.
        if n == 1 {
            for key in &shown {
                comes_up(&mut model, ms(7_000), key.0);
            }
            second(&mut model, ms(20_000));
            let mut now = model.order().to_vec();
            now.sort_unstable();
            let mut before = shown;
            before.sort_unstable();
            assert_eq!(now, before);
            model.act(Action::MarkAll, ms(20_000));
            assert_eq!(model.marked(), (of(1), 0));
        }
        model.act(Action::Back, ms(20_001));
        assert!(!model.is_filtered());
    }
    let mut well = Model::new(fleet(3), ms(0));
    (0..3).for_each(|n| comes_up(&mut well, ms(1), n));
    second(&mut well, ms(2));
    well.act(Action::Cause, ms(3));
    assert!(matches!(well.mode(), Mode::Table) && well.toast().is_some_and(|toast| toast.text == "nothing is wrong"));
}

#[test]
fn the_map_shows_its_cells_clients_and_its_cursor_stays_with_its_client_at_every_size() {
    let mut model = plant(330);
    for pane in [(40, 12), (78, 18), (10, 5), (200, 50), (3, 3)] {
        model.set_pane(pane);
        model.act(Action::Map, ms(6_000));
        let size = (usize::from(pane.0), usize::from(pane.1));
        let mut seen = Vec::new();
        model.act(Action::Top, ms(6_000));
        loop {
            let map = model.map().unwrap();
            let clients = map.place(&map.grid(size)).unwrap().clients.to_vec();
            if seen.ends_with(&clients) {
                break;
            }
            seen.extend(clients);
            model.act(Action::Right, ms(6_000));
        }
        let mut all = seen.clone();
        all.sort_unstable();
        assert_eq!(all, model.fleet().keys().collect::<Vec<_>>(), "{pane:?}: each of them once");
        model.act(Action::Top, ms(6_000));
        model.act(Action::NextUnwell, ms(6_000));
        let map = model.map().unwrap();
        let mut clients = map.place(&map.grid(size)).unwrap().clients.to_vec();
        clients.sort_unstable();
        assert!(clients.iter().any(|key| model.live().row(*key).is_down()));
        let cursor = map.cursor_client().unwrap();
        model.act(Action::Detail, ms(6_000));
        match clients[..] {
            [one] => assert_eq!((model.cursor(), matches!(model.mode(), Mode::Detail)), (Some(one), true)),
            _ => {
                let mut shown = model.order().to_vec();
                shown.sort_unstable();
                assert_eq!(shown, clients);
            }
        }
        model.act(Action::Back, ms(6_000));
        // At another size it is still whom it was.
        model.set_pane((57, 9));
        second(&mut model, ms(7_000));
        let map = model.map().unwrap();
        let after = map.place(&map.grid((57, 9))).unwrap().clients.to_vec();
        assert!(after.contains(&cursor), "{pane:?}");
        model.act(Action::Clients, ms(6_000));
    }
}

#[test]
fn an_event_shows_its_clients_and_stays_under_the_cursor_while_others_come() {
    let mut model = plant(330);
    let show = |model: &mut Model| {
        let all: Vec<u64> = model.live().log().numbered().map(|(n, _)| n).collect();
        model.show_events((all, Vec::new()));
    };
    model.act(Action::Events, ms(6_000));
    show(&mut model);
    assert!(model.events().is_following());
    model.act(Action::Up, ms(6_000));
    let at = model.events().cursor().unwrap();
    assert_eq!(Some(&at), model.events().shown().last());
    comes_up(&mut model, ms(90_000), 0);
    comes_up(&mut model, ms(91_500), 11);
    show(&mut model);
    assert_eq!((model.events().cursor(), model.events().news(model.live().log())), (Some(at), 2));
    // The endpoint's clients fell within a second: one event.
    let is_burst =
        |entry: &Entry| matches!(&entry.subject, Subject::Clients { count, to: State::Held, .. } if *count > 50);
    let (burst, count) = model
        .live()
        .log()
        .numbered()
        .find(|(_, entry)| is_burst(entry))
        .map(|(n, entry)| {
            let Subject::Clients { count, .. } = entry.subject else { unreachable!() };
            (n, count)
        })
        .unwrap();
    model.act(Action::Top, ms(92_000));
    while model.events().cursor() != Some(burst) {
        model.act(Action::Down, ms(92_000));
    }
    model.act(Action::Detail, ms(92_000));
    assert_eq!(model.order().len(), count as usize);
    assert!(model.order().iter().all(|key| model.live().row(*key).endpoint == EndpointKey(1)));
    model.act(Action::Back, ms(92_000));
    assert_eq!((matches!(model.mode(), Mode::Events), model.events().cursor()), (true, Some(burst)));
    model.act(Action::Bottom, ms(92_000));
    assert!(model.events().is_following() && model.events().news(model.live().log()) == 0);
}

#[test]
fn groups_stay_where_they_are_while_a_key_was_just_pressed_or_the_order_is_held() {
    let mut model = plant(330);
    let names = |model: &Model| -> Vec<String> {
        let key = |key: &PartKey| key.name(model.fleet()).to_string();
        model.pivot().unwrap().parts().iter().map(|part| key(&part.key)).collect()
    };
    model.act(Action::Groups, ms(6_000));
    let before = names(&model);
    assert_eq!(before[0], "eu-2");
    // All others fail, and it comes back.
    for n in 0..330 {
        let (to, reason) =
            if n % 3 == 1 { (State::Up, Reason::Connected) } else { (State::Backoff, Reason::ConnectionLost) };
        let mut event = step(model.live(), ms(7_000), n, to, reason);
        if let What::State(step) = &mut event.what {
            step.endpoint = EndpointKey((n % 3) as u16);
        }
        model.apply(&event);
    }
    model.act(Action::Down, ms(7_900));
    model.tick(ms(8_000));
    second(&mut model, ms(8_000));
    assert_eq!(names(&model), before, "a key was just pressed");
    model.tick(ms(20_000));
    second(&mut model, ms(20_000));
    assert_eq!(names(&model)[2], "eu-2");
    assert_eq!(
        model.pivot().unwrap().cursor().map(|part| part.key.name(model.fleet()).to_string()).as_deref(),
        Some("ap-1")
    );
}

#[test]
fn rows_that_a_column_does_not_tell_apart_stay_as_they_were_sorted_before() {
    let mut model = Model::new(fleet(30), ms(0));
    (0..30).for_each(|n| comes_up(&mut model, ms(u64::from(n % 3) * 1_000), n));
    for _ in 0..2 {
        comes_up(&mut model, ms(9_000), 7);
        comes_up(&mut model, ms(9_000), 20);
    }
    model.act(Action::Sort, ms(9_100));
    while !matches!(model.mode(), Mode::Sort(Column::Since)) {
        model.choose(1, ms(9_100));
    }
    model.accept();
    let by_time = model.order().to_vec();
    model.act(Action::Sort, ms(9_200));
    while !matches!(model.mode(), Mode::Sort(Column::Endpoint)) {
        model.choose(-1, ms(9_200));
    }
    model.accept();
    assert_eq!(model.order(), by_time, "all are at one endpoint");
    model.act(Action::Sort, ms(9_300));
    model.accept();
    assert!(model.sort().descending && model.order() == by_time, "the other way, and still stable");
    model.act(Action::HoldOrder, ms(9_400));
    comes_up(&mut model, ms(60_000), 3);
    model.tick(ms(120_000));
    assert_eq!(model.order(), by_time, "it is held");
    model.act(Action::HoldOrder, ms(120_000));
    model.tick(ms(240_000));
    assert_ne!(model.order(), by_time);
}
