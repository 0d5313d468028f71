//! Defines how a client and its endpoint become what Paho is told at a connect; pure but for the files that Paho reads later.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use paho_mqtt as mqtt;

use super::{Route, message::message};
use crate::{
    fleet::{Protocol, Proxy, Tls, Transport},
    wire::{ClientDef, Remote},
};

/// Where Paho is to connect. It is given an address wherever that does, since it would look up a name
/// under its process-wide lock. For TLS it needs the name, which it sends (SNI) and verifies; for a
/// WebSocket too, since one address may serve many hosts (`Host`, RFC 9110 §7.2); where a proxy stands
/// between, it is the proxy that looks the name up.
pub(super) fn uri(remote: &Remote, address: IpAddr) -> String {
    let remote = &remote.endpoint;
    let by_name = remote.proxy.is_some() || !matches!(remote.transport, Transport::Tcp);
    let host =
        if by_name { named(&remote.host, remote.port) } else { SocketAddr::new(address, remote.port).to_string() };
    match &remote.transport {
        Transport::Tcp => format!("tcp://{host}"),
        Transport::Tls(_) => format!("ssl://{host}"),
        Transport::WebSocket(w) => format!("ws://{host}{}", w.path),
        Transport::SecureWebSocket(w, _) => format!("wss://{host}{}", w.path),
        Transport::Unix(path) => format!("unix://{}", path.display()),
    }
}

fn named(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

pub(super) fn connect_options(def: &ClientDef, route: &Route, hop: IpAddr) -> mqtt::Result<mqtt::ConnectOptions> {
    let remote = route.remote();
    let mut options = mqtt::ConnectOptionsBuilder::with_mqtt_version(version(def.protocol));
    match def.protocol {
        Protocol::V311 => options.clean_session(def.clean_start),
        Protocol::V5 => options.clean_start(def.clean_start).properties(properties(def)?),
    };
    // The crate turns 0 (none) into 1 s; the longest there is comes closest to none.
    let keep_alive = match def.keep_alive {
        Duration::ZERO => Duration::from_secs(65_535),
        d => whole_seconds(d),
    };
    options.keep_alive_interval(keep_alive).connect_timeout(whole_seconds(def.connect_timeout));
    if let Some(name) = &def.username {
        options.user_name(&**name);
    }
    if let Some(password) = &def.password {
        options.password(password.expose());
    }
    if let Some(will) = &def.conversation.will {
        options.will_message(message(will));
    }
    if let Some(tls) = remote.endpoint.transport.tls() {
        options.ssl_options(ssl_options(def, route, tls)?);
    }
    if let Some(proxy) = &remote.endpoint.proxy {
        // Paho takes the one for plain connections, the other for TLS; it talks to both in the clear.
        options.http_proxy(proxy_url(proxy, hop)).https_proxy(proxy_url(proxy, hop));
    }
    Ok(options.finalize())
}

fn properties(def: &ClientDef) -> mqtt::Result<mqtt::Properties> {
    let mut properties = mqtt::Properties::new();
    if !def.session_expiry.is_zero() {
        let seconds = u32::try_from(def.session_expiry.as_secs()).unwrap_or(u32::MAX);
        properties.push_u32(mqtt::PropertyCode::SessionExpiryInterval, seconds)?;
    }
    if let Some(maximum) = def.receive_maximum {
        properties.push_u16(mqtt::PropertyCode::ReceiveMaximum, maximum)?;
    }
    for (name, value) in &def.user_properties {
        properties.push_string_pair(mqtt::PropertyCode::UserProperty, name, value)?;
    }
    Ok(properties)
}

fn ssl_options(def: &ClientDef, route: &Route, tls: &Tls) -> mqtt::Result<mqtt::SslOptions> {
    let mut ssl = mqtt::SslOptionsBuilder::new();
    // Paho's own default is not to look at the host name.
    ssl.verify(!tls.insecure).enable_server_cert_auth(!tls.insecure);
    if let Some(trust) = route.trust() {
        ssl.trust_store(trust)?;
    }
    if let Some(identity) = &def.identity {
        ssl.key_store(&identity.cert_file)?.private_key(&identity.key_file)?;
        // Without a password OpenSSL would ask for one at the terminal. A wrong one just fails.
        ssl.private_key_password(identity.key_password.as_ref().map_or(" ", |p| p.expose()));
    }
    if !tls.alpn.is_empty() {
        ssl.alpn_protos(&tls.alpn.iter().map(String::as_str).collect::<Vec<_>>());
    }
    Ok(ssl.finalize())
}

/// A proxy as Paho reads it: it takes what is before the first `@` for user and password, and undoes
/// percent signs there.
fn proxy_url(proxy: &Proxy, hop: IpAddr) -> String {
    let mut url = String::from("http://");
    if let Some(name) = &proxy.username {
        escape(name, &mut url);
        url.push(':');
        if let Some(password) = &proxy.password {
            escape(password.expose(), &mut url);
        }
        url.push('@');
    }
    let _ = write!(url, "{}", SocketAddr::new(hop, proxy.port)); // a String takes everything
    url
}

fn escape(text: &str, url: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            url.push(byte.into());
        } else {
            let _ = write!(url, "%{byte:02X}"); // a String takes everything
        }
    }
}

pub(super) fn version(protocol: Protocol) -> u32 {
    match protocol {
        Protocol::V311 => mqtt::MQTT_VERSION_3_1_1,
        Protocol::V5 => mqtt::MQTT_VERSION_5,
    }
}

/// Paho counts in seconds: the next whole one, at least 1 and at most what a keep alive may be.
fn whole_seconds(d: Duration) -> Duration {
    Duration::from_secs(d.as_secs().saturating_add(u64::from(d.subsec_nanos() > 0)).clamp(1, 65_535))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up_to_what_paho_counts_in() {
        assert_eq!(whole_seconds(Duration::ZERO), Duration::from_secs(1));
        assert_eq!(whole_seconds(Duration::from_millis(1001)), Duration::from_secs(2));
        assert_eq!(whole_seconds(Duration::from_secs(3)), Duration::from_secs(3));
        assert_eq!(whole_seconds(Duration::MAX), Duration::from_secs(65_535));
    }
}
