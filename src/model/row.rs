//! Defines what is known of one client, and what makes one that is up slow; all clients together are the matter of `known`.

use std::time::Duration;

use crate::{
    clock::Moment,
    event::{Reason, State},
    fleet::{Client, EndpointKey, ProbeKind, Settings},
    model::{
        connection::Connection,
        trend::{Bucket, Trend},
    },
    text::Scrubbed,
};

/// One client as it is known.
#[derive(Clone, Debug)]
pub struct Row {
    pub state: State,
    /// Since when it is up, down, given up or off. A client that tries again is down all the while,
    /// whichever step of its try it is at.
    pub since: Moment,
    pub endpoint: EndpointKey,
    pub reason: Reason,
    pub detail: Scrubbed,
    pub attempt: u32,
    pub next_try: Option<Moment>,
    /// How often it came up again after the first time.
    pub reconnects: u32,
    /// The last answer: when, and how long it took.
    pub last: Option<(Moment, Duration)>,
    /// Messages that came.
    pub received: u64,
    /// Messages that it published, its probes left out.
    pub published: u64,
    /// Why it is slow although it is up, where it is.
    pub slow: Option<Slow>,
    pub connection: Connection,
    pub(super) ever_up: bool,
    pub(super) trend: Trend,
}

/// Why a client that is up is not well, the gravest first: a row says the first that is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slow {
    /// Its probe has no answer.
    Late,
    /// The broker has not answered its subscriptions.
    Unsubscribed,
    /// A subscription was refused, or granted with a lower QoS.
    Short,
    /// Its p99 is above its objective.
    Objective,
}

impl Slow {
    /// The reason in a few words, as a filter finds it.
    pub fn words(self) -> &'static str {
        match self {
            Slow::Late => "no answer",
            Slow::Unsubscribed => "subscription not answered",
            Slow::Short => "subscription less than asked for",
            Slow::Objective => "p99 over objective",
        }
    }

    /// Whether nothing but time makes it so.
    fn is_by_time(self) -> bool {
        self <= Slow::Unsubscribed
    }
}

impl Row {
    /// How long subscriptions may be without an answer.
    const SUBSCRIBE: Duration = Duration::from_secs(10);

    /// A client of which nothing was heard yet.
    pub(super) fn new(client: &Client, now: Moment) -> Row {
        Row {
            state: State::Off,
            since: now,
            endpoint: client.endpoint(),
            reason: Reason::NotStarted,
            detail: Scrubbed::default(),
            attempt: 0,
            next_try: None,
            reconnects: 0,
            last: None,
            received: 0,
            published: 0,
            slow: None,
            connection: Connection::default(),
            ever_up: false,
            trend: Trend::new(now, trend_width(&client.settings)),
        }
    }

    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Up, but not well; [`Row::slow`] says why.
    pub fn is_slow(&self) -> bool {
        self.slow.is_some()
    }

    /// Whether it is up and its probe has no answer, as of the last [`super::Known::look`].
    pub fn is_silent(&self) -> bool {
        self.slow == Some(Slow::Late)
    }

    /// Given up because the broker refused it.
    pub fn is_rejected(&self) -> bool {
        self.state == State::Failed && self.reason.is_brokers()
    }

    /// The newest `count` buckets of the latency trend, oldest first.
    pub fn trend(&self, now: Moment, count: usize) -> impl Iterator<Item = Bucket> + '_ {
        self.trend.buckets(now, self.is_up(), count)
    }

    pub fn trend_width(&self) -> Duration {
        self.trend.width()
    }

    pub fn p99(&self) -> Option<Duration> {
        self.trend.p99()
    }

    /// How long a client that is up has answered nothing.
    pub fn silence(&self, now: Moment) -> Duration {
        now.since(self.last.map_or(self.since, |(at, _)| at))
    }

    /// What time alone has made of it, for [`Row::judge`] to be called where it is news.
    pub(super) fn overdue(&self, client: &Client, now: Moment) -> Option<Slow> {
        let is_asking = !client.conversation.subscribe.is_empty() && self.connection.subscribed.is_none();
        if !self.is_up() {
            None
        } else if self.patience(&client.settings).is_some_and(|patience| self.silence(now) > patience) {
            Some(Slow::Late)
        } else if is_asking && now.since(self.since) > Self::SUBSCRIBE {
            Some(Slow::Unsubscribed)
        } else {
            None
        }
    }

    /// Whether time alone has changed why it is slow, or that it is.
    pub(super) fn is_aged(&self, overdue: Option<Slow>) -> bool {
        overdue != self.slow.filter(|slow| slow.is_by_time())
    }

    /// Decides whether it is slow, and why.
    pub(super) fn judge(&self, client: &Client, now: Moment) -> Option<Slow> {
        let objective = client.settings.slow_p99;
        self.overdue(client, now).or_else(|| {
            if !self.is_up() {
                None
            } else if self.connection.is_short {
                Some(Slow::Short)
            } else {
                let is_over = objective.is_some_and(|limit| self.p99().is_some_and(|p99| p99 > limit));
                is_over.then_some(Slow::Objective)
            }
        })
    }

    /// How long its probe may be without an answer; `None` where none is sent.
    fn patience(&self, settings: &Settings) -> Option<Duration> {
        let width = match settings.probe.kind {
            ProbeKind::Off => return None,
            ProbeKind::Ack | ProbeKind::Echo => self.trend.width(),
            // The broker may have set another keep alive than the one asked for, or none.
            ProbeKind::Heartbeat => match self.connection.keep_alive(settings.keep_alive) {
                Duration::ZERO => return None,
                keep_alive => self.trend.width().max(keep_alive),
            },
        };
        Some((width * 5 / 2).max(Duration::from_secs(2)))
    }

    /// What of a client's life its state belongs to.
    pub(super) fn phase(state: State) -> u8 {
        match state {
            State::Up => 0,
            State::Held | State::Queued | State::Connecting | State::Backoff => 1,
            State::Failed => 2,
            State::Off => 3,
        }
    }
}

/// One bucket holds about one probe.
fn trend_width(settings: &Settings) -> Duration {
    match settings.probe.kind {
        ProbeKind::Heartbeat => settings.probe.every.max(settings.keep_alive),
        ProbeKind::Ack | ProbeKind::Echo | ProbeKind::Off => settings.probe.every,
    }
}
