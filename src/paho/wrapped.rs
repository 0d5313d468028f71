//! Defines what stands before functions of Paho's, where the linker puts it (`build.rs`): they would go through all clients of the process, again and again.
#![allow(unsafe_code)]

use std::{
    ffi::{c_char, c_int, c_void},
    ptr,
};

use super::{
    list::{Element, List, ListAppend, ListFindItem, ListFreeNoContent, ListInitialize},
    socket::{lock, unlock},
};

/// `START_TIME_TYPE` of Paho's `MQTTTime.h`.
type Time = libc::timeval;

/// `ClientStates` of Paho's `Clients.h`.
#[repr(C)]
struct ClientStates {
    version: *const c_char,
    clients: *mut List,
}

unsafe extern "C" {
    /// Of Paho's `MQTTAsync.c`, `Clients.c` and `MQTTTime.c`.
    static mut bstate: *mut ClientStates;
    fn clientSocketCompare(client: *mut c_void, number: *mut c_void) -> c_int;
    fn MQTTTime_now() -> Time;
    /// Paho's own, under the names that the linker gives them.
    fn __real_MQTTProtocol_keepalive(now: Time);
    fn __real_MQTTProtocol_retry(now: Time, do_retry: c_int, regardless: c_int);
}

/// Stands before Paho's own, which sends every PINGREQ that fell due since it was called last, in one go: each of
/// them waits for those before it, and so do the answers. How often it is called hangs on the keep alive of the
/// client that connected last, whoever's it is (`setRetryLoopInterval`). So it does nothing here, and Paho's own is
/// called by [`keep_alive`].
#[unsafe(no_mangle)]
extern "C" fn __wrap_MQTTProtocol_keepalive(_now: Time) {}

/// Has Paho look at the keep alives of the clients with these connections, as the list of all its clients. To be
/// called by its receive thread, outside of its locks.
pub(super) fn keep_alive(numbers: &[c_int]) {
    // SAFETY: `Paho` has made a client before any connection, so that the list and the mutex are there; the
    // mutex is that under which Paho reads and changes both. What it finds out, that a client is to end, it does
    // as in its own place: in this thread, under this mutex, and without taking anything out of the list.
    unsafe {
        lock();
        let known = ptr::addr_of!(bstate).read();
        let all = (*known).clients;
        let due = ListInitialize();
        if !due.is_null() {
            for &number in numbers {
                let found = find(number);
                if !found.is_null() {
                    ListAppend(due, (*found).content, 0);
                }
            }
            (*known).clients = due;
            __real_MQTTProtocol_keepalive(MQTTTime_now());
            (*known).clients = all;
            ListFreeNoContent(due);
        }
        unlock();
    }
}

/// The client with this connection among Paho's. To be called when it sends CONNECT: it is one of the newest then,
/// so that it is soon found, and the index of the list knows it from then on.
///
/// # Safety
/// Paho's mutex is taken, and there is a client.
pub(super) unsafe fn find(number: c_int) -> *mut Element {
    // SAFETY: as above; what is looked for is a number, as `clientSocketCompare` has it.
    unsafe {
        ListFindItem(
            (*ptr::addr_of!(bstate).read()).clients,
            ptr::from_ref(&number).cast_mut().cast(),
            Some(clientSocketCompare),
        )
    }
}

/// Stands before Paho's own. But for a client that has come back (`regardless`) that only looks for messages
/// to send again after a reconnect that were not sent yet, and for a client whose write failed, which none is
/// told to have done here; and a client is never connected twice.
///
/// # Safety
/// As Paho's own.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_MQTTProtocol_retry(now: Time, do_retry: c_int, regardless: c_int) {
    if regardless != 0 {
        // SAFETY: with what Paho passes.
        unsafe { __real_MQTTProtocol_retry(now, do_retry, regardless) }
    }
}
