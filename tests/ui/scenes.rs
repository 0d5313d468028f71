//! Defines a made-up fleet and what happens to it, told in real events on made-up time; how it looks is judged elsewhere.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use chrono::{DateTime, FixedOffset, Utc};
use mqfleet::{
    action::{Action, Scope},
    appearance::{Glyphs, Keymap, Theme},
    clock::{Anchor, Moment},
    event::{
        Alert, Cause, Certificate, Condition, Connack, Deed, Event, Failure, Fate, Finding, Gate, Handled, Handling,
        Job, JobId, JobNews, JobState, Late, Level, Messages, Reason, Recovery, RecoveryKind, RecoveryStage, Roll,
        Sample, Session, Severity, Shortfall, Skip, Stage as Leg, StageKind, State, Tcp, TcpState, Transition, What,
        WorkerEvent,
    },
    fleet::{
        Agent, Client, ClientKey, Conversation, Endpoint, EndpointKey, Fleet, Identity, Password, Places, Probe,
        ProbeKind, Secret, Settings, Subscription, Tls, Transport, WorkerKey,
    },
    model::{Model, Motion, Stretch, Timeline},
    text::Scrubbed,
    ui::{self, Context, Widths},
};
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer, layout::Rect};
use tui_input::InputRequest;

/// The moment of which all scenes are told, 12:04:31 in a zone one hour east of Greenwich.
pub const NOW: Moment = Moment(100_000_000_000);
const ZONE: i32 = 3_600;

pub fn anchor() -> Anchor {
    let wall: DateTime<Utc> = "2026-11-20T11:04:31Z".parse().unwrap();
    Anchor::new(NOW, wall)
}

/// `seconds` before [`NOW`].
pub fn ago(seconds: f64) -> Moment {
    Moment(NOW.0 - (seconds * 1e6) as u64)
}

/// A thousand clients in four places.
pub fn fleet(env: Option<&str>) -> Fleet {
    let endpoint = |name: &str| Endpoint::new(name, &format!("{name}.example.net"), 1883);
    let settings = Arc::new(Settings {
        probe: Probe { kind: ProbeKind::Ack, every: Duration::from_secs(5) },
        slow_p99: Some(Duration::from_millis(500)),
        ..Settings::default()
    });
    let groups = [("press", 600, 0), ("oven", 300, 1), ("crane", 90, 2), ("yard", 10, 3)];
    let mut clients = Vec::new();
    for (group, count, endpoint) in groups {
        for n in 1..=count {
            let id = format!("{group}-{n:04}");
            clients.push(Client {
                username: Some("plant".into()),
                password: Some(Password::Fixed(Secret::new("hunter2".to_owned()))),
                ..Client::new(&id, EndpointKey(endpoint), settings.clone())
            });
        }
    }
    Fleet {
        name: Scrubbed::new("plant-eu"),
        env: env.map(Scrubbed::new),
        worker_size: 250,
        endpoints: ["eu-1", "eu-2", "ap-2", "sa-1"].map(endpoint).into(),
        clients,
    }
}

/// A model that is told a story.
pub struct Stage {
    pub model: Model,
    pub now: Moment,
    rng: fastrand::Rng,
    pub bytes_per_second: Option<u64>,
    /// Of a replay: what the player does, and what it plays.
    pub replay: Option<(Motion, Vec<Stretch>)>,
    /// Of a console that is attached: who else commands, and who is gone.
    pub attached: Option<&'static str>,
    pub gone: &'static str,
}

impl Stage {
    pub fn new(fleet: Fleet, start: Moment) -> Stage {
        let model = Model::new(Arc::new(fleet), start);
        Stage {
            model,
            now: start,
            rng: fastrand::Rng::with_seed(7),
            bytes_per_second: None,
            replay: None,
            attached: None,
            gone: "",
        }
    }

    pub fn tell(&mut self, at: Moment, what: What) {
        assert!(at >= self.now, "a story is told in order");
        self.now = at;
        self.model.apply(&Event { at, what });
    }

    pub fn step(&mut self, at: Moment, client: u32, to: State, reason: Reason) {
        self.step_with(at, client, to, reason, "", 1, None);
    }

    #[allow(clippy::too_many_arguments)]
    pub fn step_with(
        &mut self,
        at: Moment,
        client: u32,
        to: State,
        reason: Reason,
        detail: &str,
        attempt: u32,
        next_try: Option<f64>,
    ) {
        let client = ClientKey(client);
        let what = What::State(Transition {
            client,
            endpoint: self.model.fleet().client(client).endpoint(),
            from: self.model.live().row(client).state,
            to,
            reason,
            detail: Scrubbed::new(detail),
            attempt,
            next_try: next_try.map(Duration::from_secs_f64),
        });
        self.tell(at, what);
    }

    pub fn sample(&mut self, at: Moment, client: u32, rtt: Duration) {
        self.tell(at, What::Sample(Sample { client: ClientKey(client), probe: ProbeKind::Ack, rtt }));
    }

    /// A client comes up, is told `connack` and has its subscriptions answered.
    pub fn up(&mut self, at: Moment, client: u32, connack: &Connack, short: &[Shortfall]) {
        let usual = self.usual(client);
        self.step(at, client, State::Up, Reason::Connected);
        let connack = Connack { reached: Some(usual * 9), answered: Some(usual), ..connack.clone() };
        self.tell(at, What::Connack(ClientKey(client), Arc::new(connack)));
        short.iter().for_each(|short| self.tell(at, What::Shortfall(short.clone())));
        self.tell(at, What::Subscribed(ClientKey(client), usual + Duration::from_micros(300)));
    }

    /// The answer of a client's broker when nothing is wrong: near ones fast, far ones slow.
    fn usual(&mut self, client: u32) -> Duration {
        let base = match self.model.fleet().client(ClientKey(client)).endpoint().0 {
            0 => 900.0,
            1 => 3_200.0,
            2 => 38_000.0,
            _ => 190_000.0,
        };
        let spread = (self.rng.f64() + self.rng.f64() - 1.0) * 0.9;
        Duration::from_micros((base * f64::exp(spread)) as u64)
    }

    /// All clients come up, `over` seconds long, from `from` on.
    pub fn connect_all(&mut self, from: f64, over: f64) {
        let n = self.model.fleet().clients.len() as u32;
        for client in 0..n {
            self.step(ago(from), client, State::Queued, Reason::Start);
        }
        for client in 0..n {
            let at = ago(from - over * f64::from(client) / f64::from(n));
            self.step(at, client, State::Connecting, Reason::Admitted);
            self.step(at, client, State::Up, Reason::Connected);
        }
    }

    /// Answers to everything that is up, every five seconds, between two times before now.
    pub fn answers(&mut self, from: f64, to: f64, rtt: impl Fn(u32, Duration) -> Duration) {
        let n = self.model.fleet().clients.len() as u32;
        let mut seconds = from;
        while seconds > to {
            for client in 0..n {
                let usual = self.usual(client);
                if self.model.live().row(ClientKey(client)).is_up() {
                    self.sample(ago(seconds), client, rtt(client, usual));
                }
            }
            seconds -= 5.0;
        }
    }

    /// Now, before anybody has pressed a key.
    pub fn untouched(mut self) -> Stage {
        self.now = NOW;
        self.model.apply(&Event { at: NOW, what: What::Second(chrono::Utc::now()) });
        self.model.tick(NOW);
        self.model.set_height(14);
        self
    }

    pub fn arrange(self) -> Stage {
        let mut s = self.untouched();
        // The user has been at the top since some seconds ago: nothing is held.
        s.model.act(Action::Top, ago(5.0));
        s
    }

    pub fn act(&mut self, action: Action) {
        self.model.act(action, self.now);
    }

    pub fn type_text(&mut self, text: &str) {
        for c in text.chars() {
            self.model.edit(InputRequest::InsertChar(c), self.now);
        }
    }

    /// The screen, and where its cursor is.
    pub fn draw(&mut self, width: u16, height: u16, theme: &str, glyphs: Glyphs) -> (Buffer, Option<(u16, u16)>) {
        let area = Rect::new(0, 0, width, height);
        self.model.set_height(ui::table_height(area, self.replay.is_some()));
        self.model.set_pane(ui::pane(area, self.replay.is_some()));
        if let Some(events) = ui::events_shown(&self.model) {
            self.model.show_events(events);
        }
        self.with_context(theme, glyphs, |model, context| {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| ui::draw(frame, model, context)).unwrap();
            let buffer = terminal.backend().buffer().clone();
            let position = ratatui::backend::Backend::get_cursor_position(terminal.backend_mut()).unwrap();
            let is_shown = terminal.backend().cursor_visible();
            (buffer, is_shown.then_some((position.x, position.y)))
        })
    }

    /// Whether the question that is asked is seen on a screen of this size.
    pub fn is_question_seen(&self, width: u16, height: u16) -> bool {
        let area = Rect::new(0, 0, width, height);
        self.with_context("terminal", Glyphs::UNICODE, |model, context| ui::shows_question(model, context, area))
    }

    fn with_context<T>(&self, theme: &str, glyphs: Glyphs, with: impl FnOnce(&Model, &Context) -> T) -> T {
        static KEYMAP: LazyLock<Keymap> = LazyLock::new(Keymap::builtin);
        static TERMINAL: LazyLock<Theme> = LazyLock::new(|| Theme::builtin("terminal").unwrap());
        let theme = if theme == "terminal" { *TERMINAL } else { Theme::builtin(theme).unwrap() };
        let context = Context {
            now: self.now,
            anchor: anchor(),
            zone: FixedOffset::east_opt(ZONE).unwrap(),
            theme: &theme,
            glyphs,
            keymap: &KEYMAP,
            widths: Widths::of(self.model.fleet()),
            bytes_per_second: self.bytes_per_second,
            recording: None,
            attached: self.attached,
            gone: self.gone,
            timeline: self.replay.as_ref().map(|(motion, stretches)| Timeline {
                motion: *motion,
                speed: 10.0,
                begin: ago(600.0),
                end: NOW + Duration::from_secs(300),
                stretches,
            }),
        };
        with(&self.model, &context)
    }
}

/// Two agents' fleets in one console; somebody else commands the second.
pub fn several() -> Stage {
    let mut fleet = fleet(None);
    for (n, endpoint) in fleet.endpoints.iter_mut().enumerate() {
        let (number, name) = if n < 2 { (0, "plant-eu") } else { (1, "plant-ap") };
        endpoint.agent = Some(Agent { number, name: Scrubbed::new(name) });
    }
    fleet.name = Scrubbed::new("plant-eu + plant-ap");
    let mut s = Stage::new(fleet, ago(700.0));
    s.connect_all(700.0, 3.0);
    s.attached = Some("plant-ap: ops (pts/3) commands");
    s.answers(120.0, 0.0, |_, usual| usual);
    for client in [7, 3, 950] {
        s.step_with(ago(0.9), client, State::Backoff, Reason::ConnectionLost, "closed by peer", 1, Some(0.8));
    }
    s.arrange()
}

/// The second of them is gone.
pub fn several_gone() -> Stage {
    let mut s = several();
    let clients = (900..1_000).map(ClientKey).collect();
    let endpoints = [2, 3].map(EndpointKey).into();
    let places = Places { clients, endpoints, ..Places::default() };
    s.model.lose(&places, NOW);
    (s.attached, s.gone) =
        (Some(""), "agent plant-ap is gone since 12:04:19, trying again in 2 s: the connection was closed");
    s
}

/// Two seconds after the start.
pub fn starting() -> Stage {
    let mut s = Stage::new(fleet(None), ago(2.2));
    for client in 0..1_000 {
        s.step(ago(2.2), client, State::Queued, Reason::Start);
    }
    for client in 0..460 {
        let at = ago(2.1 - f64::from(client) * 0.004);
        s.step(at, client, State::Connecting, Reason::Admitted);
        if client < 380 {
            s.step(at, client, State::Up, Reason::Connected);
        }
    }
    for client in 0..380 {
        let rtt = s.usual(client);
        s.sample(ago(0.2), client, rtt);
    }
    s.arrange()
}

/// Two hours later: nothing to see.
pub fn calm() -> Stage {
    let mut s = Stage::new(fleet(None), ago(8_050.0));
    s.connect_all(8_049.0, 1.5);
    s.answers(118.0, 0.0, |_, usual| usual);
    s.bytes_per_second = Some(240);
    s.arrange()
}

/// A bit of everything that can be wrong.
pub fn trouble_in(env: Option<&str>) -> Stage {
    let mut s = Stage::new(fleet(env), ago(8_050.0));
    s.connect_all(8_049.0, 1.5);
    // One that was switched off, and some that the broker never let in.
    s.step(ago(4_000.0), 991, State::Off, Reason::OperatorDisconnect);
    for client in 993..996 {
        s.step(ago(2_999.0), client, State::Backoff, Reason::ConnectionLost);
        s.step_with(ago(2_999.0), client, State::Failed, Reason::BadCredentials, "", 2, None);
    }
    s.step(ago(2_500.0), 996, State::Backoff, Reason::ConnectionLost);
    s.step_with(ago(2_400.0), 996, State::Failed, Reason::NameNotResolved, "sa-1.example.net", 4, None);
    s.answers(118.0, 60.0, |_, usual| usual);
    // A link gets slow.
    s.answers(58.0, 42.0, |client, usual| if (900..930).contains(&client) { usual * 16 } else { usual });
    // A broker closes connections; most clients return.
    for client in 600..660 {
        s.step_with(ago(40.0), client, State::Backoff, Reason::ConnectionLost, "closed by peer", 1, Some(1.2));
    }
    for client in 600..652 {
        s.step(ago(38.0), client, State::Connecting, Reason::Retry);
        s.step(ago(38.0), client, State::Up, Reason::Connected);
    }
    for client in 652..660 {
        s.step(ago(37.4), client, State::Connecting, Reason::Retry);
        s.step_with(ago(37.4), client, State::Backoff, Reason::ConnectionRefused, "", 2, Some(4.0));
    }
    s.answers(36.0, 10.0, |client, usual| if (900..930).contains(&client) { usual * 16 } else { usual });
    // A worker dies with the clients it holds.
    let died = What::Worker {
        worker: WorkerKey(1),
        event: WorkerEvent::Died,
        detail: Scrubbed::new("killed by signal 9; its 250 clients wait; starting it again"),
    };
    s.tell(ago(9.0), died);
    for client in 350..600 {
        s.step(ago(9.0), client, State::Held, Reason::WorkerLost);
    }
    let back = What::Worker { worker: WorkerKey(1), event: WorkerEvent::Restarted, detail: Scrubbed::default() };
    s.tell(ago(8.0), back);
    for client in 350..590 {
        s.step(ago(7.5), client, State::Queued, Reason::WorkerReady);
    }
    for client in 350..580 {
        s.step(ago(7.0), client, State::Connecting, Reason::Admitted);
    }
    for client in 350..560 {
        s.step(ago(6.8), client, State::Up, Reason::Connected);
    }
    s.answers(6.5, 6.0, |client, usual| if (900..930).contains(&client) { usual * 16 } else { usual });
    s.tell(ago(6.0), What::SamplesLost(12));
    for client in 652..660 {
        s.step(ago(4.9), client, State::Connecting, Reason::Retry);
        let next = 6.0 + f64::from(client - 652) * 1.7;
        s.step_with(ago(4.9), client, State::Backoff, Reason::ConnectionRefused, "", 3, Some(next));
    }
    s.step_with(ago(3.0), 997, State::Backoff, Reason::SessionTakenOver, "", 1, Some(9.4));
    s.answers(2.0, 0.0, |client, usual| if (900..930).contains(&client) { usual * 16 } else { usual });
    let text = "eu-2 refuses new connections for 20 s, ap-2 answers slowly";
    s.tell(ago(1.0), What::Trouble(Scrubbed::new(text)));
    let text = Scrubbed::new("the disk of the journal is full: events are no longer kept");
    s.tell(ago(0.5), What::Notice { level: Level::Warning, text });
    s.bytes_per_second = Some(3_600);
    s.arrange()
}

pub fn trouble() -> Stage {
    trouble_in(None)
}

/// The cursor on a client with a story.
pub fn go_to(stage: &mut Stage, name: &str) {
    stage.act(Action::Top);
    for _ in 0..stage.model.order().len() {
        let at = stage.model.cursor().map(|key| stage.model.fleet().client(key).name.to_string());
        if at.as_deref() == Some(name) {
            return;
        }
        stage.act(Action::Down);
    }
    panic!("no {name}");
}

pub fn filter() -> Stage {
    let mut s = trouble();
    s.act(Action::Filter);
    s.type_text("conn");
    s
}

pub fn no_match() -> Stage {
    let mut s = trouble();
    s.act(Action::Filter);
    s.type_text("elevator");
    s.model.accept();
    s
}

/// Five marked, two of them hidden; three are asked about.
pub fn confirm_some() -> Stage {
    let mut s = trouble();
    for name in ["yard-0004", "yard-0005", "press-0592", "oven-0053", "oven-0054"] {
        go_to(&mut s, name);
        s.act(Action::Mark);
    }
    s.act(Action::Filter);
    s.type_text("e");
    s.type_text("u");
    s.model.accept();
    s.act(Action::Disconnect);
    s
}

pub fn confirm_one() -> Stage {
    let mut s = trouble();
    go_to(&mut s, "oven-0053");
    s.act(Action::Disconnect);
    s
}

pub fn confirm_many() -> Stage {
    let mut s = trouble_in(Some("prod"));
    s.act(Action::MarkAll);
    s.act(Action::Disconnect);
    s.type_text("10");
    s
}

pub fn detail() -> Stage {
    let mut s = trouble();
    go_to(&mut s, "oven-0053");
    s.act(Action::Detail);
    s
}

/// The same fleet with TLS, certificates, subscriptions; one endpoint's certificate has expired, and
/// another's soon will.
pub fn secure() -> Stage {
    let mut plant = fleet(None);
    let tls = Arc::new(Tls { alpn: vec!["mqtt".to_owned()], ..Tls::default() });
    for endpoint in &mut plant.endpoints {
        endpoint.port = 8883;
        endpoint.transport = Transport::Tls(tls.clone());
    }
    let filter = |filter: String, qos| Subscription { filter: filter.into(), qos };
    for (n, client) in plant.clients.iter_mut().enumerate() {
        let name = client.name.clone();
        let days = chrono::Duration::days(if n == 601 { 9 } else { 212 });
        client.identity = Some(Arc::new(Identity {
            cert_file: format!("/etc/mqfleet/certs/{name}.pem").into(),
            key_file: format!("/etc/mqfleet/certs/{name}.key").into(),
            key_password: None,
            not_after: Some(anchor().utc(NOW) + days),
        }));
        client.labels = Arc::new([(Scrubbed::new("site"), Scrubbed::new("hall-3"))].into());
        client.conversation = Arc::new(Conversation {
            subscribe: vec![filter(format!("cmd/{name}/#"), 1), filter("cmd/all".to_owned(), 1)],
            ..Conversation::default()
        });
    }
    let mut s = Stage::new(plant, ago(8_050.0));
    for (endpoint, days) in [(0, 212), (1, 12), (2, 90)] {
        s.tell(ago(8_049.5), What::Finding(EndpointKey(endpoint), Arc::new(found(endpoint, days))));
    }
    let mut expired = found(3, -3);
    let detail = Scrubbed::new("CN=sa-1.example.net ended on 2026-11-17");
    let cause = Cause { reason: Reason::CertificateExpired, detail: detail.clone() };
    expired.failure = Some(Failure { stage: StageKind::Tls, cause: cause.clone() });
    s.tell(ago(8_049.5), What::Finding(EndpointKey(3), Arc::new(expired.clone())));
    for client in 0..990 {
        s.step(ago(8_049.0), client, State::Queued, Reason::Start);
    }
    for client in 990..1_000 {
        s.step_with(ago(8_049.0), client, State::Held, Reason::CertificateExpired, &detail, 0, Some(60.0));
    }
    for client in 0..990 {
        let at = ago(8_048.0 - f64::from(client) * 0.001);
        s.step(at, client, State::Connecting, Reason::Admitted);
        s.up(at, client, &Connack { session_present: client % 2 == 0, ..Connack::default() }, &[]);
    }
    s.answers(118.0, 60.0, |_, usual| usual);
    // One is thrown off and comes back to a broker that grants it less, and binds it to more.
    s.step_with(ago(50.0), 601, State::Backoff, Reason::KeepAliveTimeout, "", 1, Some(0.8));
    s.step(ago(49.0), 601, State::Queued, Reason::Retry);
    s.step(ago(49.0), 601, State::Connecting, Reason::Admitted);
    let strict = Connack {
        maximum_qos: Some(0),
        receive_maximum: Some(20),
        server_keep_alive: Some(60),
        maximum_packet_size: Some(65_536),
        retain_available: Some(false),
        ..Connack::default()
    };
    let short = |granted, filter: &str| Shortfall {
        client: ClientKey(601),
        request: mqfleet::event::Request::Subscription,
        filter: Scrubbed::new(filter),
        asked: 1,
        granted,
        detail: Scrubbed::new(if granted.is_none() { "not authorized" } else { "" }),
    };
    s.up(ago(48.9), 601, &strict, &[short(Some(0), "cmd/oven-0002/#"), short(None, "cmd/all")]);
    s.answers(48.0, 0.0, |_, usual| usual);
    s.tell(ago(2.0), What::Messages(Messages { client: ClientKey(2), received: 12_407, published: 3, refused: 0 }));
    let gate = Gate {
        condition: Condition::Shut { cause, next_probe: Some(NOW + Duration::from_secs(43)) },
        waiting: 0,
        in_flight: 0,
        rate_set: 100,
        rate: 100,
        eta: Duration::ZERO,
    };
    s.tell(ago(0.0), What::Finding(EndpointKey(3), Arc::new(expired)));
    s.tell(ago(0.0), What::Gate(EndpointKey(3), gate));
    s
}

/// What a probe of an endpoint finds whose certificate has so many days left.
fn found(endpoint: u16, days: i64) -> Finding {
    let host = ["eu-1", "eu-2", "ap-2", "sa-1"][usize::from(endpoint)];
    let leg = |kind, us| Leg { kind, took: Duration::from_micros(us * (1 + u64::from(endpoint) * 9)) };
    let address = format!("192.0.2.{}:8883", endpoint + 1).parse().unwrap();
    let certificate = Certificate {
        subject: Scrubbed::new(&format!("CN={host}.example.net, O=Example")),
        issuer: Scrubbed::new("CN=Example CA"),
        names: vec![Scrubbed::new(&format!("{host}.example.net"))],
        not_before: Some(anchor().utc(NOW) - chrono::Duration::days(90)),
        not_after: Some(anchor().utc(NOW) + chrono::Duration::days(days) + chrono::Duration::hours(5)),
    };
    Finding {
        stages: vec![leg(StageKind::Dns, 1_100), leg(StageKind::Tcp, 600), leg(StageKind::Tls, 4_300)],
        addresses: [address].into(),
        address: Some(address),
        session: Some(Session {
            protocol: Some("TLSv1.3"),
            cipher: Some(Scrubbed::new("TLS_AES_256_GCM_SHA384")),
            alpn: Some(Scrubbed::new("mqtt")),
            chain: vec![certificate],
            overlooked: None,
            wants_certificate: false,
        }),
        failure: None,
    }
}

/// A healthy client with TLS.
pub fn detail_tls() -> Stage {
    detail_of("press-0003")
}

/// A client that is held because its broker's certificate has expired.
pub fn detail_expired() -> Stage {
    detail_of("yard-0004")
}

/// A client whose subscriptions are less than what was asked for.
pub fn detail_short() -> Stage {
    detail_of("oven-0002")
}

fn detail_of(client: &str) -> Stage {
    let mut s = secure().arrange();
    go_to(&mut s, client);
    s.act(Action::Detail);
    s
}

/// Nobody is under the cursor, and the pane shows the endpoints.
pub fn endpoints() -> Stage {
    secure().untouched()
}

/// Ten minutes of answers, in the last three of which a link is slow; and some of them never came.
fn measured() -> Stage {
    let mut plant = fleet(None);
    // A fifth of them: a story of ten minutes takes its time.
    plant.clients = plant.clients.into_iter().step_by(5).collect();
    let hall = |n: usize| Arc::new([(Scrubbed::new("site"), Scrubbed::new(&format!("hall-{}", n % 4 + 1)))].into());
    plant.clients.iter_mut().enumerate().for_each(|(n, client)| client.labels = hall(n));
    let mut s = Stage::new(plant, ago(700.0));
    s.connect_all(690.0, 1.5);
    let is_slow = |client: u32| (180..198).contains(&client) && !client.is_multiple_of(3);
    s.answers(600.0, 180.0, |_, usual| usual);
    s.answers(178.0, 60.0, |client, usual| if is_slow(client) { usual * 20 } else { usual });
    for client in 124..128 {
        let since = ago(57.0);
        s.tell(ago(54.0), What::Late(Late { client: ClientKey(client), probe: ProbeKind::Ack, since }));
        s.step_with(ago(54.0), client, State::Backoff, Reason::KeepAliveTimeout, "", 1, Some(0.8));
    }
    for client in 124..128 {
        s.step(ago(52.0), client, State::Queued, Reason::Retry);
        s.step(ago(52.0), client, State::Connecting, Reason::Retry);
    }
    for client in 124..128 {
        s.step(ago(51.8), client, State::Up, Reason::Connected);
    }
    s.answers(50.0, 4.0, |client, usual| if is_slow(client) { usual * 20 } else { usual });
    s
}

/// A client whose probe is late, of whose connection the kernel tells.
pub fn detail_late() -> Stage {
    let mut s = measured();
    let client = ClientKey(126);
    for (n, retransmits) in [0, 3, 4, 6].into_iter().enumerate() {
        let (rtt, rtt_variation) = (Duration::from_micros(3_140), Duration::from_micros(910));
        let since_received = Duration::from_secs(1);
        let tcp = Tcp {
            state: TcpState::Established,
            rtt,
            rtt_variation,
            retransmits,
            unacknowledged: 2,
            since_received,
            sent: 0,
            received: 0,
        };
        s.tell(ago(3.9 - n as f64 * 0.9), What::Tcp(client, tcp));
    }
    let since = ago(4.2);
    s.tell(ago(0.8), What::Late(Late { client, probe: ProbeKind::Ack, since }));
    let mut s = s.arrange();
    go_to(&mut s, "oven-0031");
    s.act(Action::Detail);
    s
}

pub fn latency() -> Stage {
    let mut s = measured().arrange();
    s.act(Action::Latency);
    s
}

/// The latencies of the clients that a filter shows.
pub fn latency_filter() -> Stage {
    let mut s = measured().arrange();
    s.act(Action::Filter);
    s.type_text("crane");
    s.model.accept();
    s.act(Action::Latency);
    s
}

pub fn help() -> Stage {
    let mut s = trouble();
    s.act(Action::Help);
    s
}

/// A quarter of an hour, of which two thirds are played: trouble, a storm, and what is to come.
fn stretches() -> Vec<Stretch> {
    let stretch = |n: u32| {
        let first = ago(600.0) + Duration::from_millis(500) * n;
        let (lost, slow, down) = match n {
            0..8 => (0, 0, 400),
            500..560 => (n % 3, n - 500, 4),
            900..904 => (180, 0, 190 * (n - 899)),
            904..940 => (0, 30, (940 - n) * 20),
            1_400..1_402 => (1, 0, 5),
            _ => (0, 0, 4),
        };
        Stretch { first, last: first + Duration::from_millis(499), lost, slow, down }
    };
    (0..1_800).map(stretch).collect()
}

pub fn replay() -> Stage {
    let mut s = trouble();
    s.replay = Some((Motion::Playing, stretches()));
    s
}

pub fn replay_help() -> Stage {
    let mut s = replay();
    s.replay = Some((Motion::Paused, stretches()));
    s.act(Action::Help);
    s
}

pub fn replay_go_to() -> Stage {
    let mut s = replay();
    s.replay = Some((Motion::Seeking(Some(43)), stretches()));
    s.act(Action::GoTo);
    s.type_text("12:03");
    s
}

pub fn replay_detail() -> Stage {
    let mut s = detail();
    s.replay = Some((Motion::Ended, stretches()));
    s
}

pub fn frozen() -> Stage {
    let mut s = trouble();
    s.act(Action::Freeze);
    let later = |seconds: f64| NOW + Duration::from_secs_f64(seconds);
    for client in 0..300 {
        s.step_with(later(20.0), client, State::Backoff, Reason::ServerShuttingDown, "", 1, Some(1.0));
    }
    s.now = later(37.0);
    s.model.apply(&Event { at: later(37.0), what: What::Second(chrono::Utc::now()) });
    s.model.tick(later(37.0));
    s
}

pub fn quit() -> Stage {
    let mut s = calm();
    s.act(Action::Quit);
    s
}

pub fn toast() -> Stage {
    let mut s = calm();
    go_to(&mut s, "crane-0003");
    s.act(Action::Reconnect);
    s
}

/// Two endpoints are dead, and one is held by hand while some of its clients are not up.
pub fn two_causes() -> Stage {
    let mut s = Stage::new(fleet(None), ago(8_050.0));
    s.connect_all(8_049.0, 1.5);
    s.answers(118.0, 60.0, |_, usual| usual);
    for client in 600..1_000 {
        let at = ago(55.0);
        match client {
            ..900 => s.step_with(at, client, State::Held, Reason::ConnectionRefused, "", 1, Some(70.0)),
            900..990 => s.step_with(at, client, State::Backoff, Reason::CertificateExpired, "", 1, Some(60.0)),
            _ if client % 2 == 0 => s.step(at, client, State::Held, Reason::OperatorHold),
            _ => {}
        }
    }
    s.answers(50.0, 3.0, |_, usual| usual);
    // Some of them try again.
    for client in 600..640 {
        s.step(ago(2.0), client, State::Queued, Reason::EndpointOpen);
    }
    s.bytes_per_second = Some(410);
    s.arrange()
}

/// The whole fleet is down.
pub fn outage() -> Stage {
    let mut s = Stage::new(fleet(None), ago(8_050.0));
    s.connect_all(8_049.0, 1.5);
    s.answers(118.0, 30.0, |_, usual| usual);
    for client in 0..1_000 {
        s.step_with(ago(26.0), client, State::Held, Reason::NetworkUnreachable, "", 1, Some(30.0));
    }
    s.bytes_per_second = Some(410);
    s.arrange()
}

/// A broker says nothing any more, while its connections stand.
pub fn silent() -> Stage {
    let mut s = Stage::new(fleet(None), ago(8_050.0));
    s.connect_all(8_049.0, 1.5);
    s.answers(118.0, 30.0, |_, usual| usual);
    let others = |s: &mut Stage, seconds: f64| {
        for client in (0..600).chain(900..1_000) {
            let rtt = s.usual(client);
            s.sample(ago(seconds), client, rtt);
        }
    };
    [29.0, 24.0].into_iter().for_each(|seconds| others(&mut s, seconds));
    for client in 600..900 {
        let late = Late { client: ClientKey(client), probe: ProbeKind::Ack, since: ago(30.0) };
        s.tell(ago(20.0), What::Late(late));
    }
    s.model.apply(&Event { at: ago(19.0), what: What::Second(chrono::Utc::now()) });
    [15.0, 10.0, 5.0, 1.0].into_iter().for_each(|seconds| others(&mut s, seconds));
    s.bytes_per_second = Some(410);
    s.arrange()
}

pub fn hold() -> Stage {
    let mut s = trouble_in(Some("prod"));
    go_to(&mut s, "oven-0053");
    s.act(Action::Hold);
    s
}

pub fn rate() -> Stage {
    let mut s = trouble();
    go_to(&mut s, "yard-0008");
    s.act(Action::RateUp);
    s.act(Action::RateUp);
    s
}

pub fn endpoints_asked() -> Stage {
    let mut s = trouble();
    s.act(Action::Endpoints);
    s
}

/// Groups by endpoint, the cursor on the second.
pub fn groups() -> Stage {
    let mut s = trouble();
    s.act(Action::Groups);
    s.act(Action::Down);
    s
}

pub fn groups_by_label() -> Stage {
    let mut s = measured().arrange();
    s.act(Action::Groups);
    s.act(Action::SortNext);
    s
}

/// What a group's clients are, from where `Esc` leads back to the groups.
pub fn group_shown() -> Stage {
    let mut s = groups();
    s.act(Action::Detail);
    s
}

pub fn map() -> Stage {
    let mut s = trouble();
    s.act(Action::Map);
    s.draw(80, 24, "terminal", Glyphs::UNICODE);
    s.act(Action::NextUnwell);
    s
}

pub fn map_filter() -> Stage {
    let mut s = map();
    s.act(Action::Filter);
    s.type_text("endpoint:eu");
    s
}

/// So many clients that they are dots: a part of a site is down, and some here and there.
pub fn map_dense() -> Stage {
    let mut plant = fleet(None);
    let settings = plant.clients[0].settings.clone();
    let client = |n: u32| {
        let endpoint = if n < 14_000 { n / 7_000 } else { 2 + n / 17_000 };
        Client::new(&format!("meter-{n:05}"), EndpointKey(endpoint as u16), settings.clone())
    };
    plant.clients = (0..20_000).map(client).collect();
    let mut s = Stage::new(plant, ago(600.0));
    s.connect_all(590.0, 10.0);
    let is_answered = |n: u32| !(12_000..12_300).contains(&n);
    [8.0, 4.0, 0.0].into_iter().for_each(|seconds| {
        for client in (0..20_000).filter(|n| is_answered(*n)) {
            s.sample(ago(seconds), client, Duration::from_millis(4));
        }
    });
    for client in (3_000..3_900).chain((0..20_000).step_by(1_117)) {
        s.step_with(NOW, client, State::Backoff, Reason::ConnectionLost, "closed by peer", 1, Some(9.0));
    }
    let mut s = s.arrange();
    s.act(Action::Map);
    s.draw(80, 24, "terminal", Glyphs::UNICODE);
    s.act(Action::NextUnwell);
    s
}

/// The cursor is some events back, and there were others since.
pub fn events() -> Stage {
    let mut s = trouble();
    s.act(Action::Events);
    s.draw(80, 24, "terminal", Glyphs::UNICODE);
    for action in [Action::Up, Action::Up, Action::Up] {
        s.act(action);
    }
    for client in 300..303 {
        s.step_with(NOW, client * 2, State::Backoff, Reason::KeepAliveTimeout, "", client, Some(2.0));
    }
    s
}

pub fn events_filter() -> Stage {
    let mut s = trouble();
    s.act(Action::Events);
    s.act(Action::Filter);
    s.type_text("state:rej,fail or slow");
    s
}

/// What was filtered for is searched for, among what was around it.
pub fn events_search() -> Stage {
    let mut s = trouble();
    s.act(Action::Events);
    s.act(Action::Filter);
    s.type_text("eu-2");
    s.model.accept();
    s.draw(80, 24, "terminal", Glyphs::UNICODE);
    s.act(Action::Up);
    s.act(Action::Back);
    s
}

pub fn sort() -> Stage {
    let mut s = trouble();
    s.act(Action::Sort);
    s.model.choose(3, s.now);
    s
}

pub fn cause() -> Stage {
    let mut s = two_causes();
    s.act(Action::Cause);
    s.model.choose(1, s.now);
    s
}

pub fn cause_shown() -> Stage {
    let mut s = cause();
    s.model.accept();
    s
}

/// One fires and its recovery is at work, one is acknowledged, and one is muted.
pub fn alerts() -> Stage {
    let mut s = Stage::new(fleet(None), ago(9_500.0));
    s.connect_all(9_400.0, 1.5);
    let text = Scrubbed::new;
    let fires = |rule: &str, severity, (clients, of)| {
        let (first, cause) = (vec![ClientKey(3), ClientKey(4)], Scrubbed::default());
        let (agent, rule, is_firing, lasted) = (None, text(rule), true, Duration::from_secs(30));
        What::Alert(Box::new(Alert { agent, rule, severity, is_firing, lasted, clients, of, first, cause }))
    };
    let handled = |rule: &str, what| What::Handling(Box::new(Handling::of(&text(rule), what)));
    let told = |notifier: &str| Handled::Told { notifier: text(notifier), is_firing: true };
    let recovery = |step, kind, stage, words: &str| {
        Handled::Recovery(Recovery { step, kind, stage, clients: 12, text: text(words) })
    };
    let (presses, ends) = ("presses of hall 3 are down", "certificates end");
    s.tell(ago(9_000.0), fires(ends, Severity::Info, (90, 90)));
    s.tell(ago(8_000.0), handled(ends, Handled::Acknowledged { by: text("ops (pts/3)") }));
    let until = Some(anchor().utc(NOW) + Duration::from_secs(1_800));
    s.tell(ago(1_800.0), handled("yard is slow", Handled::Muted { until, by: text("ops (pts/3)") }));
    for client in 0..12 {
        s.step_with(ago(270.0), client, State::Backoff, Reason::ConnectionLost, "closed by peer", 1, Some(0.8));
    }
    s.tell(ago(240.0), fires(presses, Severity::Critical, (12, 600)));
    s.tell(ago(229.0), handled(presses, told("mail.ops")));
    s.tell(ago(229.0), handled(presses, told("webhook.center")));
    let done = recovery(0, RecoveryKind::Reconnect, RecoveryStage::Done, "reconnected 12 clients");
    s.tell(ago(180.0), handled(presses, done));
    let running = recovery(1, RecoveryKind::Run, RecoveryStage::Started, "runs /usr/local/bin/mend");
    s.tell(ago(60.0), handled(presses, running));
    s.answers(50.0, 0.0, |_, usual| usual);
    let mut s = s.arrange();
    s.act(Action::Alerts);
    s
}

/// Part of a command's name, and what it may mean.
pub fn command() -> Stage {
    let mut s = trouble();
    s.act(Action::Command);
    s.type_text("un");
    s
}

/// A command that cannot be done, and why.
pub fn command_wrong() -> Stage {
    let mut s = trouble();
    s.act(Action::Command);
    s.type_text("reconnect p99>fast");
    s.model.run_command(Scope::Own, s.now);
    s
}

/// What stands behind a command is completed.
pub fn command_argument() -> Stage {
    let mut s = trouble();
    s.act(Action::Command);
    s.type_text("mark_all re");
    s.model.complete_command(Scope::Own, true, s.now);
    s
}

fn news(at: f64, job: Job, is_turn: bool, fates: impl Iterator<Item = (u32, Fate)>) -> (f64, What) {
    let fates = fates.map(|(client, fate)| (ClientKey(client), fate)).collect();
    (at, What::Job(Box::new(JobNews { job, is_turn, fates })))
}

/// One that is over, one that stopped and one that goes on.
pub fn jobs() -> Stage {
    let mut s = Stage::new(fleet(None), ago(900.0));
    s.connect_all(899.0, 3.0);
    let id = |number| JobId { agent: 0, number };
    let job = |number: u32, deed, at, left| Job {
        id: id(number),
        deed,
        roll: Roll::default(),
        state: JobState::Running,
        begun: ago(at),
        ended: None,
        undoes: None,
        left,
        under_way: 0,
        done: 0,
        failed: 0,
        skipped: 0,
    };
    let first = job(1, Deed::Reconnect, 800.0, 90);
    let over =
        Job { state: JobState::Done, ended: Some(ago(790.0)), left: 0, done: 88, failed: 1, skipped: 1, ..first };
    let second = job(2, Deed::Disconnect, 300.0, 10);
    let undone = Job { state: JobState::Undone, ended: Some(ago(298.0)), left: 0, done: 4, skipped: 6, ..second };
    let stopping = job(3, Deed::Reconnect, 60.0, 60);
    let stopped = Job { state: JobState::Stopped, left: 25, done: 30, failed: 5, ..stopping };
    let last = job(4, Deed::Reconnect, 12.0, 300);
    let going = Job { left: 68, under_way: 20, done: 210, failed: 1, skipped: 1, ..last };
    let bad = Fate::Failed(Reason::BadCredentials);
    let told = [
        news(800.0, first, true, std::iter::empty()),
        news(790.0, over, true, (900..990).map(|n| (n, if n == 903 { bad } else { Fate::Done }))),
        news(300.0, second, true, std::iter::empty()),
        news(
            298.0,
            undone,
            true,
            (990..1_000).map(|n| (n, if n < 994 { Fate::Done } else { Fate::Skipped(Skip::NotBegun) })),
        ),
        news(60.0, stopping, true, std::iter::empty()),
        news(50.0, stopped, true, (600..635).map(|n| (n, if n < 605 { bad } else { Fate::Done }))),
        news(12.0, last, true, std::iter::empty()),
        news(
            1.0,
            going,
            false,
            (0..232).map(|n| match n {
                7 => (n, Fate::Failed(Reason::ConnectionRefused)),
                9 => (n, Fate::Skipped(Skip::Changed)),
                n if n >= 212 => (n, Fate::UnderWay),
                n => (n, Fate::Done),
            }),
        ),
    ];
    told.into_iter().for_each(|(at, what)| s.tell(ago(at), what));
    s.answers(0.5, 0.0, |_, usual| usual);
    let mut s = s.arrange();
    s.act(Action::Jobs);
    s
}

/// The one that stopped, further down in its results.
pub fn jobs_stopped() -> Stage {
    let mut s = jobs();
    s.draw(80, 24, "terminal", Glyphs::UNICODE);
    s.act(Action::Down);
    s.act(Action::PageDown);
    s
}

/// Exactly those of whom it failed.
pub fn job_shown() -> Stage {
    let mut s = jobs();
    s.act(Action::Down);
    s.act(Action::Detail);
    s
}

pub fn no_jobs() -> Stage {
    let mut s = calm();
    s.act(Action::Jobs);
    s
}
