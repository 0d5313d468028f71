//! Tests of the line of commands: what is meant, what is completed, and that nothing that reaches into the fleet is done by a guess.

use super::*;
use crate::action::{Place, Scope};

fn open(model: &mut Model, text: &str) {
    model.act(Action::Command, ms(9));
    text.chars().for_each(|c| model.edit(InputRequest::InsertChar(c), ms(9)));
}

fn run(model: &mut Model, text: &str) -> Effect {
    open(model, text);
    model.run_command(Scope::Own, ms(9))
}

fn line(model: &Model) -> String {
    let Mode::Command(input) = model.mode() else { panic!("no line: {:?}", model.mode()) };
    input.value().to_owned()
}

#[test]
fn a_part_of_a_name_means_the_likeliest() {
    let first = |text: &str| meant(text, Scope::Own, Place::Clients).first().copied();
    for (text, action) in [
        ("groups", Action::Groups),
        ("gr", Action::Groups),
        ("lat", Action::Latency),
        ("end", Action::Endpoints),
        ("hold order", Action::HoldOrder),
        ("hold-order", Action::HoldOrder),
        ("hold", Action::Hold),
        ("order", Action::HoldOrder),
        ("rcn", Action::Reconnect),
        ("picture", Action::Map),
        ("mark_all site=hall-3", Action::MarkAll),
        ("", Action::Detail),
    ] {
        assert_eq!(first(text), Some(action), "{text:?}");
    }
    assert_eq!(first("zzz"), None);
    // Where it means nothing, it is not offered.
    assert!(!meant("", Scope::Own, Place::Latency).contains(&Action::Reconnect));
    assert!(!meant("play", Scope::Own, Place::Clients).contains(&Action::Play));
    assert_eq!(meant("play", Scope::Replay, Place::Clients).first(), Some(&Action::Play));
}

#[test]
fn screens_are_gone_to_by_name_and_what_was_typed_is_remembered() {
    let mut model = waiting(3);
    assert_eq!(run(&mut model, "groups"), Effect::Nothing);
    assert!(matches!(model.mode(), Mode::Groups));
    assert_eq!(run(&mut model, "lat"), Effect::Nothing);
    assert!(matches!(model.mode(), Mode::Latency));
    open(&mut model, "x");
    model.recall(true, ms(9));
    assert_eq!(line(&model), "latency");
    model.recall(true, ms(9));
    assert_eq!(line(&model), "groups");
    model.recall(false, ms(9));
    model.recall(false, ms(9));
    assert_eq!(line(&model), "x");
    model.act(Action::Back, ms(9));
    assert!(matches!(model.mode(), Mode::Latency));
}

#[test]
fn tab_goes_through_what_may_be_meant() {
    let mut model = waiting(3);
    open(&mut model, "mark");
    let mut tab = |is_next| {
        model.complete_command(Scope::Own, is_next, ms(9));
        line(&model)
    };
    assert_eq!([tab(true), tab(true), tab(true), tab(false)], ["mark", "mark_all ", "unmark_all ", "mark_all "]);
    // What stands behind a name is completed as in the filter.
    model.act(Action::Back, ms(9));
    open(&mut model, "mark_all endp");
    model.complete_command(Scope::Own, true, ms(9));
    assert_eq!(line(&model), "mark_all endpoint:");
    model.act(Action::Back, ms(9));
    open(&mut model, "sort rec");
    model.complete_command(Scope::Own, true, ms(9));
    assert_eq!(line(&model), "sort reconnects");
    assert_eq!(model.run_command(Scope::Own, ms(9)), Effect::Nothing);
    assert_eq!((model.sort().column, model.sort().descending), (Column::Reconnects, true));
    run(&mut model, "sort client desc");
    assert_eq!((model.sort().column, model.sort().descending), (Column::Client, true));
}

#[test]
fn a_guess_never_reaches_into_the_fleet() {
    let mut model = waiting(3);
    // The likeliest of "con" is a reconnect: it is put into the line, and no more.
    assert_eq!(run(&mut model, "rcn"), Effect::Nothing);
    assert_eq!(line(&model), "reconnect");
    let done = model.run_command(Scope::Own, ms(9));
    assert_eq!(done, Effect::Command(Command::Reconnect(vec![ClientKey(1)])));
    // A begin that is no other's is no guess.
    let mut model = waiting(3);
    assert_eq!(run(&mut model, "rec"), Effect::Command(Command::Reconnect(vec![ClientKey(1)])));
}

#[test]
fn whom_a_command_is_about_is_said_behind_it_and_is_in_sight() {
    let mut model = waiting(5);
    run(&mut model, "mark_all id=c0,c4");
    assert_eq!(model.marked(), (2, 0));
    run(&mut model, "unmark_all id=c4");
    assert!(model.is_marked(ClientKey(0)) && !model.is_marked(ClientKey(4)));
    comes_up(&mut model, ms(10), 2);
    // The filter shows those that are in backoff.
    run(&mut model, "disconnect id=c2,c3");
    let Mode::Confirm(confirm) = model.mode() else { panic!("no question") };
    assert_eq!(confirm.targets, [ClientKey(3)]);
    model.act(Action::Back, ms(11));
    assert_eq!(run(&mut model, "reconnect id=nobody"), Effect::Nothing);
    assert!(model.toast().unwrap().text.contains("no client that is shown is meant by id=nobody"));
    run(&mut model, "filter id=c2");
    assert_eq!((model.filter(), model.order()), ("id=c2", &[ClientKey(2)][..]));
}

#[test]
fn what_cannot_be_done_says_why_and_stays_to_be_mended() {
    let mut model = waiting(3);
    for (text, why, at) in [
        ("recnonect", "no such command; did you mean reconnect?", 0..9),
        ("play", "play: only in a recording", 0..4),
        ("mark_all p99>", "", 9..13),
        ("groups eu-1", "nothing can stand behind groups", 7..11),
        ("sort size", "the columns are state, client", 5..9),
    ] {
        assert_eq!(run(&mut model, text), Effect::Nothing);
        let (said, place) = model.palette().error().unwrap_or_else(|| panic!("{text}: no error"));
        assert!(said.contains(why), "{text}: {said}");
        assert!(place.start >= at.start && place.end <= at.end, "{text}: {place:?}");
        assert_eq!(line(&model), text);
        model.edit(InputRequest::DeletePrevChar, ms(9));
        assert!(model.palette().error().is_none(), "{text}");
        model.act(Action::Back, ms(9));
    }
    run(&mut model, "latency");
    run(&mut model, "reconnect");
    assert_eq!(model.palette().error().unwrap().0, "reconnect: not on this screen");
}

#[test]
fn what_is_pasted_is_typed_and_nothing_is_done() {
    let mut model = waiting(3);
    open(&mut model, "");
    model.paste("disconnect\n", ms(9));
    assert_eq!(line(&model), "disconnect");
}
