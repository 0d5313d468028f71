//! Defines how many open files a worker needs, and what is said where the system allows fewer; raising the limit is for each process itself.

use rustix::process::{Resource, getrlimit};

use crate::pool::Placement;

/// What a worker has open besides a socket a client: its link, its runtime, what it reads while a client
/// connects.
const OWN: u64 = 64;

/// How many files a worker with so many clients may have to have open.
pub fn needed(clients: usize) -> u64 {
    clients as u64 + OWN
}

/// How many clients a worker may have that can open so many files.
pub fn fitting(limit: u64) -> u64 {
    limit.saturating_sub(OWN)
}

/// What to say where this process, and so every worker, may not open as many files as the fullest worker
/// needs: its last clients could not connect.
pub(super) fn shortage(placement: &Placement) -> Option<String> {
    // The soft limit is raised by each worker.
    short_of(placement, getrlimit(Resource::Nofile).maximum?)
}

fn short_of(placement: &Placement, limit: u64) -> Option<String> {
    let fullest = placement.workers().map(|worker| placement.clients_of(worker).len()).max()?;
    let needed = needed(fullest);
    let fits = match fitting(limit) {
        0 => String::new(),
        fits => format!(", or worker_size to {fits} or less"),
    };
    (limit < needed).then(|| {
        format!(
            "the system allows {limit} open files a process (ulimit -n), and a worker with {fullest} clients needs \
             {needed}: set that limit higher{fits}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::placement::tests::fleet;

    #[test]
    fn a_limit_below_what_the_fullest_worker_needs_is_told() {
        let placement = Placement::new(&fleet(300, &[599]));
        assert_eq!(short_of(&placement, 364), None);
        let says = "the system allows 363 open files a process (ulimit -n), and a worker with 300 clients needs 364: \
                    set that limit higher, or worker_size to 299 or less";
        assert_eq!(short_of(&placement, 363).as_deref(), Some(says));
        let says = short_of(&placement, 60).expect("too few");
        assert!(says.ends_with("needs 364: set that limit higher"), "{says}");
        assert_eq!(short_of(&Placement::new(&fleet(300, &[])), 3), None);
    }
}
