//! Defines how frames of a WebSocket's client go out (RFC 6455 §5.2): masked, each as a whole before the next; what is in them is for others to say.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use openssl::rand::rand_bytes;
use tokio::io::AsyncWrite;
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

pub(super) const PONG: OpCode = OpCode::Control(Control::Pong);

/// What is to go out; nothing is held once it has.
#[derive(Default)]
pub(super) struct Outbound {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbound {
    /// A message of these bytes.
    pub(super) fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.push(OpCode::Data(Data::Binary), bytes)
    }

    /// The frame after which nothing comes.
    pub(super) fn close(&mut self, payload: &[u8]) -> io::Result<()> {
        self.push(OpCode::Control(Control::Close), payload)
    }

    pub(super) fn push(&mut self, opcode: OpCode, payload: &[u8]) -> io::Result<()> {
        // From a source that nobody foresees (§5.3).
        let mut mask = [0; 4];
        rand_bytes(&mut mask)?;
        let head = FrameHeader { opcode, mask: Some(mask), ..FrameHeader::default() };
        self.bytes.reserve_exact(head.len(payload.len() as u64) + payload.len());
        head.format(payload.len() as u64, &mut self.bytes).map_err(io::Error::other)?;
        self.bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        Ok(())
    }

    /// Writes all of it.
    pub(super) fn poll_write(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            match ready!(Pin::new(&mut *to).poll_write(cx, &self.bytes[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        *self = Outbound::default();
        Poll::Ready(Ok(()))
    }
}
