//! Defines how host names become addresses without ever being waited for by anyone but who asked; answers are kept for some seconds, so that one that came too late serves whoever asks next.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, ToSocketAddrs},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::because;
use crate::event::{Cause, Reason};

type Answer = Result<Arc<[IpAddr]>, Cause>;
type Pending = watch::Receiver<Option<Answer>>;
type LookUp = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Looks names up the way the system does (`getaddrinfo`), each on a thread of its own.
///
/// `getaddrinfo` cannot be cancelled and may hang for half a minute. A thread of tokio's would then
/// be one that others wait for, at the latest when the program ends; these are left behind. Whoever
/// asks for a name that is being looked up joins that, so that a name holds one thread at most.
#[derive(Clone)]
pub struct Resolver {
    look_up: Arc<LookUp>,
    threads: Arc<Semaphore>,
    names: Arc<Mutex<HashMap<Box<str>, Name>>>,
    keep: Keep,
}

/// What is known of a name.
enum Name {
    Asked(Pending),
    Known(Answer, Instant),
}

/// For how long answers are used again.
#[derive(Clone, Copy)]
struct Keep {
    good: Duration,
    bad: Duration,
}

impl Keep {
    /// A fleet that connects asks for the same name again and again; what its operator has mended is
    /// to be seen soon.
    const SHORT: Keep = Keep { good: Duration::from_secs(5), bad: Duration::from_secs(1) };

    fn of(self, answer: &Answer) -> Duration {
        if answer.is_ok() { self.good } else { self.bad }
    }
}

impl Resolver {
    /// The most names that are looked up at once; further ones wait for a thread.
    pub const THREADS: usize = 64;

    /// The system's resolver.
    pub fn system() -> Resolver {
        Resolver::with(|host| Ok((host, 0).to_socket_addrs()?.map(|a| a.ip()).collect()))
    }

    /// A resolver that asks `look_up`, which may block.
    pub fn with(look_up: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Resolver {
        Resolver {
            look_up: Arc::new(look_up),
            threads: Arc::new(Semaphore::new(Self::THREADS)),
            names: Arc::default(),
            keep: Keep::SHORT,
        }
    }

    /// The addresses of a name, each once, at least one. It may take as long as the system takes.
    pub(super) async fn look_up(&self, host: &str) -> Answer {
        let mut answer = match self.joined(host) {
            Some(Name::Known(answer, _)) => return answer,
            Some(Name::Asked(pending)) => pending,
            None => match self.threads.clone().acquire_owned().await {
                Ok(permit) => self.start(host, permit)?,
                Err(_) => return Err(because(Reason::Internal, "the resolver is closed")),
            },
        };
        match answer.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(answer)) => answer.clone(),
            _ => Err(because(Reason::Internal, "the lookup ended without an answer")),
        }
    }

    /// What can be used of the name, if anything.
    fn joined(&self, host: &str) -> Option<Name> {
        match self.names().get(host)? {
            Name::Asked(pending) => Some(Name::Asked(pending.clone())),
            Name::Known(answer, end) if Instant::now() < *end => Some(Name::Known(answer.clone(), *end)),
            Name::Known(..) => None,
        }
    }

    fn names(&self) -> MutexGuard<'_, HashMap<Box<str>, Name>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, host: &str, permit: OwnedSemaphorePermit) -> Result<Pending, Cause> {
        let mut names = self.names();
        // Someone else may have been given a thread for the same name.
        if let Some(Name::Asked(answer)) = names.get(host) {
            return Ok(answer.clone());
        }
        let now = Instant::now();
        names.retain(|_, name| !matches!(name, Name::Known(_, end) if *end <= now));
        let (tell, answer) = watch::channel(None);
        let (name, this) = (Box::<str>::from(host), self.clone());
        thread::Builder::new()
            .name("lookup".into())
            .spawn(move || {
                let answer = judged(&name, (this.look_up)(&name));
                let end = Instant::now() + this.keep.of(&answer);
                this.names().insert(name, Name::Known(answer.clone(), end));
                drop(permit);
                // Nobody may be waiting any more; the answer is kept for who comes next.
                let _ = tell.send(Some(answer));
            })
            .map_err(|e| because(Reason::Internal, &format!("cannot start a thread for the lookup: {e}")))?;
        names.insert(host.into(), Name::Asked(answer.clone()));
        Ok(answer)
    }
}

fn judged(host: &str, found: io::Result<Vec<IpAddr>>) -> Answer {
    let mut addresses = found.map_err(|error| {
        let error = error.to_string();
        // glibc's words follow std's: what matters is "Name or service not known".
        let words = error.rsplit_once("information: ").map_or(error.as_str(), |(_, words)| words);
        because(Reason::NameNotResolved, &format!("{host}: {words}"))
    })?;
    let mut seen = std::collections::HashSet::new();
    addresses.retain(|a| seen.insert(*a));
    if addresses.is_empty() {
        return Err(because(Reason::NameNotResolved, &format!("{host} has no address")));
    }
    Ok(addresses.into())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        time::Duration,
    };

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_name_that_hangs_holds_one_thread_and_nobody_else() {
        let (release, hold) = mpsc::channel::<()>();
        let (hold, asked) = (Mutex::new(hold), Arc::new(AtomicUsize::new(0)));
        let count = asked.clone();
        let mut resolver = Resolver::with(move |host| {
            if host == "hangs" {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = hold.lock().unwrap().recv();
            }
            Ok(vec![[127, 0, 0, 1].into(), [127, 0, 0, 1].into()])
        });
        for _ in 0..100 {
            assert!(timeout(Duration::from_millis(1), resolver.look_up("hangs")).await.is_err());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(resolver.threads.available_permits(), Resolver::THREADS - 1);
        assert_eq!(resolver.look_up("answers").await.unwrap().len(), 1);
        let late = tokio::spawn({
            let resolver = resolver.clone();
            async move { resolver.look_up("hangs").await }
        });
        tokio::task::yield_now().await;
        drop(release);
        assert_eq!(late.await.unwrap().unwrap().len(), 1);
        assert_eq!(resolver.threads.available_permits(), Resolver::THREADS);
        resolver.look_up("hangs").await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 1, "an answer is kept for a while");
        resolver.names().clear();
        resolver.keep.good = Duration::ZERO;
        for asks in 2..4 {
            resolver.look_up("hangs").await.unwrap();
            assert_eq!(asked.load(Ordering::Relaxed), asks, "and no longer");
        }
    }

    #[tokio::test]
    async fn an_answer_that_came_too_late_for_one_serves_the_next() {
        let (release, hold) = mpsc::channel::<()>();
        let (hold, asked) = (Mutex::new(hold), Arc::new(AtomicUsize::new(0)));
        let count = asked.clone();
        let resolver = Resolver::with(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = hold.lock().unwrap().recv();
            Ok(vec![[127, 0, 0, 1].into()])
        });
        assert!(timeout(Duration::from_millis(5), resolver.look_up("late")).await.is_err());
        drop(release);
        while resolver.threads.available_permits() < Resolver::THREADS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(resolver.look_up("late").await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn failures_keep_the_system_s_words() {
        let answer = judged("a.invalid", "a.invalid:0".to_socket_addrs().map(|a| a.map(|a| a.ip()).collect()));
        let Cause { reason, detail } = answer.unwrap_err();
        assert_eq!(reason, Reason::NameNotResolved);
        assert!(detail.starts_with("a.invalid: ") && !detail.contains("lookup"), "{detail}");
        assert_eq!(judged("x", Ok(vec![])).unwrap_err().detail.as_str(), "x has no address");
    }
}
