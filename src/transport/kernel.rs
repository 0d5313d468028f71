//! Defines what needs `unsafe` below MQTT: socket options, time stamps and `TCP_INFO` of Linux, and what the crate does not offer of OpenSSL; what they are used for is elsewhere.
#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_void},
    io,
    mem::{MaybeUninit, size_of, size_of_val},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use foreign_types::ForeignTypeRef;
use openssl::{
    error::ErrorStack,
    ssl::{SslRef, SslSessionRef},
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::event::{Tcp, TcpState};

/// Nothing waits as long as this to be read.
const LONG_AGO: Duration = Duration::from_secs(60);

/// Has tokio watch a socket in both directions.
pub(super) fn register(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, and names the same file, until it is dropped, which `AsyncFd` does last;
    // nothing gives it away before.
    let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::WRITABLE) };
    Ok(registered?)
}

/// What the kernel says of a TCP connection.
pub(super) fn tcp(socket: BorrowedFd<'_>) -> Option<Tcp> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes no more than `length` bytes, which is the size of `info`; every bit pattern
    // is a `tcp_info`, and what an older kernel does not know stays 0.
    let (rc, info) = unsafe {
        let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
        let rc = libc::getsockopt(socket.as_raw_fd(), level, name, info.as_mut_ptr().cast(), &mut length);
        (rc, info.assume_init())
    };
    let micros = |us: u32| Duration::from_micros(us.into());
    Some(Tcp {
        state: state(info.tcpi_state).filter(|_| rc == 0)?,
        rtt: micros(info.tcpi_rtt),
        rtt_variation: micros(info.tcpi_rttvar),
        retransmits: info.tcpi_total_retrans,
        unacknowledged: info.tcpi_unacked,
        since_received: Duration::from_millis(info.tcpi_last_data_recv.into()),
        sent: info.tcpi_bytes_acked,
        received: info.tcpi_bytes_received,
    })
}

/// The numbers of `include/net/tcp_states.h`.
fn state(number: u8) -> Option<TcpState> {
    use TcpState::*;
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

/// Has the kernel note when each packet arrives, where it can.
pub(super) fn stamp(socket: BorrowedFd<'_>) {
    let flags = libc::SOF_TIMESTAMPING_RX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
    // Without it `receive` tells no time, and the reader's own clock stands in.
    let _ = set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags);
}

/// Has a bind to an address leave the port to the connect (ip(7)), so that ports of the address that are
/// in use towards other destinations can be used again.
pub(super) fn bind_without_port(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1_u32)
}

fn set(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: u32) -> io::Result<()> {
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of `value`.
    let rc = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads what is there, and tells how long ago the last of it arrived, where the kernel noted that.
pub(super) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<Duration>)> {
    /// Room for the kernel's three times (`scm_timestamping`) and what goes before them, aligned as
    /// `cmsghdr` is.
    #[repr(C, align(8))]
    struct Control([u8; 128]);
    let mut control = Control([0; 128]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: every bit pattern is a `msghdr`; the kernel writes no more data than `buffer` takes, and no more
    // control data than there is room for, of which `CMSG_FIRSTHDR` and `CMSG_DATA` stay within.
    let (count, arrived) = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        (message.msg_control, message.msg_controllen) = ((&raw mut control).cast(), size_of::<Control>() as _);
        let count = libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC);
        let Ok(count) = usize::try_from(count) else { return Err(io::Error::last_os_error()) };
        let head = libc::CMSG_FIRSTHDR(&message);
        let is_time =
            !head.is_null() && ((*head).cmsg_level, (*head).cmsg_type) == (libc::SOL_SOCKET, libc::SO_TIMESTAMPING);
        (count, is_time.then(|| libc::CMSG_DATA(head).cast::<libc::timespec>().read_unaligned()))
    };
    Ok((count, arrived.and_then(|arrived| ago(&arrived))))
}

/// How long ago the wall clock showed this. The kernel says 0 where it noted nothing, and the clock may
/// have been set since.
fn ago(then: &libc::timespec) -> Option<Duration> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let seconds = now.tv_sec.checked_sub(then.tv_sec)?;
    let nanos = seconds.checked_mul(1_000_000_000)?.checked_add(now.tv_nsec - then.tv_nsec)?;
    u64::try_from(nanos).ok().map(Duration::from_nanos).filter(|&ago| ago < LONG_AGO)
}

unsafe extern "C" {
    /// Of OpenSSL (`SSL_get_shared_sigalgs(3)`).
    fn SSL_get_sigalgs(
        ssl: *mut c_void,
        index: c_int,
        sign: *mut c_int,
        hash: *mut c_int,
        both: *mut c_int,
        raw_sign: *mut u8,
        raw_hash: *mut u8,
    ) -> c_int;

    /// Of OpenSSL (`SSL_get_shutdown(3)`).
    fn SSL_get_shutdown(ssl: *const c_void) -> c_int;
}

/// Whether the other side has said that it sends no more (close_notify, RFC 8446 §6.1).
pub(super) fn has_taken_leave(ssl: &SslRef) -> bool {
    const SSL_RECEIVED_SHUTDOWN: c_int = 2;
    // SAFETY: `ssl` is alive, and is only looked at.
    unsafe { SSL_get_shutdown(ssl.as_ptr().cast()) & SSL_RECEIVED_SHUTDOWN != 0 }
}

/// Whether the server asked for a client's certificate in this handshake. A client learns of the other
/// side's signature algorithms only from such a request, which has to name some (RFC 8446 §4.3.2, RFC
/// 5246 §7.4.4).
pub(super) fn asked_for_certificate(ssl: &SslRef) -> bool {
    use std::ptr::null_mut;
    // SAFETY: `ssl` is alive; with a negative index it only counts, and writes through no pointer.
    let count =
        unsafe { SSL_get_sigalgs(ssl.as_ptr().cast(), -1, null_mut(), null_mut(), null_mut(), null_mut(), null_mut()) };
    count > 0
}

/// Offers a session to the server. It must have been made by a context like that of `ssl`.
pub(super) fn resume(ssl: &mut SslRef, session: &SslSessionRef) -> Result<(), ErrorStack> {
    // SAFETY: sessions are kept with the context that they came from, or as copies of such, and their one
    // user is given both.
    unsafe { ssl.set_session(session) }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{Shutdown, TcpListener, TcpStream},
        os::fd::AsFd,
        thread,
        time::Instant,
    };

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    #[test]
    fn what_is_read_is_as_old_as_its_arrival() {
        let (near, mut far) = pair();
        stamp(near.as_fd());
        let mut buffer = [0; 8];
        // The kernel begins to note such times a moment after the first socket of the host asked for them.
        let deadline = Instant::now() + Duration::from_secs(5);
        let pause = Duration::from_millis(20);
        loop {
            let sent = Instant::now();
            far.write_all(b"x").unwrap();
            near.peek(&mut buffer).unwrap();
            // Nothing but time tells the arrival from the look.
            thread::sleep(pause);
            let (count, ago) = receive(near.as_fd(), &mut buffer).unwrap();
            assert_eq!(count, 1);
            if let Some(ago) = ago {
                assert!((pause..=sent.elapsed()).contains(&ago), "{ago:?}");
                break;
            }
            assert!(Instant::now() < deadline, "nothing is noted");
        }
        assert_eq!(receive(near.as_fd(), &mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_connection_s_state_is_told() {
        let (near, mut far) = pair();
        assert_eq!(tcp(near.as_fd()).map(|t| t.state), Some(TcpState::Established));
        far.write_all(b"x").unwrap();
        far.shutdown(Shutdown::Write).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while tcp(near.as_fd()).map(|t| t.state) != Some(TcpState::CloseWait) {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(1));
        }
        let (unix, _) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(tcp(unix.as_fd()), None);
    }
}
