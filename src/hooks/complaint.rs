//! Defines how often an operator is told that a hook fails: at once, then with counts, and when it works again; and has it all counted.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    bus::{Bus, Delivery},
    clock::Moment,
    event::{Event, Level, What},
    text::Scrubbed,
};

/// What is told of one hook's failures.
pub(super) struct Complaint {
    bus: Bus,
    delivery: Arc<Delivery>,
    hook: Scrubbed,
    /// When the last failure was told.
    told: Option<Instant>,
    /// Failures since then that were not told.
    untold: u64,
    /// Whether it was told that it fails, and not yet that it works again.
    is_failing: bool,
}

impl Complaint {
    /// Failures are told no more often.
    const EVERY: Duration = Duration::from_secs(600);

    pub fn new(bus: Bus, delivery: Arc<Delivery>, hook: Scrubbed) -> Complaint {
        Complaint { bus, delivery, hook, told: None, untold: 0, is_failing: false }
    }

    pub fn note(&mut self, outcome: Result<(), String>) {
        match &outcome {
            Ok(()) => self.delivery.note_told(1),
            Err(_) => self.delivery.note_failed(),
        }
        match outcome {
            Ok(()) if self.is_failing => {
                self.is_failing = false;
                let text = match std::mem::take(&mut self.untold) {
                    0 => format!("hook {} works again", self.hook),
                    more => format!("hook {} works again; it failed {more} more times", self.hook),
                };
                self.tell(Level::Info, &text);
            }
            Ok(()) => {}
            Err(_) if self.told.is_some_and(|told| told.elapsed() < Self::EVERY) => self.untold += 1,
            Err(why) => {
                let more = match std::mem::take(&mut self.untold) {
                    0 => String::new(),
                    more => format!(" ({more} more failures before)"),
                };
                (self.told, self.is_failing) = (Some(Instant::now()), true);
                self.tell(Level::Warning, &format!("hook {} {why}{more}", self.hook));
            }
        }
    }

    fn tell(&self, level: Level, text: &str) {
        self.bus.publish([Event { at: Moment::now(), what: What::Notice { level, text: Scrubbed::new(text) } }]);
    }
}
