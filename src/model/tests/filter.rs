//! Tests of the filter: what is on the screen is found, and nothing else.

use std::sync::Arc;

use super::*;
use crate::fleet::Labels;

fn typed(model: &mut Model, text: &str) -> Vec<u32> {
    model.act(Action::Back, ms(9));
    model.act(Action::Filter, ms(9));
    text.chars().for_each(|c| model.edit(InputRequest::InsertChar(c), ms(9)));
    model.accept();
    let mut found: Vec<u32> = model.order().iter().map(|key| key.0).collect();
    found.sort_unstable();
    found
}

#[test]
fn what_is_on_the_screen_is_found_and_labels_are() {
    let mut plant = Fleet::clone(&fleet(8));
    let site = [(Scrubbed::new("site"), Scrubbed::new("Hall-3"))];
    plant.clients[7].labels = Arc::new(Labels::from(site));
    let mut model = Model::new(Arc::new(plant), ms(0));
    for (client, to, reason) in [
        (0, State::Failed, Reason::NotAuthorized),
        (1, State::Backoff, Reason::ConnectionLost),
        (2, State::Off, Reason::OperatorDisconnect),
        (3, State::Held, Reason::OperatorHold),
        (4, State::Held, Reason::ConnectionRefused),
        (5, State::Up, Reason::Connected),
        (6, State::Failed, Reason::RetriesExhausted),
        (7, State::Connecting, Reason::Start),
    ] {
        let event = step(model.live(), ms(1), client, to, reason);
        model.apply(&event);
    }
    for (text, found) in [
        ("rej", &[0][..]),
        ("fail", &[6]),
        ("off", &[2]),
        ("backoff", &[1]),
        ("wait", &[1]),
        ("held", &[3]),
        ("dead", &[4]),
        ("down", &[0, 1, 4, 6]),
        ("refused", &[4]),
        ("up", &[5]),
        ("conn", &[1, 2, 4, 7]), // "disconnected by operator" among them
        ("site=hall", &[7]),
        ("HALL-3", &[7]),
        ("te=hall-3", &[7]),
        ("site=x", &[]),
        ("eu-1", &[0, 1, 2, 3, 4, 5, 6, 7]),
    ] {
        assert_eq!(typed(&mut model, text), found, "/{text}");
    }
}

#[test]
fn a_word_that_may_become_and_hides_nobody_until_it_is_accepted() {
    let mut model = Model::new(fleet(20), ms(0));
    model.act(Action::Filter, ms(9));
    let mut shown = Vec::new();
    for c in "eu-1 and c19".chars() {
        model.edit(InputRequest::InsertChar(c), ms(9));
        shown.push(model.order().len());
    }
    assert_eq!(shown, [20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 11, 1]);
    assert_eq!(typed(&mut model, "eu-1 an"), [0; 0], "whoever wants the word itself has it");
}

#[test]
fn where_the_cursor_is_filtered_out_what_matches_is_read_from_its_begin() {
    let mut model = Model::new(fleet(1_000), ms(0));
    model.set_height(10);
    model.act(Action::Bottom, ms(1));
    assert_eq!(model.top(), 990);
    typed(&mut model, "c1");
    assert_eq!((model.top(), model.cursor_place(), model.order().len()), (0, None, 111));
    assert_eq!(typed(&mut model, "c99").len(), 11);
    assert_eq!(model.cursor_place(), Some(10), "who is not filtered out keeps the cursor");
}

#[test]
fn who_should_be_up_and_is_not_is_counted_whatever_step_it_is_at() {
    let mut model = Model::new(fleet(6), ms(0));
    let mut tell = |client, to, reason| {
        let event = step(model.live(), ms(1), client, to, reason);
        model.apply(&event);
        (model.live().totals().down, model.live().totals().returning)
    };
    assert_eq!(tell(0, State::Connecting, Reason::Start), (0, 0), "a start");
    assert_eq!(tell(0, State::Up, Reason::Connected), (0, 0));
    assert_eq!(tell(0, State::Queued, Reason::OperatorReconnect), (0, 0), "the operator wanted it");
    assert_eq!(tell(1, State::Backoff, Reason::ConnectionRefused), (1, 0));
    assert_eq!(tell(1, State::Connecting, Reason::Retry), (1, 1));
    assert_eq!(tell(1, State::Held, Reason::ConnectionRefused), (1, 0));
    assert_eq!(tell(1, State::Held, Reason::OperatorHold), (0, 0), "held by hand");
    assert_eq!(tell(2, State::Held, Reason::WorkerLost), (1, 0));
    assert_eq!(tell(2, State::Up, Reason::Connected), (0, 0));
    assert!(!model.live().totals().is_well());
}

fn types(model: &mut Model, text: &str) {
    text.chars().for_each(|c| model.edit(InputRequest::InsertChar(c), ms(9)));
}

fn line(model: &Model) -> String {
    let Mode::Filter(input) = model.mode() else { return "no line".to_owned() };
    input.value().to_owned()
}

#[test]
fn what_is_no_query_yet_leaves_the_last_one_in_force_and_the_line_open() {
    let mut model = Model::new(fleet(120), ms(0));
    model.act(Action::Filter, ms(1));
    types(&mut model, "id:c11");
    assert_eq!((model.order().len(), model.filter()), (11, "id:c11"));
    types(&mut model, " -");
    assert_eq!((model.order().len(), model.filter()), (11, "id:c11"), "not yet anything else");
    types(&mut model, "up<");
    let error = model.filter_line().error().cloned().expect("what is missing is told");
    assert_eq!((error.at, error.is_incomplete), (11..11, true));
    assert_eq!((model.order().len(), model.filter()), (11, "id:c11 -up"));
    model.accept();
    assert_eq!(line(&model), "id:c11 -up<", "there is nothing to accept");
    types(&mut model, "5m");
    assert!(model.filter_line().error().is_none() && model.order().len() == 11);
    model.accept();
    assert_eq!((line(&model).as_str(), model.filter()), ("no line", "id:c11 -up<5m"));
}

#[test]
fn the_line_is_completed_as_far_as_one_thing_is_meant_and_offers_where_there_are_several() {
    let mut model = Model::new(fleet(3), ms(0));
    model.act(Action::Filter, ms(1));
    types(&mut model, "en");
    model.complete(ms(2));
    assert_eq!(line(&model), "endpoint:");
    model.complete(ms(2));
    assert_eq!((line(&model).as_str(), model.order().len()), ("endpoint:eu-1", 3));
    types(&mut model, " re");
    model.complete(ms(2));
    assert_eq!(line(&model), "endpoint:eu-1 re");
    assert!(model.filter_line().offered().contains(&"reconnects>".to_owned()));
    types(&mut model, "ce");
    assert!(model.filter_line().offered().is_empty(), "what was offered is over");
    model.complete(ms(2));
    assert_eq!(line(&model), "endpoint:eu-1 received=");
}

#[test]
fn what_was_typed_before_comes_back_and_the_draft_too() {
    let mut model = Model::new(fleet(3), ms(0));
    for text in ["c1", "state:off", "c2"] {
        typed(&mut model, text);
    }
    model.act(Action::Back, ms(9));
    model.act(Action::Filter, ms(9));
    types(&mut model, "c0");
    let mut seen = Vec::new();
    for is_back in [true, true, true, true, false, false, false, false] {
        model.recall(is_back, ms(9));
        seen.push(line(&model));
    }
    assert_eq!(seen, ["c2", "state:off", "c1", "c1", "state:off", "c2", "c0", "c0"]);
    assert_eq!(model.order(), [ClientKey(0)]);
    model.accept();
    model.act(Action::Filter, ms(9));
    model.recall(true, ms(9));
    assert_eq!(line(&model), "c2", "what is in force is no news");
    model.act(Action::Back, ms(9));
    assert!(model.filter().is_empty() && model.order().len() == 3);
}

#[test]
fn figures_of_a_client_are_what_its_row_shows() {
    let mut plant = Fleet::clone(&fleet(4));
    plant.worker_size = 2;
    let mut known = Known::new(Arc::new(plant), ms(0));
    for (client, to, at) in [(0, State::Up, 0), (1, State::Up, 0), (1, State::Backoff, 60_000), (2, State::Up, 110_000)]
    {
        let reason = if to == State::Up { Reason::Connected } else { Reason::ConnectionLost };
        let event = step(&known, ms(at), client, to, reason);
        known.apply(&event);
    }
    let what = What::Sample(crate::event::Sample {
        client: ClientKey(0),
        probe: ProbeKind::Heartbeat,
        rtt: Duration::from_millis(300),
    });
    known.apply(&Event { at: ms(1_000), what });
    let now = ms(120_000);
    for (text, meant) in [
        ("p99>250ms", &[0][..]),
        ("latency=300ms", &[0]),
        ("up>1m", &[0]),
        ("up<=10s", &[2]),
        ("down>=1m", &[1]),
        ("down>1m", &[]),
        ("for=1m", &[1]),
        ("availability=50%", &[1]),
        ("availability<100%", &[1]),
        ("reconnects>0", &[]),
        ("protocol:5 endpoint=eu-1 transport:mqtt", &[0, 1, 2, 3]),
        ("reason:connection_lost", &[1]),
    ] {
        let query = Query::parse(text).unwrap();
        let found: Vec<u32> =
            known.fleet().keys().filter(|key| query.matches(&known.facts(*key, now))).map(|key| key.0).collect();
        assert_eq!(found, meant, "{text}");
    }
}
