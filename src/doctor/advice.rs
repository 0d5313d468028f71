//! Defines the doctor's verdict in one sentence, and what to do about it; how a reason is called is the words' matter.

use chrono::{DateTime, Utc};

use super::{
    case::{Case, Failure},
    trial::{Granted, Step, Trial, Why},
};
use crate::{
    event::{Cause, Expiry, Reason, StageKind},
    fleet::{Endpoint, ProbeKind, Protocol, ProxyKind, TlsMinimum},
    text::Scrubbed,
    transport::Apart,
    words::{self, figures},
};

/// What is to be said of an endpoint, and of the client there, in one sentence.
pub(super) fn verdict(case: &Case<'_>) -> String {
    if let Some(failure) = case.failure() {
        let stage = failure.kind().name();
        return match failure {
            Failure::Probe(_, cause) | Failure::Trial(_, Why::Ended(cause)) => {
                format!("failed at {stage}: {}", words::reason(cause.reason, &cause.detail))
            }
            Failure::Trial(_, Why::Refused) => {
                format!("failed at {stage}: subscription refused: {}", detail(case, failure))
            }
            Failure::Trial(..) => format!("failed at {stage}: {}", detail(case, failure)),
        };
    }
    let took = figures::latency(case.took());
    let Some(trial) = case.trial else { return answers(case, &took) };
    let client = case.patient.map_or("the client", |p| p.client.name.as_str());
    let does: Vec<&str> = trial.steps.iter().filter_map(|(step, _)| does(*step)).collect();
    let does = match does.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => does.concat(),
    };
    let lesser: Vec<String> = trial.subscriptions.iter().filter_map(lesser).collect();
    let lesser = if lesser.is_empty() { String::new() } else { format!(", but {}", lesser.join(", ")) };
    format!("{client} {does}, all within {took}{lesser}")
}

fn does(step: Step) -> Option<&'static str> {
    match step {
        Step::Connect => None,
        Step::Connack => Some("connects"),
        Step::Suback => Some("subscribes"),
        Step::Probe(ProbeKind::Echo) => Some("hears its echo"),
        Step::Probe(_) => Some("is answered"),
    }
}

fn lesser(s: &Granted) -> Option<String> {
    let granted = s.granted.filter(|granted| *granted < s.asked)?;
    Some(format!("gets {} with QoS {granted} instead of {}", s.filter, s.asked))
}

fn answers(case: &Case<'_>, took: &str) -> String {
    let answers = format!("answers after {took}");
    let Some(session) = &case.finding.session else { return answers };
    if session.wants_certificate {
        return format!("{answers}, but only to clients with a certificate");
    }
    match &session.overlooked {
        Some(flaw) => format!("{answers}, but was not verified: {}", words::reason(flaw.reason, &flaw.detail)),
        None => answers,
    }
}

/// What happened, but for the reason's own words.
pub(super) fn detail(case: &Case<'_>, failure: Failure<'_>) -> String {
    match failure {
        Failure::Probe(_, cause) | Failure::Trial(_, Why::Ended(cause)) => cause.detail.to_string(),
        Failure::Trial(_, Why::Refused) => {
            let refused = case.trial.iter().flat_map(|t| &t.subscriptions).filter(|s| s.granted.is_none());
            let words = |s: &Granted| match s.detail.as_str() {
                "" => s.filter.to_string(),
                why => format!("{}: {why}", s.filter),
            };
            refused.map(words).collect::<Vec<_>>().join("; ")
        }
        Failure::Trial(_, Why::NoSuback) => "no answer to a subscription".into(),
        Failure::Trial(_, Why::NoEcho(why)) if !why.is_empty() => why.to_string(),
        Failure::Trial(step, Why::NoEcho(_)) => format!("the {} never came", step.name()),
    }
}

/// What to do about it, if anything.
pub(super) fn advice(case: &Case<'_>, now: DateTime<Utc>) -> Option<String> {
    match (case.failure(), case.trial) {
        (Some(Failure::Probe(stage, cause)), _) => Some(at_endpoint(case, stage, cause)),
        (Some(Failure::Trial(step, Why::Ended(cause))), _) => Some(of_client(case, step, cause)),
        (Some(Failure::Trial(_, why)), Some(trial)) => Some(of_rights(case, why, trial)),
        _ => of_certificates(case, now),
    }
}

/// What a certificate asks for that is still good, or is not looked at.
fn of_certificates(case: &Case<'_>, now: DateTime<Utc>) -> Option<String> {
    let days = case.finding.session.iter().flat_map(|s| &s.chain).filter_map(|c| c.days_left(now)).min()?;
    (days < Expiry::SOON).then(|| match days {
        ..0 => format!("renew a certificate of the chain: one ended {} ago", self::days(-days)),
        _ => format!("renew a certificate of the chain: one ends in {}", self::days(days)),
    })
}

fn at_endpoint(case: &Case<'_>, stage: StageKind, cause: &Cause) -> String {
    let endpoint = case.endpoint;
    let address = endpoint.address();
    let whom = match &endpoint.proxy {
        Some(_) if stage <= StageKind::Proxy => proxy(endpoint),
        _ => format!("a broker at {address}"),
    };
    match cause.reason {
        Reason::NameNotResolved => "check the host name for typing errors, and that this host's DNS knows it".into(),
        Reason::DnsTimeout => "check this host's name servers (/etc/resolv.conf): they do not answer".into(),
        Reason::ConnectionRefused => format!("check that {whom} is running, and the port"),
        Reason::ConnectTimeout if stage == StageKind::Tcp => {
            format!("check that {whom} is running and accepts connections, and the firewalls on the way")
        }
        Reason::ConnectTimeout if stage == StageKind::Proxy => {
            format!(
                "the connection to it stands, but it does not speak: check {whom}, and whether it reaches {address}"
            )
        }
        Reason::ConnectTimeout => {
            format!("the connection stands, but nobody speaks: check the process behind {address}")
        }
        Reason::HostUnreachable | Reason::NetworkUnreachable => "check routes, VPN and firewalls of this host".into(),
        Reason::NotTls | Reason::TlsFailed | Reason::ConnectionReset | Reason::ConnectionLost
            if stage == StageKind::Tls =>
        {
            of_tls(endpoint, cause)
        }
        Reason::ConnectionReset => "look at the broker's log, and for a firewall or load balancer on the way".into(),
        Reason::ProxyRefused => format!("let {} allow {address}", proxy(endpoint)),
        Reason::ProxyAuthenticationRequired => {
            format!("give the user name and password of {}, or mend them", proxy(endpoint))
        }
        Reason::ProxyFailed => format!("check that {} is one, and that it reaches {address}", proxy(endpoint)),
        Reason::WebSocketRefused => {
            "check port and path (/mqtt is usual), and what stands in front of the broker".into()
        }
        Reason::CaFileUnusable => "name a readable file with the CA's certificate in PEM".into(),
        Reason::CertificateSelfSigned | Reason::CertificateUnknownCa | Reason::CertificateNameMismatch
            if stage == StageKind::Proxy =>
        {
            "have this host's trust store vouch for the proxy, and name the proxy as its certificate does".into()
        }
        Reason::CertificateExpired | Reason::CertificateNotYetValid | Reason::CertificateInvalid
            if stage == StageKind::Proxy =>
        {
            format!("have whoever runs {whom} mend its certificate, once this host's clock is right")
        }
        Reason::CertificateExpired => "renew the broker's certificate; if it is new, check this host's clock".into(),
        Reason::CertificateNotYetValid => "check the clocks of this host and of the certificate's issuer".into(),
        Reason::CertificateSelfSigned => {
            "name this certificate as ca_file, once you know that it is the broker's".into()
        }
        Reason::CertificateUnknownCa => "name the certificate of the CA that issued it as ca_file".into(),
        Reason::CertificateNameMismatch => {
            "connect by a name that the certificate has, set server_name to it, or have it issued anew".into()
        }
        _ => "look at the broker's log".into(),
    }
}

/// The endpoint's proxy: what it speaks, where it is and, where the fleet file does not name it, who does.
pub(super) fn proxy(endpoint: &Endpoint) -> String {
    let Some(proxy) = &endpoint.proxy else { return "the proxy".into() };
    let kind = match proxy.kind {
        ProxyKind::Http => "HTTP",
        ProxyKind::Https => "HTTPS",
        ProxyKind::Socks5 | ProxyKind::Socks5h => "SOCKS5",
    };
    let place = format!("the {kind} proxy {}:{}", proxy.host, proxy.port);
    match &proxy.variable {
        Some(variable) => format!("{place} (set by the environment variable {variable})"),
        None => place,
    }
}

/// What to do where TLS does not come about, and no certificate is the cause.
fn of_tls(endpoint: &Endpoint, cause: &Cause) -> String {
    let is_strict = endpoint.transport.tls().is_some_and(|tls| tls.min_version == TlsMinimum::V1_3);
    match Apart::told(&cause.detail) {
        Some(Apart::Version) if is_strict => "let the broker speak TLS 1.3, or set tls_min = \"1.2\"".into(),
        Some(Apart::Version) => "let the broker speak TLS 1.2 or later: older versions are broken".into(),
        Some(Apart::Cipher) => {
            "compare the broker's ciphers and the kind of its key with what OpenSSL takes: no old ones".into()
        }
        Some(Apart::Protocol) => "set alpn to a protocol that the broker's listener has, or leave it out".into(),
        Some(Apart::Host) => "set server_name to the host that the broker's certificate is for".into(),
        // Mosquitto resets what is no MQTT on its plain port.
        Some(Apart::Port) => {
            "check that this is the broker's TLS port (8883 is usual), and in the broker's log whether it is full"
                .into()
        }
        None if cause.reason == Reason::NotTls => "check that this is the broker's TLS port (8883 is usual)".into(),
        None => "look at the broker's log, and for a firewall or load balancer on the way".into(),
    }
}

/// What to do about a client without a certificate at a broker that demands one.
const WANTED: &str = "give the client a certificate: cert_file and key_file";

/// What to do where a client got no connection, or lost it again.
fn of_client(case: &Case<'_>, step: Step, cause: &Cause) -> String {
    let is_up = !matches!(step, Step::Connect | Step::Connack);
    let settings = case.patient.map(|p| &p.client.settings);
    let is_v5 = settings.is_some_and(|s| s.protocol == Protocol::V5);
    let suspect = case.trial.and_then(|t| t.unanswered.as_deref()).filter(|u| u.is_suspect());
    let has_certificate = case.patient.is_some_and(|p| p.client.identity.is_some());
    let wants_certificate = case.finding.session.as_ref().is_some_and(|s| s.wants_certificate);
    match cause.reason {
        Reason::SessionTakenOver => {
            "another client connected with this ID: stop that one first, or ask with --as ID".into()
        }
        Reason::ConnectionLost | Reason::NotAuthorized if is_up && suspect.is_some() => {
            let packet = suspect.map(|s| s.packet.as_str()).unwrap_or_default();
            let client = case.patient.map_or("this client", |p| p.client.name.as_str());
            format!("let the broker's access rules (ACL) allow it to {client}: the broker closed on {packet}")
        }
        // Mosquitto, for one, says nothing more of it.
        Reason::ConnectionLost if is_up => {
            "look at the broker's log: so it ends where another client has the same ID, which --as ID would show".into()
        }
        Reason::BadCredentials => "mend the client's user name or password, or the broker's record of them".into(),
        // A broker that speaks MQTT 3.1.1 mostly says so of a wrong password, too.
        Reason::NotAuthorized => {
            "check user name and password, and which clients the broker's access rules (ACL) let in".into()
        }
        Reason::PasswordUnavailable => "mend where the client's password comes from: its file, or its command".into(),
        Reason::TooManyOpenFiles => {
            "raise the limit of open files: ulimit -n, or LimitNOFILE= in a systemd unit".into()
        }
        Reason::ClientIdRejected => "give the client an ID that the broker takes: it may mind length or signs".into(),
        Reason::UnsupportedProtocolVersion => match settings.map(|s| s.protocol) {
            Some(Protocol::V311) => "set protocol = \"5\" for this client".into(),
            _ => "set protocol = \"3.1.1\" for this client".into(),
        },
        Reason::ConnectionLost | Reason::ConnectTimeout if step == Step::Connack && is_v5 => format!(
            "it may speak MQTT 3.1.1 only: set protocol = \"3.1.1\" or \"auto\"; else check the process behind {}, and \
             its log",
            case.endpoint.address()
        ),
        Reason::ServerUnavailable | Reason::ServerBusy | Reason::QuotaExceeded | Reason::ConnectionRateExceeded => {
            "ask again later; if it stays so, look at the broker's load and its limits for clients".into()
        }
        Reason::ServerShuttingDown => "ask again when the broker is back".into(),
        Reason::Banned | Reason::AdministrativeAction => "ask whoever runs the broker: they have shut it out".into(),
        Reason::BadAuthenticationMethod => {
            "let the broker accept user name and password: there is no enhanced authentication here".into()
        }
        Reason::UseAnotherServer | Reason::ServerMoved => {
            "connect to the broker that it names, or set follow_redirects = true".into()
        }
        Reason::PacketTooLarge => "shorten what the client says of itself: ID, user name, properties".into(),
        Reason::ClientCertificateRefused if !has_certificate => WANTED.into(),
        Reason::TlsFailed if wants_certificate && !has_certificate => WANTED.into(),
        Reason::ClientCertificateRefused => {
            "give the client a certificate that is valid, and of a CA that the broker trusts for its clients".into()
        }
        Reason::TlsFailed => "check the client's certificate, its key, and which CA the broker trusts".into(),
        Reason::ConnectTimeout => {
            format!("the connection stands, but no CONNACK comes: check the process behind {}", case.endpoint.address())
        }
        Reason::WebSocketRefused => {
            "the probe got one: look at what stands in front of the broker, and who answers there now".into()
        }
        Reason::WorkerLost | Reason::WorkerSilent | Reason::Internal => {
            "this is no fault of the broker: see what is said above".into()
        }
        _ => "look at the broker's log: it knows why".into(),
    }
}

/// What to do where the broker accepts a client, but not all that it wants.
fn of_rights(case: &Case<'_>, why: &Why, trial: &Trial) -> String {
    let client = case.patient.map_or("this client", |p| p.client.name.as_str());
    match why {
        Why::Refused => {
            let refused = trial.subscriptions.iter().filter(|s| s.granted.is_none());
            let filters: Vec<&str> = refused.map(|s| s.filter.as_str()).collect();
            format!("let the broker's access rules (ACL) allow {client} to subscribe to {}", filters.join(", "))
        }
        Why::NoSuback => "look at the broker's log: it left a SUBSCRIBE without an answer".into(),
        Why::NoEcho(_) | Why::Ended(_) => {
            let own = case.patient.and_then(|p| p.client.own_probe_topic.as_deref()).map(Scrubbed::new);
            let topic = own.as_ref().map_or("mqfleet/probe/#", Scrubbed::as_str);
            format!("let the broker's access rules (ACL) allow {client} to publish and subscribe to {topic}")
        }
    }
}

/// A number of days and its noun.
pub(super) fn days(n: i64) -> String {
    if n == 1 { "1 day".into() } else { format!("{} days", figures::count(n)) }
}
