//! Defines what the kernel says of the program's processes (proc(5)): CPU time, memory, open files; which processes these are is told by the run's events.

use std::{collections::BTreeMap, fs, time::Duration};

/// What one process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// CPU time since the process began.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub memory: u64,
    /// Open file descriptors.
    pub files: u64,
}

/// The processes by their names, with the CPU time of those before them that had the same.
#[derive(Debug, Default)]
pub(super) struct Processes(BTreeMap<String, OfName>);

#[derive(Debug, Default)]
struct OfName {
    process: u32,
    /// CPU time of earlier ones, as far as it was seen.
    earlier: Duration,
    usage: Usage,
}

impl Processes {
    /// Looks at a process, and takes it for another one of its name where its number is new.
    pub fn look(&mut self, name: &str, process: u32) {
        let Some(usage) = usage(process) else { return };
        let of_name = self.0.entry(name.to_owned()).or_default();
        if of_name.process != process || usage.cpu < of_name.usage.cpu {
            of_name.earlier += of_name.usage.cpu;
            of_name.process = process;
        }
        of_name.usage = usage;
    }

    /// Each one's name and what it takes; CPU time is that of all that had the name.
    pub fn all(&self) -> impl Iterator<Item = (&str, Usage)> {
        self.0
            .iter()
            .map(|(name, of_name)| (name.as_str(), Usage { cpu: of_name.earlier + of_name.usage.cpu, ..of_name.usage }))
    }
}

/// What a process takes; `None` where it is gone.
fn usage(process: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name is in brackets and may be anything; utime and stime are the 12th and 13th field after it.
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n)?.parse::<u64>().ok();
    let cpu = ticks(11)? + ticks(12)?;
    let statm = fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(Usage {
        cpu: Duration::from_millis(cpu * 1_000 / rustix::param::clock_ticks_per_second()),
        memory: pages * rustix::param::page_size() as u64,
        files: files(process),
    })
}

/// How many files it has open. Since Linux 6.2 the folder's size says so; before, its entries are counted.
fn files(process: u32) -> u64 {
    let folder = format!("/proc/{process}/fd");
    match fs::metadata(&folder).map(|metadata| metadata.len()) {
        Ok(0) | Err(_) => fs::read_dir(&folder).map_or(0, |entries| entries.count() as u64),
        Ok(count) => count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_takes() {
        let own = usage(std::process::id()).unwrap();
        let listed = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        assert!(own.memory > 1 << 20 && own.files.abs_diff(listed) < 50, "{own:?} {listed}");
        assert_eq!(usage(u32::MAX), None);
    }

    #[test]
    fn cpu_time_never_falls_when_a_process_is_replaced() {
        let mut processes = Processes::default();
        let used = Usage { cpu: Duration::from_secs(5), ..Usage::default() };
        processes.0.insert("worker-0".into(), OfName { process: 1, earlier: Duration::ZERO, usage: used });
        processes.look("worker-0", std::process::id());
        assert!(processes.all().next().unwrap().1.cpu >= Duration::from_secs(5));
    }
}
