//! Defines what is kept of what the kernel tells about a client's connection, and when that is a reason to call it slow; the figures themselves are the event's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    event::{Reading, Tcp},
};

/// The last reading of a connection, and what a few of them in a row say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub tcp: Tcp,
    /// When it was read.
    pub at: Moment,
    /// Segments that were sent again since the reading before.
    pub grown: u32,
    /// Goes up with a reading that has new retransmits, to [`Link::READINGS`], and down with another.
    rises: u8,
    is_lossy: bool,
    /// Readings in a row at which something sent was not acknowledged, and nothing came.
    stuck: u8,
}

impl Link {
    /// A single reading is no news: a segment may be sent again, or be under way, at any time.
    const READINGS: u8 = 3;

    pub(super) fn new(at: Moment, tcp: Tcp) -> Link {
        Link { tcp, at, grown: 0, rises: 0, is_lossy: false, stuck: 0 }
    }

    /// Takes in the next reading of the same connection.
    pub(super) fn update(&mut self, at: Moment, tcp: Tcp) {
        let passed = at.since(self.at);
        self.grown = tcp.retransmits.saturating_sub(self.tcp.retransmits);
        self.rises = match self.grown {
            0 => self.rises.saturating_sub(1),
            _ => (self.rises + 1).min(Self::READINGS),
        };
        self.is_lossy = self.rises == Self::READINGS || (self.is_lossy && self.rises > 0);
        let is_stuck = tcp.unacknowledged > 0 && passed > Duration::ZERO && tcp.since_received >= passed;
        self.stuck = if is_stuck { (self.stuck + 1).min(Self::READINGS) } else { 0 };
        (self.tcp, self.at) = (tcp, at);
    }

    pub(super) fn tell(&self) -> Reading {
        let Link { tcp, at, grown, rises, is_lossy, stuck } = *self;
        Reading { at, tcp, grown, rises, is_lossy, stuck }
    }

    pub(super) fn of(told: &Reading) -> Link {
        let Reading { at, tcp, grown, rises, is_lossy, stuck } = *told;
        Link { tcp, at, grown, rises: rises.min(Self::READINGS), is_lossy, stuck: stuck.min(Self::READINGS) }
    }

    /// Whether retransmits rose at three readings with no more than as many others between them; it
    /// stays so until they have stood still for three.
    pub fn is_lossy(&self) -> bool {
        self.is_lossy
    }

    /// Whether, at three readings in a row, what was sent is in flight and nothing comes back.
    pub fn is_stuck(&self) -> bool {
        self.stuck == Self::READINGS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::TcpState;

    fn tcp(retransmits: u32, unacknowledged: u32, since_received: u64) -> Tcp {
        let ms = Duration::from_millis;
        let (state, since_received) = (TcpState::Established, ms(since_received));
        Tcp {
            state,
            rtt: ms(20),
            rtt_variation: ms(4),
            retransmits,
            unacknowledged,
            since_received,
            sent: 0,
            received: 0,
        }
    }

    #[test]
    fn retransmits_matter_when_they_go_on_and_until_they_stop() {
        let mut link = Link::new(Moment(0), tcp(7, 0, 0));
        let mut told = Vec::new();
        for (n, retransmits) in [7, 8, 8, 9, 10, 12, 12, 13, 13, 13, 13, 14].into_iter().enumerate() {
            link.update(Moment(1_000_000 * (n as u64 + 1)), tcp(retransmits, 0, 0));
            told.push(link.is_lossy());
        }
        let expected = [false, false, false, false, false, true, true, true, true, true, false, false];
        assert_eq!(told, expected);
        assert_eq!((link.grown, link.tcp.retransmits), (1, 14));
    }

    #[test]
    fn what_is_in_flight_matters_when_nothing_comes_back() {
        let mut link = Link::new(Moment(0), tcp(0, 0, 0));
        let told: Vec<bool> = [(3, 1_000), (3, 2_000), (3, 3_000), (3, 4_000), (3, 10), (0, 9_000)]
            .into_iter()
            .enumerate()
            .map(|(n, (unacknowledged, since))| {
                link.update(Moment(1_000_000 * (n as u64 + 1)), tcp(0, unacknowledged, since));
                link.is_stuck()
            })
            .collect();
        assert_eq!(told, [false, false, true, true, false, false]);
    }
}
