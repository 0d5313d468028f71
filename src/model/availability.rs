//! Defines how much of its time a client was up, by its steps: availability, flaps, outages; what caused them and how it reads is elsewhere.

use std::time::Duration;

use crate::{
    clock::Moment,
    event::{Reason, State},
};

/// A client's time so far, in up and down. What the operator switched off is neither.
#[derive(Clone, Debug)]
pub struct Availability {
    phase: Phase,
    since: Moment,
    up: Duration,
    down: Duration,
    /// Since when it is down by a fault.
    outage: Option<Moment>,
    flaps: u32,
    recovered: u32,
    recovering: Duration,
    longest: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not meant to be up.
    Off,
    Up,
    Down,
}

/// What a step means to an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Nothing,
    /// One begins.
    Begins,
    /// One is over: the client is up, or not meant to be any more.
    Ends,
}

impl Availability {
    /// A client that is off as of `now`.
    pub fn new(now: Moment) -> Availability {
        Availability {
            phase: Phase::Off,
            since: now,
            up: Duration::ZERO,
            down: Duration::ZERO,
            outage: None,
            flaps: 0,
            recovered: 0,
            recovering: Duration::ZERO,
            longest: Duration::ZERO,
        }
    }

    /// Takes in a step, and says what it means.
    pub fn step(&mut self, at: Moment, to: State, reason: Reason) -> Turn {
        let was = self.phase;
        let phase = match to {
            State::Off => Phase::Off,
            State::Held if reason == Reason::OperatorHold => Phase::Off,
            State::Up => Phase::Up,
            State::Held | State::Queued | State::Connecting | State::Backoff | State::Failed => Phase::Down,
        };
        // Up to up: lost and back, unheard; there is no telling for how long.
        let is_lost = was == Phase::Up && phase == Phase::Down && !is_wanted(reason);
        self.flaps += u32::from(is_lost);
        let is_fault = is_lost || (was != Phase::Up && phase == Phase::Down && is_trouble(to, reason));
        self.advance(at);
        self.phase = phase;
        match (self.outage, phase) {
            (None, Phase::Down) if is_fault => {
                self.outage = Some(at);
                Turn::Begins
            }
            (Some(begin), Phase::Up | Phase::Off) => {
                let took = at.since(begin);
                self.longest = self.longest.max(took);
                if phase == Phase::Up {
                    self.recovered += 1;
                    self.recovering += took;
                }
                self.outage = None;
                Turn::Ends
            }
            _ => Turn::Nothing,
        }
    }

    /// Begins where others have seen more: it stands so since then, its time counts from `now`.
    pub fn stand(&mut self, now: Moment, since: Moment, state: State, reason: Reason) -> Turn {
        let turn = self.step(now, state, reason);
        if turn == Turn::Begins {
            self.outage = Some(since.min(now));
        }
        turn
    }

    fn advance(&mut self, now: Moment) {
        let time = now.since(self.since);
        match self.phase {
            Phase::Off => {}
            Phase::Up => self.up += time,
            Phase::Down => self.down += time,
        }
        self.since = self.since.max(now);
    }

    /// The same as of `now`.
    pub fn at(&self, now: Moment) -> Availability {
        let mut copy = self.clone();
        copy.advance(now);
        if let Some(begin) = copy.outage {
            copy.longest = copy.longest.max(now.since(begin));
        }
        copy
    }

    /// The time it was up, as of the last step; [`Availability::at`] brings it to any later time.
    pub fn up(&self) -> Duration {
        self.up
    }

    /// The time it was meant to be up, likewise.
    pub fn meant(&self) -> Duration {
        self.up + self.down
    }

    /// The share of the time it was up of the time it was meant to be, 0 to 1, likewise.
    pub fn share(&self) -> Option<f64> {
        share(self.up, self.meant())
    }

    /// How often it lost its connection, where nobody wanted that.
    pub fn flaps(&self) -> u32 {
        self.flaps
    }

    pub fn longest_outage(&self) -> Duration {
        self.longest
    }

    /// Since when it is down by a fault.
    pub fn outage(&self) -> Option<Moment> {
        self.outage
    }

    /// Outages that ended in its being up again, and the time they took together.
    pub fn recoveries(&self) -> (u32, Duration) {
        (self.recovered, self.recovering)
    }

    /// The mean time to recover.
    pub fn mean_recovery(&self) -> Option<Duration> {
        (self.recovered > 0).then(|| self.recovering / self.recovered)
    }
}

/// The share of `up` in `meant`; none of no time.
pub fn share(up: Duration, meant: Duration) -> Option<f64> {
    (!meant.is_zero()).then(|| up.as_secs_f64() / meant.as_secs_f64())
}

/// Whether a connection that ends so ends because somebody wanted it to.
fn is_wanted(reason: Reason) -> bool {
    matches!(reason, Reason::OperatorReconnect | Reason::OperatorDisconnect | Reason::OperatorHold | Reason::Failback)
}

/// Whether a client that is not up stands so because something is wrong, and not on its way.
fn is_trouble(to: State, reason: Reason) -> bool {
    match to {
        State::Backoff | State::Failed => true,
        State::Held => !matches!(reason, Reason::EndpointUnknown | Reason::Start | Reason::OperatorHold),
        State::Off | State::Queued | State::Connecting | State::Up => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn time_is_up_or_down_or_not_counted() {
        let mut a = Availability::new(at(0));
        let turns = [
            a.step(at(10), State::Held, Reason::EndpointUnknown),
            a.step(at(11), State::Connecting, Reason::Admitted),
            a.step(at(12), State::Up, Reason::Connected),
            a.step(at(42), State::Backoff, Reason::ConnectionLost),
            a.step(at(43), State::Connecting, Reason::Retry),
            a.step(at(44), State::Backoff, Reason::ConnectionRefused),
            a.step(at(52), State::Up, Reason::Connected),
            a.step(at(60), State::Queued, Reason::OperatorReconnect),
            a.step(at(61), State::Up, Reason::Connected),
            a.step(at(70), State::Off, Reason::OperatorDisconnect),
        ];
        use Turn::*;
        assert_eq!(turns, [Nothing, Nothing, Nothing, Begins, Nothing, Nothing, Ends, Nothing, Nothing, Nothing]);
        let a = a.at(at(1_000));
        assert_eq!((a.up(), a.meant()), (s(30 + 8 + 9), s(60)));
        assert_eq!((a.flaps(), a.longest_outage(), a.mean_recovery()), (1, s(10), Some(s(10))));
        assert_eq!(a.outage(), None);
    }

    #[test]
    fn an_outage_that_goes_on_counts_and_one_that_began_before_keeps_its_begin() {
        let mut a = Availability::new(at(100));
        assert_eq!(a.stand(at(100), at(40), State::Failed, Reason::BadCredentials), Turn::Begins);
        let now = a.at(at(130));
        assert_eq!((now.share(), now.longest_outage(), now.flaps()), (Some(0.0), s(90), 0));
        assert_eq!(now.mean_recovery(), None);
        assert_eq!(a.step(at(140), State::Off, Reason::OperatorDisconnect), Turn::Ends);
        assert_eq!(a.at(at(200)).meant(), s(40), "what came before is not counted");
        assert_eq!(Availability::new(at(0)).at(at(9)).share(), None);
    }
}
