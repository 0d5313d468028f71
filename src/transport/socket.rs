//! Defines a connected TCP or Unix socket that notes when bytes arrive; how it came about is `reach`'s matter, and what its bytes mean is for others to say.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{SendFlags, Shutdown, getpeername, getsockname, send, shutdown},
};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd};

use super::kernel;
use crate::{clock::Moment, event::Tcp};

/// A TCP or Unix socket. All of it works through `&self`, from several threads at once; but one at a
/// time may wait for each direction by `AsyncRead` and `AsyncWrite`.
/// It is cheap to clone, and closed with its last clone.
#[derive(Clone, Debug)]
pub struct Socket(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: AsyncFd<OwnedFd>,
    is_tcp: bool,
    arrived: AtomicU64,
}

impl Socket {
    /// Takes a socket that is connected, or about to be, and does not block. Needs a tokio runtime.
    pub(super) fn new(file: OwnedFd, is_tcp: bool) -> io::Result<Socket> {
        let file = kernel::register(file)?;
        Ok(Socket(Arc::new(Inner { file, is_tcp, arrived: AtomicU64::new(Moment::now().0) })))
    }

    /// Reads what is there, at most as much as `buffer` takes, and notes when it arrived; 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is there, and the socket's own.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, ago) = kernel::receive(self.as_fd(), buffer)?;
        let now = Moment::now();
        self.0.arrived.store(ago.map_or(now, |ago| now - ago).0, Ordering::Relaxed);
        Ok(count)
    }

    /// Writes what the kernel takes, straight away.
    ///
    /// # Errors
    /// `WouldBlock` where it takes nothing, and the socket's own.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?)
    }

    /// Reads as [`Socket::try_read`] does, or has the task woken when there is something to read.
    pub fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.file.poll_read_ready(cx))?;
            match self.try_read(buffer) {
                Ok(count) => {
                    // Less than there was room for is all that was there: epoll(7) tells of more.
                    if count > 0 && count < buffer.len() {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Writes as [`Socket::try_write`] does, or has the task woken when there is room.
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.file.poll_write_ready(cx))?;
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Waits until `try_read` has something to say.
    pub async fn readable(&self) -> io::Result<()> {
        self.until(Interest::READABLE, PollFlags::IN).await
    }

    /// Waits until `try_write` has something to say.
    pub async fn writable(&self) -> io::Result<()> {
        self.until(Interest::WRITABLE, PollFlags::OUT).await
    }

    /// What tokio remembers of the socket is older than reads and writes past it: the kernel is asked.
    async fn until(&self, interest: Interest, flags: PollFlags) -> io::Result<()> {
        loop {
            let mut guard = self.0.file.ready(interest).await?;
            let mut asked = [PollFd::new(self, flags)];
            poll(&mut asked, Some(&Timespec::default()))?;
            if !asked[0].revents().is_empty() {
                return Ok(());
            }
            // What came since `ready` returned is not cleared by this, so that no wake-up is lost.
            guard.clear_ready();
        }
    }

    /// When the bytes of the last read reached this host: by the kernel's stamp, or by our own clock
    /// where there is none.
    pub fn arrived(&self) -> Moment {
        Moment(self.0.arrived.load(Ordering::Relaxed))
    }

    /// Says that no more bytes come from here (FIN).
    pub fn shutdown_write(&self) {
        // Fails where the connection is gone, and there is nobody to say it to.
        let _ = shutdown(self, Shutdown::Write);
    }

    /// What the kernel says of the connection; none for a Unix socket.
    pub fn tcp(&self) -> Option<Tcp> {
        if self.0.is_tcp { kernel::tcp(self.as_fd()) } else { None }
    }

    /// The port on this host; none for a Unix socket.
    pub fn local_port(&self) -> Option<u16> {
        Some(self.local()?.port())
    }

    pub(super) fn local(&self) -> Option<SocketAddr> {
        getsockname(self).ok()?.try_into().ok()
    }

    pub(super) fn peer(&self) -> Option<SocketAddr> {
        getpeername(self).ok()??.try_into().ok()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.file.get_ref().as_fd()
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = ready!(self.poll_receive(cx, buffer.initialize_unfilled()))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shutdown_write();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::net::UnixStream, time::Duration};

    use tokio::time::timeout;

    use super::*;

    fn pair() -> (Socket, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (Socket::new(near.into(), false).unwrap(), far)
    }

    #[tokio::test]
    async fn writable_waits_for_room_though_writes_pass_by_tokio() {
        let (near, mut far) = pair();
        near.writable().await.unwrap();
        let mut written = 0;
        loop {
            match near.try_write(&[7; 4096]) {
                Ok(count) => written += count,
                Err(error) => break assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert!(timeout(Duration::from_millis(50), near.writable()).await.is_err(), "it is full");
        let reader = std::thread::spawn(move || {
            far.read_exact(&mut vec![0; written]).unwrap();
            far
        });
        timeout(Duration::from_secs(10), near.writable()).await.expect("room").unwrap();
        near.try_write(b"x").unwrap();
        reader.join().unwrap();
    }

    #[tokio::test]
    async fn readable_waits_for_bytes_though_reads_pass_by_tokio() {
        use std::io::Write;
        let (near, mut far) = pair();
        let mut buffer = [0; 8];
        for _ in 0..3 {
            assert_eq!(near.try_read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert!(timeout(Duration::from_millis(20), near.readable()).await.is_err(), "nothing is there");
            let before = Moment::now();
            far.write_all(b"abc").unwrap();
            timeout(Duration::from_secs(10), near.readable()).await.expect("bytes").unwrap();
            assert_eq!(near.try_read(&mut buffer).unwrap(), 3);
            assert!((before..=Moment::now()).contains(&near.arrived()));
        }
        drop(far);
        near.readable().await.unwrap();
        assert_eq!(near.try_read(&mut buffer).unwrap(), 0);
        assert_eq!((near.tcp(), near.local_port()), (None, None));
    }
}
