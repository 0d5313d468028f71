//! Defines a key as a person names it (`Ctrl-D`, `Space`, `?`) and as the terminal sends it; what it means is the keymap's matter.

use std::{fmt, str::FromStr};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A key of the keyboard, maybe together with Ctrl. Shift is part of the character (`G`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    code: KeyCode,
    ctrl: bool,
}

/// Names of keys that are no characters: as a file writes them, and as hints show them.
const NAMED: [(&str, &str, KeyCode); 16] = [
    ("up", "Up", KeyCode::Up),
    ("down", "Down", KeyCode::Down),
    ("left", "Left", KeyCode::Left),
    ("right", "Right", KeyCode::Right),
    ("pageup", "PgUp", KeyCode::PageUp),
    ("pagedown", "PgDn", KeyCode::PageDown),
    ("home", "Home", KeyCode::Home),
    ("end", "End", KeyCode::End),
    ("enter", "Enter", KeyCode::Enter),
    ("esc", "Esc", KeyCode::Esc),
    ("space", "Space", KeyCode::Char(' ')),
    ("tab", "Tab", KeyCode::Tab),
    ("backtab", "Shift-Tab", KeyCode::BackTab),
    ("backspace", "Backspace", KeyCode::Backspace),
    ("delete", "Delete", KeyCode::Delete),
    ("insert", "Insert", KeyCode::Insert),
];

impl Key {
    pub(super) const CTRL_C: Key = Key { code: KeyCode::Char('c'), ctrl: true };

    /// The key behind a terminal's event; `None` for chords that no keymap can name (Alt, Super).
    pub fn of(event: &KeyEvent) -> Option<Key> {
        let strange = KeyModifiers::ALT | KeyModifiers::SUPER | KeyModifiers::HYPER | KeyModifiers::META;
        if event.modifiers.intersects(strange) {
            return None;
        }
        let ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
        let code = match event.code {
            KeyCode::Char(c) if ctrl => KeyCode::Char(c.to_ascii_lowercase()),
            KeyCode::Char(c) if event.modifiers.contains(KeyModifiers::SHIFT) => KeyCode::Char(c.to_ascii_uppercase()),
            code => code,
        };
        Some(Key { code, ctrl })
    }

    pub fn is_chord(self) -> bool {
        self.ctrl
    }

    /// Whether a hand rests on it or holds it down: keys that move, delete or confirm, and `hjkl`.
    /// Nothing that harms may lie there.
    pub fn is_motion(self) -> bool {
        match self.code {
            KeyCode::Char(c) => matches!(c, 'h' | 'j' | 'k' | 'l' | ' '),
            _ => true,
        }
    }

    /// It as a keymap file writes it: `ctrl-d`, `pageup`, `G`.
    pub fn written(self) -> String {
        let named = NAMED.iter().find(|(_, _, code)| *code == self.code);
        match (named, self.code) {
            (Some((name, ..)), _) => (*name).to_owned(),
            (None, KeyCode::Char(c)) if self.ctrl => format!("ctrl-{c}"),
            _ => self.to_string(),
        }
    }

    /// The names that a file can use, besides single characters.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _, _)| *name)
    }
}

impl FromStr for Key {
    type Err = String;

    /// Reads a key as a keymap file writes it; the error says why it cannot be one.
    fn from_str(text: &str) -> Result<Key, String> {
        let lower = text.to_lowercase();
        let (ctrl, name) =
            match lower.strip_prefix("ctrl-").or(lower.strip_prefix("ctrl+")).or(lower.strip_prefix("c-")) {
                Some(rest) if !rest.is_empty() => (true, rest),
                _ => (false, text),
            };
        let mut chars = name.chars();
        let code = match (chars.next(), chars.next()) {
            (Some(' '), None) => KeyCode::Char(' '),
            (Some(c), None) if c.is_control() => {
                return Err("a control character is written as ctrl- and a letter".into());
            }
            (Some(c), None) => KeyCode::Char(c),
            _ => {
                let lower = name.to_lowercase();
                let name = match lower.as_str() {
                    "escape" => "esc",
                    "return" => "enter",
                    "pgup" => "pageup",
                    "pgdn" | "pgdown" => "pagedown",
                    "del" => "delete",
                    name => name,
                };
                match NAMED.iter().find(|(n, _, _)| *n == name) {
                    Some((_, _, code)) => *code,
                    None => return Err("no such key".into()),
                }
            }
        };
        if ctrl {
            // What a terminal sends for these chords is what it sends for the other key.
            let same = match code {
                KeyCode::Char('i') => Some("tab"),
                KeyCode::Char('m') => Some("enter"),
                KeyCode::Char('[') => Some("esc"),
                _ => None,
            };
            if let Some(other) = same {
                return Err(format!("to a terminal it is the same as {other}"));
            }
            if !matches!(code, KeyCode::Char('a'..='z')) {
                return Err("ctrl- goes with a letter only: terminals do not tell the others apart".into());
            }
        }
        Ok(Key { code, ctrl })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.code {
            KeyCode::Char(c) if self.ctrl => format!("Ctrl-{}", c.to_ascii_uppercase()),
            code => match (NAMED.iter().find(|(_, _, named)| *named == code), code) {
                (Some((_, shown, _)), _) => (*shown).to_owned(),
                (None, KeyCode::Char(c)) => c.to_string(),
                (None, other) => other.to_string(),
            },
        };
        f.pad(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_and_shown() {
        for (text, shown) in [
            ("j", "j"),
            ("G", "G"),
            ("?", "?"),
            ("-", "-"),
            ("ctrl-d", "Ctrl-D"),
            ("Ctrl+D", "Ctrl-D"),
            ("PageUp", "PgUp"),
            ("pgdn", "PgDn"),
            ("space", "Space"),
            (" ", "Space"),
            ("Escape", "Esc"),
            ("é", "é"),
        ] {
            let key = text.parse::<Key>();
            assert_eq!(key.as_ref().map(Key::to_string), Ok(shown.to_owned()), "{text}");
            assert_eq!(key.as_ref().map(|key| key.written().parse()), Ok(key.clone()), "{text}");
        }
    }

    #[test]
    fn what_no_terminal_can_send_is_no_key() {
        for text in ["", "pagup", "ctrl-", "ctrl-i", "ctrl-m", "ctrl-[", "ctrl-up", "alt-x", "null", "\u{1b}", "ab"] {
            assert!(text.parse::<Key>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn shift_is_part_of_the_character() {
        let key = |code, modifiers| Key::of(&KeyEvent::new(code, modifiers));
        let capital = key(KeyCode::Char('G'), KeyModifiers::SHIFT);
        assert_eq!(capital, key(KeyCode::Char('G'), KeyModifiers::NONE));
        assert_eq!(capital, key(KeyCode::Char('g'), KeyModifiers::SHIFT));
        assert_eq!(key(KeyCode::Char('L'), KeyModifiers::CONTROL), "ctrl-l".parse().ok());
        assert_eq!(key(KeyCode::Char('d'), KeyModifiers::ALT), None);
    }
}
