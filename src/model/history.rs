//! Defines what was typed into a line before, and the way back and forth in it.

/// What a line remembers.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// What was kept, the newest last.
    kept: Vec<String>,
    /// How far back in it the line is, and what was typed before it went there.
    back: usize,
    draft: String,
}

impl History {
    /// The most that are remembered.
    const MOST: usize = 100;

    /// The line is opened anew.
    pub(super) fn open(&mut self) {
        self.back = 0;
    }

    /// Remembers what was typed, once.
    pub(super) fn keep(&mut self, text: &str) {
        if !text.is_empty() {
            self.kept.retain(|kept| kept != text);
            self.kept.push(text.to_owned());
            let most = self.kept.len().saturating_sub(Self::MOST);
            self.kept.drain(..most);
        }
    }

    /// What was typed before (or after) what is in the line now; `None` where there is nothing more.
    pub(super) fn recall(&mut self, now: &str, is_back: bool) -> Option<String> {
        if self.back == 0 {
            self.draft = now.to_owned();
        }
        // What is applied already is no news.
        let is_same = |back: usize| back == 1 && self.draft == self.kept[self.kept.len() - 1];
        let mut to = if is_back { self.back + 1 } else { self.back.checked_sub(1)? };
        if to == 1 && !self.kept.is_empty() && is_same(to) {
            to = if is_back { 2 } else { 0 };
        }
        if to > self.kept.len() {
            return None;
        }
        self.back = to;
        Some(if to == 0 { self.draft.clone() } else { self.kept[self.kept.len() - to].clone() })
    }
}
