//! Defines how host names become addresses without ever being waited for by anyone but who asked; it keeps no answer longer than the asking lasts.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::cause;
use crate::event::{Cause, Reason};

type Answer = Result<Arc<[IpAddr]>, Cause>;
type Pending = watch::Receiver<Option<Answer>>;
type LookUp = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Looks names up the way the system does (`getaddrinfo`, as Paho too), each on a thread of its own.
///
/// `getaddrinfo` cannot be cancelled and may hang for half a minute. A thread of tokio's would then
/// be one that others wait for, at the latest when the program ends; these are left behind. Whoever
/// asks for a name that is being looked up joins that, so that a name holds one thread at most.
#[derive(Clone)]
pub struct Resolver {
    look_up: Arc<LookUp>,
    threads: Arc<Semaphore>,
    pending: Arc<Mutex<HashMap<Box<str>, Pending>>>,
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
            pending: Arc::default(),
        }
    }

    /// The addresses of a name, each once, at least one.
    pub(super) async fn look_up(&self, host: &str) -> Answer {
        let mut answer = match self.joined(host) {
            Some(pending) => pending,
            None => match self.threads.clone().acquire_owned().await {
                Ok(permit) => self.start(host, permit)?,
                Err(_) => return Err(cause(Reason::Internal, "the resolver is closed")),
            },
        };
        match answer.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(answer)) => answer.clone(),
            _ => Err(cause(Reason::Internal, "the lookup ended without an answer")),
        }
    }

    fn joined(&self, host: &str) -> Option<Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned()
    }

    fn start(&self, host: &str, permit: OwnedSemaphorePermit) -> Result<Pending, Cause> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        // Someone else may have been given a thread for the same name.
        if let Some(answer) = pending.get(host) {
            return Ok(answer.clone());
        }
        let (tell, answer) = watch::channel(None);
        let (name, this) = (Box::<str>::from(host), self.clone());
        thread::Builder::new()
            .name("lookup".into())
            .spawn(move || {
                let found = (this.look_up)(&name);
                this.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
                drop(permit);
                let _ = tell.send(Some(judged(&name, found)));
            })
            .map_err(|e| cause(Reason::Internal, &format!("cannot start a thread for the lookup: {e}")))?;
        pending.insert(host.into(), answer.clone());
        Ok(answer)
    }
}

fn judged(host: &str, found: io::Result<Vec<IpAddr>>) -> Answer {
    let mut addresses = found.map_err(|error| {
        let error = error.to_string();
        // glibc's words follow std's: what matters is "Name or service not known".
        let words = error.rsplit_once("information: ").map_or(error.as_str(), |(_, words)| words);
        cause(Reason::NameNotResolved, &format!("{host}: {words}"))
    })?;
    let mut seen = std::collections::HashSet::new();
    addresses.retain(|a| seen.insert(*a));
    if addresses.is_empty() {
        return Err(cause(Reason::NameNotResolved, &format!("{host} has no address")));
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
        let resolver = Resolver::with(move |host| {
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
        assert_eq!(asked.load(Ordering::Relaxed), 2, "an answer is not kept");
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
