//! Defines what bytes pass through before WebSockets come into it: a socket, or TLS over what is one of these again.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Socket, tls::Secure};

/// A socket, in as many layers of TLS as the way demands.
pub(super) enum Pipe {
    Socket(Socket),
    Secure(Box<Secure>),
}

impl Pipe {
    pub(super) fn socket(&self) -> &Socket {
        match self {
            Pipe::Socket(socket) => socket,
            Pipe::Secure(secure) => secure.pipe().socket(),
        }
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Pipe::Socket(socket) => Pin::new(socket).poll_read(cx, buffer),
            Pipe::Secure(secure) => Pin::new(secure).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Pipe::Socket(socket) => Pin::new(socket).poll_write(cx, bytes),
            Pipe::Secure(secure) => Pin::new(secure).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Pipe::Socket(socket) => Pin::new(socket).poll_flush(cx),
            Pipe::Secure(secure) => Pin::new(secure).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Pipe::Socket(socket) => Pin::new(socket).poll_shutdown(cx),
            Pipe::Secure(secure) => Pin::new(secure).poll_shutdown(cx),
        }
    }
}
