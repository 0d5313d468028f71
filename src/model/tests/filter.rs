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
