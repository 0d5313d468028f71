//! Defines when a worker that was heard of before counts as silent; what becomes of it then is the supervisor's matter.

use std::time::Duration;

use tokio::time::Instant;

/// Looks at a worker that found no word from it. Only looks that came in time count: a console that
/// was stopped itself, or was too busy to listen, cannot say that nobody spoke.
#[derive(Debug)]
pub(super) struct Silence {
    looked: Instant,
    missed: u32,
}

impl Silence {
    /// A worker speaks once a second. One that is heard of no more for this long is stopped or hung:
    /// its clients' connections end soon, if they have not, and nobody would see it.
    pub const LIMIT: Duration = Duration::from_secs(5);
    /// The time between two looks.
    pub const LOOK: Duration = Duration::from_millis(250);
    /// A look that comes later than this says more about us than about the worker.
    const LATE: Duration = Duration::from_secs(1);

    pub fn new(now: Instant) -> Silence {
        Silence { looked: now, missed: 0 }
    }

    /// The worker sent something.
    pub fn hear(&mut self) {
        self.missed = 0;
    }

    /// Looks whether there was anything; true where it has been silent too long.
    pub fn look(&mut self, now: Instant) -> bool {
        let is_late = now.saturating_duration_since(self.looked) > Self::LATE;
        self.looked = now;
        self.missed = if is_late { 0 } else { self.missed + 1 };
        // The first of them came sooner after the last word than one look comes after another.
        u128::from(self.missed) > Self::LIMIT.as_millis() / Self::LOOK.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_what_was_listened_for_all_the_while() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let mut silence = Silence::new(begin);
        let looks = |from: u64, to: u64| (from..=to).step_by(250).map(at);
        assert!(looks(250, 4_750).all(|now| !silence.look(now)));
        silence.hear();
        assert!(looks(5_000, 9_750).all(|now| !silence.look(now)));
        assert!(silence.look(at(10_000)), "nothing since 4.75 s");
        // The console slept for a minute in the middle of a silence: whoever spoke may not have been heard.
        let mut silence = Silence::new(begin);
        assert!(looks(250, 4_750).all(|now| !silence.look(now)));
        assert!(!silence.look(at(64_750)));
        assert!(looks(65_000, 69_750).all(|now| !silence.look(now)));
        assert!(silence.look(at(70_000)));
    }
}
