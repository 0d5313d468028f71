//! Defines how the addresses that an endpoint is connected from are read; whether they can be used, connecting shows.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use super::Surroundings;
use crate::document::{Draft, Report, Value, quoted};

/// Reads one address or a list of them. `towards` is the host that is connected to, if it is known.
pub(super) fn read(
    value: &Value<'_>,
    towards: Option<&str>,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Arc<[IpAddr]> {
    let items = match value.is_array() {
        true => value.list(report, "").unwrap_or_default(),
        false => vec![value.clone()],
    };
    if items.is_empty() {
        report.error(
            Draft::at(value.span.clone(), "`bind` is empty")
                .help("name an address of this host, or leave `bind` out: the system chooses then"),
        );
    }
    let mut addresses: Vec<IpAddr> = Vec::new();
    for item in &items {
        let Some(text) = item.string(report, "an IP address in quotes, or a list of them") else { continue };
        let wrong =
            |title: &str, help: &str| Draft::at(item.span.clone(), format!("{} {title}", quoted(text))).help(help);
        let Ok(address) = text.parse::<IpAddr>() else {
            report.error(wrong("is not an IP address", help_for(text)));
            continue;
        };
        if addresses.contains(&address) {
            report.error(Draft::at(item.span.clone(), format!("{} is there twice", quoted(text))));
        } else if address.is_unspecified() {
            report.error(wrong("is any address", "leave `bind` out: the system chooses then"));
        } else if address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
            report.error(wrong("is no single host's address", "name one of this host (ip address show)"));
        } else {
            if !(around.is_own)(address) {
                report.warning(wrong(
                    "is no address of this host",
                    "connecting from it fails until it is one (ip address show)",
                ));
            }
            addresses.push(address);
        }
    }
    let target: Option<IpAddr> = towards.and_then(|host| host.parse().ok());
    if let Some(target) = target
        && !addresses.is_empty()
        && addresses.iter().all(|address| address.is_ipv4() != target.is_ipv4())
    {
        let version = |address: IpAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let title = format!("`bind` has no {} address, and {} is one", version(target), target);
        report.error(Draft::at(value.span.clone(), title).help("a connection has the same version at both ends"));
    }
    addresses.into()
}

fn help_for(text: &str) -> &'static str {
    if text.contains('%') {
        "an address with a zone cannot be used here: give a global one"
    } else if text.contains('/') {
        "it is a single address, without the network's size"
    } else if text.contains(']') || text.parse::<std::net::SocketAddr>().is_ok() {
        "it stands without brackets and port: the system chooses the port"
    } else {
        "such as \"192.0.2.7\" or \"2001:db8::7\"; names and interfaces are not looked up"
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::fleet_file::{
        is_own,
        tests::{read, warnings},
    };

    #[test]
    fn an_address_that_is_none_of_this_host_is_warned_of() {
        let said = |bind: &str| {
            warnings(&read(&format!("[endpoint.w]\nurl = 'mqtt://w'\nbind = {bind}"), Path::new(""), &[]).unwrap())
        };
        assert_eq!(said("['127.0.0.2', '::1']"), "");
        assert!(said("'192.0.2.7'").contains("\"192.0.2.7\" is no address of this host"), "{}", said("'192.0.2.7'"));
        assert!(is_own("127.0.0.2".parse().unwrap()) && !is_own("192.0.2.7".parse().unwrap()));
    }
}
