//! Compares the round trips that a worker reports with those of two plain TCP references on the same way at the same time, that do what its clients do as often and on as many connections; what difference is too large is for the tests to say.

use std::time::{Duration, Instant};

use mqfleet::{
    fleet::{Probe, ProbeKind, Settings},
    wire::{ClientDef, Slot},
};

use crate::{
    reference::{self, Habit, Reference},
    worker::{Def, Worker, client, settings},
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
}

/// How often a worker has Paho look at its keep alives: what fell due since goes out in one go.
const LOOK: Duration = Duration::from_millis(200);

/// What was seen of one kind of probe, in order of length.
#[derive(Clone, Debug)]
pub struct Seen {
    pub kind: ProbeKind,
    pub ours: Vec<Duration>,
    pub references: [Vec<Duration>; 2],
    /// How long the references' `send` took, which is in no round trip.
    pub sends: Vec<Duration>,
}

impl Seen {
    /// The round trip that this share does not exceed: ours, and what either reference's are.
    pub fn quantiles(&self, share: f64) -> (Duration, [Duration; 2]) {
        let [a, b] = &self.references;
        (quantile(&self.ours, share), [quantile(a, share), quantile(b, share)])
    }
}

/// What this share of times in order of length does not exceed.
pub fn quantile(times: &[Duration], share: f64) -> Duration {
    times[((share * times.len() as f64).ceil() as usize).clamp(1, times.len()) - 1]
}

impl Plan<'_> {
    pub async fn carry_out(self) -> Vec<Seen> {
        let kind = |slot: usize| self.kinds[slot % self.kinds.len()];
        let define = |slot| {
            let client = ClientDef {
                settings: Settings {
                    keep_alive: self.keep_alive,
                    probe: Probe { kind: kind(slot), every: self.every },
                    ..settings()
                },
                ..client(format!("client-{slot:04}"))
            };
            Def::new(client, self.port)
        };
        let connect = |kind: &ProbeKind| [0, 1].map(|which| Reference::connect(self.port, self.habit(*kind), which));
        let references: Vec<[Reference; 2]> = self.kinds.iter().map(connect).collect();
        let mut worker = Worker::start((0..self.clients).map(define).collect()).await;
        for slot in 0..self.clients {
            worker.connect([slot as Slot]).await;
            worker.until(self.pause, |_| false).await;
        }
        let all_up = worker.until(Duration::from_secs(60), |w| w.up() == self.clients).await;
        assert!(all_up, "{} of {} up", worker.up(), self.clients);
        references.iter().flatten().for_each(Reference::begin);
        worker.samples.clear();
        let begin = Instant::now();
        while begin.elapsed() < self.time {
            worker.until(self.time.saturating_sub(begin.elapsed()), |_| false).await;
        }
        let stop = |pair: [Reference; 2]| pair.map(Reference::stop);
        let references = tokio::task::block_in_place(|| references.into_iter().map(stop).collect::<Vec<_>>());
        let of = |(&kind, references): (&ProbeKind, [reference::Seen; 2])| {
            let sorted = |mut times: Vec<Duration>| {
                assert!(!times.is_empty(), "nothing was measured");
                times.sort();
                times
            };
            let ours = worker.samples.iter().filter(|s| s.probe == kind).map(|s| s.rtt).collect();
            let sends = references.iter().flat_map(|seen| seen.sends.clone()).collect();
            let references = references.map(|seen| sorted(seen.round_trips));
            Seen { kind, ours: sorted(ours), references, sends: sorted(sends) }
        };
        self.kinds.iter().zip(references).map(of).collect()
    }

    /// What the clients of this kind do.
    fn habit(&self, kind: ProbeKind) -> Habit {
        let clients = (0..self.clients).filter(|slot| self.kinds[slot % self.kinds.len()] == kind).count();
        if kind != ProbeKind::Heartbeat {
            return Habit { kind, clients, every: self.every, together: 1 };
        }
        // Those that connected within one look have their heartbeats within one, ever after.
        let apart = self.pause * self.kinds.len() as u32;
        let together = (LOOK.as_secs_f64() / apart.as_secs_f64()).round().clamp(1.0, clients as f64) as usize;
        Habit { kind, clients, every: self.keep_alive, together }
    }
}
