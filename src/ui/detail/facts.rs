//! Defines what is said of a client, one fact a line, and which of it is the first to give way; where the lines stand is the detail view's matter. Secrets are not among it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use ratatui::{style::Style, text::Span};

use super::{expiry_style, stages::Stages, url};
use crate::{
    event::{Badge, Expiry, Reason, State},
    fleet::{Client, ClientKey, ProbeKind, Protocol},
    model::{Row, Slow},
    text::{Scrubbed, ellipsize},
    ui::{
        Screen,
        paint::{span, width, wrap},
    },
    words::{self, connection, figures},
};

/// One line of the detail view.
pub(super) struct Fact {
    /// Where there is no room for all, the highest goes first; 0 stays.
    pub rank: u8,
    pub name: &'static str,
    pub spans: Vec<Span<'static>>,
}

/// All that is said of one client.
pub(super) struct Facts<'a> {
    screen: &'a Screen<'a>,
    key: ClientKey,
    client: &'a Client,
    row: &'a Row,
    /// Columns that a value has.
    columns: u16,
}

impl<'a> Facts<'a> {
    /// Shortfalls that get a line each.
    const SHORTFALLS: usize = 4;

    pub(super) fn new(screen: &'a Screen<'a>, key: ClientKey, columns: u16) -> Facts<'a> {
        let (client, row) = (screen.fleet.client(key), screen.model.shown().row(key));
        Facts { screen, key, client, row, columns }
    }

    /// How it stands with the client, and what comes next.
    pub(super) fn course(&self) -> Vec<Fact> {
        let (screen, row, theme) = (self.screen, self.row, self.screen.theme);
        let again = match row.reconnects {
            0 => String::new(),
            1 => ", 1 reconnect".to_owned(),
            n => format!(", {} reconnects", figures::count(n)),
        };
        let age = figures::age(screen.now.since(row.since));
        let mut facts = vec![self.fact(1, "since", format!("{}, {age} ago{again}", screen.clock(row.since)))];
        facts.extend(self.reason());
        if row.is_unknown {
            return facts;
        }
        facts.push(self.fact(1, "next", connection::next(screen.model.shown(), self.key, screen.now)));
        facts.extend(self.latency());
        facts.extend(self.percentiles());
        facts.extend(self.subscriptions());
        if row.received + row.published > 0 {
            let counts = (figures::count(row.received), figures::count(row.published));
            facts.push(self.fact(7, "messages", format!("{} received, {} published", counts.0, counts.1)));
        }
        if row.is_up() && row.slow.is_some_and(|slow| slow != Slow::Short) {
            facts.extend(self.shortfalls("shortfall", theme.text));
        }
        facts
    }

    /// Its record over the run.
    pub(super) fn record(&self) -> Vec<Fact> {
        let (screen, row, theme) = (self.screen, self.row, self.screen.theme);
        let (now, record) = (screen.now, &row.record);
        let Some(share) = record.share(now) else { return Vec::new() };
        let mut text = format!("up {} of the time", figures::share(share));
        let longest = record.longest_outage(now);
        if record.flaps() > 0 {
            text = format!("{text}, {}", figures::losses(record.flaps()));
        }
        if !longest.is_zero() {
            text = format!("{text}, longest outage {}", figures::wait(longest));
        }
        if let Some(mean) = record.mean_time_to_recover() {
            text = format!("{text}, mended in {} on average", figures::wait(mean));
        }
        let mut facts = self.wrapped(4, "availability", &text, theme.text);
        let name = if record.is_strip_full(now) { "last hour" } else { "run so far" };
        facts.push(Fact { rank: 5, name, spans: self.strip() });
        // What took no time worth a word is left out.
        let times = State::ALL.into_iter().filter(|state| *state != State::Off).map(|state| {
            let time = record.time_in(state, now);
            let word = if state == State::Held { "held" } else { Badge::of(state, Reason::Retry).word() };
            (word, time)
        });
        let times = times.filter(|(_, time)| time.as_secs() > 0);
        let times: Vec<String> = times.map(|(word, time)| format!("{word} {}", figures::age(time))).collect();
        if times.len() > 1 {
            facts.push(self.fact(6, "states", times.join(", ")));
        }
        facts
    }

    /// What it was when, a cell for each slot of time, the newest last.
    fn strip(&self) -> Vec<Span<'static>> {
        let (theme, glyphs) = (self.screen.theme, self.screen.glyphs);
        let slots = self.row.record.strip(self.screen.now, self.row.is_slow());
        let skipped = slots.len().saturating_sub(self.columns.into());
        let badge = |(state, is_slow)| match state {
            State::Up if is_slow => Badge::Slow,
            State::Held => Badge::Dead, // held by the operator it is drawn as off
            state => Badge::of(state, Reason::Retry),
        };
        let badges: Vec<Badge> = slots.into_iter().skip(skipped).map(badge).collect();
        let run = |run: &[Badge]| {
            let (glyph, style) = match run[0] {
                Badge::Up if !glyphs.is_ascii() => ("━", theme.dim),
                badge => (glyphs.badge(badge), theme.badge(badge)),
            };
            span(glyph.repeat(run.len()), style)
        };
        badges.chunk_by(|a, b| a == b).map(run).collect()
    }

    /// What its connection is made of; the stages are left to bars where `has_bars`.
    pub(super) fn connection(&self, stages: &Stages, has_bars: bool) -> Vec<Fact> {
        let (screen, row) = (self.screen, self.row);
        let endpoint = screen.fleet.endpoint(row.endpoint);
        let finding = screen.model.shown().finding(row.endpoint).map(|(_, finding)| finding);
        let mut text = vec![span(format!("{}  {}", endpoint.name, url(endpoint)), screen.theme.text)];
        if let Some(address) = finding.and_then(|f| f.address).filter(|a| a.ip().to_string() != *endpoint.host) {
            text.push(span(format!("  {}", address.ip()), screen.theme.dim));
        }
        let agent = screen.fleet.agent_of(self.key);
        let agent = agent.map(|agent| self.fact(1, "agent", agent.name.to_string()));
        let mut facts: Vec<Fact> = agent.into_iter().collect();
        facts.push(Fact { rank: 1, name: "endpoint", spans: text });
        if !has_bars && !stages.probe.is_empty() {
            facts.push(Fact { rank: 2, name: "probed", spans: stages.probe_line(screen) });
        }
        if !has_bars && !stages.own.is_empty() {
            facts.push(Fact { rank: 2, name: "last connect", spans: stages.own_line(screen) });
        }
        facts.extend(self.tcp());
        if let Some(session) = finding.and_then(|f| f.session.as_ref()) {
            let parts = [session.protocol.map(str::to_owned), session.cipher.as_ref().map(|c| c.to_string())];
            let text = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
            match &session.overlooked {
                Some(flaw) => {
                    let text = format!("{text}, not verified: {}", words::reason(flaw.reason, &flaw.detail));
                    facts.push(self.styled(3, "tls", text, screen.theme.warning));
                }
                None if !text.is_empty() => facts.push(self.fact(4, "tls", text)),
                None => {}
            }
        }
        if let Some(certificate) = finding.and_then(|f| f.certificate())
            && let Some(end) = certificate.not_after
        {
            facts.push(self.certificate("broker cert", end, &certificate.subject));
        }
        if let Some(terms) = row.connection.terms.as_ref().filter(|_| row.is_up()) {
            let session = match (terms.session_present, self.client.settings.clean_start) {
                (true, _) => "present: the broker still had it",
                (false, true) => "new, as asked for",
                (false, false) => "new: the broker had none",
            };
            facts.push(self.fact(5, "session", session.to_owned()));
            let limits = connection::limits(terms, &self.client.settings).join(", ");
            if !limits.is_empty() {
                facts.extend(self.wrapped(2, "limits", &limits, screen.theme.text));
            }
        }
        facts
    }

    /// Who the client is.
    pub(super) fn identity(&self) -> Vec<Fact> {
        let (client, settings) = (self.client, &self.client.settings);
        let protocol = match settings.protocol {
            Protocol::V311 => "MQTT 3.1.1",
            Protocol::V5 if settings.falls_back => "MQTT 5.0 or 3.1.1",
            Protocol::V5 => "MQTT 5.0",
        };
        let session = if settings.clean_start { "clean start" } else { "session kept" };
        let keep_alive = match settings.keep_alive {
            Duration::ZERO => "keep alive off".to_owned(),
            time => format!("keep alive {} s", time.as_secs()),
        };
        // Whether there is a password is told, never what it is.
        let login = match (&client.username, &client.password) {
            (None, None) => "none".to_owned(),
            (Some(name), None) => format!("{}, no password", Scrubbed::new(name)),
            (Some(name), Some(_)) => format!("{}, with a password", Scrubbed::new(name)),
            (None, Some(_)) => "no name, with a password".to_owned(),
        };
        let mut facts = vec![
            self.fact(3, "protocol", format!("{protocol}, {session}, {keep_alive}")),
            self.fact(5, "user name", login),
        ];
        if let Some(identity) = &client.identity {
            let file = Scrubbed::new(&identity.cert_file.display().to_string());
            facts.push(match identity.not_after {
                Some(end) => self.certificate("own cert", end, &file),
                None => self.fact(5, "own cert", ellipsize(&file, self.columns.into())),
            });
        }
        if !client.labels.is_empty() {
            let labels = client.labels.iter().map(|(name, value)| format!("{name}={value}"));
            facts.push(self.fact(8, "labels", labels.collect::<Vec<_>>().join(", ")));
        }
        facts
    }

    /// Why it is in its state; what is well needs no reason.
    fn reason(&self) -> Vec<Fact> {
        let (screen, row) = (self.screen, self.row);
        let style = match row.badge() {
            Badge::Off => screen.theme.text,
            _ => screen.look(row),
        };
        if row.is_unknown {
            let texts = words::why(screen.model.shown(), self.key, screen.now);
            return self.wrapped(0, "reason", texts.first().map_or("", String::as_str), style);
        }
        match (row.state, row.slow) {
            (State::Up, None) if row.reason != Reason::SessionLost => Vec::new(),
            (State::Up, Some(Slow::Short)) => self.shortfalls("reason", style),
            (State::Up, Some(_)) => {
                let texts = connection::slow(screen.model.shown(), self.key, screen.now);
                texts.into_iter().take(1).map(|text| self.styled(0, "reason", text, style)).collect()
            }
            _ => self.wrapped(0, "reason", &words::reason(row.reason, &row.detail), style),
        }
    }

    fn latency(&self) -> Option<Fact> {
        let (screen, row) = (self.screen, self.row);
        let (own, probe) = (self.client.settings.probe.kind, row.probe(&self.client.settings));
        if !row.is_up() || own == ProbeKind::Off {
            return None;
        }
        let instead = if probe == own { String::new() } else { format!(", since {} is refused", own.name()) };
        let every = format!("{} every {}{instead}", probe.name(), figures::age(row.trend_width()));
        let (text, style) = match row.last {
            None => (format!("not measured yet, {every}"), screen.theme.text),
            Some((at, rtt)) => {
                let p99 = row.p99(screen.now).map(|p99| format!(", p99 {}", figures::latency(p99))).unwrap_or_default();
                let ago = figures::age(screen.now.since(at));
                let is_slow = matches!(row.slow, Some(Slow::Late | Slow::Objective));
                let style = if is_slow { screen.theme.slow } else { screen.theme.text };
                (format!("{}{p99}, {ago} ago, {every}", figures::latency(rtt)), style)
            }
        };
        Some(self.styled(2, "latency", text, style))
    }

    /// How its answers are distributed over the window.
    fn percentiles(&self) -> Vec<Fact> {
        let now = self.screen.now;
        let Some(answers) = self.row.answers() else { return Vec::new() };
        let Some(latency) = answers.histogram(now).latency() else { return Vec::new() };
        let (theme, figure) = (self.screen.theme, figures::latency);
        let mut text = format!(
            "p50 {}, p90 {}, p99 {}, max {}, jitter {}",
            figure(latency.p50),
            figure(latency.p90),
            figure(latency.p99),
            figure(latency.max),
            figure(answers.jitter())
        );
        let (answered, lost) = answers.loss(now);
        let style = if lost > 0 { theme.warning } else { theme.text };
        if lost > 0 {
            text = format!("{text}, {} of {} lost", figures::count(lost), figures::count(answered + lost));
        }
        self.wrapped(5, "answers", &text, style)
    }

    /// What the kernel says of the connection.
    fn tcp(&self) -> Vec<Fact> {
        let Some(link) = &self.row.link else { return Vec::new() };
        let tcp = &link.tcp;
        let grown = if link.grown > 0 { format!(" (+{})", figures::count(link.grown)) } else { String::new() };
        let text = format!(
            "{}, round trip {} ±{}, {} retransmits{grown}, {} in flight, data {} ago",
            tcp.state.name(),
            figures::latency(tcp.rtt),
            figures::latency(tcp.rtt_variation),
            figures::count(tcp.retransmits),
            figures::count(tcp.unacknowledged),
            figures::age(tcp.since_received.saturating_add(self.screen.now.since(link.at))),
        );
        let is_bad = link.is_stuck() || link.is_lossy();
        self.wrapped(3, "tcp", &text, if is_bad { self.screen.theme.slow } else { self.screen.theme.text })
    }

    fn subscriptions(&self) -> Option<Fact> {
        let asked = self.client.conversation.subscribe.len();
        if asked == 0 || !self.row.is_up() {
            return None;
        }
        let short = self.screen.model.shown().shortfalls(self.key).len();
        let text = match self.row.connection.subscribed {
            None => format!("{} asked for, not all answered", figures::count(asked)),
            Some(_) if short == 0 => format!("{} granted as asked", figures::count(asked)),
            Some(_) => format!("{} of {asked} granted as asked", figures::count(asked.saturating_sub(short))),
        };
        Some(self.fact(4, "subscribed", text))
    }

    /// The subscriptions that are less than what was asked for.
    fn shortfalls(&self, name: &'static str, style: Style) -> Vec<Fact> {
        let shortfalls = self.screen.model.shown().shortfalls(self.key);
        let mut facts = Vec::new();
        for shortfall in shortfalls.iter().take(Self::SHORTFALLS) {
            facts.extend(self.wrapped(1, name, &connection::shortfall(shortfall), style));
        }
        if shortfalls.len() > Self::SHORTFALLS {
            let more = format!("and {} more", shortfalls.len() - Self::SHORTFALLS);
            facts.push(self.styled(1, name, more, style));
        }
        // Only the first line is named.
        facts.iter_mut().skip(1).for_each(|fact| fact.name = "");
        facts
    }

    fn certificate(&self, name: &'static str, end: DateTime<Utc>, whose: &str) -> Fact {
        let theme = self.screen.theme;
        let expiry = Expiry::new(end, self.screen.wall());
        let when = format!("{expiry} ({})  ", end.format("%Y-%m-%d"));
        let whose = ellipsize(whose, self.columns.saturating_sub(width(&when)).into());
        let spans = vec![span(when, expiry_style(self.screen, expiry)), span(whose, theme.dim)];
        Fact { rank: if expiry.is_soon() { 1 } else { 4 }, name, spans }
    }

    fn fact(&self, rank: u8, name: &'static str, text: String) -> Fact {
        self.styled(rank, name, text, self.screen.theme.text)
    }

    fn styled(&self, rank: u8, name: &'static str, text: String, style: Style) -> Fact {
        Fact { rank, name, spans: vec![span(text, style)] }
    }

    /// A fact that may take three lines; what is longer is cut. Its first line is the last to go.
    fn wrapped(&self, rank: u8, name: &'static str, text: &str, style: Style) -> Vec<Fact> {
        let mut lines = wrap(text, self.columns);
        if lines.len() > 3 {
            let rest = lines.split_off(2).join(" ");
            lines.push(rest);
        }
        let line = |(n, text)| match n {
            0 => self.styled(rank, name, text, style),
            _ => self.styled(rank + 1, "", text, style),
        };
        lines.into_iter().enumerate().map(line).collect()
    }
}
