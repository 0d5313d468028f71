//! Defines what this host allows a fleet: open files for a process, and ports for the connections from one address.

use rustix::process::{Resource, getrlimit};

/// The limits that a plan is held against.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// Open files of a process, as far as it may raise its own limit; `None` where there is no limit.
    pub files: Option<u64>,
    /// Ports that the system gives to connections from one address to one place.
    pub ports: u64,
}

/// Linux's own ip_local_port_range, 32768 to 60999 (ip-sysctl).
const PORTS: u64 = 28_232;

impl Host {
    pub fn this() -> Host {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        Host { files: getrlimit(Resource::Nofile).maximum, ports: ports(&range).unwrap_or(PORTS) }
    }
}

/// How many ports there are in such a range: two numbers with a blank between them, the first and the last.
fn ports(range: &str) -> Option<u64> {
    let mut ends = range.split_whitespace().map(|end| end.parse::<u64>().ok());
    let (first, last) = (ends.next()??, ends.next()??);
    (last + 1).checked_sub(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_ports_is_read() {
        for (text, count) in
            [("32768\t60999\n", Some(PORTS)), ("5 5", Some(1)), ("", None), ("1 x", None), ("9 1", None)]
        {
            assert_eq!(ports(text), count, "{text:?}");
        }
    }
}
