//! Defines the frames between the console and a worker process, versioned and bounded; who sends which when is the pool's and the worker's matter.

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_util::{
    bytes::{Bytes, BytesMut},
    codec::{FramedRead, FramedWrite, LengthDelimitedCodec},
};

use crate::{
    clock::Moment,
    event::{ConnectOrder, Generation, Request, Step, Tcp},
    fleet::{Conversation, Credentials, Endpoint, EndpointKey, Identity, ProbeKind, Secret, Settings, in_clear},
    text::Scrubbed,
};

/// The first thing each end says. Both ends are one binary, but a package upgrade may have replaced
/// it between the console's start and a worker's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub magic: [u8; 8],
    pub version: u16,
}

impl Hello {
    pub const MAGIC: [u8; 8] = *b"mqfleet\n";
    /// Raised with every change of a frame.
    pub const VERSION: u16 = 8;

    pub fn new() -> Hello {
        Hello { magic: Self::MAGIC, version: Self::VERSION }
    }
}

impl Default for Hello {
    fn default() -> Self {
        Hello::new()
    }
}

/// A client's place in its worker, 0 to the worker's size.
pub type Slot = u32;

/// What the console tells a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToWorker {
    Hello(Hello),
    /// What some of the worker's clients are, from this slot on. All are told in slot order, in parts, before
    /// anything else; then again whoever changes, which holds for the connects that are ordered from then on, and who
    /// comes to the worker, in the next slot. It will never have more slots than there is `room` for.
    Define {
        room: Slot,
        first: Slot,
        clients: Vec<ClientDef>,
    },
    /// What is known of an endpoint: before any connect to it, and again whenever it changes. It
    /// holds for the connects that are ordered from then on.
    Remote {
        endpoint: EndpointKey,
        remote: Remote,
    },
    /// Connect this slot. An earlier connection of it is cut without ceremony. Where there are credentials,
    /// they take the place of those that it was defined with.
    Connect {
        slot: Slot,
        order: ConnectOrder,
        credentials: Option<Box<Credentials>>,
    },
    /// Disconnect it (an MQTT DISCONNECT where it is up); the report of the end follows.
    Disconnect {
        slot: Slot,
    },
    /// Disconnect everything and exit.
    Stop,
}

/// All that a worker must know to connect one client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientDef {
    pub id: Arc<str>,
    pub settings: Settings,
    /// Where its probes go.
    pub probe_topic: Arc<str>,
    pub username: Option<Arc<str>>,
    #[serde(with = "in_clear")]
    pub password: Option<Secret>,
    pub identity: Option<Identity>,
    pub conversation: Arc<Conversation>,
}

/// An endpoint, and what its last probe found of the first hop (the proxy, where there is one).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Remote {
    pub endpoint: Endpoint,
    /// Where its name led to, in the order to try; used while a lookup has no answer.
    pub addresses: Arc<[IpAddr]>,
}

impl From<&Endpoint> for Remote {
    /// The endpoint as the fleet file has it, before anybody has looked at it.
    fn from(endpoint: &Endpoint) -> Self {
        Remote { endpoint: endpoint.clone(), addresses: Arc::default() }
    }
}

/// What a worker tells the console.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromWorker {
    Hello(Hello),
    /// All that changed since the last report, in the order of its stamps.
    Report(Report),
    /// Nothing changed, but the worker lives. A second without any frame is one too many.
    Beat,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub news: Vec<News>,
    pub samples: Vec<SlotSample>,
    /// Probes that were without an answer for a while; told once each.
    pub late: Vec<SlotLate>,
    /// What the kernel says of the connections, from time to time.
    pub tcp: Vec<SlotTcp>,
    /// Samples that a full queue swallowed since the last report.
    pub samples_lost: u32,
    /// What the broker did not grant as it was asked for.
    pub shortfalls: Vec<Shortfall>,
    /// Slots whose subscriptions were all answered.
    pub subscribed: Vec<Subscribed>,
    /// Messages since the last report, of those slots that had any.
    pub messages: Vec<SlotMessages>,
}

/// What was granted that is less than was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortfall {
    pub slot: Slot,
    pub generation: Generation,
    pub at: Moment,
    pub request: Request,
    /// The topic filter of a subscription, the topic of a message.
    pub filter: Scrubbed,
    pub asked: u8,
    /// The QoS that was granted; `None` where the broker refused.
    pub granted: Option<u8>,
    /// Why it refused, where it said; or that it has not answered.
    pub detail: Scrubbed,
}

impl Shortfall {
    /// What a detail says where the broker has not answered at all, before the time that it had for that.
    pub const NO_ANSWER: &str = "no answer within";

    /// Whether the broker has not answered, and so refused nothing.
    pub fn is_unanswered(&self) -> bool {
        self.granted.is_none() && self.detail.contains(Self::NO_ANSWER)
    }
}

/// All of a slot's subscriptions were answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    pub slot: Slot,
    pub generation: Generation,
    pub at: Moment,
    /// Since the CONNACK.
    pub took: Duration,
}

/// How many messages a slot had, its probes left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotMessages {
    pub slot: Slot,
    pub received: u32,
    pub published: u32,
    /// Of those published, now or before, the broker refused so many.
    pub refused: u32,
}

/// A step of one slot's connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct News {
    pub slot: Slot,
    pub generation: Generation,
    pub at: Moment,
    pub step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotSample {
    pub slot: Slot,
    pub probe: ProbeKind,
    pub at: Moment,
    pub rtt: Duration,
}

/// A probe of a slot that has no answer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotLate {
    pub slot: Slot,
    pub generation: Generation,
    pub probe: ProbeKind,
    /// When it went out, or was to.
    pub since: Moment,
}

/// What the kernel says of a slot's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotTcp {
    pub slot: Slot,
    pub generation: Generation,
    pub at: Moment,
    pub tcp: Tcp,
}

/// The largest frame, in bytes. A full [`Report`] of 2,000 slots with long details stays below it.
pub const MAX_FRAME: usize = 4 << 20;

/// The most clients in one [`ToWorker::Define`]: client ID, user name and password may have 65,535 bytes
/// each (MQTT 5.0 §1.5.4), and the fleet file bounds all else to 576 KiB a client.
pub const DEFINE_PART: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("the other end closed the connection")]
    Closed,
    #[error("cannot talk to the other end: {0}")]
    Io(#[from] std::io::Error),
    #[error("the other end sent a frame that makes no sense: {0}")]
    Frame(#[from] postcard::Error),
    #[error("the other end is another version of mqfleet (frames {theirs}, here {})", Hello::VERSION)]
    Version { theirs: u16 },
    #[error("the other end is not mqfleet")]
    Stranger,
}

/// The sending half of a link.
pub struct Sender<W = OwnedWriteHalf>(FramedWrite<W, LengthDelimitedCodec>);

/// The receiving half of a link.
pub struct Receiver<R = OwnedReadHalf>(FramedRead<R, LengthDelimitedCodec>);

/// Splits a connected socket into the two halves of a link.
pub fn link(stream: UnixStream) -> (Sender, Receiver) {
    let (read, write) = stream.into_split();
    halves(read, write)
}

/// A link over any two streams of bytes.
pub fn halves<R: AsyncRead, W: AsyncWrite>(read: R, write: W) -> (Sender<W>, Receiver<R>) {
    let codec = || LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_codec();
    (Sender(FramedWrite::new(write, codec())), Receiver(FramedRead::new(read, codec())))
}

impl<W: AsyncWrite + Unpin> Sender<W> {
    /// Sends one frame and waits until the kernel has it.
    pub async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), WireError> {
        self.feed(message).await?;
        self.flush().await
    }

    /// Puts one frame into the buffer; [`Sender::flush`] sends what is there.
    pub async fn feed<T: Serialize>(&mut self, message: &T) -> Result<(), WireError> {
        let frame = postcard::to_stdvec(message)?;
        self.feed_bytes(Bytes::from(frame)).await
    }

    /// The same with a frame that is bytes and nothing else.
    pub async fn feed_bytes(&mut self, frame: Bytes) -> Result<(), WireError> {
        Ok(self.0.feed(frame).await?)
    }

    pub async fn flush(&mut self) -> Result<(), WireError> {
        Ok(SinkExt::<Bytes>::flush(&mut self.0).await?)
    }
}

impl<R: AsyncRead + Unpin> Receiver<R> {
    /// Waits for one frame. Cancelling the wait loses nothing.
    pub async fn recv<T: DeserializeOwned>(&mut self) -> Result<T, WireError> {
        Ok(postcard::from_bytes(&self.recv_bytes().await?)?)
    }

    /// The same for a frame that is bytes and nothing else.
    pub async fn recv_bytes(&mut self) -> Result<BytesMut, WireError> {
        Ok(self.0.next().await.ok_or(WireError::Closed)??)
    }
}

/// Checks what the other end said first.
pub fn check_hello(hello: &Hello) -> Result<(), WireError> {
    if hello.magic != Hello::MAGIC {
        return Err(WireError::Stranger);
    }
    if hello.version != Hello::VERSION {
        return Err(WireError::Version { theirs: hello.version });
    }
    Ok(())
}
