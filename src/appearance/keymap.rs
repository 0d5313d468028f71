//! Defines which key means which action, from the built-in table and the user's own over it; what an action does is the model's matter.

use std::ops::Range;

use crossterm::event::{KeyEvent, KeyEventKind};

use super::key::Key;
use crate::{
    action::{Action, Scope},
    document::{Draft, Report, Table, Value, nearest, quoted},
};

/// Which key means which action.
#[derive(Clone, Debug, PartialEq)]
pub struct Keymap {
    /// The keys of each action, in the order of [`Action::ALL`].
    keys: Vec<Vec<Key>>,
}

impl Keymap {
    /// The keymap that mqfleet comes with.
    pub fn builtin() -> Keymap {
        let read =
            |key: &&str| key.parse().unwrap_or_else(|why| unreachable!("the keys of actions are tested: {key}: {why}"));
        let keys = |action: Action| action.keys().iter().map(read).collect();
        Keymap { keys: Action::ALL.map(keys).into() }
    }

    /// What a key event means in a live run or in a replay. Releases mean nothing, and a key that is
    /// held down only moves.
    pub fn action(&self, event: KeyEvent, scope: Scope) -> Option<Action> {
        let key = Key::of(&event)?;
        let action = self.meaning(key, scope)?;
        match event.kind {
            KeyEventKind::Press => Some(action),
            KeyEventKind::Repeat => action.is_repeatable().then_some(action),
            KeyEventKind::Release => None,
        }
    }

    /// The keys of an action, the one to show first.
    pub fn keys(&self, action: Action) -> &[Key] {
        &self.keys[action as usize]
    }

    fn meaning(&self, key: Key, scope: Scope) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.scope().meets(scope) && self.keys(*action).contains(&key))
    }

    /// The keymap with a user's own table over it: an action named there has those keys and no others.
    pub(super) fn overlaid(&self, table: &Table<'_>, report: &mut Report<'_>) -> Keymap {
        let mut keymap = self.clone();
        let mut places: Vec<(Key, Action, Range<usize>)> = Vec::new();
        for (name, value) in table.in_order() {
            let Some(action) = Action::named(&name) else {
                let help = match nearest(&name, Action::ALL.map(Action::name)) {
                    Some(word) => format!("did you mean `{word}`?"),
                    None => format!("the actions are {}", Action::ALL.map(Action::name).join(", ")),
                };
                let span = table.key_span(&name).unwrap_or(value.span);
                report.error(Draft::at(span, format!("there is no action {}", quoted(&name))).help(help));
                continue;
            };
            let Some(items) = value.list(report, "[\"j\", \"down\"]") else { continue };
            let mut keys = Vec::new();
            for item in items {
                let Some(key) = read_key(&item, action, report) else { continue };
                match places.iter().find(|(k, other, _)| *k == key && meet(*other, action)) {
                    Some((_, other, first)) => report.error(
                        Draft::at(item.span, format!("{key} is bound twice"))
                            .label(format!("here to `{}`", action.name()))
                            .also(first.clone(), format!("and here to `{}`", other.name())),
                    ),
                    None => {
                        places.push((key, action, item.span));
                        keys.push(key);
                    }
                }
            }
            keymap.keys[action as usize] = keys;
        }
        // A way out there must be, whatever else the file says.
        if !keymap.keys(Action::Quit).contains(&Key::CTRL_C) {
            keymap.keys[Action::Quit as usize].push(Key::CTRL_C);
        }
        for (key, action, span) in places {
            let others = Action::ALL.into_iter().filter(|other| *other != action && meet(*other, action));
            for other in others.filter(|other| keymap.keys(*other).contains(&key)) {
                report.error(
                    Draft::at(span.clone(), format!("{key} is bound twice"))
                        .label(format!("here to `{}`, and in the built-in keymap to `{}`", action.name(), other.name()))
                        .help(format!("give `{}` other keys in this file too", other.name())),
                );
            }
        }
        keymap
    }
}

fn read_key(item: &Value<'_>, action: Action, report: &mut Report<'_>) -> Option<Key> {
    let text = item.string(report, "a list of keys in quotes")?;
    let key = match text.parse::<Key>() {
        Ok(key) => key,
        Err(why) => {
            let help = nearest(text, Key::names()).map(|word| format!("did you mean \"{word}\"?"));
            let help = help.unwrap_or_else(|| {
                format!(
                    "a key is one character, ctrl- and a letter, or {}",
                    Key::names().collect::<Vec<_>>().join(", ")
                )
            });
            report.error(Draft::at(item.span.clone(), format!("{} cannot be bound: {why}", quoted(text))).help(help));
            return None;
        }
    };
    if key == Key::CTRL_C && action != Action::Quit {
        report.error(
            Draft::at(item.span.clone(), format!("Ctrl-C cannot be bound to `{}`", action.name()))
                .help("it always quits, so that there is a way out of every keymap"),
        );
        return None;
    }
    if action.is_grave() && (key.is_motion() || key.is_chord()) && key != Key::CTRL_C {
        report.error(
            Draft::at(item.span.clone(), format!("{key} cannot be bound to `{}`", action.name()))
                .label("a key that moves, repeats or is a chord")
                .help("what reaches into the fleet needs a plain key that no hand rests on, such as a letter"),
        );
        return None;
    }
    Some(key)
}

/// Whether one key cannot mean both.
fn meet(one: Action, other: Action) -> bool {
    one.scope().meets(other.scope())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{appearance::Config, document::FileErrors};
    use crossterm::event::{KeyCode, KeyModifiers};

    fn with_user(text: &str, file_name: &str) -> Result<Keymap, FileErrors> {
        Config::parse(text, file_name).map(|config| config.keymap)
    }

    fn press(text: &str) -> KeyEvent {
        let (code, modifiers) = match text {
            "enter" => (KeyCode::Enter, KeyModifiers::NONE),
            "pageup" => (KeyCode::PageUp, KeyModifiers::NONE),
            "ctrl-c" => (KeyCode::Char('c'), KeyModifiers::CONTROL),
            c => (KeyCode::Char(c.chars().next().unwrap()), KeyModifiers::NONE),
        };
        KeyEvent::new(code, modifiers)
    }

    #[test]
    fn every_action_has_a_key_and_its_place() {
        let keymap = Keymap::builtin();
        for (i, action) in Action::ALL.into_iter().enumerate() {
            assert_eq!(action as usize, i);
            assert!(!keymap.keys(action).is_empty(), "{action:?}");
            for key in keymap.keys(action) {
                assert_eq!(keymap.meaning(*key, action.scope()), Some(action), "{key}");
            }
        }
        assert_eq!(keymap.action(press("enter"), Scope::Live), Some(Action::Detail));
        assert_eq!(keymap.action(press("ctrl-c"), Scope::Live), Some(Action::Quit));
        assert_eq!(keymap.action(press("%"), Scope::Live), None);
    }

    #[test]
    fn the_registry_is_a_keymap_that_a_user_could_have_written() {
        let written = |action: Action| format!("{} = {:?}\n", action.name(), action.keys());
        let text = format!("[keys]\n{}", Action::ALL.map(written).concat());
        assert_eq!(with_user(&text, "k.toml").map_err(|errors| errors.to_string()), Ok(Keymap::builtin()));
    }

    #[test]
    fn names_are_those_that_serde_writes() {
        for action in Action::ALL {
            assert_eq!(serde_json::to_value(action).unwrap(), action.name());
        }
    }

    #[test]
    fn only_motion_repeats() {
        let keymap = Keymap::builtin();
        let with = |text, kind| keymap.action(KeyEvent { kind, ..press(text) }, Scope::Live);
        assert_eq!(with("j", KeyEventKind::Repeat), Some(Action::Down));
        assert_eq!(with("pageup", KeyEventKind::Repeat), Some(Action::PageUp));
        assert_eq!(with("d", KeyEventKind::Repeat), None);
        assert_eq!(with(" ", KeyEventKind::Repeat), None);
        assert_eq!(with("j", KeyEventKind::Release), None);
    }

    #[test]
    fn a_user_replaces_the_keys_of_an_action() {
        let keymap = with_user("[keys]\ndisconnect = ['X']\nmark_all = []\nquit = ['Z']\n", "k.toml").unwrap();
        assert_eq!(keymap.action(press("X"), Scope::Live), Some(Action::Disconnect));
        assert_eq!(keymap.action(press("d"), Scope::Live), None);
        assert!(keymap.keys(Action::MarkAll).is_empty());
        assert_eq!(keymap.action(press("Z"), Scope::Live), Some(Action::Quit));
        assert_eq!(keymap.action(press("ctrl-c"), Scope::Live), Some(Action::Quit), "there is always a way out");
        assert_eq!(keymap.action(press("j"), Scope::Live), Some(Action::Down));
        assert_eq!(with_user("", "k.toml").unwrap(), Keymap::builtin());
    }

    #[test]
    fn keys_can_be_swapped() {
        let keymap = with_user("[keys]\nreconnect = ['f']\nfreeze = ['r']\n", "k.toml").unwrap();
        assert_eq!(keymap.action(press("f"), Scope::Live), Some(Action::Reconnect));
        assert_eq!(keymap.action(press("r"), Scope::Live), Some(Action::Freeze));
    }

    #[test]
    fn a_key_can_mean_one_thing_live_and_another_in_a_replay() {
        let keymap = with_user("[keys]\nplay = ['r']\nhold = ['Z', 't']\n", "k.toml").unwrap();
        let both = |key| [Scope::Live, Scope::Replay].map(|scope| keymap.action(press(key), scope));
        assert_eq!(both("r"), [Some(Action::Reconnect), Some(Action::Play)]);
        assert_eq!(both("t"), [Some(Action::Hold), Some(Action::GoTo)]);
        assert_eq!(both("f"), [Some(Action::Freeze), None]);
        assert_eq!(both("p"), [None, None]);
        assert_eq!(both("j"), [Some(Action::Down); 2]);
    }

    #[test]
    fn wrong_keymaps_say_what_is_wrong() {
        for (text, says) in [
            ("[keys]\ndisconect = ['x']", "did you mean `disconnect`?"),
            ("[kyes]\n", "did you mean `keys`?"),
            ("[keys]\nup = 'k'", "must be a list, not a string"),
            ("[keys]\nup = ['pagup']", "did you mean \"pageup\"?"),
            ("[keys]\nfreeze = ['ctrl-i']", "the same as tab"),
            ("[keys]\nfreeze = ['x']\nhelp = ['x']", "and here to `freeze`"),
            ("[keys]\nfreeze = ['x', 'x']", "bound twice"),
            ("[keys]\nfreeze = ['r']", "in the built-in keymap to `reconnect`"),
            ("[keys]\nplay = ['l']", "in the built-in keymap to `latency`"),
            ("[keys]\nplay = ['x']\ngo_to = ['x']", "and here to `play`"),
            ("[keys]\ndisconnect = ['delete']", "Delete cannot be bound to `disconnect`"),
            ("[keys]\ndisconnect = ['ctrl-k']", "Ctrl-K cannot be bound"),
            ("[keys]\nreconnect = ['space']", "Space cannot be bound"),
            ("[keys]\nquit = ['l']", "l cannot be bound"),
            ("[keys]\nfreeze = ['ctrl-c']", "it always quits"),
            ("[keys", "this is not TOML"),
        ] {
            let errors = with_user(text, "keymap.toml").unwrap_err().to_string();
            assert!(errors.contains(says), "{text}\n{errors}");
            assert!(errors.contains("keymap.toml:"), "{errors}");
        }
    }
}
