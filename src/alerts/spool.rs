//! Defines where messages wait until their receiver has taken them: in memory and, where there is a folder for it, on disk, so that no death of the program loses one; who sends them is the courier's matter.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

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

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Message>,
    /// The one that is being sent.
    in_flight: Option<String>,
}

impl Spool {
    /// The most messages that wait; older ones are given up.
    const MOST: usize = 5_000;
    /// The longest that a message waits.
    const LONGEST_HOURS: i64 = 24;

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
        let queue = Queue { waiting: waiting.into(), in_flight: None };
        Ok((Spool { folder, queue: Mutex::new(queue), arrived: Notify::new() }, strange))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait, the one that is being sent among them.
    pub fn len(&self) -> usize {
        self.queue().waiting.len()
    }

    /// Takes a message. What says that an alert is over, or that it still fires, stands for what said that it fires, where
    /// nobody heard that yet.
    ///
    /// # Errors
    /// Where the disk does not take it; it waits in memory all the same.
    pub fn put(&self, mut message: Message) -> io::Result<()> {
        let mut queue = self.queue();
        let Queue { waiting, in_flight } = &mut *queue;
        let mut stood_for = Vec::new();
        let mut is_untold = false;
        if let [last] = message.alerts.as_mut_slice()
            && (!last.is_firing || message.is_repeat)
        {
            waiting.retain(|earlier| {
                let is_one = matches!(earlier.alerts.as_slice(), [alert] if alert.is_firing && alert.is_same(last));
                let is_stood_for = is_one && in_flight.as_ref() != Some(&earlier.id);
                if is_stood_for {
                    is_untold |= !earlier.is_repeat;
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
        waiting.retain(|known| known.id != message.id);
        drop(queue);
        // Only one thread puts. On a disk that hangs it waits alone.
        let kept = self.path(&message).map_or(Ok(()), |path| keeping::write(&path, &message));
        let mut queue = self.queue();
        let waiting = &mut queue.waiting;
        waiting.push_back(message);
        while waiting.len() > Self::MOST {
            stood_for.extend(waiting.pop_front());
        }
        drop(queue);
        stood_for.iter().for_each(|message| self.erase(message));
        self.arrived.notify_one();
        kept
    }

    /// Waits for a message to send; `now` tells which are too old. It goes on waiting until [`Spool::sent`].
    pub async fn next(&self) -> Message {
        loop {
            let message = {
                let mut queue = self.queue();
                let next = queue.waiting.front().cloned();
                queue.in_flight = next.as_ref().map(|message| message.id.clone());
                next
            };
            match message {
                Some(message) => return message,
                None => self.arrived.notified().await,
            }
        }
    }

    /// It has arrived.
    pub fn sent(&self, message: &Message) {
        let mut queue = self.queue();
        queue.waiting.retain(|waiting| waiting.id != message.id);
        queue.in_flight = None;
        drop(queue);
        self.erase(message);
    }

    /// It has not, and is to be tried again; where it was refused, after all others but those that tell what became of
    /// its alerts. Returns whether it is given up because it has waited for too long.
    pub fn failed(&self, message: &Message, is_refused: bool, now: DateTime<Utc>) -> bool {
        let mut queue = self.queue();
        queue.in_flight = None;
        let is_old = (now - message.at).num_hours() >= Self::LONGEST_HOURS;
        if is_old {
            queue.waiting.retain(|waiting| waiting.id != message.id);
        } else if is_refused && queue.waiting.front().is_some_and(|first| first.id == message.id) {
            let is_later =
                |later: &Message| later.alerts.iter().any(|alert| message.alerts.iter().any(|own| own.is_same(alert)));
            let others = queue.waiting.iter().skip(1);
            let place = others.clone().position(is_later).unwrap_or(others.len());
            queue.waiting.make_contiguous()[..=place].rotate_left(1);
        }
        drop(queue);
        if is_old {
            self.erase(message);
        }
        is_old
    }

    fn path(&self, message: &Message) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{}.json", message.id)))
    }

    fn erase(&self, message: &Message) {
        if let Some(path) = self.path(message) {
            let _ = fs::remove_file(path); // where that fails it is sent once more, after a restart
        }
    }
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
        spool.sent(&sending);
        let over = spool.next().await;
        assert!(!over.alerts[0].is_untold && !over.is_firing());
        assert!(!spool.failed(&over, true, over.at));
        let other = spool.next().await;
        assert!(other.alerts[0].is_untold && other.alerts[0].names.len() == 1, "{other:?}");
        spool.sent(&other);
        assert!(spool.failed(&spool.next().await, false, over.at + chrono::Duration::hours(25)));
        assert_eq!((spool.len(), files(dir.path())), (0, 0));
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
        spool.sent(&last);
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
