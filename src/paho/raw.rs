//! Defines what needs `unsafe`: Paho's trace callback, its level, file descriptors that Paho owns, and what Linux tells of a socket; what that is used for is elsewhere.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char},
    os::fd::{BorrowedFd, RawFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::OnceLock,
};

static LISTENER: OnceLock<fn(&[u8])> = OnceLock::new();

/// A line a packet, and those about errors.
const PROTOCOL: paho_mqtt_sys::MQTTASYNC_TRACE_LEVELS = paho_mqtt_sys::MQTTASYNC_TRACE_LEVELS_MQTTASYNC_TRACE_PROTOCOL;

/// Has Paho hand every line of its trace at level PROTOCOL and above to `listener`. It is called on
/// Paho's threads, under Paho's locks, and must neither block nor call Paho.
pub(super) fn listen(listener: fn(&[u8])) {
    LISTENER.get_or_init(|| listener);
    // SAFETY: the callback has the type that Paho asks for and lives for ever; both calls only store
    // a value. They come after the first client was created and before any connects, so that no
    // other thread reads these values meanwhile.
    unsafe {
        paho_mqtt_sys::MQTTAsync_setTraceCallback(Some(on_line));
        paho_mqtt_sys::MQTTAsync_setTraceLevel(PROTOCOL);
    }
}

unsafe extern "C" fn on_line(level: paho_mqtt_sys::MQTTASYNC_TRACE_LEVELS, line: *mut c_char) {
    // The crate sets the level as well, by the program's log filter, when it creates its first client.
    debug_assert!(level >= PROTOCOL, "somebody has set Paho's trace to a chattier level: {level}");
    let (Some(listener), false) = (LISTENER.get(), line.is_null()) else { return };
    // SAFETY: Paho passes its own NUL-terminated buffer and holds its log lock until this returns.
    let line = unsafe { CStr::from_ptr(line) };
    // A panic must not unwind into C. There is nobody to tell: the line is lost, as a sample may be.
    let _ = catch_unwind(AssertUnwindSafe(|| listener(line.to_bytes())));
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
        mem::{MaybeUninit, size_of},
        os::fd::RawFd,
    };

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
