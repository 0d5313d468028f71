//! The whole program with many clients over TLS by a name: slow and dead name servers, dead addresses, IPv6 (cases 2 to 4). Each runs in a network and with a resolver of its own.

use std::time::Instant;

use mqfleet_test_support::{
    fleet_file::FleetFile,
    headless::Headless,
    mosquitto::{Mosquitto, Setup, free_port},
    name_server::{NAME, NameServer},
    peers::Blackhole,
};

use super::*;

const MS: Duration = Duration::from_millis(1);

/// A broker with TLS under the name, and a fleet that goes there.
struct Far {
    papers: Papers,
    broker: Mosquitto,
    port: u16,
    count: usize,
}

impl Far {
    fn at(addresses: &[&str], port: u16) -> Far {
        let papers = Papers::new(&[NAME]);
        let lines = addresses.iter().flat_map(|address| papers.listener(port, address)).collect();
        let broker = Mosquitto::with(Setup { lines, ..Setup::default() });
        Far { papers, broker, port, count: many(500, 100) }
    }

    /// The program on it; `more` are lines of its clients.
    fn run(&self, more: &str) -> (Headless, FleetFile) {
        let file = FleetFile::new(&format!(
            r#"
            [endpoint.far]
            url = "mqtts://{NAME}:{}"
            ca_file = "{}"
            connect_rate = 1000
            [defaults]
            probe = {{ kind = "echo", every = "500ms" }}
            reconnect = {{ strategy = "fixed", every = "300ms" }}
            {more}
            [[client]]
            id = "tower-%04i"
            count = {}
            endpoints = ["far"]
            "#,
            self.port,
            self.papers.ca_file.display(),
            self.count,
        ));
        (Headless::start(&["run", file.path(), "--samples"], &[]), file)
    }

    /// All of them up within `bound`, without one that failed before it was, and measured.
    #[track_caller]
    fn comes_up(&self, what: &str, bound: Duration) -> (Headless, FleetFile) {
        let began = Instant::now();
        let (run, file) = self.run("");
        run.wait_up(self.count);
        let took = began.elapsed();
        println!("{what}: {} up over TLS after {took:.2?}", self.count);
        assert!(took < bound, "{what}: {took:?}");
        let heard = run.wait_for("all answered", |h| {
            let all: std::collections::HashSet<_> = h.of_type("sample").filter_map(|l| l["client"].as_str()).collect();
            all.len() == self.count
        });
        let failed: Vec<_> = heard.of_type("state").filter(|l| l["to"] == "backoff" || l["to"] == "failed").collect();
        assert!(failed.is_empty(), "{what}: {failed:?}");
        let worst = heard.of_type("sample").filter_map(|l| l["rtt_us"].as_u64()).max().unwrap_or_default();
        println!("{what}: the worst of their answers took {} ms", worst / 1_000);
        drop(heard);
        (run, file)
    }
}

#[test]
fn a_name_server_that_is_far_away() {
    let Some(names) = NameServer::start() else { return };
    let far = Far::at(&["127.0.0.1"], free_port());
    names.delay(50 * MS);
    drop(far.comes_up("a name server 50 ms away", Duration::from_secs(8)));
    names.delay(2_000 * MS);
    drop(far.comes_up("a name server 2 s away", Duration::from_secs(10)));
}

#[test]
fn a_first_name_server_that_is_dead() {
    let Some(_names) = NameServer::behind_a_dead_one() else { return };
    let far = Far::at(&["127.0.0.1"], free_port());
    let began = Instant::now();
    drop(far.comes_up("a first name server that is dead", Duration::from_secs(14)));
    assert!(began.elapsed() > Duration::from_secs(4), "it was not asked");
}

#[test]
fn a_first_address_that_is_dead() {
    let Some(names) = NameServer::start() else { return };
    // It swallows what comes to it at 127.0.0.1; the broker has the same port elsewhere.
    let hole = Blackhole::open();
    let far = Far::at(&["127.0.0.6"], hole.address().port());
    names.say(&["127.0.0.1", "127.0.0.6"]);
    drop(far.comes_up("a first address that swallows everything", Duration::from_secs(12)));
    names.say(&["127.0.0.5", "127.0.0.6"]);
    drop(far.comes_up("a first address where nobody listens", Duration::from_secs(8)));
}

#[test]
fn addresses_of_both_versions() {
    let Some(names) = NameServer::start() else { return };
    let far = Far::at(&["127.0.0.1"], free_port());
    names.say(&["::1", "127.0.0.1"]);
    drop(far.comes_up("IPv6 first, and only IPv4 answers", Duration::from_secs(8)));
    let far = Far::at(&["::1"], free_port());
    names.say(&["127.0.0.1", "::1"]);
    drop(far.comes_up("both, and only IPv6 answers", Duration::from_secs(8)));
}

/// Where it was serves while nobody knows where it is.
#[test]
fn a_name_that_is_lost_later_holds_nobody() {
    let Some(names) = NameServer::start() else { return };
    let mut far = Far::at(&["127.0.0.1"], free_port());
    let (run, _file) = far.comes_up("a name server that still answers", Duration::from_secs(8));
    // Answers are kept for a while; nothing of that is left when the broker comes back.
    names.hang();
    far.broker.kill9();
    run.wait_up(0);
    let kept = Instant::now() + Duration::from_secs(6);
    let asked = names.asked();
    drop(run.wait_for("lookups that hang", |_| names.asked() > asked && Instant::now() > kept));
    far.broker.restart();
    let began = Instant::now();
    run.wait_up(far.count);
    println!("with no name server left: {} up after {:.2?}", far.count, began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    let heard = run.heard();
    let in_doubt =
        heard.of_type("state").filter(|l| l["reason"] == "dns_timeout" || l["reason"] == "name_not_resolved");
    assert_eq!(in_doubt.count(), 0, "somebody was held for want of a name");
}
