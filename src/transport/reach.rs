//! Defines how one of many addresses is connected to (RFC 8305, happy eyeballs) and what the kernel's refusals mean; what the connection is for is elsewhere.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect as connect_socket, socket_with,
        sockopt::{set_tcp_nodelay, socket_error},
    },
};
use tokio::time::sleep;

use super::{Socket, because, ended, kernel};
use crate::event::{Cause, Reason};

/// How long an address has before the next one is tried beside it (RFC 8305 §8).
const HEAD_START: Duration = Duration::from_millis(250);

/// Where all known addresses have failed and the lookup of others has no answer yet, they are tried again
/// after this long: the lookup may take longer than what was amiss with them.
const AGAIN: Duration = Duration::from_secs(1);

/// The order in which to try addresses: as the system gave them, its families in turn (RFC 8305 §4).
pub(super) fn order(ips: &[IpAddr]) -> impl Iterator<Item = IpAddr> + use<> {
    let first_is_v6 = ips.first().is_some_and(IpAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = ips.iter().copied().partition(|ip| ip.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turn = false;
    std::iter::from_fn(move || {
        turn = !turn;
        if turn { first.next().or_else(|| second.next()) } else { second.next().or_else(|| first.next()) }
    })
}

/// What is known of the place to connect to.
pub(super) struct Place {
    /// In the order in which they are tried.
    pub addresses: Vec<SocketAddr>,
    /// What is wrong with its name, where addresses from earlier are used all the same.
    pub doubt: Option<Cause>,
    /// What is wrong with those, while others are looked up.
    pub failed: Option<Cause>,
}

/// Connects to the address that answers first; each has a head start before the next. `lookup` may bring
/// further addresses while that goes on, which come next.
///
/// # Errors
/// When all have failed: the first failure that tells more than that there is no way; the detail has
/// them all.
pub(super) async fn connect(
    sources: &Sources<'_>,
    place: &mut Place,
    lookup: impl Future<Output = Result<Vec<SocketAddr>, Cause>>,
) -> Result<Socket, Cause> {
    let mut tried = 0;
    let mut tries = FuturesUnordered::new();
    let mut failures = Vec::new();
    let (mut lookup, mut is_looked_up) = (pin!(lookup), false);
    loop {
        if let Some(address) = place.addresses.get(tried).copied() {
            tried += 1;
            let source = sources.next(address);
            tries.push(async move { (address, attempt(address, source).await) });
        }
        tokio::select! {
            Some((address, done)) = tries.next() => match done {
                Ok(socket) => return Ok(socket),
                Err(error) => {
                    failures.push((address, error));
                    place.failed = (failures.len() == place.addresses.len()).then(|| judged(&failures));
                }
            },
            further = &mut lookup, if !is_looked_up => {
                is_looked_up = true;
                match further {
                    Ok(further) => {
                        let new: Vec<_> = further.into_iter().filter(|a| !place.addresses.contains(a)).collect();
                        place.addresses.extend(new);
                        place.failed = None;
                    }
                    Err(cause) => place.doubt = Some(cause),
                }
            }
            () = sleep(HEAD_START), if tried < place.addresses.len() => {}
            () = sleep(AGAIN), if tries.is_empty() && tried == place.addresses.len() && !is_looked_up => {
                tried = 0;
                failures.clear();
            }
            else => return Err(judged(&failures)),
        }
    }
}

/// The addresses of this host that an endpoint is connected to from, each in its turn.
pub(super) struct Sources<'a> {
    pub addresses: &'a [IpAddr],
    pub turn: &'a AtomicUsize,
}

impl Sources<'_> {
    /// The source for a connect to this address. None where the system chooses; an error where all
    /// sources are of the other family.
    fn next(&self, to: SocketAddr) -> io::Result<Option<IpAddr>> {
        if self.addresses.is_empty() {
            return Ok(None);
        }
        let fitting = || self.addresses.iter().filter(|ip| ip.is_ipv6() == to.is_ipv6());
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(fitting().count());
        let none = || io::Error::new(ErrorKind::AddrNotAvailable, "no address to connect from is of its family");
        turn.and_then(|turn| fitting().nth(turn).copied()).map(Some).ok_or_else(none)
    }
}

async fn attempt(address: SocketAddr, source: io::Result<Option<IpAddr>>) -> io::Result<Socket> {
    let source = source?;
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let file = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    set_tcp_nodelay(&file, true)?;
    kernel::stamp(file.as_fd());
    if let Some(source) = source {
        kernel::bind_without_port(file.as_fd())?;
        bind(&file, &SocketAddr::new(source, 0)).map_err(|errno| {
            let error = io::Error::from(errno);
            io::Error::new(error.kind(), format!("cannot connect from {source}: {}", words(&error)))
        })?;
    }
    let socket = finish(connect_socket(&file, &address), file, true).await?;
    // Where nobody listens, a port that the system gives out may be given to this very connect, which
    // then meets itself (RFC 9293 §3.5, simultaneous open).
    if address.ip().is_loopback() && socket.local() == Some(address) {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    Ok(socket)
}

/// Connects to a Unix socket.
///
/// # Errors
/// With the path in the detail.
pub(super) async fn connect_unix(path: &Path) -> Result<Socket, Cause> {
    let refused = |error: io::Error| {
        let reason =
            if error.kind() == ErrorKind::TimedOut { Reason::ConnectTimeout } else { Reason::ConnectionRefused };
        because(reason, &format!("{}: {}", path.display(), words(&error)))
    };
    let address = SocketAddrUnix::new(path).map_err(|errno| refused(errno.into()))?;
    loop {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let file = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(|e| refused(e.into()))?;
        match connect_socket(&file, &address) {
            // Its queue is full, and nothing tells when it no longer is (connect(2)).
            Err(Errno::AGAIN) => sleep(Duration::from_millis(10)).await,
            begun => return finish(begun, file, false).await.map_err(refused),
        }
    }
}

/// Waits for a connect that is under way.
async fn finish(begun: Result<(), Errno>, file: OwnedFd, is_tcp: bool) -> io::Result<Socket> {
    match begun {
        // Only now: a socket that has not begun to connect reads as one that was hung up.
        Ok(()) => Socket::new(file, is_tcp),
        Err(Errno::INPROGRESS | Errno::INTR) => {
            let socket = Socket::new(file, is_tcp)?;
            socket.writable().await?;
            socket_error(&socket)??;
            Ok(socket)
        }
        Err(errno) => Err(errno.into()),
    }
}

fn judged(failures: &[(SocketAddr, io::Error)]) -> Cause {
    let reasons = failures.iter().map(|(_, error)| reason(error));
    let telling = reasons.clone().find(|r| !matches!(r, Reason::NetworkUnreachable | Reason::HostUnreachable));
    let reason = telling.or_else(|| reasons.clone().next()).unwrap_or(Reason::Internal);
    let detail = |(address, error): &(SocketAddr, io::Error)| match words(error) {
        // The reason says it already.
        words if words.replace(" is ", " ") == reason.words() => address.to_string(),
        words => format!("{address}: {words}"),
    };
    because(reason, &failures.iter().map(detail).collect::<Vec<_>>().join("; "))
}

/// What a socket's error means.
pub(super) fn reason(error: &io::Error) -> Reason {
    match error.kind() {
        _ if is_short_of_files(error) => Reason::TooManyOpenFiles,
        ErrorKind::ConnectionRefused => Reason::ConnectionRefused,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => Reason::ConnectionReset,
        ErrorKind::HostUnreachable => Reason::HostUnreachable,
        ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => Reason::NetworkUnreachable,
        // No address of this host fits, or all its ports to there are in use (EADDRNOTAVAIL).
        ErrorKind::AddrNotAvailable => Reason::NetworkUnreachable,
        // A route or a packet filter that prohibits it (EACCES, EPERM), or a blackhole route (EINVAL).
        ErrorKind::PermissionDenied | ErrorKind::InvalidInput => Reason::NetworkUnreachable,
        ErrorKind::TimedOut => Reason::ConnectTimeout,
        ErrorKind::UnexpectedEof => Reason::ConnectionLost,
        _ => Reason::Internal,
    }
}

/// Whether this process, or the whole system, has no descriptor left.
fn is_short_of_files(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// The words for an error: a layer's own, or the system's without their number.
pub(super) fn words(error: &io::Error) -> String {
    if let Some(cause) = ended::told(error) {
        return if cause.detail.is_empty() { cause.reason.words().into() } else { cause.detail.to_string() };
    }
    if is_short_of_files(error) {
        return "raise ulimit -n, or lower worker_size".into();
    }
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Addresses for a message: the first few.
pub(super) fn list(addresses: &[SocketAddr]) -> String {
    const FEW: usize = 3;
    let mut text = addresses.iter().take(FEW).map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
    if addresses.len() > FEW {
        text.push_str(&format!(" and {} more", addresses.len() - FEW));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let ips: Vec<IpAddr> = ["::1", "::2", "::3", "10.0.0.1"].iter().map(|a| a.parse().unwrap()).collect();
        let ordered: Vec<String> = order(&ips).map(|a| a.to_string()).collect();
        assert_eq!(ordered, ["::1", "10.0.0.1", "::2", "::3"]);
    }

    #[test]
    fn the_most_telling_failure_is_told() {
        let no_route = ("[::1]:1".parse().unwrap(), io::Error::from_raw_os_error(101));
        let refused = ("127.0.0.1:1".parse().unwrap(), io::Error::from_raw_os_error(111));
        let told = judged(&[no_route, refused]);
        assert_eq!(told.reason, Reason::ConnectionRefused);
        assert_eq!(told.detail.as_str(), "[::1]:1: network is unreachable; 127.0.0.1:1");
        let blackhole = ("127.0.0.1:1".parse().unwrap(), io::Error::from_raw_os_error(22));
        assert_eq!(judged(&[blackhole]).reason, Reason::NetworkUnreachable);
    }
}
