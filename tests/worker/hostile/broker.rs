//! A broker that is good up to one moment, and then does what a row of the table says; over TCP or over TLS.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use mqfleet_test_support::{
    certs::{Certified, Wanted},
    script::{self, packet},
};
use openssl::ssl::{SslAcceptor, SslMethod};
use rustix::net::sockopt::set_socket_linger;

use super::language::{self, Act, Occasion};

/// What carries the bytes.
pub trait Way: Read + Write {}
impl<T: Read + Write> Way for T {}

/// Names nobody that anybody knows: the clients do not verify it.
static ACCEPTOR: LazyLock<SslAcceptor> = LazyLock::new(|| {
    let own = Certified::alone(&Wanted::LOCALHOST);
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("TLS");
    acceptor.set_certificate(&own.certificate).expect("a certificate");
    acceptor.set_private_key(&own.key).expect("a key");
    acceptor.build()
});

/// Hands each connection to `talk` on a thread of its own. Returns the port.
pub fn listen(is_tls: bool, talk: impl Fn(&TcpStream, Box<dyn Way>) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let talk = Arc::new(talk);
    let small = || thread::Builder::new().stack_size(256 << 10);
    let accept = move || {
        for socket in listener.incoming().flatten() {
            let talk = talk.clone();
            let serve = move || {
                let Ok(stream) = socket.try_clone() else { return };
                if !is_tls {
                    talk(&socket, Box::new(stream));
                } else if let Ok(stream) = ACCEPTOR.accept(stream) {
                    talk(&socket, Box::new(stream));
                }
            };
            let _ = small().spawn(serve);
        }
    };
    small().spawn(accept).expect("a thread");
    port
}

/// At which moment a row's broker turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// As soon as the connection is there.
    Accept,
    /// At the first packet of this type; of a PUBLISH, at this QoS.
    Packet(u8, u8),
}

/// Serves clients of one version. Returns the port, and how often it came to what it says.
pub fn serve(turn: Turn, says: &'static str, is_v5: bool, is_tls: bool) -> (u16, Arc<AtomicUsize>) {
    let acted = Arc::<AtomicUsize>::default();
    let counted = acted.clone();
    let port = listen(is_tls, move |socket, mut stream| {
        let act = |occasion: &Occasion, stream: &mut dyn Way| {
            let done = act(socket, stream, &language::acts(says, occasion));
            counted.fetch_add(1, Ordering::SeqCst);
            done
        };
        let _ = talk(turn, is_v5, &mut *stream, act);
    });
    (port, acted)
}

fn talk(
    turn: Turn,
    is_v5: bool,
    stream: &mut dyn Way,
    act: impl Fn(&Occasion, &mut dyn Way) -> io::Result<bool>,
) -> io::Result<()> {
    let mut is_due = true;
    let (mut answers, mut stream) = (true, stream);
    if turn == Turn::Accept {
        is_due = false;
        answers = act(&Occasion { is_v5, ..Occasion::default() }, stream)?;
    }
    while let Some(packet) = packet(&mut stream) {
        let answer = answer(&packet, is_v5);
        if is_due && turn == of(&packet) {
            is_due = false;
            answers = act(&Occasion { is_v5, id: identifier(&packet), answer }, stream)?;
        } else if answers {
            stream.write_all(&answer)?;
        }
    }
    Ok(())
}

/// Does so; true where it may go on answering.
fn act(socket: &TcpStream, stream: &mut dyn Way, acts: &[Act]) -> io::Result<bool> {
    for act in acts {
        match act {
            Act::Send(bytes) => stream.write_all(bytes)?,
            Act::Dribble(bytes) => {
                socket.set_nodelay(true)?;
                for byte in bytes {
                    stream.write_all(&[*byte])?;
                    thread::sleep(Duration::from_millis(1)); // so that each goes in a segment of its own
                }
            }
            Act::Mute => return Ok(false),
            Act::End => {
                socket.shutdown(std::net::Shutdown::Write)?;
                return Ok(false);
            }
            Act::Reset => {
                // With nothing to wait for, closing is a reset (socket(7), SO_LINGER).
                set_socket_linger(socket, Some(Duration::ZERO))?;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
    }
    Ok(true)
}

fn of(packet: &[u8]) -> Turn {
    let kind = packet[0] >> 4;
    Turn::Packet(kind, if kind == 3 { packet[0] >> 1 & 3 } else { 0 })
}

/// Where the fixed header ends.
fn body(packet: &[u8]) -> usize {
    1 + packet[1..].iter().take_while(|&&byte| byte & 0x80 != 0).count() + 1
}

/// The packet's identifier, 0 where it has none.
pub fn identifier(packet: &[u8]) -> u16 {
    let body = &packet[body(packet)..];
    let two = |at: usize| body.get(at..at + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    match packet[0] >> 4 {
        3 if packet[0] & 6 != 0 => two(2 + usize::from(two(0))),
        3 | 1 | 12 | 14 => 0,
        _ => two(0),
    }
}

/// What a good broker answers.
pub fn answer(packet: &[u8], is_v5: bool) -> Vec<u8> {
    let [high, low] = identifier(packet).to_be_bytes();
    match packet[0] >> 4 {
        1 if is_v5 => script::ACCEPT_V5.to_vec(),
        1 => script::ACCEPT_V311.to_vec(),
        3 if packet[0] & 6 == 2 => vec![0x40, 2, high, low],
        3 if packet[0] & 6 == 4 => vec![0x50, 2, high, low],
        5 => vec![0x62, 2, high, low],
        6 => vec![0x70, 2, high, low],
        8 if is_v5 => vec![0x90, 4, high, low, 0, 2],
        8 => vec![0x90, 3, high, low, 2],
        12 => vec![0xd0, 0],
        _ => Vec::new(),
    }
}
