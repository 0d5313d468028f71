//! Defines the real MQTT clients: the only code that knows Paho; when to connect whom, and what a failure means for a fleet, is decided elsewhere.
//!
//! A callback of Paho runs on Paho's threads, under Paho's process-wide lock. Ours stamp, write one
//! cell of the [`Slots`] table and return; they never call Paho, which would deadlock.

mod arrivals;
mod cause;
mod cell;
mod connack;
mod guard;
mod kernel;
mod line;
mod message;
mod options;
mod packet;
mod pending;
mod raw;
mod route;
mod slots;
mod tap;
mod trouble;

use std::{
    net::IpAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use paho_mqtt as mqtt;

use self::{
    cause::Way,
    cell::Refusal,
    connack::{Times, connack},
    message::{numbered, probe_topic, qos, with_payload},
    options::{connect_options, version},
    tap::last_socket,
};
pub use self::{
    guard::GuardError,
    kernel::Reading,
    pending::Pending,
    route::Route,
    slots::{End, News, Slots, Subject},
};
use crate::{
    clock::Moment,
    event::{Cause, Connack, Generation, Reason},
    fleet::{Message, ProbeKind, Subscription},
    text::Scrubbed,
    wire::{ClientDef, Slot, TEST_NO_GUARD, TEST_NO_TAP},
};

/// From an echo's order until it counts as lost, at least.
const ECHO_LOST: Duration = Duration::from_secs(5);

/// The broadcast address: the kernel refuses to connect there before anything is sent.
const NOWHERE: &str = "tcp://255.255.255.255:1";

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("Paho cannot create a client: {0}")]
    Create(#[from] mqtt::Error),
    #[error("Paho would deadlock under load: {0}. Nothing was connected")]
    Guard(#[from] GuardError),
}

/// Paho, ready for use: guarded against its deadlock, its log tapped.
pub struct Paho {
    /// Never connected. With its last client gone Paho would tear itself down and, with the next,
    /// open another socketpair, without the guard.
    anchor: mqtt::AsyncClient,
    /// `None` in tests that do without the guard.
    waker: Option<guard::Waker>,
}

impl Paho {
    /// To be called once in a process, before any other thread opens sockets.
    pub fn start() -> Result<Paho, StartError> {
        let before = guard::candidates()?;
        let options =
            mqtt::CreateOptionsBuilder::new().server_uri(NOWHERE).client_id("anchor").persistence(None).finalize();
        let anchor = mqtt::AsyncClient::new(options)?;
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|v| v == "1");
        let waker = if is_set(TEST_NO_GUARD) { None } else { Some(guard::arm(&before)?) };
        if !is_set(TEST_NO_TAP) {
            raw::listen(raw::Listener { packet: tap::on_packet, line: tap::on_line });
        }
        Ok(Paho { anchor, waker })
    }

    /// Has what the log says go to `slots`; only the first table of a process is followed.
    pub fn follow(&self, slots: &Arc<Slots>) {
        tap::follow(slots);
    }

    /// Has Paho look at the keep alives of its clients, unless it did so in the last 100 ms.
    ///
    /// Where nothing arrives it does so once a second (`MQTTAsync_receiveThread`), and sends all the
    /// PINGREQs that fell due since: each waits for those before it, and so do the answers.
    pub fn look(&self) {
        if let Some(waker) = self.waker {
            waker.wake();
        }
    }

    /// Lets Paho look often at the keep alives of its clients; to be called after every connect.
    ///
    /// Paho looks every tenth of the keep alive that was connected with last, whoever's it is
    /// (`setRetryLoopInterval`). After a client with a long one it sends the others' PINGREQs too
    /// late, and their broker cuts them; and all that fell due since the last look go out at once,
    /// which spoils what their answers tell. A connect that cannot succeed sets it right.
    pub fn look_often(&self) {
        let mut options = mqtt::ConnectOptionsBuilder::with_mqtt_version(mqtt::MQTT_VERSION_3_1_1);
        options.keep_alive_interval(Duration::from_secs(1));
        drop(self.anchor.connect(options.finalize()));
    }
}

/// One MQTT client of Paho's, for one connection of one slot.
///
/// It is never connected twice. Where the broker cuts a connection while an order to disconnect
/// waits in Paho's queue, that order would hit the next connect, and Paho C 1.3.16 then hands the
/// failure callback of MQTT 5.0 a structure that it never filled in (`MQTTAsync_processCommand`):
/// the process dies. Destroying a client clears its queue.
pub struct Client {
    paho: mqtt::AsyncClient,
    slots: Arc<Slots>,
    slot: Slot,
    def: ClientDef,
    way: Way,
    /// Lives as long as Paho, or whoever waits for the connect, has hold of what was ordered.
    order: Weak<Order>,
}

/// What the callbacks of a connect write to.
struct Order {
    slots: Arc<Slots>,
    slot: Slot,
    generation: Generation,
}

/// A connection that the broker accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub at: Moment,
    pub connack: Connack,
}

/// How a connect ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Accepted(Accepted),
    Failed(End),
    /// Paho took another connect's failure for this one's: it may well succeed if it is tried again.
    ///
    /// Paho 1.3.16 does so where a connect was given the number of a socket that another one of the same
    /// process closed the moment before (`MQTTAsync_receiveThread` looks the client up by that number
    /// again, without having held its lock between).
    Mistaken(End),
}

/// What became of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The QoS that was granted, 0 to 2.
    Granted(u8),
    /// The broker's words, where it had any.
    Refused(Scrubbed),
    /// The connection ended before the answer.
    Ended,
}

impl Client {
    /// Creates the client and orders its connect by `route`, whose first hop (the proxy, where there
    /// is one) has this address. What files there are (trust anchors, certificate, key) Paho reads.
    pub fn connect(
        slots: Arc<Slots>,
        slot: Slot,
        generation: Generation,
        def: ClientDef,
        route: &Route,
        address: IpAddr,
    ) -> Result<(Client, Pending), Cause> {
        let internal = |words: &str| Cause { reason: Reason::Internal, detail: Scrubbed::new(words) };
        // The crate would panic over such a user name. A password is binary and may hold anything.
        if def.id.contains('\0') || def.username.as_ref().is_some_and(|name| name.contains('\0')) {
            return Err(internal("the client ID or the user name holds a NUL, which MQTT does not allow"));
        }
        let connect = connect_options(&def, route, address).map_err(|e| internal(&format!("Paho: {e}")))?;
        let remote = route.remote();
        let tls = remote.endpoint.transport.tls().is_some();
        let way = Way { proxy: remote.endpoint.proxy.is_some(), tls, identity: tls && def.identity.is_some() };
        let options = mqtt::CreateOptionsBuilder::new()
            .server_uri(options::uri(remote, address))
            .client_id(&*def.id)
            .mqtt_version(version(def.protocol))
            .persistence(None)
            .restore_messages(false)
            .send_while_disconnected(false)
            .delete_oldest_messages(false)
            // One probe is under way at a time, the rest is for the client's own messages.
            .max_buffered_messages(32)
            .finalize();
        let paho = mqtt::AsyncClient::new(options).map_err(|e| internal(&format!("Paho: {e}")))?;
        slots.open(slot, generation);
        discard_messages(&paho);

        let table = slots.clone();
        paho.set_connection_lost_callback(move |_| {
            let at = Moment::now();
            let cell = table.cell(slot);
            let cause = cause::lost(trouble::take(cell.socket, at));
            table.end(slot, generation, cell, End { at, cause });
        });
        let table = slots.clone();
        paho.set_disconnected_callback(move |_, properties, code| {
            let at = Moment::now();
            let words = properties.get_string(mqtt::PropertyCode::ReasonString);
            let cause = cause::server_disconnect(code, words);
            table.end(slot, generation, table.cell(slot), End { at, cause });
        });
        let order = Arc::new(Order { slots: slots.clone(), slot, generation });
        let (accepted, refused) = (order.clone(), order.clone());
        let token = paho.connect_with_callbacks(
            connect,
            move |_, _| {
                let at = Moment::now();
                let Order { slots, slot, generation } = &*accepted;
                let mut cell = slots.cell(*slot);
                if cell.generation == *generation {
                    cell.up = Some(at);
                    if let Some(socket) = last_socket() {
                        slots.bind(&mut cell, *slot, socket);
                    }
                }
            },
            move |_, _, rc| {
                let at = Moment::now();
                let fault = trouble::take(None, at);
                let Order { slots, slot, generation } = &*refused;
                let mut cell = slots.cell(*slot);
                if cell.generation == *generation {
                    cell.refusal = Some(Refusal { at, rc, fault });
                }
            },
        );
        let order = Arc::downgrade(&order);
        let client = Client { paho, slots, slot, def, way, order };
        let pending = client.pending(token);
        Ok((client, pending))
    }

    /// How the connect ended, if it did; asked again whenever the slot is marked.
    pub fn outcome(&self, pending: &mut Pending) -> Option<Outcome> {
        let result = pending.poll()?;
        let mut cell = self.slots.cell(self.slot);
        Some(match result {
            Ok(answer) => {
                let at = cell.up.unwrap_or_else(Moment::now);
                let times = Times { ordered: cell.ordered, asked: cell.asked, up: at };
                Outcome::Accepted(Accepted { at, connack: connack(&answer, times) })
            }
            Err(error) => {
                let refusal = cell.refusal.take();
                let is_told = refusal.is_some();
                // Without a refusal Paho did not even accept the order.
                let Refusal { at, rc, fault } = refusal.unwrap_or(Refusal { at: Moment::now(), rc: -1, fault: None });
                let is_mistaken = is_told && cause::may_be_anothers(&error, fault);
                let end = End { at, cause: cause::refused(self.def.protocol, self.way, rc, &error, fault) };
                if is_mistaken { Outcome::Mistaken(end) } else { Outcome::Failed(end) }
            }
        })
    }

    /// Whether it may be dropped. Until the callback of its connect is through, which goes on for a moment
    /// after its outcome is known, Paho's thread has a hold of the client: where that is the last one, the
    /// client is destroyed from the callback, and waits for ever for the lock that Paho calls it under.
    pub fn is_free(&self) -> bool {
        self.order.strong_count() == 0
    }

    /// Gives the client up without destroying it: Paho still owes it a callback, from which it would
    /// be destroyed otherwise, while Paho uses it.
    pub fn abandon(self) {
        std::mem::forget(self);
    }

    /// Orders a DISCONNECT. It has no effect on a client that is still connecting.
    pub fn disconnect(&self) -> Pending {
        let token = self.paho.disconnect(None);
        self.pending(token)
    }

    /// Publishes one probe, if none is under way.
    pub fn probe(&self) {
        let now = Moment::now();
        let message = match self.def.probe.kind {
            ProbeKind::Ack => self.slots.begin_probe(self.slot, now).then(|| message::ack(&self.def.id)),
            ProbeKind::Echo => {
                let patience = self.def.probe.every.saturating_mul(3).max(ECHO_LOST);
                let number = self.slots.begin_echo(self.slot, patience, now);
                number.map(|number| message::echo(&self.def.id, number))
            }
            ProbeKind::Heartbeat | ProbeKind::Off => None,
        };
        // Paho takes none where the connection is ending, of which the end tells, or where too many wait.
        if message.is_some_and(|message| self.paho.try_publish(message).is_err()) {
            self.slots.refuse_probe(self.slot);
        }
    }

    /// The topic of its probes.
    pub fn probe_topic(&self) -> String {
        probe_topic(&self.def.id)
    }

    /// Asks for one subscription; [`Client::granted`] tells what came of it.
    pub fn subscribe(&self, subscription: &Subscription) -> Pending {
        let token = self.paho.subscribe(&*subscription.filter, qos(subscription.qos));
        self.pending(token)
    }

    /// What became of a subscription; `None` while there is no answer.
    pub fn granted(&self, pending: &mut Pending) -> Option<Answer> {
        Some(match pending.poll()? {
            Ok(answer) => match answer.subscribe_response().and_then(|code| u8::try_from(code).ok()) {
                Some(qos @ 0..=2) => Answer::Granted(qos),
                Some(code) => Answer::Refused(Scrubbed::new(Reason::from_code(code).words())),
                None => Answer::Refused(Scrubbed::default()),
            },
            Err(mqtt::Error::OperationIncomplete) => Answer::Ended,
            Err(error) => Answer::Refused(cause::subscription(&error)),
        })
    }

    /// Publishes a message; false where Paho did not take it.
    pub fn publish(&self, message: &Message) -> bool {
        self.paho.try_publish(message::message(message)).is_ok()
    }

    /// Publishes the `number`th of a series of messages, which its payload may mention.
    pub fn publish_numbered(&self, message: &Message, number: u64) -> bool {
        let payload = numbered(&message.payload, number);
        self.paho.try_publish(with_payload(message, payload)).is_ok()
    }

    /// Whether Paho thinks that it is connected.
    pub fn is_connected(&self) -> bool {
        self.paho.is_connected()
    }

    fn pending(&self, token: mqtt::Token) -> Pending {
        Pending::new(token, self.slots.clone(), self.slot)
    }
}

/// Has Paho throw messages away once they have come: the tap has counted them by then.
///
/// Without a callback Paho would keep them all. The crate's own panics, on a thread of C, over a topic
/// with a NUL in it, but only where it has a closure to call. Taking that away leaves the callback:
/// `MQTTAsync_setMessageArrivedCallback` of Paho C 1.3.16 refuses a null one.
fn discard_messages(paho: &mqtt::AsyncClient) {
    paho.set_message_callback(|_, _| {});
    paho.remove_message_callback();
}
