//! Defines what a worker does with its slots: it obeys orders and reports; it knows no limit of rate, and never tries again on its own.
//!
//! Every generation ends once. `Lane::owed` holds the generation whose end is still to be reported,
//! and only [`Driver::finish`] takes it out.

mod due;

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    lane::{Lane, Next, Phase},
    outbox::Outbox,
    reach::{Answer, Reach},
    talk::{Limits, Talk, Turn},
    timers::{Due, Timers},
};
use crate::{
    clock::Moment,
    event::{Ask, Cause, ConnectOrder, Failure, Generation, Reason, StageKind, Step, Unanswered},
    fleet::{Credentials, EndpointKey},
    paho::{Accepted, Client, End, Place, Slots},
    text::Scrubbed,
    wire::{ClientDef, News, Remote, Slot},
};

/// How long Paho may take over a DISCONNECT: it writes one packet and closes.
const LEAVE: Duration = Duration::from_secs(2);

pub(super) struct Driver {
    slots: Arc<Slots>,
    lanes: Vec<Lane>,
    timers: Timers,
    reach: Reach,
    pub(super) outbox: Outbox,
    next_count: Moment,
    next_glance: Moment,
    /// When samples are collected, where anything else wakes the driver by then.
    next_samples: Moment,
    /// How many glances there were since the kernel was asked about the first part of the slots.
    glances: Slot,
    /// The endpoints as they were told last.
    remotes: HashMap<EndpointKey, Arc<Remote>>,
    /// Clients that are done with and wait to be dropped.
    retired: Vec<Client>,
}

impl Driver {
    pub(super) fn new(slots: Arc<Slots>, defs: Vec<ClientDef>, reach: Reach) -> Driver {
        Driver {
            slots,
            retired: Vec::new(),
            lanes: defs.into_iter().map(Lane::new).collect(),
            timers: Timers::default(),
            reach,
            outbox: Outbox::default(),
            next_count: Moment::now() + due::COUNT,
            next_glance: Moment::now() + due::GLANCE,
            next_samples: Moment(0),
            glances: 0,
            remotes: HashMap::new(),
        }
    }

    pub(super) fn has(&self, slot: Slot) -> bool {
        (slot as usize) < self.lanes.len()
    }

    /// When there is something to do that nothing else wakes for.
    pub(super) fn next_due(&self) -> Moment {
        let known = [self.timers.next(), Some(self.next_glance)];
        known.into_iter().flatten().fold(self.next_count, Moment::min)
    }

    /// Learns what an endpoint is, for the connects to come.
    pub(super) fn remote(&mut self, endpoint: EndpointKey, remote: Remote) {
        self.remotes.insert(endpoint, Arc::new(remote));
    }

    pub(super) fn knows(&self, endpoint: EndpointKey) -> bool {
        self.remotes.contains_key(&endpoint)
    }

    /// Takes in what a slot's client is from its next connect on, or who is in the next slot; false where there is no
    /// room for it.
    pub(super) fn define(&mut self, slot: Slot, def: ClientDef) -> bool {
        let is_next = slot as usize == self.lanes.len() && self.lanes.len() < self.slots.len();
        match self.lanes.get_mut(slot as usize) {
            Some(lane) => lane.changed = Some(Box::new(def)),
            None if is_next => self.lanes.push(Lane::new(def)),
            None => return false,
        }
        true
    }

    /// Obeys a connect order to an endpoint it knows, with what the client proves with that it is who it says, where
    /// that is new. An earlier connection is cut first.
    pub(super) fn connect(&mut self, slot: Slot, order: ConnectOrder, credentials: Option<Box<Credentials>>) {
        let Some(remote) = self.remotes.get(&order.endpoint).cloned() else { return };
        self.cut(slot, "replaced by a newer order to connect");
        let (lane, at) = (&mut self.lanes[slot as usize], Moment::now());
        lane.prepare(credentials.map(|credentials| *credentials));
        lane.next = Some(Next { order, remote, at });
        let deadline = at + lane.def.settings.connect_timeout;
        self.timers.push(deadline, slot, order.generation, Due::ConnectTimeout);
        self.settle(slot);
    }

    /// Obeys a disconnect order.
    pub(super) fn disconnect(&mut self, slot: Slot) {
        self.cut(slot, "");
        self.settle(slot);
    }

    /// Disconnects everything.
    pub(super) fn disconnect_all(&mut self) {
        for slot in 0..self.lanes.len() as Slot {
            self.disconnect(slot);
        }
    }

    /// Whether a DISCONNECT is still under way.
    pub(super) fn is_leaving(&self) -> bool {
        self.lanes.iter().any(|l| matches!(l.phase, Phase::Leaving(_)))
    }

    /// Acts upon what a slot's connection, or Paho, said.
    pub(super) fn settle(&mut self, slot: Slot) {
        loop {
            let lane = &mut self.lanes[slot as usize];
            let Some(client) = &lane.client else {
                if matches!(lane.phase, Phase::Idle) {
                    self.start_next(slot);
                }
                return;
            };
            match &mut lane.phase {
                Phase::Asking(pending) => match client.outcome(pending) {
                    None => return,
                    Some(Ok(Accepted { at, connack })) => {
                        lane.phase = Phase::Up;
                        let generation = lane.generation;
                        let limits = Limits::of(&connack);
                        self.outbox.news(News { slot, generation, at, step: Step::Up(Box::new(connack)) });
                        if let Some((talk, turn)) = self.turn(slot, generation) {
                            talk.begin(turn, at, limits);
                        }
                    }
                    Some(Err(end)) => self.close(slot, end),
                },
                Phase::Up => match self.slots.take_end(slot) {
                    None => {
                        let generation = lane.generation;
                        if let Some((talk, turn)) = self.turn(slot, generation) {
                            talk.go_on(turn);
                        }
                        return;
                    }
                    Some(end) => self.close(slot, end),
                },
                Phase::Leaving(pending) => {
                    // A fulfilled order tells so once.
                    if !client.is_gone() || !pending.is_done() {
                        return;
                    }
                    self.close(slot, ordered(""));
                }
                Phase::Idle | Phase::Reaching(_) => return,
            }
        }
    }

    /// Ends what is there and what waits.
    fn cut(&mut self, slot: Slot, why: &str) {
        let lane = &mut self.lanes[slot as usize];
        lane.talk.end();
        if let Some(Next { order, .. }) = lane.next.take() {
            self.outbox.news(ended(slot, order.generation, ordered(why)));
        }
        match &lane.phase {
            Phase::Reaching(task) => {
                task.abort();
                self.close(slot, ordered(why));
            }
            Phase::Asking(_) => {
                lane.client.iter().for_each(Client::cut);
                self.close(slot, ordered(why));
            }
            Phase::Up => {
                if let Some(client) = &lane.client {
                    lane.phase = Phase::Leaving(client.disconnect());
                    self.timers.push(Moment::now() + LEAVE, slot, lane.generation, Due::Leave);
                }
            }
            Phase::Idle | Phase::Leaving(_) => {}
        }
    }

    /// The slot's connection is over: its end is reported, and its client done with.
    fn close(&mut self, slot: Slot, end: End) {
        let lane = &mut self.lanes[slot as usize];
        lane.phase = Phase::Idle;
        lane.talk.end();
        self.retired.extend(lane.client.take());
        self.finish(slot, end);
    }

    /// Starts the connect that waits, if any.
    fn start_next(&mut self, slot: Slot) {
        let lane = &mut self.lanes[slot as usize];
        let Some(Next { order: ConnectOrder { generation, manner, .. }, remote, at }) = lane.next.take() else {
            return;
        };
        lane.dress(manner);
        self.slots.define(slot, lane.subject());
        self.slots.mute(slot, manner.is_muted);
        (lane.generation, lane.owed) = (generation, Some(generation));
        self.slots.open(slot, generation, at);
        lane.phase = Phase::Reaching(self.reach.start(slot, generation, &lane.def, remote));
    }

    /// Takes in what came of making a connection, and has Paho connect over it.
    pub(super) fn reached(&mut self, (slot, generation, remote, reached): Answer) {
        let lane = &mut self.lanes[slot as usize];
        if lane.generation != generation || !matches!(lane.phase, Phase::Reaching(_)) {
            return; // it was cut: dropping the connection closes it
        }
        let unanswered = reached.as_ref().err().and_then(hang_up);
        let connected = reached.map_err(|failure| failure.cause).and_then(|reached| {
            let place = Place { slots: self.slots.clone(), slot, generation };
            Client::connect(place, &lane.def, &remote.endpoint, reached, self.reach.runtime())
        });
        match connected {
            Ok((client, pending)) => {
                (lane.client, lane.phase) = (Some(client), Phase::Asking(pending));
            }
            Err(cause) => self.close(slot, End { at: Moment::now(), cause, unanswered }),
        }
        self.settle(slot);
    }

    /// What a client that is up in this generation has to say, and what it says it with.
    fn turn(&mut self, slot: Slot, generation: Generation) -> Option<(&mut Talk, Turn<'_>)> {
        let Driver { lanes, slots, timers, outbox, .. } = self;
        match &mut lanes[slot as usize] {
            Lane { phase: Phase::Up, client: Some(client), generation: present, def, talk, manner, .. }
                if *present == generation =>
            {
                Some((talk, Turn { slot, generation, client, def, manner: *manner, slots, timers, outbox }))
            }
            _ => None,
        }
    }

    /// Reports the end of the slot's generation, unless it was reported.
    fn finish(&mut self, slot: Slot, end: End) {
        if let Some(generation) = self.lanes[slot as usize].owed.take() {
            self.outbox.news(ended(slot, generation, end));
        }
    }
}

/// A broker that hangs up in the middle of TLS has not answered, whatever else that means.
fn hang_up(failure: &Failure) -> Option<Box<Unanswered>> {
    let is_closed = matches!(failure.cause.reason, Reason::ConnectionReset | Reason::ConnectionLost);
    (failure.stage == StageKind::Tls && is_closed).then(|| Box::new(Unanswered::new(Ask::ClientHello)))
}

fn ordered(why: &str) -> End {
    End::new(Moment::now(), Cause { reason: Reason::OperatorDisconnect, detail: Scrubbed::new(why) })
}

fn ended(slot: Slot, generation: Generation, end: End) -> News {
    News { slot, generation, at: end.at, step: Step::Ended(end.cause, end.unanswered) }
}
