//! Defines what a client was in each of some dozen slots of time, in which states and whether slow, for as long as a screen shows; its figures are the record's matter.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    event::{self, State},
    model::sparse,
};

/// A bit for each state, in the order of [`State::ALL`], and one for slow.
pub(super) fn mask(state: State, is_slow: bool) -> u8 {
    1 << state as u8 | if is_slow { SLOW } else { 0 }
}

const SLOW: u8 = 1 << State::ALL.len();

/// The states of equal slots of time. While the run is young they are short, and grow with it: all
/// of them together are the whole run, or at last the last hour.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Strip {
    /// What it was, a bit for each, by slot number modulo `SLOTS`.
    #[serde(with = "sparse")]
    slots: [u8; Strip::SLOTS],
    origin: Moment,
    /// The number of the newest slot, from the origin on.
    newest: u32,
    /// In milliseconds.
    width: u32,
}

impl Strip {
    const SLOTS: usize = 48;
    const FIRST: u32 = 2_400;
    /// All slots together are an hour then, and a minute.
    const LONGEST: u32 = 76_800;
    /// No slot of a real run has a higher number.
    const LAST: u32 = u32::MAX / 2;

    pub fn new(now: Moment) -> Strip {
        Strip { slots: [0; Self::SLOTS], origin: now, newest: 0, width: Self::FIRST }
    }

    /// Whether it can be counted with; what comes from elsewhere may be nonsense.
    pub fn fits(&self) -> bool {
        self.width >= Self::FIRST && self.width <= Self::LONGEST && self.newest <= Self::LAST
    }

    /// Tells it by a clock that is so many microseconds later.
    pub fn move_by(&mut self, later: i64) {
        self.origin = self.origin.moved(later);
    }

    /// Brings it up to `now`; since the last call the client was `what`.
    pub fn advance(&mut self, now: Moment, what: u8) {
        self.touch(what);
        let slot = |width: u32| (now.since(self.origin).as_millis() / u128::from(width)).min(Self::LAST.into()) as u32;
        while slot(self.width) as usize >= Self::SLOTS && self.width < Self::LONGEST {
            for n in 0..Self::SLOTS {
                let pair = [2 * n, 2 * n + 1].map(|n| self.slots.get(n).copied().unwrap_or(0));
                self.slots[n] = pair[0] | pair[1];
            }
            self.newest /= 2;
            self.width *= 2;
        }
        let slot = slot(self.width);
        let first = (self.newest + 1).max((slot + 1).saturating_sub(Self::SLOTS as u32));
        for slot in first..=slot {
            self.slots[slot as usize % Self::SLOTS] = what;
        }
        self.newest = self.newest.max(slot);
    }

    /// Adds to what it was in the newest slot.
    pub fn touch(&mut self, what: u8) {
        self.slots[self.newest as usize % Self::SLOTS] |= what;
    }

    /// The worst state in each slot, and whether it was slow, oldest first.
    pub fn slots(&self) -> impl Iterator<Item = (State, bool)> + '_ {
        self.masks().map(|what| (worst(what), what & SLOW != 0))
    }

    /// Whether it no longer goes back to its origin.
    pub fn is_full(&self, now: Moment) -> bool {
        let mut strip = *self;
        strip.advance(now, 0);
        strip.newest as usize >= Self::SLOTS
    }

    /// What it was in each slot, oldest first.
    fn masks(&self) -> impl Iterator<Item = u8> + '_ {
        let first = (self.newest + 1).saturating_sub(Self::SLOTS as u32);
        (first..=self.newest).map(|slot| self.slots[slot as usize % Self::SLOTS])
    }

    pub fn tell(&self) -> event::Strip {
        let slots: Vec<u8> = self.masks().collect();
        let runs = slots.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u8)).collect();
        event::Strip { origin: self.origin, width: self.width, newest: self.newest, runs }
    }

    /// What comes from a file may be nonsense: it becomes another strip then.
    pub fn of(told: &event::Strip) -> Strip {
        let (width, newest) = (told.width.clamp(Self::FIRST, Self::LONGEST), told.newest.min(Self::LAST));
        let mut strip = Strip { slots: [0; Self::SLOTS], origin: told.origin, newest, width };
        let first = (newest + 1).saturating_sub(Self::SLOTS as u32);
        let told = told.runs.iter().flat_map(|(what, count)| std::iter::repeat_n(*what, (*count).into()));
        for (slot, what) in (first..=newest).zip(told) {
            strip.slots[slot as usize % Self::SLOTS] = what;
        }
        strip
    }
}

/// The worst of several states.
fn worst(what: u8) -> State {
    const ORDER: [State; 6] = [State::Failed, State::Backoff, State::Held, State::Connecting, State::Queued, State::Up];
    ORDER.into_iter().find(|state| what & mask(*state, false) != 0).unwrap_or(State::Off)
}
