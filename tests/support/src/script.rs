//! An MQTT server that says what a test tells it to, byte by byte, for what no real broker can be brought to say on demand.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

/// A CONNACK that accepts.
pub const ACCEPT_V311: &[u8] = &[0x20, 2, 0, 0];
pub const ACCEPT_V5: &[u8] = &[0x20, 3, 0, 0, 0];

/// What [`peer`] says where it closes the connection: no packet.
pub const CLOSE: &[u8] = b"close";

/// Listens on a free loopback port, answers each CONNECT with `answers` in turn, half a breath
/// apart, and keeps the connection open until the other end closes it. Returns the port.
pub fn server(answers: Vec<Vec<u8>>) -> u16 {
    server_that(move || answers.clone())
}

/// The same, with answers that may change from one CONNECT to the next.
pub fn server_that(answers: impl Fn() -> Vec<Vec<u8>> + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(stream), answers) = (stream, answers.clone()) else { return };
            thread::spawn(move || talk(stream, answers));
        }
    });
    port
}

/// Another program's client of MQTT 5.0 with this ID, once it is up. It ends with its stream.
pub fn stranger(port: u16, id: &str) -> TcpStream {
    stranger_of(5, port, id)
}

/// The same of protocol level 4 (MQTT 3.1.1) or 5.
pub fn stranger_of(level: u8, port: u16, id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a broker");
    let properties: &[u8] = if level == 5 { &[0] } else { &[] };
    let mut connect = vec![0x10, (id.len() + properties.len()) as u8 + 12, 0, 4];
    connect.extend(b"MQTT");
    connect.extend([level, 2, 0, 0x3c]);
    connect.extend(properties);
    connect.extend([0, id.len() as u8]);
    connect.extend(id.as_bytes());
    let mut answer = [0; 4];
    stream.write_all(&connect).and_then(|()| stream.read_exact(&mut answer)).expect("a CONNACK");
    assert_eq!((answer[0], answer[3]), (0x20, 0), "refused");
    stream
}

fn talk(mut stream: TcpStream, answers: impl Fn() -> Vec<Vec<u8>>) {
    let mut buffer = [0; 4096];
    if !matches!(stream.read(&mut buffer), Ok(1..)) {
        return;
    }
    for answer in answers() {
        if stream.write_all(&answer).is_err() {
            return;
        }
        // Two packets in one segment are legal but not what is to be tested.
        thread::sleep(Duration::from_millis(30));
    }
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
}

/// Listens on a free loopback port and has `answer` say what goes back for each whole packet that comes;
/// it is given the connection's number, from 0, and may take its time. [`CLOSE`] closes the connection.
/// Returns the port.
pub fn peer(answer: impl Fn(usize, &[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let answer = answer.clone();
            thread::spawn(move || {
                let (mut from, mut to) = (stream.try_clone().ok()?, stream);
                while let Some(packet) = packet(&mut from) {
                    for part in answer(number, &packet) {
                        if part == CLOSE {
                            return to.shutdown(Shutdown::Both).ok();
                        }
                        to.write_all(&part).ok()?;
                    }
                }
                Some(())
            });
        }
    });
    port
}

/// The client ID in a CONNECT (MQTT 3.1.1 §3.1.3.1, MQTT 5.0 §3.1.3.1) of less than 128 bytes, with properties
/// of less than that.
pub fn client_id(connect: &[u8]) -> String {
    let at = if connect[8] == 5 { 13 + usize::from(connect[12]) } else { 12 };
    let length = usize::from(u16::from_be_bytes([connect[at], connect[at + 1]]));
    String::from_utf8_lossy(&connect[at + 2..at + 2 + length]).into_owned()
}

/// Where a PUBLISH at QoS 1 of less than 128 bytes goes, and its packet identifier.
pub fn publish(packet: &[u8]) -> (String, [u8; 2]) {
    let end = 4 + usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    (String::from_utf8_lossy(&packet[4..end]).into_owned(), [packet[end], packet[end + 1]])
}

/// Passes on what goes between a client and the broker at `port`, but for the client's packets of one
/// `kind` (the first byte's upper half). Returns its own port.
pub fn swallowing(kind: u8, port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let own = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut broker = TcpStream::connect(("127.0.0.1", port)).ok()?;
                let (mut back, mut down) = (broker.try_clone().ok()?, client.try_clone().ok()?);
                thread::spawn(move || std::io::copy(&mut back, &mut down));
                while let Some(packet) = packet(&mut client) {
                    if packet[0] >> 4 != kind {
                        broker.write_all(&packet).ok()?;
                    }
                }
                broker.shutdown(Shutdown::Both).ok()
            });
        }
    });
    own
}

/// Reads one packet of MQTT.
pub fn packet(stream: &mut impl Read) -> Option<Vec<u8>> {
    let (mut packet, mut length, mut byte) = (vec![0], 0, [0]);
    stream.read_exact(&mut packet).ok()?;
    for shift in [0, 7, 14, 21] {
        stream.read_exact(&mut byte).ok()?;
        packet.push(byte[0]);
        length |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            break;
        }
    }
    let body = packet.len();
    packet.resize(body + length, 0);
    stream.read_exact(&mut packet[body..]).ok()?;
    Some(packet)
}
