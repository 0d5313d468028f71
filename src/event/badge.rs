//! Defines the badge of a client: its state as a person tells it apart at a glance, in one short word; its glyph and colour are the config's matter.

use super::{Reason, State};

/// What a row says about its client, and the header counts: its state, refined by whether it is well and by
/// who wanted it so. Each has a glyph, a word and a colour, so that none of them must be told by one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Badge {
    Up,
    /// Up, but not well.
    Slow,
    /// Up, and its probe has no answer.
    Mute,
    Connecting,
    /// Waits for its turn, or for the first word of its worker or endpoint.
    Queued,
    /// Waits for its next try.
    Backoff,
    /// Held because what it needs is dead: its endpoint, or its worker.
    Dead,
    /// Held by the operator.
    Held,
    /// Given up because the broker refused it.
    Rejected,
    Failed,
    Off,
    /// Nothing is known of it: its agent is gone.
    Unknown,
}

impl Badge {
    pub const ALL: [Badge; 12] = [
        Badge::Up,
        Badge::Slow,
        Badge::Mute,
        Badge::Connecting,
        Badge::Queued,
        Badge::Backoff,
        Badge::Dead,
        Badge::Held,
        Badge::Rejected,
        Badge::Failed,
        Badge::Off,
        Badge::Unknown,
    ];
    /// The columns of the longest word.
    pub const WORD_WIDTH: usize = 4;

    /// The badge of a state that was entered for this reason.
    pub fn of(state: State, reason: Reason) -> Badge {
        match state {
            State::Up => Badge::Up,
            State::Connecting => Badge::Connecting,
            State::Queued => Badge::Queued,
            State::Backoff => Badge::Backoff,
            State::Held if reason == Reason::OperatorHold => Badge::Held,
            State::Held if matches!(reason, Reason::Start | Reason::EndpointUnknown) => Badge::Queued,
            State::Held => Badge::Dead,
            State::Failed if reason.is_brokers() => Badge::Rejected,
            State::Failed => Badge::Failed,
            State::Off => Badge::Off,
        }
    }

    /// The word in the state column, in the header and in a filter.
    pub fn word(self) -> &'static str {
        match self {
            Badge::Up => "up",
            Badge::Slow => "slow",
            Badge::Mute => "mute",
            Badge::Connecting => "conn",
            Badge::Queued => "que",
            Badge::Backoff => "wait",
            Badge::Dead => "dead",
            Badge::Held => "held",
            Badge::Rejected => "rej",
            Badge::Failed => "fail",
            Badge::Off => "off",
            Badge::Unknown => "unk",
        }
    }

    /// All words that it is known by: the one on the screen, and the whole one where that is short for another.
    pub fn words(self) -> [&'static str; 2] {
        let whole = match self {
            Badge::Mute => "silent",
            Badge::Connecting => "connecting",
            Badge::Queued => "queued",
            Badge::Backoff => "backoff",
            Badge::Rejected => "rejected",
            Badge::Failed => "failed",
            Badge::Unknown => "unknown",
            _ => self.word(),
        };
        [self.word(), whole]
    }

    /// Whether who wears it should be up and is not. Others may be, too: who connects anew after a loss.
    pub fn is_down(self) -> bool {
        matches!(self, Badge::Backoff | Badge::Dead | Badge::Rejected | Badge::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_client_is_seen() {
        assert_eq!(Badge::of(State::Held, Reason::OperatorHold), Badge::Held);
        for reason in [Reason::ConnectionRefused, Reason::NotAuthorized, Reason::WorkerLost, Reason::Internal] {
            assert_eq!(Badge::of(State::Held, reason), Badge::Dead, "{reason:?}");
        }
        assert_eq!(Badge::of(State::Held, Reason::Start), Badge::Queued, "a start is no trouble");
        assert_eq!(Badge::of(State::Failed, Reason::NotAuthorized), Badge::Rejected);
        assert_eq!(Badge::of(State::Backoff, Reason::NotAuthorized), Badge::Backoff);
        assert!(!Badge::Held.is_down() && !Badge::Off.is_down(), "what the operator wanted");
    }
}
