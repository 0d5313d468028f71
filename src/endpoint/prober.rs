//! Defines the probes of many endpoints side by side, at most one an endpoint at once; it decides nothing about when.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::task::{AbortHandle, JoinSet};
use tracing::debug;

use super::probe;
use crate::{
    event::Finding,
    fleet::{Endpoint, EndpointKey, Parts},
    transport::Connector,
};

/// What a probe that was asked for has found.
#[derive(Clone, Debug)]
pub struct News {
    pub endpoint: EndpointKey,
    pub finding: Finding,
}

/// Probes endpoints on request. There is no queue that could run full: an endpoint has one probe
/// or none, and its finding waits in it until it is taken. Dropping the prober cancels all.
pub struct Prober {
    endpoints: Arc<[Endpoint]>,
    connector: Connector,
    /// Where each endpoint's first hop was when it was reached last; the one that answered goes first.
    known: Vec<Arc<[IpAddr]>>,
    running: Vec<Option<AbortHandle>>,
    probes: JoinSet<News>,
}

impl Prober {
    /// A prober of a fleet's endpoints, which keys index. It needs a tokio runtime to `ask`.
    pub fn new(endpoints: Arc<[Endpoint]>, connector: Connector) -> Prober {
        let (known, running) = (vec![Arc::default(); endpoints.len()], vec![None; endpoints.len()]);
        Prober { endpoints, connector, known, running, probes: JoinSet::new() }
    }

    /// Starts a probe that takes at most `limit`. False where one is under way: its news is still to
    /// be taken and answers this wish as well.
    pub fn ask(&mut self, key: EndpointKey, limit: Duration) -> bool {
        let running = &mut self.running[key.index()];
        if running.is_some() {
            return false;
        }
        debug!(endpoint = key.0, ?limit, "endpoint is probed");
        let (endpoints, connector, known) =
            (self.endpoints.clone(), self.connector.clone(), self.known[key.index()].clone());
        *running = Some(self.probes.spawn(async move {
            let finding = probe(&endpoints[key.index()], &connector, &known, limit).await;
            News { endpoint: key, finding }
        }));
        true
    }

    /// The endpoints are these from now on; of those that are others than before nothing is known.
    pub fn revise(&mut self, endpoints: Arc<[Endpoint]>, difference: &Parts<EndpointKey>) {
        self.endpoints = endpoints;
        self.known.resize(self.endpoints.len(), Arc::default());
        self.running.resize(self.endpoints.len(), None);
        for &key in difference.changed.iter().chain(&difference.removed) {
            self.cancel(key);
            self.known[key.index()] = Arc::default();
        }
    }

    /// Ends the endpoint's probe, if there is one; no news of it will come.
    pub fn cancel(&mut self, key: EndpointKey) {
        if let Some(probe) = self.running[key.index()].take() {
            probe.abort();
        }
    }

    /// Where the endpoint's first hop was when it was reached last, the one that answered first.
    pub fn known(&self, key: EndpointKey) -> &Arc<[IpAddr]> {
        &self.known[key.index()]
    }

    /// How many probes are under way or have news that was not taken.
    pub fn under_way(&self) -> usize {
        self.running.iter().flatten().count()
    }

    /// The next news; waits for ever while no probe is under way. May be dropped and called again
    /// without losing any.
    pub async fn next(&mut self) -> News {
        loop {
            let (id, news) = match self.probes.join_next_with_id().await {
                None => std::future::pending().await,
                Some(Ok((id, news))) => (id, Ok(news)),
                Some(Err(error)) => (error.id(), Err(error)),
            };
            // What is not in the list was cancelled, though it may have ended before that.
            let Some(index) = self.running.iter().position(|r| r.as_ref().is_some_and(|r| r.id() == id)) else {
                continue;
            };
            self.running[index] = None;
            let news = news.unwrap_or_else(|error| News {
                endpoint: EndpointKey(index as u16),
                finding: Finding::broken(&format!("the probe ended by itself: {error}")),
            });
            if news.finding.is_ok() {
                let Finding { address, addresses, .. } = &news.finding;
                let rest = addresses.iter().copied().filter(|a| Some(*a) != *address);
                self.known[index] = address.iter().copied().chain(rest).map(|a| a.ip()).collect();
            }
            debug!(endpoint = index, failure = ?news.finding.failure, took = ?news.finding.took(), "endpoint was probed");
            return news;
        }
    }
}
