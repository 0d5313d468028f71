//! Defines which lines a run prints, and when, on given time: live and from a recording they are the same; what a line says is the `lines` module's matter.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::{Anchor, Moment},
    event::{Event, What},
    fleet::Fleet,
    headless::Format,
    lines,
    model::Known,
};

/// What is to be printed of a run.
pub(crate) struct Script {
    fleet: Arc<Fleet>,
    format: Format,
    samples: bool,
    pub known: Known,
    /// Lines that are not printed yet.
    pub text: String,
    /// What was known when the fleet was last told in numbers, and when that was.
    said: (u64, Moment),
    /// What the unhealthy share, as it was told last.
    insight: Option<String>,
}

impl Script {
    /// A person needs no line a second about a fleet, and none about one that is as it was.
    const QUIET: Duration = Duration::from_secs(5);

    pub(crate) fn new(fleet: Arc<Fleet>, format: Format, samples: bool, now: Moment) -> Script {
        let known = Known::new(fleet.clone(), now);
        Script { fleet, format, samples, known, text: String::new(), said: (0, now), insight: None }
    }

    pub(crate) fn start(&mut self, workers: usize, anchor: &Anchor) {
        if self.format == Format::Json {
            self.push(lines::json_start(&self.fleet, workers, anchor, self.said.1));
        }
    }

    pub(crate) fn event(&mut self, anchor: &Anchor, event: &Event) {
        let late = |known: &Known| match &event.what {
            What::Late(late) => Some(known.row(late.client).late.is_some()),
            _ => None,
        };
        let was_late = late(&self.known);
        self.known.apply(event);
        if late(&self.known) == was_late && was_late.is_some() {
            return; // old news, or another probe of a client that is late already
        }
        let line = match self.format {
            Format::Json => lines::json(&self.fleet, anchor, event, self.samples),
            Format::Text => lines::plain(&self.fleet, anchor, event),
        };
        line.into_iter().for_each(|line| self.push(line));
    }

    /// Another second is over.
    pub(crate) fn second(&mut self, anchor: &Anchor, now: Moment) {
        self.known.look(now);
        let insight = lines::insight(&self.known, anchor);
        if insight != self.insight {
            self.insight = insight;
            self.push(match self.format {
                Format::Json => lines::json_insight(&self.known, anchor, now),
                Format::Text => lines::plain_insight(&self.known, anchor, now),
            });
        }
        match self.format {
            Format::Json => self.push(lines::json_summary(&self.known, anchor, now)),
            Format::Text if self.said.0 != self.known.changes() && now.since(self.said.1) >= Self::QUIET => {
                self.said = (self.known.changes(), now);
                self.push(lines::plain_summary(&self.known, anchor, now));
            }
            Format::Text => {}
        }
    }

    /// The run is over: tells how the fleet stands, whatever was told before.
    pub(crate) fn end(&mut self, anchor: &Anchor, now: Moment) {
        self.known.look(now);
        self.push(match self.format {
            Format::Json => lines::json_summary(&self.known, anchor, now),
            Format::Text => lines::plain_summary(&self.known, anchor, now),
        });
    }

    fn push(&mut self, line: String) {
        self.text.push_str(&line);
        self.text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{Late, Reason, Sample, State, Transition},
        fleet::{Client, ClientKey, Endpoint, EndpointKey, ProbeKind},
        text::Scrubbed,
    };

    #[test]
    fn who_becomes_late_is_told_once() {
        let (client, probe) = (ClientKey(0), ProbeKind::Echo);
        let fleet = Fleet {
            name: Scrubbed::new("f"),
            env: None,
            worker_size: 500,
            endpoints: vec![Endpoint::new("eu-1", "h", 1)],
            clients: vec![Client::new("press-0002", EndpointKey(0), Arc::default())],
        };
        let up = Transition {
            client,
            endpoint: EndpointKey(0),
            from: State::Connecting,
            to: State::Up,
            reason: Reason::Connected,
            detail: Scrubbed::default(),
            attempt: 1,
            next_try: None,
        };
        let late = |since| What::Late(Late { client, probe, since: Moment(since) });
        let answer = |rtt| What::Sample(Sample { client, probe, rtt: Duration::from_secs(rtt) });
        let events = [
            (late(0), 0), // it is not up
            (What::State(up), 0),
            (late(5_000_000), 1),
            (late(7_000_000), 1), // the one before was given up
            (answer(3), 1),
            (late(6_000_000), 1), // a later one is answered
            (late(13_000_000), 2),
        ];
        let mut script = Script::new(Arc::new(fleet), Format::Json, false, Moment(0));
        for (n, (what, lines)) in events.into_iter().enumerate() {
            let event = Event { at: Moment(2_000_000 * (n as u64 + 1)), what };
            script.event(&Anchor::now(), &event);
            assert_eq!(script.text.matches(r#""type":"late""#).count(), lines, "{event:?}");
        }
    }
}
