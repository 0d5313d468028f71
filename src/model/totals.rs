//! Defines the counts of clients by state and by badge; what makes a client wear a badge is its row's matter.

use serde::{Deserialize, Serialize};

use crate::{
    event::{Badge, State},
    model::row::Row,
};

/// How many clients are in each state, and how many wear each badge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    by_state: [u32; State::ALL.len()],
    by_badge: [u32; Badge::ALL.len()],
    /// Clients that should be up and are not.
    pub down: u32,
    /// Of these on their way: they connect anew, or wait for their turn to.
    pub returning: u32,
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

    pub fn wearing(&self, badge: Badge) -> u32 {
        self.by_badge[badge as usize]
    }

    /// Up, and not well: slow, or without an answer.
    pub fn slow(&self) -> u32 {
        self.wearing(Badge::Slow) + self.wearing(Badge::Mute)
    }

    pub fn all(&self) -> u32 {
        self.by_state.iter().sum()
    }

    /// Whether everybody is up who should be, and well, and there is anybody.
    pub fn is_well(&self) -> bool {
        let idle = self.wearing(Badge::Off) + self.wearing(Badge::Held);
        self.wearing(Badge::Up) > 0 && self.wearing(Badge::Up) + idle == self.all()
    }

    pub(super) fn add(&mut self, row: &Row) {
        self.change(row, |count, by| *count += by);
    }

    /// Call it before the row changes, [`Totals::add`] after that.
    pub(super) fn remove(&mut self, row: &Row) {
        self.change(row, |count, by| *count -= by);
    }

    fn change(&mut self, row: &Row, change: impl Fn(&mut u32, u32)) {
        let (badge, is_down) = (row.badge(), row.is_down());
        change(&mut self.by_state[row.state as usize], 1);
        change(&mut self.by_badge[badge as usize], 1);
        change(&mut self.down, is_down.into());
        change(&mut self.returning, (is_down && !badge.is_down()).into());
    }
}
