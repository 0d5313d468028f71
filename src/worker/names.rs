//! Defines how a worker turns host names into addresses, off its own thread and Paho's; whether an address answers is not its matter.
//!
//! Paho would look a name up itself, for every single connect, while it holds its process-wide lock:
//! one slow name server would stop every client of the worker.

use std::{collections::HashMap, io, net::IpAddr, sync::Arc, time::Duration};

use tokio::{net::lookup_host, sync::mpsc};

use crate::{clock::Moment, text::Scrubbed};

/// An address, or the resolver's words.
pub(super) type Answer = Result<IpAddr, Scrubbed>;

pub(super) struct Names {
    known: HashMap<Arc<str>, State>,
    answers: mpsc::Sender<(Arc<str>, Answer)>,
}

enum State {
    Asked,
    Known { answer: Answer, until: Moment },
}

/// How long an answer serves: long enough for a fleet that connects at once, short enough to follow
/// a name that moves.
const GOOD: Duration = Duration::from_secs(5);
const BAD: Duration = Duration::from_secs(1);

impl Names {
    /// Answers that come later are sent to the receiver and are to be given to [`Names::learn`].
    pub(super) fn new() -> (Names, mpsc::Receiver<(Arc<str>, Answer)>) {
        let (answers, receiver) = mpsc::channel(16);
        (Names { known: HashMap::new(), answers }, receiver)
    }

    /// The host's address, if it is known; otherwise it is asked for, once.
    pub(super) fn get(&mut self, host: &Arc<str>, now: Moment) -> Option<Answer> {
        if let Ok(address) = host.parse() {
            return Some(Ok(address));
        }
        match self.known.get(host) {
            Some(State::Asked) => return None,
            Some(State::Known { answer, until }) if *until > now => return Some(answer.clone()),
            Some(State::Known { .. }) | None => {}
        }
        self.known.insert(host.clone(), State::Asked);
        let (host, answers) = (host.clone(), self.answers.clone());
        tokio::spawn(async move {
            let answer = look_up(&host).await.map_err(|e| Scrubbed::new(&e.to_string()));
            // It fails when the worker ends.
            let _ = answers.send((host, answer)).await;
        });
        None
    }

    pub(super) fn learn(&mut self, host: Arc<str>, answer: Answer, now: Moment) {
        let until = now + if answer.is_ok() { GOOD } else { BAD };
        self.known.insert(host, State::Known { answer, until });
    }
}

/// An address of version 4 where there is one, as Paho itself prefers.
async fn look_up(host: &str) -> io::Result<IpAddr> {
    let mut first = None;
    for address in lookup_host((host, 0)).await? {
        if address.is_ipv4() {
            return Ok(address.ip());
        }
        first.get_or_insert(address.ip());
    }
    first.ok_or_else(|| io::Error::other("the name has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_needs_no_resolver() {
        let (mut names, _answers) = Names::new();
        for host in ["192.0.2.7", "::1"] {
            assert_eq!(names.get(&host.into(), Moment(0)), Some(Ok(host.parse().expect("an address"))));
        }
    }

    #[tokio::test]
    async fn a_name_is_asked_for_once_and_not_for_ever() {
        let (mut names, mut answers) = Names::new();
        let host: Arc<str> = "localhost".into();
        assert_eq!(names.get(&host, Moment(0)), None);
        assert_eq!(names.get(&host, Moment(0)), None);
        let (about, answer) = answers.recv().await.expect("an answer");
        assert!(about == host && answer.as_ref().is_ok_and(IpAddr::is_loopback), "{answer:?}");
        assert!(answers.try_recv().is_err(), "it was asked for twice");
        names.learn(about, answer.clone(), Moment(0));
        assert_eq!(names.get(&host, Moment(1)), Some(answer));
        assert_eq!(names.get(&host, Moment(0) + GOOD), None);
    }
}
