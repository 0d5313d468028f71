//! Defines how long a client waits before it tries again; whether it tries again at all is the lifecycle's decision.

use std::time::Duration;

use crate::fleet::Strategy;

/// The wait after `failures` tries in a row (from 1), or `None` where the strategy is not to try.
///
/// Exponential waits are spread over the whole of `0..min·2ⁿ` ("full jitter"), so that clients which
/// lost their broker in the same moment do not come back in the same moment.
pub(super) fn delay(strategy: Strategy, failures: u32, random: &mut fastrand::Rng) -> Option<Duration> {
    match strategy {
        Strategy::Never => None,
        Strategy::Fixed { every } => Some(every),
        Strategy::Exponential { min, max } => {
            let doublings = failures.saturating_sub(1).min(20);
            let ceiling = min.saturating_mul(1 << doublings).min(max);
            let micros = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX - 1);
            Some(Duration::from_micros(random.u64(0..=micros)))
        }
    }
}

/// So many refusals of credentials that were good before are answered by tries within two minutes or so.
pub(super) const SOON: u32 = 4;

/// The wait before credentials that were good before are tried again after the `rejections`th refusal in a
/// row (from 1, to [`SOON`]): 2 to 4 s, then three times as long each time.
pub(super) fn soon_delay(rejections: u32, random: &mut fastrand::Rng) -> Duration {
    let least = Duration::from_secs(2) * 3_u32.pow(rejections.saturating_sub(1).min(SOON));
    least.mul_f64(1.0 + random.f64())
}

/// The wait before a broker is asked once more whether it accepts what it refused: credentials and
/// rights are mended by people, and some brokers lock out whoever fails too often. It is spread over
/// 5 to 10 minutes, then 10 to 20, then 15 to 30.
pub(super) fn slow_delay(failures: u32, random: &mut fastrand::Rng) -> Duration {
    const MINUTE: Duration = Duration::from_secs(60);
    let least = (5 * MINUTE * (1 << failures.saturating_sub(1).min(2))).min(15 * MINUTE);
    least.mul_f64(1.0 + random.f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_waits_stay_between_five_minutes_and_half_an_hour() {
        let mut random = fastrand::Rng::with_seed(7);
        for (failures, least, most) in [(1, 5, 10), (2, 10, 20), (3, 15, 30), (4_000_000_000, 15, 30)] {
            let waits: Vec<u64> = (0..500).map(|_| slow_delay(failures, &mut random).as_secs()).collect();
            assert!(waits.iter().all(|w| (least * 60..=most * 60).contains(w)), "{failures}");
            let (first, last) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            assert!(last - first > (most - least) * 54, "no jitter: {first} to {last}");
        }
    }

    #[test]
    fn exponential_waits_double_up_to_the_most_and_spread_over_all_of_it() {
        let strategy = Strategy::Exponential { min: Duration::from_secs(1), max: Duration::from_secs(8) };
        let mut random = fastrand::Rng::with_seed(7);
        for (failures, ceiling) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (4_000_000_000, 8)] {
            let waits: Vec<_> = (0..2_000).map(|_| delay(strategy, failures, &mut random).unwrap()).collect();
            let ceiling = Duration::from_secs(ceiling);
            assert!(waits.iter().all(|w| *w <= ceiling));
            for tenth in 0..10 {
                let share = waits.iter().filter(|w| (w.as_secs_f64() / ceiling.as_secs_f64() * 10.0) as u32 == tenth);
                assert!(share.count() > 120, "tenth {tenth} of {ceiling:?} is empty: no full jitter");
            }
        }
    }

    #[test]
    fn fixed_and_never() {
        let mut random = fastrand::Rng::with_seed(7);
        let every = Duration::from_secs(3);
        assert_eq!(delay(Strategy::Fixed { every }, 9, &mut random), Some(every));
        assert_eq!(delay(Strategy::Never, 1, &mut random), None);
    }
}
