//! Defines the process of one site, which relays its clients to the broker as it is told; the relay itself is in `relay`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use tokio::{net::TcpSocket, sync::mpsc};

use super::{
    part::{self, FromPart, ToPart, make_room},
    relay::Relay,
};
use crate::{stdio::complain, text::Scrubbed, wire::WireError};

/// The process behind the hidden subcommand `demo-site`. It ends when descriptor 0 does.
pub fn site_main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return ExitCode::FAILURE,
    };
    let end = runtime.block_on(serve());
    runtime.shutdown_background();
    match end {
        Ok(()) | Err(WireError::Closed) => ExitCode::SUCCESS,
        Err(e) => {
            complain(&format!("mqfleet: {}: this subcommand is for `mqfleet demo` to start: {e}", part::SITE));
            ExitCode::from(2)
        }
    }
}

async fn serve() -> Result<(), WireError> {
    let (mut reports, mut orders, task) = part::accept().await?;
    let ToPart::Site { port, connections, conditions, seed } = task else { return Err(WireError::Stranger) };
    // Two descriptors a connection, and a few for the process itself.
    let listener = match make_room(u64::from(connections) * 2 + 32).and_then(|()| listen(port)) {
        Ok(listener) => listener,
        Err(why) => return reports.send(&FromPart::Failed(why)).await,
    };
    let port = listener.local_addr()?.port();
    let (notices, mut said) = mpsc::channel(8);
    let relay = Relay::new(conditions, connections as usize, seed, notices);
    let carrying = tokio::spawn(relay.clone().run(listener));
    reports.send(&FromPart::Ready { port }).await?;
    loop {
        tokio::select! {
            order = orders.recv() => match order? {
                ToPart::BrokerAt(port) => relay.set_broker(port),
                ToPart::Conditions(conditions) => relay.set_conditions(conditions),
                ToPart::Cut(how) => {
                    relay.cut(how);
                }
                ToPart::Hello(_) | ToPart::Broker { .. } | ToPart::Site { .. } => return Err(WireError::Stranger),
            },
            Some(text) = said.recv() => reports.send(&FromPart::Notice(text)).await?,
        }
        if carrying.is_finished() {
            return reports.send(&FromPart::Failed(Scrubbed::new("the relay stopped"))).await;
        }
    }
}

/// Listens on loopback, with a queue long enough for a whole site that comes back at once.
pub(super) fn listen(port: u16) -> Result<tokio::net::TcpListener, Scrubbed> {
    let open = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        socket.listen(4096)
    };
    open().map_err(|e| Scrubbed::new(&format!("cannot listen on 127.0.0.1:{port}: {e}")))
}
