//! Defines what this host allows a fleet: open files for a process, and ports for the connections from one address.

use rustix::process::{Resource, getrlimit};

/// The limits that a plan is held against.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// Open files of a process, as far as it may raise its own limit; `None` where there is no limit.
    pub files: Option<u64>,
    /// Bytes of memory that it can give, as its kernel reckons, or as the control group allows; `None` where
    /// neither says.
    pub memory: Option<u64>,
    /// Ports that the system gives to connections from one address to one place.
    pub ports: u64,
}

/// Linux's own ip_local_port_range, 32768 to 60999 (ip-sysctl).
const PORTS: u64 = 28_232;

impl Host {
    pub fn this() -> Host {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let available = available(&read("/proc/meminfo"));
        let memory = available.into_iter().chain(allowed(&read("/proc/self/cgroup"), read)).min();
        let ports = ports(&read("/proc/sys/net/ipv4/ip_local_port_range")).unwrap_or(PORTS);
        Host { files: getrlimit(Resource::Nofile).maximum, memory, ports }
    }
}

/// What `/proc/meminfo` calls available, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

/// What is left of the least that a control group of this process (cgroup v2), or one around it, may have.
fn allowed(cgroup: &str, read: impl Fn(&str) -> String) -> Option<u64> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let left = |group: &std::path::Path| {
        let file = |name: &str| format!("/sys/fs/cgroup{}/{name}", group.display().to_string().trim_end_matches('/'));
        let number = |name: &str| read(&file(name)).trim().parse::<u64>().ok();
        Some(number("memory.max")?.saturating_sub(number("memory.current").unwrap_or(0)))
    };
    std::path::Path::new(own).ancestors().filter_map(left).min()
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
    fn memory_is_what_is_left_in_the_tightest_place() {
        let meminfo = "MemTotal:  16307208 kB\nMemFree: 1 kB\nMemAvailable:   2048 kB\n";
        assert_eq!((available(meminfo), available("MemTotal: 1 kB")), (Some(2 << 20), None));
        let read = |path: &str| match path {
            "/sys/fs/cgroup/a/b/memory.max" => "max\n".to_owned(),
            "/sys/fs/cgroup/a/memory.max" => "5000000\n".to_owned(),
            "/sys/fs/cgroup/a/memory.current" => "2000000\n".to_owned(),
            "/sys/fs/cgroup/memory.max" => "9000000\n".to_owned(),
            _ => String::new(),
        };
        assert_eq!(allowed("0::/a/b\n", read), Some(3_000_000));
        assert_eq!(allowed("0::/\n", read), Some(9_000_000));
        assert_eq!(allowed("3:memory:/x\n", read), None);
    }

    #[test]
    fn the_range_of_ports_is_read() {
        for (text, count) in
            [("32768\t60999\n", Some(PORTS)), ("5 5", Some(1)), ("", None), ("1 x", None), ("9 1", None)]
        {
            assert_eq!(ports(text), count, "{text:?}");
        }
    }
}
