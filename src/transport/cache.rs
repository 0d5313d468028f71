//! Defines what is made from files once and shared, until one of the files changes; what is made of them is for others to say.

use std::{
    collections::HashMap,
    fs,
    hash::Hash,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use super::because;
use crate::event::{Cause, Reason};

/// For how long files are taken to be as they were: a fleet that connects would ask for each client.
const FRESH: Duration = Duration::from_millis(100);

/// Values by what they are made for.
pub(super) struct Cache<K, V> {
    slots: Mutex<HashMap<K, Arc<tokio::sync::Mutex<Slot<V>>>>>,
}

struct Slot<V> {
    value: Option<Arc<V>>,
    marks: Vec<Mark>,
    looked: Option<Instant>,
}

/// What tells one state of a file from another: its time, its length and its number.
type Mark = Option<(SystemTime, u64, u64)>;

impl<K: Clone + Eq + Hash, V: Send + Sync + 'static> Cache<K, V> {
    pub(super) fn new() -> Cache<K, V> {
        Cache { slots: Mutex::default() }
    }

    /// The value for `key`, made anew by `make` where one of the `files` has changed since. Files are
    /// looked at and read off the runtime's threads, and by one task for all that wait.
    pub(super) async fn get(
        &self,
        key: &K,
        files: impl FnOnce() -> Vec<PathBuf> + Send + 'static,
        make: impl FnOnce() -> Result<V, Cause> + Send + 'static,
    ) -> Result<Arc<V>, Cause> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(tokio::sync::Mutex::new(Slot { value: None, marks: Vec::new(), looked: None }));
            match slots.get(key) {
                Some(slot) => slot.clone(),
                None => slots.entry(key.clone()).or_insert_with(new).clone(),
            }
        };
        let mut slot = slot.lock().await;
        if let (Some(value), true) = (&slot.value, slot.looked.is_some_and(|at| at.elapsed() < FRESH)) {
            return Ok(value.clone());
        }
        let known = slot.value.is_some().then(|| slot.marks.clone());
        let work = tokio::task::spawn_blocking(move || {
            // Before they are read: what changes meanwhile is read again the next time.
            let marks: Vec<Mark> = files().iter().map(mark).collect();
            let made = if known.as_ref() == Some(&marks) { None } else { Some(make()) };
            (marks, made)
        });
        let (marks, made) = work.await.map_err(|e| because(Reason::Internal, &e.to_string()))?;
        if let Some(made) = made {
            slot.value = None;
            slot.value = Some(Arc::new(made?));
        }
        slot.marks = marks;
        slot.looked = Some(Instant::now());
        slot.value.clone().ok_or_else(|| because(Reason::Internal, "nothing was made"))
    }
}

fn mark(file: &PathBuf) -> Mark {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_value_is_made_again_when_its_file_has_changed() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "one").unwrap();
        let (cache, made) = (Cache::<u8, String>::new(), Arc::new(AtomicUsize::new(0)));
        let get = async || {
            let (path, read, made) = (file.clone(), file.clone(), made.clone());
            let make = move || {
                made.fetch_add(1, Ordering::Relaxed);
                fs::read_to_string(read).map_err(|e| because(Reason::Internal, &e.to_string()))
            };
            cache.get(&1, move || vec![path], make).await
        };
        for _ in 0..3 {
            assert_eq!(*get().await.unwrap(), "one");
            tokio::time::sleep(FRESH).await;
        }
        assert_eq!(made.load(Ordering::Relaxed), 1);
        fs::write(&file, "two!").unwrap();
        assert_eq!(*get().await.unwrap(), "two!");
        fs::remove_file(&file).unwrap();
        tokio::time::sleep(FRESH).await;
        assert!(get().await.is_err());
        fs::write(&file, "three").unwrap();
        assert_eq!(*get().await.unwrap(), "three");
    }
}
