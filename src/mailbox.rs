//! Defines what becomes of events while a subscriber is slower than the fleet: they are gathered, then folded; it never loses what state a client is in.

use std::collections::{HashMap, VecDeque};

use crate::{
    clock::Moment,
    event::{AlertKey, Event, JobId, Level, What},
    fleet::{ClientKey, EndpointKey},
    text::Scrubbed,
};

/// Events on their way to one subscriber. Past `Mailbox::FULL` the steps of each client are folded into one (from
/// where the listener knows it to be, to where it is), and samples are dropped and counted, but for the
/// slowest of each client: state may be late, but never wrong, and memory stays within a few events a
/// client. What came and went while the listener slept (an outage that healed) is not told, but for how
/// long its users waited. What is late is so since the first probe without an answer. Of subscriptions
/// the last answer about each filter is kept, of fleets the last, which has all that those before it had,
/// and of notices and news of workers the last `Mailbox::NOTICES`; how many more there were is a notice of
/// its own.
#[derive(Debug, Default)]
pub struct Mailbox {
    events: Vec<Event>,
    /// The size after the last folding; there is no use in folding again soon.
    folded_to: usize,
    /// Events that were thrown away since the last [`Mailbox::take`], samples left out.
    folded: u64,
    /// Notices that were dropped since then, and when the last of them came.
    untold: Option<(Moment, u64)>,
}

impl Mailbox {
    /// The most events that wait unfolded.
    pub(crate) const FULL: usize = 65_536;
    /// The most notices and news of workers that are kept by folding.
    const NOTICES: usize = 256;

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub fn push(&mut self, event: Event) {
        self.events.push(event);
        if self.events.len() >= 2 * self.folded_to.max(Self::FULL / 2) {
            self.fold();
        }
    }

    /// How many events, of all that were pushed since the last [`Mailbox::take`], are contained in
    /// others now; samples and notices are counted by events of their own.
    pub fn folded(&self) -> u64 {
        self.folded
    }

    pub fn take(&mut self) -> Vec<Event> {
        self.folded_to = 0;
        self.folded = 0;
        let mut events = std::mem::take(&mut self.events);
        if let Some((at, count)) = self.untold.take() {
            let text = Scrubbed::new(&format!("too slow a reader: {count} more notices before this were dropped"));
            let place = events.iter().position(|event| event.at > at).unwrap_or(events.len());
            events.insert(place, Event { at, what: What::Notice { level: Level::Warning, text } });
        }
        events
    }

    fn fold(&mut self) {
        let before = self.events.len();
        let mut samples = 0u32;
        let mut dropped = 0;
        let mut slowest: HashMap<ClientKey, Event> = HashMap::new();
        let mut last_sample = Moment(0);
        let mut place: HashMap<ClientKey, usize> = HashMap::new();
        let mut gates: HashMap<EndpointKey, Event> = HashMap::new();
        let mut lates: HashMap<ClientKey, Event> = HashMap::new();
        let mut tcps: HashMap<ClientKey, Event> = HashMap::new();
        let mut findings: HashMap<EndpointKey, Event> = HashMap::new();
        let mut connacks: HashMap<ClientKey, Event> = HashMap::new();
        let mut kept: Vec<Event> = Vec::new();
        let mut counted: HashMap<ClientKey, usize> = HashMap::new();
        let mut shortfalls: HashMap<(ClientKey, Scrubbed), Event> = HashMap::new();
        let mut subscribed: HashMap<ClientKey, Event> = HashMap::new();
        let mut measured: HashMap<ClientKey, Event> = HashMap::new();
        let mut notices: VecDeque<Event> = VecDeque::new();
        let mut alerts: HashMap<AlertKey, Event> = HashMap::new();
        let mut handlings: HashMap<_, Event> = HashMap::new();
        let mut jobs: HashMap<JobId, Event> = HashMap::new();
        let (mut second, mut recording, mut fleet) = (None, None, None);
        for event in self.events.drain(..) {
            match event.what {
                What::Sample(sample) => {
                    let late = lates.get(&sample.client).map(|late| &late.what);
                    if matches!(late, Some(What::Late(late)) if sample.ends(event.at, late.since)) {
                        lates.remove(&sample.client);
                    }
                    // The slowest is the one that the listener may be waiting for.
                    let (at, known) = (event.at, slowest.get(&sample.client).map(|known| &known.what));
                    let is_slowest = !matches!(known, Some(What::Sample(known)) if known.rtt > sample.rtt);
                    let dropping = if is_slowest { slowest.insert(sample.client, event) } else { Some(event) };
                    if dropping.is_some() {
                        samples = samples.saturating_add(1);
                        dropped += 1;
                        last_sample = last_sample.max(at);
                    }
                }
                What::SamplesLost(count) => {
                    dropped += 1;
                    samples = samples.saturating_add(count);
                    last_sample = event.at;
                }
                What::Messages(more) => match counted.get(&more.client) {
                    Some(&i) => {
                        if let What::Messages(known) = &mut kept[i].what {
                            known.received = known.received.saturating_add(more.received);
                            known.published = known.published.saturating_add(more.published);
                            known.refused = known.refused.saturating_add(more.refused);
                        }
                    }
                    None => {
                        counted.insert(more.client, kept.len());
                        kept.push(Event { at: event.at, what: What::Messages(more) });
                    }
                },
                What::State(mut step) => {
                    lates.remove(&step.client); // it ended with its connection
                    match place.get(&step.client) {
                        Some(&i) => {
                            if let What::State(earlier) = &kept[i].what {
                                step.from = earlier.from;
                            }
                            kept[i] = Event { at: event.at, what: What::State(step) };
                        }
                        None => {
                            place.insert(step.client, kept.len());
                            kept.push(Event { at: event.at, what: What::State(step) });
                        }
                    }
                }
                What::Late(late) => {
                    lates.entry(late.client).or_insert(event);
                }
                What::Tcp(client, _) => {
                    tcps.insert(client, event);
                }
                What::Connack(client, _) => {
                    connacks.insert(client, event); // the newest says all
                }
                What::Finding(endpoint, _) => {
                    findings.insert(endpoint, event);
                }
                What::Gate(endpoint, gate) => {
                    gates.insert(endpoint, Event { at: event.at, what: What::Gate(endpoint, gate) }); // the newest says all
                }
                What::Second(_) => second = Some(event), // the newest is what time it is
                What::Recording(_) => recording = Some(event),
                What::Fleet(_) => fleet = Some(event),
                What::Shortfall(ref shortfall) => {
                    shortfalls.insert((shortfall.client, shortfall.filter.clone()), event);
                }
                What::Subscribed(client, _) => {
                    subscribed.insert(client, event);
                }
                What::Measured(ref told) => {
                    measured.insert(told.client, event);
                }
                What::Notice { .. } | What::Worker { .. } | What::Trouble(_) | What::Order(..) => {
                    if notices.len() == Self::NOTICES
                        && let Some(oldest) = notices.pop_front()
                    {
                        dropped += 1;
                        let before = self.untold.map_or(0, |(_, count)| count);
                        self.untold = Some((oldest.at, before + 1));
                    }
                    notices.push_back(event);
                }
                What::Alert(ref alert) => {
                    alerts.insert(alert.key(), event); // where a rule stands now
                }
                What::Handling(ref handling) => {
                    handlings.insert(handling.topic(), event);
                }
                What::Job(news) => {
                    let known = jobs.remove(&news.job.id).map(|known| known.what);
                    let before = if let Some(What::Job(before)) = known { Some(*before) } else { None };
                    let news = match before {
                        Some(before) => before.followed(*news),
                        None => *news,
                    };
                    jobs.insert(news.job.id, Event { at: event.at, what: What::Job(Box::new(news)) });
                }
                // Told once to one that comes late; nothing of it comes again.
                What::Standing(_) | What::FleetStanding(_) => kept.push(event),
            }
        }
        let newest = gates.len() + findings.len() + lates.len() + tcps.len() + connacks.len() + slowest.len();
        let newest = newest
            + shortfalls.len()
            + subscribed.len()
            + measured.len()
            + notices.len()
            + alerts.len()
            + handlings.len()
            + jobs.len();
        let newest = newest + usize::from(second.is_some()) + usize::from(recording.is_some());
        let newest = newest + usize::from(fleet.is_some());
        self.folded += (before - dropped - kept.len() - newest) as u64;
        if samples > 0 {
            kept.push(Event { at: last_sample, what: What::SamplesLost(samples) });
        }
        for newest in [lates, tcps, connacks, slowest, subscribed, measured] {
            kept.extend(newest.into_values());
        }
        kept.extend(gates.into_values().chain(findings.into_values()));
        kept.extend(shortfalls.into_values().chain(alerts.into_values()).chain(handlings.into_values()));
        kept.extend(notices.into_iter().chain(recording).chain(jobs.into_values()));
        kept.sort_by_key(|e| e.at);
        // What is of that time is before the end of the second.
        let place = second.iter().map(|second: &Event| kept.partition_point(|e| e.at <= second.at)).next();
        place.into_iter().zip(second).for_each(|(place, second)| kept.insert(place, second));
        // Whatever is told after it may be about clients that only this one has.
        kept.splice(0..0, fleet);
        self.folded_to = kept.len();
        self.events = kept;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        event::{Late, Reason, Request, Sample, Shortfall, State, Transition, WorkerEvent},
        fleet::{ProbeKind, WorkerKey},
    };

    fn step(client: u32, from: State, to: State) -> What {
        What::State(Transition {
            client: ClientKey(client),
            endpoint: EndpointKey(0),
            from,
            to,
            reason: Reason::Start,
            detail: Scrubbed::default(),
            attempt: 1,
            next_try: None,
        })
    }

    #[test]
    fn a_listener_that_sleeps_gets_the_state_right_and_the_losses_counted() {
        let mut mailbox = Mailbox::default();
        let rounds = 100_000u64;
        let walk = [State::Queued, State::Connecting, State::Up, State::Backoff];
        let mut state = [State::Off; 10];
        let mut pushed_samples = 0;
        for i in 0..rounds {
            let client = (i % 10) as usize;
            let to = walk[(i / 10 % 4) as usize];
            mailbox.push(Event { at: Moment(i), what: step(client as u32, state[client], to) });
            state[client] = to;
            let rtt = Duration::from_micros(i);
            let sample = Sample { client: ClientKey(client as u32), probe: ProbeKind::Ack, rtt };
            mailbox.push(Event { at: Moment(i), what: What::Sample(sample) });
            pushed_samples += 1;
            assert!(mailbox.events.len() <= Mailbox::FULL);
        }
        assert!(mailbox.folded() > 0);
        let mut told = mailbox.folded();
        let mut heard = [State::Off; 10];
        let mut samples = 0;
        for event in mailbox.take() {
            match event.what {
                What::State(t) => {
                    assert_eq!(t.from, heard[t.client.index()], "a step that does not join up");
                    told += 1;
                    heard[t.client.index()] = t.to;
                }
                What::Sample(_) => samples += 1,
                What::SamplesLost(n) => samples += n,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(heard, state);
        assert_eq!(samples, pushed_samples);
        assert_eq!(told, rounds, "steps that are neither told nor counted");
    }

    #[test]
    fn what_a_flapping_fleet_says_besides_stays_bounded() {
        let mut mailbox = Mailbox::default();
        let rounds = 100_000u64;
        for at in 0..rounds {
            let client = ClientKey((at % 10) as u32);
            let filter = Scrubbed::new(if at % 20 < 10 { "a/#" } else { "b/#" });
            let worker = WorkerKey((at % 3) as u32);
            let said = [
                What::Shortfall(Shortfall {
                    client,
                    request: Request::default(),
                    filter,
                    asked: 1,
                    granted: None,
                    detail: Scrubbed::default(),
                }),
                What::Subscribed(client, Duration::from_micros(at)),
                What::Notice { level: Level::Info, text: Scrubbed::new(&at.to_string()) },
                What::Worker { worker, event: WorkerEvent::Died, detail: Scrubbed::default() },
            ];
            said.into_iter().for_each(|what| mailbox.push(Event { at: Moment(at), what }));
            assert!(mailbox.events.len() <= Mailbox::FULL);
        }
        mailbox.fold();
        let folded = mailbox.folded();
        let told = mailbox.take();
        assert!(told.is_sorted_by_key(|event| event.at));
        let count = |is_one: &dyn Fn(&What) -> bool| told.iter().filter(|event| is_one(&event.what)).count();
        assert_eq!(count(&|what| matches!(what, What::Shortfall(_))), 20);
        assert_eq!(count(&|what| matches!(what, What::Subscribed(..))), 10);
        assert_eq!(folded, 2 * rounds - 30);
        assert_eq!(count(&|what| matches!(what, What::Notice { .. } | What::Worker { .. })), Mailbox::NOTICES + 1);
        let dropped = 2 * rounds - Mailbox::NOTICES as u64;
        let text = Scrubbed::new(&format!("too slow a reader: {dropped} more notices before this were dropped"));
        assert_eq!(
            told.iter().filter(|e| e.what == What::Notice { level: Level::Warning, text: text.clone() }).count(),
            1
        );
        // The newest of each.
        let newest = |event: &&Event| matches!(&event.what, What::Subscribed(..) | What::Shortfall(_));
        assert!(told.iter().filter(newest).all(|event| event.at.0 >= rounds - 20));
        assert_eq!(mailbox.take(), [], "told once");
    }

    fn late(at: u64, client: u32, since: u64) -> Event {
        let late = Late { client: ClientKey(client), probe: ProbeKind::Echo, since: Moment(since) };
        Event { at: Moment(at), what: What::Late(late) }
    }

    fn answer(at: u64, client: u32, sent: u64) -> Event {
        let rtt = Moment(at).since(Moment(sent));
        let sample = Sample { client: ClientKey(client), probe: ProbeKind::Echo, rtt };
        Event { at: Moment(at), what: What::Sample(sample) }
    }

    #[test]
    fn what_is_late_is_so_since_the_first_probe_and_the_slowest_answer_is_told() {
        let mut mailbox = Mailbox::default();
        let s = 1_000_000;
        let told = [
            (late(2 * s, 0, s), true),
            (late(9 * s, 0, 8 * s), false),
            (answer(10 * s, 0, s / 2), true), // to the one before
            (answer(11 * s, 1, 10 * s), false),
            (late(12 * s, 1, 11 * s), false),
            (answer(15 * s, 1, 11 * s), true),
            (late(16 * s, 2, 14 * s), false),
            (Event { at: Moment(17 * s), what: step(2, State::Up, State::Backoff) }, true),
        ];
        told.iter().for_each(|(event, _)| mailbox.push(event.clone()));
        mailbox.fold();
        let lost = Event { at: Moment(15 * s), what: What::SamplesLost(1) };
        let mut expected: Vec<Event> =
            told.into_iter().filter_map(|(event, is_kept)| is_kept.then_some(event)).collect();
        expected.insert(2, lost);
        assert_eq!((mailbox.folded(), mailbox.take()), (3, expected));
    }

    /// What a listener takes to be late.
    fn listen(lates: &mut HashMap<ClientKey, Moment>, events: &[Event]) {
        for Event { at, what } in events {
            match what {
                What::Late(late) => {
                    lates.entry(late.client).or_insert(late.since);
                }
                What::Sample(sample) if lates.get(&sample.client).is_some_and(|&since| sample.ends(*at, since)) => {
                    lates.remove(&sample.client);
                }
                What::State(step) => {
                    lates.remove(&step.client);
                }
                _ => {}
            }
        }
    }

    proptest! {
        /// Whenever it is folded and taken, and whatever was told before.
        #[test]
        fn folded_or_not_the_same_clients_are_late(
            acts in proptest::collection::vec((0..3u32, 0..5u8, 0..8u8), 0..120),
        ) {
            let mut mailbox = Mailbox::default();
            let (mut whole, mut folded) = (HashMap::new(), HashMap::new());
            let mut awaited = [None; 3];
            for (at, (client, act, fold)) in (1..).map(|n| 2_000_000 * n).zip(acts) {
                let place: &mut Option<(u64, bool)> = &mut awaited[client as usize];
                let event = match (act, *place) {
                    (0, _) => {
                        *place = Some((at, false)); // the one before is given up
                        continue;
                    }
                    (1, Some((sent, false))) => {
                        *place = Some((sent, true));
                        late(at, client, sent)
                    }
                    (2 | 3, Some((sent, _))) => {
                        *place = None;
                        answer(at, client, sent)
                    }
                    (4, _) => {
                        *place = None;
                        Event { at: Moment(at), what: step(client, State::Up, State::Up) }
                    }
                    _ => continue,
                };
                listen(&mut whole, std::slice::from_ref(&event));
                mailbox.push(event);
                if fold < 4 {
                    mailbox.fold();
                }
                if fold == 0 {
                    listen(&mut folded, &mailbox.take());
                }
            }
            mailbox.fold();
            listen(&mut folded, &mailbox.take());
            prop_assert_eq!(folded, whole);
        }
    }
}
