//! How fast a fleet comes in, as its broker sees it: first connects, and those after an outage. The gate's arithmetic on made-up time is tested in the lifecycle.
#![allow(clippy::unwrap_used, reason = "what panics here is a failed test")]

use std::{
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use mqfleet_test_support::{
    fleet_file::FleetFile,
    headless::Headless,
    mosquitto::{Mosquitto, Setup},
    witness::Witness,
};

/// Connects a second, as the fleet file allows them.
const RATE: usize = 200;
const SECOND: Duration = Duration::from_secs(1);

/// The fleet's size: a short form by default, the whole with `make chaos`.
fn clients() -> usize {
    if std::env::var_os("MQFLEET_ROUNDS").is_some() { 2_000 } else { 600 }
}

#[test]
fn a_fleet_comes_in_at_its_rate_first_and_after_its_broker_s_death() {
    let clients = clients();
    let (ear, heard) = mpsc::channel();
    let mut broker = Mosquitto::with(Setup { ear: Some(ear), ..Setup::default() });
    // Half of them retry without any jitter of their own.
    let file = FleetFile::new(&format!(
        r#"
        [fleet]
        worker_size = 150
        [endpoint.eu-1]
        url = "mqtt://127.0.0.1:{}"
        connect_rate = {RATE}
        [[client]]
        id = "spread-%04i"
        count = {half}
        endpoints = ["eu-1"]
        reconnect = {{ strategy = "exponential", min = "500ms", max = "2s" }}
        [[client]]
        id = "fixed-%04i"
        count = {half}
        endpoints = ["eu-1"]
        reconnect = {{ strategy = "fixed", every = "1s" }}
        "#,
        broker.port(),
        half = clients / 2,
    ));
    let witness = Witness::start();
    let run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(clients);
    let first = Wave::heard(&heard);
    broker.kill9();
    run.wait_up(0);
    broker.restart();
    run.wait_up(clients);
    let second = Wave::heard(&heard);
    first.assert_paced("first connects", clients, &witness);
    second.assert_paced("reconnects", clients, &witness);
}

/// When the broker logged each connect, in their order.
struct Wave(Vec<Instant>);

impl Wave {
    /// In which no more than three times the mean may come.
    const MOMENT: Duration = Duration::from_millis(50);

    fn heard(heard: &Receiver<(Instant, String)>) -> Wave {
        let connects = heard.try_iter().filter(|(_, line)| line.starts_with("New client connected"));
        Wave(connects.map(|(at, _)| at).collect())
    }

    /// How many came from `from` on, before `span` was over.
    fn within(&self, from: Instant, span: Duration) -> usize {
        let place = |at| self.0.partition_point(|t| *t < at);
        place(from + span) - place(from)
    }

    /// Holds every second that lies wholly within the wave, wherever it begins, against the rate.
    ///
    /// A machine that had other things to do may be at fault as well: what it held up comes on top
    /// later, and too few, or many in a moment, count only where it had time.
    fn assert_paced(&self, what: &str, clients: usize, witness: &Witness) {
        assert_eq!(self.0.len(), clients, "{what}: each once");
        let (first, last) = (self.0[0], self.0[clients - 1]);
        // The count changes only where a connect enters or leaves the window.
        let edges = self.0.iter().flat_map(|&t| [t, t + Duration::from_nanos(1)]);
        let seconds: Vec<(usize, Instant)> =
            edges.take_while(|&t| t + SECOND <= last).map(|t| (self.within(t, SECOND), t)).collect();
        let served: Vec<&(usize, Instant)> = seconds.iter().filter(|(_, t)| witness.had_time(*t, SECOND)).collect();
        let moments = (0..).map(|n| first + n * Self::MOMENT).take_while(|t| *t + Self::MOMENT <= last);
        let busiest =
            moments.filter(|t| witness.had_time(*t, Self::MOMENT)).map(|t| self.within(t, Self::MOMENT)).max();
        let (least, most) = (served.iter().map(|w| w.0).min(), seconds.iter().map(|w| w.0).max().unwrap());
        println!(
            "{what}: {clients} within {:?}; {least:?} to {most} in a second, at most {busiest:?} in {:?}; \
             the machine was at hand in {} of {} windows",
            last - first,
            Self::MOMENT,
            served.len(),
            seconds.len()
        );
        let held_up = |t| (witness.lost(t, SECOND).as_secs_f64() * RATE as f64) as usize;
        let too_many = seconds.iter().find(|(n, t)| *n > RATE * 110 / 100 + held_up(*t));
        assert!(too_many.is_none(), "{what}: {too_many:?}: so many connects in the second from then");
        assert!(least.is_none_or(|n| n >= RATE * 90 / 100), "{what}: {least:?} connects in a second: it idles");
        let mean = RATE * Self::MOMENT.as_millis() as usize / 1_000;
        assert!(busiest.is_none_or(|n| n <= 3 * mean), "{what}: {busiest:?} connects in a moment: lock-step");
    }
}
