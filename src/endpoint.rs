//! Defines the probe of one endpoint: a connection up to where MQTT begins, closed in order, and what it found; when to probe is the lifecycle's to say, and no MQTT packet is ever sent.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    event::{Failure, Finding, Reason, StageKind},
    fleet::{Endpoint, Tls, Transport},
    transport::{Connector, Way, cause},
};

mod prober;

pub use prober::{News, Prober};

/// Goes through all stages of an endpoint, closes the connection in order and tells what was found.
/// All stages together take at most `limit`, and closing 250 ms more. `known` is where an earlier probe
/// found its first hop: what serves while its name is in doubt.
pub async fn probe(target: &Endpoint, connector: &Connector, known: &[IpAddr], limit: Duration) -> Finding {
    let mut finding = Finding::default();
    let deadline = Instant::now() + limit;
    let way = Way { endpoint: target, identity: None, known, deadline, examine: true };
    match connector.connect(&way, &mut finding).await {
        Ok(stream) => {
            let end = stream.close().await;
            if let (Some(session), Err(error)) = (&mut finding.session, end) {
                session.wants_certificate = cause(&error).reason == Reason::ClientCertificateRefused;
            }
        }
        Err(failure) => {
            let wants = wants_certificate(connector, target, &failure, &finding, deadline).await;
            match &mut finding.session {
                // It is well, and what comes after its TLS cannot be known.
                Some(session) if wants => {
                    session.wants_certificate = true;
                    finding.stages.retain(|stage| stage.kind != StageKind::WebSocket);
                }
                _ => finding.failure = Some(failure),
            }
        }
    }
    finding
}

/// Whether the endpoint failed for want of a client's certificate. With TLS 1.3 the server says so once the
/// handshake is done, and a request that is on its way by then may turn that into a reset; so this connects
/// once more and asks for nothing.
async fn wants_certificate(
    connector: &Connector,
    target: &Endpoint,
    failure: &Failure,
    finding: &Finding,
    deadline: Instant,
) -> bool {
    if failure.cause.reason == Reason::ClientCertificateRefused {
        return true;
    }
    let (Some(tls), StageKind::WebSocket) = (target.transport.tls(), failure.stage) else { return false };
    let tls = Arc::new(Tls::clone(tls));
    let endpoint = Endpoint { transport: Transport::Tls(tls), ..target.clone() };
    let known: Vec<IpAddr> = finding.address.iter().map(|address| address.ip()).collect();
    let way = Way { endpoint: &endpoint, identity: None, known: &known, deadline, examine: true };
    match connector.connect(&way, &mut Finding::default()).await {
        Ok(stream) => stream.close().await.is_err_and(|error| cause(&error).reason == Reason::ClientCertificateRefused),
        Err(failure) => failure.cause.reason == Reason::ClientCertificateRefused,
    }
}
