//! Defines what is known of an endpoint's health: whether it answers, why not, and when it is asked next; asking it is the engine's matter.

use std::time::Duration;

use crate::{
    clock::Moment,
    event::{Cause, Condition},
    fleet::Strategy,
};

/// One endpoint's health, as its probes and its clients show it. A shut endpoint is asked by one
/// probe at a time, however many clients wait for it; an open one is asked only when in doubt.
#[derive(Debug)]
pub(super) struct Health {
    verdict: Verdict,
    probe: Probe,
    /// When it was asked last.
    asked: Moment,
    /// When anything good was heard of it last.
    heard: Moment,
    /// When a run of lost connections began, and how many they are.
    losses: (Moment, u32),
    /// The longest wait between two probes.
    most: Duration,
    /// How long a probe may take.
    patience: Duration,
}

#[derive(Debug)]
enum Verdict {
    Unknown,
    Open { since: Moment },
    Shut { since: Moment, cause: Cause },
}

#[derive(Debug, PartialEq)]
enum Probe {
    Idle,
    Due(Moment),
    Asked,
}

/// What the passing of time asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Due {
    Nothing,
    Probe,
    /// A probe never answered.
    Late,
}

impl Health {
    const LEAST: Duration = Duration::from_millis(500);
    const MOST: Duration = Duration::from_secs(15);
    /// The wait between two probes grows to this part of the time the endpoint has been shut: what
    /// was away for a moment is seen at once, and what was away for long at most that much later.
    const PART: u32 = 8;
    /// The least that a probe may take: the name, the connection, the proxy, TLS.
    const PATIENCE: Duration = Duration::from_secs(5);
    /// A probe that takes so much longer than it may is not waited for.
    const LATE: Duration = Duration::from_secs(50);
    /// So many connections lost within [`Health::MOMENT`] put an endpoint in doubt.
    const LOSSES: u32 = 3;
    const MOMENT: Duration = Duration::from_secs(1);
    /// After so long without good news an open endpoint is asked again before clients move to it.
    const STALE: Duration = Duration::from_secs(30);

    /// An endpoint of which nothing is known. `strategies` are those of the clients that may use it:
    /// none of them should have to wait longer for a probe than for its own retry. `patience` is the longest
    /// that any of them waits for a connect: a way that it would go through is not shut.
    pub(super) fn new(strategies: impl Iterator<Item = Strategy>, patience: Duration, now: Moment) -> Health {
        let wait = strategies.map(|strategy| match strategy {
            Strategy::Exponential { max, .. } => max,
            Strategy::Fixed { every } => every,
            Strategy::Never => Self::MOST,
        });
        let most = wait.min().unwrap_or(Self::MOST).clamp(Self::LEAST, Self::MOST);
        let patience = patience.max(Self::PATIENCE);
        let (verdict, probe) = (Verdict::Unknown, Probe::Idle);
        Health { verdict, probe, asked: now, heard: now, losses: (now, 0), most, patience }
    }

    /// Other clients may use it, or the same otherwise.
    pub(super) fn revise(&mut self, fresh: Health) {
        (self.most, self.patience) = (fresh.most, fresh.patience);
    }

    /// Nothing is known of it any more, and nobody asks.
    pub(super) fn reset(&mut self, now: Moment) {
        (self.verdict, self.probe) = (Verdict::Unknown, Probe::Idle);
        (self.asked, self.heard, self.losses) = (now, now, (now, 0));
    }

    /// How long a probe may take.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// When a probe that is under way should have ended.
    fn late(&self) -> Moment {
        self.asked + self.patience + Self::LATE
    }

    /// Whether connects may go out: it answered, and there is no doubt about it.
    pub(super) fn is_open(&self) -> bool {
        self.is_good() && self.probe == Probe::Idle
    }

    /// Whether it answered when it was asked last, be it in doubt since.
    pub(super) fn is_good(&self) -> bool {
        matches!(self.verdict, Verdict::Open { .. })
    }

    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.verdict, Verdict::Unknown)
    }

    pub(super) fn is_shut(&self) -> bool {
        matches!(self.verdict, Verdict::Shut { .. })
    }

    /// Why it is shut, and when it is asked next.
    pub(super) fn condition(&self) -> Condition {
        match &self.verdict {
            Verdict::Unknown if self.probe == Probe::Idle => Condition::Unknown,
            Verdict::Unknown => Condition::Probing,
            Verdict::Open { .. } => Condition::Open,
            Verdict::Shut { cause, .. } => {
                let next_probe = if let Probe::Due(at) = self.probe { Some(at) } else { None };
                Condition::Shut { cause: cause.clone(), next_probe }
            }
        }
    }

    /// How long it has been open without a break.
    pub(super) fn open_for(&self, now: Moment) -> Duration {
        match self.verdict {
            Verdict::Open { since } if self.probe == Probe::Idle => now.since(since),
            _ => Duration::ZERO,
        }
    }

    pub(super) fn is_stale(&self, now: Moment) -> bool {
        now.since(self.heard) > Self::STALE
    }

    /// Whether a probe has to be sent now; it counts as sent then.
    pub(super) fn ask(&mut self, now: Moment) -> bool {
        let may = self.probe != Probe::Asked;
        if may {
            self.probe = Probe::Asked;
            self.asked = now;
        }
        may
    }

    /// A probe got through.
    pub(super) fn open(&mut self, now: Moment) {
        if !self.is_good() {
            self.verdict = Verdict::Open { since: now };
        }
        self.probe = Probe::Idle;
        self.heard = now;
        self.losses = (now, 0);
    }

    /// A probe failed: the next one is due in a while.
    pub(super) fn shut(&mut self, cause: Cause, now: Moment, random: &mut fastrand::Rng) {
        let since = if let Verdict::Shut { since, .. } = self.verdict { since } else { now };
        self.verdict = Verdict::Shut { since, cause };
        let wait = (now.since(since) / Self::PART).clamp(Self::LEAST, self.most);
        self.probe = Probe::Due(now + wait.mul_f64(0.75 + 0.25 * random.f64()));
    }

    /// A client came up, or the broker spoke to it. Where that contradicts a probe, it is asked again.
    pub(super) fn hear(&mut self, now: Moment) -> bool {
        self.heard = now;
        self.is_shut() && self.ask(now)
    }

    /// It answered a client that is up. Where that contradicts a probe, it is asked again: not where the probe
    /// found what those who are up need no more, such as a certificate.
    pub(super) fn answered(&mut self, at: Moment) -> bool {
        self.heard = at.max(self.heard);
        let is_denied =
            matches!(&self.verdict, Verdict::Shut { since, cause } if cause.reason.may_be_full() && at > *since);
        is_denied && self.ask(at)
    }

    /// When anything good was heard of it last.
    pub(super) fn heard(&self) -> Moment {
        self.heard
    }

    /// A connect that began at `started` failed somewhere on the way. Whether to ask the endpoint
    /// before more of them go out: not where a later probe already knows better.
    pub(super) fn doubt(&mut self, started: Moment, now: Moment) -> bool {
        self.is_open() && started >= self.asked && self.ask(now)
    }

    /// A connection was lost. Whether there are so many that the endpoint has to be asked.
    pub(super) fn lose(&mut self, now: Moment) -> bool {
        let (since, count) = &mut self.losses;
        if now.since(*since) > Self::MOMENT {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count == Self::LOSSES && self.is_open() && self.ask(now)
    }

    /// Lets time pass; a probe that is due counts as sent.
    pub(super) fn poll(&mut self, now: Moment) -> Due {
        match self.probe {
            Probe::Due(at) if at <= now => {
                self.ask(now);
                Due::Probe
            }
            Probe::Asked if self.late() <= now => Due::Late,
            _ => Due::Nothing,
        }
    }

    /// When [`Health::poll`] has something to do next, if ever.
    pub(super) fn deadline(&self) -> Option<Moment> {
        match self.probe {
            Probe::Idle => None,
            Probe::Due(at) => Some(at),
            Probe::Asked => Some(self.late()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::Reason, text::Scrubbed};

    fn refused() -> Cause {
        Cause { reason: Reason::ConnectionRefused, detail: Scrubbed::default() }
    }

    /// How long each of the waits between probes is while an endpoint stays shut.
    fn waits(strategy: Strategy, count: usize) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(3);
        let mut now = Moment(1_000_000);
        let mut health = Health::new([strategy].into_iter(), Duration::ZERO, now);
        assert!(health.ask(now));
        let mut waits = Vec::new();
        for _ in 0..count {
            health.shut(refused(), now, &mut random);
            let next = health.deadline().unwrap();
            assert_eq!(health.poll(Moment(next.0 - 1)), Due::Nothing);
            assert_eq!(health.poll(next), Due::Probe);
            waits.push(next.since(now).as_secs_f64());
            now = next;
        }
        waits
    }

    #[test]
    fn probes_thin_out_but_never_more_than_the_clients_own_retries() {
        let patient = waits(Strategy::Exponential { min: Duration::from_secs(1), max: Duration::from_secs(120) }, 80);
        assert!(patient[..8].iter().all(|w| (0.375..=0.5).contains(w)), "{patient:?}");
        assert!(patient[70..].iter().all(|w| (11.2..=15.0).contains(w)), "{patient:?}");
        let mut gone = 0.0;
        for wait in &patient {
            assert!(*wait <= f64::max(0.5, gone / 8.0) + 1e-3, "{wait} s after {gone} s");
            gone += wait;
        }
        let hasty = waits(Strategy::Fixed { every: Duration::from_secs(1) }, 80);
        assert!(hasty.iter().all(|w| *w <= 1.0), "{hasty:?}");
        let distinct: std::collections::HashSet<u64> = hasty.iter().map(|w| (w * 1e6) as u64).collect();
        assert!(distinct.len() > 70, "no jitter");
    }

    #[test]
    fn what_began_before_the_last_probe_casts_no_doubt() {
        let at = |s: u64| Moment(s * 1_000_000);
        let mut health = Health::new([].into_iter(), Duration::ZERO, at(0));
        health.ask(at(1));
        health.open(at(2));
        assert!(health.doubt(at(3), at(4)));
        assert!(!health.doubt(at(3), at(4)), "one probe at a time");
        health.open(at(5));
        assert!(!health.doubt(at(3), at(6)));
        assert!(health.doubt(at(5), at(6)));
    }

    #[test]
    fn losses_count_only_together() {
        let at = |ms: u64| Moment(ms * 1_000);
        let mut health = Health::new([].into_iter(), Duration::ZERO, at(0));
        health.open(at(0));
        assert!((0..20).all(|n| !health.lose(at(n * 800))));
        health.open(at(20_000));
        assert_eq!([0, 1, 2, 3].map(|n| health.lose(at(30_000 + n))), [false, false, true, false]);
    }

    #[test]
    fn a_probe_that_never_answers_is_late() {
        let mut health = Health::new([].into_iter(), Duration::ZERO, Moment(0));
        assert_eq!(health.deadline(), None);
        assert!(health.ask(Moment(0)));
        assert_eq!(health.poll(health.deadline().unwrap()), Due::Late);
    }

    /// Case 4.
    #[test]
    fn a_probe_has_as_long_as_the_most_patient_client_and_is_waited_for_longer() {
        for (asked_for, patience) in [(2, 5), (10, 10), (3_600, 3_600)] {
            let mut health = Health::new([].into_iter(), Duration::from_secs(asked_for), Moment(0));
            assert_eq!(health.patience(), Duration::from_secs(patience));
            assert!(health.ask(Moment(0)));
            let at = |seconds: u64| Moment(0) + Duration::from_secs(seconds);
            assert_eq!(health.poll(at(patience + 49)), Due::Nothing);
            assert_eq!(health.deadline(), Some(at(patience + 50)));
            assert_eq!(health.poll(at(patience + 50)), Due::Late);
        }
    }
}
