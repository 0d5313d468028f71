//! Defines where the rows of a fleet's clients are kept for other hosts and programs, by the Redis protocol: an agent writes them, a list reads those of all agents; what is shown of that is elsewhere.
//!
//! An agent's part is a subscriber of the bus, on a thread and a runtime of its own. Whatever becomes of the store,
//! nobody else waits: what changes meanwhile is folded by client, and written when it is back.
//!
//! Each agent registers with a number, its epoch, and every step that it takes is one script, which first looks at
//! that: another agent of the same name fences it, and a store that has lost something says so, upon which all is
//! written anew. A step whose answer was lost is taken again, and done once.

mod acl;
mod book;
mod check;
mod entry;
mod follow;
mod keys;
mod link;
mod reader;
mod script;
mod steps;
mod writer;

use std::{io, sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::timeout};

pub use acl::lines as acl;
pub use check::{check, forget};
pub use follow::{Followed, Follower, follow, present};
pub use reader::{Seen, Snapshot, read};

use crate::{bus::Bus, fleet::Fleet, telling, text::Scrubbed};
use writer::Writer;

/// Why nothing can be had of a store, or written to it; no secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Trouble(Scrubbed);

impl Trouble {
    fn new(words: &str) -> Trouble {
        Trouble(Scrubbed::new(words))
    }
}

/// The store of a run, for as long as it lasts.
#[derive(Debug)]
pub struct Store {
    done: oneshot::Receiver<Result<(), Trouble>>,
}

impl Store {
    /// How long the last words may take to be written once the run has ended.
    const ENDING: Duration = Duration::from_secs(3);

    /// Has the rows of a run written that is to begin.
    ///
    /// # Errors
    /// Where there can be no thread for that.
    pub fn start(store: telling::Store, fleet: Arc<Fleet>, bus: &Bus) -> io::Result<Store> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (events, bus) = (bus.subscribe("store"), bus.clone());
        let (sender, done) = oneshot::channel();
        std::thread::Builder::new().name("store".into()).spawn(move || {
            let written = runtime.block_on(Writer::new(store, fleet, bus, events).run());
            runtime.shutdown_background();
            let _ = sender.send(written);
        })?;
        Ok(Store { done })
    }

    /// Waits until all that a run, which has ended, has told is written as well. Returns what is to be said where it is not.
    pub async fn finish(self) -> Option<String> {
        match timeout(Self::ENDING, self.done).await {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(trouble))) => Some(format!("what happened last is not in the store: {trouble}")),
            Ok(Err(_)) => Some("what happened last is not in the store".to_owned()),
            Err(_) => Some(format!("the store took more than {} s for what happened last", Self::ENDING.as_secs())),
        }
    }
}
