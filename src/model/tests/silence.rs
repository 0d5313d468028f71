//! Tests of a broker that says nothing: it is one event for its endpoint, and counts as long as its users wait.

use super::*;
use crate::event::{Badge, Late};

fn told(known: &Known) -> Vec<Subject> {
    let is_one = |subject: &Subject| matches!(subject, Subject::Silence { .. } | Subject::Answers { .. });
    known.log().newest().map(|entry| entry.subject.clone()).filter(is_one).collect()
}

#[test]
fn a_silent_broker_is_one_event_and_in_all_figures() {
    let mut plant = Fleet::clone(&fleet(200));
    let settings = Settings {
        probe: crate::fleet::Probe { kind: ProbeKind::Ack, every: Duration::from_secs(1) },
        ..Settings::default()
    };
    let settings = Arc::new(settings);
    plant.clients.iter_mut().for_each(|client| client.settings = settings.clone());
    let mut known = Known::new(Arc::new(plant), ms(0));
    let answer = |known: &mut Known, at, client: u32, rtt| {
        let sample = Sample { client: ClientKey(client), probe: ProbeKind::Ack, rtt: Duration::from_millis(rtt) };
        known.apply(&Event { at: ms(at), what: What::Sample(sample) });
    };
    for client in 0..200 {
        let event = step(&known, ms(0), client, State::Up, Reason::Connected);
        known.apply(&event);
        answer(&mut known, 1_000, client, 2);
    }
    known.look(ms(1_500));
    let before = known.log().written();
    for client in 0..200 {
        let late = Late { client: ClientKey(client), probe: ProbeKind::Ack, since: ms(2_000) };
        known.apply(&Event { at: ms(5_000), what: What::Late(late) });
    }
    for second in 5..32 {
        known.look(ms(1_000 * second));
    }
    assert_eq!((known.totals().wearing(Badge::Mute), known.totals().down), (200, 0));
    let latency = known.latency().expect("waits count");
    assert_eq!((latency.max, latency.p99 > Duration::from_secs(25)), (Duration::from_secs(29), true), "{latency:?}");
    assert!(latency.p50 > Duration::from_secs(10), "most of what was to be asked waited long: {latency:?}");
    assert_eq!(known.log().written() - before, 1, "one event for the endpoint: {:?}", told(&known));
    for client in 0..200 {
        answer(&mut known, 32_000, client, 30_000);
    }
    known.look(ms(32_100));
    known.look(ms(33_000));
    assert_eq!(known.log().written() - before, 2);
    assert_eq!(
        told(&known),
        [
            Subject::Answers { endpoint: EndpointKey(0), after: Duration::from_millis(30_100) },
            Subject::Silence { endpoint: EndpointKey(0), clients: 200, wait: Duration::from_secs(3) },
        ]
    );
    assert_eq!(known.latency().map(|l| l.max), Some(Duration::from_secs(30)));
}
