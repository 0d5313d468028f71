//! stub
mod kernel; mod socket;
pub use socket::Socket;
pub use crate::endpoint::Resolver;
use crate::{event::*, fleet::*, text::Scrubbed};
use std::{io, net::*, pin::Pin, sync::Arc, task::{Context, Poll}};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
#[derive(Clone)] pub struct Connector;
pub struct Way<'a> { pub endpoint: &'a Endpoint, pub identity: Option<&'a Identity>, pub known: &'a [IpAddr], pub deadline: tokio::time::Instant, pub examine: bool }
pub enum Stream { Plain(Arc<Socket>), Layered(Box<Layered>) }
pub struct Layered { s: Arc<Socket> }
impl Layered { pub fn socket(&self) -> &Arc<Socket> { &self.s } pub async fn close(&mut self) {} }
impl AsyncRead for Layered { fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> { Poll::Pending } }
impl AsyncWrite for Layered { fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, b: &[u8]) -> Poll<io::Result<usize>> { Poll::Ready(Ok(b.len())) }
 fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> { Poll::Ready(Ok(())) } fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> { Poll::Ready(Ok(())) } }
pub fn cause(e: &io::Error) -> Cause { let reason = match e.kind() { io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Reason::ConnectionReset, _ => Reason::ConnectionLost }; Cause { reason, detail: Scrubbed::default() } }
impl Connector { pub fn new(_: Resolver) -> Connector { Connector }
 pub async fn connect(&self, way: &Way<'_>, _f: &mut Finding) -> Result<Stream, Failure> {
  let r = tokio::time::timeout_at(way.deadline, tokio::net::TcpStream::connect((&*way.endpoint.host, way.endpoint.port))).await.unwrap_or_else(|e| Err(e.into()));
  let fail = |e: io::Error| { let reason = match e.kind() { io::ErrorKind::ConnectionRefused => Reason::ConnectionRefused, io::ErrorKind::TimedOut => Reason::ConnectTimeout, _ => Reason::Internal }; Failure { stage: StageKind::Tcp, cause: Cause { reason, detail: Scrubbed::new(&e.to_string()) } } };
  let s = r.map_err(fail)?; s.set_nodelay(true).map_err(fail)?; let s = s.into_std().map_err(fail)?; use std::os::fd::AsFd; kernel::stamp(s.as_fd());
  Ok(Stream::Plain(Arc::new(Socket::new(s.into(), true).map_err(fail)?))) } }

impl Stream {
    pub fn arrived(&self) -> crate::clock::Moment { match self { Stream::Plain(s) => s.arrived(), Stream::Layered(l) => l.socket().arrived() } }
    pub fn socket(&self) -> &Arc<Socket> { match self { Stream::Plain(s) => s, Stream::Layered(l) => l.socket() } }
    pub fn poll_receive(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self { Stream::Plain(s) => s.poll_receive(cx, buffer), Stream::Layered(l) => { let mut b = ReadBuf::new(buffer); Pin::new(&mut **l).poll_read(cx, &mut b).map_ok(|()| b.filled().len()) } }
    }
    pub fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self { Stream::Plain(s) => s.poll_send(cx, bytes), Stream::Layered(l) => Pin::new(&mut **l).poll_write(cx, bytes) }
    }
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self { Stream::Plain(_) => Poll::Ready(Ok(())), Stream::Layered(l) => Pin::new(&mut **l).poll_flush(cx) }
    }
    pub async fn close(&mut self) { match self { Stream::Plain(s) => s.shutdown_write(), Stream::Layered(l) => l.close().await } }
}
