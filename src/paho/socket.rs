//! Defines what Paho is linked with in place of its `Socket.c`: its "sockets" are numbers of connections that the worker made before.
//!
//! Every name that the rest of Paho C 1.3.16 uses of `Socket.c` is here, so that its own is not linked. A
//! number is never given twice, and a packet reaches Paho as a whole or not at all. A write is never told
//! to have failed: where it does, Paho frees what it publishes twice (`MQTTAsync_processCommand`), and the
//! reading side finds the closed connection anyway.
#![allow(unsafe_code)]

use std::{
    cell::RefCell,
    ffi::{c_char, c_int, c_long, c_void},
    ptr, slice,
    sync::atomic::{AtomicPtr, Ordering},
    time::Duration,
};

use super::{
    connections::{CONNECTIONS, Ready},
    wrapped,
};

/// `TCPSOCKET_COMPLETE` and `SOCKET_ERROR` of Paho's `Socket.h`.
const COMPLETE: c_int = 0;
const SOCKET_ERROR: c_int = -1;

/// How a CONNECT begins (MQTT 5.0 §3.1.1).
const CONNECT: u8 = 0x10;

/// `PacketBuffers` of Paho's `Socket.h`.
#[repr(C)]
struct PacketBuffers {
    count: c_int,
    buffers: *const *const c_char,
    lengths: *const usize,
    frees: *const c_int,
    mask: [u8; 4],
}

/// What Paho's receive thread reads at the moment. It reads a packet to its end before it asks for the next.
#[derive(Default)]
pub(super) struct Current {
    pub number: c_int,
    pub packet: Vec<u8>,
    read: usize,
}

impl Current {
    /// Nothing is left of a connection that ended: reading from it fails.
    pub(super) fn begin(&mut self, number: c_int) {
        (self.number, self.read) = (number, 0);
        self.packet.clear();
        self.packet.shrink_to(KEPT);
    }

    /// The next `count` bytes, where there are so many.
    fn take(&mut self, number: c_int, count: usize) -> Option<&[u8]> {
        let end = self.read.checked_add(count).filter(|&end| end <= self.packet.len() && number == self.number)?;
        let taken = &self.packet[self.read..end];
        self.read = end;
        Some(taken)
    }
}

thread_local! {
    static CURRENT: RefCell<Current> = RefCell::default();
    /// A packet on its way out, in one piece.
    static PACKET: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

unsafe extern "C" {
    /// Of Paho's `MQTTAsync.c` and `Thread.c`.
    static mqttasync_mutex: *mut c_void;
    static send_evt: *mut c_void;
    fn Paho_thread_lock_mutex(mutex: *mut c_void) -> c_int;
    fn Paho_thread_unlock_mutex(mutex: *mut c_void) -> c_int;
    fn Thread_signal_evt(event: *mut c_void) -> c_int;
}

/// Takes the mutex under which Paho changes its clients.
///
/// # Safety
/// It exists: there is a client. It is not taken by this thread, which gives it back with [`unlock`].
pub(super) unsafe fn lock() {
    // SAFETY: as above.
    unsafe { Paho_thread_lock_mutex(mqttasync_mutex) };
}

/// # Safety
/// This thread has taken it with [`lock`].
pub(super) unsafe fn unlock() {
    // SAFETY: as above.
    unsafe { Paho_thread_unlock_mutex(mqttasync_mutex) };
}

type WriteAvailable = unsafe extern "C" fn(c_int);

/// `MQTTProtocol_writeAvailable`: sends the acknowledgements that Paho holds up; null until it is told.
static WRITE_AVAILABLE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

#[unsafe(no_mangle)]
extern "C" fn Socket_outInitialize() {}

#[unsafe(no_mangle)]
extern "C" fn Socket_outTerminate() {}

/// The number of a connection of which there is a packet, or whose end is to be told; 0 where there is none
/// within `timeout` ms or a keep alive falls due.
///
/// # Safety
/// `rc` can be written to.
#[unsafe(no_mangle)]
unsafe extern "C" fn Socket_getReadySocket(
    more_work: c_int,
    timeout: c_int,
    _mutex: *mut c_void,
    rc: *mut c_int,
    _interrupted: *mut c_int,
) -> c_int {
    // SAFETY: Paho passes a variable of its own.
    unsafe { rc.write(0) }
    let patience = match (more_work, u64::try_from(timeout)) {
        (0, Ok(millis)) => Duration::from_millis(millis),
        (0, Err(_)) => Duration::from_secs(1),
        _ => Duration::ZERO,
    };
    let idle = CONNECTIONS.take_idle();
    if !idle.is_empty() {
        wrapped::keep_alive(&idle);
        CONNECTIONS.looked_at(&idle);
    }
    CURRENT.with_borrow_mut(|current| match CONNECTIONS.next(patience, current) {
        Some(Ready::Read(number)) => number,
        Some(Ready::Write(number)) => {
            write_available(number);
            0
        }
        None => 0,
    })
}

/// Has Paho send what it held up for this connection.
fn write_available(number: c_int) {
    let callback = WRITE_AVAILABLE.load(Ordering::Acquire);
    if callback.is_null() {
        return;
    }
    // SAFETY: it is what `Socket_setWriteAvailableCallback` was given, a function that lives for ever. It
    // changes a client, which Paho does under this mutex everywhere else; both exist as soon as a client does.
    // It takes for granted that there is one with this number: closing takes both away under the same mutex.
    unsafe {
        let callback = std::mem::transmute::<*mut c_void, WriteAvailable>(callback);
        lock();
        if CONNECTIONS.get(number).is_some() {
            callback(number);
        }
        unlock();
        // Commands wait for the same, up to a second where nobody wakes the thread that sends them.
        Thread_signal_evt(send_evt);
    }
}

/// # Safety
/// `byte` can be written to.
#[unsafe(no_mangle)]
unsafe extern "C" fn Socket_getch(number: c_int, byte: *mut u8) -> c_int {
    CURRENT.with_borrow_mut(|current| match current.take(number, 1) {
        Some(taken) => {
            // SAFETY: Paho passes a variable of its own.
            unsafe { byte.write(taken[0]) }
            COMPLETE
        }
        None => SOCKET_ERROR,
    })
}

/// The bytes stay where they are until this thread asks for the next ready connection.
///
/// # Safety
/// `length` and `rc` can be written to.
#[unsafe(no_mangle)]
unsafe extern "C" fn Socket_getdata(number: c_int, count: usize, length: *mut usize, rc: *mut c_int) -> *const u8 {
    CURRENT.with_borrow_mut(|current| match current.take(number, count) {
        Some(taken) => {
            // SAFETY: Paho passes variables of its own.
            unsafe {
                length.write(count);
                rc.write(count as c_int);
            }
            taken.as_ptr()
        }
        None => {
            // SAFETY: as above.
            unsafe { rc.write(SOCKET_ERROR) }
            ptr::null()
        }
    })
}

/// Takes in one whole packet.
///
/// # Safety
/// `head` has `head_length` bytes, and `rest` as many buffers of such lengths as it says.
#[unsafe(no_mangle)]
unsafe extern "C" fn Socket_putdatas(number: c_int, head: *const u8, head_length: usize, rest: PacketBuffers) -> c_int {
    PACKET.with_borrow_mut(|packet| {
        packet.clear();
        // SAFETY: Paho passes buffers of its own, which it keeps until this returns.
        unsafe {
            packet.extend_from_slice(slice::from_raw_parts(head, head_length));
            for i in 0..usize::try_from(rest.count).unwrap_or(0) {
                let (buffer, length) = (*rest.buffers.add(i), *rest.lengths.add(i));
                if !buffer.is_null() && length > 0 {
                    packet.extend_from_slice(slice::from_raw_parts(buffer.cast(), length));
                }
            }
        }
        if packet.first() == Some(&CONNECT) {
            // SAFETY: a client of Paho's sends, and does so under its mutex.
            unsafe { wrapped::find(number) };
        }
        if let Some(connection) = CONNECTIONS.get(number) {
            connection.send(packet);
        }
        packet.shrink_to(KEPT);
    });
    COMPLETE
}

/// What stays reserved for the packets to come, in bytes.
const KEPT: usize = 64 << 10;

/// "Connects" to an address, which is the number of a connection that is there already.
///
/// # Safety
/// `address` has `length` bytes, and `number` can be written to.
#[unsafe(no_mangle)]
unsafe extern "C" fn Socket_new(
    address: *const u8,
    length: usize,
    _port: c_int,
    number: *mut c_int,
    _timeout: c_long,
) -> c_int {
    // SAFETY: Paho passes a part of its client's URI.
    let address = unsafe { slice::from_raw_parts(address, length) };
    let named = std::str::from_utf8(address).ok().and_then(|text| text.parse().ok());
    let found = named.filter(|&number| CONNECTIONS.get(number).is_some());
    // SAFETY: Paho passes a variable of its own.
    unsafe { number.write(found.unwrap_or(SOCKET_ERROR)) }
    if found.is_some() { COMPLETE } else { SOCKET_ERROR }
}

/// A Unix socket is a connection as every other: Paho is never given one by its path.
///
/// # Safety
/// `number` can be written to.
#[unsafe(no_mangle)]
unsafe extern "C" fn Socket_unix_new(_address: *const u8, _length: usize, number: *mut c_int) -> c_int {
    // SAFETY: Paho passes a variable of its own.
    unsafe { number.write(SOCKET_ERROR) }
    SOCKET_ERROR
}

#[unsafe(no_mangle)]
extern "C" fn Socket_close(number: c_int) -> c_int {
    if let Some(connection) = CONNECTIONS.remove(number) {
        connection.closed();
    }
    COMPLETE
}

/// Whether Paho may write.
#[unsafe(no_mangle)]
extern "C" fn Socket_noPendingWrites(number: c_int) -> c_int {
    CONNECTIONS.get(number).is_none_or(|connection| connection.may_send()).into()
}

/// A connection is there when Paho hears of it: it never waits for one.
#[unsafe(no_mangle)]
extern "C" fn Socket_addPendingWrite(_number: c_int) {}

#[unsafe(no_mangle)]
extern "C" fn Socket_clearPendingWrite(_number: c_int) {}

/// For Paho's log, which nobody reads.
#[unsafe(no_mangle)]
extern "C" fn Socket_getpeer(_number: c_int) -> *const c_char {
    c"".as_ptr()
}

/// No write is ever half done.
#[unsafe(no_mangle)]
extern "C" fn Socket_setWriteContinueCallback(_callback: *mut c_void) {}

#[unsafe(no_mangle)]
extern "C" fn Socket_setWriteCompleteCallback(_callback: *mut c_void) {}

#[unsafe(no_mangle)]
extern "C" fn Socket_setWriteAvailableCallback(callback: *mut c_void) {
    WRITE_AVAILABLE.store(callback, Ordering::Release);
}

#[unsafe(no_mangle)]
extern "C" fn Socket_interrupt() -> c_int {
    CONNECTIONS.wake();
    COMPLETE
}
