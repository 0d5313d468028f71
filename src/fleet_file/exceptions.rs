//! Defines which hosts `no_proxy` excepts from proxies, as curl and Go read it; which proxy there would be is read elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a list such as `.example.net, 10.0.0.0/8, other:8883` names the host, or a domain or network
/// that it is in. Its entries are separated by commas or blanks.
pub(super) fn name(list: &str, host: &str, port: u16) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return true;
        }
        if let Some((network, bits)) = entry.split_once('/') {
            return address.is_some_and(|address| holds(network, bits, address));
        }
        let (name, its_port) = parts(&entry);
        if its_port.is_some_and(|p| p.parse() != Ok(port)) {
            return false;
        }
        match address {
            Some(address) => name.parse::<IpAddr>().is_ok_and(|its| its.to_canonical() == address),
            None => is_domain_of(name, &host),
        }
    })
}

/// An entry's name, without brackets, and its port.
fn parts(entry: &str) -> (&str, Option<&str>) {
    if let Some((address, rest)) = entry.strip_prefix('[').and_then(|e| e.split_once(']')) {
        return (address, rest.strip_prefix(':'));
    }
    match entry.split_once(':') {
        // More colons are those of an IPv6 address.
        Some((name, port)) if !port.contains(':') => (name, Some(port)),
        _ => (entry, None),
    }
}

/// `example.net` and `.example.net` are the host of that name and all below; `*.example.net` only those.
fn is_domain_of(name: &str, host: &str) -> bool {
    let below = name.strip_prefix("*.");
    let domain = below.unwrap_or_else(|| name.trim_start_matches('.')).trim_end_matches('.');
    let is_below = host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    !domain.is_empty() && (is_below || below.is_none() && host == domain)
}

/// Whether the network `10.0.0.0/8` or `2001:db8::/32` holds the address.
fn holds(network: &str, bits: &str, address: IpAddr) -> bool {
    let network = network.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(network);
    let Ok(bits) = bits.parse::<u32>() else { return false };
    match (network.parse(), address) {
        (Ok(IpAddr::V4(network)), IpAddr::V4(address)) if bits <= Ipv4Addr::BITS => {
            let mask = u32::MAX.checked_shl(Ipv4Addr::BITS - bits).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (Ok(IpAddr::V6(network)), IpAddr::V6(address)) if bits <= Ipv6Addr::BITS => {
            let mask = u128::MAX.checked_shl(Ipv6Addr::BITS - bits).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_name_hosts_domains_addresses_and_networks() {
        for (list, host, is) in [
            ("", "b", false),
            (" , ,", "b", false),
            ("c", "b", false),
            ("b", "b", true),
            ("B", "b", true),
            ("b", "B.", true),
            ("b.", "b", true),
            ("*", "b", true),
            ("x,*", "10.0.0.7", true),
            ("x *\ty", "::1", true),
            ("*x", "b", false),
            // Domains: as curl has it, with and without the dot.
            ("example.net", "example.net", true),
            ("example.net", "b.example.net", true),
            ("x, .Example.Net", "b.example.net", true),
            (".example.net", "example.net", true),
            ("example.net", "badexample.net", false),
            (".example.net", "badexample.net", false),
            ("b.example.net", "example.net", false),
            // As Go has it, a star stands for something.
            ("*.example.net", "b.example.net", true),
            ("*.example.net", "example.net", false),
            (".", "b", false),
            ("*.", "b", false),
            // Ports; 8883 is the endpoint's.
            ("b:8883", "b", true),
            ("b:1883", "b", false),
            ("b:x", "b", false),
            (".example.net:8883", "b.example.net", true),
            ("10.0.0.7:8883", "10.0.0.7", true),
            ("10.0.0.7:1883", "10.0.0.7", false),
            ("[2001:db8::1]:8883", "2001:db8::1", true),
            ("[2001:db8::1]:1883", "2001:db8::1", false),
            // Addresses are compared as such, and never as names.
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.70", false),
            ("0.0.7", "10.0.0.7", false),
            ("7", "10.0.0.7", false),
            ("2001:DB8:0::1", "2001:db8::1", true),
            ("[2001:db8::1]", "2001:db8::1", true),
            ("::ffff:10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "b", false),
            // Networks.
            ("10.0.0.0/8", "10.9.8.7", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/8", "10.9.8.7", true),
            ("192.168.1.0/30", "192.168.1.3", true),
            ("192.168.1.0/30", "192.168.1.4", false),
            ("10.0.0.7/32", "10.0.0.7", true),
            ("10.0.0.7/32", "10.0.0.8", false),
            ("0.0.0.0/0", "10.0.0.7", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("[2001:db8::]/32", "2001:db8::1", true),
            ("::/0", "2001:db8::1", true),
            ("::1/128", "::1", true),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.0.0.0/", "10.0.0.0", false),
            ("10.0.0.0/8", "b", false),
            ("example.net/8", "example.net", false),
        ] {
            assert_eq!(name(list, host, 8883), is, "{host} in {list:?}");
        }
    }
}
