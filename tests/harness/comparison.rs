//! Compares the round trips that a worker reports with those of a plain TCP reference on the same way at the same time; what difference is too large is for the tests to say.
#![allow(dead_code, reason = "every test binary uses another part of it")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mqfleet::{
    fleet::{Probe, ProbeKind, Protocol},
    wire::{ClientDef, Slot},
};

use super::{
    process::{Def, Worker},
    reference::Reference,
};

/// How a comparison is made.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The way to the broker.
    pub port: u16,
    /// The probes; clients have them in turn.
    pub kinds: &'a [ProbeKind],
    /// Clients of the worker.
    pub clients: usize,
    /// The time between two probes of a client.
    pub every: Duration,
    /// Of heartbeats it is the keep alive that decides.
    pub keep_alive: Duration,
    /// Between two connects. The keep alive counts from the connect: what connects in one go has its
    /// heartbeats in one go, ever after.
    pub pause: Duration,
    /// How long to compare once all are connected.
    pub time: Duration,
    /// Clients of the reference, and the time between two probes of each.
    pub reference: (usize, Duration),
}

/// What was seen of one kind of probe, in order of length.
#[derive(Clone, Debug)]
pub struct Seen {
    pub kind: ProbeKind,
    pub ours: Vec<Duration>,
    pub reference: Vec<Duration>,
}

impl Seen {
    /// The round trips, ours and the reference's, that this share does not exceed.
    pub fn quantiles(&self, share: f64) -> (Duration, Duration) {
        let of = |all: &[Duration]| all[((share * all.len() as f64).ceil() as usize).clamp(1, all.len()) - 1];
        (of(&self.ours), of(&self.reference))
    }
}

impl Plan<'_> {
    pub async fn carry_out(self) -> Vec<Seen> {
        let kind = |slot: usize| self.kinds[slot % self.kinds.len()];
        let define = |slot| {
            let client = ClientDef {
                id: format!("client-{slot:04}").into(),
                protocol: Protocol::V5,
                keep_alive: self.keep_alive,
                clean_start: true,
                session_expiry: Duration::ZERO,
                receive_maximum: None,
                user_properties: Vec::new(),
                connect_timeout: Duration::from_secs(30),
                probe: Probe { kind: kind(slot), every: self.every },
                username: None,
                password: None,
                identity: None,
                conversation: Arc::default(),
            };
            Def::new(client, self.port)
        };
        let mut worker = Worker::start((0..self.clients).map(define).collect()).await;
        for slot in 0..self.clients {
            worker.connect([slot as Slot]).await;
            worker.until(self.pause, |_| false).await;
        }
        let all_up = worker.until(Duration::from_secs(60), |w| w.up() == self.clients).await;
        assert!(all_up, "{} of {} up", worker.up(), self.clients);
        let (clients, every) = self.reference;
        let start = |kind: &ProbeKind| Reference::start(self.port, *kind, clients, every);
        let references: Vec<Reference> = self.kinds.iter().map(start).collect();
        worker.samples.clear();
        let begin = Instant::now();
        while begin.elapsed() < self.time {
            worker.until(self.time.saturating_sub(begin.elapsed()), |_| false).await;
        }
        let references =
            tokio::task::block_in_place(|| references.into_iter().map(Reference::stop).collect::<Vec<_>>());
        let of = |(&kind, mut reference): (&ProbeKind, Vec<Duration>)| {
            let mut ours: Vec<Duration> = worker.samples.iter().filter(|s| s.probe == kind).map(|s| s.rtt).collect();
            assert!(!ours.is_empty() && !reference.is_empty(), "nothing was measured");
            ours.sort();
            reference.sort();
            Seen { kind, ours, reference }
        };
        self.kinds.iter().zip(references).map(of).collect()
    }
}
