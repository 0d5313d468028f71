//! Paho clients in one process, as many as asked for: what a fleet costs without workers; the clients are those of mqfleet's worker, guard and trace tap included.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use mqfleet::{
    clock::Moment,
    fleet::{Endpoint, Probe, ProbeKind, Protocol},
    paho::{Client, Outcome, Paho, Pending, Route, Slots, Subject},
    wire::{ClientDef, Remote, Slot},
};

use super::phases::Phases;

/// Connects `clients` clients to the broker, at most `window` at once, and at a word publishes one
/// message of QoS 1 from each of them.
pub fn main(broker: SocketAddr, clients: usize, window: usize) -> io::Result<()> {
    let phases = Phases;
    let paho = Paho::start().map_err(io::Error::other)?;
    let id = |n: usize| -> Arc<str> { format!("alone-{n:05}").into() };
    let subject = |n| Subject { client_id: id(n), probe: ProbeKind::Ack };
    let (slots, mut news) = Slots::new((0..clients).map(subject).collect());
    let slots = Arc::new(slots);
    paho.follow(&slots);
    let route = Route::new(Remote::from(&Endpoint::new("bench", &broker.ip().to_string(), broker.port())));
    let begin = Moment::now();
    let mut all: Vec<(Client, Option<Pending>)> = Vec::with_capacity(clients);
    let (mut up, mut tried) = (0, 0);
    while up < clients {
        while tried < clients && tried - up < window {
            let def = define(id(tried));
            let (client, mut pending) = Client::connect(slots.clone(), tried as Slot, 1, def, &route, broker.ip())
                .map_err(|cause| io::Error::other(cause.detail.to_string()))?;
            // Asked once, it marks the slot when it is fulfilled.
            let fulfilled = client.outcome(&mut pending).is_some();
            up += usize::from(fulfilled);
            all.push((client, (!fulfilled).then_some(pending)));
            tried += 1;
        }
        if up == clients {
            break;
        }
        let Some(slot) = news.marks.blocking_recv() else { break };
        slots.unmark(slot);
        let Some((client, waiting)) = all.get_mut(slot as usize) else { continue };
        let Some(pending) = waiting else { continue };
        match client.outcome(pending) {
            None => {}
            Some(Outcome::Accepted(_)) => {
                *waiting = None;
                up += 1;
            }
            Some(failure) => return Err(io::Error::other(format!("{failure:?}"))),
        }
    }
    phases.up(begin, Moment::now())?;
    let begin = Moment::now();
    for (client, _) in &all {
        client.probe();
    }
    for _ in 0..clients {
        let _ = news.samples.blocking_recv();
    }
    phases.burst(begin, Moment::now())?;
    // Destroying thousands of clients one by one takes Paho minutes; the end of the process is quicker.
    std::process::exit(0)
}

fn define(id: Arc<str>) -> ClientDef {
    ClientDef {
        id,
        protocol: Protocol::V5,
        keep_alive: Duration::from_secs(30),
        clean_start: true,
        connect_timeout: Duration::from_secs(30),
        probe: Probe { kind: ProbeKind::Ack, every: Duration::from_secs(3600) },
        username: None,
        password: None,
        session_expiry: Duration::ZERO,
        receive_maximum: None,
        maximum_packet_size: 256 << 10,
        user_properties: Vec::new(),
        identity: None,
        conversation: Arc::default(),
    }
}
