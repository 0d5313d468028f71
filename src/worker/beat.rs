//! Defines a worker's sign of life: when the next one is due, and what has to be alive for it; who listens is the pool's matter.

use std::time::Duration;

use crate::clock::Moment;

/// The console takes a worker that says nothing for some seconds for hung, and replaces it. The beat
/// comes from the worker's own loop, so that a loop that spins or waits for ever sends none. Paho works
/// in threads of its own; while these do not go round, the worker says nothing at all: what it could
/// report then is what it believes, not what is so.
pub(super) struct Beat {
    sent: Moment,
    is_alive: Box<dyn Fn() -> bool>,
}

impl Beat {
    /// The longest time without a frame.
    pub const EVERY: Duration = Duration::from_secs(1);

    /// `is_alive` says whether Paho went round lately; it is asked many times a second.
    pub fn new(is_alive: impl Fn() -> bool + 'static) -> Beat {
        Beat { sent: Moment(0), is_alive: Box::new(is_alive) }
    }

    /// Whether there is anything to be said for the worker.
    pub fn is_alive(&self) -> bool {
        (self.is_alive)()
    }

    /// When something has to be sent, be it empty.
    pub fn due(&self) -> Moment {
        self.sent + Self::EVERY
    }

    /// A frame went out, whichever.
    pub fn sent(&mut self, now: Moment) {
        self.sent = now;
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;

    #[test]
    fn any_frame_puts_the_next_beat_off_and_paho_decides_whether_there_is_one() {
        let paho = Rc::new(Cell::new(true));
        let mut beat = Beat::new({
            let paho = paho.clone();
            move || paho.get()
        });
        assert!(beat.is_alive() && beat.due() <= Moment(0) + Beat::EVERY);
        beat.sent(Moment(7_000_000));
        assert_eq!(beat.due(), Moment(8_000_000));
        paho.set(false);
        assert!(!beat.is_alive());
    }
}
