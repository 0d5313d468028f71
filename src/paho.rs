//! Defines the real MQTT clients: the only code that knows Paho; when to connect whom, and what a failure means for a fleet, is decided elsewhere.
//!
//! A callback of Paho runs on Paho's threads, under Paho's process-wide lock. Ours stamp, write one
//! cell of the [`Slots`] table and return; they never call Paho, which would deadlock.

mod arrivals;
mod cause;
mod guard;
mod line;
mod options;
mod raw;
mod route;
mod slots;
mod tap;

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use paho_mqtt as mqtt;

use self::{
    cause::Way,
    options::{connect_options, version},
    slots::Refusal,
    tap::last_socket,
};
pub use self::{
    guard::GuardError,
    route::Route,
    slots::{End, News, Slots, Subject},
};
use crate::{
    clock::Moment,
    event::{Cause, Connack, Generation, Reason},
    fleet::{Message, Subscription},
    text::Scrubbed,
    wire::{ClientDef, Slot, TEST_NO_GUARD},
};

/// The broadcast address: the kernel refuses to connect there before anything is sent.
const NOWHERE: &str = "tcp://255.255.255.255:1";

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("Paho cannot create a client: {0}")]
    Create(#[from] mqtt::Error),
    #[error("Paho would deadlock under load: {0}. Nothing was connected")]
    Guard(#[from] GuardError),
}

/// Paho, ready for use: guarded against its deadlock, its trace tapped.
pub struct Paho {
    /// Never connected. With its last client gone Paho would tear itself down and, with the next,
    /// open another socketpair, without the guard.
    anchor: mqtt::AsyncClient,
}

impl Paho {
    /// To be called once in a process, before any other thread opens sockets.
    pub fn start() -> Result<Paho, StartError> {
        let before = guard::candidates()?;
        let options =
            mqtt::CreateOptionsBuilder::new().server_uri(NOWHERE).client_id("anchor").persistence(None).finalize();
        let anchor = mqtt::AsyncClient::new(options)?;
        if std::env::var_os(TEST_NO_GUARD).is_none_or(|v| v != "1") {
            guard::arm(&before)?;
        }
        raw::listen(tap::on_line);
        Ok(Paho { anchor })
    }

    /// Has what the trace says go to `slots`; only the first table of a process is followed.
    pub fn follow(&self, slots: &Arc<Slots>) {
        tap::follow(slots);
    }

    /// Has Paho look often at the keep alives of its clients; to be called after every connect.
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
}

/// A connection that the broker accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub at: Moment,
    pub connack: Connack,
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
        let tls = remote.transport.tls().is_some();
        let way = Way { proxy: remote.proxy.is_some(), tls, identity: tls && def.identity.is_some() };
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
            let cause = cause::lost(tap::take_trouble(cell.socket, at));
            table.end(slot, generation, cell, End { at, cause });
        });
        let table = slots.clone();
        paho.set_disconnected_callback(move |_, properties, code| {
            let at = Moment::now();
            let words = properties.get_string(mqtt::PropertyCode::ReasonString);
            let cause = cause::server_disconnect(code, words);
            table.end(slot, generation, table.cell(slot), End { at, cause });
        });
        let (table, at_failure) = (slots.clone(), slots.clone());
        let token = paho.connect_with_callbacks(
            connect,
            move |_, _| {
                let at = Moment::now();
                let mut cell = table.cell(slot);
                if cell.generation == generation {
                    cell.up = Some(at);
                    if let Some(socket) = last_socket() {
                        table.bind(&mut cell, slot, socket);
                    }
                }
            },
            move |_, _, rc| {
                let at = Moment::now();
                let fault = tap::take_trouble(None, at);
                let mut cell = at_failure.cell(slot);
                if cell.generation == generation {
                    cell.refusal = Some(Refusal { at, rc, fault });
                }
            },
        );
        let client = Client { paho, slots, slot, def, way };
        let pending = client.pending(token);
        Ok((client, pending))
    }

    /// How the connect ended, if it did; asked again whenever the slot is marked.
    pub fn outcome(&self, pending: &mut Pending) -> Option<Result<Accepted, End>> {
        let result = pending.poll()?;
        let mut cell = self.slots.cell(self.slot);
        Some(match result {
            Ok(answer) => Ok(Accepted {
                at: cell.up.unwrap_or_else(Moment::now),
                connack: Connack {
                    session_present: answer.connect_response().is_some_and(|r| r.session_present),
                    ..Connack::default()
                },
            }),
            Err(error) => {
                // Without a refusal Paho did not even accept the order.
                let Refusal { at, rc, fault } =
                    cell.refusal.take().unwrap_or(Refusal { at: Moment::now(), rc: -1, fault: None });
                Err(End { at, cause: cause::refused(self.def.protocol, self.way, rc, &error, fault) })
            }
        })
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

    /// Publishes one probe at QoS 1, if none is under way and the tap can follow this client.
    pub fn probe(&self) {
        if tap::can_follow(&self.def.id) && self.slots.begin_probe(self.slot) {
            // A failure means that the connection is ending, of which the end tells.
            let _ = self.paho.try_publish(mqtt::Message::new(
                probe_topic(&self.def.id),
                line::PROBE,
                mqtt::QoS::AtLeastOnce,
            ));
        }
    }

    /// Asks for one subscription; [`Client::granted`] tells what came of it.
    pub fn subscribe(&self, subscription: &Subscription) -> Pending {
        let token = self.paho.subscribe(&*subscription.filter, options::qos(subscription.qos));
        self.pending(token)
    }

    /// The QoS that was granted, or the broker's words where it refused; `None` while there is no answer.
    pub fn granted(&self, pending: &mut Pending) -> Option<Result<u8, Scrubbed>> {
        Some(match pending.poll()? {
            Ok(answer) => match answer.subscribe_response().and_then(|code| u8::try_from(code).ok()) {
                Some(qos @ 0..=2) => Ok(qos),
                Some(code) => Err(Scrubbed::new(Reason::from_code(code).words())),
                None => Err(Scrubbed::default()),
            },
            Err(error) => Err(cause::subscription(&error)),
        })
    }

    /// Publishes a message; false where Paho did not take it.
    pub fn publish(&self, message: &Message) -> bool {
        self.paho.try_publish(options::message(message)).is_ok()
    }

    /// Publishes the `number`th of a series of messages, which its payload may mention.
    pub fn publish_numbered(&self, message: &Message, number: u64) -> bool {
        let payload = numbered(&message.payload, number);
        self.paho.try_publish(options::with_payload(message, payload)).is_ok()
    }

    /// Whether Paho thinks that it is connected.
    pub fn is_connected(&self) -> bool {
        self.paho.is_connected()
    }

    fn pending(&self, token: mqtt::Token) -> Pending {
        let waker = Waker::from(Arc::new(Marker { slots: self.slots.clone(), slot: self.slot }));
        Pending { token, waker }
    }
}

/// Has Paho throw messages away once they have come: the trace has counted them by then.
///
/// Without a callback Paho would keep them all. The crate's own panics, on a thread of C, over a topic
/// with a NUL in it, but only where it has a closure to call. Taking that away leaves the callback:
/// `MQTTAsync_setMessageArrivedCallback` of Paho C 1.3.16 refuses a null one.
fn discard_messages(paho: &mqtt::AsyncClient) {
    paho.set_message_callback(|_, _| {});
    paho.remove_message_callback();
}

/// `%s` in a payload is the message's number, `%%` a percent sign.
fn numbered(payload: &[u8], number: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 8);
    let mut rest = payload;
    while let Some(at) = rest.iter().position(|&b| b == b'%') {
        out.extend_from_slice(&rest[..at]);
        match rest.get(at + 1) {
            Some(b's') => out.extend_from_slice(number.to_string().as_bytes()),
            Some(b'%') => out.push(b'%'),
            Some(&other) => out.extend_from_slice(&[b'%', other]),
            None => out.push(b'%'),
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// The topic of a client's own probes: wildcards, `$` in front and what brokers refuse in a topic
/// (MQTT 5.0 §1.5.4, §4.7) become `_`.
fn probe_topic(client_id: &str) -> String {
    let safe = |c: char| if matches!(c, '+' | '#') || c.is_control() { '_' } else { c };
    let id: String = client_id.chars().map(safe).collect();
    let id = id.strip_prefix('$').map_or(id.clone(), |rest| format!("_{rest}"));
    format!("mqfleet/probe/{id}")
}

/// An order that Paho has not fulfilled yet. Its completion marks the slot.
pub struct Pending {
    token: mqtt::Token,
    waker: Waker,
}

impl Pending {
    /// Whether the order is done with, well or not.
    pub fn is_done(&mut self) -> bool {
        self.poll().is_some()
    }

    fn poll(&mut self) -> Option<mqtt::Result<mqtt::ServerResponse>> {
        match Future::poll(Pin::new(&mut self.token), &mut Context::from_waker(&self.waker)) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }
}

/// Marks a slot when Paho completes an order.
struct Marker {
    slots: Arc<Slots>,
    slot: Slot,
}

impl Wake for Marker {
    fn wake(self: Arc<Self>) {
        self.slots.mark(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_probe_topic_keeps_the_id() {
        assert_eq!(probe_topic("press-0001"), "mqfleet/probe/press-0001");
        assert_eq!(probe_topic("$SYS/+/#\0\x1b"), "mqfleet/probe/_SYS/_/___");
        assert_eq!(probe_topic(""), "mqfleet/probe/");
    }

    #[test]
    fn a_payload_can_have_its_number() {
        assert_eq!(numbered(b"{\"n\":%s}", 7), b"{\"n\":7}");
        assert_eq!(numbered(b"100%% of %s%", 12), b"100% of 12%");
        assert_eq!(numbered(b"\xff%x", 1), b"\xff%x");
    }

    proptest! {
        #[test]
        fn a_probe_topic_is_a_topic_name(id in "(?s).{0,80}") {
            let topic = probe_topic(&id);
            prop_assert!(!topic.contains(['+', '#', '\0']) && !topic.starts_with('$'));
        }
    }
}
