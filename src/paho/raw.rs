//! Defines the three things that need `unsafe` (Paho's trace callback, its level, and file descriptors that Paho owns); what they are used for is elsewhere.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char},
    os::fd::{BorrowedFd, RawFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::OnceLock,
};

static LISTENER: OnceLock<fn(&[u8])> = OnceLock::new();

/// Has Paho hand every line of its trace at level PROTOCOL and above to `listener`. It is called on
/// Paho's threads, under Paho's locks, and must neither block nor call Paho.
pub(super) fn listen(listener: fn(&[u8])) {
    LISTENER.get_or_init(|| listener);
    // SAFETY: the callback has the type that Paho asks for and lives for ever; both calls only store
    // a value. They come after the first client was created and before any connects, so that no
    // other thread reads these values meanwhile.
    unsafe {
        paho_mqtt_sys::MQTTAsync_setTraceCallback(Some(on_line));
        paho_mqtt_sys::MQTTAsync_setTraceLevel(paho_mqtt_sys::MQTTASYNC_TRACE_LEVELS_MQTTASYNC_TRACE_PROTOCOL);
    }
}

unsafe extern "C" fn on_line(_level: paho_mqtt_sys::MQTTASYNC_TRACE_LEVELS, line: *mut c_char) {
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
