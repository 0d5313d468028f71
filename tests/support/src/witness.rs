//! Whether this machine had time for programs: what is late because it had none is nobody's fault.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Notes when this machine had no time for a thread that wants nearly none (then it had none for programs either), and
/// for how long its cores had nothing to do.
pub struct Witness {
    seen: Arc<Mutex<Seen>>,
    done: Arc<AtomicBool>,
}

#[derive(Default)]
struct Seen {
    /// When the thread was to run, and how late it did.
    stalls: Vec<(Instant, Duration)>,
    /// The idle time of all cores since the start of the machine.
    idle: Vec<(Instant, Duration)>,
}

impl Witness {
    const TICK: Duration = Duration::from_millis(2);
    /// What a timer may be late on a machine at rest.
    const FINE: Duration = Duration::from_millis(3);
    /// From one look at the idle time to the next: the kernel counts it in steps of 10 ms (proc(5), USER_HZ).
    const LOOK: Duration = Duration::from_millis(20);

    pub fn start() -> Witness {
        let witness = Witness { seen: Arc::default(), done: Arc::default() };
        let (seen, done) = (witness.seen.clone(), witness.done.clone());
        thread::spawn(move || {
            let mut looked = None;
            while !done.load(Ordering::Relaxed) {
                let before = Instant::now();
                thread::sleep(Self::TICK);
                let late = before.elapsed().saturating_sub(Self::TICK);
                let mut seen = seen.lock().unwrap();
                if late > Self::FINE {
                    seen.stalls.push((before, late));
                }
                if looked.is_none_or(|at| before - at >= Self::LOOK) {
                    looked = Some(before);
                    seen.idle.push((Instant::now(), idle()));
                }
            }
        });
        witness
    }

    /// For how long it could not run in this span and right before it.
    pub fn lost(&self, from: Instant, span: Duration) -> Duration {
        let before = from - Duration::from_millis(50);
        let (seen, end) = (self.seen.lock().unwrap(), from + span);
        let within = seen.stalls.iter().filter(|(at, late)| *at < end && *at + *late > before);
        within.map(|(_, late)| *late).sum()
    }

    /// Whether there was time for everybody: it ran nearly all of that span, and some core had nothing to do for a fifth of it.
    pub fn had_time(&self, from: Instant, span: Duration) -> bool {
        if self.lost(from, span) >= span / 10 {
            return false;
        }
        let seen = self.seen.lock().unwrap();
        let at = |time: Instant| seen.idle[..seen.idle.partition_point(|(at, _)| *at <= time)].last();
        let (Some((_, before)), Some((_, after))) = (at(from), at(from + span)) else { return false };
        *after - *before >= span / 5
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// What all cores together have idled since the start of the machine (proc(5): the fourth number of the first line, in 1/100 s).
fn idle() -> Duration {
    let stat = fs::read_to_string("/proc/stat").expect("/proc/stat");
    let idle = stat.split_whitespace().nth(4).and_then(|n| n.parse::<u64>().ok());
    Duration::from_millis(10 * idle.expect("an idle time"))
}
