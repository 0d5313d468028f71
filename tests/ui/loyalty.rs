//! Plays random stories and keys, and asks whether the cursor stays with its client and marks stay where the user put them.

use std::collections::BTreeSet;

use mqfleet::{
    action::Action,
    appearance::Glyphs,
    event::{Reason, State},
    fleet::ClientKey,
};
use proptest::prelude::*;
use std::time::Duration;

use crate::scenes::{Stage, ago, fleet};

#[derive(Clone, Debug)]
enum Move {
    Step(u32, State),
    Sample(u32, u64),
    Wait(u64),
    Key(Action),
    Filter(&'static str),
}

fn moves() -> impl Strategy<Value = Move> {
    let keys = [
        Action::Up,
        Action::Down,
        Action::PageDown,
        Action::PageUp,
        Action::Bottom,
        Action::SortNext,
        Action::SortReverse,
        Action::Mark,
        Action::MarkAll,
        Action::Freeze,
        Action::Back,
    ];
    prop_oneof![
        6 => (0..60u32, prop::sample::select(&State::ALL)).prop_map(|(c, s)| Move::Step(c, s)),
        3 => (0..60u32, 100..5_000_000u64).prop_map(|(c, us)| Move::Sample(c, us)),
        4 => (0..4_000u64).prop_map(Move::Wait),
        4 => prop::sample::select(keys.to_vec()).prop_map(Move::Key),
        1 => prop::sample::select(&["press", "press-001", "7", ""]).prop_map(Move::Filter),
    ]
}

/// The screen line of the cursor and the client ID that stands there.
fn pointed_at(s: &mut Stage) -> Option<(u16, String)> {
    let (buffer, _) = s.draw(80, 24, "terminal", Glyphs::UNICODE);
    let y = (0..24).find(|&y| buffer[(0, y)].symbol() == ">")?;
    let line: String = (10..20).map(|x| buffer[(x, y)].symbol()).collect();
    Some((y, line.trim().to_owned()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn the_cursor_keeps_its_client_and_marks_are_only_the_users(moves in prop::collection::vec(moves(), 1..80)) {
        let mut plant = fleet(None);
        plant.clients.truncate(60);
        let mut s = Stage::new(plant, ago(600.0));
        let mut meant: BTreeSet<ClientKey> = BTreeSet::new();
        pointed_at(&mut s);
        for step in moves {
            let before = (s.model.cursor(), pointed_at(&mut s), s.model.top());
            let now = s.now;
            match step.clone() {
                Move::Step(client, to) => s.step(now, client, to, Reason::ConnectionLost),
                Move::Sample(client, us) => s.sample(now, client, Duration::from_micros(us)),
                Move::Wait(ms) => {
                    s.now = now + Duration::from_millis(ms);
                    s.model.tick(s.now);
                }
                Move::Key(action) => {
                    match action {
                        Action::Mark => {
                            if let Some(key) = s.model.cursor()
                                && !meant.remove(&key)
                            {
                                meant.insert(key);
                            }
                        }
                        Action::MarkAll => meant.extend(s.model.order()),
                        Action::Back if s.model.filter().is_empty() => meant.clear(),
                        _ => {}
                    }
                    s.act(action);
                }
                Move::Filter(text) => {
                    if s.model.filter().is_empty() {
                        meant.clear(); // that is what going back then does
                    }
                    s.act(Action::Back);
                    s.act(Action::Filter);
                    s.type_text(text);
                    s.model.accept();
                }
            }
            let after = pointed_at(&mut s);
            if !matches!(step, Move::Key(_) | Move::Filter(_)) {
                prop_assert_eq!(s.model.cursor(), before.0, "{:?} moved the cursor", step);
                if let (Some((y, _)), Some((was, _))) = (&after, &before.1) {
                    let last_top = s.model.order().len().saturating_sub(14);
                    let at_an_end = s.model.top() == 0 || s.model.top() == last_top;
                    prop_assert!(y == was || at_an_end, "{:?} moved the cursor's line from {} to {}", step, was, y);
                }
            }
            if let (Some(key), Some((_, shown))) = (s.model.cursor(), &after) {
                prop_assert_eq!(s.model.fleet().client(key).name.as_str(), shown.as_str());
            }
            let marked: BTreeSet<ClientKey> = s.model.fleet().keys().filter(|k| s.model.is_marked(*k)).collect();
            prop_assert_eq!(&marked, &meant);
            let shown = s.model.order().iter().filter(|k| meant.contains(k)).count();
            prop_assert_eq!(s.model.marked(), (meant.len(), meant.len() - shown));
        }
    }
}
