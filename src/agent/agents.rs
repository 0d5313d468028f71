//! Defines the agents that a console is attached to, as one fleet: their news and roles, who of them is asked to do what, and that one that was lost is attached to again; what is shown of that is the console's matter.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::future::select_all;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    client::{self, Attached, Commands, End},
    connection::READ_ONLY,
    merger::Merger,
    protocol::Purpose,
    socket::AgentError,
    target::Target,
};
use crate::{
    bus::Subscription,
    clock::{Anchor, Moment},
    command::Command,
    event::{Event, Level, What},
    fleet::{Fleet, Places},
    model::Known,
    text::Scrubbed,
    wire::WireError,
};

/// Agents with their fleets as one. Of each that is lost nothing is known until it is back, and it is looked for.
pub struct Agents {
    agents: Vec<Agent>,
    merger: Merger,
    purpose: Purpose,
    /// How much the common clock is ahead of this host's, in microseconds: that of the host that is up longest, so that
    /// no time of another host is before its begin.
    ahead: i64,
    begin: Anchor,
    news: VecDeque<News>,
    /// Who is listened to first.
    turn: usize,
    end: Option<Farewell>,
}

struct Agent {
    /// By its name, so that no other one is taken for it later.
    target: Target,
    name: Scrubbed,
    /// What its fleet is called.
    fleet: Scrubbed,
    /// When the last event happened that came from it.
    heard: Moment,
    link: Link,
}

enum Link {
    Here { events: Subscription, commands: Commands },
    Gone(Away),
}

/// One that is gone, and looked for.
struct Away {
    why: Scrubbed,
    /// Whether it ended because somebody wanted it to.
    is_over: bool,
    tries: u32,
    next: Instant,
    trying: JoinHandle<Result<Attached, AgentError>>,
}

impl Drop for Away {
    fn drop(&mut self) {
        self.trying.abort();
    }
}

/// What came from agents, with the keys and the clock of the fleet of all.
pub enum News {
    Events(Vec<Event>),
    /// An agent is there, for the first time or again.
    Here(Box<Here>),
    /// An agent is gone; these were its places.
    Gone(Places, Moment),
}

/// An agent that is there, with what it knows of its part.
pub struct Here {
    /// Of all agents.
    pub fleet: Arc<Fleet>,
    /// By the agent's own keys, and its own clock.
    pub known: Known,
    pub places: Places,
    /// Since when nothing was heard of it, where it was there before.
    pub gone: Option<Moment>,
    pub at: Moment,
}

/// An agent that is gone, for who looks on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    pub name: Scrubbed,
    /// When the last was heard of it.
    pub since: Moment,
    pub why: Scrubbed,
    /// In how long it is tried again; zero while that is under way.
    pub again: Duration,
}

/// What an agent was not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDone {
    pub why: String,
    /// Whether it is for want of the role.
    pub is_others: bool,
}

/// Why agents have nothing more to say, and will not.
pub enum Farewell {
    /// All of them ended, because somebody wanted it: their names, and why.
    Over(Vec<(Scrubbed, Scrubbed)>),
    /// The only one speaks another protocol by now: whoever has no terminal to lose attaches anew.
    Changed,
}

enum Told {
    Events(Vec<Event>),
    Ended,
    Tried(Result<Box<Attached>, AgentError>),
}

/// The time before the first try to attach again; it doubles with each, up to the longest.
const SOON: Duration = Duration::from_millis(500);
const LATE: Duration = Duration::from_secs(15);

impl Agents {
    /// Attaches to some agents, at least one, in this order.
    ///
    /// # Errors
    /// Where one of them is not there, or cannot be one of these.
    pub async fn attach(targets: Vec<Target>, purpose: Purpose) -> Result<Agents, AgentError> {
        let (mut all, mut errors) = (Vec::new(), Vec::new());
        // One after the other: ssh may ask for a password.
        for target in targets {
            match client::attach(&target, purpose).await {
                Ok(attached) => all.push((target, attached)),
                Err(error) => errors.push(error),
            }
        }
        match errors.len() {
            0 => {}
            1 => return Err(errors.remove(0)),
            _ => return Err(AgentError::Each { texts: errors.iter().map(AgentError::to_string).collect() }),
        }
        Agents::of(all, purpose)
    }

    fn of(all: Vec<(Target, Attached)>, purpose: Purpose) -> Result<Agents, AgentError> {
        let id = |attached: &Attached| (attached.fleet.name.clone(), attached.begin.moment());
        for (n, (_, attached)) in all.iter().enumerate() {
            if all[..n].iter().any(|(_, other)| id(other) == id(attached)) {
                return Err(AgentError::Twice { name: attached.fleet.name.to_string() });
            }
        }
        let ahead = all.iter().map(|(_, attached)| attached.ahead).max().unwrap_or_default();
        let names = names(all.iter().map(|(target, attached)| (target, &attached.fleet.name)));
        let is_one = all.len() == 1;
        let mut agents = Agents {
            agents: Vec::new(),
            merger: Merger::new(names.iter().map(|name| (!is_one).then(|| name.clone()))),
            purpose,
            ahead,
            begin: all.first().map_or_else(Anchor::now, |(_, first)| first.begin.moved(ahead - first.ahead)),
            news: VecDeque::new(),
            turn: 0,
            end: None,
        };
        for ((target, attached), name) in all.into_iter().zip(names) {
            let (number, heard, fleet) = (agents.agents.len(), agents.now(), attached.fleet.name.clone());
            let target = target.named(&fleet);
            let (here, link) = agents.place(number, attached, None)?;
            agents.agents.push(Agent { target, name, fleet, heard, link });
            agents.news.push_back(here);
        }
        for news in &mut agents.news {
            if let News::Here(here) = news {
                here.fleet = agents.merger.fleet().clone();
            }
        }
        Ok(agents)
    }

    /// When the run of the first one began.
    pub fn begin(&self) -> Anchor {
        self.begin
    }

    /// The fleet of all of them.
    pub fn fleet(&self) -> &Arc<Fleet> {
        self.merger.fleet()
    }

    /// What time it is for all of them.
    pub fn now(&self) -> Moment {
        Moment::now().moved(self.ahead)
    }

    /// What is there without waiting for it; at first, what all of them know.
    pub fn waiting(&mut self) -> impl Iterator<Item = News> + '_ {
        self.news.drain(..)
    }

    /// Waits for what comes next; `None` where nothing will, and [`Agents::farewell`] says why. Cancelling it loses
    /// nothing.
    pub async fn next(&mut self) -> Option<News> {
        loop {
            if let Some(news) = self.news.pop_front() {
                return Some(news);
            }
            if self.end.is_some() {
                return None;
            }
            let (agent, told) = self.hear().await;
            match told {
                Told::Events(events) => self.take_in(agent, events),
                Told::Ended => self.lose(agent, None),
                Told::Tried(Ok(attached)) => self.welcome(agent, *attached),
                Told::Tried(Err(error)) => self.try_again(agent, &error),
            }
        }
    }

    pub fn farewell(&mut self) -> Option<Farewell> {
        self.end.take()
    }

    async fn hear(&mut self) -> (usize, Told) {
        type Heard<'a> = Pin<Box<dyn Future<Output = (usize, Told)> + Send + 'a>>;
        let first = self.turn;
        let heard = self.agents.iter_mut().enumerate();
        let mut heard: Vec<Heard> =
            heard.map(|(n, agent)| Box::pin(async move { (n, agent.hear().await) }) as Heard).collect();
        let all = heard.len();
        // In turn: one in a storm is not to be the only one that is heard.
        heard.rotate_left(first % all);
        let ((agent, told), ..) = select_all(heard).await;
        self.turn = agent + 1;
        (agent, told)
    }

    fn take_in(&mut self, agent: usize, events: Vec<Event>) {
        let is_clock = self.agents.iter().position(Agent::is_here) == Some(agent);
        let mut told = Vec::with_capacity(events.len());
        for event in events {
            let at = event.at.moved(self.merger.places(agent).later);
            self.agents[agent].heard = self.agents[agent].heard.max(at);
            match &event.what {
                What::Fleet(fleet) => match self.merger.take_in(agent, fleet.clone()) {
                    Ok(()) => {
                        told.push(Event { at, what: What::Fleet(self.merger.fleet().clone()) });
                    }
                    Err(error) => {
                        self.news.push_back(News::Events(told));
                        return self.lose(agent, Some(&error.to_string()));
                    }
                },
                // One of them tells the time.
                What::Second(_) if !is_clock => {}
                _ => told.extend(self.merger.event(agent, event)),
            }
        }
        self.news.push_back(News::Events(told));
    }

    /// Gives an agent its part. What it knows is the news of it.
    fn place(&mut self, agent: usize, attached: Attached, gone: Option<Moment>) -> Result<(News, Link), AgentError> {
        let Attached { fleet, known, events, commands, begin: _, ahead } = attached;
        self.merger.set_clock(agent, self.ahead - ahead);
        self.merger.take_in(agent, fleet)?;
        let (fleet, places) = (self.merger.fleet().clone(), self.merger.places(agent).clone());
        Ok((News::Here(Box::new(Here { fleet, known, places, gone, at: self.now() })), Link::Here { events, commands }))
    }

    fn lose(&mut self, agent: usize, why: Option<&str>) {
        let end = match &self.agents[agent].link {
            Link::Here { commands, .. } => commands.ended.borrow().clone(),
            Link::Gone(_) => None,
        };
        let (why, is_over) = match (why, end) {
            (Some(why), _) => (Scrubbed::new(why), false),
            (None, Some(End::Over(why))) => (why, true),
            (None, Some(End::Lost(why))) => (why, false),
            (None, None) => (Scrubbed::new("the connection was closed"), false),
        };
        let words = if is_over { "the agent ended" } else { "the agent is gone, or the way to it" };
        self.tell(agent, Level::Error, &format!("{words}: {why}"));
        let away = self.away(agent, why, is_over, 0);
        self.agents[agent].link = Link::Gone(away);
        let over = |agent: &Agent| match &agent.link {
            Link::Gone(Away { is_over: true, why, .. }) => Some((agent.name.clone(), why.clone())),
            _ => None,
        };
        self.end = self.agents.iter().map(over).collect::<Option<Vec<_>>>().map(Farewell::Over);
        self.news.push_back(News::Gone(self.merger.places(agent).clone(), self.now()));
    }

    fn away(&self, agent: usize, why: Scrubbed, is_over: bool, tries: u32) -> Away {
        let wait = SOON.saturating_mul(1 << tries.min(16)).min(LATE);
        let (target, purpose) = (self.agents[agent].target.clone(), self.purpose);
        let trying = tokio::spawn(async move {
            sleep(wait).await;
            client::attach_again(&target, purpose).await
        });
        Away { why, is_over, tries, next: Instant::now() + wait, trying }
    }

    fn try_again(&mut self, agent: usize, error: &AgentError) {
        if let (AgentError::Protocol { .. }, [_]) = (error, self.agents.as_slice()) {
            self.end = Some(Farewell::Changed);
        }
        let Link::Gone(Away { why, is_over, tries, .. }) = &self.agents[agent].link else { return };
        // What was wrong at first says more than that nobody answers since.
        let why = match error {
            AgentError::NoAnswer { .. } | AgentError::Wire(_) | AgentError::NoAgent { .. } | AgentError::Silent(_) => {
                why.clone()
            }
            error => Scrubbed::new(&error.to_string()),
        };
        let away = self.away(agent, why, *is_over, tries.saturating_add(1));
        self.agents[agent].link = Link::Gone(away);
    }

    /// An agent is back.
    fn welcome(&mut self, agent: usize, attached: Attached) {
        if attached.fleet.name != self.agents[agent].fleet {
            let error = AgentError::Another { name: attached.fleet.name.to_string() };
            return self.try_again(agent, &error);
        }
        let heard = self.agents[agent].heard;
        // Of the last moment that is known all is known.
        match self.place(agent, attached, Some(heard + Duration::from_micros(1))) {
            Ok((here, link)) => {
                self.agents[agent].link = link;
                self.news.push_back(here);
                let after = humantime::format_duration(Duration::from_secs(self.now().since(heard).as_secs()));
                self.tell(agent, Level::Info, &format!("the agent is back after {after}"));
                self.agents[agent].heard = self.now();
            }
            Err(error) => self.try_again(agent, &error),
        }
    }

    /// Says something about an agent in the log of all.
    fn tell(&mut self, agent: usize, level: Level, text: &str) {
        let text = Scrubbed::new(&self.merger.places(agent).told(text));
        self.news.push_back(News::Events(vec![Event { at: self.now(), what: What::Notice { level, text } }]));
    }

    /// Why no agent does what this console wants, whatever that is; nothing where one does.
    pub fn refusal(&self) -> Vec<NotDone> {
        if self.purpose != Purpose::Console {
            return vec![NotDone { why: READ_ONLY.to_owned(), is_others: false }];
        }
        let mut refusal = Vec::new();
        for (number, agent) in self.agents.iter().enumerate() {
            let told = |why: &str| self.merger.places(number).told(why);
            match &agent.link {
                Link::Gone(_) => refusal.push(NotDone { why: told("the agent is gone"), is_others: false }),
                Link::Here { commands, .. } => {
                    let role = commands.role.borrow();
                    if role.is_own {
                        return Vec::new();
                    }
                    refusal.push(NotDone { why: told(&role.words()), is_others: true });
                }
            }
        }
        refusal
    }

    /// Has the agents do it that it is for. Says what was not done, and why.
    pub async fn give(&self, command: Command) -> Vec<NotDone> {
        let mut not_done = Vec::new();
        for (number, command) in self.merger.split(command) {
            let told = |why: &str| self.merger.places(number).told(why);
            match &self.agents[number].link {
                Link::Gone(_) => not_done.push(NotDone { why: told("the agent is gone"), is_others: false }),
                Link::Here { commands, .. } => {
                    let role = commands.role.borrow().clone();
                    match role.is_own {
                        true => commands.give(command).await,
                        // The agent would refuse it.
                        false => not_done.push(NotDone { why: told(&role.words()), is_others: true }),
                    }
                }
            }
        }
        not_done
    }

    /// Wants to command all of them.
    pub async fn take_over(&self) {
        for agent in &self.agents {
            if let Link::Here { commands, .. } = &agent.link
                && !commands.role.borrow().is_own
            {
                commands.take_over().await;
            }
        }
    }

    /// Who commands where this console does not: once where that is the same of all, else by agent.
    pub fn others(&self) -> Vec<String> {
        let role = |(number, agent): (usize, &Agent)| match &agent.link {
            Link::Here { commands, .. } => Some((number, commands.role.borrow().clone())),
            Link::Gone(_) => None,
        };
        let roles: Vec<_> = self.agents.iter().enumerate().filter_map(role).collect();
        let others: Vec<_> = roles.iter().filter(|(_, role)| !role.is_own).collect();
        match others.as_slice() {
            [(_, first), rest @ ..]
                if others.len() == roles.len() && rest.iter().all(|(_, role)| role.words() == first.words()) =>
            {
                vec![first.words()]
            }
            others => others.iter().map(|(number, role)| self.merger.places(*number).told(&role.words())).collect(),
        }
    }

    /// How to attach to them again, as it is typed.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.agents.iter().map(|agent| &agent.target)
    }

    /// Who of them is gone.
    pub fn gone(&self) -> Vec<Gone> {
        let gone = |agent: &Agent| match &agent.link {
            Link::Here { .. } => None,
            Link::Gone(away) => Some(Gone {
                name: agent.name.clone(),
                since: agent.heard,
                why: away.why.clone(),
                again: away.next.saturating_duration_since(Instant::now()),
            }),
        };
        self.agents.iter().filter_map(gone).collect()
    }
}

impl Agent {
    fn is_here(&self) -> bool {
        matches!(self.link, Link::Here { .. })
    }

    /// Waits for what comes of it next. Cancelling it loses nothing.
    async fn hear(&mut self) -> Told {
        match &mut self.link {
            Link::Here { events, .. } => events.next().await.map_or(Told::Ended, Told::Events),
            Link::Gone(away) => {
                let closed = || AgentError::Wire(WireError::Closed);
                Told::Tried((&mut away.trying).await.unwrap_or_else(|_| Err(closed())).map(Box::new))
            }
        }
    }
}

/// What the agents are called: by their fleets, and by where they are as well where that is the same; else by a number, too.
fn names<'a>(agents: impl Iterator<Item = (&'a Target, &'a Scrubbed)> + Clone) -> Vec<Scrubbed> {
    let count = |names: &mut dyn Iterator<Item = String>| {
        let mut counts: HashMap<String, u32> = HashMap::new();
        names.for_each(|name| *counts.entry(name).or_default() += 1);
        counts
    };
    let place = |target: &Target| match target {
        Target::Ssh { host, .. } => host.clone(),
        Target::Path(path) => path.display().to_string(),
        Target::Name(_) | Target::Only => "here".to_owned(),
        Target::Stored(stored) => stored.fleet.clone(),
    };
    let by_fleet = count(&mut agents.clone().map(|(_, name)| name.to_string()));
    let full = |(target, name): (&Target, &Scrubbed)| match by_fleet.get(name.as_str()) {
        Some(2..) => format!("{name}@{}", place(target)),
        _ => name.to_string(),
    };
    let by_place = count(&mut agents.clone().map(full));
    let numbered = |(number, name): (usize, String)| match by_place.get(&name) {
        Some(2..) => Scrubbed::new(&format!("{name}#{}", number + 1)),
        _ => Scrubbed::new(&name),
    };
    agents.map(full).enumerate().map(numbered).collect()
}
