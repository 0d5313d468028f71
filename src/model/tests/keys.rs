//! Tests of what keys mean: for endpoints, for questions, on small screens.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    action::Scope,
    event::{Condition, Gate},
};

#[test]
fn keys_for_an_endpoint_mean_that_of_the_client_under_the_cursor() {
    let endpoint = |name| Endpoint { connect_rate: 100, ..Endpoint::new(name, "127.0.0.1", 1883) };
    let fleet = Fleet {
        name: Scrubbed::new("f"),
        env: None,
        worker_size: 500,
        endpoints: vec![endpoint("eu-1"), endpoint("eu-2")],
        clients: vec![Client::new("c", EndpointKey(1), Arc::new(Settings::default()))],
    };
    let (mut model, now, key) = (Model::new(Arc::new(fleet), Moment(1)), Moment(2), EndpointKey(1));
    assert_eq!(model.act(Action::Hold, now), Effect::Nothing, "nobody is under the cursor");
    model.act(Action::Down, now);
    let yes = |model: &mut Model| {
        assert!(matches!(model.mode(), Mode::Confirm(_)), "it asks");
        assert_eq!(model.answer(true, now), Effect::Nothing, "nobody has seen the question");
        model.see(true);
        model.answer(true, now)
    };
    assert_eq!(model.act(Action::Hold, now), Effect::Nothing);
    assert_eq!(yes(&mut model), Effect::Command(Command::Hold(key)));
    assert_eq!(model.act(Action::RateUp, now), Effect::Command(Command::SetRate(key, 150)), "one client, gently");
    assert_eq!(model.act(Action::RateDown, now), Effect::Command(Command::SetRate(key, 66)));
    assert_eq!(model.act(Action::Undo, now), Effect::Command(Command::SetRate(key, 100)));
    assert_eq!(model.act(Action::Undo, now), Effect::Nothing, "once");
    let gate =
        Gate { condition: Condition::OnHold, waiting: 0, in_flight: 0, rate_set: 1, rate: 1, eta: Duration::ZERO };
    model.apply(&Event { at: now, what: What::Gate(key, gate) });
    assert_eq!(model.act(Action::Hold, now), Effect::Command(Command::Release(key)));
    assert_eq!(model.act(Action::Undo, now), Effect::Command(Command::Hold(key)));
    assert_eq!(model.act(Action::RateDown, now), Effect::Command(Command::SetRate(key, 1)));
    assert_eq!(model.act(Action::RateUp, now), Effect::Command(Command::SetRate(key, 2)));
}

#[test]
fn in_production_a_rate_is_asked_about_and_its_keys_change_the_question() {
    let fleet = Fleet {
        name: Scrubbed::new("f"),
        env: Some(Scrubbed::new("prod")),
        worker_size: 500,
        endpoints: vec![Endpoint { connect_rate: 100, ..Endpoint::new("eu-1", "127.0.0.1", 1883) }],
        clients: vec![Client::new("c", EndpointKey(0), Arc::new(Settings::default())); 300],
    };
    let (mut model, now, key) = (Model::new(Arc::new(fleet), Moment(1)), Moment(2), EndpointKey(0));
    model.act(Action::Down, now);
    for action in [Action::RateUp, Action::RateUp, Action::RateDown] {
        assert_eq!(model.act(action, now), Effect::Nothing);
    }
    let Mode::Confirm(confirm) = model.mode() else { panic!("no question") };
    assert_eq!(confirm.wish, Wish::Rate { endpoint: key, from: 100, to: 150 });
    assert_eq!(confirm.typed.as_ref().map(|typed| &*typed.wanted), Some("300 prod"));
    model.see(true);
    assert_eq!(model.answer(true, now), Effect::Nothing, "nothing was typed");
    assert!(matches!(model.mode(), Mode::Table));
    model.act(Action::Hold, now);
    "300 prod".chars().for_each(|c| model.edit(InputRequest::InsertChar(c), now));
    model.see(true);
    assert_eq!(model.answer(true, now), Effect::Command(Command::Hold(key)));
}

#[test]
fn on_a_screen_without_a_table_no_key_hits_a_client() {
    let clients = vec![Client::new("c", EndpointKey(0), Arc::new(Settings::default())); 3];
    let endpoints = vec![Endpoint::new("eu-1", "127.0.0.1", 1883)];
    let fleet = Fleet { name: Scrubbed::new("f"), env: None, worker_size: 500, endpoints, clients };
    let (mut model, now) = (Model::new(Arc::new(fleet), Moment(1)), Moment(2));
    model.act(Action::Down, now);
    model.set_height(0);
    for action in Action::ALL.into_iter().filter(|action| action.scope() == Scope::Live) {
        assert_eq!(model.act(action, now), Effect::Nothing, "{action:?}");
        assert!(model.toast().is_some() && matches!(model.mode(), Mode::Table), "{action:?}");
    }
    assert_eq!((model.marked(), model.frozen().is_none()), ((0, 0), true));
}

#[test]
fn what_was_open_comes_back() {
    let clients = vec![Client::new("c", EndpointKey(0), Arc::new(Settings::default())); 3];
    let endpoints = vec![Endpoint::new("eu-1", "127.0.0.1", 1883)];
    let fleet = Fleet { name: Scrubbed::new("f"), env: None, worker_size: 500, endpoints, clients };
    let (mut model, now) = (Model::new(Arc::new(fleet), Moment(1)), Moment(2));
    for action in [Action::Detail, Action::Latency, Action::Help] {
        model.act(action, now);
    }
    model.act(Action::Back, now);
    assert!(matches!(model.mode(), Mode::Latency) && model.latency_view().is_some());
    model.act(Action::Back, now);
    assert!(matches!(model.mode(), Mode::Detail) && model.latency_view().is_none());
    model.act(Action::Back, now);
    assert!(matches!(model.mode(), Mode::Table));
}
