//! Defines what can happen to a fleet (the stream that flows up from the engine to every consumer); what should happen is in `command`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    fleet::{ClientKey, EndpointKey, ProbeKind, WorkerKey},
    text::Scrubbed,
};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub at: Moment,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A client changed its state.
    State(Transition),
    /// A probe of a client was answered.
    Sample(Sample),
    /// A worker process started, died or was restarted.
    Worker { worker: WorkerKey, event: WorkerEvent, detail: Scrubbed },
    /// This many samples were thrown away somewhere because a queue was full.
    SamplesLost(u32),
    /// Who waits for an endpoint, and what it lets through.
    Gate(EndpointKey, Gate),
    /// Messages that a client received and published since the last time, its probes left out of the
    /// latter.
    Messages(Messages),
    /// Something the operator should read that is about no single client.
    Notice { level: Level, text: Scrubbed },
    /// What trouble the demo is making now.
    Trouble(Scrubbed),
}

/// A client's step from one state to another, with all that explains it.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    pub client: ClientKey,
    pub endpoint: EndpointKey,
    pub from: State,
    pub to: State,
    pub reason: Reason,
    /// The broker's or the system's own words, where there are any.
    pub detail: Scrubbed,
    /// The number of this try since the client was last stable, from 1; 0 while it never tried.
    pub attempt: u32,
    /// When the next try is due, where one is.
    pub next_try: Option<Duration>,
}

/// A measured round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub client: ClientKey,
    pub probe: ProbeKind,
    pub rtt: Duration,
}

/// An endpoint's gate: every connect of a client goes through it.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    pub condition: Condition,
    /// Clients in its queue.
    pub waiting: u32,
    /// Connects under way.
    pub in_flight: u32,
    /// Connects a second: what is set,
    pub rate_set: u32,
    /// and what a busy broker leaves of it.
    pub rate: u32,
    /// When the last in the queue has its turn, as far as the rate decides.
    pub eta: Duration,
}

/// Whether an endpoint may be connected to.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Nobody asked yet.
    Unknown,
    /// Asked for the first time.
    Probing,
    /// It answers.
    Open,
    /// It does not; when it is asked again, unless that is under way.
    Shut { cause: Cause, next_probe: Option<Moment> },
    /// The operator lets nobody through.
    OnHold,
}

impl Condition {
    /// The stable name, as scripts read it.
    pub fn name(&self) -> &'static str {
        match self {
            Condition::Unknown => "unknown",
            Condition::Probing => "probing",
            Condition::Open => "open",
            Condition::Shut { .. } => "shut",
            Condition::OnHold => "on_hold",
        }
    }
}

/// How many messages came and went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Messages {
    pub client: ClientKey,
    pub received: u32,
    pub published: u32,
}

/// The number of a connect order for one client. News of a connection carries it, so that news of an
/// abandoned one can be told from news of the present one.
pub type Generation = u32;

/// A step of one connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// CONNACK 0.
    Up { session_present: bool },
    /// The connect failed, or the connection ended: the generation is over.
    Ended(Cause),
}

/// Why a connection ended or did not come about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    pub reason: Reason,
    pub detail: Scrubbed,
}

/// Where a client stands in its lifecycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Stopped by the operator, or not started.
    Off,
    /// Not allowed to connect because what it needs is not there: its worker, its endpoint, or the
    /// operator's leave.
    Held,
    /// Waiting for its endpoint's admission.
    Queued,
    /// A connect is under way.
    Connecting,
    /// The broker accepted it.
    Up,
    /// Waiting for the next try.
    Backoff,
    /// Given up until the operator says otherwise, or for long.
    Failed,
}

impl State {
    pub const ALL: [State; 7] =
        [State::Off, State::Held, State::Queued, State::Connecting, State::Up, State::Backoff, State::Failed];

    /// The stable name, as scripts read it.
    pub fn name(self) -> &'static str {
        match self {
            State::Off => "off",
            State::Held => "held",
            State::Queued => "queued",
            State::Connecting => "connecting",
            State::Up => "up",
            State::Backoff => "backoff",
            State::Failed => "failed",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerEvent {
    Started,
    Died,
    Restarted,
}

impl WorkerEvent {
    pub fn name(self) -> &'static str {
        match self {
            WorkerEvent::Started => "started",
            WorkerEvent::Died => "died",
            WorkerEvent::Restarted => "restarted",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Info,
    Warning,
    Error,
}

/// Why a client changed its state. The set is closed and the names are stable; what the other side
/// said in its own words goes into the transition's detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    // Ours
    Start,
    NotStarted,
    OperatorConnect,
    OperatorReconnect,
    OperatorDisconnect,
    OperatorHold,
    Retry,
    Admitted,
    Connected,
    RetriesExhausted,
    WorkerLost,
    WorkerReady,
    EndpointUnknown,
    EndpointOpen,
    Failover,
    Failback,
    Redirected,
    DuplicateClientId,
    Internal,
    // The network's
    ConnectionLost,
    ConnectionRefused,
    ConnectTimeout,
    KeepAliveTimeout,
    NameNotResolved,
    NetworkUnreachable,
    HostUnreachable,
    ConnectionReset,
    DnsTimeout,
    ProxyRefused,
    ProxyAuthenticationRequired,
    ProxyFailed,
    NotTls,
    TlsFailed,
    CaFileUnusable,
    CertificateExpired,
    CertificateNotYetValid,
    CertificateSelfSigned,
    CertificateUnknownCa,
    CertificateNameMismatch,
    CertificateInvalid,
    // The broker's: CONNACK of MQTT 3.1.1 (§3.2.2.3) and reason codes of MQTT 5.0 (§2.4)
    UnspecifiedError,
    MalformedPacket,
    ProtocolError,
    ImplementationError,
    UnsupportedProtocolVersion,
    ClientIdRejected,
    BadCredentials,
    NotAuthorized,
    ServerUnavailable,
    ServerBusy,
    Banned,
    ServerShuttingDown,
    BadAuthenticationMethod,
    KeepAliveExpired,
    SessionTakenOver,
    TopicInvalid,
    ReceiveMaximumExceeded,
    PacketTooLarge,
    MessageRateTooHigh,
    QuotaExceeded,
    AdministrativeAction,
    PayloadFormatInvalid,
    RetainNotSupported,
    QosNotSupported,
    UseAnotherServer,
    ServerMoved,
    ConnectionRateExceeded,
    MaximumConnectTime,
    OtherBrokerReason,
}

/// What waiting can do about a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Trying again may well help.
    Retry,
    /// The broker has too much to do: trying again helps, but all of its clients slower.
    Busy,
    /// Somebody has to mend something at the broker, so there is no use in trying again soon.
    Later,
    /// Another connection has the same client ID: trying again throws that one off.
    TakeOver,
    /// Another endpoint may take it.
    Redirect,
    /// Nothing but a changed configuration helps, here or at the broker.
    Operator,
}

impl Reason {
    /// The reason behind an MQTT 5.0 reason code (§2.4) of 0x80 or more.
    pub fn from_code(code: u8) -> Reason {
        use Reason::*;
        match code {
            0x80 => UnspecifiedError,
            0x81 => MalformedPacket,
            0x82 => ProtocolError,
            0x83 => ImplementationError,
            0x84 => UnsupportedProtocolVersion,
            0x85 => ClientIdRejected,
            0x86 => BadCredentials,
            0x87 => NotAuthorized,
            0x88 => ServerUnavailable,
            0x89 => ServerBusy,
            0x8a => Banned,
            0x8b => ServerShuttingDown,
            0x8c => BadAuthenticationMethod,
            0x8d => KeepAliveExpired,
            0x8e => SessionTakenOver,
            0x8f | 0x90 => TopicInvalid,
            0x93 => ReceiveMaximumExceeded,
            0x95 => PacketTooLarge,
            0x96 => MessageRateTooHigh,
            0x97 => QuotaExceeded,
            0x98 => AdministrativeAction,
            0x99 => PayloadFormatInvalid,
            0x9a => RetainNotSupported,
            0x9b => QosNotSupported,
            0x9c => UseAnotherServer,
            0x9d => ServerMoved,
            0x9f => ConnectionRateExceeded,
            0xa0 => MaximumConnectTime,
            _ => OtherBrokerReason,
        }
    }

    /// The reason behind a CONNACK return code of MQTT 3.1.1 (§3.2.2.3).
    pub fn from_return_code(code: u8) -> Reason {
        match code {
            1 => Reason::UnsupportedProtocolVersion,
            2 => Reason::ClientIdRejected,
            3 => Reason::ServerUnavailable,
            4 => Reason::BadCredentials,
            5 => Reason::NotAuthorized,
            _ => Reason::OtherBrokerReason,
        }
    }

    /// The stable name, as scripts read it.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The reason in a few words, as a person reads it.
    pub fn words(self) -> &'static str {
        self.row().1
    }

    /// Whether the broker itself said so.
    pub fn is_brokers(self) -> bool {
        self as u8 >= Reason::UnspecifiedError as u8
    }

    /// Whether it is about the way to the broker, and so may well be true of others at the same endpoint.
    pub fn is_network(self) -> bool {
        (Reason::ConnectionLost as u8..Reason::UnspecifiedError as u8).contains(&(self as u8))
    }

    pub fn remedy(self) -> Remedy {
        use Reason::*;
        match self {
            BadCredentials | NotAuthorized => Remedy::Later,
            ServerUnavailable | ServerBusy | ServerShuttingDown | QuotaExceeded | ConnectionRateExceeded => {
                Remedy::Busy
            }
            SessionTakenOver => Remedy::TakeOver,
            UseAnotherServer | ServerMoved => Remedy::Redirect,
            UnsupportedProtocolVersion
            | ClientIdRejected
            | Banned
            | BadAuthenticationMethod
            | TopicInvalid
            | RetainNotSupported
            | QosNotSupported
            | DuplicateClientId
            | RetriesExhausted
            | ProxyAuthenticationRequired
            | NotTls
            | CaFileUnusable
            | CertificateExpired
            | CertificateNotYetValid
            | CertificateSelfSigned
            | CertificateUnknownCa
            | CertificateNameMismatch
            | CertificateInvalid => Remedy::Operator,
            _ => Remedy::Retry,
        }
    }

    fn row(self) -> (&'static str, &'static str) {
        use Reason::*;
        match self {
            Start => ("start", "starting"),
            NotStarted => ("not_started", "not started"),
            OperatorConnect => ("operator_connect", "connect asked for"),
            OperatorReconnect => ("operator_reconnect", "reconnect asked for"),
            OperatorDisconnect => ("operator_disconnect", "disconnected by operator"),
            OperatorHold => ("operator_hold", "endpoint held by operator"),
            Retry => ("retry", "trying again"),
            Admitted => ("admitted", "connecting"),
            Connected => ("connected", "connected"),
            RetriesExhausted => ("retries_exhausted", "out of retries"),
            WorkerLost => ("worker_lost", "worker died"),
            WorkerReady => ("worker_ready", "worker is back"),
            EndpointUnknown => ("endpoint_unknown", "endpoint not probed yet"),
            EndpointOpen => ("endpoint_open", "endpoint answers"),
            Failover => ("failover", "moved to the next endpoint"),
            Failback => ("failback", "back to a preferred endpoint"),
            Redirected => ("redirected", "sent here by the broker"),
            DuplicateClientId => ("duplicate_client_id", "same client ID used twice"),
            Internal => ("internal", "internal error"),
            ConnectionLost => ("connection_lost", "connection lost"),
            ConnectionRefused => ("connection_refused", "connection refused"),
            ConnectTimeout => ("connect_timeout", "connect timed out"),
            KeepAliveTimeout => ("keep_alive_timeout", "no answer to ping"),
            NameNotResolved => ("name_not_resolved", "host name not found"),
            NetworkUnreachable => ("network_unreachable", "network unreachable"),
            HostUnreachable => ("host_unreachable", "host unreachable"),
            ConnectionReset => ("connection_reset", "connection reset"),
            DnsTimeout => ("dns_timeout", "name lookup timed out"),
            ProxyRefused => ("proxy_refused", "refused by proxy"),
            ProxyAuthenticationRequired => ("proxy_authentication_required", "proxy wants a password"),
            ProxyFailed => ("proxy_failed", "proxy failed"),
            NotTls => ("not_tls", "no TLS at this port"),
            TlsFailed => ("tls_failed", "TLS failed"),
            CaFileUnusable => ("ca_file_unusable", "CA file cannot be used"),
            CertificateExpired => ("certificate_expired", "certificate expired"),
            CertificateNotYetValid => ("certificate_not_yet_valid", "certificate not yet valid"),
            CertificateSelfSigned => ("certificate_self_signed", "certificate self-signed"),
            CertificateUnknownCa => ("certificate_unknown_ca", "certificate of unknown CA"),
            CertificateNameMismatch => ("certificate_name_mismatch", "certificate for another host"),
            CertificateInvalid => ("certificate_invalid", "certificate not acceptable"),
            UnspecifiedError => ("unspecified_error", "broker: unspecified error"),
            MalformedPacket => ("malformed_packet", "broker: malformed packet"),
            ProtocolError => ("protocol_error", "broker: protocol error"),
            ImplementationError => ("implementation_error", "broker: implementation error"),
            UnsupportedProtocolVersion => ("unsupported_protocol_version", "MQTT version refused"),
            ClientIdRejected => ("client_id_rejected", "client ID rejected"),
            BadCredentials => ("bad_credentials", "bad user name or password"),
            NotAuthorized => ("not_authorized", "not authorized"),
            ServerUnavailable => ("server_unavailable", "broker unavailable"),
            ServerBusy => ("server_busy", "broker busy"),
            Banned => ("banned", "banned by broker"),
            ServerShuttingDown => ("server_shutting_down", "broker shutting down"),
            BadAuthenticationMethod => ("bad_authentication_method", "bad authentication method"),
            KeepAliveExpired => ("keep_alive_expired", "broker missed our pings"),
            SessionTakenOver => ("session_taken_over", "taken over: same client ID"),
            TopicInvalid => ("topic_invalid", "topic not accepted"),
            ReceiveMaximumExceeded => ("receive_maximum_exceeded", "receive maximum exceeded"),
            PacketTooLarge => ("packet_too_large", "packet too large"),
            MessageRateTooHigh => ("message_rate_too_high", "message rate too high"),
            QuotaExceeded => ("quota_exceeded", "quota exceeded"),
            AdministrativeAction => ("administrative_action", "kicked by administrator"),
            PayloadFormatInvalid => ("payload_format_invalid", "payload format invalid"),
            RetainNotSupported => ("retain_not_supported", "retain not supported"),
            QosNotSupported => ("qos_not_supported", "QoS not supported"),
            UseAnotherServer => ("use_another_server", "told to use another broker"),
            ServerMoved => ("server_moved", "broker moved"),
            ConnectionRateExceeded => ("connection_rate_exceeded", "connection rate exceeded"),
            MaximumConnectTime => ("maximum_connect_time", "maximum connect time reached"),
            OtherBrokerReason => ("other_broker_reason", "refused by broker"),
        }
    }
}
