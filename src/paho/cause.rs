//! Defines how what Paho tells of a failure becomes a reason and its detail; pure.

use std::io;

use paho_mqtt as mqtt;
use rustix::io::Errno;

use super::tap::Fault;
use crate::{event::Cause, event::Reason, fleet::Protocol, text::Scrubbed};

fn cause(reason: Reason, detail: &str) -> Cause {
    Cause { reason, detail: Scrubbed::new(detail) }
}

/// Why a connection that was up is lost.
pub(super) fn lost(fault: Option<Fault>) -> Cause {
    let Some(Fault::System { errno, .. }) = fault else {
        return match fault {
            Some(Fault::PingTimeout) => {
                cause(Reason::KeepAliveTimeout, "no PINGRESP within one and a half times the keep alive")
            }
            // An orderly end of the stream is no error to the system, so there is no line about it.
            _ => cause(Reason::ConnectionLost, "the broker closed the connection"),
        };
    };
    match Errno::from_raw_os_error(errno) {
        Errno::PIPE => cause(Reason::ConnectionLost, "the broker closed the connection"),
        _ => cause(Reason::ConnectionLost, &words(errno)),
    }
}

/// Why the broker, speaking MQTT 5.0, ended a connection. `words` is its reason string, if any.
pub(super) fn server_disconnect(code: mqtt::ReasonCode, words: Option<String>) -> Cause {
    let detail = words.unwrap_or_default();
    if code.is_err() {
        return cause(Reason::from_code(code as u32 as u8), &detail);
    }
    let detail = if detail.is_empty() { "the broker said goodbye" } else { &detail };
    cause(Reason::ConnectionLost, detail)
}

/// Why a connect failed. `rc` is what the failure callback was given: above 0 the broker's code,
/// else Paho's own.
pub(super) fn refused(protocol: Protocol, rc: i32, error: &mqtt::Error, fault: Option<Fault>) -> Cause {
    if let (Ok(code @ 1..), _) = (u8::try_from(rc), error) {
        // Paho does not hand on the CONNACK's properties, so there is no reason string to be had.
        return match protocol {
            Protocol::V311 if code > 5 => cause(Reason::OtherBrokerReason, &format!("CONNACK return code {code}")),
            Protocol::V311 => cause(Reason::from_return_code(code), ""),
            Protocol::V5 if Reason::from_code(code) == Reason::OtherBrokerReason => {
                cause(Reason::OtherBrokerReason, &format!("CONNACK reason code 0x{code:02x}"))
            }
            Protocol::V5 => cause(Reason::from_code(code), ""),
        };
    }
    if let Some(Fault::System { errno, .. }) = fault {
        return system(errno);
    }
    match error {
        mqtt::Error::TcpConnectTimeout => cause(Reason::ConnectTimeout, ""),
        // Paho keeps to itself what the socket said.
        mqtt::Error::TcpTlsConnectFailure => cause(Reason::ConnectionRefused, "refused or unreachable"),
        mqtt::Error::TcpConnectCompletionFailure => {
            cause(Reason::ConnectionLost, "the broker closed the connection instead of answering CONNECT")
        }
        other => cause(Reason::Internal, &other.to_string()),
    }
}

/// What a failed system call says about a connect.
pub(super) fn system(errno: i32) -> Cause {
    let reason = match Errno::from_raw_os_error(errno) {
        Errno::CONNREFUSED => return cause(Reason::ConnectionRefused, ""),
        Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::HOSTDOWN | Errno::ADDRNOTAVAIL => {
            Reason::NetworkUnreachable
        }
        Errno::TIMEDOUT => Reason::ConnectTimeout,
        Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED => Reason::ConnectionLost,
        _ => Reason::Internal,
    };
    cause(reason, &words(errno))
}

/// The system's words for an error, without the number that the library adds.
fn words(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
