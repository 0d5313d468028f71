//! Defines the real MQTT clients: the only code that knows Paho; when to connect whom, and what a failure means for a fleet, is decided elsewhere.
//!
//! Paho speaks MQTT over connections that are there before it is asked to connect: it makes none itself.

mod carry;
mod cause;
mod cell;
mod connack;
mod connection;
mod connections;
mod list;
mod measure;
mod message;
mod options;
mod pending;
mod quiet;
mod refusals;
mod slots;
mod socket;
mod wrapped;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use paho_mqtt as mqtt;
use tokio::runtime::Handle;

use self::{
    cause::Way,
    connack::{Times, connack},
    connection::{Connection, Purpose},
    connections::CONNECTIONS,
    message::{numbered, qos},
    options::{connect_options, version},
};
pub use self::{
    message::length,
    pending::Pending,
    refusals::Refusal,
    slots::{End, Slots, Subject},
};
use crate::{
    clock::Moment,
    event::{Cause, Connack, Generation, Reason, Stage, Tcp},
    fleet::{Endpoint, Message, Probe, ProbeKind, Subscription},
    text::Scrubbed,
    transport::Stream,
    wire::{ClientDef, Slot},
};

/// From an echo's order until it counts as lost, at least.
const ECHO_LOST: Duration = Duration::from_secs(5);

/// Three times what its receive thread waits at most.
const SILENT: Duration = Duration::from_secs(3);

/// Names no connection: to connect there fails at once.
const NOWHERE: &str = "tcp://nowhere:1";

/// Paho, ready for use.
pub struct Paho {
    /// Never connected. With its last client gone Paho would tear itself down, and set itself up anew with the
    /// next.
    _anchor: mqtt::AsyncClient,
}

impl Paho {
    /// To be called once in a process, before any other thread runs.
    ///
    /// # Errors
    /// Where Paho has no memory for a client.
    pub fn start() -> mqtt::Result<Paho> {
        quiet::quiet();
        let options =
            mqtt::CreateOptionsBuilder::new().server_uri(NOWHERE).client_id("anchor").persistence(None).finalize();
        Ok(Paho { _anchor: mqtt::AsyncClient::new(options)? })
    }

    /// Whether its receive thread went round lately, which it does once a second from the first connect on.
    pub fn is_alive(&self, now: Moment) -> bool {
        let cycled = CONNECTIONS.cycled();
        cycled == Moment(0) || now.since(cycled) < SILENT
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
    connection: Arc<Connection>,
    slots: Arc<Slots>,
    slot: Slot,
    probe: Probe,
    probe_topic: Arc<str>,
    stages: Vec<Stage>,
    /// Lives as long as Paho, or whoever waits for the connect, has hold of what was ordered.
    order: Weak<()>,
}

/// A connection that can carry MQTT, and how it came about.
pub struct Reached {
    pub stream: Stream,
    pub stages: Vec<Stage>,
}

/// A connection that the broker accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub at: Moment,
    pub connack: Connack,
}

/// How a connect ended.
pub type Outcome = Result<Accepted, End>;

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

/// Of which slot, and which of its connections.
#[derive(Clone)]
pub struct Place {
    pub slots: Arc<Slots>,
    pub slot: Slot,
    pub generation: Generation,
}

impl Client {
    /// Creates the client and has it connect over what was reached; `runtime` carries its bytes. The
    /// slot's cell is open for this generation.
    pub fn connect(
        place: Place,
        def: &ClientDef,
        endpoint: &Endpoint,
        reached: Reached,
        runtime: &Handle,
    ) -> Result<(Client, Pending), Cause> {
        let internal = |words: &str| Cause { reason: Reason::Internal, detail: Scrubbed::new(words) };
        // The crate would panic over such a user name. A password is binary and may hold anything.
        if def.id.contains('\0') || def.username.as_ref().is_some_and(|name| name.contains('\0')) {
            return Err(internal("the client ID or the user name holds a NUL, which MQTT does not allow"));
        }
        let connect = connect_options(def).map_err(|e| internal(&format!("Paho: {e}")))?;
        let tls = endpoint.transport.tls().is_some();
        let Place { slots, slot, generation } = place;
        let purpose = Purpose {
            slots: slots.clone(),
            slot,
            generation,
            protocol: def.settings.protocol,
            maximum_packet_size: def.settings.maximum_packet_size,
            way: Way { tls },
        };
        let connection = Connection::open(reached.stream, purpose, runtime);
        let options = mqtt::CreateOptionsBuilder::new()
            .server_uri(format!("tcp://{}:1", connection.number))
            .client_id(&*def.id)
            .mqtt_version(version(def.settings.protocol))
            .persistence(None)
            .restore_messages(false)
            .send_while_disconnected(false)
            .delete_oldest_messages(false)
            // One probe is under way at a time, the rest is for the client's own messages.
            .max_buffered_messages(32)
            .finalize();
        let paho = mqtt::AsyncClient::new(options).map_err(|e| {
            connection.cut();
            connection.closed(); // Paho does not know of it
            CONNECTIONS.remove(connection.number);
            internal(&format!("Paho: {e}"))
        })?;
        discard_messages(&paho);
        let held = Arc::new(());
        let order = Arc::downgrade(&held);
        let refused = held.clone();
        let token = paho.connect_with_callbacks(connect, move |_, _| _ = &held, move |_, _, _| _ = &refused);
        let client = Client {
            paho,
            connection,
            slots,
            slot,
            probe_topic: def.probe_topic.clone(),
            probe: def.settings.probe,
            stages: reached.stages,
            order,
        };
        let pending = client.pending(token);
        Ok((client, pending))
    }

    /// How the connect ended, if it did; asked again whenever the slot is marked.
    pub fn outcome(&self, pending: &mut Pending) -> Option<Outcome> {
        let mut cell = self.slots.cell(self.slot);
        // Why there is no CONNACK is known before Paho hears of it.
        if cell.up.is_none() && cell.end.is_some() {
            return cell.end.take().map(Err);
        }
        Some(match pending.poll()? {
            Ok(answer) => {
                let at = cell.up.unwrap_or_else(Moment::now);
                let times = Times { ordered: cell.ordered, asked: cell.asked, up: at };
                Ok(Accepted { at, connack: connack(&answer, times, &self.stages) })
            }
            Err(error) => {
                let of_paho = || End::new(Moment::now(), cause::of_paho(&error));
                Err(cell.end.take().unwrap_or_else(of_paho))
            }
        })
    }

    /// Whether it may be dropped. Until the callback of its connect is through, which goes on for a moment
    /// after its outcome is known, Paho's thread has a hold of the client: where that is the last one, the
    /// client is destroyed from the callback, and waits for ever for the lock that Paho calls it under.
    pub fn is_free(&self) -> bool {
        self.order.strong_count() == 0
    }

    /// Orders a DISCONNECT.
    pub fn disconnect(&self) -> Pending {
        self.slots.leave(self.slot);
        let token = self.paho.disconnect(None);
        self.pending(token)
    }

    /// Ends its connection without a DISCONNECT.
    pub fn cut(&self) {
        self.connection.cut();
    }

    /// Whether its connection is closed.
    pub fn is_gone(&self) -> bool {
        self.connection.is_gone()
    }

    /// What the kernel says of its connection; `None` where that is none of TCP.
    pub fn tcp(&self) -> Option<Tcp> {
        self.connection.tcp()
    }

    /// Publishes one probe, if none is under way.
    pub fn probe(&self) {
        let now = Moment::now();
        let message = match self.probe.kind {
            ProbeKind::Ack => self.slots.begin_probe(self.slot, now).then(|| message::ack(&self.probe_topic)),
            ProbeKind::Echo => {
                let patience = self.probe.every.saturating_mul(3).max(ECHO_LOST);
                let number = self.slots.begin_echo(self.slot, patience, self.connection.heard(), now);
                number.map(|number| message::echo(&self.probe_topic, number))
            }
            ProbeKind::Heartbeat | ProbeKind::Off => None,
        };
        // Paho takes none where the connection is ending, of which the end tells, or where too many wait.
        if message.is_some_and(|message| self.paho.try_publish(message).is_err()) {
            self.slots.refuse_probe(self.slot);
        }
    }

    /// The topic of its probes.
    pub fn probe_topic(&self) -> &str {
        &self.probe_topic
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
                Some(code) => Answer::Refused(cause::code(code, None)),
                None => Answer::Refused(Scrubbed::default()),
            },
            Err(mqtt::Error::OperationIncomplete | mqtt::Error::Disconnected) => Answer::Ended,
            Err(error) => Answer::Refused(cause::subscription(&error)),
        })
    }

    /// Publishes a message; false where Paho did not take it.
    pub fn publish(&self, message: &Message) -> bool {
        self.paho.try_publish(message::message(message)).is_ok()
    }

    /// The `number`th of a series of messages, which its payload may mention.
    pub fn numbered(message: &Message, number: u64) -> Message {
        Message { payload: numbered(&message.payload, number).into(), ..message.clone() }
    }

    fn pending(&self, token: mqtt::Token) -> Pending {
        Pending::new(token, self.slots.clone(), self.slot)
    }
}

/// Has Paho throw messages away once they have come: they are counted by then.
///
/// Without a callback Paho would keep them all. The crate's own panics, on a thread of C, over a topic
/// with a NUL in it, but only where it has a closure to call. Taking that away leaves the callback:
/// `MQTTAsync_setMessageArrivedCallback` of Paho C 1.3.16 refuses a null one.
fn discard_messages(paho: &mqtt::AsyncClient) {
    paho.set_message_callback(|_, _| {});
    paho.remove_message_callback();
}
