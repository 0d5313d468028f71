//! Defines a client's record over the run (time in each state, connections lost, outages); what a state is worth on a screen, and what caused an outage, is for others to say.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    event::{self, Badge, Past, Reason, State},
    model::strip::{Strip, mask},
};

/// How a client did.
///
/// It is meant to be up unless it is off, or the operator holds its endpoint back. An outage begins
/// when its connection ends and nobody meant it to, or when it cannot get one; a start is none, nor is
/// the wait for its turn. It ends when the client is up, or not meant to be any more. A step from up to
/// up is what is left of a connection that ended and came back unheard: there is no telling whether
/// anybody meant it to or how long it took, and it counts as nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    state: State,
    past: Past,
    strip: Strip,
}

impl Record {
    /// Of a client that is off as of `now`.
    pub(super) fn new(now: Moment) -> Record {
        let past = Past { entered: now, is_idle: true, ..Past::default() };
        Record { state: State::Off, past, strip: Strip::new(now) }
    }

    /// Whether it can be counted with; what comes from elsewhere may be nonsense.
    pub(super) fn fits(&self) -> bool {
        self.strip.fits()
    }

    /// Notes a step; until now the client was slow, or not.
    pub(super) fn step(&mut self, at: Moment, to: State, reason: Reason, was_slow: bool) {
        self.strip.advance(at, mask(self.seen(), was_slow));
        self.pass(at);
        let is_idle = to == State::Off || (to == State::Held && reason == Reason::OperatorHold);
        let is_lost = self.state == State::Up && to != State::Up && !is_idle && !is_planned(reason);
        let past = &mut self.past;
        past.flaps = past.flaps.saturating_add(is_lost.into());
        if to == State::Up || is_idle {
            if let Some(begin) = past.outage.take() {
                let lasted = micros(at.since(begin));
                past.longest = past.longest.max(lasted);
                if to == State::Up {
                    past.mending = past.mending.saturating_add(lasted);
                    past.mended = past.mended.saturating_add(1);
                }
            }
        } else if is_lost || is_trouble(to, reason) {
            past.outage.get_or_insert(at);
        }
        (self.state, past.is_idle) = (to, is_idle);
        self.strip.touch(mask(self.seen(), false));
    }

    /// Notes that it became slow, or no longer is.
    pub(super) fn turn(&mut self, at: Moment, is_slow: bool) {
        self.strip.advance(at, mask(self.seen(), !is_slow));
        self.strip.touch(mask(self.seen(), is_slow));
    }

    /// Forgets what was before `begin`, but not how things stood then, nor since when.
    pub(super) fn restart(&mut self, begin: Moment) {
        let Past { entered, is_idle, outage, .. } = self.past;
        self.past = Past { entered: entered.max(begin), is_idle, outage, ..Past::default() };
    }

    /// It as it is kept over a restart, up to `now`: nobody knows whether an outage goes on after that.
    pub(super) fn keep(&self, now: Moment, is_slow: bool) -> (Past, event::Strip) {
        let mut kept = self.clone();
        kept.strip.advance(now, mask(kept.seen(), is_slow));
        kept.pass(now);
        if let Some(begin) = kept.past.outage.take() {
            kept.past.longest = kept.past.longest.max(micros(now.since(begin)));
        }
        kept.tell()
    }

    /// The record of a client that is off as of `now`, going on from what was kept by a clock that is so many
    /// microseconds earlier. The time between counts as nothing.
    pub(super) fn recall(past: &Past, strip: &event::Strip, later: i64, now: Moment) -> Record {
        let past = Past { entered: now, is_idle: true, outage: None, ..past.clone() };
        let mut strip = Strip::of(strip);
        strip.move_by(later);
        strip.advance(now, mask(State::Off, false));
        Record { state: State::Off, past, strip }
    }

    /// Tells it by a clock that is so many microseconds later.
    pub(super) fn move_by(&mut self, later: i64) {
        self.past.entered = self.past.entered.moved(later);
        self.past.outage = self.past.outage.map(|begin| begin.moved(later));
        self.strip.move_by(later);
    }

    /// What the strip shows of its state: held is only who is in trouble.
    fn seen(&self) -> State {
        match self.state {
            _ if self.past.is_idle => State::Off,
            State::Held if self.past.outage.is_none() => State::Queued,
            state => state,
        }
    }

    /// Counts the time in the present state, up to `now`.
    fn pass(&mut self, now: Moment) {
        let time = micros(now.since(self.past.entered));
        let in_state = &mut self.past.in_state[self.state as usize];
        *in_state = in_state.saturating_add(time);
        self.past.idle = self.past.idle.saturating_add(if self.past.is_idle { time } else { 0 });
        self.past.entered = self.past.entered.max(now);
    }

    /// How long it was in a state.
    pub fn time_in(&self, state: State, now: Moment) -> Duration {
        let present = if state == self.state { now.since(self.past.entered) } else { Duration::ZERO };
        Duration::from_micros(self.past.in_state[state as usize]) + present
    }

    /// How long it was meant to be up.
    pub fn meant(&self, now: Moment) -> Duration {
        let present = if self.past.is_idle { Duration::ZERO } else { now.since(self.past.entered) };
        let past: Duration = self.past.in_state.iter().map(|time| Duration::from_micros(*time)).sum();
        past.saturating_sub(Duration::from_micros(self.past.idle)) + present
    }

    /// The share of the time it was meant to be up that it was up, 0 to 1; `None` where it never was
    /// meant to be.
    pub fn share(&self, now: Moment) -> Option<f64> {
        share(self.time_in(State::Up, now), self.meant(now))
    }

    /// How often it lost a connection that nobody meant to end.
    pub fn flaps(&self) -> u32 {
        self.past.flaps
    }

    /// When the present outage began, where there is one.
    pub fn outage(&self) -> Option<Moment> {
        self.past.outage
    }

    /// How long the longest outage took, the present one included; zero where there was none.
    pub fn longest_outage(&self, now: Moment) -> Duration {
        let present = self.past.outage.map(|begin| now.since(begin)).unwrap_or_default();
        Duration::from_micros(self.past.longest).max(present)
    }

    /// Outages that ended with the client up again: how long they took together, and how many they are.
    pub fn mended(&self) -> (Duration, u32) {
        (Duration::from_micros(self.past.mending), self.past.mended)
    }

    /// The mean time until it was up again, where it ever was.
    pub fn mean_time_to_recover(&self) -> Option<Duration> {
        Some(Duration::from_micros(self.past.mending.checked_div(self.past.mended.into())?))
    }

    /// What it was when: the worst state in each slot of time, and whether it was slow, oldest first.
    /// It goes back to the begin of the run, or for the last hour.
    pub fn strip(&self, now: Moment, is_slow: bool) -> Vec<(State, bool)> {
        let mut strip = self.strip;
        strip.advance(now, mask(self.seen(), is_slow));
        strip.slots().collect()
    }

    /// Whether the strip no longer goes back to the begin of the run.
    pub fn is_strip_full(&self, now: Moment) -> bool {
        self.strip.is_full(now)
    }

    pub(super) fn tell(&self) -> (Past, event::Strip) {
        (self.past.clone(), self.strip.tell())
    }

    /// The record of a client that is in this state, as it was told.
    pub(super) fn of(state: State, past: &Past, strip: &event::Strip) -> Record {
        Record { state, past: past.clone(), strip: Strip::of(strip) }
    }
}

/// The share of `up` in `meant`, 0 to 1; none of no time.
pub fn share(up: Duration, meant: Duration) -> Option<f64> {
    (!meant.is_zero()).then(|| up.as_secs_f64() / meant.as_secs_f64())
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

/// Whether a client that is not up stands so because something is wrong, and is not just on its way.
fn is_trouble(to: State, reason: Reason) -> bool {
    match to {
        State::Backoff | State::Failed | State::Held => Badge::of(to, reason).is_down(),
        State::Off | State::Queued | State::Connecting | State::Up => false,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
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
        assert_eq!((a.mended(), a.mean_time_to_recover()), ((s(14), 2), Some(s(7))));
        assert_eq!(a.time_in(Up, at(999)), s(88 + 90 + 7 + 86));
        assert_eq!((a.time_in(Connecting, at(999)), a.time_in(Off, at(999))), (s(3), s(10 + 699)));
        let share = a.share(at(999)).unwrap();
        assert!((share - 271.0 / 290.0).abs() < 1e-9, "{share}");
    }

    #[test]
    fn what_the_operator_holds_back_is_not_meant_to_be_up() {
        use State::*;
        let mut a = told(&[
            (0, Up, Reason::Connected),
            (10, Backoff, Reason::ConnectionLost),
            (12, Held, Reason::OperatorHold),
            (50, Queued, Reason::EndpointOpen),
            (52, Connecting, Reason::Admitted),
        ]);
        assert_eq!((a.outage(), a.longest_outage(at(52)), a.mean_time_to_recover()), (None, s(2), None));
        assert_eq!((a.meant(at(60)), a.time_in(Up, at(60)), a.time_in(Held, at(60))), (s(22), s(10), s(38)));
        a.step(at(60), Up, Reason::Connected, false);
        a.step(at(70), Held, Reason::OperatorHold, false);
        assert_eq!((a.flaps(), a.outage(), a.meant(at(99))), (1, None, s(32)));
    }

    #[test]
    fn a_connection_that_came_back_unheard_counts_as_nothing() {
        use State::*;
        let a = told(&[(0, Up, Reason::Connected), (9, Up, Reason::Connected)]);
        assert_eq!((a.flaps(), a.outage(), a.share(at(20))), (0, None, Some(1.0)));
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

    #[test]
    fn a_restart_forgets_what_was_and_knows_how_it_stands() {
        use State::*;
        let mut a = told(&[
            (0, Up, Reason::Connected),
            (10, Backoff, Reason::ConnectionLost),
            (20, Up, Reason::Connected),
            (40, Failed, Reason::BadCredentials),
        ]);
        a.restart(at(100));
        assert_eq!((a.flaps(), a.mended(), a.meant(at(100))), (0, (Duration::ZERO, 0), Duration::ZERO));
        assert_eq!((a.share(at(130)), a.longest_outage(at(130))), (Some(0.0), s(90)), "it goes on since then");
        a.step(at(140), Off, Reason::OperatorDisconnect, false);
        assert_eq!((a.meant(at(200)), a.outage(), a.longest_outage(at(200))), (s(40), None, s(100)));
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
