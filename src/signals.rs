//! Defines the signals that end a program in good order and those of a shell's job control; what a program does then is its own matter.

use std::{fs, io};

use rustix::process;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGHUP, SIGINT and SIGTERM, from the moment this exists. Where SIGHUP was ignored at the start, as
/// `nohup` has it, it stays so.
pub struct Signals {
    hangup: Option<Signal>,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// # Errors
    /// Where the system refuses a handler.
    pub fn listen() -> io::Result<Signals> {
        Ok(Signals {
            hangup: if is_ignored(SignalKind::hangup()) { None } else { Some(signal(SignalKind::hangup())?) },
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The same without SIGHUP, for a program that takes it as [`Reloads`] has it.
    ///
    /// # Errors
    /// Where the system refuses a handler.
    pub fn listen_but_for_reloads() -> io::Result<Signals> {
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        Ok(Signals { hangup: None, interrupt: interrupt?, terminate: terminate? })
    }

    /// Waits for one of them and tells its number.
    pub async fn next(&mut self) -> i32 {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = hangup => SignalKind::hangup().as_raw_value(),
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
        }
    }
}

/// SIGHUP to a program that goes on with it, as services do: its files are to be read anew.
pub struct Reloads(Signal);

impl Reloads {
    /// # Errors
    /// Where the system refuses a handler.
    pub fn listen() -> io::Result<Reloads> {
        Ok(Reloads(signal(SignalKind::hangup())?))
    }

    /// Waits for one.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// What a shell wants of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// SIGTSTP: to give the terminal back and stop.
    Stop,
    /// SIGCONT: it goes on, whoever stopped it.
    Continue,
}

/// SIGTSTP and SIGCONT, from the moment this exists. Where SIGTSTP was ignored at the start, it stays so.
pub struct Jobs {
    stop: Option<Signal>,
    go_on: Signal,
}

impl Jobs {
    /// # Errors
    /// Where the system refuses a handler.
    pub fn listen() -> io::Result<Jobs> {
        let [stop, go_on] = [process::Signal::TSTP, process::Signal::CONT].map(|s| SignalKind::from_raw(s.as_raw()));
        Ok(Jobs { stop: if is_ignored(stop) { None } else { Some(signal(stop)?) }, go_on: signal(go_on)? })
    }

    /// Waits for one of them.
    pub async fn next(&mut self) -> Job {
        let stop = async {
            match &mut self.stop {
                Some(stop) => stop.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = stop => Job::Stop,
            _ = self.go_on.recv() => Job::Continue,
        }
    }

    /// Stops this process and whoever belongs to the same job, until a SIGCONT.
    ///
    /// # Errors
    /// Where nobody is there who would wake it: no shell with job control in this session.
    pub fn stop() -> io::Result<()> {
        if !has_shell() {
            return Err(io::Error::other("there is no shell here that could wake it up again"));
        }
        Ok(process::kill_current_process_group(process::Signal::STOP)?)
    }
}

/// Whether the job has a parent of its session outside of it: without one its group is orphaned (POSIX), and
/// nobody hears that it stopped.
fn has_shell() -> bool {
    let Some(own) = Ids::of("self") else { return false };
    let mut parent = Ids::of(&own.parent.to_string());
    while let Some(ids) = parent {
        if ids.group != own.group {
            return ids.session == own.session;
        }
        parent = Ids::of(&ids.parent.to_string());
    }
    false
}

/// A process's place among the others. The kernel writes 0 for an ID that is outside of our PID namespace
/// (`pid_namespaces(7)`), as that of a container's first process's parent is.
struct Ids {
    parent: u32,
    group: u32,
    session: u32,
}

impl Ids {
    /// Of a process, as `/proc` names it; `None` where there is none such.
    fn of(process: &str) -> Option<Ids> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name before them may hold anything, a bracket too (`proc_pid_stat(5)`).
        let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(1).map(str::parse);
        let mut next = || fields.next()?.ok();
        Some(Ids { parent: next()?, group: next()?, session: next()? })
    }
}

/// Whether this process ignores a signal; `false` where the system does not tell.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}
