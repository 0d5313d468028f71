//! Fleet files for tests, each in a folder of its own; what they mean is the config's matter.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

pub struct FleetFile {
    pub dir: TempDir,
    path: PathBuf,
}

impl FleetFile {
    pub fn new(text: &str) -> FleetFile {
        let dir = TempDir::new().expect("a folder");
        let path = dir.path().join("fleet.toml");
        fs::write(&path, text).expect("a file");
        FleetFile { dir, path }
    }

    /// `count` clients `press-0001…` that answer every second and come back fast.
    pub fn presses(port: u16, count: usize) -> FleetFile {
        FleetFile::sized(port, count, 500)
    }

    /// The same, with at most `worker_size` clients a worker.
    pub fn sized(port: u16, count: usize, worker_size: usize) -> FleetFile {
        FleetFile::new(&format!(
            r#"
            [fleet]
            name = "test"
            worker_size = {worker_size}
            [endpoint.eu-1]
            url = "mqtt://127.0.0.1:{port}"
            [defaults]
            probe = {{ kind = "ack", every = "1s" }}
            reconnect = {{ strategy = "exponential", min = "500ms", max = "2s" }}
            [[client]]
            id = "press-%04i"
            count = {count}
            endpoints = ["eu-1"]
            "#
        ))
    }

    pub fn path(&self) -> &str {
        self.path.to_str().expect("a path")
    }
}
