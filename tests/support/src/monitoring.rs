//! What metrics and alerts go to in real life, for tests: Prometheus, Alertmanager and InfluxDB, each its own process in a temporary directory; where one is not installed, that is said.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{SOON, mosquitto::free_port};

/// Asks over HTTP; the answer's status and body, or `None` where nobody answers.
pub fn ask(port: u16, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(SOON)).ok()?;
    let length = body.len();
    let kind = "application/x-www-form-urlencoded";
    // 1.0, so that nobody sends chunks.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// A text as a part of a URL or of a form.
pub fn encoded(text: &str) -> String {
    let sign = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(sign).collect()
}

/// One of them, as a process. Its port stays the same over restarts.
struct Service {
    dir: TempDir,
    port: u16,
    program: &'static str,
    arguments: Vec<String>,
    /// The page that it has once it is ready.
    ready: &'static str,
    child: Option<Child>,
}

impl Service {
    /// `configure` writes its files and says its arguments; `None` where it is not installed.
    fn start(
        program: &'static str,
        ready: &'static str,
        configure: impl Fn(&Path, u16) -> Vec<String>,
    ) -> Option<Service> {
        let (dir, port) = (TempDir::new().expect("a folder"), free_port());
        let arguments = configure(dir.path(), port);
        let mut service = Service { dir, port, program, arguments, ready, child: None };
        service.run()?;
        Some(service)
    }

    fn run(&mut self) -> Option<()> {
        let log = fs::File::options().create(true).append(true).open(self.dir.path().join("log")).expect("a log");
        let child = Command::new(self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .current_dir(self.dir.path())
            .spawn();
        let Ok(child) = child else {
            eprintln!("skipped: there is no {}", self.program);
            return None;
        };
        self.child = Some(child);
        let end = Instant::now() + SOON;
        while ask(self.port, "GET", self.ready, "").is_none_or(|(status, _)| status >= 300) {
            let ended = self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            let log = || fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(!ended && Instant::now() < end, "{} does not listen; it said:\n{}", self.program, log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(())
    }

    fn start_again(&mut self) {
        self.run().expect("it was there before");
    }

    fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("to kill it");
            child.wait().expect("its end");
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// An InfluxDB of version 1.
pub struct Influx(Service);

impl Influx {
    /// `None` where it is not installed.
    pub fn start() -> Option<Influx> {
        let configure = |dir: &Path, port: u16| {
            let (shown, rpc) = (dir.display(), free_port());
            let text = format!(
                r#"
                reporting-disabled = true
                reporting-enabled = false
                bind-address = "127.0.0.1:{rpc}"
                [meta]
                dir = "{shown}/meta"
                [data]
                dir = "{shown}/data"
                wal-dir = "{shown}/wal"
                [monitor]
                store-enabled = false
                [http]
                bind-address = "127.0.0.1:{port}"
                log-enabled = false
                "#
            );
            fs::write(dir.join("influxdb.conf"), text).expect("a file");
            vec!["-config".into(), format!("{shown}/influxdb.conf")]
        };
        Service::start("influxd", "/ping", configure).map(Influx)
    }

    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Ends it by SIGKILL.
    pub fn kill9(&mut self) {
        self.0.kill9();
    }

    pub fn start_again(&mut self) {
        self.0.start_again();
    }

    /// The series of an answer of InfluxQL.
    ///
    /// # Panics
    /// Where it takes the query for wrong.
    #[track_caller]
    pub fn query(&self, database: &str, query: &str) -> Vec<Value> {
        let path = format!("/query?db={}&epoch=ms", encoded(database));
        let (status, body) = ask(self.0.port, "POST", &path, &format!("q={}", encoded(query))).expect("an answer");
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        let result = &answer["results"][0];
        assert!(status == 200 && result.get("error").is_none(), "{query}: {body}");
        result["series"].as_array().cloned().unwrap_or_default()
    }
}

/// A Prometheus that scrapes one port every second.
pub struct Prometheus(Service);

impl Prometheus {
    /// With these alert rules; `None` where it is not installed.
    pub fn start(scraped: u16, rules: &str) -> Option<Prometheus> {
        let configure = |dir: &Path, port: u16| {
            let conf = format!(
                "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [rules.yml]\nscrape_configs:\n  - job_name: mqfleet\n    static_configs: [{{ targets: [\"127.0.0.1:{scraped}\"] }}]\n"
            );
            fs::write(dir.join("prometheus.yml"), conf).expect("a file");
            fs::write(dir.join("rules.yml"), rules).expect("a file");
            let shown = dir.display();
            vec![
                format!("--config.file={shown}/prometheus.yml"),
                format!("--storage.tsdb.path={shown}/data"),
                format!("--web.listen-address=127.0.0.1:{port}"),
            ]
        };
        Service::start("prometheus", "/-/ready", configure).map(Prometheus)
    }

    /// What it answers at a path of its API.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let (status, body) = ask(self.0.port, "GET", path, "").expect("an answer");
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        assert!(status == 200 && answer["status"] == "success", "{path}: {body}");
        answer["data"].clone()
    }

    /// The samples of a query's answer of now.
    ///
    /// # Panics
    /// Where it takes the query for wrong.
    #[track_caller]
    pub fn query(&self, query: &str) -> Vec<Value> {
        let data = self.get(&format!("/api/v1/query?query={}", encoded(query)));
        data["result"].as_array().cloned().unwrap_or_default()
    }
}

/// An Alertmanager that tells nobody else.
pub struct Alertmanager(Service);

impl Alertmanager {
    /// `None` where it is not installed.
    pub fn start() -> Option<Alertmanager> {
        let configure = |dir: &Path, port: u16| {
            let conf = "route: { receiver: nobody }\nreceivers: [{ name: nobody }]\n";
            fs::write(dir.join("alertmanager.yml"), conf).expect("a file");
            let shown = dir.display();
            vec![
                format!("--config.file={shown}/alertmanager.yml"),
                format!("--storage.path={shown}/data"),
                format!("--web.listen-address=127.0.0.1:{port}"),
                "--cluster.listen-address=".into(),
            ]
        };
        // As Debian calls it, so that it is nobody else's.
        Service::start("prometheus-alertmanager", "/-/ready", configure).map(Alertmanager)
    }

    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Ends it by SIGKILL: it forgets what it was told.
    pub fn kill9(&mut self) {
        self.0.kill9();
    }

    pub fn start_again(&mut self) {
        self.0.start_again();
    }

    /// The alerts that fire there.
    #[track_caller]
    pub fn alerts(&self) -> Vec<Value> {
        let (status, body) = ask(self.0.port, "GET", "/api/v2/alerts", "").expect("an answer");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }
}
