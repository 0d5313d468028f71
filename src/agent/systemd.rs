//! Defines what an agent tells systemd: that it is ready, how its fleet does, and that it lives (`sd_notify(3)`).

use std::{
    os::linux::net::SocketAddrExt,
    os::unix::net::{SocketAddr, UnixDatagram},
    time::Duration,
};

/// The manager that started this process, where there is one.
pub(super) struct Manager(Option<(UnixDatagram, SocketAddr)>);

impl Manager {
    /// As `NOTIFY_SOCKET` has it: a path, or a name in the abstract namespace after `@`.
    pub(super) fn of_environment() -> Manager {
        let address = std::env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let name = name.into_encoded_bytes();
            match name.strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name).ok(),
                None => SocketAddr::from_pathname(std::ffi::OsStr::new(std::str::from_utf8(&name).ok()?)).ok(),
            }
        });
        Manager(address.and_then(|address| Some((UnixDatagram::unbound().ok()?, address))))
    }

    /// Tells it something, such as `READY=1`. Without a manager nobody hears it.
    pub(super) fn tell(&self, what: &str) {
        if let Some((socket, address)) = &self.0 {
            let _ = socket.send_to_addr(what.as_bytes(), address);
        }
    }

    /// How often it wants to hear `WATCHDOG=1`, if at all.
    pub(super) fn watchdog() -> Option<Duration> {
        let is_ours = std::env::var("WATCHDOG_PID").map_or(true, |id| id == std::process::id().to_string());
        let limit = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
        is_ours.then_some(Duration::from_micros(limit))
    }
}
