//! Defines what is kept of a client's connection once the broker accepted it, in a form that thousands can afford; what of it makes a client slow is the row's matter.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::event::Connack;

/// A client's present connection, or its last one until it tries again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Connection {
    /// From the order to connect until CONNECT went out: TCP, the proxy, TLS, the WebSocket.
    pub reached: Option<Duration>,
    /// From CONNECT until CONNACK.
    pub answered: Option<Duration>,
    /// From CONNACK until the last subscription was answered.
    pub subscribed: Option<Duration>,
    /// What else CONNACK said; clients that were told the same share it.
    pub terms: Option<Arc<Connack>>,
    /// Whether a subscription is less than was asked for.
    pub(super) is_short: bool,
}

impl Connection {
    /// Notes a CONNACK; `usual` is what another client of the endpoint was told, to share it.
    pub(super) fn accept(&mut self, connack: &Connack, usual: &mut Option<Arc<Connack>>) {
        self.reached = connack.reached;
        self.answered = connack.answered;
        let terms = Connack { reached: None, answered: None, ..connack.clone() };
        if usual.as_deref() != Some(&terms) {
            *usual = Some(Arc::new(terms));
        }
        self.terms.clone_from(usual);
    }

    /// The keep alive that holds for a client that asked for `own`; zero means none.
    pub fn keep_alive(&self, own: Duration) -> Duration {
        let servers = self.terms.as_ref().and_then(|terms| terms.server_keep_alive);
        servers.map_or(own, |seconds| Duration::from_secs(seconds.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_are_told_the_same_share_it_and_cost_little() {
        let ms = Duration::from_millis;
        let said = |n| Connack { reached: Some(ms(n)), answered: Some(ms(2 * n)), ..Connack::default() };
        let mut usual = None;
        let mut connections: Vec<Connection> = vec![Connection::default(); 100];
        for (n, connection) in connections.iter_mut().enumerate() {
            connection.accept(&said(n as u64), &mut usual);
        }
        assert_eq!(Arc::strong_count(usual.as_ref().unwrap()), 101);
        assert_eq!((connections[7].reached, connections[7].answered), (Some(ms(7)), Some(ms(14))));
        assert!(size_of::<Connection>() <= 64);
        let other = Connack { server_keep_alive: Some(90), ..said(1) };
        connections[0].accept(&other, &mut usual);
        assert_eq!(connections[0].keep_alive(ms(30_000)), ms(90_000));
        assert_eq!(connections[1].keep_alive(ms(30_000)), ms(30_000));
    }
}
