//! Defines the real MQTT clients: the only code that knows Paho; when to connect whom, and what a failure means for a fleet, is decided elsewhere.
//!
//! A callback of Paho runs on Paho's threads, under Paho's process-wide lock. Ours stamp, write one
//! cell of the [`Slots`] table and return; they never call Paho, which would deadlock.

mod arrivals;
mod cause;
mod guard;
mod line;
mod raw;
mod slots;
mod tap;

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use paho_mqtt as mqtt;

pub use self::{
    guard::GuardError,
    slots::{End, News, Slots, Subject},
};
use self::{slots::Refusal, tap::last_socket};
use crate::{
    clock::Moment,
    event::{Cause, Generation, Reason},
    fleet::Protocol,
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
}

/// A connection that the broker accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub at: Moment,
    pub session_present: bool,
}

impl Client {
    /// Creates the client and orders its connect. It opens no file. Paho is given an address, since
    /// it would look up a name under its process-wide lock.
    pub fn connect(
        slots: Arc<Slots>,
        slot: Slot,
        generation: Generation,
        def: ClientDef,
        address: IpAddr,
    ) -> Result<(Client, Pending), Cause> {
        let internal = |words: &str| Cause { reason: Reason::Internal, detail: Scrubbed::new(words) };
        // The crate would panic over such a user name. A password is binary and may hold anything.
        if def.id.contains('\0') || def.username.as_ref().is_some_and(|name| name.contains('\0')) {
            return Err(internal("the client ID or the user name holds a NUL, which MQTT does not allow"));
        }
        let options = mqtt::CreateOptionsBuilder::new()
            .server_uri(format!("tcp://{}", SocketAddr::new(address, def.port)))
            .client_id(&*def.id)
            .mqtt_version(version(def.protocol))
            .persistence(None)
            .restore_messages(false)
            .send_while_disconnected(false)
            .delete_oldest_messages(false)
            // One probe is under way at a time.
            .max_buffered_messages(4)
            .finalize();
        let paho = mqtt::AsyncClient::new(options).map_err(|e| internal(&format!("Paho: {e}")))?;
        slots.open(slot, generation);

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
            connect_options(&def),
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
        let client = Client { paho, slots, slot, def };
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
                session_present: answer.connect_response().is_some_and(|r| r.session_present),
            }),
            Err(error) => {
                // Without a refusal Paho did not even accept the order.
                let Refusal { at, rc, fault } =
                    cell.refusal.take().unwrap_or(Refusal { at: Moment::now(), rc: -1, fault: None });
                Err(End { at, cause: cause::refused(self.def.protocol, rc, &error, fault) })
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
                *b"mqfleet",
                mqtt::QoS::AtLeastOnce,
            ));
        }
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

fn connect_options(def: &ClientDef) -> mqtt::ConnectOptions {
    let mut options = mqtt::ConnectOptionsBuilder::with_mqtt_version(version(def.protocol));
    match def.protocol {
        Protocol::V311 => options.clean_session(def.clean_start),
        Protocol::V5 => options.clean_start(def.clean_start),
    };
    // The crate turns 0 (none) into 1 s; the longest there is comes closest to none.
    let keep_alive = match def.keep_alive {
        Duration::ZERO => Duration::from_secs(65_535),
        d => whole_seconds(d),
    };
    options.keep_alive_interval(keep_alive).connect_timeout(whole_seconds(def.connect_timeout));
    if let Some(name) = &def.username {
        options.user_name(&**name);
    }
    if let Some(password) = &def.password {
        options.password(password.expose());
    }
    options.finalize()
}

fn version(protocol: Protocol) -> u32 {
    match protocol {
        Protocol::V311 => mqtt::MQTT_VERSION_3_1_1,
        Protocol::V5 => mqtt::MQTT_VERSION_5,
    }
}

/// Paho counts in seconds: the next whole one, at least 1 and at most what a keep alive may be.
fn whole_seconds(d: Duration) -> Duration {
    Duration::from_secs(d.as_secs().saturating_add(u64::from(d.subsec_nanos() > 0)).clamp(1, 65_535))
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
    fn times_are_rounded_up_to_what_paho_counts_in() {
        assert_eq!(whole_seconds(Duration::ZERO), Duration::from_secs(1));
        assert_eq!(whole_seconds(Duration::from_millis(1001)), Duration::from_secs(2));
        assert_eq!(whole_seconds(Duration::from_secs(3)), Duration::from_secs(3));
        assert_eq!(whole_seconds(Duration::MAX), Duration::from_secs(65_535));
    }

    proptest! {
        #[test]
        fn a_probe_topic_is_a_topic_name(id in "(?s).{0,80}") {
            let topic = probe_topic(&id);
            prop_assert!(!topic.contains(['+', '#', '\0']) && !topic.starts_with('$'));
        }
    }
}
