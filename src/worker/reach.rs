//! Defines how a worker has connections made, off its own thread and Paho's; how one is made is the transport's matter.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::mpsc, task::AbortHandle, time::Instant};

use crate::{
    event::{Failure, Finding, Generation},
    paho::Reached,
    transport::{Connector, Resolver, Way},
    wire::{ClientDef, Remote, Slot},
};

/// Of which slot and generation a connection is, where to, and what came of it.
pub(super) type Answer = (Slot, Generation, Arc<Remote>, Result<Reached, Failure>);

/// Makes connections on threads of its own.
pub(super) struct Reach {
    runtime: Handle,
    connector: Connector,
    answers: mpsc::Sender<Answer>,
}

impl Reach {
    /// Answers that nobody has taken yet; a task that finds no room waits, and holds its connection.
    const ANSWERS: usize = 256;

    /// What comes of the connections is sent to the receiver.
    pub(super) fn new(runtime: Handle) -> (Reach, mpsc::Receiver<Answer>) {
        let (answers, receiver) = mpsc::channel(Self::ANSWERS);
        (Reach { runtime, connector: Connector::new(Resolver::system()), answers }, receiver)
    }

    /// The threads that carry what goes over the connections.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Begins to make one, within the client's connect timeout.
    pub(super) fn start(
        &self,
        slot: Slot,
        generation: Generation,
        def: &ClientDef,
        remote: Arc<Remote>,
    ) -> AbortHandle {
        let (connector, answers) = (self.connector.clone(), self.answers.clone());
        let identity = def.identity.clone();
        let deadline = Instant::now() + def.settings.connect_timeout.min(FOREVER);
        let made = self.runtime.spawn(async move {
            let mut finding = Finding::default();
            let way = Way {
                endpoint: &remote.endpoint,
                identity: identity.as_ref(),
                known: &remote.addresses,
                deadline,
                examine: false,
            };
            let stream = connector.connect(&way, &mut finding).await;
            let reached = stream.map(|stream| Reached { stream, stages: finding.stages });
            // It fails when the worker ends.
            let _ = answers.send((slot, generation, remote, reached)).await;
        });
        made.abort_handle()
    }
}

/// Longer than any run: the clock has an end.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
