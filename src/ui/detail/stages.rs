//! Defines how the stages of a connect are drawn, as words on a line or as bars on a time line; what the stages were is the model's matter.

use std::time::Duration;

use ratatui::{buffer::Buffer, layout::Rect, style::Style, text::Span};

use crate::{
    event::{Badge, Finding},
    model::{Connection, Row},
    ui::{
        Screen,
        paint::{from, nth_line, put, put_right, span},
    },
    words::figures,
};

/// One stage of the way to the broker.
#[derive(Clone, Copy)]
pub(super) struct Leg {
    name: &'static str,
    begin: Duration,
    took: Duration,
    has_failed: bool,
}

/// The stages of a client's last connect.
pub(super) struct Stages {
    /// Those that the last probe of its endpoint went through.
    pub probe: Vec<Leg>,
    /// How long ago that was.
    pub age: Duration,
    /// Those that the client went through itself.
    pub own: Vec<Leg>,
}

impl Stages {
    pub(super) fn of(screen: &Screen, row: &Row) -> Stages {
        let finding = screen.model.shown().finding(row.endpoint);
        Stages {
            probe: finding.map(|(_, finding)| probe(finding)).unwrap_or_default(),
            age: finding.map(|(at, _)| screen.now.since(at)).unwrap_or_default(),
            own: own(&row.connection),
        }
    }

    /// The lines that [`Stages::bars`] takes.
    pub(super) fn height(&self) -> u16 {
        let with_head = |legs: &[Leg]| if legs.is_empty() { 0 } else { legs.len() + 1 };
        (with_head(&self.probe) + with_head(&self.own)) as u16
    }

    /// One bar a stage, all on one time line; those of the probe and those of the client each begin
    /// at its left end.
    pub(super) fn bars(&self, screen: &Screen, buf: &mut Buffer, area: Rect, names: u16) {
        const FIGURE: u16 = 7;
        let theme = screen.theme;
        let end = |legs: &[Leg]| legs.last().map_or(Duration::ZERO, |leg| leg.begin + leg.took);
        let total = end(&self.probe).max(end(&self.own));
        let room = area.width.saturating_sub(names + FIGURE + 2);
        let mut lines = (0..).map(|n| nth_line(area, n));
        for (head, age, legs) in [("probed", Some(self.age), &self.probe), ("last connect", None, &self.own)] {
            if legs.is_empty() {
                continue;
            }
            let line = lines.next().unwrap_or_default();
            put(buf, line, head, theme.dim);
            if let Some(age) = age {
                put(buf, from(line, line.x + names), &format!("{} ago", figures::age(age)), theme.dim);
            }
            for (leg, line) in legs.iter().zip(&mut lines) {
                let name = if leg.has_failed { failed(screen, leg.name) } else { format!("  {}", leg.name) };
                put(buf, line, &name, leg.style(screen, theme.dim));
                let figure = Rect { x: line.x + names, width: FIGURE.min(line.width.saturating_sub(names)), ..line };
                put_right(buf, figure, &figures::latency(leg.took), leg.style(screen, theme.text));
                let (first, columns) = span_of(leg, total, room);
                let glyph = if screen.glyphs.is_ascii() { "=" } else { "━" };
                let bar = from(line, figure.right() + 2 + first);
                put(buf, bar, &glyph.repeat(columns.into()), leg.style(screen, theme.trend));
            }
        }
    }

    /// The probe's stages on one line.
    pub(super) fn probe_line(&self, screen: &Screen) -> Vec<Span<'static>> {
        let mut spans = legs(screen, &self.probe);
        spans.push(span(format!("{} ago", figures::age(self.age)), screen.theme.dim));
        spans
    }

    /// The client's own stages on one line.
    pub(super) fn own_line(&self, screen: &Screen) -> Vec<Span<'static>> {
        legs(screen, &self.own)
    }
}

impl Leg {
    fn style(&self, screen: &Screen, usual: Style) -> Style {
        if self.has_failed { screen.theme.error } else { usual }
    }
}

/// The name of a stage that failed, marked without colour too.
pub(super) fn failed(screen: &Screen, name: &str) -> String {
    format!("{} {name}", screen.glyphs.badge(Badge::Failed))
}

fn legs(screen: &Screen, legs: &[Leg]) -> Vec<Span<'static>> {
    let theme = screen.theme;
    let mut spans = Vec::new();
    for leg in legs {
        let name = if leg.has_failed { failed(screen, leg.name) } else { leg.name.to_owned() };
        spans.push(span(format!("{name} "), leg.style(screen, theme.dim)));
        spans.push(span(format!("{}  ", figures::latency(leg.took)), leg.style(screen, theme.text)));
    }
    spans
}

fn probe(finding: &Finding) -> Vec<Leg> {
    let mut begin = Duration::ZERO;
    let leg = |stage: &crate::event::Stage| {
        let has_failed = finding.failure.as_ref().is_some_and(|failure| failure.stage == stage.kind);
        let leg = Leg { name: stage.kind.name(), begin, took: stage.took, has_failed };
        begin += stage.took;
        leg
    };
    finding.stages.iter().map(leg).collect()
}

fn own(connection: &Connection) -> Vec<Leg> {
    let mut begin = Duration::ZERO;
    let named = [("reached", connection.reached), ("connack", connection.answered), ("suback", connection.subscribed)];
    let leg = |(name, took): (&'static str, Option<Duration>)| {
        let leg = Leg { name, begin, took: took?, has_failed: false };
        begin += leg.took;
        Some(leg)
    };
    named.into_iter().filter_map(leg).collect()
}

/// The first column of a bar and how many it has; at least one, so that none is lost.
fn span_of(leg: &Leg, total: Duration, room: u16) -> (u16, u16) {
    if room == 0 {
        return (0, 0);
    }
    let column = |at: Duration| {
        let share = at.as_secs_f64() / total.as_secs_f64().max(1e-9);
        ((share * f64::from(room)).round() as u16).min(room)
    };
    let first = column(leg.begin).min(room - 1);
    (first, column(leg.begin + leg.took).max(first + 1) - first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_follow_each_other_and_none_is_lost() {
        let ms = Duration::from_millis;
        let leg = |begin, took| Leg { name: "x", begin: ms(begin), took: ms(took), has_failed: false };
        assert_eq!(span_of(&leg(0, 50), ms(100), 24), (0, 12));
        assert_eq!(span_of(&leg(50, 50), ms(100), 24), (12, 12));
        assert_eq!(span_of(&leg(100, 0), ms(100), 24), (23, 1));
        assert_eq!(span_of(&leg(0, 0), ms(0), 24), (0, 1));
        assert_eq!(span_of(&leg(0, 50), ms(100), 0), (0, 0));
    }
}
