//! All rows of the table at once, in one worker with clients of a good broker.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{
    broker::{Turn, serve},
    *,
};

/// A row of the table.
#[derive(Clone, Copy, Debug)]
struct Row {
    name: &'static str,
    turn: Turn,
    birth: u8,
    says: &'static str,
    ends: &'static str,
}

/// A client of a row.
struct Case {
    row: Row,
    protocol: Protocol,
    is_tls: bool,
    acted: Arc<AtomicUsize>,
}

/// The rows of the table, each with the versions and the ways that it has.
fn rows() -> impl Iterator<Item = (Row, Vec<Protocol>, Vec<bool>)> {
    let lines = include_str!("../hostile.rs").lines().filter_map(|l| l.strip_prefix("//! | `"));
    lines.map(|line| {
        let cells: Vec<&str> = line.trim_end_matches('|').split(" | ").map(|c| c.trim().trim_matches('`')).collect();
        let [name, mqtt, way, moment, says, ends] = cells[..] else { panic!("not six cells: {line}") };
        let protocols = match mqtt {
            "both" => BOTH.to_vec(),
            "3.1.1" => vec![Protocol::V311],
            "5" => vec![Protocol::V5],
            _ => panic!("no version: {line}"),
        };
        let ways = match way {
            "any" => vec![false, true],
            "tcp" => vec![false],
            "tls" => vec![true],
            _ => panic!("no way: {line}"),
        };
        let (turn, birth) = match moment {
            "accept" => (Turn::Accept, 1),
            "connect" => (Turn::Packet(1, 0), 1),
            "subscribe" => (Turn::Packet(8, 0), 1),
            "publish 1" => (Turn::Packet(3, 1), 1),
            "publish 2" => (Turn::Packet(3, 2), 2),
            "pubrel" => (Turn::Packet(6, 0), 2),
            "ping" => (Turn::Packet(12, 0), 1),
            _ => panic!("no moment: {line}"),
        };
        (Row { name, turn, birth, says, ends }, protocols, ways)
    })
}

impl Row {
    fn is_up(&self) -> bool {
        self.ends.starts_with("up")
    }

    /// Whether the broker accepts the client before it does what it does.
    fn accepts(&self) -> bool {
        !matches!(self.turn, Turn::Accept | Turn::Packet(1, _)) || self.says.contains("ok")
    }

    /// How many messages come.
    fn messages(&self) -> u32 {
        self.ends.strip_prefix("up, ").and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0)
    }
}

impl Case {
    fn all() -> (Vec<Case>, Vec<Def>) {
        let (mut cases, mut defs) = (Vec::new(), Vec::new());
        for (row, protocols, ways) in rows() {
            for (&protocol, &is_tls) in protocols.iter().flat_map(|p| ways.iter().map(move |w| (p, w))) {
                let (port, acted) = serve(row.turn, row.says, protocol == Protocol::V5, is_tls);
                let case = Case { row, protocol, is_tls, acted };
                let mut client = client(case.to_string(), protocol, row.birth, ProbeKind::Ack);
                if row.turn == Turn::Packet(12, 0) || row.ends.starts_with("keep_alive") {
                    // A client that has something to say sends no PINGREQ.
                    (client.settings.keep_alive, client.settings.probe.kind) =
                        (Duration::from_secs(1), ProbeKind::Heartbeat);
                }
                if row.ends.starts_with("connect_timeout") {
                    client.settings.connect_timeout = Duration::from_secs(5);
                }
                if row.name == "message_beyond_receive_maximum" {
                    client.settings.receive_maximum = Some(4);
                }
                defs.push(over(client, is_tls, port));
                cases.push(case);
            }
        }
        (cases, defs)
    }

    /// Whether there is something to judge by.
    fn is_over(&self, worker: &Worker, slot: Slot, round: usize) -> bool {
        let acted = self.acted.load(Ordering::SeqCst) >= round;
        worker.is_ended(slot) || (self.row.is_up() && acted && worker.is_up(slot))
    }

    /// What is wrong about how it came.
    fn judge(&self, worker: &Worker, slot: Slot, round: usize) -> Option<String> {
        let is = match worker.step(slot) {
            Some(Step::Up(_)) if self.row.is_up() => {
                let (wanted, came) = (self.row.messages(), worker.messages.get(&slot).map_or(0, |m| m.0));
                let is_right = wanted == 0 || came == wanted * round as u32;
                return (!is_right).then(|| format!("{self}: {came} messages came in {round} rounds"));
            }
            Some(Step::Up(_)) => "up".into(),
            Some(Step::Ended(cause, _)) => {
                let was_up = worker.steps[&(slot, worker.generation(slot))].len() > 1;
                let oddly = match (was_up, self.row.accepts()) {
                    (true, false) => "it was up, and then ",
                    (false, true) => "it was never up: ",
                    _ => "",
                };
                format!("{oddly}{}: {}", cause.reason.name(), cause.detail)
            }
            None => "nothing".into(),
        };
        let is_right =
            is.starts_with(self.row.ends) || is.starts_with("protocol_violation: ") && is.contains(self.row.ends);
        (!is_right).then(|| format!("{self}: `{is}`, not `{}`", self.row.ends))
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = if self.is_tls { "TLS" } else { "TCP" };
        write!(f, "{} {:?} {way}", self.row.name, self.protocol)
    }
}

/// `make chaos` asks for more; a round of this is some seconds.
fn rounds() -> usize {
    let asked: usize = std::env::var("MQFLEET_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(0);
    (asked / 5).max(2)
}

#[tokio::test]
async fn each_row_costs_its_own_client_only() {
    let healthy = Healthy::new();
    let (cases, defs) = Case::all();
    let mut worker = healthy.worker(defs).await;
    let slots: Vec<Slot> = (Healthy::COUNT as Slot..).take(cases.len()).collect();
    let each = || slots.iter().copied().zip(&cases);
    let ups: Vec<Slot> = each().filter(|(_, case)| case.row.is_up()).map(|(slot, _)| slot).collect();
    println!("{} rows, {} clients, {} of them to stay up", rows().count(), cases.len(), ups.len());
    let (base, mut first) = (worker.memory("VmRSS"), 0);
    for round in 1..=rounds() {
        worker.connect(slots.iter().copied()).await;
        let over =
            worker.until(Duration::from_secs(20), |w| each().all(|(slot, case)| case.is_over(w, slot, round))).await;
        let wrong = |worker: &Worker| -> Vec<String> {
            each().filter_map(|(slot, case)| case.judge(worker, slot, round)).collect()
        };
        if over {
            measured(&mut worker, ups.iter().copied()).await;
            worker.until(Duration::from_secs(5), |w| wrong(w).is_empty()).await;
        }
        let wrong = wrong(&worker);
        for (slot, case) in each().filter(|(slot, case)| !case.is_over(&worker, *slot, round)) {
            println!("{case} is not over: {:?}, came to it {:?}", worker.step(slot), case.acted);
        }
        assert!(over && wrong.is_empty(), "round {round}:\n{}", wrong.join("\n"));
        Healthy::have_not_blinked(&mut worker).await;
        let memory = worker.memory("VmRSS");
        println!("round {round}: {} MiB, {} MiB before", memory / MIB, base / MIB);
        assert!(memory < base + 64 * MIB, "it grew to {} MiB", memory / MIB);
        first = if round <= 2 { memory } else { first };
        assert!(memory < first + 16 * MIB, "it grows from round to round: {} MiB", memory / MIB);
    }
}
