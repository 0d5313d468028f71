//! Defines which proxy the environment names for an address, as other programs read it, and what is said once of a variable that cannot be used.

use std::{collections::BTreeSet, ffi::OsString, net::IpAddr};

use super::{
    Surroundings,
    address::{Address, Scheme},
    exceptions, proxy,
    report::{Draft, Report},
};
use crate::fleet::Proxy;

pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A variable that cannot be used, and why. Nothing of its value is in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    variable: &'static str,
    why: &'static str,
}

impl Unusable {
    pub fn title(&self) -> String {
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
    pub fn named(&mut self, address: &Address, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<Proxy> {
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
