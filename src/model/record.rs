//! Defines a client's record over the run (time in each state, outages, and a strip of what it was when); what a state is worth on a screen is the UI's matter.

use std::time::Duration;

use crate::{
    clock::Moment,
    event::{Reason, State},
};

/// How a client did. An outage begins when its connection ends and nobody meant it to, or when it
/// cannot get one; it ends when it is up, or when the operator no longer wants it to be.
#[derive(Clone, Debug)]
pub struct Record {
    /// Microseconds in each state, in the order of [`State::ALL`], but for the present one.
    in_state: [u64; State::ALL.len()],
    state: State,
    entered: Moment,
    outage: Option<Moment>,
    /// Microseconds of outages that ended with the client up again, and how many these were.
    mending: u64,
    mended: u32,
    longest: u64,
    flaps: u32,
    strip: Strip,
}

impl Record {
    pub(super) fn new(now: Moment) -> Record {
        Record {
            in_state: [0; State::ALL.len()],
            state: State::Off,
            entered: now,
            outage: None,
            mending: 0,
            mended: 0,
            longest: 0,
            flaps: 0,
            strip: Strip::new(now),
        }
    }

    /// Notes a step; until now the client was slow, or not.
    pub(super) fn step(&mut self, at: Moment, to: State, reason: Reason, was_slow: bool) {
        self.strip.advance(at, mask(self.state, was_slow));
        self.in_state[self.state as usize] += micros(at.since(self.entered));
        let is_lost = self.state == State::Up && !is_planned(reason);
        self.flaps = self.flaps.saturating_add(is_lost.into());
        let fails = match to {
            State::Up | State::Off => false,
            State::Backoff | State::Failed => true,
            State::Held => reason.is_network() || reason.is_brokers() || reason == Reason::WorkerLost || is_lost,
            State::Queued | State::Connecting => is_lost,
        };
        if fails {
            self.outage.get_or_insert(at);
        } else if matches!(to, State::Up | State::Off)
            && let Some(begin) = self.outage.take()
        {
            let lasted = micros(at.since(begin));
            self.longest = self.longest.max(lasted);
            if to == State::Up {
                self.mending = self.mending.saturating_add(lasted);
                self.mended = self.mended.saturating_add(1);
            }
        }
        (self.state, self.entered) = (to, at);
        self.strip.touch(mask(to, false));
    }

    /// Notes that it became slow, or no longer is.
    pub(super) fn turn(&mut self, at: Moment, is_slow: bool) {
        self.strip.advance(at, mask(self.state, !is_slow));
        self.strip.touch(mask(self.state, is_slow));
    }

    /// How long it was in a state.
    pub fn time_in(&self, state: State, now: Moment) -> Duration {
        let present = if state == self.state { now.since(self.entered) } else { Duration::ZERO };
        Duration::from_micros(self.in_state[state as usize]) + present
    }

    /// The share of the time it was meant to be up that it was up, 0 to 1; `None` where it never was
    /// meant to be.
    pub fn share(&self, now: Moment) -> Option<f64> {
        let meant: Duration = State::ALL.into_iter().filter(|s| *s != State::Off).map(|s| self.time_in(s, now)).sum();
        let up = self.time_in(State::Up, now);
        (!meant.is_zero()).then(|| up.as_secs_f64() / meant.as_secs_f64())
    }

    /// How often it lost a connection that nobody meant to end.
    pub fn flaps(&self) -> u32 {
        self.flaps
    }

    /// When the present outage began, where there is one.
    pub fn outage(&self) -> Option<Moment> {
        self.outage
    }

    /// How long the longest outage took, the present one included; zero where there was none.
    pub fn longest_outage(&self, now: Moment) -> Duration {
        let present = self.outage.map(|begin| now.since(begin)).unwrap_or_default();
        Duration::from_micros(self.longest).max(present)
    }

    /// The mean time until it was up again, of the outages that ended so; and how many these are.
    pub fn mean_time_to_recover(&self) -> Option<(Duration, u32)> {
        let mean = self.mending.checked_div(self.mended.into())?;
        Some((Duration::from_micros(mean), self.mended))
    }

    /// What it was when: the worst state in each slot of time, and whether it was slow, oldest first.
    /// It goes back to the begin of the run, or for the last hour.
    pub fn strip(&self, now: Moment, is_slow: bool) -> Vec<(State, bool)> {
        let mut strip = self.strip;
        strip.advance(now, mask(self.state, is_slow));
        strip.slots()
    }

    /// Whether the strip no longer goes back to the begin of the run.
    pub fn is_strip_full(&self, now: Moment) -> bool {
        let mut strip = self.strip;
        strip.advance(now, 0);
        strip.newest as usize >= Strip::SLOTS
    }
}

/// Whether the end of a connection is part of a plan, the operator's or ours.
fn is_planned(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::OperatorReconnect
            | Reason::OperatorDisconnect
            | Reason::OperatorHold
            | Reason::Failback
            | Reason::Redirected
            | Reason::Failover
    )
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A bit for each state, in the order of [`State::ALL`], and one for slow.
fn mask(state: State, is_slow: bool) -> u8 {
    1 << state as u8 | if is_slow { SLOW } else { 0 }
}

const SLOW: u8 = 1 << State::ALL.len();

/// The states of equal slots of time. While the run is young they are short, and grow with it: all
/// of them together are the whole run, or at last the last hour.
#[derive(Clone, Copy, Debug)]
struct Strip {
    /// What it was, a bit for each, by slot number modulo `SLOTS`.
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

    fn new(now: Moment) -> Strip {
        Strip { slots: [0; Self::SLOTS], origin: now, newest: 0, width: Self::FIRST }
    }

    /// Brings it up to `now`; since the last call the client was `what`.
    fn advance(&mut self, now: Moment, what: u8) {
        self.touch(what);
        let slot = |width: u32| (now.since(self.origin).as_millis() / u128::from(width)) as u32;
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
    fn touch(&mut self, what: u8) {
        self.slots[self.newest as usize % Self::SLOTS] |= what;
    }

    fn slots(&self) -> Vec<(State, bool)> {
        let first = (self.newest + 1).saturating_sub(Self::SLOTS as u32);
        let what = (first..=self.newest).map(|slot| self.slots[slot as usize % Self::SLOTS]);
        what.map(|what| (worst(what), what & SLOW != 0)).collect()
    }
}

/// The worst of several states.
fn worst(what: u8) -> State {
    const ORDER: [State; 6] = [State::Failed, State::Backoff, State::Held, State::Connecting, State::Queued, State::Up];
    ORDER.into_iter().find(|state| what & mask(*state, false) != 0).unwrap_or(State::Off)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(1_000_000_000 + seconds * 1_000_000)
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// From second 0 on.
    fn told(story: &[(u64, State, Reason)]) -> Record {
        let mut availability = Record::new(at(0));
        story.iter().for_each(|(when, to, reason)| availability.step(at(*when), *to, *reason, false));
        availability
    }

    #[test]
    fn outages_are_what_nobody_meant() {
        use State::*;
        let a = told(&[
            (10, Queued, Reason::Start),
            (11, Connecting, Reason::Admitted),
            (12, Up, Reason::Connected),
            (100, Backoff, Reason::ConnectionLost),
            (102, Connecting, Reason::Retry),
            (103, Backoff, Reason::ConnectionRefused),
            (109, Connecting, Reason::Retry),
            (110, Up, Reason::Connected),
            (200, Queued, Reason::OperatorReconnect),
            (203, Up, Reason::Connected),
            (210, Held, Reason::WorkerLost),
            (214, Up, Reason::Connected),
            (300, Off, Reason::OperatorDisconnect),
        ]);
        assert_eq!((a.flaps(), a.outage()), (2, None));
        assert_eq!(a.longest_outage(at(999)), s(10));
        assert_eq!(a.mean_time_to_recover(), Some((s(7), 2)));
        assert_eq!(a.time_in(Up, at(999)), s(88 + 90 + 7 + 86));
        assert_eq!((a.time_in(Connecting, at(999)), a.time_in(Off, at(999))), (s(3), s(10 + 699)));
        let share = a.share(at(999)).unwrap();
        assert!((share - 271.0 / 290.0).abs() < 1e-9, "{share}");
    }

    #[test]
    fn an_outage_that_goes_on_counts() {
        use State::*;
        let a = told(&[(0, Connecting, Reason::Admitted), (1, Failed, Reason::BadCredentials)]);
        assert_eq!((a.flaps(), a.longest_outage(at(61)), a.mean_time_to_recover()), (0, s(60), None));
        assert_eq!((a.outage(), a.share(at(61))), (Some(at(1)), Some(0.0)));
        assert_eq!(Record::new(at(0)).share(at(5)), None);
        let a =
            told(&[(0, Held, Reason::EndpointUnknown), (1, Queued, Reason::EndpointOpen), (2, Up, Reason::Connected)]);
        assert_eq!((a.flaps(), a.longest_outage(at(9))), (0, Duration::ZERO), "a start is no outage");
    }

    fn drawn(a: &Record, now: u64, is_slow: bool) -> String {
        let letter = |(state, is_slow): (State, bool)| match state {
            _ if is_slow => 's',
            State::Up => '-',
            State::Off => ' ',
            State::Backoff => 'b',
            _ => 'c',
        };
        a.strip(at(now), is_slow).into_iter().map(letter).collect()
    }

    #[test]
    fn the_strip_is_the_run_and_its_slots_grow_with_it() {
        use State::*;
        let mut a = told(&[(0, Connecting, Reason::Start), (1, Up, Reason::Connected)]);
        a.step(at(60), Backoff, Reason::ConnectionLost, false);
        a.step(at(64), Up, Reason::Connected, false);
        assert_eq!(drawn(&a, 75, false), format!("c{}bb-----", "-".repeat(24)));
        assert_eq!(drawn(&a, 200, false), format!("c{}bb{}", "-".repeat(11), "-".repeat(28)));
        a.turn(at(200), true);
        a.turn(at(206), false);
        assert!(drawn(&a, 210, false).ends_with("-ss-"), "{}", drawn(&a, 210, false));
        assert!(!a.is_strip_full(at(3_599)) && a.is_strip_full(at(3_700)));
        // After an hour the oldest minute is dropped for each new one.
        assert!(drawn(&a, 3_599, false).starts_with("b-s-"), "{}", drawn(&a, 3_599, false));
        assert!(drawn(&a, 3_700, false).starts_with("-s-"), "{}", drawn(&a, 3_700, false));
        assert_eq!(drawn(&a, 9_000, true), "s".repeat(48));
        assert_eq!(drawn(&a, 9_000, false), "-".repeat(48));
    }
}
