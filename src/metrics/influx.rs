//! Defines how metrics are pushed to InfluxDB: a set of points every so often, sent again until they are taken; what they tell is the sheet's matter.

mod backlog;
mod points;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio::time::sleep;
use tracing::debug;

use self::{
    backlog::{Backlog, Batch},
    points::Points,
};
use super::exposition::Sheet;
use crate::{
    bus::{Bus, Delivery, Receiver},
    clock::Moment,
    event::{Event, Level, What},
    fleet::Secret,
    http::{self, Answer, Post},
    telling::{Destination, Influx},
    text::{Scrubbed, ellipsize},
};

pub(super) use points::PERCENTILES;

/// How long is waited before the next try, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
const HALF_A_SECOND: Duration = Duration::from_millis(500);
/// The most signs of what InfluxDB says that are told.
const WORDS: usize = 200;

/// Makes the points, every so often.
pub(super) struct Maker {
    points: Points,
    every: Duration,
    /// The last time of which there are points.
    last: Option<DateTime<Utc>>,
    queue: Queue,
}

/// What waits to be sent.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    backlog: Arc<Backlog>,
    delivery: Arc<Delivery>,
}

impl Maker {
    pub fn new(influx: &Influx, fleet: &str, bus: &Bus) -> Maker {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let backlog = Arc::new(Backlog::new(influx.keep));
        let waiting = backlog.clone();
        let delivery = bus.deliver(Receiver::Influx, &influx.shown, move || waiting.points());
        let queue = Queue { backlog, delivery };
        Maker { points: Points::new(fleet, &host), every: influx.every, last: None, queue }
    }

    pub fn queue(&self) -> Queue {
        self.queue.clone()
    }

    /// Takes the figures of a second, where it is time for points; at the end of a run it is.
    pub fn take(&mut self, sheet: &Sheet, at: DateTime<Utc>, is_end: bool) {
        // Seconds come a little early or late.
        let is_due = |last: DateTime<Utc>| (at - last).to_std().is_ok_and(|age| age + HALF_A_SECOND >= self.every);
        if self.last.is_some_and(|last| last == at || !(is_end || is_due(last))) {
            return;
        }
        self.last = Some(at);
        match Batch::of(&self.points.lines(sheet, at), at) {
            Ok(batches) => {
                for batch in batches {
                    self.queue.delivery.note_dropped(self.queue.backlog.put(batch));
                }
            }
            Err(error) => debug!(%error, "points cannot be compressed"),
        }
    }
}

impl Queue {
    /// Whether all was taken.
    pub fn is_empty(&self) -> bool {
        self.backlog.points() == 0
    }
}

/// Why points were not taken.
enum Failure {
    /// They may be, later; when, where it said so.
    Later(String, Option<Duration>),
    /// So many of them never will be: all, where it is not known how many.
    Refused(String, Option<u64>),
}

/// Sends what waits, for as long as it is polled.
pub(super) async fn run(influx: Influx, queue: Queue, bus: Bus) {
    let Queue { backlog, delivery } = queue;
    let notice = |level, text: String| {
        let what = What::Notice { level, text: Scrubbed::new(&text) };
        bus.publish([Event { at: Moment::now(), what }]);
    };
    let name = format!("InfluxDB at {}", influx.shown);
    let keep = humantime::format_duration(influx.keep);
    let mut outage: Option<Outage> = None;
    let mut pause = PAUSE.0;
    loop {
        let batch = backlog.next().await;
        let begin = Instant::now();
        let wait = match write(&influx, &batch).await {
            Ok(()) => {
                debug!(points = batch.points, took = ?begin.elapsed(), "points written");
                if backlog.take(&batch) {
                    delivery.note_told(batch.points);
                }
                if let Some(Outage { dropped, .. }) = outage.take() {
                    let lost = match delivery.dropped() - dropped {
                        0 => "nothing was lost".to_owned(),
                        lost => format!("{lost} points were dropped"),
                    };
                    notice(Level::Info, format!("{name} takes metrics again; {lost}"));
                }
                pause = PAUSE.0;
                Duration::ZERO
            }
            Err(failure) => {
                delivery.note_failed();
                let is_first = outage.is_none();
                let out = outage.get_or_insert(Outage { dropped: delivery.dropped(), is_drop_told: false });
                let (why, wait) = match failure {
                    Failure::Later(why, after) => {
                        (format!("{why}; it is tried again for {keep}"), after.unwrap_or(pause))
                    }
                    Failure::Refused(why, count) => {
                        let lost = count.unwrap_or(batch.points).min(batch.points);
                        if backlog.take(&batch) {
                            delivery.note_dropped(lost);
                            delivery.note_told(batch.points - lost);
                        }
                        out.is_drop_told = true;
                        (format!("{why}; {lost} points are dropped"), Duration::ZERO)
                    }
                };
                debug!(why, "points not written");
                if is_first {
                    notice(Level::Error, format!("{name} does not take metrics: {why}"));
                } else if !out.is_drop_told && delivery.dropped() > out.dropped {
                    out.is_drop_told = true;
                    notice(Level::Error, format!("{name} is away for too long: the oldest metrics are dropped"));
                }
                pause = (pause * 2).min(PAUSE.1);
                wait
            }
        };
        sleep(wait).await;
    }
}

/// What is known of it while it takes nothing.
struct Outage {
    /// Points that were dropped before.
    dropped: u64,
    is_drop_told: bool,
}

async fn write(influx: &Influx, batch: &Batch) -> Result<(), Failure> {
    let base = influx.url.expose();
    let url = match &influx.destination {
        Destination::Database(database) => {
            http::with_parameters(&format!("{base}/write"), &[("db", database), ("precision", "ms")])
        }
        Destination::Bucket { org, bucket } => {
            let parameters = [("org", org.as_str()), ("bucket", bucket), ("precision", "ms")];
            http::with_parameters(&format!("{base}/api/v2/write"), &parameters)
        }
    };
    let authorization = http::authorization(&influx.access, "Token").await;
    let authorization = authorization.map_err(|why| Failure::Later(why.to_string(), None))?;
    let (url, body) = (Secret::new(url), batch.body.clone());
    let post = Post { url, authorization, content_type: "text/plain; charset=utf-8", is_gzip: true, body };
    let answer = http::post(post).await.map_err(|why| Failure::Later(why, None))?;
    judge(&answer, &influx.destination)
}

/// What an answer means. 400 is about the points themselves, and those of them that are right are kept.
fn judge(answer: &Answer, destination: &Destination) -> Result<(), Failure> {
    let Some(why) = answer.refusal() else { return Ok(()) };
    let words = ellipsize(&answer.words, WORDS);
    let why = if words.is_empty() { why } else { format!("{why}: {words}") };
    match (answer.status, destination) {
        (400 | 413 | 422, _) => Err(Failure::Refused(why, dropped(&answer.words))),
        (404, Destination::Database(name)) => {
            let name = Scrubbed::new(name);
            Err(Failure::Later(format!("{why}; CREATE DATABASE \"{name}\" makes one"), None))
        }
        _ => Err(Failure::Later(why, answer.retry_after)),
    }
}

/// How many points of a set were not kept, where InfluxDB says it (`partial write: … dropped=3`).
fn dropped(words: &str) -> Option<u64> {
    let (_, behind) = words.rsplit_once("dropped=")?;
    let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
    behind[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_for_now_or_for_good() {
        let judged = |status, words: &str| {
            let answer = Answer { status, retry_after: Some(Duration::from_secs(7)), words: Scrubbed::new(words) };
            judge(&answer, &Destination::Database("d".into()))
        };
        assert!(judged(204, "").is_ok());
        let refused = judged(400, "{\"error\":\"partial write: field type conflict dropped=3\"}");
        assert!(matches!(refused, Err(Failure::Refused(_, Some(3)))));
        assert!(matches!(judged(400, "unable to parse"), Err(Failure::Refused(_, None))));
        let Err(Failure::Later(why, None)) = judged(404, "{\"error\":\"database not found: \\\"d\\\"\"}") else {
            panic!()
        };
        assert!(why.contains("database not found") && why.ends_with("CREATE DATABASE \"d\" makes one"), "{why}");
        assert!(matches!(judged(503, ""), Err(Failure::Later(_, Some(after))) if after.as_secs() == 7));
        assert!(matches!(judged(401, ""), Err(Failure::Later(why, _)) if why.contains("credentials")));
    }
}
