//! Defines how an agent takes its fleet file in anew: what is right holds from then on, and what is wrong changes nothing and is told; what becomes of the clients is the engine's matter.

use std::sync::Arc;

use super::{
    protocol::{Reload, Who},
    server::{Kept, Shared},
};
use crate::{
    clock::Moment,
    command::Command,
    engine::Revised,
    event::Level,
    fleet::{Difference, Fleet, Parts},
    text::Scrubbed,
};

/// A fleet file that was read anew.
#[derive(Debug)]
pub struct Reread {
    pub fleet: Fleet,
    /// What differs and holds only after a restart, a line each.
    pub later: Vec<String>,
    /// What is doubtful about it all the same, a line each.
    pub warnings: Vec<String>,
}

/// Why it could not be taken in.
#[derive(Debug)]
pub struct Wrong {
    /// For who asked, on several lines.
    pub text: String,
    /// For the event log: each error with its place.
    pub lines: Vec<String>,
}

impl Wrong {
    fn one(text: String) -> Wrong {
        Wrong { lines: vec![text.clone()], text }
    }
}

/// Clients that are named one by one.
const NAMED: usize = 5;

impl Shared {
    /// Reads the fleet file anew and has the fleet become what it says; done when all is ordered. What happened is
    /// told to everybody.
    ///
    /// # Errors
    /// What is wrong with the file: nothing has changed then.
    pub(super) async fn reload(self: &Arc<Self>, who: &Who) -> Result<Reload, String> {
        let _alone = self.reloading.lock().await;
        self.manager.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", Moment::now().0));
        let done = self.take_in(who).await;
        self.manager.tell("READY=1");
        if let Err(wrong) = &done {
            self.audit_reload(who, 0, wrong.lines.first().cloned().or_else(|| Some(String::new()))).await;
        }
        done.map_err(|wrong| {
            self.notice(Level::Error, &format!("{who} reloads: the fleet file is wrong, and nothing changes"));
            wrong.lines.iter().for_each(|line| self.notice(Level::Error, line));
            wrong.text
        })
    }

    async fn take_in(self: &Arc<Self>, who: &Who) -> Result<Reload, Wrong> {
        let shared = self.clone();
        // A read that hangs, or a key that takes long to open, is to hold nobody up.
        let read = tokio::task::spawn_blocking(move || (shared.reread)()).await;
        let read = read.map_err(|error| Wrong::one(format!("reading the fleet file ended by itself: {error}")))?;
        let Reread { fleet, later, warnings } = read?;
        let name = self.fleet().name.clone();
        if fleet.name != name {
            let new = &fleet.name;
            let text = format!("the fleet's name is {new:?} by now, and this is the agent of {name:?}: restart it");
            return Err(Wrong::one(text));
        }
        let fleet = self.kept().wishes.apply(fleet);
        let ended = || Wrong::one("the engine has ended".to_owned());
        let Revised { fleet, difference, connecting } = self.reviser.revise(fleet).await.ok_or_else(ended)?;
        let words = words(&fleet, &difference);
        let parts = &difference.clients;
        let count = parts.added.len() + parts.changed.len() + parts.adjusted.len() + parts.removed.len();
        self.audit_reload(who, count, None).await;
        self.notice(Level::Info, &format!("{who} reloads: {words}"));
        warnings.iter().chain(&later).for_each(|line| self.notice(Level::Warning, line));
        let (shared, of) = (self.clone(), fleet.clone());
        let orders = tokio::task::spawn_blocking(move || shared.orders_for(&of, &difference)).await;
        for order in orders.unwrap_or_default() {
            let _ = self.commands.send(order).await; // an engine that has ended closes its events
        }
        let later = later.iter().map(|line| Scrubbed::new(line)).collect();
        Ok(Reload { words: Scrubbed::new(&words), later, connecting })
    }

    /// What the operator wants of endpoints that are new; of those whose limits changed the file is the newer word.
    fn orders_for(&self, fleet: &Fleet, difference: &Difference) -> Vec<Command> {
        let mut kept = self.kept();
        let Kept { state, wishes, .. } = &mut *kept;
        if wishes.yield_to(fleet, &difference.endpoints.adjusted)
            && let Err(error) = state.keep_wishes(wishes)
        {
            self.notice(Level::Error, &format!("a restart will not know of it: {error}"));
        }
        let is_new = |command: &Command| match command {
            Command::Hold(key) | Command::SetRate(key, _) => difference.endpoints.added.contains(key),
            _ => false,
        };
        wishes.orders(fleet).into_iter().filter(is_new).collect()
    }

    async fn audit_reload(self: &Arc<Self>, who: &Who, clients: usize, refused: Option<String>) {
        let who = who.clone();
        self.audit(move |audit| audit.write_reload(&who, clients, refused.as_deref())).await;
    }
}

/// What differs, as a sentence.
fn words(fleet: &Fleet, difference: &Difference) -> String {
    let Difference { clients, endpoints } = difference;
    if difference.is_none() {
        return format!("nothing differs, {} kept", clients.kept);
    }
    let clients = part_words(clients, |key| fleet.client(*key).name.as_str());
    let endpoints = Parts { kept: 0, ..endpoints.clone() };
    let endpoints = part_words(&endpoints, |key| fleet.endpoint(*key).name.as_str());
    if endpoints.is_empty() { clients } else { format!("{clients}; endpoints: {endpoints}") }
}

fn part_words<'a, K>(parts: &Parts<K>, name: impl Fn(&K) -> &'a str) -> String {
    let Parts { added, changed, adjusted, removed, kept } = parts;
    let all = [(added, "added"), (changed, "changed"), (adjusted, "adjusted"), (removed, "removed")];
    let said = all.into_iter().filter(|(part, _)| !part.is_empty()).map(|(part, what)| match part.len() {
        1..=NAMED => format!("{} {what} ({})", part.len(), part.iter().map(&name).collect::<Vec<_>>().join(", ")),
        count => format!("{count} {what}"),
    });
    let kept = (*kept > 0).then(|| format!("{kept} kept"));
    said.chain(kept).collect::<Vec<_>>().join(", ")
}
