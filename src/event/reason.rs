//! Defines why a client changed its state, as a closed set with stable names, and what waiting can do about each; when to try again is the lifecycle's to say.

use serde::{Deserialize, Serialize};

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
    WorkerSilent,
    WorkerReady,
    EndpointUnknown,
    EndpointOpen,
    Failover,
    Failback,
    Redirected,
    ProtocolFallback,
    SessionLost,
    /// The fleet file has it otherwise than before,
    ConfigurationChanged,
    /// or no longer.
    Removed,
    DuplicateClientId,
    PasswordUnavailable,
    TooManyOpenFiles,
    Internal,
    /// The broker broke MQTT's rules, or speaks something else: the connection was ended here.
    ProtocolViolation,
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
    #[serde(rename = "websocket_refused")]
    WebSocketRefused,
    NotTls,
    TlsFailed,
    CaFileUnusable,
    CertificateExpired,
    CertificateNotYetValid,
    CertificateSelfSigned,
    CertificateUnknownCa,
    CertificateNameMismatch,
    CertificateInvalid,
    // The broker's: its alert of TLS, CONNACK of MQTT 3.1.1 (§3.2.2.3) and reason codes of MQTT 5.0 (§2.4)
    ClientCertificateRefused,
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
    // The broker's, though it did not say so: what it did tells
    BrokerFull,
    ProbeRefused,
    PublishRefused,
    SubscribeRefused,
    SuspectedDuplicate,
    NotLetIn,
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
    pub const ALL: [Reason; Reason::NotLetIn as usize + 1] = [
        Reason::Start,
        Reason::NotStarted,
        Reason::OperatorConnect,
        Reason::OperatorReconnect,
        Reason::OperatorDisconnect,
        Reason::OperatorHold,
        Reason::Retry,
        Reason::Admitted,
        Reason::Connected,
        Reason::RetriesExhausted,
        Reason::WorkerLost,
        Reason::WorkerSilent,
        Reason::WorkerReady,
        Reason::EndpointUnknown,
        Reason::EndpointOpen,
        Reason::Failover,
        Reason::Failback,
        Reason::Redirected,
        Reason::ProtocolFallback,
        Reason::SessionLost,
        Reason::ConfigurationChanged,
        Reason::Removed,
        Reason::DuplicateClientId,
        Reason::PasswordUnavailable,
        Reason::TooManyOpenFiles,
        Reason::Internal,
        Reason::ProtocolViolation,
        Reason::ConnectionLost,
        Reason::ConnectionRefused,
        Reason::ConnectTimeout,
        Reason::KeepAliveTimeout,
        Reason::NameNotResolved,
        Reason::NetworkUnreachable,
        Reason::HostUnreachable,
        Reason::ConnectionReset,
        Reason::DnsTimeout,
        Reason::ProxyRefused,
        Reason::ProxyAuthenticationRequired,
        Reason::ProxyFailed,
        Reason::WebSocketRefused,
        Reason::NotTls,
        Reason::TlsFailed,
        Reason::CaFileUnusable,
        Reason::CertificateExpired,
        Reason::CertificateNotYetValid,
        Reason::CertificateSelfSigned,
        Reason::CertificateUnknownCa,
        Reason::CertificateNameMismatch,
        Reason::CertificateInvalid,
        Reason::ClientCertificateRefused,
        Reason::UnspecifiedError,
        Reason::MalformedPacket,
        Reason::ProtocolError,
        Reason::ImplementationError,
        Reason::UnsupportedProtocolVersion,
        Reason::ClientIdRejected,
        Reason::BadCredentials,
        Reason::NotAuthorized,
        Reason::ServerUnavailable,
        Reason::ServerBusy,
        Reason::Banned,
        Reason::ServerShuttingDown,
        Reason::BadAuthenticationMethod,
        Reason::KeepAliveExpired,
        Reason::SessionTakenOver,
        Reason::TopicInvalid,
        Reason::ReceiveMaximumExceeded,
        Reason::PacketTooLarge,
        Reason::MessageRateTooHigh,
        Reason::QuotaExceeded,
        Reason::AdministrativeAction,
        Reason::PayloadFormatInvalid,
        Reason::RetainNotSupported,
        Reason::QosNotSupported,
        Reason::UseAnotherServer,
        Reason::ServerMoved,
        Reason::ConnectionRateExceeded,
        Reason::MaximumConnectTime,
        Reason::OtherBrokerReason,
        Reason::BrokerFull,
        Reason::ProbeRefused,
        Reason::PublishRefused,
        Reason::SubscribeRefused,
        Reason::SuspectedDuplicate,
        Reason::NotLetIn,
    ];

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
        self as u8 >= Reason::ClientCertificateRefused as u8
    }

    /// Whether nothing reached the broker, for a cause that lies here.
    pub fn is_ours(self) -> bool {
        matches!(self, Reason::PasswordUnavailable | Reason::TooManyOpenFiles | Reason::Internal)
    }

    /// Whether it is about the way to the broker, and so may well be true of others at the same endpoint.
    pub fn is_network(self) -> bool {
        (Reason::ConnectionLost as u8..Reason::ClientCertificateRefused as u8).contains(&(self as u8))
    }

    /// Whether that is how a broker with no room for more connections answers them.
    pub fn may_be_full(self) -> bool {
        use Reason::*;
        matches!(self, ConnectionLost | ConnectionRefused | ConnectionReset | ConnectTimeout)
    }

    /// Whether the broker refused who the client is, by its credentials.
    pub fn is_of_credentials(self) -> bool {
        use Reason::*;
        matches!(self, ClientCertificateRefused | BadCredentials | NotAuthorized | NotLetIn)
    }

    /// Whether a broker that ends a connection so may mean the packet that came just before.
    pub fn may_mean_a_packet(self) -> bool {
        use Reason::*;
        matches!(
            self,
            ConnectionLost
                | ConnectionReset
                | UnspecifiedError
                | MalformedPacket
                | ProtocolError
                | ImplementationError
                | NotAuthorized
                | TopicInvalid
                | PayloadFormatInvalid
                | RetainNotSupported
                | QosNotSupported
                | OtherBrokerReason
        )
    }

    /// Whether the client's worker is what is missing.
    pub fn is_workers(self) -> bool {
        matches!(self, Reason::WorkerLost | Reason::WorkerSilent)
    }

    pub fn remedy(self) -> Remedy {
        use Reason::*;
        match self {
            ClientCertificateRefused
            | BadCredentials
            | NotAuthorized
            | PublishRefused
            | SubscribeRefused
            | NotLetIn => Remedy::Later,
            ServerUnavailable
            | ServerBusy
            | ServerShuttingDown
            | QuotaExceeded
            | ConnectionRateExceeded
            | BrokerFull => Remedy::Busy,
            SessionTakenOver | SuspectedDuplicate => Remedy::TakeOver,
            UseAnotherServer | ServerMoved => Remedy::Redirect,
            UnsupportedProtocolVersion
            | ClientIdRejected
            | Banned
            | BadAuthenticationMethod
            | TopicInvalid
            | RetainNotSupported
            | QosNotSupported
            | DuplicateClientId
            | RetriesExhausted => Remedy::Operator,
            // What is wrong on the way, its proxy's password and its certificates among it, is the endpoint's:
            // that is asked before anybody tries again.
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
            WorkerSilent => ("worker_silent", "worker is silent"),
            WorkerReady => ("worker_ready", "worker is back"),
            EndpointUnknown => ("endpoint_unknown", "endpoint not probed yet"),
            EndpointOpen => ("endpoint_open", "endpoint answers"),
            Failover => ("failover", "moved to the next endpoint"),
            Failback => ("failback", "back to a preferred endpoint"),
            Redirected => ("redirected", "sent here by the broker"),
            ProtocolFallback => ("protocol_fallback", "trying MQTT 3.1.1"),
            SessionLost => ("session_lost", "session lost"),
            ConfigurationChanged => ("configuration_changed", "fleet file changed"),
            Removed => ("removed", "no longer in the fleet file"),
            DuplicateClientId => ("duplicate_client_id", "same client ID used twice"),
            PasswordUnavailable => ("password_unavailable", "password not to be had"),
            TooManyOpenFiles => ("too_many_open_files", "too many open files"),
            Internal => ("internal", "internal error"),
            ProtocolViolation => ("protocol_violation", "protocol violation"),
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
            WebSocketRefused => ("websocket_refused", "WebSocket refused"),
            NotTls => ("not_tls", "no TLS at this port"),
            TlsFailed => ("tls_failed", "TLS failed"),
            CaFileUnusable => ("ca_file_unusable", "CA file cannot be used"),
            CertificateExpired => ("certificate_expired", "certificate expired"),
            CertificateNotYetValid => ("certificate_not_yet_valid", "certificate not yet valid"),
            CertificateSelfSigned => ("certificate_self_signed", "certificate self-signed"),
            CertificateUnknownCa => ("certificate_unknown_ca", "certificate of unknown CA"),
            CertificateNameMismatch => ("certificate_name_mismatch", "certificate for another host"),
            CertificateInvalid => ("certificate_invalid", "certificate not acceptable"),
            ClientCertificateRefused => ("client_certificate_refused", "client certificate refused"),
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
            BrokerFull => ("broker_full", "broker full, it seems"),
            ProbeRefused => ("probe_refused", "probe refused"),
            PublishRefused => ("publish_refused", "publish refused"),
            SubscribeRefused => ("subscribe_refused", "subscribe refused"),
            SuspectedDuplicate => ("suspected_duplicate", "same client ID elsewhere, it seems"),
            NotLetIn => ("not_let_in", "not let in, it seems"),
        }
    }
}
