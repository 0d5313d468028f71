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
    format: Format,
    samples: bool,
    pub(crate) known: Known,
    /// Lines that are not printed yet.
    pub(crate) text: String,
    /// What the wall clock says to what is told.
    pub(crate) anchor: Anchor,
    /// What was known when the fleet was last told in numbers, and when that was.
    said: (u64, Moment),
    /// What the unhealthy share, as it was told last.
    insight: Option<String>,
}

impl Script {
    /// A person needs no line a second about a fleet, and none about one that is as it was.
    const QUIET: Duration = Duration::from_secs(5);

    /// Begins with a run, or a recording of one.
    pub(crate) fn new(fleet: Arc<Fleet>, format: Format, samples: bool, begin: Anchor) -> Script {
        let known = Known::new(fleet, begin.moment());
        let said = (0, begin.moment());
        Script { format, samples, known, text: String::new(), anchor: begin, said, insight: None }
    }

    pub(crate) fn start(&mut self, workers: usize) {
        if self.format == Format::Json {
            self.push(lines::json_start(self.known.fleet(), workers, &self.anchor, self.said.1));
        }
    }

    pub(crate) fn event(&mut self, event: &Event) {
        let late = |known: &Known| match &event.what {
            What::Late(late) => Some(known.row(late.client).late.is_some()),
            _ => None,
        };
        let was_late = late(&self.known);
        self.take_in(event);
        if late(&self.known) == was_late && was_late.is_some() {
            return; // old news, or another probe of a client that is late already
        }
        if let What::Second(_) = event.what {
            return self.second(event.at);
        }
        let line = match self.format {
            Format::Json => lines::json(self.known.fleet(), &self.anchor, event, self.samples),
            Format::Text => lines::plain(self.known.fleet(), &self.anchor, event),
        };
        line.into_iter().for_each(|line| self.push(line));
    }

    /// Another second is over.
    fn second(&mut self, now: Moment) {
        let (known, anchor) = (&self.known, &self.anchor);
        let insight = lines::insight(known, anchor);
        let mut lines = Vec::new();
        if insight != self.insight {
            self.insight = insight;
            lines.push(match self.format {
                Format::Json => lines::json_insight(known, anchor, now),
                Format::Text => lines::plain_insight(known, anchor, now),
            });
        }
        match self.format {
            Format::Json => lines.push(lines::json_summary(known, anchor, now)),
            Format::Text if self.said.0 != known.changes() && now.since(self.said.1) >= Self::QUIET => {
                self.said = (known.changes(), now);
                lines.push(lines::plain_summary(known, anchor, now));
            }
            Format::Text => {}
        }
        lines.into_iter().for_each(|line| self.push(line));
    }

    /// The run is over with this second: tells how the fleet stands, whatever was told before.
    pub(crate) fn end(&mut self, second: &Event) {
        self.take_in(second);
        self.push(match self.format {
            Format::Json => lines::json_summary(&self.known, &self.anchor, second.at),
            Format::Text => lines::plain_summary(&self.known, &self.anchor, second.at),
        });
    }

    fn take_in(&mut self, event: &Event) {
        event.set_clock(&mut self.anchor);
        self.known.apply(event);
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
        let mut script =
            Script::new(Arc::new(fleet), Format::Json, false, Anchor::of_line(Moment(0), chrono::Utc::now()));
        for (n, (what, lines)) in events.into_iter().enumerate() {
            let event = Event { at: Moment(2_000_000 * (n as u64 + 1)), what };
            script.event(&event);
            assert_eq!(script.text.matches(r#""type":"late""#).count(), lines, "{event:?}");
        }
    }
}
