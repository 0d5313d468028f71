//! Defines the relay of one site, which takes TCP connections in and can cut them or hold them in silence; how their bytes travel is in `carry`, when and why is decided elsewhere.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::carry::carry;
use crate::text::Scrubbed;

/// What the way between a site and the broker is like. Every figure is of a whole round trip; each
/// direction bears half, to within a millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    pub rtt: Duration,
    /// How far a round trip may be off `rtt`, to either side.
    pub jitter: Duration,
    /// How many of a thousand pieces of data are held back for up to `spike`.
    pub spikes_per_mille: u16,
    pub spike: Duration,
    /// Nothing passes: connections stay but are silent, new ones are closed at once.
    pub dark: bool,
}

impl Conditions {
    /// How long a piece of data is on its way in one direction.
    pub fn sample(&self, rng: &mut fastrand::Rng) -> Duration {
        let (rtt, jitter) = (self.rtt.as_secs_f64(), self.jitter.as_secs_f64());
        let mut delay = (rtt + jitter * (2.0 * rng.f64() - 1.0)) / 2.0;
        if rng.u16(..1000) < self.spikes_per_mille {
            delay += self.spike.as_secs_f64() * rng.f64();
        }
        Duration::from_secs_f64(delay.max(0.0))
    }
}

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cut {
    /// With a FIN, as a peer that leaves.
    Close,
    /// With an RST, as a middlebox that forgot it.
    Reset,
}

/// The relay's controls. Dropping them ends nothing; dropping the future of [`Relay::run`] ends all.
#[derive(Clone)]
pub(super) struct Relay {
    shared: Arc<Shared>,
}

struct Shared {
    conditions: watch::Sender<Conditions>,
    broker: watch::Sender<Option<u16>>,
    connections: Mutex<Connections>,
    most: usize,
    notices: mpsc::Sender<Scrubbed>,
}

struct Connections {
    open: IndexMap<u64, oneshot::Sender<Cut>>,
    next: u64,
    rng: fastrand::Rng,
    /// When something was last said to the operator.
    said: Option<Instant>,
}

impl Relay {
    /// A relay of at most `most` connections. What the operator should know goes to `notices`, as
    /// far as there is room.
    pub(super) fn new(conditions: Conditions, most: usize, seed: u64, notices: mpsc::Sender<Scrubbed>) -> Relay {
        let connections =
            Connections { open: IndexMap::new(), next: 0, rng: fastrand::Rng::with_seed(seed), said: None };
        Relay {
            shared: Arc::new(Shared {
                conditions: watch::Sender::new(conditions),
                broker: watch::Sender::new(None),
                connections: Mutex::new(connections),
                most,
                notices,
            }),
        }
    }

    pub(super) fn set_conditions(&self, conditions: Conditions) {
        self.shared.conditions.send_replace(conditions);
    }

    /// Where connections lead from now on; with none they are closed at once. Those that are open
    /// stay with the broker they have.
    pub(super) fn set_broker(&self, port: Option<u16>) {
        self.shared.broker.send_replace(port);
    }

    /// Cuts one connection, picked at random. Returns whether there was one.
    pub(super) fn cut(&self, how: Cut) -> bool {
        let mut connections = self.shared.lock();
        let count = connections.open.len();
        if count == 0 {
            return false;
        }
        let victim = connections.rng.usize(..count);
        connections.open.swap_remove_index(victim).is_some_and(|(_, cut)| cut.send(how).is_ok())
    }

    /// Accepts and carries until dropped; the connections end with it.
    pub(super) async fn run(self, listener: TcpListener) {
        let mut carriers = tokio::task::JoinSet::new();
        loop {
            let client = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((client, _)) => client,
                    Err(e) => {
                        self.shared.notice(format!("cannot accept a connection: {e}"));
                        // Out of descriptors, mostly: accepting again at once would only spin.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
                Some(_) = carriers.join_next() => continue,
            };
            let broker = *self.shared.broker.borrow();
            let dark = self.shared.conditions.borrow().dark;
            let (Some(broker), false) = (broker, dark) else { continue };
            let Some(ticket) = Ticket::take(&self.shared) else {
                self.shared.notice(format!("no room for more than {} connections", self.shared.most));
                continue;
            };
            carriers.spawn(carry(client, broker, ticket));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says it, unless something was said a moment ago or much is unread: a limit that is reached
    /// once is reached a thousand times a second.
    fn notice(&self, text: String) {
        let now = Instant::now();
        let mut connections = self.lock();
        if connections.said.is_some_and(|said| now - said < Duration::from_secs(5)) {
            return;
        }
        connections.said = Some(now);
        let _ = self.notices.try_send(Scrubbed::new(&text));
    }
}

/// A connection's entry in the list of those that can be cut.
pub(super) struct Ticket {
    shared: Arc<Shared>,
    number: u64,
    /// Where the connection's own randomness comes from.
    pub seed: u64,
    /// Says how to end it, once.
    pub cut: oneshot::Receiver<Cut>,
}

impl Ticket {
    fn take(shared: &Arc<Shared>) -> Option<Ticket> {
        let (sender, cut) = oneshot::channel();
        let mut connections = shared.lock();
        if connections.open.len() >= shared.most {
            return None;
        }
        let number = connections.next;
        connections.next += 1;
        connections.open.insert(number, sender);
        let seed = connections.rng.u64(..);
        drop(connections);
        Some(Ticket { shared: shared.clone(), number, seed, cut })
    }

    /// The conditions as they are and as they become.
    pub(super) fn conditions(&self) -> watch::Receiver<Conditions> {
        self.shared.conditions.subscribe()
    }

    pub(super) fn notice(&self, text: String) {
        self.shared.notice(text);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.lock().open.swap_remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io,
        net::{Ipv4Addr, SocketAddr},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        task::AbortHandle,
        time::timeout,
    };

    const CLEAR: Conditions = Conditions {
        rtt: Duration::ZERO,
        jitter: Duration::ZERO,
        spikes_per_mille: 0,
        spike: Duration::ZERO,
        dark: false,
    };
    /// Longer than anything here takes on a busy machine.
    const LONG: Duration = Duration::from_secs(20);

    async fn soon<T>(what: impl Future<Output = T>) -> T {
        timeout(LONG, what).await.expect("this should have happened long ago")
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let (listener, address) = listener().await;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        address
    }

    struct Bench {
        relay: Relay,
        direct: SocketAddr,
        relayed: SocketAddr,
        running: AbortHandle,
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            self.running.abort();
        }
    }

    async fn bench(conditions: Conditions) -> Bench {
        let direct = echo().await;
        let (listener, relayed) = listener().await;
        let relay = Relay::new(conditions, 4, 1, mpsc::channel(1).0);
        relay.set_broker(Some(direct.port()));
        let running = tokio::spawn(relay.clone().run(listener)).abort_handle();
        Bench { relay, direct, relayed, running }
    }

    async fn connect(to: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    async fn round_trip(stream: &mut TcpStream) -> io::Result<Duration> {
        let start = Instant::now();
        stream.write_all(b"ping").await?;
        stream.read_exact(&mut [0; 4]).await?;
        Ok(start.elapsed())
    }

    async fn median(to: SocketAddr) -> Duration {
        let mut stream = connect(to).await;
        let mut times = Vec::new();
        for _ in 0..15 {
            times.push(soon(round_trip(&mut stream)).await.unwrap());
        }
        times.sort();
        times[times.len() / 2]
    }

    #[tokio::test]
    async fn a_round_trip_takes_as_long_as_told() {
        let bench =
            bench(Conditions { rtt: Duration::from_millis(60), jitter: Duration::from_millis(20), ..CLEAR }).await;
        let (direct, relayed) = (median(bench.direct).await, median(bench.relayed).await);
        assert!(relayed >= direct + Duration::from_millis(40), "{direct:?} direct, {relayed:?} relayed");
        assert!(relayed <= direct + Duration::from_millis(140), "{direct:?} direct, {relayed:?} relayed");

        bench.relay.set_conditions(CLEAR);
        let clear = median(bench.relayed).await;
        assert!(clear < Duration::from_millis(30), "{clear:?} where nothing is added");
    }

    #[tokio::test]
    async fn nothing_is_overtaken_or_lost_under_jitter() {
        let wild = Conditions {
            rtt: Duration::from_millis(6),
            jitter: Duration::from_millis(6),
            spikes_per_mille: 100,
            spike: Duration::from_millis(20),
            ..CLEAR
        };
        let bench = bench(wild).await;
        let mut stream = connect(bench.relayed).await;
        let (mut read, mut write) = stream.split();
        let sent: Vec<u8> = (0_u32..120_000).flat_map(u32::to_be_bytes).collect();
        let mut got = vec![0; sent.len()];
        let send = async {
            let mut rng = fastrand::Rng::with_seed(5);
            let mut rest = &sent[..];
            while !rest.is_empty() {
                let n = rng.usize(1..=6_000).min(rest.len());
                write.write_all(&rest[..n]).await.unwrap();
                rest = &rest[n..];
            }
        };
        soon(async { tokio::join!(send, read.read_exact(&mut got)) }).await.1.unwrap();
        assert!(got == sent, "the bytes came back changed");
    }

    #[tokio::test]
    async fn the_last_bytes_before_an_end_arrive() {
        let (server, address) = listener().await;
        let (front, relayed) = listener().await;
        let relay = Relay::new(Conditions { rtt: Duration::from_millis(40), ..CLEAR }, 4, 1, mpsc::channel(1).0);
        relay.set_broker(Some(address.port()));
        let running = tokio::spawn(relay.run(front));
        let mut client = connect(relayed).await;
        let (mut peer, _) = soon(server.accept()).await.unwrap();
        peer.write_all(b"goodbye").await.unwrap();
        drop(peer);
        let mut got = Vec::new();
        soon(client.read_to_end(&mut got)).await.unwrap();
        assert_eq!(got, b"goodbye");
        running.abort();
    }

    #[tokio::test]
    async fn a_dark_site_is_silent_and_loses_nothing() {
        let bench = bench(CLEAR).await;
        let mut stream = connect(bench.relayed).await;
        soon(round_trip(&mut stream)).await.unwrap();

        bench.relay.set_conditions(Conditions { dark: true, ..CLEAR });
        stream.write_all(b"anybody?").await.unwrap();
        let mut answer = [0; 8];
        assert!(timeout(Duration::from_millis(300), stream.read_exact(&mut answer)).await.is_err());
        let mut late = connect(bench.relayed).await;
        assert!(matches!(soon(late.read(&mut [0; 1])).await, Ok(0) | Err(_)), "nobody new gets in");

        bench.relay.set_conditions(CLEAR);
        soon(stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"anybody?");
    }

    #[tokio::test]
    async fn a_line_holds_back_a_bounded_amount() {
        for conditions in [Conditions { rtt: Duration::from_secs(600), ..CLEAR }, Conditions { dark: true, ..CLEAR }] {
            let bench = bench(CLEAR).await;
            let mut stream = connect(bench.relayed).await;
            soon(round_trip(&mut stream)).await.unwrap();
            bench.relay.set_conditions(conditions);
            let piece = vec![0; 64 << 10];
            let mut sent = 0;
            // The kernel's own buffers take some megabytes before the sender feels anything.
            while let Ok(n) = timeout(Duration::from_millis(500), stream.write(&piece)).await {
                sent += n.unwrap();
                assert!(sent < 64 << 20, "the relay swallows everything under {conditions:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_cut_ends_one_connection_as_told() {
        let bench = bench(CLEAR).await;
        assert!(!bench.relay.cut(Cut::Close), "there was nothing to cut");
        for how in [Cut::Close, Cut::Reset] {
            let mut streams = [connect(bench.relayed).await, connect(bench.relayed).await];
            for stream in &mut streams {
                soon(round_trip(stream)).await.unwrap();
            }
            assert!(bench.relay.cut(how));
            let [first, second] = &mut streams;
            let (mut first_byte, mut second_byte) = ([0; 1], [0; 1]);
            let (end, other) = soon(async {
                tokio::select! {
                    end = first.read(&mut first_byte) => (end, 1),
                    end = second.read(&mut second_byte) => (end, 0),
                }
            })
            .await;
            match how {
                Cut::Close => assert_eq!(end.unwrap(), 0),
                Cut::Reset => assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset),
            }
            soon(round_trip(&mut streams[other])).await.unwrap();
            drop(streams);
            soon(async {
                while !bench.relay.shared.lock().open.is_empty() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
            .await;
        }
    }

    #[tokio::test]
    async fn without_a_broker_or_room_connections_are_closed_at_once() {
        let bench = bench(CLEAR).await;
        let mut open = Vec::new();
        for _ in 0..4 {
            let mut stream = connect(bench.relayed).await;
            soon(round_trip(&mut stream)).await.unwrap();
            open.push(stream);
        }
        let mut fifth = connect(bench.relayed).await;
        assert!(matches!(soon(fifth.read(&mut [0; 1])).await, Ok(0) | Err(_)), "four is the limit here");
        drop(open);

        bench.relay.set_broker(None);
        let mut stream = connect(bench.relayed).await;
        assert!(matches!(soon(stream.read(&mut [0; 1])).await, Ok(0) | Err(_)));
    }
}
