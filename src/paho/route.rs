//! Defines the way to an endpoint in the form that Paho can go it; what the way is, the console says.

use std::path::PathBuf;

use crate::wire::Remote;

/// An endpoint, and the trust anchors for it as a file: Paho takes them in no other form. It reads
/// the file amid a connect, so a route has to live as long as one that uses it.
pub struct Route {
    pub(super) remote: Remote,
    anchors: Option<AnchorFile>,
}

impl Route {
    /// Where the anchors cannot be made a file, Paho reads what the fleet file names, as it does for
    /// an endpoint of which no anchors are known: that is slower and no less strict.
    pub fn new(remote: Remote) -> Route {
        let anchors = None;
        Route { remote, anchors }
    }

    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// The file with the trust anchors; none for the system's trust store.
    pub(super) fn trust(&self) -> Option<PathBuf> {
        let own = || self.remote.endpoint.transport.tls()?.ca_file.clone();
        self.anchors.as_ref().map(AnchorFile::path).or_else(own)
    }
}

/// A file in memory (memfd_create(2)): nothing is left of it, however the process ends.
#[cfg(target_os = "linux")]
struct AnchorFile(std::fs::File);

#[cfg(target_os = "linux")]
impl AnchorFile {
    fn new(pem: &str) -> Option<AnchorFile> {
        use std::io::Write;

        let fd = rustix::fs::memfd_create("anchors", rustix::fs::MemfdFlags::CLOEXEC).ok()?;
        let mut file = std::fs::File::from(fd);
        file.write_all(pem.as_bytes()).ok()?;
        Some(AnchorFile(file))
    }

    /// Opening it is opening the file anew, at its beginning.
    fn path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;

        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

/// Elsewhere `/dev/fd` shares the position in the file among all who open it.
#[cfg(not(target_os = "linux"))]
enum AnchorFile {}

#[cfg(not(target_os = "linux"))]
impl AnchorFile {
    fn new(_: &str) -> Option<AnchorFile> {
        None
    }

    fn path(&self) -> PathBuf {
        match *self {}
    }
}
