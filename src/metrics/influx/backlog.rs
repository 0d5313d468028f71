//! Defines where points wait until InfluxDB has taken them: compressed, for a limited time and in limited memory; who sends them is elsewhere.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use flate2::{Compression, write::GzEncoder};
use tokio::sync::Notify;

/// Points that are sent at once.
#[derive(Debug)]
pub(super) struct Batch {
    /// The second that they are of.
    pub at: DateTime<Utc>,
    pub points: u64,
    /// The lines, compressed with gzip.
    pub body: Vec<u8>,
}

impl Batch {
    /// The most points that are sent at once, as InfluxDB advises.
    const MOST: usize = 5_000;

    /// All lines of one second.
    pub fn of(lines: &[String], at: DateTime<Utc>) -> io::Result<Vec<Batch>> {
        let batch = |lines: &[String]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            lines.iter().try_for_each(|line| writeln!(encoder, "{line}"))?;
            Ok(Batch { at, points: lines.len() as u64, body: encoder.finish()? })
        };
        lines.chunks(Self::MOST).map(batch).collect()
    }
}

/// Points that wait, oldest first.
#[derive(Debug)]
pub(super) struct Backlog {
    keep: Duration,
    waiting: Mutex<VecDeque<Arc<Batch>>>,
    arrived: Notify,
}

impl Backlog {
    /// The most memory that they may take, in bytes.
    const ROOM: usize = 64 << 20;

    /// Points wait for as long as `keep`.
    pub fn new(keep: Duration) -> Backlog {
        Backlog { keep, waiting: Mutex::default(), arrived: Notify::new() }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Arc<Batch>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many points wait.
    pub fn points(&self) -> u64 {
        self.waiting().iter().map(|batch| batch.points).sum()
    }

    /// Takes points; returns how many older ones had to go for them.
    pub fn put(&self, batch: Batch) -> u64 {
        let mut waiting = self.waiting();
        waiting.push_back(Arc::new(batch));
        let newest = waiting.back().map(|batch| batch.at);
        let mut dropped = 0;
        let mut room = waiting.iter().map(|batch| batch.body.len()).sum::<usize>();
        while let Some(first) = waiting.front() {
            let is_old = newest.is_some_and(|newest| (newest - first.at).to_std().is_ok_and(|age| age > self.keep));
            if !is_old && room <= Self::ROOM {
                break;
            }
            (dropped, room) = (dropped + first.points, room - first.body.len());
            waiting.pop_front();
        }
        drop(waiting);
        self.arrived.notify_one();
        dropped
    }

    /// Waits for points to send; they go on waiting until they are [taken out](Backlog::take).
    pub async fn next(&self) -> Arc<Batch> {
        loop {
            if let Some(first) = self.waiting().front() {
                return first.clone();
            }
            self.arrived.notified().await;
        }
    }

    /// Takes points out; whether they were still there.
    pub fn take(&self, batch: &Arc<Batch>) -> bool {
        let mut waiting = self.waiting();
        let is_first = waiting.front().is_some_and(|first| Arc::ptr_eq(first, batch));
        if is_first {
            waiting.pop_front();
        }
        is_first
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn batches(lines: usize, second: i64) -> Vec<Batch> {
        let lines: Vec<String> = (0..lines).map(|n| format!("m,n={n} value=1 1")).collect();
        Batch::of(&lines, DateTime::from_timestamp(1_800_000_000 + second, 0).expect("a time")).expect("memory")
    }

    #[test]
    fn many_points_are_several_batches_and_nothing_is_lost() {
        let all = batches(12_000, 0);
        assert_eq!(all.iter().map(|batch| batch.points).collect::<Vec<_>>(), [5_000, 5_000, 2_000]);
        let mut text = String::new();
        for batch in &all {
            flate2::read::GzDecoder::new(&batch.body[..]).read_to_string(&mut text).expect("gzip");
        }
        assert_eq!((text.lines().count(), text.lines().last()), (12_000, Some("m,n=11999 value=1 1")));
        let sent: usize = all.iter().map(|batch| batch.body.len()).sum();
        assert!(sent * 4 < text.len(), "{sent} of {}", text.len());
    }

    #[tokio::test]
    async fn the_oldest_go_when_their_time_is_over_and_are_counted() {
        let backlog = Backlog::new(Duration::from_secs(60));
        let mut dropped = 0;
        for second in (0..=120).step_by(10) {
            dropped += batches(3, second).into_iter().map(|batch| backlog.put(batch)).sum::<u64>();
        }
        assert_eq!((dropped, backlog.points()), (6 * 3, 7 * 3));
        let first = backlog.next().await;
        assert_eq!(first.at.timestamp(), 1_800_000_060);
        // The time of the one that is being sent may be over meanwhile: it is not sent twice, nor counted twice.
        assert_eq!(backlog.put(batches(3, 130).remove(0)), 3);
        assert!(!backlog.take(&first));
        let second = backlog.next().await;
        assert!(backlog.take(&second) && !backlog.take(&second));
        assert_eq!(backlog.points(), 6 * 3);
    }

    #[test]
    fn memory_is_bounded_whatever_the_time() {
        let backlog = Backlog::new(Duration::from_secs(86_400));
        let at = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let put = |_| backlog.put(Batch { at, points: 1, body: vec![0; Backlog::ROOM / 4] });
        assert_eq!((0..10).map(put).sum::<u64>(), 6);
        assert_eq!(backlog.points(), 4);
    }
}
