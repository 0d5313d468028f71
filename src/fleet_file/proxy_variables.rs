//! Defines which proxy the environment names for an address, as other programs read it, and what is said once of a variable that cannot be used.

use std::{collections::BTreeSet, ffi::OsString, net::IpAddr};

use super::{
    Surroundings,
    address::{Address, Scheme},
    exceptions, proxy,
};
use crate::{
    document::{Draft, Report},
    fleet::Proxy,
};

pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A variable that cannot be used, and why. Nothing of its value is in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    variable: &'static str,
    why: &'static str,
}

impl Unusable {
    pub(super) fn title(&self) -> String {
        format!("the environment variable \"{}\" is not used: it {}", self.variable, self.why)
    }
}

pub(super) const HELP: &str = "without it the connection is direct; mend the variable or unset it";

/// The variables of one fleet file, each of which is complained of once.
#[derive(Default)]
pub(super) struct ForEndpoints {
    told: BTreeSet<&'static str>,
}

impl ForEndpoints {
    /// The proxy that the environment names for this address; a variable that cannot be used is warned of.
    pub(super) fn named(
        &mut self,
        address: &Address,
        report: &mut Report<'_>,
        around: &Surroundings<'_>,
    ) -> Option<Proxy> {
        named(address, around.env).unwrap_or_else(|unusable| {
            if self.told.insert(unusable.variable) {
                report.warning(Draft::of_file(unusable.title()).help(HELP).help(proxy::HELP));
            }
            None
        })
    }
}

/// The proxy that the environment names for this address: `https_proxy` for TLS, `http_proxy` else
/// (in capitals that one may be a web request's header), `all_proxy` for both, but for this very host
/// and what `no_proxy` lists.
///
/// # Errors
/// Which variable cannot be used, and why.
pub(super) fn named(address: &Address, env: Variables<'_>) -> Result<Option<Proxy>, Unusable> {
    let names: &[&'static str] = match address.scheme {
        Scheme::Mqtts | Scheme::Wss => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        Scheme::Mqtt | Scheme::Ws => &["http_proxy", "all_proxy", "ALL_PROXY"],
        Scheme::Unix => return Ok(None),
    };
    let get = |name: &str| env(name).filter(|value| !value.is_empty());
    let Some((variable, value)) = names.iter().find_map(|name| Some((*name, get(name)?))) else { return Ok(None) };
    let exceptions = get("no_proxy").or_else(|| get("NO_PROXY")).unwrap_or_default();
    if is_here(&address.host) || exceptions::name(&exceptions.to_string_lossy(), &address.host, address.port) {
        return Ok(None);
    }
    let parsed = value.to_str().ok_or("is not UTF-8").and_then(proxy::parse);
    match parsed {
        Ok(proxy) => Ok(Some(Proxy { variable: Some(variable.into()), ..proxy })),
        Err(why) => Err(Unusable { variable, why }),
    }
}

fn is_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|a| a.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{
        document::Warning,
        fleet::ProxyKind,
        fleet_file::tests::{read, warnings},
    };

    #[test]
    fn a_proxy_comes_from_the_environment() {
        let text = "[endpoint.b]\nurl = \"mqtts://b.example\"\n[endpoint.c]\nurl = \"mqtt://127.0.0.1\"\n";
        let proxies = |env: &[(&str, &str)]| {
            let fleet = read(text, Path::new(""), env).unwrap().fleet;
            fleet.endpoints.into_iter().map(|e| e.proxy.map(|p| p.host.to_string())).collect::<Vec<_>>()
        };
        let (plain, tls) = (("http_proxy", "http://p:1"), ("HTTPS_PROXY", "http://s:1"));
        assert_eq!(proxies(&[]), [None, None, None]);
        assert_eq!(proxies(&[plain, tls]), [Some("p".into()), Some("s".into()), None]);
        assert_eq!(proxies(&[plain, tls, ("no_proxy", ".example")]), [Some("p".into()), None, None]);
        assert_eq!(proxies(&[("all_proxy", "x:1")]), [Some("x".into()), Some("x".into()), None]);
        assert_eq!(proxies(&[("HTTP_PROXY", "x:1")]), [None, None, None]);
        assert_eq!(
            proxies(&[("all_proxy", "x:1"), ("NO_PROXY", "10.0.0.0/8 b.example")]),
            [Some("x".into()), None, None]
        );
        let fleet = read(text, Path::new(""), &[("ALL_PROXY", "socks5h://u:hunter2@p")]).unwrap().fleet;
        let proxy = fleet.endpoints[1].proxy.as_ref().expect("a proxy");
        assert_eq!((proxy.kind, proxy.port, proxy.variable.as_deref()), (ProxyKind::Socks5h, 1080, Some("ALL_PROXY")));
        assert!(!format!("{fleet:?}").contains("hunter2"));
    }

    #[test]
    fn a_proxy_variable_that_cannot_be_used_is_warned_of_once() {
        let text = "[endpoint.b]\nurl = \"ws://b\"\n[endpoint.c]\nurl = \"mqtts://c\"\n[endpoint.d]\nurl = \"wss://d\"\n\
                    [endpoint.e]\nurl = \"unix:///e\"\n[endpoint.f]\nurl = \"mqtt://f\"\nproxy = \"http://p\"\n";
        let env = [("http_proxy", "http://u:hunter2@p:x"), ("HTTPS_PROXY", "socks4://u:hunter2@p")];
        let loaded = read(text, Path::new(""), &env).unwrap();
        let proxies: Vec<_> = loaded.fleet.endpoints.iter().map(|e| e.proxy.is_some()).collect();
        assert_eq!(proxies, [false, false, false, false, false, true]);
        let titles: Vec<_> = loaded.warnings.iter().map(Warning::title).collect();
        assert_eq!(
            titles,
            [
                "the environment variable \"http_proxy\" is not used: it has no valid port",
                "the environment variable \"HTTPS_PROXY\" is not used: it is a SOCKS 4 proxy, which cannot do IPv6 and passwords: use socks5h://",
            ]
        );
        let said = warnings(&loaded);
        assert!(said.contains("the connection is direct") && !said.contains("hunter2"), "{said}");
        // What excepts an address asks no proxy, and needs none that is right.
        let excepted = [("http_proxy", "x y"), ("no_proxy", "a")];
        assert_eq!(warnings(&read("", Path::new(""), &excepted).unwrap()), "");
    }
}
