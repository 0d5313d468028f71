//! Defines how a console is attached to an agent whose rows are in a store: as to any other, but that nobody commands there.

use tokio::sync::{mpsc, watch};

use super::{
    client::{Attached, Commands, End, Order},
    connection::READ_ONLY,
    protocol::Role,
    socket::AgentError,
};
use crate::{
    bus::Bus,
    store::{self, Followed},
    telling,
    text::Scrubbed,
};

/// An agent whose rows are in a store.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub store: telling::Store,
    pub fleet: String,
    pub agent: Scrubbed,
    /// What it is called here.
    pub name: Scrubbed,
}

/// Attaches to it, for as long as it is there.
///
/// # Errors
/// Where it is not, or the store is not to be had.
pub(super) async fn attach(stored: &Stored) -> Result<Attached, AgentError> {
    let Stored { store, fleet, agent, name } = stored;
    let Followed { fleet, known, begin, mut follower } = store::follow(store, fleet, agent, name).await?;
    let bus = Bus::new(begin);
    let events = bus.subscribe("console");
    let (orders, mut received) = mpsc::channel::<Order>(1);
    let (_, role) = watch::channel(Role::default());
    let (end, ended) = watch::channel(None);
    tokio::spawn(async move {
        let following = async {
            loop {
                match follower.next().await {
                    Ok(events) => bus.publish(events),
                    Err(trouble) => return trouble,
                }
            }
        };
        let refusing = async {
            while let Some((_, answer)) = received.recv().await {
                if let Some(answer) = answer {
                    let _ = answer.send(Err(READ_ONLY.to_owned()));
                }
            }
        };
        tokio::select! {
            trouble = following => {
                end.send_replace(Some(End::Lost(Scrubbed::new(&trouble.to_string()))));
                bus.close();
            }
            () = refusing => {} // nobody is attached any more
        }
    });
    Ok(Attached { fleet, known, events, commands: Commands::new(orders, role, ended), begin, ahead: 0 })
}
