//! Defines the stream of MQTT's bytes inside a WebSocket (RFC 6455, MQTT 5.0 §6): frames are taken apart as they come, and what one says besides bytes becomes the stream's end; asking for the WebSocket is another file's matter.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    because,
    ended::Ended,
    inbound::{Inbound, Piece},
    outbound::{Outbound, PONG},
    pipe::Pipe,
};
use crate::event::Reason;

/// What is read at once while the head of a frame is looked for, in bytes.
const READ: usize = 2 << 10;

/// The most that one frame of ours carries. Packets may go over several (MQTT 5.0 §6).
const FRAME: usize = 4 << 10;

/// A pipe with a WebSocket in it. Idle, it holds no buffers.
pub(super) struct Framed {
    pipe: Pipe,
    inbound: Inbound,
    outbound: Outbound,
    /// What the last ping said, while its answer has not begun to go out: only the latest needs one (§5.5.3).
    ping: Option<Vec<u8>>,
    /// Who waits to write, while a reader may have taken the socket's one place for that.
    writer: Option<Waker>,
    is_closing: bool,
    has_ended: bool,
}

impl Framed {
    /// Takes a pipe on which the server has agreed to a WebSocket, and what came behind its answer.
    pub(super) fn new(pipe: Pipe, behind: Vec<u8>) -> Framed {
        Framed {
            pipe,
            inbound: Inbound::new(behind),
            outbound: Outbound::default(),
            ping: None,
            writer: None,
            is_closing: false,
            has_ended: false,
        }
    }

    pub(super) fn pipe(&self) -> &Pipe {
        &self.pipe
    }

    pub(super) fn pipe_mut(&mut self) -> &mut Pipe {
        &mut self.pipe
    }

    /// Sends the frame that closes it (§5.5.1) with code 1000.
    pub(super) fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_closing {
            self.is_closing = true;
            self.outbound.close(&1000_u16.to_be_bytes())?;
        }
        self.poll_flushed(cx)
    }

    /// Writes all that is to go out.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.outbound.poll_write(&mut self.pipe, cx))?;
        if let (Some(ping), false) = (self.ping.take(), self.is_closing) {
            self.outbound.push(PONG, &ping)?;
            ready!(self.outbound.poll_write(&mut self.pipe, cx))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    /// Answers a ping by the way, as far as that goes without waiting. Where it fails, reading on says why.
    fn answer(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(Err(_)) = self.poll_flushed(cx) {
            self.ping = None;
            self.outbound = Outbound::default();
        }
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// The end that the other side's goodbye is; after ours it is only the answer to that.
    fn ended(&mut self, end: Ended, cx: &mut Context<'_>) -> io::Result<()> {
        self.has_ended = true;
        let was_closing = std::mem::replace(&mut self.is_closing, true);
        if was_closing {
            return Ok(());
        }
        // As far as it goes out without waiting: the connection ends anyway.
        if self.outbound.close(&[]).is_ok() {
            let _ = self.poll_flushed(cx);
        }
        Err(end.into())
    }
}

impl AsyncRead for Framed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ping.is_some() {
            this.answer(cx);
        }
        while buffer.remaining() > 0 && !this.has_ended {
            let count = match this.inbound.next().map_err(Ended)? {
                Piece::Data(ahead) if !ahead.is_empty() => {
                    let count = ahead.len().min(buffer.remaining());
                    buffer.put_slice(&ahead[..count]);
                    this.inbound.took(count);
                    return Poll::Ready(Ok(()));
                }
                // Nothing was read ahead: the rest of the frame goes straight to where it is wanted.
                Piece::Body(left) => {
                    let most = buffer.remaining().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
                    ready!(Pin::new(&mut this.pipe).poll_read(cx, &mut part))?;
                    let count = part.filled().len();
                    if count > 0 {
                        buffer.advance(count);
                        this.inbound.passed(count);
                        return Poll::Ready(Ok(()));
                    }
                    count
                }
                Piece::Ping(said) => {
                    this.ping = Some(said);
                    this.answer(cx);
                    continue;
                }
                Piece::Close(cause) => return Poll::Ready(this.ended(Ended(cause), cx)),
                Piece::Data(_) | Piece::More => {
                    let mut bytes = [0; READ];
                    let mut part = ReadBuf::new(&mut bytes);
                    ready!(Pin::new(&mut this.pipe).poll_read(cx, &mut part))?;
                    this.inbound.read(part.filled());
                    part.filled().len()
                }
            };
            if count == 0 {
                this.has_ended = true;
                if !this.is_closing {
                    let words = "the broker closed the connection without closing the WebSocket";
                    return Poll::Ready(Err(Ended(because(Reason::ConnectionLost, words)).into()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Framed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_closing {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.poll_out(cx)?.is_pending() {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let part = &bytes[..bytes.len().min(FRAME)];
        self.outbound.data(part)?;
        // As far as it goes: what is left goes out with the next frame, or a flush.
        let _ = self.poll_out(cx)?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = self.poll_flushed(cx);
        if done.is_pending() {
            self.writer = Some(cx.waker().clone());
        }
        done
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Where it cannot be said any more, what is below is closed all the same.
        let _ = ready!(self.poll_goodbye(cx));
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}
