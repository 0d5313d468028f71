//! The table of failures: each is provoked for real on the whole program, which must tell the state, the reason, the next action and the sentence of the table's row. Figures are measured elsewhere.
//!
//! TABLE

#[path = "harness/certificates.rs"]
mod certificates;
#[path = "harness/certs.rs"]
mod certs;
#[path = "harness/dns.rs"]
mod dns;
#[path = "harness/fleet_file.rs"]
mod fleet_file;
#[path = "harness/headless.rs"]
mod headless;
#[path = "harness/mosquitto.rs"]
mod mosquitto;
#[path = "harness/netns.rs"]
mod netns;
#[path = "harness/peers.rs"]
mod peers;
#[path = "harness/relay.rs"]
mod relay;
#[path = "harness/script.rs"]
mod script;

#[path = "failures/cut.rs"]
mod cut;
#[path = "failures/ours.rs"]
mod ours;
#[path = "failures/refused.rs"]
mod refused;
#[path = "failures/tls.rs"]
mod tls;
#[path = "failures/way.rs"]
mod way;

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use fleet_file::FleetFile;
use headless::{Headless, SOON};
use serde_json::Value;

/// A row of the table.
struct Row {
    state: &'static str,
    reason: &'static str,
    next: &'static str,
    says: &'static str,
}

/// The rows of the table above, by name.
fn rows() -> impl Iterator<Item = (&'static str, Row)> {
    let lines = include_str!("failures.rs").lines().filter_map(|l| l.strip_prefix("//! | `"));
    lines.map(|line| {
        let cells: Vec<&str> = line.trim_end_matches('|').split('|').map(|c| c.trim().trim_matches('`')).collect();
        let [name, _, state, reason, next, says] = cells[..] else { panic!("not six cells: {line}") };
        (name, Row { state, reason, next, says })
    })
}

#[test]
fn every_row_has_its_test_and_every_test_its_row() {
    let sources = [
        include_str!("failures/cut.rs"),
        include_str!("failures/ours.rs"),
        include_str!("failures/refused.rs"),
        include_str!("failures/tls.rs"),
        include_str!("failures/way.rs"),
    ];
    let mut tests = BTreeSet::new();
    for source in sources {
        for test in source.split("#[test]\nfn ").skip(1) {
            let name = test.split('(').next().expect("a name");
            assert!(test.split("\n}\n").next().expect("a body").contains(&format!("\"{name}\"")), "{name}: which row?");
            assert!(tests.insert(name), "{name} is there twice");
        }
    }
    let rows: Vec<&str> = rows().map(|(name, _)| name).collect();
    assert_eq!(rows.len(), tests.len(), "a row is there twice");
    assert_eq!(rows.into_iter().collect::<BTreeSet<_>>(), tests);
}

/// The program with the client `press` at the endpoint `plant`, and what it said so far.
struct Run {
    program: Headless,
    file: FleetFile,
    /// Lines before this one were looked at.
    seen: usize,
}

impl Run {
    /// The client at this URL.
    fn at(url: &str) -> Run {
        Run::with(url, "", "")
    }

    /// The same, with further lines for the endpoint and for the client.
    fn with(url: &str, endpoint: &str, client: &str) -> Run {
        Run::of(url, endpoint, client, plainly)
    }

    /// The same, started by `command`.
    fn of(url: &str, endpoint: &str, client: &str, command: impl FnOnce(&str, &[&str]) -> Command) -> Run {
        let file = FleetFile::new(&format!(
            r#"
            [endpoint.plant]
            url = "{url}"
            {endpoint}
            [defaults]
            reconnect = {{ strategy = "fixed", every = "300ms" }}
            connect_timeout = "1s"
            [[client]]
            id = "press"
            endpoints = ["plant"]
            {client}
            "#
        ));
        Run::file(file, command)
    }

    /// A fleet file with such a client, started by `command`.
    fn file(file: FleetFile, command: impl FnOnce(&str, &[&str]) -> Command) -> Run {
        let log = log(&file);
        let args = ["run", file.path(), "--log", log.to_str().expect("a path")];
        let mut command = command(env!("CARGO_BIN_EXE_mqfleet"), &args);
        command.current_dir(file.dir.path());
        Run { program: Headless::of(&mut command), file, seen: 0 }
    }

    /// The client's next failure is the row's to the letter.
    #[track_caller]
    fn expect(&mut self, name: &str) -> Value {
        let row = rows().find(|(n, _)| *n == name).map(|(_, row)| row);
        let step = self.step("a failure", is_failure);
        let said = self.sentence(&step);
        let next = next_action(&step);
        let [state, reason] = [&step["to"], &step["reason"]].map(|c| c.as_str().unwrap_or_default());
        let found = format!("//! | `{name}` | ? | {state} | `{reason}` | {next} | {said} |");
        if let Ok(to) = std::env::var("FAILURES_FOUND") {
            let mut file = fs::File::options().append(true).create(true).open(to).expect("a file");
            writeln!(file, "{found}").expect("to write");
            return step;
        }
        let row = row.unwrap_or_else(|| panic!("no row for it:\n{found}"));
        assert_eq!((state, reason, next, said.as_str()), (row.state, row.reason, row.next, row.says), "{step}");
        step
    }

    #[track_caller]
    fn comes_up(&mut self) {
        self.step("press up", |step| step["to"] == "up");
    }

    /// Nothing is done about it, two seconds long, although tries are 0.3 s apart.
    #[track_caller]
    fn waits_for_the_operator(&self) {
        let summaries = |h: &headless::Heard| h.of_type("summary").count();
        let before = summaries(&self.program.heard());
        let heard = self.program.wait_for("two seconds", |h| summaries(h) >= before + 2);
        assert!(states(&heard.lines[self.seen..]).next().is_none(), "it moves: {:?}", &heard.lines[self.seen..]);
        assert_eq!(heard.states["press"], "failed");
    }

    /// The client's next step that is so, none of those that were looked at.
    #[track_caller]
    fn step(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let seen = self.seen;
        let place = |lines: &[Value]| lines[seen..].iter().position(|l| states(std::slice::from_ref(l)).any(&wanted));
        let heard = self.program.wait_for(what, |h| place(&h.lines).is_some());
        let place = seen + place(&heard.lines).expect("a step");
        let step = heard.lines[place].clone();
        drop(heard);
        self.seen = place + 1;
        step
    }

    /// The line of the log about this step, without what is different each time.
    #[track_caller]
    fn sentence(&self, step: &Value) -> String {
        let detail = self.alike(step["detail"].as_str().expect("a detail"));
        let stamp = step["ts"].as_str().expect("a time");
        let end = Instant::now() + SOON;
        loop {
            let log = fs::read_to_string(log(&self.file)).unwrap_or_default();
            // The two clocks' readings may round apart.
            let near = |line: &str| line.get(..20).is_some_and(|s| stamp.starts_with(s));
            let lines = log.lines().filter(|l| near(l) || Instant::now() > end);
            let said: Vec<String> = lines.filter_map(|l| Some(self.alike(l.split_once(' ')?.1))).collect();
            let fits = |says: &&String| {
                let is_failure = !says.contains("press connected to") && says.contains("press");
                is_failure && says.contains(&detail)
            };
            if let Some(says) = said.iter().find(fits) {
                return says.clone();
            }
            assert!(Instant::now() < end, "nothing of {step} in the log:\n{log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The words with ports, folders and waits made alike.
    fn alike(&self, words: &str) -> String {
        let words = words.replace(self.file.dir.path().to_str().expect("a path"), "DIR");
        let mut parts = words.split("127.0.0.1:");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            out += "127.0.0.1:PORT";
            out += part.trim_start_matches(|c: char| c.is_ascii_digit());
        }
        for waits in ["; retry in ", "; asked again in ", "; tried again in "] {
            if let Some((before, after)) = out.split_once(waits) {
                let unit = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
                out = format!("{before}{waits}N{unit}");
            }
        }
        out
    }
}

/// A program with nothing special about it.
fn plainly(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

fn log(file: &FleetFile) -> PathBuf {
    file.dir.path().join("log")
}

/// The steps of the client in question.
fn states(lines: &[Value]) -> impl Iterator<Item = &Value> {
    lines.iter().filter(|l| l["type"] == "state" && l["client"] == "press")
}

fn is_failure(step: &Value) -> bool {
    match step["to"].as_str() {
        Some("backoff" | "failed") => true,
        Some("held") => !["start", "endpoint_unknown"].iter().any(|r| step["reason"] == *r),
        _ => false,
    }
}

/// What happens next, as the table calls it.
fn next_action(step: &Value) -> &'static str {
    const MINUTES: std::ops::RangeInclusive<u64> = 5 * 60_000..=30 * 60_000;
    match (step["to"].as_str(), step["next_try_ms"].as_u64()) {
        (Some("held"), Some(0..=500)) => "probe",
        (Some("held"), None) => "worker",
        (Some("backoff"), Some(300)) => "retry",
        (Some("failed"), Some(ms)) if MINUTES.contains(&ms) => "slow",
        (Some("failed"), None) => "operator",
        _ => panic!("no next action that anybody knows: {step}"),
    }
}

/// Says, past the capture of test output, that a failure is not shown on this machine.
fn not_shown(name: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "NOT SHOWN HERE: {name}: {why}");
}
