//! Defines the characters the screen is drawn with, the badges' glyphs among them; which set a terminal gets is decided from values handed in.

use ratatui::symbols::border;

use crate::event::Badge;

/// The characters to draw with; each is one column wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glyphs {
    /// The badges' glyphs, in the order of [`Badge::ALL`].
    badges: [&'static str; Badge::ALL.len()],
    /// A sparkline's steps, from least to most.
    pub ramp: [&'static str; 8],
    /// How dense something is, from least to most.
    pub shades: [&'static str; 4],
    /// Where a sparkline has no samples because the client was down.
    pub gap: &'static str,
    pub cursor: &'static str,
    pub mark: &'static str,
    pub ellipsis: &'static str,
    /// The sorted column's arrows.
    pub ascending: &'static str,
    pub descending: &'static str,
    /// Between columns and panes.
    pub bar: &'static str,
    pub rule: &'static str,
    pub border: border::Set<'static>,
}

impl Glyphs {
    pub const UNICODE: Glyphs = Glyphs {
        badges: ["●", "▲", "◇", "◌", "▷", "◔", "▼", "□", "⊘", "✗", "○", "?"],
        ramp: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
        shades: ["░", "▒", "▓", "█"],
        gap: "x",
        cursor: ">",
        mark: "*",
        ellipsis: "…",
        ascending: "↑",
        descending: "↓",
        bar: "│",
        rule: "─",
        border: border::PLAIN,
    };

    pub const ASCII: Glyphs = Glyphs {
        badges: ["+", "!", "?", "~", ":", ".", "v", "=", "#", "x", "-", "/"],
        ramp: ["_", ".", ",", "-", "=", "+", "%", "@"],
        shades: [".", ":", "*", "#"],
        gap: "x",
        cursor: ">",
        mark: "*",
        ellipsis: "~",
        ascending: "^",
        descending: "v",
        bar: "|",
        rule: "-",
        border: border::Set {
            top_left: "+",
            top_right: "+",
            bottom_left: "+",
            bottom_right: "+",
            vertical_left: "|",
            vertical_right: "|",
            horizontal_top: "-",
            horizontal_bottom: "-",
        },
    };

    /// The set for a terminal, from its environment: ASCII where the locale (`LC_ALL`, `LC_CTYPE`,
    /// `LANG`, the first that is set) is not UTF-8, and on the Linux console and dumb terminals.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Glyphs {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        if matches!(set("TERM").as_deref(), Some("linux" | "dumb")) {
            return Glyphs::ASCII;
        }
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") { Glyphs::UNICODE } else { Glyphs::ASCII }
    }

    pub fn badge(&self, badge: Badge) -> &'static str {
        self.badges[badge as usize]
    }

    pub fn is_ascii(&self) -> bool {
        self.cursor == Glyphs::ASCII.cursor && self.rule == Glyphs::ASCII.rule
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use unicode_width::UnicodeWidthStr;

    #[test]
    fn no_two_states_share_a_glyph_or_a_word() {
        let words: HashSet<_> = Badge::ALL.iter().map(|b| b.word()).collect();
        assert_eq!(words.len(), Badge::ALL.len());
        assert_eq!(words.iter().map(|w| w.len()).max(), Some(Badge::WORD_WIDTH));
        for glyphs in [Glyphs::UNICODE, Glyphs::ASCII] {
            let shown: HashSet<_> = Badge::ALL.iter().map(|b| glyphs.badge(*b)).collect();
            assert_eq!(shown.len(), Badge::ALL.len());
        }
        for (i, badge) in Badge::ALL.into_iter().enumerate() {
            assert_eq!(badge as usize, i);
        }
    }

    fn all(g: &Glyphs) -> Vec<&'static str> {
        let b = g.border;
        let mut all = vec![g.gap, g.cursor, g.mark, g.ellipsis, g.ascending, g.descending, g.bar, g.rule];
        all.extend([b.top_left, b.top_right, b.bottom_left, b.bottom_right]);
        all.extend([b.vertical_left, b.vertical_right, b.horizontal_top, b.horizontal_bottom]);
        all.extend(g.badges.iter().chain(&g.ramp).chain(&g.shades));
        all
    }

    #[test]
    fn every_glyph_is_one_column_and_no_emoji() {
        // Of Unicode's emoji, those in the blocks drawn from here (emoji-data.txt).
        let emoji = ["↔", "↕", "▪", "▫", "▶", "◀", "◻", "◼", "◽", "◾", "✔", "✖", "☑"];
        for glyphs in [Glyphs::UNICODE, Glyphs::ASCII] {
            for glyph in all(&glyphs) {
                assert_eq!((glyph.width(), glyph.chars().count()), (1, 1), "{glyph}");
                assert!(!emoji.contains(&glyph), "{glyph}");
            }
        }
        assert!(all(&Glyphs::ASCII).iter().all(|g| g.is_ascii()));
        assert!(Glyphs::ASCII.is_ascii() && !Glyphs::UNICODE.is_ascii());
        for ramp in [Glyphs::UNICODE.ramp, Glyphs::ASCII.ramp] {
            assert_eq!(ramp.iter().collect::<HashSet<_>>().len(), 8);
            assert!(!ramp.contains(&"x"), "a gap must not look like a value");
        }
    }

    #[test]
    fn the_set_follows_locale_and_terminal() {
        let pick = |env: &[(&str, &str)]| {
            Glyphs::from_env(|name| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
        };
        assert_eq!(pick(&[("LANG", "de_DE.UTF-8"), ("TERM", "xterm-256color")]), Glyphs::UNICODE);
        assert_eq!(pick(&[("LANG", "C.utf8")]), Glyphs::UNICODE);
        assert_eq!(pick(&[("LC_CTYPE", "UTF-8")]), Glyphs::UNICODE);
        assert_eq!(pick(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]), Glyphs::ASCII);
        assert_eq!(pick(&[("LC_ALL", ""), ("LANG", "de_DE.UTF-8")]), Glyphs::UNICODE);
        assert_eq!(pick(&[("LANG", "de_DE.ISO-8859-1")]), Glyphs::ASCII);
        assert_eq!(pick(&[]), Glyphs::ASCII);
        assert_eq!(pick(&[("LANG", "en_US.UTF-8"), ("TERM", "linux")]), Glyphs::ASCII);
        assert_eq!(pick(&[("LANG", "en_US.UTF-8"), ("TERM", "dumb")]), Glyphs::ASCII);
    }
}
