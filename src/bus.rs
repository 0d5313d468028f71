//! Defines the bus: who publishes an event waits for nobody, and each subscriber has a mailbox of its own; what an event means is not its matter.

mod delivery;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::Notify;

pub use delivery::{Delivery, Receiver};

use crate::{clock::Anchor, event::Event, mailbox::Mailbox, model::Known, text::Scrubbed};

/// Where a run's events are published: by the engine, and by whatever else has something to tell. Its clones
/// are the same bus. A subscriber that is slow delays nobody: what waits for it is folded, as [`Mailbox`] has it.
#[derive(Clone, Debug)]
pub struct Bus(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    begin: Anchor,
    state: Mutex<State>,
    deliveries: Mutex<Vec<Arc<Delivery>>>,
}

#[derive(Debug)]
struct State {
    /// What all events so far come to, where subscribers may come late.
    known: Option<Known>,
    subscribers: Vec<Weak<Subscriber>>,
    /// Events that were folded, by their subscriber's name; those of subscribers that have left stay.
    folded: BTreeMap<&'static str, Arc<AtomicU64>>,
    is_closed: bool,
}

/// One subscriber's mailbox, and what wakes it up.
#[derive(Debug)]
struct Subscriber {
    name: &'static str,
    folded: Arc<AtomicU64>,
    inbox: Mutex<Inbox>,
    /// For one that is a task, and for one that is a thread.
    arrived: Notify,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inbox {
    mailbox: Mailbox,
    is_closed: bool,
}

/// A subscriber's end of the bus: it hears all that is published while this lives.
#[derive(Debug)]
pub struct Subscription(Arc<Subscriber>);

/// How the subscribers of one name get on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    pub name: &'static str,
    /// Events that wait for them now.
    pub waiting: u64,
    /// Events that were folded into others because they were late, since the run began.
    pub folded: u64,
}

/// What a thread finds that waits for events.
#[derive(Debug)]
pub enum Taken {
    /// All that waited; so many events are contained in others, because it was late.
    Events(Vec<Event>, u64),
    /// Nothing came for as long as it wanted to wait.
    Nothing,
    /// Nothing waits and nothing will come.
    Closed,
}

impl Bus {
    /// A bus whose subscribers all come before the first event.
    pub fn new(begin: Anchor) -> Bus {
        Bus::with(begin, None)
    }

    /// A bus that keeps what its events come to, for subscribers that come later.
    pub fn keeping(begin: Anchor, known: Known) -> Bus {
        Bus::with(begin, Some(known))
    }

    fn with(begin: Anchor, known: Option<Known>) -> Bus {
        let state = State { known, subscribers: Vec::new(), folded: BTreeMap::new(), is_closed: false };
        Bus(Arc::new(Shared { begin, state: Mutex::new(state), deliveries: Mutex::default() }))
    }

    /// When the run began.
    pub fn begin(&self) -> Anchor {
        self.0.begin
    }

    /// Publishes events, in their order.
    pub fn publish(&self, events: impl IntoIterator<Item = Event>) {
        let mut state = lock(&self.0.state);
        let State { known, subscribers, .. } = &mut *state;
        let present: Vec<Arc<Subscriber>> = subscribers.iter().filter_map(Weak::upgrade).collect();
        if present.len() < subscribers.len() {
            subscribers.retain(|subscriber| subscriber.strong_count() > 0);
        }
        let mut inboxes: Vec<_> = present.iter().map(|subscriber| lock(&subscriber.inbox)).collect();
        let mut is_any = false;
        for event in events {
            is_any = true;
            if let Some(known) = known {
                known.apply(&event);
            }
            if let Some((last, others)) = inboxes.split_last_mut() {
                others.iter_mut().for_each(|inbox| inbox.mailbox.push(event.clone()));
                last.mailbox.push(event);
            }
        }
        drop(inboxes);
        if is_any {
            present.iter().for_each(|subscriber| subscriber.wake());
        }
    }

    /// Hears everything that is published from now on. `name` says who, where queues are told of.
    pub fn subscribe(&self, name: &'static str) -> Subscription {
        lock(&self.0.state).subscribe(name)
    }

    /// The subscribers' queues, by name.
    pub fn queues(&self) -> Vec<Queue> {
        let state = lock(&self.0.state);
        let queue = |(&name, folded): (&&'static str, &Arc<AtomicU64>)| {
            let present = state.subscribers.iter().filter_map(Weak::upgrade).filter(|s| s.name == name);
            let waiting = present.map(|subscriber| lock(&subscriber.inbox).mailbox.len() as u64).sum();
            Queue { name, waiting, folded: folded.load(Relaxed) }
        };
        state.folded.iter().map(queue).collect()
    }

    /// Has it counted how well somebody outside is told of the run; `waiting` says what waits to be told.
    pub fn deliver(
        &self,
        to: Receiver,
        name: &Scrubbed,
        waiting: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Arc<Delivery> {
        let delivery = Arc::new(Delivery::new(to, name.clone(), Box::new(waiting)));
        lock(&self.0.deliveries).push(delivery.clone());
        delivery
    }

    /// Those outside who are told of the run.
    pub fn deliveries(&self) -> Vec<Arc<Delivery>> {
        lock(&self.0.deliveries).clone()
    }

    /// The same for one that comes late, with all that was known by then; `None` where the bus does not keep it.
    pub fn subscribe_late(&self, name: &'static str) -> Option<(Known, Subscription)> {
        let mut state = lock(&self.0.state);
        let known = state.known.clone()?;
        Some((known, state.subscribe(name)))
    }

    /// Has a look at what is known; `None` where the bus does not keep it. Nobody publishes meanwhile.
    pub fn known<T>(&self, look: impl FnOnce(&Known) -> T) -> Option<T> {
        lock(&self.0.state).known.as_ref().map(look)
    }

    /// Ends it: subscribers get what waits for them, and nothing more.
    pub fn close(&self) {
        let mut state = lock(&self.0.state);
        state.is_closed = true;
        for subscriber in state.subscribers.drain(..).filter_map(|subscriber| subscriber.upgrade()) {
            lock(&subscriber.inbox).is_closed = true;
            subscriber.wake();
        }
    }
}

impl State {
    fn subscribe(&mut self, name: &'static str) -> Subscription {
        let folded = self.folded.entry(name).or_default().clone();
        let (inbox, arrived, changed) = Default::default();
        let subscriber = Arc::new(Subscriber { name, folded, inbox, arrived, changed });
        lock(&subscriber.inbox).is_closed = self.is_closed;
        self.subscribers.push(Arc::downgrade(&subscriber));
        Subscription(subscriber)
    }
}

impl Subscriber {
    fn wake(&self) {
        self.arrived.notify_one();
        self.changed.notify_one();
    }

    fn take(&self, inbox: &mut Inbox) -> Taken {
        if !inbox.mailbox.is_empty() {
            let folded = inbox.mailbox.folded();
            self.folded.fetch_add(folded, Relaxed);
            Taken::Events(inbox.mailbox.take(), folded)
        } else if inbox.is_closed {
            Taken::Closed
        } else {
            Taken::Nothing
        }
    }
}

impl Subscription {
    /// Waits for the next events, in their order; `None` when the bus is closed. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<Vec<Event>> {
        loop {
            let taken = self.0.take(&mut lock(&self.0.inbox));
            match taken {
                Taken::Events(events, _) => return Some(events),
                Taken::Closed => return None,
                Taken::Nothing => self.0.arrived.notified().await,
            }
        }
    }

    /// The same for a thread, which waits at most so long.
    pub fn wait(&mut self, patience: Duration) -> Taken {
        let is_quiet = |inbox: &mut Inbox| inbox.mailbox.is_empty() && !inbox.is_closed;
        let waited = self.0.changed.wait_timeout_while(lock(&self.0.inbox), patience, is_quiet);
        let (mut inbox, _) = waited.unwrap_or_else(PoisonError::into_inner);
        self.0.take(&mut inbox)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::{
        clock::Moment,
        event::{Level, Reason, Request, Sample, Shortfall, State, Transition, What, WorkerEvent},
        fleet::{Client, ClientKey, Endpoint, EndpointKey, Fleet, ProbeKind, WorkerKey},
        text::Scrubbed,
    };

    const CLIENTS: u32 = 100;

    fn fleet() -> Arc<Fleet> {
        Arc::new(Fleet {
            name: Scrubbed::new("f"),
            env: None,
            worker_size: 500,
            endpoints: vec![Endpoint::new("eu-1", "127.0.0.1", 1883)],
            clients: (0..CLIENTS).map(|n| Client::new(&format!("c{n}"), EndpointKey(0), Arc::default())).collect(),
        })
    }

    /// The n-th thing that a flapping fleet tells.
    fn event(n: u64) -> Event {
        let (client, endpoint) = (ClientKey((n / 8) as u32 % CLIENTS), EndpointKey(0));
        let is_up = (n / 8 / u64::from(CLIENTS)).is_multiple_of(2);
        let (from, to) = if is_up { (State::Off, State::Up) } else { (State::Up, State::Off) };
        let words = Scrubbed::new("words");
        let what = match n % 8 {
            0 => What::State(Transition {
                client,
                endpoint,
                from,
                to,
                reason: Reason::Start,
                detail: words,
                attempt: 1,
                next_try: None,
            }),
            1 => What::Shortfall(Shortfall {
                client,
                request: Request::default(),
                filter: words,
                asked: 1,
                granted: None,
                detail: Scrubbed::default(),
            }),
            2 => What::Notice { level: Level::Info, text: words },
            3 => What::Worker { worker: WorkerKey(0), event: WorkerEvent::Died, detail: words },
            4 => What::Subscribed(client, Duration::from_micros(n)),
            5 if n.is_multiple_of(801) => What::Second(chrono::Utc::now()),
            _ => What::Sample(Sample { client, probe: ProbeKind::Ack, rtt: Duration::from_micros(n % 9_000) }),
        };
        Event { at: Moment(n), what }
    }

    fn rounds() -> u64 {
        std::env::var("MQFLEET_ROUNDS").map_or(400_000, |_| 10_000_000)
    }

    #[test]
    fn who_sleeps_delays_nobody_and_wakes_up_to_the_truth_within_a_bound() {
        let begin = Anchor::of_line(Moment(0), chrono::Utc::now());
        let bus = Bus::keeping(begin, Known::new(fleet(), Moment(0)));
        let (mut sleeper, mut reader) = (bus.subscribe("test"), bus.subscribe("test"));
        let heard = Arc::new(AtomicU64::new(0));
        let count = heard.clone();
        let reading = std::thread::spawn(move || {
            let mut known = Known::new(fleet(), Moment(0));
            loop {
                match reader.wait(Duration::from_secs(60)) {
                    Taken::Events(events, _) => {
                        count.fetch_add(events.len() as u64, Ordering::Relaxed);
                        events.iter().for_each(|event| known.apply(event));
                    }
                    Taken::Closed => return known,
                    Taken::Nothing => panic!("the bus is neither alive nor closed"),
                }
            }
        });
        for n in 0..rounds() {
            bus.publish([event(n)]);
            if n.is_multiple_of(50_000) {
                let waiting = lock(&sleeper.0.inbox).mailbox.len();
                assert!(waiting <= Mailbox::FULL, "{waiting} events wait");
            }
        }
        // Who comes now needs not have been there.
        let (late, _) = bus.subscribe_late("late").expect("it keeps what is known");
        bus.close();
        let known = reading.join().expect("the reader");
        let Taken::Events(events, folded) = sleeper.wait(Duration::ZERO) else { panic!("nothing was kept") };
        assert!(folded > 0 && events.len() <= Mailbox::FULL);
        let mut woken = Known::new(fleet(), Moment(0));
        events.iter().for_each(|event| woken.apply(event));
        let states = |known: &Known| known.rows().iter().map(|row| (row.state, row.since)).collect::<Vec<_>>();
        assert_eq!(states(&woken), states(&late), "who slept");
        assert_eq!(woken.totals(), late.totals());
        assert_eq!(states(&known), states(&late), "who read");
        assert!(heard.load(Ordering::Relaxed) > 0);
        assert!(matches!(sleeper.wait(Duration::ZERO), Taken::Closed));
    }

    #[tokio::test]
    async fn who_goes_away_is_forgotten_and_who_comes_after_the_end_hears_of_it() {
        let bus = Bus::new(Anchor::now());
        let mut stays = bus.subscribe("test");
        drop(bus.subscribe("test"));
        bus.publish([event(0)]);
        assert_eq!(lock(&bus.0.state).subscribers.len(), 1);
        assert_eq!(stays.next().await.map(|events| events.len()), Some(1));
        bus.close();
        assert_eq!((stays.next().await, bus.subscribe("test").next().await), (None, None));
        assert!(bus.subscribe_late("late").is_none(), "it does not keep what is known");
    }
}
