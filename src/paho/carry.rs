//! Defines the task that carries bytes between a connection and its broker; what the bytes mean is the connection's matter.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::connection::{Connection, Wants};
use crate::transport::Stream;

/// What is read at once, in bytes. One buffer a thread: a connection keeps none.
const BUFFER: usize = 64 << 10;

/// How long the last bytes to a broker may take once Paho has let go.
const FLUSH: Duration = Duration::from_secs(2);

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into());
}

/// What goes to the broker, as far as the task has it.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    written: usize,
    /// Whether it still waits within the stream.
    is_unflushed: bool,
}

impl Output {
    fn is_empty(&self) -> bool {
        self.written == self.bytes.len() && !self.is_unflushed
    }

    /// Writes on, or has the task woken when that is possible.
    fn poll(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.written < self.bytes.len() {
            let written = ready!(stream.poll_send(context, &self.bytes[self.written..]))?;
            self.written += written;
            self.is_unflushed = true;
        } else if self.is_unflushed {
            ready!(stream.poll_flush(context))?;
            *self = Output::default();
        } else {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

/// Carries what comes and goes until both are over, and closes the stream.
pub(super) async fn carry(connection: Arc<Connection>, mut stream: Stream) {
    let (mut partial, mut output, mut deadline) = (Vec::new(), Output::default(), None);
    let cut = loop {
        let Wants { read, write, close, end, cut } = connection.wants();
        if output.is_empty() && write {
            connection.take_output(&mut output.bytes);
        }
        if end && (cut || output.is_empty()) {
            break cut;
        }
        let moved = poll_fn(|context| {
            // Reading first: what the broker said is the reason why writing fails.
            if read > 0
                && let Poll::Ready(read) = poll_read(&connection, &mut stream, &mut partial, read, context)
            {
                return Poll::Ready(read);
            }
            output.poll(&mut stream, context)
        });
        tokio::select! {
            moved = moved => match moved {
                Ok(()) if output.is_empty() => connection.put_out(),
                Ok(()) => {}
                Err(error) => {
                    output = Output::default();
                    connection.ended(Some(&error));
                }
            },
            () = connection.changed.notified() => {}
            () = until(&mut deadline), if close => break false,
        }
    };
    if !cut {
        // Boxed, so that what it needs at the end is not held all the time before. The other side may be first.
        let _ = Box::pin(stream.close()).await;
    }
    connection.gone();
}

fn poll_read(
    connection: &Connection,
    stream: &mut Stream,
    partial: &mut Vec<u8>,
    most: usize,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    READ.with_borrow_mut(|buffer| {
        let most = most.min(buffer.len());
        match ready!(stream.poll_receive(context, &mut buffer[..most]))? {
            0 => connection.ended(None),
            length => connection.take_in(partial, &buffer[..length], stream.arrived()),
        }
        Poll::Ready(Ok(()))
    })
}

/// Until the last bytes to a broker have had their time, from the first call on.
async fn until(deadline: &mut Option<Instant>) {
    sleep_until(*deadline.get_or_insert_with(|| Instant::now() + FLUSH)).await;
}
