//! A way to a server that can be spoilt: cut in the middle of a TLS handshake, or gone deaf under connections that stand; it looks into no packet.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

pub struct Relay {
    address: SocketAddr,
    cuts: Arc<AtomicBool>,
    /// Connections of earlier epochs carry nothing any more.
    epoch: Arc<AtomicUsize>,
}

impl Relay {
    /// A way to `target`, in good order, from a free port.
    pub fn to(target: SocketAddr) -> Relay {
        Relay::from(([127, 0, 0, 1], 0).into(), target)
    }

    /// The same from this port.
    pub fn from(port: SocketAddr, target: SocketAddr) -> Relay {
        let listener = TcpListener::bind(port).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (cuts, epoch) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let relay = Relay { address, cuts: cuts.clone(), epoch: epoch.clone() };
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(target) else { continue };
                if cuts.load(Ordering::SeqCst) {
                    thread::spawn(move || cut(near, far));
                    continue;
                }
                let (near_2, far_2) = (near.try_clone().expect("a socket"), far.try_clone().expect("a socket"));
                for (from, to) in [(near, far), (far_2, near_2)] {
                    let (epoch, born) = (epoch.clone(), epoch.load(Ordering::SeqCst));
                    thread::spawn(move || carry(from, to, || epoch.load(Ordering::SeqCst) == born));
                }
            }
        });
        relay
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on connections are reset once the server has said the first of its TLS handshake.
    pub fn cut_handshakes(&self, cut: bool) {
        self.cuts.store(cut, Ordering::SeqCst);
    }

    /// What is connected stays so, and hears nothing any more; new connections are well.
    pub fn go_deaf(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, is_well: impl Fn() -> bool) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        if is_well() && to.write_all(&bytes[..n]).is_err() {
            break;
        }
    }
    if is_well() {
        let _ = to.shutdown(Shutdown::Write);
    }
}

/// The client's hello goes through, the server's as well; then comes a reset.
fn cut(mut near: TcpStream, mut far: TcpStream) {
    let mut bytes = [0; 16 * 1024];
    let Ok(n @ 1..) = near.read(&mut bytes) else { return };
    let mut header = [0; 5];
    if far.write_all(&bytes[..n]).and_then(|()| far.read_exact(&mut header)).is_err() {
        return;
    }
    // A record: its type, two bytes of version, two of its length (RFC 8446 §5.1).
    let mut record = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    if far.read_exact(&mut record).is_ok() {
        let _ = near.write_all(&[&header[..], &record].concat());
    }
    let _ = rustix::net::sockopt::set_socket_linger(&near, Some(Duration::ZERO));
}
