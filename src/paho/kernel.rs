//! Defines what the kernel is asked about a client's connection, and how its answer reads; when it is asked is the worker's matter.
//!
//! The number of a socket that Paho has just closed may be another's the next moment, and no lock of ours
//! is held while Paho closes one. So a socket is known by its cookie, which the kernel gives to no other:
//! it is read while the socket is surely this client's, and again after all else was read. Where the two
//! are the same, the number was this socket's all the time between.

use std::os::fd::RawFd;

use crate::event::{Generation, Tcp};

/// What the kernel says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub generation: Generation,
    /// The connection's port on this host.
    pub port: u16,
    pub tcp: Tcp,
}

/// What tells this socket from every other one; `None` where the kernel does not say.
pub(super) fn cookie(socket: RawFd) -> Option<u64> {
    #[cfg(target_os = "linux")]
    return super::raw::socket::cookie(socket);
    #[cfg(not(target_os = "linux"))]
    return None.filter(|_: &u64| socket >= 0);
}

/// What the kernel says of the socket with this number and this cookie; `None` where that is gone.
#[cfg(target_os = "linux")]
pub(super) fn read(generation: Generation, number: RawFd, cookie: u64) -> Option<Reading> {
    use super::raw::socket;
    let (info, port) = (socket::tcp_info(number), socket::port(number));
    let is_still_it = socket::cookie(number) == Some(cookie);
    let (Some(info), Some(port), true) = (info, port, is_still_it) else { return None };
    Some(Reading { generation, port, tcp: tcp(&info)? })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn read(_: Generation, _: RawFd, _: u64) -> Option<Reading> {
    None
}

#[cfg(target_os = "linux")]
fn tcp(info: &libc::tcp_info) -> Option<Tcp> {
    use std::time::Duration;

    let micros = |us: u32| Duration::from_micros(us.into());
    Some(Tcp {
        state: state(info.tcpi_state)?,
        rtt: micros(info.tcpi_rtt),
        rtt_variation: micros(info.tcpi_rttvar),
        retransmits: info.tcpi_total_retrans,
        unacknowledged: info.tcpi_unacked,
        since_received: Duration::from_millis(info.tcpi_last_data_recv.into()),
    })
}

/// The numbers of `include/net/tcp_states.h`.
#[cfg(target_os = "linux")]
fn state(number: u8) -> Option<crate::event::TcpState> {
    use crate::event::TcpState::*;
    Some(match number {
        1 => Established,
        2 => SynSent,
        3 | 12 => SynReceived,
        4 => FinWait1,
        5 => FinWait2,
        6 => TimeWait,
        7 => Closed,
        8 => CloseWait,
        9 => LastAck,
        10 => Listen,
        11 => Closing,
        _ => return None,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        io::Write,
        net::{Shutdown, TcpListener, TcpStream},
        os::fd::AsRawFd,
    };

    use super::*;
    use crate::event::TcpState;

    #[test]
    fn what_waits_is_as_old_as_its_arrival_and_stays() {
        use std::{
            io::Read,
            thread,
            time::{Duration, Instant},
        };

        use crate::paho::raw::socket;

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        assert_eq!(socket::waiting_since(near.as_raw_fd()), None);
        socket::stamp(near.as_raw_fd());
        // The kernel begins to note such times a moment after the first socket of the host asked for them.
        let deadline = Instant::now() + Duration::from_secs(5);
        let sent = loop {
            let sent = Instant::now();
            far.write_all(b"x").unwrap();
            near.peek(&mut [0]).unwrap();
            if socket::waiting_since(near.as_raw_fd()).is_some() {
                break sent;
            }
            assert!(Instant::now() < deadline, "nothing is noted");
            near.read_exact(&mut [0]).unwrap();
        };
        // Nothing but time tells the arrival from the look.
        let pause = Duration::from_millis(20);
        thread::sleep(pause);
        let ago = socket::waiting_since(near.as_raw_fd()).unwrap();
        assert!((pause..=sent.elapsed()).contains(&ago), "{ago:?}");
        near.read_exact(&mut [0]).unwrap();
        assert_eq!((socket::waiting_since(near.as_raw_fd()), socket::waiting_since(-1)), (None, None));
    }

    #[test]
    fn a_socket_is_told_from_the_next_one_of_its_number() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let number = near.as_raw_fd();
        let mark = cookie(number).expect("a cookie");
        let reading = read(7, number, mark).expect("a reading");
        assert_eq!((reading.generation, reading.port), (7, near.local_addr().unwrap().port()));
        assert_eq!(reading.tcp.state, TcpState::Established);
        far.write_all(b"x").unwrap();
        far.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read(7, number, mark).map(|r| r.tcp.state), Some(TcpState::CloseWait));

        // Another socket takes its number; `dup2` does at once what a close and a connect do in time.
        let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut place = std::os::fd::OwnedFd::from(near);
        rustix::io::dup2(&other, &mut place).unwrap();
        assert_eq!(place.as_raw_fd(), number);
        assert_eq!(read(7, number, mark), None);
        drop(place);
        assert_eq!((read(7, -1, mark), cookie(-1)), (None, None));
    }
}
