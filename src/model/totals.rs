//! Defines the counts of clients by state; what makes a client slow or rejected is its row's matter.

use crate::{event::State, model::row::Row};

/// How many clients are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    by_state: [u32; State::ALL.len()],
    /// Contained in the number of those that are up.
    pub slow: u32,
    /// Refused by the broker; contained in the number of those that failed.
    pub rejected: u32,
}

impl Totals {
    /// The counts of these rows.
    pub(super) fn count<'a>(rows: impl Iterator<Item = &'a Row>) -> Totals {
        let mut totals = Totals::default();
        rows.for_each(|row| totals.add(row));
        totals
    }

    pub fn of(&self, state: State) -> u32 {
        self.by_state[state as usize]
    }

    pub fn all(&self) -> u32 {
        self.by_state.iter().sum()
    }

    pub(super) fn add(&mut self, row: &Row) {
        self.by_state[row.state as usize] += 1;
        self.slow += u32::from(row.is_slow());
        self.rejected += u32::from(row.is_rejected());
    }

    /// Call it before the row changes, [`Totals::add`] after that.
    pub(super) fn remove(&mut self, row: &Row) {
        self.by_state[row.state as usize] -= 1;
        self.slow -= u32::from(row.is_slow());
        self.rejected -= u32::from(row.is_rejected());
    }
}
