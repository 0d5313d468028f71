//! Defines the doctor's verdict on an endpoint in one sentence, and what to do about it; how a reason is called is the words' matter.

use chrono::{DateTime, Utc};

use crate::{
    event::{Failure, Finding, Reason, StageKind},
    fleet::Endpoint,
    words::{self, figures},
};

/// A certificate that ends within so many days is worth a word.
const SOON: i64 = 21;

/// What is to be said of an endpoint in one sentence.
pub(super) fn verdict(finding: &Finding) -> String {
    if let Some(Failure { stage, cause }) = &finding.failure {
        return format!("failed at {}: {}", stage.name(), words::reason(cause.reason, &cause.detail));
    }
    let answers = format!("answers after {}", figures::latency(finding.took()));
    match &finding.session {
        Some(session) if session.wants_certificate => format!("{answers}, but only to clients with a certificate"),
        Some(session) => match &session.overlooked {
            Some(flaw) => {
                format!("{answers}, but was not verified: {}", words::reason(flaw.reason, &flaw.detail))
            }
            None => answers,
        },
        None => answers,
    }
}

/// What to do about it, if anything.
pub(super) fn advice(endpoint: &Endpoint, finding: &Finding, now: DateTime<Utc>) -> Option<String> {
    let Some(Failure { stage, cause }) = &finding.failure else {
        let days = finding.session.iter().flat_map(|s| &s.chain).filter_map(|c| c.days_left(now)).min()?;
        return (days < SOON).then(|| match days {
            ..0 => format!("renew a certificate of the chain: one ended {} ago", self::days(-days)),
            _ => format!("renew a certificate of the chain: one ends in {}", self::days(days)),
        });
    };
    let address = endpoint.address();
    let to_proxy = endpoint.proxy.is_some() && *stage < StageKind::Proxy;
    let whom = match &endpoint.proxy {
        Some(proxy) if to_proxy => format!("the proxy {}:{}", proxy.host, proxy.port),
        _ => format!("a broker at {address}"),
    };
    Some(match cause.reason {
        Reason::NameNotResolved => "check the host name for typing errors, and that this host's DNS knows it".into(),
        Reason::DnsTimeout => "check this host's name servers (/etc/resolv.conf): they do not answer".into(),
        Reason::ConnectionRefused => format!("check that {whom} is running, and the port"),
        Reason::ConnectTimeout if *stage == StageKind::Tcp => {
            format!("check that {whom} is running and accepts connections, and the firewalls on the way")
        }
        Reason::ConnectTimeout => {
            format!("the connection stands, but nobody speaks: check the process behind {address}")
        }
        Reason::HostUnreachable | Reason::NetworkUnreachable => "check routes, VPN and firewalls of this host".into(),
        // Mosquitto resets what is no MQTT on its plain port.
        Reason::NotTls | Reason::TlsFailed | Reason::ConnectionReset if *stage == StageKind::Tls => {
            "check that this is the broker's TLS port (8883 is usual), and the broker's log".into()
        }
        Reason::ConnectionReset => "look at the broker's log, and for a firewall or load balancer on the way".into(),
        Reason::ProxyRefused => format!("let the proxy allow CONNECT to {address}"),
        Reason::ProxyAuthenticationRequired => "give the proxy's user name and password, or mend them".into(),
        Reason::ProxyFailed => format!("check that it is an HTTP proxy and that it reaches {address}"),
        Reason::CaFileUnusable => "name a readable file with the CA's certificate in PEM".into(),
        Reason::CertificateExpired => "renew the broker's certificate; if it is new, check this host's clock".into(),
        Reason::CertificateNotYetValid => "check the clocks of this host and of the certificate's issuer".into(),
        Reason::CertificateSelfSigned => {
            "name this certificate as ca_file, once you know that it is the broker's".into()
        }
        Reason::CertificateUnknownCa => {
            "name its CA as ca_file; if that is right, let the broker send its intermediate certificates too".into()
        }
        Reason::CertificateNameMismatch => "connect by a name that the certificate has, or have it issued anew".into(),
        _ => "look at the broker's log".into(),
    })
}

/// A number of days and its noun.
pub(super) fn days(n: i64) -> String {
    if n == 1 { "1 day".into() } else { format!("{} days", figures::count(n)) }
}
