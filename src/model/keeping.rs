//! Defines what of each client is kept over a restart of its agent, and how that is taken in; the file it is in is the agent's matter.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
};

use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    event::{Past, Strip},
    fleet::ClientKey,
    model::{known::Known, record::Record},
};

/// A client's record, by its ID: keys are those of one run.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    id: String,
    past: Past,
    strip: Strip,
    reconnects: u32,
}

impl Known {
    /// The records of the clients at these places, up to `now`, in few bytes. Those of several ranges may be put
    /// together: for [`Known::recall`].
    pub fn encode_records(&self, places: Range<usize>, now: Moment) -> Vec<u8> {
        let keys = places.take_while(|place| *place < self.rows().len()).map(|place| ClientKey(place as u32));
        let is_worth = |key: &ClientKey| {
            let row = self.row(*key);
            row.is_touched() || !row.record.meant(now).is_zero()
        };
        let keys = keys.filter(|key| self.fleet().has(*key) && is_worth(key));
        let kept: Vec<Kept> = keys
            .map(|key| {
                let row = self.row(key);
                let (past, strip) = row.record.keep(now, row.is_slow());
                Kept { id: self.fleet().client(key).id.to_string(), past, strip, reconnects: row.reconnects }
            })
            .collect();
        // Numbers, sequences and texts: there is nothing that postcard cannot write to memory.
        postcard::to_stdvec(&kept).unwrap_or_default()
    }

    /// Goes on with records of before, by a clock that is so many microseconds earlier, of clients that nothing was
    /// heard of yet. Says whether they make sense; where they do not, nothing changes.
    pub fn recall(&mut self, mut bytes: &[u8], later: i64, now: Moment) -> bool {
        let mut known: HashMap<String, VecDeque<Kept>> = HashMap::new();
        while !bytes.is_empty() {
            let Ok((kept, rest)) = postcard::take_from_bytes::<Vec<Kept>>(bytes) else { return false };
            kept.into_iter().for_each(|kept| known.entry(kept.id.clone()).or_default().push_back(kept));
            bytes = rest;
        }
        for (row, client) in self.rows.iter_mut().zip(&self.fleet.clients) {
            // Of several with one ID, the first is the first.
            if let Some(kept) = known.get_mut(&*client.id).and_then(VecDeque::pop_front) {
                row.record = Record::recall(&kept.past, &kept.strip, later, now);
                row.reconnects = kept.reconnects;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        event::{Event, Reason, State, Transition, What},
        fleet::{Client, Endpoint, EndpointKey, Fleet},
        text::Scrubbed,
    };

    fn fleet(ids: &[&str]) -> Arc<Fleet> {
        Arc::new(Fleet {
            name: Scrubbed::new("f"),
            env: None,
            worker_size: 500,
            endpoints: vec![Endpoint::new("eu-1", "127.0.0.1", 1883)],
            clients: ids.iter().map(|id| Client::new(id, EndpointKey(0), Arc::default())).collect(),
        })
    }

    fn step(known: &mut Known, seconds: u64, client: u32, to: State, reason: Reason) {
        let client = ClientKey(client);
        let (from, endpoint) = (known.row(client).state, EndpointKey(0));
        let (detail, attempt, next_try) = (Scrubbed::default(), 1, None);
        let step = Transition { client, endpoint, from, to, reason, detail, attempt, next_try };
        known.apply(&Event { at: Moment(seconds * 1_000_000), what: What::State(step) });
    }

    /// Up for a minute, lost for ten seconds, up again; and another one that goes on being lost.
    fn story() -> Known {
        let mut known = Known::new(fleet(&["a", "b", "c"]), Moment(0));
        for client in [0, 1] {
            step(&mut known, 10, client, State::Up, Reason::Connected);
            step(&mut known, 70, client, State::Backoff, Reason::ConnectionLost);
        }
        step(&mut known, 80, 0, State::Up, Reason::Connected);
        known
    }

    #[test]
    fn a_record_goes_on_in_another_run_and_the_time_between_counts_as_nothing() {
        let known = story();
        let at = |seconds: u64| Moment(seconds * 1_000_000);
        let mut kept = known.encode_records(0..2, at(100));
        kept.extend(known.encode_records(2..9, at(100)));
        // Another boot, whose clock has less than the one before; others are there, in another order.
        let mut next = Known::new(fleet(&["new", "b", "a"]), at(50));
        assert!(next.recall(&kept, -60_000_000, at(50)));
        let (new, b, a) = (&next.rows()[0].record, &next.rows()[1].record, &next.rows()[2].record);
        assert_eq!((new.flaps(), new.share(at(50))), (0, None));
        assert_eq!((a.flaps(), a.mended(), a.outage()), (1, (Duration::from_secs(10), 1), None));
        assert_eq!((a.time_in(State::Up, at(50)), a.meant(at(50))), (Duration::from_secs(80), Duration::from_secs(90)));
        assert_eq!(
            (b.outage(), b.longest_outage(at(50))),
            (None, Duration::from_secs(30)),
            "nobody knows whether it went on"
        );
        assert_eq!((next.rows()[2].reconnects, next.rows()[1].reconnects), (1, 0));
        step(&mut next, 60, 2, State::Up, Reason::Connected);
        let a = &next.rows()[2];
        assert_eq!((a.reconnects, a.record.flaps()), (1, 1), "its first connect is no reconnect");
        assert_eq!(a.record.meant(at(70)), Duration::from_secs(100));
    }

    #[test]
    fn records_that_were_cut_off_change_nothing() {
        let kept = story().encode_records(0..9, Moment(100_000_000));
        for length in 1..kept.len() {
            let mut next = Known::new(fleet(&["a", "b"]), Moment(0));
            assert!(!next.recall(&kept[..length], 0, Moment(0)), "{length} of {} bytes", kept.len());
            assert!(next.rows().iter().all(|row| row.record.flaps() == 0));
        }
    }
}
