//! Holds the help to the registry of actions: whatever can be done on a screen is said there, with its key.

use mqfleet::{
    action::{Action, Place, Scope},
    appearance::{Glyphs, Keymap},
    model::Motion,
};

use crate::scenes::{self, Stage};

/// The screen as one text: words of a sentence that is broken are beside each other.
fn text(stage: &mut Stage) -> String {
    // At this width nothing stands beside the sentences, in their box or outside.
    let (buffer, _) = stage.draw(80, 150, "terminal", Glyphs::UNICODE);
    let cells: String =
        buffer.content.iter().map(|cell| if cell.symbol() == "│" { " " } else { cell.symbol() }).collect();
    cells.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn go(stage: &mut Stage, place: Place) {
    match place {
        Place::Clients => stage.act(Action::Top),
        Place::Client => stage.act(Action::Detail),
        place => stage.act(Action::named(place.name()).expect("an action that leads to the screen")),
    }
}

#[test]
fn every_action_is_said_where_it_means_anything() {
    let keymap = Keymap::builtin();
    for scope in [Scope::Own, Scope::Attached, Scope::Replay] {
        for place in Place::ALL {
            let mut stage = scenes::trouble();
            match scope {
                Scope::Replay => stage.replay = Some((Motion::Paused, Vec::new())),
                Scope::Attached => stage.attached = Some(""),
                _ => {}
            }
            go(&mut stage, place);
            stage.act(Action::Help);
            let help = text(&mut stage);
            for action in Action::ALL {
                let is_here = action.scope().meets(scope) && action.is_on(place);
                let first = Action::ALL.into_iter().find(|first| first.partner() == Some(action));
                let line = match (first, action.partner()) {
                    (Some(first), _) => format!("{}, {}", first.help(), action.help()),
                    (None, Some(second)) => format!("{}, {}", action.help(), second.help()),
                    (None, None) => action.help().to_owned(),
                };
                let key = keymap.keys(action)[0].to_string();
                let is_said = help.contains(&line) && help.contains(&key);
                assert_eq!(is_said, is_here, "{action:?} ({key}: {line}) in {place:?}, {scope:?}:\n{help}");
            }
        }
    }
}
