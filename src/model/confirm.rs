//! Defines a question: what is wished, about whom, and how much must be answered before it is carried out; how it is asked is the UI's matter.

use tui_input::Input;

use crate::{
    action::Action,
    event::{Deed, Roll},
    fleet::{ClientKey, EndpointKey, Fleet},
    model::totals::Totals,
};

/// A question that must be answered before a wish is carried out.
#[derive(Clone, Debug)]
pub struct Confirm {
    pub wish: Wish,
    /// The clients meant, as they were when the key was pressed; of an endpoint, those that belong there.
    pub targets: Vec<ClientKey>,
    /// Marked clients that the filter hides; they are not among the targets.
    pub hidden: usize,
    /// The states that the targets were in.
    pub states: Totals,
    /// How much is asked, as of [`Wish::tier`].
    pub tier: u8,
    /// How a job goes about it, where it takes one: for more than one client.
    pub roll: Option<Roll>,
    /// What must be typed where so many are meant that a single key must not do.
    pub typed: Option<Typed>,
}

/// A text that must be typed, and what of it is typed so far.
#[derive(Clone, Debug)]
pub struct Typed {
    pub wanted: String,
    pub input: Input,
}

impl Typed {
    pub fn is_right(&self) -> bool {
        self.input.value().trim() == self.wanted
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Reconnect,
    Disconnect,
    /// Nobody connects to an endpoint any more.
    Hold(EndpointKey),
    Release(EndpointKey),
    /// So many connects a second to an endpoint.
    Rate {
        endpoint: EndpointKey,
        from: u32,
        to: u32,
    },
    Quit,
    /// The fleet's agent stops.
    End,
}

impl Wish {
    /// Whether what it does lasts until the operator wants something else.
    fn is_grave(self) -> bool {
        matches!(self, Wish::Disconnect | Wish::Hold(_))
    }

    /// What a job does to each of its clients, where a job carries it out.
    pub(super) fn deed(self) -> Option<Deed> {
        match self {
            Wish::Reconnect => Some(Deed::Reconnect),
            Wish::Disconnect => Some(Deed::Disconnect),
            _ => None,
        }
    }

    /// How a job goes about it for so many clients; one client takes none.
    pub(super) fn roll(self, targets: usize) -> Option<Roll> {
        self.deed().filter(|_| targets > 1).map(|_| Roll::default())
    }

    pub fn endpoint(self) -> Option<EndpointKey> {
        match self {
            Wish::Hold(endpoint) | Wish::Release(endpoint) | Wish::Rate { endpoint, .. } => Some(endpoint),
            Wish::Reconnect | Wish::Disconnect | Wish::Quit | Wish::End => None,
        }
    }

    /// How much is asked about so many clients: 0 for one, 1 for up to 50, 2 for up to a twentieth of the
    /// fleet and 1,000, 3 for more. In production everything is asked as if it were one more.
    pub(super) fn tier(self, targets: usize, fleet: &Fleet) -> u8 {
        let tier = match targets {
            0 | 1 => 0,
            2..=50 => 1,
            n if n <= 1_000 && n * 20 <= fleet.keys().count() => 2,
            _ => 3,
        };
        tier + u8::from(fleet.is_prod())
    }

    /// Whether it is asked about at all.
    pub(super) fn is_asked(self, tier: u8) -> bool {
        tier > 0 || self.is_grave()
    }
}

impl Confirm {
    /// Whether it fits beside what it is about: one key about one client.
    pub fn is_small(&self) -> bool {
        let most = if self.wish.is_grave() { 0 } else { 1 };
        !matches!(self.wish, Wish::Quit | Wish::End) && self.targets.len() <= 1 && self.tier <= most
    }

    /// Whether an action changes what is asked, and answers nothing.
    pub fn is_changed_by(&self, action: Action) -> bool {
        match action {
            Action::RateUp | Action::RateDown => self.roll.is_some() || matches!(self.wish, Wish::Rate { .. }),
            Action::SortNext | Action::SortPrevious => self.roll.is_some(),
            _ => false,
        }
    }

    pub(super) fn change(&mut self, action: Action) {
        let is_up = matches!(action, Action::RateUp | Action::SortNext);
        match (&mut self.roll, &mut self.wish) {
            (Some(roll), _) if matches!(action, Action::RateUp | Action::RateDown) => {
                roll.at_once = Roll::step(roll.at_once, is_up);
            }
            (Some(roll), _) => roll.stop_after = Roll::step(roll.stop_after, is_up),
            (None, Wish::Rate { to, .. }) => *to = changed(*to, is_up),
            _ => {}
        }
    }

    /// What must be typed: the number of clients, and from tier 4 on the name of the environment, too.
    pub(super) fn typed(tier: u8, targets: usize, fleet: &Fleet) -> Option<Typed> {
        let wanted = match tier {
            ..3 => return None,
            3 => targets.to_string(),
            _ => format!("{targets} {}", fleet.env.as_deref().unwrap_or_default()),
        };
        Some(Typed { wanted, input: Input::default() })
    }
}

/// What a fleet file may ask for at most, too.
const MAX_RATE: u32 = 100_000;

/// The next higher or lower rate.
pub(super) fn changed(rate: u32, is_up: bool) -> u32 {
    match is_up {
        true => rate.saturating_mul(3).div_ceil(2).min(MAX_RATE),
        false => (rate.saturating_mul(2) / 3).max(1),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{fleet::Client, text::Scrubbed};

    #[test]
    fn in_production_every_tier_is_one_higher() {
        let fleet = |env: Option<&str>| Fleet {
            name: Scrubbed::new("f"),
            env: env.map(Scrubbed::new),
            worker_size: 500,
            endpoints: Vec::new(),
            clients: vec![Client::new("c", EndpointKey(0), Arc::default()); 10_000],
        };
        let tiers = |env| [1, 2, 50, 51, 500, 501, 10_000].map(|n| Wish::Reconnect.tier(n, &fleet(env)));
        assert_eq!(tiers(None), [0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(tiers(Some("staging")), [0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(tiers(Some("Prod")), [1, 2, 2, 3, 3, 4, 4]);
        let wanted = |tier| Confirm::typed(tier, 501, &fleet(Some("prod"))).map(|typed| typed.wanted);
        assert_eq!([2, 3, 4].map(wanted), [None, Some("501".to_owned()), Some("501 prod".to_owned())]);
        assert!(!Wish::Reconnect.is_asked(0) && Wish::Reconnect.is_asked(1) && Wish::Hold(EndpointKey(0)).is_asked(0));
    }
}
