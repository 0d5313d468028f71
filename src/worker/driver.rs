//! Defines what a worker does with its slots: it obeys orders and reports; it knows no limit of rate and, but for a connect that Paho took for another, never tries again on its own.
//!
//! Every generation ends once. `Lane::owed` holds the generation whose end is still to be reported,
//! and only [`Driver::finish`] takes it out.

mod due;

use std::{collections::HashMap, net::IpAddr, rc::Rc, sync::Arc, time::Duration};

use super::{
    lane::{Lane, Phase},
    names::{Answer, Names},
    outbox::Outbox,
    talk::{Talk, Turn},
    timers::{Due, Timers},
};
use crate::{
    clock::Moment,
    event::{Cause, Generation, Reason, Step},
    fleet::EndpointKey,
    paho::{Accepted, Client, End, Outcome, Paho, Route, Slots},
    text::Scrubbed,
    wire::{ClientDef, News, Remote, Slot},
};

/// How long Paho may take over a DISCONNECT: it writes one packet and closes.
const LEAVE: Duration = Duration::from_secs(2);

/// From a connect, which may make Paho look at the keep alives too seldom, until that is set right:
/// well within the shortest keep alive, and once for a burst of connects.
const SET_RIGHT: Duration = Duration::from_millis(200);

/// How often a connect that Paho took for another is tried again, within its own time. Where others
/// fail all the while, it may be taken for one of them more than once.
const MISTAKES: u8 = 3;

pub(super) struct Driver {
    paho: Rc<Paho>,
    slots: Arc<Slots>,
    lanes: Box<[Lane]>,
    timers: Timers,
    names: Names,
    pub(super) outbox: Outbox,
    next_look: Moment,
    /// Until when no timer is looked at, for Paho to send what it has.
    breath: Moment,
    next_count: Moment,
    next_glance: Moment,
    next_nudge: Moment,
    /// Which part of the slots the kernel was asked about last.
    part: Slot,
    /// The endpoints as they were told last.
    routes: HashMap<EndpointKey, Arc<Route>>,
    /// Clients that are done with and wait to be dropped.
    retired: Vec<Client>,
    /// When Paho's eye for keep alives is to be set right.
    set_right: Option<Moment>,
}

impl Driver {
    pub(super) fn new(paho: Rc<Paho>, slots: Arc<Slots>, defs: Vec<ClientDef>, names: Names) -> Driver {
        Driver {
            paho,
            slots,
            retired: Vec::new(),
            set_right: None,
            lanes: defs.into_iter().map(Lane::new).collect(),
            timers: Timers::default(),
            names,
            outbox: Outbox::default(),
            next_look: Moment::now() + due::LOOK,
            breath: Moment(0),
            next_count: Moment::now() + due::COUNT,
            next_glance: Moment::now() + due::GLANCE,
            next_nudge: Moment::now() + due::NUDGE,
            part: 0,
            routes: HashMap::new(),
        }
    }

    pub(super) fn has(&self, slot: Slot) -> bool {
        (slot as usize) < self.lanes.len()
    }

    /// When there is something to do that nothing else wakes for.
    pub(super) fn next_due(&self) -> Moment {
        let timer = self.timers.next().map(|at| at.max(self.breath));
        let known = [timer, self.set_right, Some(self.next_count), Some(self.next_glance), Some(self.next_nudge)];
        known.into_iter().flatten().fold(self.next_look, Moment::min)
    }

    /// Learns what an endpoint is, for the connects to come.
    pub(super) fn remote(&mut self, endpoint: EndpointKey, remote: Remote) {
        self.routes.insert(endpoint, Arc::new(Route::new(remote)));
    }

    pub(super) fn knows(&self, endpoint: EndpointKey) -> bool {
        self.routes.contains_key(&endpoint)
    }

    /// Obeys a connect order to an endpoint it knows. An earlier connection is cut first.
    pub(super) fn connect(&mut self, slot: Slot, generation: Generation, endpoint: EndpointKey) {
        let Some(route) = self.routes.get(&endpoint).cloned() else { return };
        self.cut(slot, "replaced by a newer order to connect");
        let lane = &mut self.lanes[slot as usize];
        lane.next = Some((generation, route));
        let deadline = Moment::now() + lane.def.connect_timeout;
        self.timers.push(deadline, slot, generation, Due::ConnectTimeout);
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

    /// Acts upon what Paho's callbacks said about a slot.
    pub(super) fn settle(&mut self, slot: Slot) {
        loop {
            let lane = &mut self.lanes[slot as usize];
            let Some(client) = lane.client.as_ref().filter(|_| !matches!(lane.phase, Phase::Idle)) else {
                if !matches!(lane.phase, Phase::Idle) || !self.start_next(slot) {
                    return;
                }
                continue;
            };
            match &mut lane.phase {
                Phase::Connecting(pending) => match client.outcome(pending) {
                    None => return,
                    Some(Outcome::Accepted(Accepted { at, connack })) => {
                        lane.phase = Phase::Up;
                        lane.suspect = false;
                        let generation = lane.generation;
                        self.outbox.news(News { slot, generation, at, step: Step::Up(Box::new(connack)) });
                        if let Some((talk, turn)) = self.turn(slot, generation) {
                            talk.begin(turn, at);
                        }
                    }
                    Some(Outcome::Mistaken(_)) if lane.mistaken < MISTAKES => {
                        lane.mistaken += 1;
                        lane.phase = Phase::Idle;
                        self.start(slot);
                    }
                    Some(Outcome::Failed(end) | Outcome::Mistaken(end)) => {
                        lane.phase = Phase::Idle;
                        self.finish(slot, end);
                    }
                },
                Phase::Up => match self.slots.take_end(slot) {
                    None => {
                        let generation = lane.generation;
                        if let Some((talk, turn)) = self.turn(slot, generation) {
                            talk.go_on(turn);
                        }
                        return;
                    }
                    Some(end) => {
                        lane.phase = Phase::Idle;
                        self.finish(slot, end);
                    }
                },
                Phase::Leaving(pending) => {
                    if !pending.is_done() && self.slots.take_end(slot).is_none() {
                        return;
                    }
                    lane.phase = Phase::Idle;
                    self.finish(slot, ordered(""));
                }
                Phase::Draining(pending) => match client.outcome(pending) {
                    None => return,
                    Some(Outcome::Accepted(_)) => {
                        lane.phase = Phase::Leaving(client.disconnect());
                        self.timers.push(Moment::now() + LEAVE, slot, lane.generation, Due::PahoTimeout);
                    }
                    Some(Outcome::Failed(_) | Outcome::Mistaken(_)) => lane.phase = Phase::Idle,
                },
                Phase::Idle | Phase::Resolving => return,
            }
        }
    }

    /// Ends what is there and what waits, without waiting for Paho.
    fn cut(&mut self, slot: Slot, why: &str) {
        let lane = &mut self.lanes[slot as usize];
        lane.talk.end();
        if let Some((generation, _)) = lane.next.take() {
            self.outbox.news(ended(slot, generation, ordered(why)));
        }
        let now = Moment::now();
        match std::mem::replace(&mut lane.phase, Phase::Idle) {
            Phase::Connecting(pending) => {
                // Paho cannot abort a connect. This one's end is told now, and kept from the next.
                lane.phase = Phase::Draining(pending);
                let patience = lane.def.connect_timeout.saturating_add(due::GIVE_UP);
                self.timers.push(now + patience, slot, lane.generation, Due::PahoTimeout);
                self.finish(slot, ordered(why));
            }
            Phase::Resolving => self.finish(slot, ordered(why)),
            Phase::Up => {
                if let Some(client) = &lane.client {
                    lane.phase = Phase::Leaving(client.disconnect());
                    self.timers.push(now + LEAVE, slot, lane.generation, Due::PahoTimeout);
                }
            }
            phase @ (Phase::Idle | Phase::Leaving(_) | Phase::Draining(_)) => lane.phase = phase,
        }
    }

    /// Starts the connect that waits, if any; true where it got as far as Paho.
    fn start_next(&mut self, slot: Slot) -> bool {
        let lane = &mut self.lanes[slot as usize];
        let Some((generation, route)) = lane.next.take() else { return false };
        lane.generation = generation;
        lane.owed = Some(generation);
        lane.talk.end();
        lane.route = Some(route);
        lane.mistaken = 0;
        self.start(slot)
    }

    /// Starts the connect of the slot's generation by its route; true where it got as far as Paho.
    fn start(&mut self, slot: Slot) -> bool {
        let lane = &mut self.lanes[slot as usize];
        let Some(route) = &lane.route else { return false };
        let answer = match route.remote().addresses.first().copied() {
            Some(address) => Some(Ok(address)),
            None => self.names.get(&first_hop(route), Moment::now()),
        };
        if answer.is_none() {
            lane.phase = Phase::Resolving;
        }
        answer.is_some_and(|answer| self.connect_to(slot, answer))
    }

    /// What a client that is up in this generation has to say, and what it says it with.
    fn turn(&mut self, slot: Slot, generation: Generation) -> Option<(&mut Talk, Turn<'_>)> {
        let Driver { lanes, timers, outbox, .. } = self;
        match &mut lanes[slot as usize] {
            Lane { phase: Phase::Up, client: Some(client), generation: present, def, talk, .. }
                if *present == generation =>
            {
                Some((talk, Turn { slot, generation, client, def, timers, outbox }))
            }
            _ => None,
        }
    }

    /// Connects those that waited for a host's address.
    pub(super) fn resolved(&mut self, host: Arc<str>, answer: Answer) {
        for slot in 0..self.lanes.len() as Slot {
            let lane = &mut self.lanes[slot as usize];
            let waits = matches!(lane.phase, Phase::Resolving);
            if waits && lane.route.as_ref().is_some_and(|r| first_hop(r) == host) {
                lane.phase = Phase::Idle;
                if self.connect_to(slot, answer.clone()) {
                    self.settle(slot);
                }
            }
        }
        self.names.learn(host, answer, Moment::now());
    }

    fn connect_to(&mut self, slot: Slot, answer: Answer) -> bool {
        let address = answer.map_err(|detail| Cause { reason: Reason::NameNotResolved, detail });
        match address.and_then(|address| self.hand_to_paho(slot, address)) {
            Ok(()) => true,
            Err(cause) => {
                self.lanes[slot as usize].phase = Phase::Idle;
                self.finish(slot, End { at: Moment::now(), cause });
                false
            }
        }
    }

    fn hand_to_paho(&mut self, slot: Slot, address: IpAddr) -> Result<(), Cause> {
        let lane = &mut self.lanes[slot as usize];
        let Some(route) = &lane.route else { return Ok(()) };
        let (client, pending) =
            Client::connect(self.slots.clone(), slot, lane.generation, lane.def.clone(), route, address)?;
        self.retired.extend(lane.client.replace(client));
        lane.phase = Phase::Connecting(pending);
        self.set_right.get_or_insert(Moment::now() + SET_RIGHT);
        Ok(())
    }

    /// Reports the end of the slot's generation, unless it was reported.
    fn finish(&mut self, slot: Slot, end: End) {
        if let Some(generation) = self.lanes[slot as usize].owed.take() {
            self.outbox.news(ended(slot, generation, end));
        }
    }
}

/// The host whose address Paho is to connect to.
fn first_hop(route: &Route) -> Arc<str> {
    let remote = &route.remote().endpoint;
    remote.proxy.as_ref().map_or(&*remote.host, |proxy| &proxy.host).into()
}

fn ordered(why: &str) -> End {
    End { at: Moment::now(), cause: Cause { reason: Reason::OperatorDisconnect, detail: Scrubbed::new(why) } }
}

fn ended(slot: Slot, generation: Generation, end: End) -> News {
    News { slot, generation, at: end.at, step: Step::Ended(end.cause) }
}
