//! Defines what a worker knows of one slot: its client, what is being done for it, and what is owed to the console; it decides nothing.

use std::sync::Arc;

use tokio::task::AbortHandle;

use super::talk::Talk;
use crate::{
    clock::Moment,
    event::{ConnectOrder, Generation, Manner},
    fleet::{Credentials, ProbeKind, Protocol},
    paho::{Client, Pending, Subject},
    wire::{ClientDef, Remote},
};

pub(super) struct Lane {
    /// As it is for the present connection,
    pub def: ClientDef,
    /// and what of it the fleet file says.
    own: (Protocol, ProbeKind),
    /// As it is from the next connect on, where that is otherwise.
    pub changed: Option<Box<ClientDef>>,
    /// How the present connection was ordered to be made.
    pub manner: Manner,
    pub client: Option<Client>,
    pub phase: Phase,
    /// The generation that `phase` is about.
    pub generation: Generation,
    /// The generation whose end was not reported yet.
    pub owed: Option<Generation>,
    /// A connect that waits until the connection before is closed.
    pub next: Option<Next>,
    pub talk: Talk,
}

/// An order to connect that waits.
pub(super) struct Next {
    pub order: ConnectOrder,
    pub remote: Arc<Remote>,
    /// When it came.
    pub at: Moment,
}

pub(super) enum Phase {
    Idle,
    /// A connection to the broker is being made.
    Reaching(AbortHandle),
    /// CONNECT is on its way, or waits for its CONNACK.
    Asking(Pending),
    Up,
    /// A DISCONNECT was ordered.
    Leaving(Pending),
}

impl Lane {
    pub fn new(def: ClientDef) -> Lane {
        let own = (def.settings.protocol, def.settings.probe.kind);
        Lane {
            def,
            own,
            changed: None,
            manner: Manner::default(),
            client: None,
            phase: Phase::Idle,
            generation: 0,
            owed: None,
            next: None,
            talk: Talk::default(),
        }
    }

    /// Makes the client what it is to be for the next connection.
    pub fn dress(&mut self, manner: Manner) {
        self.manner = manner;
        let (protocol, probe) = self.own;
        self.def.settings.protocol = manner.protocol.unwrap_or(protocol);
        self.def.settings.probe.kind =
            if manner.is_muted && probe != ProbeKind::Off { ProbeKind::Heartbeat } else { probe };
    }

    /// By what its next connection is measured, its probes not left out.
    pub fn subject(&self) -> Subject {
        Subject { topic: self.def.probe_topic.clone(), probe: self.own.1 }
    }

    /// Makes the client what it is by now, as a connect was ordered. What it proves with that it is who it says comes
    /// with that order, where it is new.
    pub fn prepare(&mut self, credentials: Option<Credentials>) {
        if let Some(def) = self.changed.take() {
            self.own = (def.settings.protocol, def.settings.probe.kind);
            self.def = *def;
        }
        let Some(Credentials { password, key_password }) = credentials else { return };
        self.def.password = password.or(self.def.password.take());
        if let Some(identity) = &mut self.def.identity {
            identity.key_password = key_password.or(identity.key_password.take());
        }
    }
}
