//! Plays random stories, keys, filters, sizes and reloads, and asks after each step whether cursor, marks and questions still mean whom they meant.

use std::collections::BTreeSet;

use super::*;
use crate::{fleet::Client, model::Filter};

const LINES: std::ops::RangeInclusive<usize> = 4..=40;

/// What the operator means, kept beside the model.
#[derive(Default)]
struct Meant {
    cursor: Option<ClientKey>,
    marks: BTreeSet<ClientKey>,
    targets: Option<Vec<ClientKey>>,
}

/// Steps in a run; the long one is `MQFLEET_STEPS=100000`.
fn steps() -> u32 {
    std::env::var("MQFLEET_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

fn named(name: &str, clients: u32) -> Arc<Fleet> {
    let mut fleet = Fleet::clone(&fleet(clients));
    fleet.name = Scrubbed::new(name);
    Arc::new(fleet)
}

#[test]
fn in_any_story_cursor_marks_and_questions_mean_whom_they_meant_and_the_line_of_the_cursor_holds() {
    let mut random = fastrand::Rng::with_seed(12);
    let (mut left, mut resorted, mut inserted, mut removed, mut asked) = (steps(), 0, 0, 0, 0);
    while left > 0 {
        let mut model = Model::new(named("story", 60), ms(0));
        model.set_height(14);
        let (mut meant, mut now) = (Meant::default(), 1);
        for _ in 0..left.min(1_500) {
            left -= 1;
            now += random.u64(0..900);
            let before: Vec<ClientKey> = model.order().to_vec();
            let line = model.cursor_place().map(|place| place as isize - model.top() as isize);
            let mut holds_line = true;
            let was_frozen = model.frozen().is_some();
            match random.u8(0..100) {
                0..40 => happen(&mut model, &mut random, ms(now)),
                40..60 => {
                    now += random.u64(0..4_000);
                    model.tick(ms(now));
                    resorted += u32::from(model.order() != before);
                }
                60..64 => {
                    model.set_height(random.usize(LINES));
                    holds_line = false;
                }
                64..68 => match reload(&mut model, &mut random, ms(now)) {
                    Some(gone) => {
                        removed += 1;
                        meant.marks.remove(&gone);
                        let is_in_sight = model.frozen().is_some();
                        meant.cursor = meant.cursor.filter(|cursor| is_in_sight || *cursor != gone);
                        if let Some(targets) = &meant.targets {
                            assert!(matches!(model.mode(), Mode::Confirm(_)) && !targets.is_empty());
                        }
                    }
                    None => inserted += 1,
                },
                68..74 if meant.targets.is_none() => {
                    let text = ["", "c1", "state:up", "down", "c", "why:lost or c2"][random.usize(0..6)];
                    if !model.filter.is_empty() || meant.marks.is_empty() {
                        model.act(Action::Filter, ms(now));
                        if let Mode::Filter(input) = &mut model.mode {
                            *input = Default::default();
                        }
                        model.paste(text, ms(now));
                        model.accept();
                    }
                    holds_line = false;
                }
                _ if meant.targets.is_some() => {
                    let yes = random.bool();
                    model.see(true);
                    let effect = model.answer(yes, ms(now));
                    let targets = meant.targets.take();
                    if let Effect::Command(Command::Disconnect(whom) | Command::Reconnect(whom)) = effect {
                        assert_eq!(Some(whom), targets, "the answer hits whom the question named");
                    }
                    continue;
                }
                _ => holds_line = press(&mut model, &mut random, &mut meant, ms(now)),
            }
            if let Mode::Confirm(confirm) = model.mode() {
                match &meant.targets {
                    Some(targets) => assert_eq!(&confirm.targets, targets, "a question changed its mind"),
                    None => asked += 1,
                }
                meant.targets = Some(confirm.targets.clone());
            }
            assert_eq!(model.cursor(), meant.cursor, "the cursor went to another client");
            assert_eq!(model.marks, meant.marks, "marks are only the user's");
            if let (Some(place), Some(line), true) = (model.cursor_place(), line, holds_line) {
                let end = model.order().len().saturating_sub(model.height());
                let is_at_an_end = model.top() == 0 || model.top() == end;
                let now_at = place as isize - model.top() as isize;
                assert!(
                    now_at == line || is_at_an_end,
                    "the cursor's line went from {line} to {now_at}; frozen: {was_frozen}"
                );
            }
            let is_seen =
                model.cursor_place().is_none_or(|place| (model.top()..model.top() + model.height()).contains(&place));
            assert!(is_seen, "the cursor is out of sight");
        }
    }
    println!("{} steps: {resorted} re-sorts, {inserted} inserts, {removed} removals, {asked} questions", steps());
    assert!([resorted, inserted, removed, asked].into_iter().all(|count| count > steps() / 600), "too tame a story");
}

fn happen(model: &mut Model, random: &mut fastrand::Rng, at: Moment) {
    let keys: Vec<ClientKey> = model.fleet().keys().collect();
    let client = keys[random.usize(0..keys.len())];
    if random.bool() {
        let to = State::ALL[random.usize(0..State::ALL.len())];
        let reason = [Reason::ConnectionLost, Reason::NotAuthorized, Reason::Connected][random.usize(0..3)];
        let event = step(model.live(), at, client.0, to, reason);
        model.apply(&event);
    } else {
        let rtt = Duration::from_micros(random.u64(100..900_000));
        model.apply(&Event { at, what: What::Sample(Sample { client, probe: ProbeKind::Heartbeat, rtt }) });
    }
}

/// The fleet gets a client more, or loses one, which is told.
fn reload(model: &mut Model, random: &mut fastrand::Rng, at: Moment) -> Option<ClientKey> {
    let mut fleet = Fleet::clone(model.fleet());
    let keys: Vec<ClientKey> = fleet.keys().collect();
    let gone = (keys.len() > 40 && random.bool()).then(|| keys[random.usize(0..keys.len())]);
    match gone {
        Some(gone) => fleet.clients[gone.index()].is_gone = true,
        None => {
            let name = format!("c{}", random.u32(..));
            let settings = fleet.clients[0].settings.clone();
            fleet.clients.push(Client::new(&name, EndpointKey(0), settings));
        }
    }
    model.apply(&Event { at, what: What::Fleet(Arc::new(fleet)) });
    gone
}

/// Presses a key and notes what it means by what is on the screen now. Whether the cursor's line is to hold.
fn press(model: &mut Model, random: &mut fastrand::Rng, meant: &mut Meant, at: Moment) -> bool {
    let actions = [
        Action::Up,
        Action::Down,
        Action::PageUp,
        Action::PageDown,
        Action::Top,
        Action::Bottom,
        Action::NextUnwell,
        Action::PreviousUnwell,
        Action::SortNext,
        Action::SortPrevious,
        Action::SortReverse,
        Action::HoldOrder,
        Action::Mark,
        Action::MarkAll,
        Action::UnmarkAll,
        Action::Freeze,
        Action::Disconnect,
        Action::Reconnect,
    ];
    let action = actions[random.usize(0..actions.len())];
    let (order, place) = (model.order().to_vec(), model.cursor_place());
    let by = |by: isize| match (place, order.len().checked_sub(1)) {
        (_, None) => None,
        (Some(place), Some(last)) => Some(order[place.saturating_add_signed(by).min(last)]),
        (None, Some(last)) => Some(order[model.top().min(last)]),
    };
    let page = model.height().max(2) as isize - 1;
    let unwell = |key: &ClientKey| model.shown().row(*key).is_down() || model.shown().row(*key).is_slow();
    let moved = match action {
        Action::Up => by(-1),
        Action::Down => by(1),
        Action::PageUp => by(-page),
        Action::PageDown => by(page),
        Action::Top => order.first().copied(),
        Action::Bottom => order.last().copied(),
        Action::NextUnwell => order.iter().skip(place.map_or(0, |place| place + 1)).find(|key| unwell(key)).copied(),
        Action::PreviousUnwell => order[..place.unwrap_or(0)].iter().rfind(|key| unwell(key)).copied(),
        Action::Mark if meant.cursor.is_some() => by(1),
        Action::Mark => by(0),
        _ => None,
    };
    match action {
        Action::Mark => {
            if let Some(cursor) = meant.cursor
                && !meant.marks.remove(&cursor)
                && model.fleet().has(cursor)
            {
                meant.marks.insert(cursor);
            }
        }
        Action::MarkAll | Action::UnmarkAll => {
            let filter = Filter::parse(model.filter()).unwrap();
            let is_meant = |key: &&ClientKey| {
                meant.cursor != Some(**key) || filter.lets_through(model.shown(), **key, model.shown_at())
            };
            for key in order.iter().filter(|key| model.fleet().has(**key)).filter(is_meant) {
                match action {
                    Action::MarkAll => drop(meant.marks.insert(*key)),
                    _ => drop(meant.marks.remove(key)),
                }
            }
        }
        _ => {}
    }
    model.act(action, at);
    meant.cursor = moved.or(meant.cursor);
    if action == Action::Freeze && model.frozen().is_none() {
        meant.cursor = meant.cursor.filter(|cursor| model.fleet().has(*cursor));
    }
    moved.is_none()
}
