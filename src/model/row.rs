//! Defines what is known of one client, and what makes one that is up slow; all clients together are the matter of `known`.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    event::{Badge, Late, Reason, Sample, State, Tcp},
    fleet::{Client, ClientKey, EndpointKey, Places, ProbeKind, Settings},
    model::{
        answers::Answers,
        connection::Connection,
        link::Link,
        record::Record,
        trend::{Bucket, Trend},
    },
    text::Scrubbed,
};

/// One client as it is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// Messages that it published, its probes and what the broker refused left out.
    pub published: u64,
    /// Messages that the broker refused.
    pub refused: u64,
    /// By what it is measured, where that is not as configured.
    pub measured: Option<ProbeKind>,
    /// Why it is slow although it is up, where it is.
    pub slow: Option<Slow>,
    /// Since when it is slow, where it is.
    pub slow_since: Moment,
    /// Since when a probe has been without an answer that should have one, where the worker said so.
    /// Where that probe was given up and others after it, it is still the first of them that counts.
    pub late: Option<Moment>,
    /// The late probe that is under way: the first one, or the last that was sent in its place.
    pub(super) awaited: Option<Late>,
    /// What the kernel says of its connection, where it does.
    pub link: Option<Box<Link>>,
    pub connection: Connection,
    /// Its record over the run.
    pub record: Record,
    pub(super) ever_up: bool,
    pub(super) trend: Trend,
    /// Shared with a frozen view until the next answer.
    pub(super) answers: Option<Arc<Answers>>,
    objective: Objective,
    /// Whether nothing is known of it, because its agent is gone.
    #[serde(skip)]
    pub is_unknown: bool,
}

/// Whether a client's answers violate its objective, with hysteresis: near the limit a row must not
/// change its badge with every answer.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Objective {
    is_violated: bool,
    /// When an answer last took longer than the objective allows.
    over_at: Moment,
}

/// Why a client that is up is not well, the gravest first: a row says the first that is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Slow {
    /// Its probe has no answer.
    Late,
    /// The broker has not answered its subscriptions.
    Unsubscribed,
    /// A subscription or a message was refused, or granted with a lower QoS.
    Short,
    /// What it sent is not acknowledged, and nothing comes.
    Stuck,
    /// Its p99 is above its objective, or was and is not yet well below it.
    Objective,
    /// The kernel sends segments again and again.
    Lossy,
}

impl Slow {
    pub const ALL: [Slow; 6] = [Slow::Late, Slow::Unsubscribed, Slow::Short, Slow::Stuck, Slow::Objective, Slow::Lossy];

    /// The reason in a few words, as a filter finds it.
    pub fn words(self) -> &'static str {
        match self {
            Slow::Late => "no answer",
            Slow::Unsubscribed => "subscription not answered",
            Slow::Short => "subscription less than asked for",
            Slow::Stuck => "data not acknowledged",
            Slow::Objective => "p99 over objective",
            Slow::Lossy => "retransmits",
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
    /// A client that was slow by its objective no longer is where its p99 is below this share of it.
    const WELL_BELOW: f64 = 0.8;

    /// Whether it can be counted with; what comes from elsewhere may be nonsense.
    pub(super) fn fits(&self) -> bool {
        self.trend.fits() && self.record.fits() && self.answers().is_none_or(Answers::fits)
    }

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
            refused: 0,
            measured: None,
            slow: None,
            slow_since: now,
            late: None,
            awaited: None,
            link: None,
            connection: Connection::default(),
            record: Record::new(now),
            ever_up: false,
            trend: Trend::new(now, interval(&client.settings)),
            answers: None,
            objective: Objective::default(),
            is_unknown: false,
        }
    }

    /// A client whose agent is gone; `detail` says what it was.
    pub(super) fn unknown(client: &Client, endpoint: EndpointKey, detail: Scrubbed, now: Moment) -> Row {
        Row { is_unknown: true, endpoint, detail, ..Row::new(client, now) }
    }

    /// It in the fleet of several agents, as this client there.
    pub(super) fn moved(mut self, client: ClientKey, places: &Places) -> Row {
        let later = places.later;
        self.endpoint = places.endpoint(self.endpoint);
        self.since = self.since.moved(later);
        self.next_try = self.next_try.map(|at| at.moved(later));
        self.last = self.last.map(|(at, rtt)| (at.moved(later), rtt));
        self.slow_since = self.slow_since.moved(later);
        self.late = self.late.map(|at| at.moved(later));
        self.awaited = self.awaited.map(|late| Late { client, since: late.since.moved(later), ..late });
        if let Some(link) = &mut self.link {
            link.at = link.at.moved(later);
        }
        if later != 0 {
            self.record.move_by(later);
            self.trend.move_by(later);
            if let Some(answers) = &mut self.answers {
                Arc::make_mut(answers).move_by(later);
            }
            self.objective.over_at = self.objective.over_at.moved(later);
        }
        self
    }

    /// Whether anything was heard of it.
    pub(super) fn is_touched(&self) -> bool {
        self.state != State::Off || self.reason != Reason::NotStarted || self.received.max(self.published) > 0
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

    /// Whether it should be up and is not, whichever step of its way back it is at.
    pub fn is_down(&self) -> bool {
        self.record.outage().is_some()
    }

    pub fn badge(&self) -> Badge {
        match self.slow {
            _ if self.is_unknown => Badge::Unknown,
            Some(Slow::Late) if self.is_up() => Badge::Mute,
            Some(_) if self.is_up() => Badge::Slow,
            _ => Badge::of(self.state, self.reason),
        }
    }

    /// The newest `count` buckets of the latency trend, oldest first.
    pub fn trend(&self, now: Moment, count: usize) -> impl Iterator<Item = Bucket> + '_ {
        self.trend.buckets(now, self.is_up(), count)
    }

    /// The answers of the latency trend, oldest first: the slowest of each bucket, and when it began.
    pub fn trend_answers(&self) -> impl Iterator<Item = (Moment, Duration)> + '_ {
        self.trend.answers()
    }

    pub fn trend_width(&self) -> Duration {
        self.trend.width()
    }

    /// Its answers over a rolling window, where there were any.
    pub fn answers(&self) -> Option<&Answers> {
        self.answers.as_deref()
    }

    /// The 99th percentile of its answers over that window.
    pub fn p99(&self, now: Moment) -> Option<Duration> {
        self.answers.as_ref()?.quantile(now, 0.99)
    }

    /// How long its probe has had no answer that should have one by now: so long its user waits at least.
    pub fn wait(&self, now: Moment) -> Option<Duration> {
        let silence = || self.silence(now).saturating_sub(self.trend_width());
        let wait = || self.late.map_or_else(silence, |since| now.since(since));
        (self.is_up() && (self.late.is_some() || self.is_silent())).then(wait)
    }

    /// How long a client that is up has answered nothing.
    pub fn silence(&self, now: Moment) -> Duration {
        now.since(self.last.map_or(self.since, |(at, _)| at))
    }

    /// Notes an answer of a client that is up, and says how far apart its probes are.
    pub(super) fn answer(&mut self, client: &Client, at: Moment, rtt: Duration) -> Duration {
        let interval = self.interval(&client.settings);
        self.trend.advance(at, true);
        self.trend.record(rtt);
        let answers = self.answers.get_or_insert_with(|| Arc::new(Answers::new(at, interval)));
        Arc::make_mut(answers).record(at, rtt, interval);
        self.last = Some((at, rtt));
        if let Some(limit) = client.settings.slow_p99 {
            self.weigh(limit, at, rtt);
        }
        interval
    }

    /// Ends what is known to be late: with an answer, or with the connection. Says whether a probe is lost.
    ///
    /// An answer to an earlier probe ends nothing. One to a later probe does, since the broker is there
    /// again; that the probe before is lost is certain only where they are of one kind: a ping may
    /// overtake a message.
    pub(super) fn settle(&mut self, now: Moment, answer: Option<&Sample>) -> bool {
        if let (Some(since), Some(answer)) = (self.late, answer)
            && !answer.ends(now, since)
        {
            return false;
        }
        self.late = None;
        let is_lost = match (self.awaited.take(), answer) {
            (Some(late), Some(answer)) => answer.probe == late.probe && answer.sent(now) > late.since + Late::SAME,
            (Some(_), None) => true,
            (None, answer) => answer.is_none() && self.is_silent(),
        };
        if is_lost {
            self.lose(now);
        }
        is_lost
    }

    /// Notes that a probe is late, unless that is old news: of a connection that is gone, or of a
    /// probe that was answered meanwhile. Says whether another probe is lost by that.
    pub(super) fn lag(&mut self, at: Moment, late: &Late) -> bool {
        let is_answered = self.last.is_some_and(|(at, rtt)| at - rtt >= late.since);
        let is_told = self.awaited.is_some_and(|awaited| late.since <= awaited.since + Late::SAME);
        if !self.is_up() || late.since < self.since || is_answered || is_told {
            return false;
        }
        self.late.get_or_insert(late.since);
        let is_lost = self.awaited.replace(*late).is_some();
        if is_lost {
            self.lose(at);
        }
        is_lost
    }

    fn lose(&mut self, now: Moment) {
        if let Some(answers) = &mut self.answers {
            Arc::make_mut(answers).lose(now);
        }
    }

    /// Notes what the kernel says of the connection of a client that is up.
    pub(super) fn read(&mut self, at: Moment, tcp: Tcp) {
        match &mut self.link {
            Some(link) => link.update(at, tcp),
            None => self.link = Some(Box::new(Link::new(at, tcp))),
        }
    }

    /// Forgets what is true of one connection only.
    pub(super) fn disconnect(&mut self) {
        self.slow = None;
        self.link = None;
        self.objective.is_violated = false;
        if let Some(answers) = &mut self.answers {
            Arc::make_mut(answers).reconnect();
        }
    }

    /// When an answer last took longer than its objective allows, where it violates that.
    pub(super) fn violated(&self) -> Option<Moment> {
        self.objective.is_violated.then_some(self.objective.over_at)
    }

    pub(super) fn violate(&mut self, over_at: Option<Moment>) {
        self.objective = Objective { is_violated: over_at.is_some(), over_at: over_at.unwrap_or_default() };
    }

    /// An objective is violated by an answer that is over it, where the p99 of the window is, too. It
    /// is met again where the p99 is well below, or where no answer of a trend's length was over it.
    fn weigh(&mut self, limit: Duration, at: Moment, rtt: Duration) {
        let is_over = rtt > limit;
        if is_over {
            self.objective.over_at = at;
        }
        if is_over || self.objective.is_violated {
            let p99 = self.p99(at).unwrap_or_default();
            let is_clean = at.since(self.objective.over_at) >= self.trend.width() * Trend::LEN as u32;
            self.objective.is_violated = match self.objective.is_violated {
                false => p99 > limit,
                true => !is_clean && p99 >= limit.mul_f64(Self::WELL_BELOW),
            };
        }
    }

    /// By what it is measured.
    pub fn probe(&self, settings: &Settings) -> ProbeKind {
        self.measured.unwrap_or(settings.probe.kind)
    }

    /// It is measured by something else from now on.
    pub(super) fn measure(&mut self, by: ProbeKind, settings: &Settings, now: Moment) {
        self.measured = (by != settings.probe.kind).then_some(by);
        self.trend = Trend::new(now, self.interval(settings));
    }

    /// The time between two probes, as far as it is known; of a heartbeat it is the least.
    pub(super) fn interval(&self, settings: &Settings) -> Duration {
        match self.probe(settings) {
            // The broker may have set another keep alive than the one asked for.
            ProbeKind::Heartbeat => settings.probe.every.max(self.connection.keep_alive(settings.keep_alive)),
            ProbeKind::Ack | ProbeKind::Echo | ProbeKind::Off => settings.probe.every,
        }
    }

    /// What time alone has made of it, for [`Row::judge`] to be called where it is news.
    pub(super) fn overdue(&self, client: &Client, now: Moment) -> Option<Slow> {
        let is_asking = !client.conversation.subscribe.is_empty() && self.connection.subscribed.is_none();
        if !self.is_up() {
            None
        } else if self.late.is_some() || self.is_too_silent(client, now) {
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
        let link = self.link.as_deref();
        self.overdue(client, now).or_else(|| {
            if !self.is_up() {
                None
            } else if self.connection.is_short {
                Some(Slow::Short)
            } else if link.is_some_and(Link::is_stuck) {
                Some(Slow::Stuck)
            } else if self.objective.is_violated {
                Some(Slow::Objective)
            } else {
                link.is_some_and(Link::is_lossy).then_some(Slow::Lossy)
            }
        })
    }

    /// Whether it should have answered by now, whatever its worker says.
    fn is_too_silent(&self, client: &Client, now: Moment) -> bool {
        self.patience(&client.settings).is_some_and(|patience| self.silence(now) > patience)
    }

    /// How long its probe may be without an answer; `None` where none is sent.
    fn patience(&self, settings: &Settings) -> Option<Duration> {
        let width = match self.probe(settings) {
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

/// The time between two probes of a client.
pub(super) fn interval(settings: &Settings) -> Duration {
    match settings.probe.kind {
        ProbeKind::Heartbeat => settings.probe.every.max(settings.keep_alive),
        ProbeKind::Ack | ProbeKind::Echo | ProbeKind::Off => settings.probe.every,
    }
}
