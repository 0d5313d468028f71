//! Defines the first lines of a recording, which say what fleet it is of, and the fleet they are read back as; passwords, payloads and whatever else may be secret are left out.

use std::{borrow::Cow, sync::Arc, time::Duration};

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    clock::{Anchor, Moment},
    fleet::{
        Client, Conversation, Endpoint, EndpointKey, Fleet, Labels, Message, Password, Probe, Protocol, Proxy,
        ProxyKind, Reconnect, Secret, Settings, Strategy, Subscription, Tls, Traffic, Transport, WebSocket,
    },
    lines,
    text::Scrubbed,
};

/// The version of what is in a recording beyond the lines that scripts read. A program reads its own
/// version and older ones. Lines of new types do not raise it: they are skipped by who knows none.
pub const VERSION: u32 = 1;

/// What a recording says of itself.
#[derive(Clone, Debug)]
pub struct Header {
    /// Of the program that wrote it.
    pub program: Scrubbed,
    /// When the run began, which all files of it have in common.
    pub run: Moment,
    /// When this file begins.
    pub begin: Moment,
    /// What the wall clock said then.
    pub wall: DateTime<Utc>,
    pub workers: usize,
}

impl Header {
    pub fn anchor(&self) -> Anchor {
        Anchor::of_line(self.begin, self.wall)
    }
}

/// A line of the head. `type` is the first field of each, as everywhere.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Start(Start<'a>),
    Endpoint(EndpointLine<'a>),
    Settings(SettingsLine),
    Client(ClientLine<'a>),
}

/// As the first line that scripts read, and more.
#[derive(Debug, Serialize, Deserialize)]
struct Start<'a> {
    ts: DateTime<Utc>,
    version: Cow<'a, str>,
    schema: u32,
    fleet: Cow<'a, str>,
    clients: usize,
    workers: usize,
    recording: u32,
    at_us: u64,
    run_us: u64,
    #[serde(default)]
    env: Option<Cow<'a, str>>,
    #[serde(default)]
    worker_size: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct EndpointLine<'a> {
    endpoint: Cow<'a, str>,
    scheme: Cow<'a, str>,
    /// The path of a Unix socket, whose port is 0.
    host: Cow<'a, str>,
    port: u16,
    /// Of a WebSocket. What follows a `?` may be a token, and is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    insecure: bool,
    /// `host` and `port` of the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proxy: Option<(Cow<'a, str>, u16)>,
    /// The scheme of its URL, where that is not `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proxy_scheme: Option<Cow<'a, str>>,
    connect_rate: u32,
    max_connecting: u32,
    /// Whether the fleet has it no longer: what was recorded before may name it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
}

/// What clients have in common; a client's line names it by its place among these.
#[derive(Debug, Serialize, Deserialize)]
struct SettingsLine {
    protocol: Protocol,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    falls_back: bool,
    #[serde(with = "span")]
    keep_alive: Duration,
    clean_start: bool,
    #[serde(with = "span")]
    session_expiry: Duration,
    receive_maximum: Option<u16>,
    follow_redirects: bool,
    #[serde(with = "span")]
    connect_timeout: Duration,
    #[serde(with = "span")]
    reconnect_min: Duration,
    /// None where it tries no more; the same as `reconnect_min` where that is fixed.
    #[serde(with = "optional_span")]
    reconnect_max: Option<Duration>,
    max_retries: u32,
    #[serde(with = "span")]
    stable_after: Duration,
    probe: Cow<'static, str>,
    #[serde(with = "span")]
    probe_every: Duration,
    #[serde(with = "optional_span")]
    slow_p99: Option<Duration>,
    start_connected: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct ClientLine<'a> {
    client: Cow<'a, str>,
    /// Endpoints by their places, the preferred one first.
    endpoints: Cow<'a, [EndpointKey]>,
    settings: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    username: Option<Cow<'a, str>>,
    /// Whether it has one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    password: bool,
    #[serde(default, skip_serializing_if = "is_empty")]
    labels: Cow<'a, Labels>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    subscribe: Cow<'a, [Subscription]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publish: Option<Publish<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    will: Option<Topic<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    birth: Option<Topic<'a>>,
    /// As of an endpoint.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
}

fn is_empty(labels: &Labels) -> bool {
    labels.is_empty()
}

#[derive(Debug, Serialize, Deserialize)]
struct Publish<'a> {
    #[serde(flatten)]
    topic: Topic<'a>,
    #[serde(with = "span")]
    every: Duration,
}

/// A message without its payload.
#[derive(Debug, Serialize, Deserialize)]
struct Topic<'a> {
    topic: Cow<'a, str>,
    qos: u8,
    retain: bool,
}

/// The longest time that a head may name; what a fleet file takes is far shorter.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

/// Times as `1m 30s`, to the nanosecond.
mod span {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*time))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }

    /// A time that can be reckoned with.
    pub fn parse(text: &str) -> Result<Duration, String> {
        match humantime::parse_duration(text) {
            Ok(time) if time > super::LONGEST => Err(format!("no fleet has a time of {text:?}")),
            Ok(time) => Ok(time),
            Err(error) => Err(error.to_string()),
        }
    }
}

mod optional_span {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::span::serialize(time, to),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| super::span::parse(&text).map_err(D::Error::custom)).transpose()
    }
}

/// The head's lines, each with its end.
pub fn lines(header: &Header, fleet: &Fleet) -> String {
    let mut out = String::new();
    let mut push = |line: &Line| {
        // Strings, numbers and options of them always have a JSON form.
        out.push_str(&serde_json::to_string(line).unwrap_or_default());
        out.push('\n');
    };
    push(&Line::Start(Start {
        ts: header.wall,
        version: header.program.as_str().into(),
        schema: lines::SCHEMA,
        fleet: fleet.name.as_str().into(),
        clients: fleet.clients.len(),
        workers: header.workers,
        recording: VERSION,
        at_us: header.begin.0,
        run_us: header.run.0,
        env: fleet.env.as_ref().map(|env| env.as_str().into()),
        worker_size: fleet.worker_size,
    }));
    for endpoint in &fleet.endpoints {
        push(&Line::Endpoint(EndpointLine::of(endpoint)));
    }
    let mut known: Vec<Arc<Settings>> = Vec::new();
    for client in &fleet.clients {
        let same = |settings: &Arc<Settings>| Arc::ptr_eq(settings, &client.settings) || *settings == client.settings;
        let settings = known.iter().rposition(same).unwrap_or_else(|| {
            push(&Line::Settings(SettingsLine::of(&client.settings)));
            known.push(client.settings.clone());
            known.len() - 1
        });
        push(&Line::Client(ClientLine::of(client, settings)));
    }
    out
}

/// Why a head cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is none, for this reason.
    NoHead(String),
    /// Its version is newer than ours.
    Newer { version: u32, program: Scrubbed },
}

/// The run and the fleet that [`lines()`] told; `None` where that is nonsense.
pub fn of_head(text: &[u8]) -> Option<(Header, Fleet)> {
    read(std::str::from_utf8(text).ok()?, usize::MAX).ok()
}

/// Reads the head from the lines at the begin of `text`, which may tell of so many clients.
pub(super) fn read(text: &str, clients_max: usize) -> Result<(Header, Fleet), Wrong> {
    let no_head = |why: &dyn std::fmt::Display| Wrong::NoHead(why.to_string());
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    // A newer head may have lost or changed anything but this.
    #[derive(Deserialize)]
    struct Versions {
        recording: u32,
        #[serde(default)]
        version: Scrubbed,
    }
    let versions: Versions = serde_json::from_str(first).map_err(|e| no_head(&e))?;
    if versions.recording > VERSION {
        return Err(Wrong::Newer { version: versions.recording, program: versions.version });
    }
    let Line::Start(start) = serde_json::from_str(first).map_err(|e| no_head(&e))? else {
        return Err(no_head(&"its first line is none of a start"));
    };
    if !(1970..9999).contains(&start.ts.year()) {
        return Err(no_head(&format!("it was not written in the year {}", start.ts.year())));
    }
    if start.clients > clients_max {
        return Err(no_head(&format!("it is too small for the {} clients that it tells of", start.clients)));
    }
    let mut fleet = Fleet {
        name: Scrubbed::new(&start.fleet),
        env: start.env.as_deref().map(Scrubbed::new),
        worker_size: start.worker_size,
        endpoints: Vec::new(),
        clients: Vec::new(),
    };
    let mut settings: Vec<Arc<Settings>> = Vec::new();
    for line in lines {
        if fleet.clients.len() == start.clients {
            break;
        }
        match serde_json::from_str(line).map_err(|e| no_head(&e))? {
            Line::Start(_) => return Err(no_head(&"it starts twice")),
            Line::Endpoint(line) => fleet.endpoints.push(line.endpoint()),
            Line::Settings(line) => settings.push(Arc::new(line.settings().map_err(|e| no_head(&e))?)),
            Line::Client(line) => {
                let endpoints = fleet.endpoints.len();
                let known = !line.endpoints.is_empty() && line.endpoints.iter().all(|key| key.index() < endpoints);
                let (Some(settings), true) = (settings.get(line.settings), known) else {
                    return Err(no_head(&format!("client {} names what is not there", Scrubbed::new(&line.client))));
                };
                let client = line.client(settings.clone(), fleet.clients.last());
                fleet.clients.push(client);
            }
        }
    }
    if fleet.clients.len() != start.clients {
        return Err(no_head(&format!("it has {} of {} clients", fleet.clients.len(), start.clients)));
    }
    let header = Header {
        program: versions.version,
        run: Moment(start.run_us),
        begin: Moment(start.at_us),
        wall: start.ts,
        workers: start.workers,
    };
    Ok((header, fleet))
}

impl<'a> EndpointLine<'a> {
    fn of(endpoint: &'a Endpoint) -> EndpointLine<'a> {
        let path = endpoint.transport.websocket().map(|websocket| &*websocket.path);
        EndpointLine {
            endpoint: endpoint.name.as_str().into(),
            scheme: endpoint.transport.scheme().into(),
            host: match &endpoint.transport {
                Transport::Unix(path) => path.display().to_string().into(),
                _ => (*endpoint.host).into(),
            },
            port: endpoint.port,
            path: path.map(|path| path.split('?').next().unwrap_or_default().into()),
            insecure: endpoint.transport.tls().is_some_and(|tls| tls.insecure),
            proxy: endpoint.proxy.as_ref().map(|proxy| ((*proxy.host).into(), proxy.port)),
            proxy_scheme: endpoint
                .proxy
                .as_ref()
                .filter(|proxy| proxy.kind != ProxyKind::Http)
                .map(|proxy| proxy.kind.scheme().into()),
            connect_rate: endpoint.connect_rate,
            max_connecting: endpoint.max_connecting,
            gone: endpoint.is_gone,
        }
    }

    fn endpoint(&self) -> Endpoint {
        let websocket = Arc::new(WebSocket::new(self.path.as_deref().unwrap_or("/")));
        let tls = Arc::new(Tls { insecure: self.insecure, ..Tls::default() });
        let kind = [ProxyKind::Https, ProxyKind::Socks5, ProxyKind::Socks5h]
            .into_iter()
            .find(|kind| self.proxy_scheme.as_deref() == Some(kind.scheme()))
            .unwrap_or(ProxyKind::Http);
        let proxy = |(host, port): &(Cow<str>, u16)| Proxy::new(kind, host, *port);
        let host = if self.scheme == "unix" { "localhost" } else { &*self.host };
        Endpoint {
            transport: match &*self.scheme {
                "mqtts" => Transport::Tls(tls),
                "ws" => Transport::WebSocket(websocket),
                "wss" => Transport::SecureWebSocket(websocket, tls),
                "unix" => Transport::Unix((&*self.host).into()),
                _ => Transport::Tcp,
            },
            proxy: self.proxy.as_ref().map(proxy),
            connect_rate: self.connect_rate,
            max_connecting: self.max_connecting,
            is_gone: self.gone,
            ..Endpoint::new(&self.endpoint, host, self.port)
        }
    }
}

impl SettingsLine {
    fn of(settings: &Settings) -> SettingsLine {
        let reconnect = settings.reconnect;
        let (reconnect_min, reconnect_max) = match reconnect.strategy {
            Strategy::Exponential { min, max } => (min, Some(max)),
            Strategy::Fixed { every } => (every, Some(every)),
            Strategy::Never => (Duration::ZERO, None),
        };
        SettingsLine {
            protocol: settings.protocol,
            falls_back: settings.falls_back,
            keep_alive: settings.keep_alive,
            clean_start: settings.clean_start,
            session_expiry: settings.session_expiry,
            receive_maximum: settings.receive_maximum,
            follow_redirects: settings.follow_redirects,
            connect_timeout: settings.connect_timeout,
            reconnect_min,
            reconnect_max,
            max_retries: reconnect.max_retries,
            stable_after: reconnect.stable_after,
            probe: settings.probe.kind.name().into(),
            probe_every: settings.probe.every,
            slow_p99: settings.slow_p99,
            start_connected: settings.start_connected,
        }
    }

    fn settings(&self) -> Result<Settings, serde_json::Error> {
        let strategy = match (self.reconnect_min, self.reconnect_max) {
            (_, None) => Strategy::Never,
            (every, Some(max)) if every == max => Strategy::Fixed { every },
            (min, Some(max)) => Strategy::Exponential { min, max },
        };
        Ok(Settings {
            protocol: self.protocol,
            falls_back: self.falls_back,
            keep_alive: self.keep_alive,
            clean_start: self.clean_start,
            session_expiry: self.session_expiry,
            receive_maximum: self.receive_maximum,
            follow_redirects: self.follow_redirects,
            connect_timeout: self.connect_timeout,
            reconnect: Reconnect { strategy, max_retries: self.max_retries, stable_after: self.stable_after },
            probe: Probe {
                kind: serde_json::from_value(serde_json::Value::from(&*self.probe))?,
                every: self.probe_every,
            },
            slow_p99: self.slow_p99,
            start_connected: self.start_connected,
            // What no screen shows is not kept; user properties may hold tokens.
            ..Settings::default()
        })
    }
}

impl<'a> ClientLine<'a> {
    fn of(client: &'a Client, settings: usize) -> ClientLine<'a> {
        let Conversation { will, birth, subscribe, publish } = &*client.conversation;
        ClientLine {
            client: client.name.as_str().into(),
            endpoints: (&*client.endpoints).into(),
            settings,
            // It is on the screen, too.
            username: client.username.as_deref().map(|name| Scrubbed::new(name).to_string().into()),
            password: client.password.is_some(),
            labels: Cow::Borrowed(&client.labels),
            subscribe: subscribe.into(),
            publish: publish.as_ref().map(|p| Publish { topic: Topic::of(&p.message), every: p.every }),
            will: will.as_ref().map(Topic::of),
            birth: birth.as_ref().map(Topic::of),
            gone: client.is_gone,
        }
    }

    /// The client; it shares what it has in common with the one before it.
    fn client(self, settings: Arc<Settings>, before: Option<&Client>) -> Client {
        let conversation = Conversation {
            will: self.will.as_ref().map(Topic::message),
            birth: self.birth.as_ref().map(Topic::message),
            publish: self.publish.map(|p| Traffic { message: p.topic.message(), every: p.every }),
            subscribe: self.subscribe.into_owned(),
        };
        let endpoints = before.map(|c| &c.endpoints).filter(|known| ***known == *self.endpoints).cloned();
        let labels = before.map(|c| &c.labels).filter(|known| ***known == *self.labels).cloned();
        let shared = before.map(|c| &c.conversation).filter(|known| ***known == conversation).cloned();
        Client {
            endpoints: endpoints.unwrap_or_else(|| self.endpoints.as_ref().into()),
            username: self.username.map(|name| name.as_ref().into()),
            password: self.password.then(|| Password::Fixed(Secret::new(String::new()))),
            labels: labels.unwrap_or_else(|| Arc::new(self.labels.into_owned())),
            conversation: shared.unwrap_or_else(|| Arc::new(conversation)),
            is_gone: self.gone,
            ..Client::new(&self.client, EndpointKey(0), settings)
        }
    }
}

impl<'a> Topic<'a> {
    fn of(message: &'a Message) -> Topic<'a> {
        Topic { topic: (&*message.topic).into(), qos: message.qos, retain: message.retain }
    }

    fn message(&self) -> Message {
        Message { topic: (&*self.topic).into(), payload: Arc::default(), qos: self.qos, retain: self.retain }
    }
}
