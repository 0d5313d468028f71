//! Defines what a slot's connection has told of itself; who writes and reads it when is the table's matter.

use std::time::Duration;

use super::{refusals::Refusals, slots::End};
use crate::{clock::Moment, event::Generation, fleet::ProbeKind};

/// A probe is late after this long at the earliest,
const LATE: Duration = Duration::from_secs(1);

/// and after this many times what the client's probes usually take.
const LATE_TIMES: u32 = 3;

/// What is known of one slot's connection.
#[derive(Debug, Default)]
pub(super) struct Cell {
    /// The connect order that is worked on or was fulfilled; what is told of others changes nothing.
    pub generation: Generation,
    /// When the connect was ordered, when CONNECT went out, and when CONNACK came.
    pub ordered: Moment,
    pub asked: Option<Moment>,
    pub up: Option<Moment>,
    pub end: Option<End>,
    /// Whether the connection is up.
    pub is_up: bool,
    /// Whether its end was ordered.
    pub is_leaving: bool,
    /// When the PINGREQ went out that was not answered yet.
    pub ping: Option<Moment>,
    /// The message, the probe's or the client's own, that is timed and was not acknowledged yet, and when
    /// it went out.
    pub publish: Option<(u16, Moment)>,
    /// When the last message of the client's own that was timed went out.
    pub timed: Moment,
    /// When the probe was ordered that was not acknowledged yet.
    pub probing: Option<Moment>,
    /// The echo that is awaited.
    pub echo: Option<Echo>,
    /// Whether Paho did not take that probe or echo: it is still to be sent.
    pub is_refused: bool,
    /// The probe that was told to be late, by what it was late since.
    pub told: Option<Moment>,
    /// What the broker refused and nobody was told yet.
    pub refusals: Refusals,
    /// The last two round trips.
    pub round_trips: [Duration; 2],
}

impl Cell {
    /// Since when a probe of this kind has no answer, and what is to be answered. A probe that is held up
    /// before it goes out (a full socket, too many messages in flight) counts from its order; one that was
    /// told to be late since then goes on to do so.
    pub(super) fn unanswered(&self, probe: ProbeKind) -> Option<(ProbeKind, Moment)> {
        let ping = self.ping.map(|at| (ProbeKind::Heartbeat, at));
        let publish = self.publish.map(|(_, at)| at);
        let since = |ordered, sent: Option<Moment>| sent.filter(|_| self.told != Some(ordered)).unwrap_or(ordered);
        match probe {
            ProbeKind::Heartbeat => {
                ping.into_iter().chain(publish.map(|at| (ProbeKind::Ack, at))).min_by_key(|(_, at)| *at)
            }
            ProbeKind::Ack => self.probing.map(|ordered| (ProbeKind::Ack, since(ordered, publish))),
            ProbeKind::Echo => self.echo.map(|echo| (ProbeKind::Echo, since(echo.ordered, echo.sent))),
            ProbeKind::Off => None,
        }
    }

    /// When the probe that is told to be late was ordered, where it did not go out until then.
    pub(super) fn held_up(&self) -> Option<Moment> {
        let ordered = [self.probing, self.echo.map(|echo| echo.ordered)];
        self.told.filter(|told| ordered.contains(&Some(*told)))
    }

    /// How long a probe may take before it is late. One long round trip, as after an outage, does not make
    /// the next late ones look usual.
    pub(super) fn patience(&self) -> Duration {
        let [last, before] = self.round_trips;
        last.min(before).saturating_mul(LATE_TIMES).max(LATE)
    }
}

/// An echo that was ordered and did not come back yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Echo {
    pub number: u64,
    pub ordered: Moment,
    /// When it went out.
    pub sent: Option<Moment>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_late_by_what_is_usual() {
        let s = Duration::from_secs;
        let mut cell = Cell::default();
        assert_eq!(cell.patience(), s(1));
        cell.round_trips = [s(40), Duration::from_millis(20)];
        assert_eq!(cell.patience(), s(1), "one long one");
        cell.round_trips = [s(2), s(3)];
        assert_eq!(cell.patience(), s(6));
    }

    #[test]
    fn the_oldest_without_an_answer_counts() {
        use ProbeKind::{Ack, Heartbeat, Off};
        let mut cell = Cell { ping: Some(Moment(5)), publish: Some((1, Moment(4))), ..Cell::default() };
        assert_eq!(cell.unanswered(Heartbeat), Some((Ack, Moment(4))));
        assert_eq!((cell.unanswered(ProbeKind::Echo), cell.unanswered(Off)), (None, None));
        (cell.publish, cell.probing) = (None, Some(Moment(3)));
        assert_eq!(cell.unanswered(Heartbeat), Some((Heartbeat, Moment(5))));
        assert_eq!(cell.unanswered(Ack), Some((Ack, Moment(3))));
        cell.echo = Some(Echo { number: 1, ordered: Moment(7), sent: None });
        assert_eq!(cell.unanswered(ProbeKind::Echo), Some((ProbeKind::Echo, Moment(7))));
        cell.echo = Some(Echo { number: 1, ordered: Moment(7), sent: Some(Moment(8)) });
        assert_eq!(cell.unanswered(ProbeKind::Echo), Some((ProbeKind::Echo, Moment(8))));
        assert_eq!(cell.held_up(), None);
        cell.told = Some(Moment(7));
        assert_eq!((cell.unanswered(ProbeKind::Echo), cell.held_up()), (Some((ProbeKind::Echo, Moment(7))), cell.told));
        (cell.told, cell.publish) = (Some(Moment(3)), Some((1, Moment(9))));
        assert_eq!((cell.unanswered(Ack), cell.held_up()), (Some((Ack, Moment(3))), cell.told));
    }
}
