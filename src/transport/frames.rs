//! Defines the stream of MQTT's bytes inside a WebSocket (RFC 6455, MQTT 5.0 §6): messages are taken apart and made by a crate, and what one says besides bytes becomes the stream's end; asking for the WebSocket is another file's matter.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::ProtocolError,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::Utf8Bytes, frame::coding::CloseCode},
    },
};

use super::{because, ended::Ended, pipe::Pipe};
use crate::{
    event::{Cause, Reason},
    text::Scrubbed,
};

/// What is read at once, and held while nothing comes.
const READ: usize = 2 << 10;

/// The most that one frame of ours carries.
const FRAME: usize = 16 << 10;

/// The longest message that is taken: far more than a client's packets may have, which is seen to above.
const MESSAGE: usize = 64 << 20;

/// A pipe with a WebSocket in it.
pub(super) struct Framed {
    frames: WebSocketStream<Pipe>,
    /// What was not read yet of the last message.
    rest: Bytes,
    is_closing: bool,
    has_ended: bool,
}

impl Framed {
    /// Takes a pipe on which the server has agreed to a WebSocket, and what came behind its answer.
    pub async fn new(pipe: Pipe, behind: Vec<u8>) -> Framed {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(0)
            .max_write_buffer_size(4 * FRAME)
            .max_message_size(Some(MESSAGE))
            .max_frame_size(Some(MESSAGE));
        let frames = WebSocketStream::from_partially_read(pipe, behind, Role::Client, Some(config)).await;
        Framed { frames, rest: Bytes::new(), is_closing: false, has_ended: false }
    }

    pub fn pipe(&self) -> &Pipe {
        self.frames.get_ref()
    }

    pub fn pipe_mut(&mut self) -> &mut Pipe {
        self.frames.get_mut()
    }

    /// Sends the frame that closes it (§5.5.1) with code 1000.
    pub fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_closing {
            let normal = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
            let sent = Pin::new(&mut self.frames).start_send(Message::Close(Some(normal)));
            self.is_closing = true;
            sent.map_err(of)?;
        }
        Pin::new(&mut self.frames).poll_flush(cx).map_err(of)
    }

    /// The next bytes; `None` at the end of the stream.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if self.has_ended {
                return Poll::Ready(None);
            }
            let message = ready!(Pin::new(&mut self.frames).poll_next(cx));
            let end = match message {
                Some(Ok(Message::Binary(bytes))) if bytes.is_empty() => continue,
                Some(Ok(Message::Binary(bytes))) => return Poll::Ready(Some(Ok(bytes))),
                // A ping is answered with what is sent or read next, which is at once.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Text(_))) => {
                    because(Reason::ProtocolError, "the broker sent text in the WebSocket, where MQTT is binary")
                }
                Some(Ok(Message::Close(frame))) => {
                    // The answer, as far as it goes out without waiting.
                    let _ = Pin::new(&mut self.frames).poll_flush(cx);
                    closed(frame.as_ref())
                }
                Some(Err(error)) => {
                    self.has_ended = true;
                    return Poll::Ready(Some(Err(of(error))));
                }
                None => {
                    self.has_ended = true;
                    return Poll::Ready(None);
                }
            };
            self.has_ended = true;
            return Poll::Ready(Some(Err(Ended(end).into())));
        }
    }
}

/// What the other side's closing says (§7.4.1).
fn closed(frame: Option<&CloseFrame>) -> Cause {
    let Some(CloseFrame { code, reason }) = frame else {
        return because(Reason::ConnectionLost, "the broker closed the WebSocket");
    };
    let number = u16::from(*code);
    let meaning = match number {
        1000 => "normal",
        1001 => "going away",
        1002 => "protocol error",
        1003 => "unsupported data",
        1007 => "invalid data",
        1008 => "policy violation",
        1009 => "message too big",
        1010 => "missing extension",
        1011 => "internal error",
        1012 => "service restart",
        1013 => "try again later",
        1014 => "bad gateway",
        _ => "code of its own",
    };
    let words = Scrubbed::new(reason.as_str());
    let colon = if words.is_empty() { "" } else { ": " };
    let detail = format!("the broker closed the WebSocket with {number} ({meaning}){colon}{}", words.as_str());
    because(Reason::ConnectionLost, &detail)
}

/// A WebSocket's error as one of the stream.
fn of(error: Error) -> io::Error {
    let cause = match error {
        Error::Io(error) => return error,
        Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(ProtocolError::SendAfterClosing) => {
            return io::ErrorKind::BrokenPipe.into();
        }
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            because(Reason::ConnectionLost, "the broker closed the connection without closing the WebSocket")
        }
        Error::Protocol(error) => because(Reason::ProtocolError, &format!("in the broker's WebSocket: {error}")),
        other => because(Reason::ProtocolError, &format!("in the broker's WebSocket: {other}")),
    };
    Ended(cause).into()
}

impl AsyncRead for Framed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            // While the last message is held, the crate takes a small buffer for the next and lets go of
            // one that grew for a large message: without this it would keep that for good.
            let last = std::mem::take(&mut self.rest);
            let next = self.poll_message(cx);
            drop(last);
            match ready!(next) {
                Some(Ok(bytes)) => self.rest = bytes,
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Framed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.frames).poll_ready(cx)).map_err(of)?;
        let count = bytes.len().min(FRAME);
        let message = Message::Binary(Bytes::copy_from_slice(&bytes[..count]));
        Pin::new(&mut self.frames).start_send(message).map_err(of)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.frames).poll_flush(cx).map_err(of)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Where it cannot be said any more, what is below is closed all the same.
        let _ = ready!(self.poll_goodbye(cx));
        Pin::new(self.pipe_mut()).poll_shutdown(cx)
    }
}
