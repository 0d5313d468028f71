//! Defines what is kept of one source: what it said last, as long as that may be used, and who waits for it; asking it is elsewhere.

use std::{collections::BTreeMap, sync::Weak, time::Duration};

use tokio::{task::Id, time::Instant};

use super::{Role, Wish};
use crate::fleet::{ClientKey, PasswordSource, Secret};

#[derive(Debug, Default)]
pub(super) struct Shelf {
    secret: Option<Secret>,
    /// When the source was asked last.
    asked: Option<Instant>,
    /// The task that asks it.
    pub task: Option<Id>,
    /// What goes on of that, which may be for longer than the task.
    pub read: Weak<()>,
    pub waiting: BTreeMap<ClientKey, (Wish, Role)>,
}

impl Shelf {
    /// From one run of a command to the next: one that fails, or whose words every broker refuses, is not
    /// run without a pause.
    const PAUSE: Duration = Duration::from_secs(1);

    /// What may be used without asking.
    pub(super) fn get(&self, source: &PasswordSource, now: Instant) -> Option<&Secret> {
        let PasswordSource::Command(command) = source else { return None };
        let is_good = |asked: Instant| command.every.is_none_or(|every| now.saturating_duration_since(asked) < every);
        self.secret.as_ref().filter(|_| self.asked.is_some_and(is_good))
    }

    /// When the source may be asked. It is asked then: its time begins.
    pub(super) fn ask(&mut self, source: &PasswordSource, now: Instant) -> Instant {
        let pause = if source.is_command() { Self::PAUSE } else { Duration::ZERO };
        let at = self.asked.map_or(now, |asked| now.max(asked + pause));
        self.asked = Some(at);
        at
    }

    /// Keeps what the source said, where it may be used again.
    pub(super) fn put(&mut self, source: &PasswordSource, secret: Option<&Secret>) {
        self.task = None;
        self.secret = secret.filter(|_| source.is_command()).cloned();
    }

    /// A broker refused a secret: if it is this one, nobody gets it any more.
    pub(super) fn refuse(&mut self, is_refused: impl Fn(&Secret) -> bool) {
        self.secret.take_if(|secret| is_refused(secret));
    }
}
