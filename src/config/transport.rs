//! Defines how an endpoint's URL and its TLS keys become a transport; the URL itself is read in `address`.

use std::sync::Arc;

use super::{
    Surroundings,
    address::{Address, Scheme},
    pem::{self, Pem},
    report::{Draft, Report, quoted},
    tree::{Table, Value},
};
use crate::{
    event::Expiry,
    fleet::{Tls, Transport, WebSocket},
};

const TLS_KEYS: [&str; 3] = ["ca_file", "insecure", "alpn"];

/// Reads the TLS keys of an endpoint; `address` is what its URL says, if it could be read.
pub(super) fn read(
    table: &Table<'_>,
    address: Option<&Address>,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Transport {
    let tls = Tls {
        ca_file: table.get("ca_file").and_then(|v| {
            let path = around.base_dir.join(v.string(report, "a file's name in quotes")?);
            let title = |what: &str| format!("`ca_file` {} {what}", quoted(&path.display().to_string()));
            match pem::read(&path, Pem::Anchors) {
                Ok(end) => {
                    let soon = end.map(|end| Expiry::new(end, around.now)).filter(|expiry| expiry.is_soon());
                    if let Some(expiry) = soon {
                        report.warning(
                            Draft::at(v.span.clone(), title(&expiry.to_string()))
                                .help("add the CA that comes after it: no certificate is trusted beyond its CA's end"),
                        );
                    }
                }
                Err((wrong, help)) => {
                    report.error(Draft::at(v.span.clone(), title(&wrong)).help_if(help.map(str::to_owned)));
                }
            }
            Some(path)
        }),
        insecure: table.get("insecure").and_then(|v| v.boolean(report)).unwrap_or(false),
        alpn: table.get("alpn").and_then(|v| alpn(&v, report)).unwrap_or_default(),
        ..Tls::default()
    };
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
    } else if tls.insecure {
        if let Some(value) = table.get("insecure") {
            report.warning(
                Draft::at(value.span, "nobody checks whose certificate this is: passwords may go to anyone")
                    .help("give the broker's authority as `ca_file` instead"),
            );
        }
    } else if let Err((title, help)) = check_host(address) {
        let span = table.get("url").map_or(table.span.clone(), |v| v.span);
        report.error(Draft::at(span, title).help(help));
    }
    of(address, tls)
}

/// What carries MQTT to this address; `tls` is left out where its scheme has none.
pub(super) fn of(address: &Address, tls: Tls) -> Transport {
    match address.scheme {
        Scheme::Mqtt => Transport::Tcp,
        Scheme::Mqtts => Transport::Tls(Arc::new(tls)),
        Scheme::Ws => Transport::WebSocket(Arc::new(WebSocket::new(&address.path))),
        Scheme::Wss => Transport::SecureWebSocket(Arc::new(WebSocket::new(&address.path)), Arc::new(tls)),
    }
}

/// Whether a certificate can be held against the host; else what is wrong, and what helps.
pub(super) fn check_host(address: &Address) -> Result<(), (&'static str, &'static str)> {
    if address.host.contains(':') {
        return Err((
            "Paho cannot check a certificate against an IPv6 address",
            "give the host's name, or insecure = true",
        ));
    }
    Ok(())
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
