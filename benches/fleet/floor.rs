//! The least that connecting and publishing can cost: TCP, CONNECT, CONNACK, PUBLISH, PUBACK with packets made by hand; it keeps nothing, retries nothing and knows no client library.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
};

use mqfleet::clock::Moment;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Builder,
    sync::{Semaphore, mpsc, watch},
};

use super::phases::Phases;

/// Connects `clients` clients to the broker, at most `window` at once, and at a word publishes one
/// message of QoS 1 from each of them. One thread: a second one only takes the broker's core.
pub fn main(broker: SocketAddr, clients: usize, window: usize) -> io::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let phases = Phases;
        let window = Arc::new(Semaphore::new(window));
        let (go, word) = watch::channel(false);
        let (done, mut dones) = mpsc::unbounded_channel();
        let begin = Moment::now();
        for n in 0..clients {
            let (window, mut word, done) = (window.clone(), word.clone(), done.clone());
            tokio::spawn(async move {
                let permit = window.acquire_owned().await.map_err(io::Error::other)?;
                let mut stream = TcpStream::connect(broker).await?;
                stream.set_nodelay(true)?;
                stream.write_all(&connect(&id(n))).await?;
                expect(&mut stream, 0x20).await?;
                drop(permit);
                let _ = done.send(());
                word.wait_for(|go| *go).await.map_err(io::Error::other)?;
                stream.write_all(&publish(&id(n))).await?;
                expect(&mut stream, 0x40).await?;
                let _ = done.send(());
                // Held until the process ends: closing is no part of the figure.
                std::future::pending::<io::Result<()>>().await
            });
        }
        all(&mut dones, clients).await;
        phases.up(begin, Moment::now())?;
        let begin = Moment::now();
        go.send_replace(true);
        all(&mut dones, clients).await;
        phases.burst(begin, Moment::now())
    })
}

async fn all(dones: &mut mpsc::UnboundedReceiver<()>, count: usize) {
    for _ in 0..count {
        let _ = dones.recv().await;
    }
}

fn id(n: usize) -> String {
    format!("floor-{n:05}")
}

/// CONNECT (MQTT 5.0 §3.1): clean start, keep alive 30 s, no properties.
fn connect(id: &str) -> Vec<u8> {
    let mut packet = vec![0x10, (13 + id.len()) as u8, 0, 4, b'M', b'Q', b'T', b'T', 5, 0x02, 0, 30, 0];
    packet.extend([0, id.len() as u8]);
    packet.extend(id.as_bytes());
    packet
}

/// PUBLISH (MQTT 5.0 §3.3) at QoS 1, with topic and payload as long as those of a probe.
fn publish(id: &str) -> Vec<u8> {
    let topic = format!("mqfleet/probe/{id}");
    let mut packet = vec![0x32, (5 + topic.len() + 7) as u8, 0, topic.len() as u8];
    packet.extend(topic.as_bytes());
    packet.extend([0, 1, 0]); // packet identifier, no properties
    packet.extend(b"mqfleet");
    packet
}

/// Reads one packet, which must be of this type; all that come here are shorter than 130 bytes.
async fn expect(stream: &mut TcpStream, kind: u8) -> io::Result<()> {
    let mut packet = [0; 130];
    let mut have = 0;
    while have < 2 || have < 2 + usize::from(packet[1]) {
        match stream.read(&mut packet[have..]).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => have += n,
        }
    }
    if packet[0] == kind { Ok(()) } else { Err(io::Error::other(format!("packet {:#x}", packet[0]))) }
}
