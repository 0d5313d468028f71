//! Defines how an endpoint's URL, its TLS keys and its headers become a transport; the URL itself is read in `address`.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Surroundings,
    address::{Address, Scheme},
    headers::{self, Headers},
    pem::{self, Flaw},
};
use crate::{
    document::{Draft, Report, Table, Value, quoted},
    event::Expiry,
    fleet::{Tls, TlsMinimum, Transport, WebSocket},
};

const TLS_KEYS: [&str; 6] = ["ca_file", "crl_file", "insecure", "alpn", "server_name", "tls_min"];

/// Reads the keys of an endpoint that say what carries MQTT; `address` is what its URL says, if it could
/// be read.
pub(super) fn read(
    table: &Table<'_>,
    address: Option<&Address>,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Transport {
    let tls = Tls {
        ca_file: table.get("ca_file").and_then(|v| ca_file(&v, report, around)),
        crl_file: table.get("crl_file").and_then(|v| crl_file(&v, report, around)),
        insecure: table.get("insecure").and_then(|v| v.boolean(report)).unwrap_or(false),
        alpn: table.get("alpn").and_then(|v| alpn(&v, report)).unwrap_or_default(),
        server_name: table.get("server_name").and_then(|v| server_name(&v, report)),
        min_version: table.get("tls_min").and_then(|v| tls_min(&v, report)).unwrap_or_default(),
    };
    let headers = table.get("headers").map(|v| headers::read(&v, report, around)).unwrap_or_default();
    let Some(address) = address else { return Transport::Tcp };
    if !address.scheme.is_tls() {
        for key in TLS_KEYS {
            if let Some(span) = table.key_span(key) {
                report.error(
                    Draft::at(span, format!("`{key}` means nothing without TLS"))
                        .help("TLS is mqtts:// or wss:// in `url`"),
                );
            }
        }
    } else if let (true, Some(value)) = (tls.insecure, table.get("insecure")) {
        report.warning(
            Draft::at(value.span, "nobody checks whose certificate this is: passwords may go to anyone")
                .help("give the broker's authority as `ca_file` instead"),
        );
    }
    if let (false, Some(span)) = (address.scheme.is_websocket(), table.key_span("headers")) {
        report.error(
            Draft::at(span, "`headers` means nothing without a WebSocket").help("that is ws:// or wss:// in `url`"),
        );
    }
    of(address, tls, headers)
}

/// What carries MQTT to this address; of `tls` and `headers` that is left out which its scheme has not.
pub(super) fn of(address: &Address, tls: Tls, headers: Headers) -> Transport {
    let Headers { known, files } = headers;
    let websocket = || Arc::new(WebSocket { headers: known, header_files: files, ..WebSocket::new(&address.path) });
    match address.scheme {
        Scheme::Mqtt => Transport::Tcp,
        Scheme::Mqtts => Transport::Tls(Arc::new(tls)),
        Scheme::Ws => Transport::WebSocket(websocket()),
        Scheme::Wss => Transport::SecureWebSocket(websocket(), Arc::new(tls)),
        Scheme::Unix => Transport::Unix(address.path.as_str().into()),
    }
}

/// Looks at a file of an endpoint, and returns its path whatever is in it.
fn file<T>(
    value: &Value<'_>,
    read: impl FnOnce(&Path) -> Result<T, Flaw>,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Option<(PathBuf, Option<T>)> {
    let path = around.base_dir.join(value.string(report, "a file's name in quotes")?);
    let found = read(&path).map_err(|(wrong, help)| {
        let title = title(value, &path, &wrong);
        report.error(Draft::at(value.span.clone(), title).help_if(help.map(str::to_owned)));
    });
    Some((path, found.ok()))
}

fn title(value: &Value<'_>, path: &Path, what: &str) -> String {
    format!("`{}` {} {what}", value.key, quoted(&path.display().to_string()))
}

/// Reads which authorities are trusted in place of the system's.
pub(super) fn ca_file(value: &Value<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<PathBuf> {
    let (path, anchors) = file(value, pem::anchors, report, around)?;
    let Some(anchors) = anchors else { return Some(path) };
    if let Some((subject, issuer)) = anchors.rootless {
        let what = format!("has no root: {subject} is signed by {issuer}");
        report.warning(
            Draft::at(value.span.clone(), title(value, &path, &what))
                .help(format!("add the certificate of {issuer}, and so on up to the one that is signed by itself")),
        );
    }
    let expiry = anchors.end.map(|end| Expiry::new(end, around.now));
    if let Some(expiry) = expiry.filter(|expiry| expiry.is_soon()) {
        report.warning(
            Draft::at(value.span.clone(), title(value, &path, &expiry.to_string()))
                .help("add the CA that comes after it: no certificate is trusted beyond its CA's end"),
        );
    }
    Some(path)
}

fn crl_file(value: &Value<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<PathBuf> {
    let (path, next) = file(value, pem::revocations, report, around)?;
    // Lists are issued for days: that the next one is due soon is how it should be.
    if next.flatten().is_some_and(|next| next < around.now) {
        report.warning(
            Draft::at(value.span.clone(), title(value, &path, "has a revocation list whose time is over"))
                .help("fetch the next one: with an old list OpenSSL trusts no certificate"),
        );
    }
    Some(path)
}

fn server_name(value: &Value<'_>, report: &mut Report<'_>) -> Option<Box<str>> {
    let text = value.string(report, "a host name in quotes, such as \"broker.example.net\"")?;
    let mut wrong = |title: &str, help: &str| {
        report.error(Draft::at(value.span.clone(), format!("`server_name` {title}")).help(help));
        None
    };
    const NAME: &str = "it is what the certificate is for, such as \"broker.example.net\"";
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.is_empty() {
        wrong("is empty", NAME)
    } else if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        wrong(
            "is an IP address, which is no server's name (RFC 6066 §3)",
            "where the certificate is for an address, put the address into `url`",
        )
    } else if text.contains('*') {
        wrong("has a wildcard", "the certificate may have one; the name asked for is a single host's")
    } else if text.contains([':', '/', '@']) {
        wrong("is more than a host name", "without scheme, port and path, such as \"broker.example.net\"")
    } else if !text.is_ascii() {
        wrong("is not in ASCII", "names in other scripts are written in their xn-- form")
    } else if text.len() > 253 || !text.split('.').all(is_label) {
        wrong("is not a host name", "letters, digits and dashes between single dots; none at the end")
    } else {
        Some(text.into())
    }
}

fn tls_min(value: &Value<'_>, report: &mut Report<'_>) -> Option<TlsMinimum> {
    let text = value.string(report, "\"1.2\" or \"1.3\"")?;
    let version = text.trim().to_ascii_lowercase();
    let version = version.trim_start_matches("tls").trim_start_matches(['v', ' ']);
    let help = match version {
        "1.2" if text == version => return Some(TlsMinimum::V1_2),
        "1.3" if text == version => return Some(TlsMinimum::V1_3),
        "1.2" | "1.3" => format!("write \"{version}\""),
        "1" | "1.0" | "1.1" | "ssl3" | "sslv3" => {
            "TLS 1.0 and 1.1 are not spoken any more (RFC 8996): it can be \"1.2\" or \"1.3\"".into()
        }
        _ => "it can be \"1.2\" or \"1.3\"".into(),
    };
    report.error(Draft::at(value.span.clone(), format!("`tls_min` cannot be {}", quoted(text))).help(help));
    None
}

fn alpn(value: &Value<'_>, report: &mut Report<'_>) -> Option<Vec<String>> {
    let items = value.list(report, "alpn = [\"mqtt\"]")?;
    let mut protocols = Vec::new();
    for item in &items {
        let Some(text) = item.string(report, "a list of protocol names in quotes") else { continue };
        if text.is_empty() || text.len() > 255 {
            report.error(Draft::at(item.span.clone(), "a protocol's name has 1 to 255 bytes (RFC 7301 §3.1)"));
        }
        protocols.push(text.to_owned());
    }
    Some(protocols)
}
