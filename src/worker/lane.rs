//! Defines what a worker knows of one slot: its client, what Paho is doing for it, and what is owed to the console; it decides nothing.

use std::sync::Arc;

use super::talk::Talk;
use crate::{
    event::Generation,
    paho::{Client, Pending, Route},
    wire::ClientDef,
};

pub(super) struct Lane {
    pub def: ClientDef,
    pub client: Option<Client>,
    pub phase: Phase,
    /// The generation that `phase` is about.
    pub generation: Generation,
    /// The generation whose end was not reported yet.
    pub owed: Option<Generation>,
    /// A connect that waits until Paho is through with the connection before.
    pub next: Option<(Generation, Arc<Route>)>,
    /// Where the present generation connects.
    pub route: Option<Arc<Route>>,
    /// How often Paho took the present generation's connect for another.
    pub mistaken: u8,
    pub talk: Talk,
    /// Whether the last look found it disconnected without a word.
    pub suspect: bool,
}

pub(super) enum Phase {
    Idle,
    /// The host name is being looked up.
    Resolving,
    Connecting(Pending),
    Up,
    /// A DISCONNECT was ordered.
    Leaving(Pending),
    /// The connect was given up, but Paho cannot abort one: it is cut as soon as it comes up.
    Draining(Pending),
}

impl Lane {
    pub fn new(def: ClientDef) -> Lane {
        Lane {
            def,
            client: None,
            phase: Phase::Idle,
            generation: 0,
            owed: None,
            next: None,
            route: None,
            mistaken: 0,
            talk: Talk::default(),
            suspect: false,
        }
    }
}
