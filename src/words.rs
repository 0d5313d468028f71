//! Defines the sentences in which events are told, to the log pane and to lines of plain text alike; it knows nothing of screens or colours.

use std::time::Duration;

use crate::{
    clock::Moment,
    event::{Condition, Gate, Order, Reason, Shortfall, State, Transition, WorkerEvent},
    fleet::{ClientKey, EndpointKey, Fleet},
    model::{Entry, Known, Subject},
    text::Scrubbed,
};

pub mod alert;
pub mod connection;
pub mod figures;
pub mod insight;
pub mod job;

/// One line of the log as a sentence: `1,000 clients connected to eu-1 (press-0001 … press-1000)`.
pub fn entry(fleet: &Fleet, entry: &Entry) -> String {
    match &entry.subject {
        Subject::Clients { first, last, count, endpoint, from, to, reason, detail, next_try } => {
            let first = &fleet.client(*first).name;
            let (who, range) = match count {
                1 => (first.to_string(), String::new()),
                // One client over and over, or clients that have the same ID and throw each other off.
                n if *first == fleet.client(*last).name => (first.to_string(), format!(" ({n} times)")),
                n => (figures::clients(*n), format!(" ({first} … {})", fleet.client(*last).name)),
            };
            let endpoint = &fleet.endpoint(*endpoint).name;
            let (from, to, reason, next_try) = (*from, *to, *reason, *next_try);
            Step {
                who: &who,
                range: &range,
                many: *count > 1 && who != first.as_str(),
                endpoint,
                from,
                to,
                reason,
                detail,
                next_try,
            }
            .sentence()
        }
        Subject::Worker { worker, event, detail } => self::worker(&fleet.worker(*worker), *event, detail),
        Subject::Shortfall { first, count: 1 } => shortfall(fleet, first),
        Subject::Shortfall { first, count } => {
            format!("{}; and {} more", shortfall(fleet, first), figures::count(count - 1))
        }
        Subject::Silence { endpoint, clients, wait } => {
            let name = &fleet.endpoint(*endpoint).name;
            format!("{name} is silent: no answer to {} for {}", figures::clients(*clients), figures::wait(*wait))
        }
        Subject::Answers { endpoint, after } => {
            let name = &fleet.endpoint(*endpoint).name;
            format!("{name} answers again, after a silence of {}", figures::wait(*after))
        }
        Subject::Order(endpoint, order) => self::order(fleet, *endpoint, *order),
        Subject::Notice(text) => text.to_string(),
        Subject::Alert(of) => alert::sentence(fleet, of),
        Subject::Handling(of) => alert::handling(of),
        Subject::Job(of) => job::sentence(of),
    }
}

/// A client's step as a sentence: `press-0002 lost its connection to eu-1: closed by peer; retry in 0.8 s`.
pub fn transition(fleet: &Fleet, step: &Transition) -> String {
    let who = &fleet.client(step.client).name;
    let endpoint = &fleet.endpoint(step.endpoint).name;
    let &Transition { from, to, reason, ref detail, next_try, .. } = step;
    Step { who, range: "", many: false, endpoint, from, to, reason, detail, next_try }.sentence()
}

/// What the operator wants of an endpoint.
pub fn order(fleet: &Fleet, endpoint: EndpointKey, order: Order) -> String {
    let name = &fleet.endpoint(endpoint).name;
    match order {
        Order::Hold => format!("operator holds {name}: nobody connects to it"),
        Order::Release => format!("operator releases {name}: clients may connect again"),
        Order::Rate { from, to } => {
            format!(
                "operator lets {} clients a second connect to {name}, before {}",
                figures::count(to),
                figures::count(from)
            )
        }
    }
}

/// A client's subscription that is less than what was asked for.
pub fn shortfall(fleet: &Fleet, shortfall: &Shortfall) -> String {
    format!("{}: {}", fleet.full_name(shortfall.client), connection::shortfall(shortfall))
}

/// What happened to a worker: `worker 3 died: killed by signal 9; its 250 clients wait; starting it again`.
pub fn worker(who: &str, event: WorkerEvent, detail: &Scrubbed) -> String {
    let why = if detail.is_empty() { String::new() } else { format!(": {detail}") };
    match event {
        WorkerEvent::Started => format!("{who} started{why}"),
        WorkerEvent::Silent => format!("{who} has been silent {detail}"),
        WorkerEvent::Died => format!("{who} died{why}"),
        WorkerEvent::Restarted => format!("{who} is back{why}"),
    }
}

/// A reason in words, with the other side's own words where it gave any.
pub fn reason(reason: Reason, detail: &str) -> String {
    if detail.is_empty() || detail == reason.words() {
        reason.words().to_owned()
    } else {
        format!("{}: {detail}", reason.words())
    }
}

/// Why a client is in its state, from the longest form to the shortest. What is well needs no reason.
pub fn why(known: &Known, key: ClientKey, now: Moment) -> Vec<String> {
    let row = known.row(key);
    if row.is_unknown {
        return vec![format!("its agent is gone, {}", row.detail), "its agent is gone".to_owned()];
    }
    let words = row.reason.words();
    let full = reason(row.reason, &row.detail);
    match row.state {
        State::Up => connection::slow(known, key, now),
        State::Held | State::Failed if row.next_try.is_some() => {
            let due = row.next_try.map(|at| at.since(now)).filter(|due| !due.is_zero());
            let soon = due.map_or("now".to_owned(), |due| format!("in {}", figures::wait(due)));
            let next = if row.state == State::Held { "probe" } else { "retry" };
            vec![format!("{full}, {next} {soon}"), format!("{words}, {next} {soon}"), words.to_owned()]
        }
        State::Backoff => {
            let n = row.attempt;
            let due = row.next_try.map(|at| at.since(now).as_micros().div_ceil(1_000_000));
            let Some(due) = due else { return vec![full, words.to_owned()] };
            let due = if due == 0 { "now".to_owned() } else { format!("{}s", figures::count(due as u64)) };
            let soon = if due == "now" { "now".to_owned() } else { format!("in {due}") };
            vec![
                format!("{full}, retry {soon} (#{n})"),
                format!("{words}, retry {soon} (#{n})"),
                format!("{words}, {due} #{n}"),
                format!("{words}, {due}"),
                words.to_owned(),
            ]
        }
        State::Connecting if row.reason == Reason::Start => Vec::new(),
        State::Connecting if row.attempt > 1 => vec![format!("{full}, try #{}", row.attempt), full, words.to_owned()],
        _ => vec![full, words.to_owned()],
    }
}

/// What is worth saying of an endpoint's gate: `eu-1: 812 waiting, 100/s, 8.1 s`.
pub fn gate(name: &str, gate: &Gate) -> Option<String> {
    let rate = match gate.rate < gate.rate_set {
        true => format!("{} of {}/s: broker busy", gate.rate, gate.rate_set),
        false => format!("{}/s", gate.rate),
    };
    match &gate.condition {
        Condition::OnHold => Some(format!("{name}: on hold")),
        Condition::Shut { cause, .. } => Some(format!("{name}: {}", reason(cause.reason, &cause.detail))),
        // A queue that is gone before it can be read is no news.
        Condition::Open if gate.eta >= Duration::from_secs(1) => {
            let waiting = figures::count(gate.waiting);
            Some(format!("{name}: {waiting} waiting, {rate}, {}", figures::wait(gate.eta)))
        }
        Condition::Open if gate.rate < gate.rate_set => Some(format!("{name}: {rate}")),
        Condition::Unknown | Condition::Probing | Condition::Open => None,
    }
}

/// What a single transition and a burst of them have in common.
struct Step<'a> {
    /// One client's name, or how many there are.
    who: &'a str,
    /// The first and the last of many, in parentheses.
    range: &'a str,
    many: bool,
    endpoint: &'a str,
    from: State,
    to: State,
    reason: Reason,
    detail: &'a str,
    next_try: Option<Duration>,
}

impl Step<'_> {
    /// The sentence, with who it is about at its end: on a narrow screen the reason must not be cut off.
    fn sentence(&self) -> String {
        format!("{}{}", self.statement(), self.range)
    }

    fn statement(&self) -> String {
        let &Step { who, many, endpoint, .. } = self;
        let why = reason(self.reason, self.detail);
        let (is, was, whose) = if many { ("are", "were", "their") } else { ("is", "was", "its") };
        match self.to {
            State::Up if self.reason == Reason::SessionLost => format!("{who} connected to {endpoint}; {why}"),
            State::Up => format!("{who} connected to {endpoint}"),
            State::Connecting => format!("{who} {is} connecting to {endpoint}"),
            State::Queued if self.reason == Reason::OperatorReconnect => {
                format!("{who} {was} told to reconnect")
            }
            State::Queued if self.reason == Reason::Failover => format!("{who} {is} going over to {endpoint}"),
            State::Queued if self.reason == Reason::Failback => format!("{who} {is} going back to {endpoint}"),
            State::Queued if self.reason == Reason::ProtocolFallback => {
                format!("{who} got no answer to MQTT 5 from {endpoint}, and will try MQTT 3.1.1")
            }
            State::Queued if self.reason == Reason::Redirected => format!("{who} {was} sent to {endpoint}"),
            State::Queued => format!("{who} {is} waiting for a turn to connect to {endpoint}"),
            State::Held if self.reason.is_workers() => {
                format!("{who} {is} waiting for {whose} worker: {why}")
            }
            State::Held => {
                let next = self.next_try.map(|wait| format!("; asked again in {}", figures::wait(wait)));
                format!("{who} {is} waiting for {endpoint}: {why}{}", next.unwrap_or_default())
            }
            State::Off if self.reason == Reason::OperatorDisconnect => {
                format!("{who} {was} disconnected by operator")
            }
            State::Off => format!("{who} {is} off: {why}"),
            State::Backoff => {
                let retry = if many { "first retry" } else { "retry" };
                let retry = self.next_try.map(|wait| format!("; {retry} in {}", figures::wait(wait)));
                format!("{}{}", self.failure(&why, was, whose), retry.unwrap_or_default())
            }
            State::Failed if self.reason == Reason::RetriesExhausted => format!("{who} {was} given up: {why}"),
            State::Failed => {
                let next = self.next_try.map(|wait| format!("tried again in {}", figures::wait(wait)));
                format!("{}; {}", self.failure(&why, was, whose), next.as_deref().unwrap_or("not tried again"))
            }
        }
    }

    fn failure(&self, why: &str, was: &str, whose: &str) -> String {
        let &Step { who, endpoint, detail, .. } = self;
        match (self.from, self.reason) {
            (State::Up, reason) if reason.is_brokers() => format!("broker disconnected {who}: {why}"),
            (_, reason) if reason.is_brokers() => format!("broker refused {who}: {why}"),
            (State::Up, Reason::ProtocolViolation) => {
                format!("{who} left {endpoint}, which broke the protocol: {detail}")
            }
            // "lost its connection: connection lost" would say one thing twice.
            (State::Up, Reason::ConnectionLost) if detail.is_empty() => {
                format!("{who} lost {whose} connection to {endpoint}")
            }
            (State::Up, Reason::ConnectionLost) => {
                format!("{who} lost {whose} connection to {endpoint}: {detail}")
            }
            (State::Up, _) => format!("{who} lost {whose} connection to {endpoint}: {why}"),
            (_, Reason::RetriesExhausted) => format!("{who} {was} given up: {why}"),
            _ => format!("{who} could not connect to {endpoint}: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        clock::Moment,
        event::{Cause, Event, What},
        fleet::{Client, ClientKey, Endpoint, EndpointKey, Settings},
        model::Known,
    };

    fn fleet() -> Fleet {
        let settings = Arc::new(Settings::default());
        let client = |n: u32| Client::new(&format!("press-{n:04}"), EndpointKey(0), settings.clone());
        let clients = (1..=1_000).map(client).collect();
        let endpoints = vec![Endpoint::new("eu-1", "eu-1", 1883)];
        Fleet { name: Scrubbed::new("f"), env: None, worker_size: 500, endpoints, clients }
    }

    fn step(client: u32, from: State, to: State, reason: Reason, detail: &str, next: Option<u64>) -> Transition {
        Transition {
            client: ClientKey(client),
            endpoint: EndpointKey(0),
            from,
            to,
            reason,
            detail: Scrubbed::new(detail),
            attempt: 1,
            next_try: next.map(Duration::from_millis),
        }
    }

    #[test]
    fn single_steps() {
        use State::*;
        let fleet = fleet();
        for (from, to, reason, detail, next, says) in [
            (Connecting, Up, Reason::Connected, "", None, "press-0002 connected to eu-1"),
            (
                Up,
                Backoff,
                Reason::ConnectionLost,
                "closed by peer",
                Some(800),
                "press-0002 lost its connection to eu-1: closed by peer; retry in 0.8 s",
            ),
            (
                Up,
                Backoff,
                Reason::ConnectionLost,
                "",
                Some(12_000),
                "press-0002 lost its connection to eu-1; retry in 12 s",
            ),
            (
                Up,
                Backoff,
                Reason::KeepAliveTimeout,
                "",
                None,
                "press-0002 lost its connection to eu-1: no answer to ping",
            ),
            (
                Connecting,
                Backoff,
                Reason::ConnectionRefused,
                "os error 111",
                Some(800),
                "press-0002 could not connect to eu-1: connection refused: os error 111; retry in 0.8 s",
            ),
            (
                Connecting,
                Failed,
                Reason::BadCredentials,
                "",
                None,
                "broker refused press-0002: bad user name or password; not tried again",
            ),
            (Up, Backoff, Reason::ServerShuttingDown, "", None, "broker disconnected press-0002: broker shutting down"),
            (Backoff, Failed, Reason::RetriesExhausted, "", None, "press-0002 was given up: out of retries"),
            (Up, Off, Reason::OperatorDisconnect, "", None, "press-0002 was disconnected by operator"),
            (
                Backoff,
                Held,
                Reason::ConnectionRefused,
                "",
                Some(500),
                "press-0002 is waiting for eu-1: connection refused; asked again in 0.5 s",
            ),
            (
                Connecting,
                Failed,
                Reason::NotAuthorized,
                "",
                Some(420_000),
                "broker refused press-0002: not authorized; tried again in 7 min",
            ),
            (Held, Queued, Reason::Failover, "", None, "press-0002 is going over to eu-1"),
            (Up, Held, Reason::WorkerLost, "", None, "press-0002 is waiting for its worker: worker died"),
            (Up, Held, Reason::WorkerSilent, "", None, "press-0002 is waiting for its worker: worker is silent"),
            (Up, Queued, Reason::OperatorReconnect, "", None, "press-0002 was told to reconnect"),
            (Off, Queued, Reason::Start, "", None, "press-0002 is waiting for a turn to connect to eu-1"),
            (Queued, Connecting, Reason::Admitted, "", None, "press-0002 is connecting to eu-1"),
        ] {
            assert_eq!(transition(&fleet, &step(1, from, to, reason, detail, next)), says);
        }
    }

    #[test]
    fn bursts_name_their_ends() {
        let fleet = Arc::new(fleet());
        let mut known = Known::new(fleet.clone(), Moment(0));
        let said = |known: &Known| entry(&fleet, known.log().newest().next().unwrap());
        for n in 0..1_000 {
            let what = What::State(step(n, State::Connecting, State::Up, Reason::Connected, "", None));
            known.apply(&Event { at: Moment(5), what });
        }
        assert_eq!(said(&known), "1,000 clients connected to eu-1 (press-0001 … press-1000)");
        for n in 0..250 {
            let what = What::State(step(n, State::Up, State::Backoff, Reason::ConnectionLost, "reset", Some(800)));
            known.apply(&Event { at: Moment(9), what });
        }
        let says = "250 clients lost their connection to eu-1: reset; first retry in 0.8 s (press-0001 … press-0250)";
        assert_eq!(said(&known), says);
    }

    #[test]
    fn gates() {
        let quiet = Gate {
            condition: Condition::Open,
            waiting: 0,
            in_flight: 3,
            rate_set: 100,
            rate: 100,
            eta: Duration::ZERO,
        };
        let cause = Cause { reason: Reason::ConnectionRefused, detail: Scrubbed::default() };
        let shut = Condition::Shut { cause, next_probe: None };
        let crowd = Gate { waiting: 812, eta: Duration::from_millis(8_120), ..quiet.clone() };
        for (told, says) in [
            (quiet.clone(), None),
            (crowd.clone(), Some("eu-1: 812 waiting, 100/s, 8.1 s")),
            (Gate { rate: 50, ..crowd.clone() }, Some("eu-1: 812 waiting, 50 of 100/s: broker busy, 8.1 s")),
            (Gate { rate: 50, ..quiet.clone() }, Some("eu-1: 50 of 100/s: broker busy")),
            (Gate { condition: shut, ..quiet.clone() }, Some("eu-1: connection refused")),
            (Gate { condition: Condition::OnHold, ..crowd }, Some("eu-1: on hold")),
        ] {
            assert_eq!(gate("eu-1", &told).as_deref(), says);
        }
    }

    #[test]
    fn workers() {
        let why = Scrubbed::new("killed by signal 9; its 250 clients wait");
        let says = "worker 3 died: killed by signal 9; its 250 clients wait";
        assert_eq!(worker("worker 3", WorkerEvent::Died, &why), says);
        let how = Scrubbed::new("for 5 s (stopped, or hung)");
        let says = "worker 3 has been silent for 5 s (stopped, or hung)";
        assert_eq!(worker("worker 3", WorkerEvent::Silent, &how), says);
        assert_eq!(worker("worker 3", WorkerEvent::Restarted, &Scrubbed::default()), "worker 3 is back");
    }
}
