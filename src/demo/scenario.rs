//! Defines the sequence of a demo's troubles, a pure function of its seed, and the words for them; it makes none of them happen.

use std::{collections::VecDeque, time::Duration};

use super::{relay::Cut, sites::Site};

/// A trouble with a beginning and an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// Every round trip of the site takes much longer.
    Slow(Site),
    /// The site loses one connection after another.
    Drops(Site),
    /// The site is silent, and lets nobody new in.
    Dark(Site),
    /// One connection of the site is cut.
    Cut(Site),
    /// The broker's process is killed; it is back at the end.
    Crash,
}

impl Trouble {
    /// What a person should read when it begins. `clients` is the number at the site, `lasts` its length.
    pub fn begins(self, clients: usize, lasts: Duration) -> String {
        let them = if clients == 1 { "its client".to_owned() } else { format!("its {clients} clients") };
        let seconds = lasts.as_secs_f64().round();
        match self {
            Trouble::Slow(site) => format!("site {site} is slow: {them} wait for every answer"),
            Trouble::Drops(site) => format!("site {site} drops connections, one after another"),
            Trouble::Dark(site) => format!("site {site} is dark: {them} hear nothing"),
            Trouble::Cut(site) => format!("one connection of site {site} is cut"),
            Trouble::Crash => format!("broker crashed; back in {seconds} s"),
        }
    }

    /// What a person should read when it is over.
    pub fn ends(self) -> String {
        match self {
            Trouble::Slow(site) => format!("site {site} is as fast as before"),
            Trouble::Drops(site) => format!("site {site} holds its connections again"),
            Trouble::Dark(site) => format!("site {site} is back"),
            Trouble::Cut(_) => QUIET.to_owned(),
            Trouble::Crash => "broker is back: its clients return, spread by their backoff".to_owned(),
        }
    }

    /// The site it befalls; none when it is the broker's.
    pub fn site(self) -> Option<Site> {
        match self {
            Trouble::Slow(site) | Trouble::Drops(site) | Trouble::Dark(site) | Trouble::Cut(site) => Some(site),
            Trouble::Crash => None,
        }
    }
}

/// What to read when nothing is wrong.
pub(super) const QUIET: &str = "no trouble: watch the sparklines";

/// Something to do at a time since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub at: Duration,
    pub act: Act,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Begin {
        trouble: Trouble,
        lasts: Duration,
    },
    End(Trouble),
    /// The end of the trouble before has been read long enough.
    Quiet,
    /// Cut one connection of the site, without a word.
    Cut(Site, Cut),
}

/// The endless sequence of steps, in the order of their times. One trouble at a time.
pub struct Scenario {
    rng: fastrand::Rng,
    /// When the last planned trouble ends.
    free: Duration,
    /// When the next trouble begins.
    next: Duration,
    next_crash: Duration,
    /// What is still to come of the present round, in which each kind comes once.
    round: Vec<Trouble>,
    planned: VecDeque<Step>,
}

impl Scenario {
    /// The end of the first calm.
    pub const FIRST: Duration = Duration::from_secs(8);

    pub fn new(seed: u64) -> Scenario {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x5ce7_a210);
        let next_crash = seconds(&mut rng, 25.0, 45.0);
        Scenario {
            rng,
            free: Duration::ZERO,
            next: Self::FIRST,
            next_crash,
            round: Vec::new(),
            planned: VecDeque::new(),
        }
    }

    fn plan(&mut self) {
        let rng = &mut self.rng;
        let begin = self.next;
        let crash = begin >= self.next_crash;
        if crash {
            self.next_crash = begin + seconds(rng, 60.0, 85.0);
        } else if self.round.is_empty() {
            let either = |rng: &mut fastrand::Rng, a, b| if rng.bool() { a } else { b };
            self.round = vec![
                Trouble::Slow(either(rng, Site::Far, Site::Regional)),
                Trouble::Drops(Site::Bad),
                Trouble::Dark(either(rng, Site::Regional, Site::Far)),
                Trouble::Cut(Site::Near),
            ];
            rng.shuffle(&mut self.round);
        }
        let trouble = if crash { Trouble::Crash } else { self.round.pop().unwrap_or(Trouble::Crash) };
        let lasts = match trouble {
            Trouble::Slow(_) => seconds(rng, 6.0, 9.0),
            Trouble::Drops(_) => seconds(rng, 5.0, 8.0),
            Trouble::Dark(_) => seconds(rng, 6.0, 8.0),
            Trouble::Cut(_) => Duration::from_secs(4),
            Trouble::Crash => Duration::from_secs(2),
        };
        let end = begin + lasts;

        // A bad line loses a connection now and then, trouble or not.
        let mut stray = self.free + seconds(rng, 4.0, 12.0);
        while stray < begin {
            self.planned.push_back(Step { at: stray, act: Act::Cut(Site::Bad, how(rng)) });
            stray += seconds(rng, 8.0, 16.0);
        }
        self.planned.push_back(Step { at: begin, act: Act::Begin { trouble, lasts } });
        match trouble {
            Trouble::Cut(site) => self.planned.push_back(Step { at: begin, act: Act::Cut(site, how(rng)) }),
            Trouble::Drops(site) => {
                let mut at = begin;
                while at < end {
                    self.planned.push_back(Step { at, act: Act::Cut(site, how(rng)) });
                    at += seconds(rng, 0.3, 0.9);
                }
            }
            Trouble::Slow(_) | Trouble::Dark(_) | Trouble::Crash => {}
        }
        self.planned.push_back(Step { at: end, act: Act::End(trouble) });

        // A crash is followed by a longer calm, in which all can be seen to return and to rest.
        let calm = if crash { seconds(rng, 12.0, 25.0) } else { Duration::ZERO };
        self.free = end + Duration::from_secs(3);
        self.planned.push_back(Step { at: self.free, act: Act::Quiet });
        self.next = (begin + seconds(rng, 12.0, 20.0)).max(self.free + Duration::from_secs(1)) + calm;
    }
}

fn how(rng: &mut fastrand::Rng) -> Cut {
    if rng.bool() { Cut::Reset } else { Cut::Close }
}

fn seconds(rng: &mut fastrand::Rng, low: f64, high: f64) -> Duration {
    Duration::from_millis(((low + (high - low) * rng.f64()) * 1000.0) as u64)
}

impl Iterator for Scenario {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.planned.is_empty() {
            self.plan();
        }
        self.planned.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn first(seed: u64, steps: usize) -> Vec<Step> {
        Scenario::new(seed).take(steps).collect()
    }

    #[test]
    fn one_seed_tells_one_story() {
        assert_eq!(first(7, 500), first(7, 500));
        assert_ne!(first(7, 500), first(8, 500));
    }

    proptest! {
        #[test]
        fn one_trouble_at_a_time_and_each_ends(seed: u64) {
            let steps = first(seed, 400);
            prop_assert!(steps.is_sorted_by_key(|s| s.at));
            let mut now: Option<(Trouble, Duration)> = None;
            let mut begins = Vec::new();
            for step in &steps {
                match step.act {
                    Act::Begin { trouble, lasts } => {
                        prop_assert!(now.is_none(), "{trouble:?} begins within {now:?}");
                        now = Some((trouble, step.at + lasts));
                        begins.push((step.at, trouble));
                    }
                    Act::End(trouble) => prop_assert_eq!(now.take(), Some((trouble, step.at))),
                    Act::Quiet => prop_assert!(now.is_none()),
                    Act::Cut(..) => {}
                }
            }
            prop_assert_eq!(begins[0].0, Scenario::FIRST);
            for pair in begins.windows(2) {
                let gap = (pair[1].0 - pair[0].0).as_secs_f64();
                prop_assert!((12.0..46.0).contains(&gap), "{gap}");
            }
            let crashes: Vec<_> = begins.iter().filter(|b| b.1 == Trouble::Crash).map(|b| b.0).collect();
            prop_assert!(crashes[0] < Duration::from_secs(66));
            for pair in crashes.windows(2) {
                let gap = (pair[1] - pair[0]).as_secs_f64();
                prop_assert!((60.0..106.0).contains(&gap), "{gap}");
            }
        }
    }

    #[test]
    fn every_kind_of_trouble_comes_within_five_minutes() {
        let seen: std::collections::HashSet<_> = Scenario::new(1)
            .take_while(|s| s.at < Duration::from_secs(300))
            .filter_map(|s| match s.act {
                Act::Begin { trouble, .. } => Some(std::mem::discriminant(&trouble)),
                _ => None,
            })
            .collect();
        assert_eq!(seen.len(), 5);
    }

    #[test]
    fn the_words_name_the_site_and_its_clients() {
        assert_eq!(
            Trouble::Dark(Site::Regional).begins(60, Duration::from_secs(6)),
            "site regional is dark: its 60 clients hear nothing"
        );
        assert_eq!(Trouble::Crash.begins(200, Duration::from_secs(2)), "broker crashed; back in 2 s");
    }
}
