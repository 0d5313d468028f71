//! Defines what a connector hands over: a socket, or layers over one in which MQTT's bytes are plain again; and how it is closed in order.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};

use super::{Socket, frames::Framed, pipe::Pipe};
use crate::clock::Moment;

/// How long the other side has for its part of a goodbye.
const GOODBYE: Duration = Duration::from_millis(250);

/// A connection up to where MQTT begins.
pub enum Stream {
    /// MQTT's bytes are the socket's own.
    Plain(Socket),
    Layered(Box<Layered>),
}

/// TLS, a WebSocket or both over a socket: a stream of the bytes of MQTT. What is written goes out with
/// `flush`. How it ended is in the errors of reading it: see [`super::cause`].
pub struct Layered(Inner);

enum Inner {
    Bare(Pipe),
    Framed(Framed),
}

impl Stream {
    pub(super) fn bare(pipe: Pipe) -> Stream {
        match pipe {
            Pipe::Socket(socket) => Stream::Plain(socket),
            secure => Stream::Layered(Box::new(Layered(Inner::Bare(secure)))),
        }
    }

    pub(super) fn framed(framed: Framed) -> Stream {
        Stream::Layered(Box::new(Layered(Inner::Framed(framed))))
    }

    pub fn socket(&self) -> &Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Layered(layered) => layered.socket(),
        }
    }

    /// When the bytes that were read last reached this host.
    pub fn arrived(&self) -> Moment {
        self.socket().arrived()
    }

    /// Reads some bytes of MQTT, none at the end, or has the task woken when there are some.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Plain(socket) => socket.poll_receive(cx, buffer),
            Stream::Layered(layered) => {
                let mut buffer = ReadBuf::new(buffer);
                Pin::new(&mut **layered).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
            }
        }
    }

    /// Takes bytes of MQTT; what was taken goes out with [`Stream::poll_flush`].
    pub fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Plain(socket) => socket.poll_send(cx, bytes),
            Stream::Layered(layered) => Pin::new(&mut **layered).poll_write(cx, bytes),
        }
    }

    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(_) => Poll::Ready(Ok(())),
            Stream::Layered(layered) => Pin::new(&mut **layered).poll_flush(cx),
        }
    }

    /// Says goodbye in all layers (a WebSocket's code 1000, close_notify of TLS, FIN) and waits at most
    /// 250 ms for the other side's: a connection dropped with unread bytes would end in a reset, which
    /// brokers log as an error, and with it what is on its way to them.
    ///
    /// # Errors
    /// How the other side ended it instead.
    pub async fn close(self) -> io::Result<()> {
        match self {
            Stream::Plain(mut socket) => {
                let goodbye = async {
                    socket.shutdown_write();
                    drain(&mut socket).await
                };
                timeout(GOODBYE, goodbye).await.unwrap_or(Ok(()))
            }
            Stream::Layered(mut layered) => layered.take_leave().await,
        }
    }
}

impl Layered {
    pub fn socket(&self) -> &Socket {
        match &self.0 {
            Inner::Bare(pipe) => pipe.socket(),
            Inner::Framed(framed) => framed.pipe().socket(),
        }
    }

    /// Says goodbye in all layers, as [`Stream::close`] does.
    pub async fn close(&mut self) {
        // Whatever becomes of it, the connection is dropped next.
        let _ = self.take_leave().await;
    }

    async fn take_leave(&mut self) -> io::Result<()> {
        let goodbye = async {
            if let Inner::Framed(framed) = &mut self.0 {
                let said = poll_fn(|cx| framed.poll_goodbye(cx)).await;
                if said.is_ok() {
                    // Its answer, so that the layers below do not end before it came.
                    let _ = timeout(GOODBYE / 2, drain(framed)).await;
                }
                // Where this fails, the other side was first, and what it said may still be there to read.
                let _ = framed.pipe_mut().shutdown().await;
                return drain(framed.pipe_mut()).await;
            }
            let _ = self.shutdown().await;
            drain(self).await
        };
        timeout(GOODBYE, goodbye).await.unwrap_or(Ok(()))
    }
}

/// For who speaks another protocol over it.
impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = ready!(self.poll_receive(cx, buffer.initialize_unfilled()))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_flush(&mut self, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(socket) => {
                socket.shutdown_write();
                Poll::Ready(Ok(()))
            }
            Stream::Layered(layered) => Pin::new(&mut **layered).poll_shutdown(cx),
        }
    }
}

/// Reads to the end.
async fn drain(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

impl AsyncRead for Layered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::Bare(pipe) => Pin::new(pipe).poll_read(cx, buffer),
            Inner::Framed(framed) => Pin::new(framed).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Layered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Inner::Bare(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            Inner::Framed(framed) => Pin::new(framed).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::Bare(pipe) => Pin::new(pipe).poll_flush(cx),
            Inner::Framed(framed) => Pin::new(framed).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::Bare(pipe) => Pin::new(pipe).poll_shutdown(cx),
            Inner::Framed(framed) => Pin::new(framed).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tasks of several threads hold them.
    #[test]
    fn streams_go_from_thread_to_thread() {
        fn is_send<T: Send + Unpin>() {}
        fn is_sync<T: Sync>() {}
        is_send::<Stream>();
        is_send::<Layered>();
        is_sync::<Socket>();
    }
}
