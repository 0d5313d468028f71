//! Defines the tasks that carry bytes between a connection and its broker; what the bytes mean is the connection's matter.

use std::{cell::RefCell, future::poll_fn, io::ErrorKind, pin::Pin, sync::Arc, task::Poll, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep_until, timeout},
};

use super::connection::{Connection, Wants};
use crate::transport::{Layered, Socket};

/// What is read at once, in bytes. One buffer a thread: a connection keeps none.
const BUFFER: usize = 64 << 10;

/// How often a connection may fill the buffer before the others have their turn.
const TURNS: usize = 4;

/// How long the last bytes to a broker may take once Paho has let go, and the broker to close its end.
const FLUSH: Duration = Duration::from_secs(2);
const LINGER: Duration = Duration::from_millis(250);

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into());
}

/// Carries what comes over a socket of its own. What goes out Paho's threads write themselves, as long as
/// the socket takes it.
pub(super) async fn plain(connection: Arc<Connection>, socket: Arc<Socket>) {
    let (mut partial, mut deadline) = (Vec::new(), None);
    let cut = loop {
        let Wants { read, write, close, end, cut } = connection.wants();
        if end {
            break cut;
        }
        tokio::select! {
            ready = socket.readable(), if read => match ready {
                Ok(()) => read_plain(&connection, &socket, &mut partial),
                Err(error) => connection.ended(Some(&error)),
            },
            _ = socket.writable(), if write => connection.write_on(),
            () = connection.changed.notified() => {}
            () = until(&mut deadline), if close => break false,
        }
    };
    socket.shutdown_write();
    if !cut {
        let _ = timeout(LINGER, linger(&socket)).await;
    }
    connection.gone();
}

/// Waits for the broker to close its end: closed with unread bytes a socket is reset, and with it what is on
/// its way to the broker.
async fn linger(socket: &Socket) {
    let mut rest = [0; 1024];
    while socket.readable().await.is_ok() {
        match socket.try_read(&mut rest) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

fn read_plain(connection: &Connection, socket: &Socket, partial: &mut Vec<u8>) {
    READ.with_borrow_mut(|buffer| {
        for _ in 0..TURNS {
            match socket.try_read(buffer) {
                Ok(0) => return connection.ended(None),
                Ok(length) => {
                    connection.take_in(partial, &buffer[..length], socket.arrived());
                    if length < buffer.len() {
                        return;
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
                Err(error) => return connection.ended(Some(&error)),
            }
        }
    });
}

/// Carries what goes through TLS, a WebSocket, or both.
pub(super) async fn layered(connection: Arc<Connection>, mut stream: Box<Layered>) {
    let (mut partial, mut output, mut written) = (Vec::new(), Vec::new(), 0);
    let (mut is_flushed, mut deadline) = (true, None);
    let cut = loop {
        if written == output.len() {
            (written, output) = (0, Vec::new());
        }
        let Wants { read, write, close, end, cut } = connection.wants();
        if output.is_empty() && write {
            connection.take_output(&mut output);
            is_flushed = false;
        }
        if end && (cut || output.is_empty() && is_flushed) {
            break cut;
        }
        let carried = poll_fn(|context| {
            let mut is_moved = false;
            let mut error = None;
            if written < output.len() {
                match Pin::new(&mut *stream).poll_write(context, &output[written..]) {
                    Poll::Ready(Ok(length)) => (written, is_moved) = (written + length, true),
                    Poll::Ready(Err(failed)) => (written, is_flushed, error) = (output.len(), true, Some(failed)),
                    Poll::Pending => {}
                }
            } else if !is_flushed {
                match Pin::new(&mut *stream).poll_flush(context) {
                    Poll::Ready(Ok(())) => (is_flushed, is_moved) = (true, true),
                    Poll::Ready(Err(failed)) => (is_flushed, error) = (true, Some(failed)),
                    Poll::Pending => {}
                }
            }
            if read && error.is_none() {
                READ.with_borrow_mut(|buffer| {
                    let mut buffer = ReadBuf::new(buffer);
                    match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                        Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                            connection.ended(None);
                            is_moved = true;
                        }
                        Poll::Ready(Ok(())) => {
                            connection.take_in(&mut partial, buffer.filled(), stream.socket().arrived());
                            is_moved = true;
                        }
                        Poll::Ready(Err(failed)) => error = Some(failed),
                        Poll::Pending => {}
                    }
                });
            }
            match error {
                Some(error) => Poll::Ready(Err(error)),
                None if is_moved => Poll::Ready(Ok(())),
                None => Poll::Pending,
            }
        });
        tokio::select! {
            carried = carried => if let Err(error) = carried {
                connection.ended(Some(&error));
            },
            () = connection.changed.notified() => {}
            () = until(&mut deadline), if close => break false,
        }
    };
    if !cut {
        stream.close().await;
    }
    connection.gone();
}

/// Until the last bytes to a broker have had their time, from the first call on.
async fn until(deadline: &mut Option<Instant>) {
    sleep_until(*deadline.get_or_insert_with(|| Instant::now() + FLUSH)).await;
}
