//! Defines the running network of a demo, the broker and the four sites, and plays the scenario on it; what the troubles are is in `scenario`.

use std::{array, path::PathBuf, time::Duration};

use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    DemoError, Options,
    part::{self, Exposed, News, Part, ToPart},
    scenario::{Act, QUIET, Step, Trouble},
    sites::{Credentials, Site, shares},
};
use crate::{
    clock::Moment,
    event::{Event, Level, What},
    text::Scrubbed,
};

/// The broker and the sites of a demo. Dropping it kills their processes.
pub struct Network {
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Network {
    /// Lets the processes leave, kills those that do not, and waits until all are gone.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

#[derive(Clone, Copy)]
enum Tag {
    /// The broker, with its number: news of one that was replaced is no news.
    Broker(u32),
    Site(Site),
}

/// Everything that runs, and all it takes to start a part of it again.
pub(super) struct Parts {
    program: PathBuf,
    options: Options,
    credentials: Credentials,
    shares: [u32; 4],
    broker: Option<Part>,
    brokers: u32,
    sites: [Option<Part>; 4],
    ports: [u16; 4],
    /// The broker is to be started then.
    revive: Option<Instant>,
    news: mpsc::Receiver<(Tag, News)>,
    sender: mpsc::Sender<(Tag, News)>,
    events: mpsc::Sender<Event>,
    said: Scrubbed,
}

impl Parts {
    /// Starts all parts, side by side.
    pub(super) async fn start(
        program: PathBuf,
        options: Options,
        credentials: Credentials,
        events: mpsc::Sender<Event>,
    ) -> Result<Parts, DemoError> {
        let (sender, news) = mpsc::channel(32);
        let mut parts = Parts {
            program,
            shares: shares(options.clients),
            options,
            credentials,
            broker: None,
            brokers: 0,
            sites: array::from_fn(|_| None),
            ports: [0; 4],
            revive: None,
            news,
            sender,
            events,
            said: Scrubbed::default(),
        };
        let [near, regional, far, bad] = Site::ALL;
        let (broker, near, regional, far, bad) = tokio::try_join!(
            parts.broker(1),
            parts.site(near),
            parts.site(regional),
            parts.site(far),
            parts.site(bad)
        )?;
        parts.brokers = 1;
        parts.ports = [near.port(), regional.port(), far.port(), bad.port()];
        parts.sites = [near, regional, far, bad].map(Some);
        parts.broker = Some(broker);
        parts.tell_port().await;
        Ok(parts)
    }

    /// The ports of the sites' relays.
    pub(super) fn ports(&self) -> [u16; 4] {
        self.ports
    }

    /// Plays the steps, and keeps the parts running, until stopped or dropped.
    pub(super) fn run(self, steps: impl Iterator<Item = Step> + Send + 'static) -> Network {
        let stop = CancellationToken::new();
        let task = tokio::spawn(self.play(steps, stop.clone()));
        Network { stop, task: Some(task) }
    }

    async fn broker(&self, number: u32) -> Result<Part, DemoError> {
        let task = ToPart::Broker {
            username: self.credentials.username.to_owned(),
            password: Exposed::new(&self.credentials.password),
            connections: self.options.clients,
        };
        Part::start(&self.program, part::BROKER, task, Tag::Broker(number), self.sender.clone()).await
    }

    async fn site(&self, site: Site) -> Result<Part, DemoError> {
        let task = ToPart::Site {
            port: self.ports[site.index()],
            // A client that comes back may be here before its old connection is gone.
            connections: self.shares[site.index()] * 5 / 4 + 16,
            conditions: site.conditions(),
            seed: self.options.seed.wrapping_add(site.index() as u64),
        };
        Part::start(&self.program, part::SITE, task, Tag::Site(site), self.sender.clone()).await
    }

    async fn tell_port(&mut self) {
        let port = self.broker.as_ref().map(Part::port);
        for site in self.sites.iter_mut().flatten() {
            site.tell(&ToPart::BrokerAt(port)).await;
        }
    }

    async fn tell(&mut self, site: Site, order: ToPart) {
        if let Some(part) = &mut self.sites[site.index()] {
            part.tell(&order).await;
        }
    }

    async fn play(mut self, mut steps: impl Iterator<Item = Step>, stop: CancellationToken) {
        let start = Instant::now();
        let mut step = steps.next();
        self.say(if self.options.calm { "calm: no trouble is made, only delay and jitter" } else { QUIET });
        loop {
            // Far away rather than never: one branch for both.
            let far = start + Duration::from_secs(86_400 * 365);
            let due = step.as_ref().map_or(far, |s: &Step| start + s.at);
            let revive = self.revive.unwrap_or(far);
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(due) => if let Some(Step { act, .. }) = step.take() {
                    self.act(act).await;
                    step = steps.next();
                },
                () = sleep_until(revive) => self.revive().await,
                Some((tag, news)) = self.news.recv() => self.hear(tag, news).await,
            }
        }
        let sites = std::mem::take(&mut self.sites).into_iter().flatten();
        futures_util::future::join_all(sites.chain(self.broker.take()).map(Part::stop)).await;
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Begin { trouble, lasts } => {
                let clients = match trouble.site() {
                    Some(site) => self.shares[site.index()],
                    None => self.options.clients,
                };
                self.say(&trouble.begins(clients as usize, lasts));
                match trouble {
                    Trouble::Slow(site) => self.tell(site, ToPart::Conditions(site.slow())).await,
                    Trouble::Dark(site) => {
                        let dark = super::relay::Conditions { dark: true, ..site.conditions() };
                        self.tell(site, ToPart::Conditions(dark)).await;
                    }
                    Trouble::Crash => {
                        if let Some(broker) = self.broker.take() {
                            self.brokers += 1;
                            broker.kill().await;
                            self.tell_port().await;
                        }
                    }
                    Trouble::Drops(_) | Trouble::Cut(_) => {}
                }
            }
            Act::End(trouble) => {
                match trouble {
                    Trouble::Slow(site) | Trouble::Dark(site) => {
                        self.tell(site, ToPart::Conditions(site.conditions())).await;
                    }
                    Trouble::Crash => self.revive().await,
                    Trouble::Drops(_) | Trouble::Cut(_) => {}
                }
                if trouble != Trouble::Crash || self.broker.is_some() {
                    self.say(&trouble.ends());
                }
            }
            Act::Quiet => self.say(QUIET),
            Act::Cut(site, how) => self.tell(site, ToPart::Cut(how)).await,
        }
    }

    /// Starts the broker where there is none; tries again later where that fails.
    async fn revive(&mut self) {
        self.revive = None;
        if self.broker.is_some() {
            return;
        }
        self.brokers += 1;
        match self.broker(self.brokers).await {
            Ok(broker) => {
                self.broker = Some(broker);
                self.tell_port().await;
            }
            Err(e) => {
                self.notice(Level::Error, &format!("{e}; trying again in 2 s"));
                self.revive = Some(Instant::now() + Duration::from_secs(2));
            }
        }
    }

    async fn hear(&mut self, tag: Tag, news: News) {
        match (tag, news) {
            (Tag::Broker(number), News::Ended) if number == self.brokers && self.broker.is_some() => {
                // Nobody asked for this one.
                if let Some(broker) = self.broker.take() {
                    broker.kill().await;
                }
                self.tell_port().await;
                self.notice(Level::Warning, "the demo's broker died by itself; starting another");
                self.revive().await;
            }
            (Tag::Broker(_), News::Ended) => {}
            (Tag::Site(site), News::Ended) => {
                if let Some(part) = self.sites[site.index()].take() {
                    part.kill().await;
                }
                self.notice(Level::Warning, &format!("site {site} died by itself; starting it again"));
                match self.site(site).await {
                    Ok(part) => self.sites[site.index()] = Some(part),
                    Err(e) => self.notice(Level::Error, &format!("site {site} stays away: {e}")),
                }
                self.tell_port().await;
            }
            (Tag::Broker(_), News::Notice(text)) => self.notice(Level::Warning, &format!("demo broker: {text}")),
            (Tag::Site(site), News::Notice(text)) => self.notice(Level::Warning, &format!("site {site}: {text}")),
        }
    }

    /// Says what trouble there is now; the same words twice say nothing.
    fn say(&mut self, text: &str) {
        if *self.said != *text {
            self.said = Scrubbed::new(text);
            self.emit(What::Trouble(self.said.clone()));
        }
    }

    fn notice(&self, level: Level, text: &str) {
        self.emit(What::Notice { level, text: Scrubbed::new(text) });
    }

    /// Where nobody reads, the network goes on without a word.
    fn emit(&self, what: What) {
        let _ = self.events.try_send(Event { at: Moment::now(), what });
    }
}
