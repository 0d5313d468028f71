//! Defines where messages wait until their receiver has taken them: in memory and, where there is a folder for it, on disk, so that no death of the program loses one; who sends them is the courier's matter.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use super::{
    keeping,
    message::{Message, fingerprint},
};
use crate::private;

/// The messages for one receiver, oldest first.
#[derive(Debug)]
pub struct Spool {
    folder: Option<PathBuf>,
    queue: Mutex<Queue>,
    arrived: Notify,
}

/// Never held while the disk is waited for.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// The one that is being sent.
    in_flight: Option<String>,
}

#[derive(Debug)]
struct Waiting {
    message: Message,
    /// How often its receiver refused it, and not before when it is tried again.
    refusals: u32,
    due: Option<Instant>,
}

impl Waiting {
    fn new(message: Message) -> Waiting {
        Waiting { message, refusals: 0, due: None }
    }
}

/// What is to be sent next.
enum Next {
    Now(Box<Message>),
    /// Nothing before then, unless another message comes.
    At(Instant),
    Nothing,
}

impl Queue {
    /// The first that is due. What tells of an alert waits for what told of it before.
    fn next(&self, now: Instant) -> Next {
        let mut later: Vec<&Waiting> = Vec::new();
        for waiting in &self.waiting {
            let is_next = |of: &&Waiting| {
                waiting.message.alerts.iter().any(|alert| of.message.alerts.iter().any(|own| own.is_same(alert)))
            };
            if waiting.due.is_some_and(|due| due > now) || later.iter().any(is_next) {
                later.push(waiting);
            } else {
                return Next::Now(Box::new(waiting.message.clone()));
            }
        }
        later.iter().filter_map(|waiting| waiting.due).min().map_or(Next::Nothing, Next::At)
    }

    fn remove(&mut self, id: &str) {
        self.waiting.retain(|waiting| waiting.message.id != id);
    }
}

impl Spool {
    /// The most messages that wait; older ones are given up.
    const MOST: usize = 5_000;
    /// The longest that a message waits.
    const LONGEST_HOURS: i64 = 24;
    /// How long one waits that was refused, at first and at most.
    const REFUSED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

    /// Opens the spool of the receiver of that name, within `folder` where there is one. With it come the names of
    /// files that are none of its own.
    ///
    /// # Errors
    /// Where its folder cannot be made or read.
    pub fn open(folder: Option<&Path>, name: &str) -> io::Result<(Spool, Vec<PathBuf>)> {
        let folder = folder.map(|folder| folder.join(folder_name(name)));
        let (mut waiting, mut strange) = (Vec::new(), Vec::new());
        if let Some(folder) = &folder {
            private::make_folder(folder)?;
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                match path.extension().and_then(|end| end.to_str()) {
                    // Its writer died before it was whole; it is written again.
                    Some("new") => fs::remove_file(&path)?,
                    _ => match keeping::read(&path) {
                        Ok(Some(message)) => waiting.push(message),
                        _ => strange.push(path),
                    },
                }
            }
        }
        waiting.sort_by(|one: &Message, other| (one.at, &one.id).cmp(&(other.at, &other.id)));
        let queue = Queue { waiting: waiting.into_iter().map(Waiting::new).collect(), in_flight: None };
        Ok((Spool { folder, queue: Mutex::new(queue), arrived: Notify::new() }, strange))
    }

    /// The spools within `folder` that are of no receiver of these names, and how many messages wait in each. Those that
    /// are empty are removed.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn of_nobody<'n>(folder: &Path, names: impl Iterator<Item = &'n str>) -> io::Result<Vec<(PathBuf, usize)>> {
        let known: Vec<String> = names.map(folder_name).collect();
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let is_known = known.iter().any(|name| entry.file_name() == name.as_str());
            if is_known || !entry.file_type()?.is_dir() {
                continue;
            }
            match fs::read_dir(entry.path())?.count() {
                0 => fs::remove_dir(entry.path())?,
                count => found.push((entry.path(), count)),
            }
        }
        found.sort();
        Ok(found)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait, the one that is being sent among them.
    pub fn len(&self) -> usize {
        self.queue().waiting.len()
    }

    /// Takes a message, and waits for the disk. What says that an alert is over, or that it still fires, stands for what said that it fires, where
    /// nobody heard that yet.
    ///
    /// # Errors
    /// Where the disk does not take it; it waits in memory all the same.
    pub fn put(&self, mut message: Message) -> io::Result<()> {
        let mut queue = self.queue();
        let Queue { waiting, in_flight } = &mut *queue;
        let mut stood_for = Vec::new();
        let (mut is_untold, mut refused) = (false, (0, None));
        if let [last] = message.alerts.as_mut_slice()
            && (!last.is_firing || message.is_repeat)
        {
            waiting.retain(|earlier| {
                let Waiting { message: earlier, refusals, due } = earlier;
                let is_one = matches!(earlier.alerts.as_slice(), [alert] if alert.is_firing && alert.is_same(last));
                let is_stood_for = is_one && in_flight.as_ref() != Some(&earlier.id);
                if is_stood_for {
                    is_untold |= !earlier.is_repeat;
                    if last.is_firing {
                        refused = (*refusals, *due); // what repeats is refused as what it repeats
                    }
                    message.left_out = message.left_out.saturating_add(earlier.left_out);
                    if last.cause.is_empty() && last.names.is_empty() {
                        last.cause.clone_from(&earlier.alerts[0].cause);
                        last.names.clone_from(&earlier.alerts[0].names);
                    }
                    stood_for.push(earlier.clone());
                }
                !is_stood_for
            });
            last.is_untold |= is_untold && !last.is_firing;
        }
        message.is_repeat &= !is_untold;
        // It may be there already, where the program died before it noted that.
        queue.remove(&message.id);
        drop(queue);
        // Only one thread puts. On a disk that hangs it waits alone.
        let kept = self.path(&message).map_or(Ok(()), |path| keeping::write(&path, &message));
        let mut queue = self.queue();
        let waiting = &mut queue.waiting;
        let (refusals, due) = refused;
        waiting.push_back(Waiting { message, refusals, due });
        while waiting.len() > Self::MOST {
            stood_for.extend(waiting.pop_front().map(|waiting| waiting.message));
        }
        drop(queue);
        stood_for.iter().filter_map(|message| self.path(message)).for_each(|path| erase(&path));
        self.arrived.notify_one();
        kept
    }

    /// Waits for a message to send. It goes on waiting there until [`Spool::sent`].
    pub async fn next(&self) -> Message {
        loop {
            let next = {
                let mut queue = self.queue();
                let next = queue.next(Instant::now());
                queue.in_flight = if let Next::Now(message) = &next { Some(message.id.clone()) } else { None };
                next
            };
            match next {
                Next::Now(message) => return *message,
                Next::At(due) => drop(timeout_at(due, self.arrived.notified()).await),
                Next::Nothing => self.arrived.notified().await,
            }
        }
    }

    /// It has arrived.
    pub async fn sent(&self, message: &Message) {
        // While the disk is waited for it is not sent again: who sends it is who waits.
        self.forget(message).await;
    }

    /// It has not, and is to be tried again; where it was refused, after a while that grows each time. Returns how often it
    /// was refused, or `None` where it is given up because it has waited for too long.
    pub async fn failed(&self, message: &Message, is_refused: bool, now: DateTime<Utc>) -> Option<u32> {
        if (now - message.at).num_hours() >= Self::LONGEST_HOURS {
            self.forget(message).await;
            return None;
        }
        let mut queue = self.queue();
        queue.in_flight = None;
        let Some(waiting) = queue.waiting.iter_mut().find(|waiting| waiting.message.id == message.id) else {
            return Some(0); // it stands for others by now
        };
        if is_refused {
            let (first, longest) = Self::REFUSED;
            waiting.due = Some(Instant::now() + first.saturating_mul(1 << waiting.refusals.min(16)).min(longest));
            waiting.refusals = waiting.refusals.saturating_add(1);
        }
        Some(waiting.refusals)
    }

    async fn forget(&self, message: &Message) {
        // A disk that hangs holds up this receiver, and no thread that others wait for.
        if let Some(path) = self.path(message) {
            let _ = spawn_blocking(move || erase(&path)).await;
        }
        let mut queue = self.queue();
        queue.remove(&message.id);
        queue.in_flight = None;
    }

    fn path(&self, message: &Message) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{}.json", message.id)))
    }
}

fn erase(path: &Path) {
    let _ = fs::remove_file(path); // where that fails it is sent once more, after a restart
}

/// A file's name for whatever name: no two have the same.
fn folder_name(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).take(48).collect();
    if plain == name && !name.starts_with('.') { plain } else { format!("_{plain}-{}", fingerprint(&[name])) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{alerts::message::Told, event::Severity, text::Scrubbed};

    fn message(rule: &str, is_firing: bool, at: i64) -> Message {
        let time = |s: i64| DateTime::from_timestamp(1_800_000_000 + s, 0).expect("a time");
        let told = Told {
            rule: Scrubbed::new(rule),
            severity: Severity::Warning,
            is_firing,
            since: time(0),
            until: (!is_firing).then(|| time(at)),
            is_untold: false,
            clients: 2,
            of: 3,
            names: vec![Scrubbed::new("a"); usize::from(is_firing)],
            cause: Scrubbed::default(),
            recovery: Vec::new(),
        };
        let id = fingerprint(&[rule, if is_firing { "firing" } else { "resolved" }]);
        Message { id, fleet: Scrubbed::new("f"), at: time(at), is_repeat: false, alerts: vec![told], left_out: 0 }
    }

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder.join("mail.ops")).expect("a folder").count()
    }

    #[tokio::test]
    async fn what_waits_is_there_after_a_death_and_a_firing_and_its_end_become_one() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let open = || Spool::open(Some(dir.path()), "mail.ops").expect("a spool");
        let (spool, strange) = open();
        assert!(strange.is_empty());
        spool.put(message("a", true, 1)).expect("a disk");
        spool.put(message("b", true, 2)).expect("a disk");
        spool.put(message("b", true, 2)).expect("a disk");
        fs::write(dir.path().join("mail.ops/torn.new"), "{").expect("a file");
        drop(spool);
        let (spool, strange) = open();
        assert_eq!((spool.len(), strange.len(), files(dir.path())), (2, 0, 2), "each once, and nothing torn");
        // The one that is being sent may have been heard.
        let sending = spool.next().await;
        assert_eq!(sending, message("a", true, 1));
        spool.put(message("a", false, 9)).expect("a disk");
        spool.put(message("b", false, 9)).expect("a disk");
        assert_eq!((spool.len(), files(dir.path())), (3, 3));
        spool.sent(&sending).await;
        let over = spool.next().await;
        assert!(!over.alerts[0].is_untold && !over.is_firing());
        assert_eq!(spool.failed(&over, true, over.at).await, Some(1));
        let other = spool.next().await;
        assert!(other.alerts[0].is_untold && other.alerts[0].names.len() == 1, "{other:?}");
        spool.sent(&other).await;
        assert_eq!(spool.failed(&over, false, over.at + chrono::Duration::hours(25)).await, None);
        assert_eq!((spool.len(), files(dir.path())), (0, 0));
    }

    #[tokio::test]
    async fn one_that_is_refused_waits_ever_longer_and_only_what_tells_of_the_same_alert_waits_for_it() {
        let (spool, _) = Spool::open(None, "mail.ops").expect("a spool");
        let refused = message("a", true, 1);
        spool.put(refused.clone()).expect("memory");
        let mut waits = Vec::new();
        for times in 1..=9 {
            assert_eq!(spool.failed(&refused, true, refused.at).await, Some(times));
            let due = spool.queue().waiting[0].due.expect("a time");
            waits.push(due.duration_since(Instant::now()).as_secs_f64().round() as u64);
            let next = timeout_at(Instant::now() + Duration::from_millis(30), spool.next()).await;
            assert!(next.is_err(), "tried again at once");
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        spool.put(message("b", true, 2)).expect("memory");
        assert_eq!(spool.next().await, message("b", true, 2), "it does not wait behind the other");
        spool.sent(&message("b", true, 2)).await;
        // A repeat of the same alert stands for it, and waits as long.
        let repeat = Message { id: "again".to_owned(), is_repeat: true, ..message("a", true, 3) };
        spool.put(repeat.clone()).expect("memory");
        let next = timeout_at(Instant::now() + Duration::from_millis(30), spool.next()).await;
        assert!(next.is_err(), "tried before it is due");
        spool.queue().waiting[0].due = Some(Instant::now());
        assert_eq!(spool.next().await, Message { is_repeat: false, ..repeat }, "nobody heard of it before");
    }

    /// As on a disk that hangs: the one thread that may wait for it is taken.
    #[test]
    fn nobody_waits_for_the_disk_who_runs_others() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().max_blocking_threads(1).build().expect("a runtime");
        let dir = tempfile::TempDir::new().expect("a folder");
        let (release, hangs) = std::sync::mpsc::channel::<()>();
        runtime.block_on(async {
            let (spool, _) = Spool::open(Some(dir.path()), "mail.ops").expect("a spool");
            spool.put(message("a", true, 1)).expect("a disk");
            spool.put(message("b", true, 2)).expect("a disk");
            let (a, b) = (message("a", true, 1), message("b", true, 2));
            let disk = spawn_blocking(move || hangs.recv());
            let ended = async {
                spool.sent(&a).await;
                let late = b.at + chrono::Duration::hours(25);
                assert_eq!(spool.failed(&b, false, late).await, None);
            };
            let others = async {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                let there = files(dir.path());
                release.send(()).expect("it hangs");
                there
            };
            let ((), there) = tokio::join!(ended, others);
            assert_eq!((there, files(dir.path())), (2, 0), "who waited for the disk held the others up");
            disk.await.expect("it ends").expect("it was told to");
        });
    }

    #[test]
    fn messages_for_nobody_are_found_and_empty_folders_go() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let of_nobody = |names: &[&str]| Spool::of_nobody(dir.path(), names.iter().copied()).expect("a folder");
        for name in ["mail.ops", "mail.old", "mail.idle"] {
            let (spool, _) = Spool::open(Some(dir.path()), name).expect("a spool");
            if name != "mail.idle" {
                spool.put(message("a", true, 1)).expect("a disk");
            }
        }
        assert_eq!(of_nobody(&["mail.ops"]), [(dir.path().join("mail.old"), 1)]);
        assert!(!dir.path().join("mail.idle").exists());
        assert_eq!(of_nobody(&["mail.ops", "mail.old"]), []);
        assert_eq!(Spool::of_nobody(&dir.path().join("none"), [].into_iter()).expect("none"), []);
    }

    #[tokio::test]
    async fn who_is_away_for_long_is_told_once_that_it_still_fires() {
        let (spool, _) = Spool::open(None, "alertmanager.a").expect("a spool");
        let repeat = |at: i64| {
            let id = fingerprint(&["a", &at.to_string()]);
            Message { id, is_repeat: true, ..message("a", true, at) }
        };
        spool.put(message("a", true, 1)).expect("memory");
        (2..100).for_each(|at| spool.put(repeat(at)).expect("memory"));
        let last = spool.next().await;
        assert_eq!((spool.len(), &last.id, last.is_repeat), (1, &repeat(99).id, false), "nobody heard of it before");
        // The one that is being sent stays, and one that was told is told again as such.
        spool.put(repeat(100)).expect("memory");
        spool.put(repeat(101)).expect("memory");
        spool.sent(&last).await;
        let again = spool.next().await;
        assert_eq!((spool.len(), &again.id, again.is_repeat), (1, &repeat(101).id, true));
    }

    #[test]
    fn no_two_receivers_share_a_folder() {
        assert_eq!(folder_name("mail.ops"), "mail.ops");
        let odd = ["../x", "..", "a/b", "a_b", "a b", ""].map(folder_name);
        let mut all = odd.to_vec();
        all.sort();
        all.dedup();
        assert!(
            all.len() == odd.len() && all.iter().all(|name| !name.contains('/') && !name.starts_with('.')),
            "{odd:?}"
        );
    }
}
