//! Defines how long a certificate still has, and how that reads; whose certificate it is and who has to hear of it is decided elsewhere.

use std::fmt;

use chrono::{DateTime, Utc};

/// How far a certificate is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry {
    days: i64,
}

impl Expiry {
    /// A certificate that ends within so many days is worth a word.
    pub const SOON: i64 = 21;

    /// A certificate that is good until `end`, seen from `now`.
    pub fn new(end: DateTime<Utc>, now: DateTime<Utc>) -> Expiry {
        Expiry { days: (end - now).num_seconds().div_euclid(86_400) }
    }

    /// Whole days until it ends; negative when it has ended.
    pub fn days(self) -> i64 {
        self.days
    }

    pub fn is_over(self) -> bool {
        self.days < 0
    }

    /// Whether it has ended, or ends within [`Expiry::SOON`] days.
    pub fn is_soon(self) -> bool {
        self.days < Self::SOON
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.days {
            -1 => f.write_str("ended within the last day"),
            ..0 => write!(f, "ended {} days ago", -self.days - 1),
            0 => f.write_str("ends within a day"),
            1 => f.write_str("ends in 1 day"),
            days => write!(f, "ends in {days} days"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_past_ones_are_told_as_such() {
        let now: DateTime<Utc> = "2026-11-20T11:00:00Z".parse().unwrap();
        for (end, days, says) in [
            ("2026-11-20T10:59:59Z", -1, "ended within the last day"),
            ("2026-11-18T10:00:00Z", -3, "ended 2 days ago"),
            ("2026-11-21T10:59:59Z", 0, "ends within a day"),
            ("2026-11-21T11:00:00Z", 1, "ends in 1 day"),
            ("2026-12-11T10:59:59Z", 20, "ends in 20 days"),
            ("2026-12-11T11:00:00Z", 21, "ends in 21 days"),
        ] {
            let expiry = Expiry::new(end.parse().unwrap(), now);
            assert_eq!((expiry.days(), expiry.to_string().as_str()), (days, says));
            assert_eq!((expiry.is_over(), expiry.is_soon()), (days < 0, days < 21));
        }
    }
}
