//! Defines how one of many addresses is connected to (RFC 8305, happy eyeballs) and what the kernel's refusals mean; what the connection is for is elsewhere.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{net::TcpStream, task::JoinSet, time::sleep};

use super::cause;
use crate::event::{Cause, Reason};

/// How long an address has before the next one is tried beside it (RFC 8305 §8).
const HEAD_START: Duration = Duration::from_millis(250);

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

/// Connects to the address that answers first; each has a head start before the next.
///
/// # Errors
/// When all have failed: the first failure that tells more than that there is no way; the detail has
/// them all.
pub(super) async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Cause> {
    let mut waiting = addresses.iter().copied();
    let mut tries = JoinSet::new();
    let mut failures = Vec::new();
    loop {
        let next = waiting.next();
        if let Some(address) = next {
            tries.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        tokio::select! {
            done = tries.join_next() => match done {
                Some(Ok((_, Ok(stream)))) => return Ok(stream),
                Some(Ok((address, Err(error)))) => failures.push((address, error)),
                Some(Err(error)) => return Err(cause(Reason::Internal, &error.to_string())),
                None => return Err(judged(&failures)),
            },
            () = sleep(HEAD_START), if waiting.len() > 0 => {}
        }
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
    cause(reason, &failures.iter().map(detail).collect::<Vec<_>>().join("; "))
}

/// What a socket's error means.
pub(super) fn reason(error: &io::Error) -> Reason {
    match error.kind() {
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

/// The system's words for an error, without its number.
pub(super) fn words(error: &io::Error) -> String {
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
