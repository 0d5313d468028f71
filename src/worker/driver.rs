//! Defines what a worker does with its slots: it obeys orders and reports; it never tries again on its own and knows no limit of rate.
//!
//! Every generation ends once. `Lane::owed` holds the generation whose end is still to be reported,
//! and only [`Driver::finish`] takes it out.

use std::{collections::HashMap, net::IpAddr, rc::Rc, sync::Arc, time::Duration};

use super::{
    names::{Answer, Names},
    outbox::Outbox,
    timers::{Due, Timers},
};
use crate::{
    clock::Moment,
    event::Reason,
    event::{Cause, Generation, Step},
    fleet::{EndpointKey, ProbeKind},
    paho::{Client, End, Paho, Pending, Route, Slots},
    text::Scrubbed,
    wire::{ClientDef, News, Remote, Shortfall, Slot, SlotMessages, Subscribed},
};

/// How long Paho may take over a DISCONNECT: it writes one packet and closes.
const LEAVE: Duration = Duration::from_secs(2);

/// Paho looks for connects that took too long every 3 s; beyond its own timeout and this much it
/// does not come back to one.
const GIVE_UP: Duration = Duration::from_secs(10);

/// From a connect, which may make Paho look at the keep alives too seldom, until that is set right:
/// well within the shortest keep alive, and once for a burst of connects.
const SET_RIGHT: Duration = Duration::from_millis(200);

/// The least time between two probes of a client, whatever was asked for.
const SHORTEST: Duration = Duration::from_millis(1);

/// Publishes ordered in one go. Paho looks for a free message ID through the queued commands of all
/// clients of a process (`MQTTAsync_assignMsgId`): hundreds queued at once cost it cubic time.
const BREATH_AFTER: u32 = 32;

/// The pause after that many, for Paho to send them.
const BREATH: Duration = Duration::from_millis(1);

/// The time between two looks for connections that ended without a callback.
const LOOK: Duration = Duration::from_secs(5);

/// The time between two counts of the messages that came and went.
const COUNT: Duration = Duration::from_secs(1);

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
    /// The endpoints as they were told last.
    routes: HashMap<EndpointKey, Arc<Route>>,
    /// When Paho's eye for keep alives is to be set right.
    set_right: Option<Moment>,
}

struct Lane {
    def: ClientDef,
    client: Option<Client>,
    phase: Phase,
    /// The generation that `phase` is about.
    generation: Generation,
    /// The generation whose end was not reported yet.
    owed: Option<Generation>,
    /// A connect that waits until Paho is through with the connection before.
    next: Option<(Generation, Arc<Route>)>,
    /// Where the present generation connects.
    route: Option<Arc<Route>>,
    /// Subscriptions without an answer yet, by their place in the definition.
    asked: Vec<(usize, Pending)>,
    /// Whether the greeting is over: subscriptions answered, birth published.
    greeted: bool,
    /// When the broker accepted it.
    up: Moment,
    /// The number of messages of its own traffic in this run, and how many were not reported yet.
    number: u64,
    published: u32,
    /// Whether the last look found it disconnected without a word.
    suspect: bool,
}

enum Phase {
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

impl Driver {
    pub(super) fn new(paho: Rc<Paho>, slots: Arc<Slots>, defs: Vec<ClientDef>, names: Names) -> Driver {
        let lane = |def| Lane {
            def,
            client: None,
            phase: Phase::Idle,
            generation: 0,
            owed: None,
            next: None,
            route: None,
            asked: Vec::new(),
            greeted: false,
            up: Moment(0),
            number: 0,
            published: 0,
            suspect: false,
        };
        Driver {
            paho,
            slots,
            set_right: None,
            lanes: defs.into_iter().map(lane).collect(),
            timers: Timers::default(),
            names,
            outbox: Outbox::default(),
            next_look: Moment::now() + LOOK,
            breath: Moment(0),
            next_count: Moment::now() + COUNT,
            routes: HashMap::new(),
        }
    }

    pub(super) fn has(&self, slot: Slot) -> bool {
        (slot as usize) < self.lanes.len()
    }

    /// When there is something to do that nothing else wakes for.
    pub(super) fn next_due(&self) -> Moment {
        let timer = self.timers.next().map(|at| at.max(self.breath));
        let known = [timer, self.set_right, Some(self.next_count)];
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
                    Some(Ok(accepted)) => {
                        lane.phase = Phase::Up;
                        lane.suspect = false;
                        let step = Step::Up(Box::new(accepted.connack));
                        let generation = lane.generation;
                        if lane.def.probe.kind == ProbeKind::Ack {
                            // Spread, so that clients that came up together do not probe together.
                            let first = lane.def.probe.every.mul_f64(fastrand::f64());
                            self.timers.push(accepted.at + first, slot, generation, Due::Probe);
                        }
                        self.outbox.news(News { slot, generation, at: accepted.at, step });
                        lane.asked = lane
                            .def
                            .conversation
                            .subscribe
                            .iter()
                            .enumerate()
                            .map(|(i, subscription)| (i, client.subscribe(subscription)))
                            .collect();
                        (lane.greeted, lane.up) = (false, accepted.at);
                    }
                    Some(Err(end)) => {
                        lane.phase = Phase::Idle;
                        self.finish(slot, end);
                    }
                },
                Phase::Up => match self.slots.take_end(slot) {
                    None => return self.greet(slot),
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
                    Some(Ok(_)) => {
                        lane.phase = Phase::Leaving(client.disconnect());
                        self.timers.push(Moment::now() + LEAVE, slot, lane.generation, Due::PahoTimeout);
                    }
                    Some(Err(_)) => lane.phase = Phase::Idle,
                },
                Phase::Idle | Phase::Resolving => return,
            }
        }
    }

    /// Does what has fallen due.
    pub(super) fn on_time(&mut self, now: Moment) {
        let mut publishes = 0;
        while self.breath <= now
            && publishes < BREATH_AFTER
            && let Some((slot, generation, due)) = self.timers.pop(now)
        {
            publishes += u32::from(matches!(due, Due::Probe | Due::Traffic));
            match due {
                Due::ConnectTimeout => self.connect_timeout(slot, generation, now),
                Due::PahoTimeout => self.paho_timeout(slot, generation, now),
                Due::Probe => self.probe(slot, generation, now),
                Due::Traffic => self.traffic(slot, generation, now),
            }
        }
        if publishes == BREATH_AFTER {
            self.breath = now + BREATH;
        }
        if self.set_right.is_some_and(|at| at <= now) {
            self.set_right = None;
            self.paho.look_often();
        }
        if self.next_count <= now {
            self.next_count = now + COUNT;
            self.count();
        }
        if self.next_look <= now {
            self.next_look = now + LOOK;
            self.look(now);
        }
    }

    /// Ends what is there and what waits, without waiting for Paho.
    fn cut(&mut self, slot: Slot, why: &str) {
        let lane = &mut self.lanes[slot as usize];
        lane.asked.clear();
        if let Some((generation, _)) = lane.next.take() {
            self.outbox.news(ended(slot, generation, ordered(why)));
        }
        let now = Moment::now();
        match std::mem::replace(&mut lane.phase, Phase::Idle) {
            Phase::Connecting(pending) => {
                // Paho cannot abort a connect. This one's end is told now, and kept from the next.
                lane.phase = Phase::Draining(pending);
                let patience = lane.def.connect_timeout.saturating_add(GIVE_UP);
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
        lane.asked.clear();
        let answer = match route.remote().address {
            Some(address) => Some(Ok(address)),
            None => self.names.get(first_hop(&route), Moment::now()),
        };
        lane.route = Some(route);
        if answer.is_none() {
            lane.phase = Phase::Resolving;
        }
        answer.is_some_and(|answer| self.connect_to(slot, answer))
    }

    /// Connects those that waited for a host's address.
    pub(super) fn resolved(&mut self, host: Arc<str>, answer: Answer) {
        for slot in 0..self.lanes.len() as Slot {
            let lane = &mut self.lanes[slot as usize];
            let waits = matches!(lane.phase, Phase::Resolving);
            if waits && lane.route.as_ref().is_some_and(|r| *first_hop(r) == host) {
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
        // The one before, if any, is through: Paho destroys it here, not in a callback.
        let (client, pending) =
            Client::connect(self.slots.clone(), slot, lane.generation, lane.def.clone(), route, address)?;
        lane.client = Some(client);
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

    fn connect_timeout(&mut self, slot: Slot, generation: Generation, now: Moment) {
        let lane = &mut self.lanes[slot as usize];
        let end = |detail: &str| End {
            at: now,
            cause: Cause { reason: Reason::ConnectTimeout, detail: Scrubbed::new(detail) },
        };
        if lane.next.as_ref().is_some_and(|(next, _)| *next == generation) {
            lane.next = None;
            let end = end("Paho is still busy with the connect before");
            self.outbox.news(ended(slot, generation, end));
            return;
        }
        if lane.generation != generation {
            return;
        }
        match std::mem::replace(&mut lane.phase, Phase::Idle) {
            Phase::Connecting(pending) => {
                lane.phase = Phase::Draining(pending);
                self.timers.push(now + GIVE_UP, slot, generation, Due::PahoTimeout);
                let timeout = humantime::format_duration(lane.def.connect_timeout);
                self.finish(slot, end(&format!("no CONNACK within {timeout}")));
            }
            Phase::Resolving => self.finish(slot, end("no answer about the host name")),
            phase => lane.phase = phase,
        }
    }

    fn paho_timeout(&mut self, slot: Slot, generation: Generation, now: Moment) {
        let lane = &mut self.lanes[slot as usize];
        if lane.generation != generation || !matches!(lane.phase, Phase::Leaving(_) | Phase::Draining(_)) {
            return;
        }
        match lane.client.take() {
            Some(client) if client.is_connected() => {
                lane.phase = Phase::Leaving(client.disconnect());
                lane.client = Some(client);
                self.timers.push(now + LEAVE, slot, generation, Due::PahoTimeout);
            }
            client => {
                if let Some(client) = client {
                    client.abandon();
                }
                lane.phase = Phase::Idle;
                self.finish(slot, ordered(""));
            }
        }
        self.settle(slot);
    }

    fn probe(&mut self, slot: Slot, generation: Generation, now: Moment) {
        let lane = &mut self.lanes[slot as usize];
        if let (Phase::Up, Some(client), true) = (&lane.phase, &lane.client, lane.generation == generation) {
            client.probe();
            let next = lane.def.probe.every.max(SHORTEST).mul_f64(0.9 + 0.2 * fastrand::f64());
            self.timers.push(now + next, slot, generation, Due::Probe);
        }
    }

    /// Goes on with what a client does once it is up: it subscribes, then says that it is there, then
    /// begins its traffic. What is asked of a connection that ends meanwhile ends with it.
    fn greet(&mut self, slot: Slot) {
        let lane = &mut self.lanes[slot as usize];
        let (Some(client), false) = (&lane.client, lane.greeted) else { return };
        let (generation, at) = (lane.generation, Moment::now());
        let conversation = &lane.def.conversation;
        lane.asked.retain_mut(|(i, pending)| {
            let Some(answer) = client.granted(pending) else { return true };
            let wanted = &conversation.subscribe[*i];
            let (granted, detail) = match answer {
                Ok(qos) if qos >= wanted.qos => return false,
                Ok(qos) => (Some(qos), Scrubbed::default()),
                Err(words) => (None, words),
            };
            let filter = Scrubbed::new(&wanted.filter);
            self.outbox.shortfall(Shortfall { slot, generation, at, filter, asked: wanted.qos, granted, detail });
            false
        });
        if !lane.asked.is_empty() {
            return;
        }
        lane.greeted = true;
        if !conversation.subscribe.is_empty() {
            self.outbox.subscribed(Subscribed { slot, generation, at, took: at.since(lane.up) });
        }
        if let Some(birth) = &conversation.birth {
            lane.published += u32::from(client.publish(birth));
        }
        if let Some(traffic) = &conversation.publish {
            // Spread, as the probes are.
            let first = traffic.every.mul_f64(fastrand::f64());
            self.timers.push(at + first, slot, generation, Due::Traffic);
        }
    }

    fn traffic(&mut self, slot: Slot, generation: Generation, now: Moment) {
        let lane = &mut self.lanes[slot as usize];
        let Some(traffic) = &lane.def.conversation.publish else { return };
        if let (Phase::Up, Some(client), true) = (&lane.phase, &lane.client, lane.generation == generation) {
            if client.publish_numbered(&traffic.message, lane.number + 1) {
                lane.number += 1;
                lane.published += 1;
            }
            self.timers.push(now + traffic.every.max(SHORTEST), slot, generation, Due::Traffic);
        }
    }

    /// Reports how many messages came and went since the last time.
    pub(super) fn count(&mut self) {
        for slot in 0..self.lanes.len() as Slot {
            let published = std::mem::take(&mut self.lanes[slot as usize].published);
            let received = self.slots.take_received(slot);
            if published > 0 || received > 0 {
                self.outbox.messages(SlotMessages { slot, received, published });
            }
        }
    }

    /// Looks for connections that Paho dropped without a word: twice, since a callback may be on its way.
    fn look(&mut self, now: Moment) {
        for slot in 0..self.lanes.len() as Slot {
            let lane = &mut self.lanes[slot as usize];
            let Some(client) = lane.client.as_ref().filter(|_| matches!(lane.phase, Phase::Up)) else { continue };
            if client.is_connected() {
                lane.suspect = false;
            } else if std::mem::replace(&mut lane.suspect, true) {
                lane.phase = Phase::Idle;
                let cause = Cause { reason: Reason::ConnectionLost, detail: Scrubbed::default() };
                self.finish(slot, End { at: now, cause });
                self.settle(slot);
            }
        }
    }
}

/// The host whose address Paho is to connect to.
fn first_hop(route: &Route) -> &Arc<str> {
    let remote = route.remote();
    remote.proxy.as_ref().map_or(&remote.host, |proxy| &proxy.host)
}

fn ordered(why: &str) -> End {
    End { at: Moment::now(), cause: Cause { reason: Reason::OperatorDisconnect, detail: Scrubbed::new(why) } }
}

fn ended(slot: Slot, generation: Generation, end: End) -> News {
    News { slot, generation, at: end.at, step: Step::Ended(end.cause) }
}
