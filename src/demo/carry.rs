//! Defines how one connection's bytes travel between a client and the broker: late, in order, held back within bounds; which connections there are is the relay's matter.

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    time::{Instant, sleep_until},
};

use super::relay::{Conditions, Cut, Ticket};

/// The most bytes one direction holds back; the sender feels it when more come.
const HELD: usize = 32 << 10;
const PIECE: usize = 4 << 10;
/// The runtime's timer counts whole milliseconds and is late by about one: what is due that soon
/// goes now, so that the lateness does not add to every delay.
const GRAIN: Duration = Duration::from_millis(1);

/// Carries one connection until either end closes, or it is cut.
pub(super) async fn carry(mut client: TcpStream, broker: u16, mut ticket: Ticket) {
    let mut server = match TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, broker))).await {
        Ok(server) => server,
        // A broker that is just gone is part of the show; everything else is a limit of this machine.
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => return,
        Err(e) => return ticket.notice(format!("cannot reach the broker: {e}")),
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let how = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let rng = |salt| fastrand::Rng::with_seed(ticket.seed ^ salt);
        let (up, down) = (ticket.conditions(), ticket.conditions());
        tokio::select! {
            how = &mut ticket.cut => how.ok(),
            // MQTT knows no half-closed connection: when one direction has ended, and has drained, so has the other.
            () = pump(client_read, server_write, up, rng(0)) => None,
            () = pump(server_read, client_write, down, rng(1)) => None,
        }
    };
    if how == Some(Cut::Reset) {
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

/// Carries one direction, in order, until its end has been carried too or a side breaks.
async fn pump(
    from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut conditions: watch::Receiver<Conditions>,
    mut rng: fastrand::Rng,
) {
    let mut held: VecDeque<(Instant, Box<[u8]>)> = VecDeque::new();
    let mut bytes = 0;
    let mut latest = Instant::now();
    let mut open = true;
    let timer = sleep_until(latest);
    tokio::pin!(timer);
    loop {
        while held.front().is_some_and(|(due, _)| *due <= Instant::now() + GRAIN) {
            if conditions.wait_for(|c| !c.dark).await.is_err() {
                return;
            }
            let Some((_, piece)) = held.pop_front() else { break };
            bytes -= piece.len();
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        match held.front() {
            None if !open => return,
            None => {
                held.shrink_to_fit(); // an idle connection of ten thousand holds nothing
            }
            Some((due, _)) => timer.as_mut().reset(*due - GRAIN),
        }
        tokio::select! {
            ready = from.readable(), if open && bytes < HELD => {
                let mut buffer = [0; PIECE];
                let piece = match ready.and_then(|()| from.try_read(&mut buffer)) {
                    Ok(n) => &buffer[..n],
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(_) => return,
                };
                // An empty piece is the end; it takes its time like all others and never overtakes.
                open = !piece.is_empty();
                latest = latest.max(Instant::now() + conditions.borrow().sample(&mut rng));
                bytes += piece.len();
                held.push_back((latest, piece.into()));
            }
            () = &mut timer, if !held.is_empty() => {}
        }
    }
}
