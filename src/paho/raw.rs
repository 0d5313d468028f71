//! Defines what needs `unsafe`: what Paho's log hands over, file descriptors that Paho owns, and what Linux tells of a socket; what that is used for is elsewhere.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char, c_int},
    os::fd::{BorrowedFd, RawFd},
    panic::catch_unwind,
    slice,
    sync::OnceLock,
};

use super::packet::Told;

/// Who hears of each packet, and of the other lines of the log.
#[derive(Clone, Copy)]
pub(super) struct Listener {
    pub packet: fn(&Told<'_>),
    pub line: fn(&[u8]),
}

static LISTENER: OnceLock<Listener> = OnceLock::new();

/// `struct packet` of `log.c`.
#[repr(C)]
struct RawPacket {
    number: c_int,
    socket: c_int,
    client_id: *const c_char,
    values: [c_int; 5],
    payload: *const c_char,
    shown: c_int,
}

unsafe extern "C" {
    fn mqfleet_listen(packet: unsafe extern "C" fn(*const RawPacket), line: unsafe extern "C" fn(*const c_char));
}

/// Has Paho's log hand all that it says to `listener`: on Paho's threads, under its locks, so that it
/// must neither block nor call Paho. What is about one connection comes one after the other.
pub(super) fn listen(listener: Listener) {
    LISTENER.get_or_init(|| listener);
    // SAFETY: the callbacks have the types of `log.c` and live for ever; it only stores them. That comes
    // before any client connects, so that no other thread of Paho's runs meanwhile.
    unsafe { mqfleet_listen(on_packet, on_line) }
}

unsafe extern "C" fn on_packet(packet: *const RawPacket) {
    let Some(listener) = LISTENER.get() else { return };
    // SAFETY: `log.c` passes a packet of its own, whose client ID is Paho's and ends with a NUL, and of
    // whose payload, where there is one, `shown` bytes can be read.
    let told = unsafe {
        let RawPacket { number, socket, client_id, values, payload, shown } = *packet;
        let payload =
            if payload.is_null() { &[] } else { slice::from_raw_parts(payload.cast(), shown.max(0) as usize) };
        Told { number, socket, client_id: CStr::from_ptr(client_id).to_bytes(), values, payload }
    };
    // A panic must not unwind into C. There is nobody to tell: the packet is lost, as a sample may be.
    let _ = catch_unwind(|| (listener.packet)(&told));
}

unsafe extern "C" fn on_line(line: *const c_char) {
    let Some(listener) = LISTENER.get() else { return };
    // SAFETY: `log.c` passes its own NUL-terminated buffer.
    let line = unsafe { CStr::from_ptr(line) };
    let _ = catch_unwind(|| (listener.line)(line.to_bytes()));
}

/// Borrows a descriptor that this process has open but something else owns.
///
/// The caller sees to it that the descriptor stays open while the result is in use.
pub(super) fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: what is borrowed is open while it is in use: `guard` looks at descriptors before any
    // other thread runs and then at Paho's socketpair, which lives as long as `Paho` keeps a client;
    // `arrivals` uses a client's socket on the thread of Paho's that is using it at that moment.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// What Linux tells of a socket, by its number alone: whose that is the caller has to find out, since it
/// may be closed, or another's, at any moment.
#[cfg(target_os = "linux")]
pub(super) mod socket {
    use std::{
        ffi::c_int,
        mem::{MaybeUninit, size_of, size_of_val},
        os::fd::RawFd,
        time::Duration,
    };

    /// Nothing waits as long as this to be read.
    const LONG_AGO: Duration = Duration::from_secs(60);

    /// The number that no other socket of this host has, nor will have (`SO_COOKIE`, since Linux 4.12).
    pub fn cookie(fd: RawFd) -> Option<u64> {
        option(fd, libc::SOL_SOCKET, libc::SO_COOKIE)
    }

    /// Its TCP connection; fields that an older kernel does not know are 0.
    pub fn tcp_info(fd: RawFd) -> Option<libc::tcp_info> {
        option(fd, libc::IPPROTO_TCP, libc::TCP_INFO)
    }

    /// The port on this host.
    pub fn port(fd: RawFd) -> Option<u16> {
        let mut address = MaybeUninit::<libc::sockaddr_in6>::zeroed();
        let mut length = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        // SAFETY: as in `option`; every bit pattern is a `sockaddr_in6`.
        let (rc, address) = unsafe {
            let rc = libc::getsockname(fd, address.as_mut_ptr().cast(), &mut length);
            (rc, address.assume_init())
        };
        let is_ip = [libc::AF_INET, libc::AF_INET6].contains(&c_int::from(address.sin6_family));
        // The port is in the same place in both kinds of address.
        (rc == 0 && is_ip).then(|| u16::from_be(address.sin6_port))
    }

    /// Has the kernel note when each packet arrives on it, where it can.
    pub fn stamp(fd: RawFd) {
        let flags = libc::SOF_TIMESTAMPING_RX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
        let length = size_of_val(&flags) as libc::socklen_t;
        // SAFETY: the kernel reads `length` bytes of `flags`; a descriptor that is closed or no socket is an
        // error to it.
        let _ =
            unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, (&raw const flags).cast(), length) };
    }

    /// How long ago the first byte that nobody has read yet arrived on it; it stays unread.
    pub fn waiting_since(fd: RawFd) -> Option<Duration> {
        /// Room for the kernel's three times (`scm_timestamping`) and what goes before them, aligned as
        /// `cmsghdr` is.
        #[repr(C, align(8))]
        struct Control([u8; 128]);
        let (mut byte, mut control) = (0_u8, Control([0; 128]));
        let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        // SAFETY: every bit pattern is a `msghdr`; the kernel writes no more than one byte of data and, of
        // control data, what there is room for, of which `CMSG_FIRSTHDR` and `CMSG_DATA` stay within.
        let arrived = unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
            (message.msg_control, message.msg_controllen) = ((&raw mut control).cast(), size_of::<Control>() as _);
            if libc::recvmsg(fd, &mut message, libc::MSG_PEEK | libc::MSG_DONTWAIT) < 1 {
                return None;
            }
            let head = libc::CMSG_FIRSTHDR(&message);
            if head.is_null() || ((*head).cmsg_level, (*head).cmsg_type) != (libc::SOL_SOCKET, libc::SO_TIMESTAMPING) {
                return None;
            }
            libc::CMSG_DATA(head).cast::<libc::timespec>().read_unaligned()
        };
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let nanos = (now.tv_sec - arrived.tv_sec) * 1_000_000_000 + (now.tv_nsec - arrived.tv_nsec);
        // The kernel says 0 where it did not note it, and the clock may have been set since.
        u64::try_from(nanos).ok().map(Duration::from_nanos).filter(|&ago| ago < LONG_AGO)
    }

    /// `T` is a number or a structure of numbers, for which every bit pattern makes sense.
    fn option<T: Copy>(fd: RawFd, level: c_int, name: c_int) -> Option<T> {
        let mut value = MaybeUninit::<T>::zeroed();
        let mut length = size_of::<T>() as libc::socklen_t;
        // SAFETY: the kernel writes no more than `length` bytes, which is the size of `value`; a descriptor
        // that is closed or no socket is an error to it. See above for `T`.
        let (rc, value) = unsafe {
            let rc = libc::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &mut length);
            (rc, value.assume_init())
        };
        (rc == 0).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" {
        /// Of Paho's `Messages.c`.
        fn Messages_get(number: c_int, level: c_int) -> *const c_char;
    }

    /// What `log.c` and `packet.rs` take for granted.
    #[test]
    fn paho_s_formats_are_those_that_its_log_is_read_by() {
        for (number, values) in [
            (0, " -> CONNECT version %d clean: %d (%d)"),
            (1, " <- CONNACK rc: %d"),
            (10, " -> PUBLISH msgid: %d qos: %d retained: %d rc %d payload len(%d): %.*s"),
            (11, " <- PUBLISH msgid: %d qos: %d retained: %d payload len(%d): %.*s"),
            (12, " -> PUBACK msgid: %d (%d)"),
            (13, " -> PUBREC msgid: %d (%d)"),
            (14, " <- PUBACK msgid: %d"),
            (15, " <- PUBREC msgid: %d"),
            (16, " -> PUBREL msgid: %d (%d)"),
            (17, " <- PUBREL msgid %d"),
            (18, " -> PUBCOMP msgid %d (%d)"),
            (19, " <- PUBCOMP msgid:%d"),
            (20, " -> PINGREQ (%d)"),
            (21, " <- PINGRESP"),
            (22, " -> SUBSCRIBE msgid: %d (%d)"),
            (23, " <- SUBACK msgid: %d"),
            (24, " <- UNSUBACK msgid: %d"),
            (25, " -> UNSUBSCRIBE msgid: %d (%d)"),
            (27, " -> PUBLISH qos: 0 retained: %d rc: %d payload len(%d): %.*s"),
            (28, " -> DISCONNECT (%d)"),
            (30, " <- DISCONNECT (%d)"),
        ] {
            // SAFETY: it returns a constant.
            let format = unsafe { CStr::from_ptr(Messages_get(number, 4)) };
            assert_eq!(format.to_str(), Ok(&*format!("%d %s{values}")), "{number}");
        }
    }
}
