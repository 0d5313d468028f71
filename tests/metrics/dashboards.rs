//! Every query of the dashboards and every alert rule, asked of the real Prometheus and InfluxDB while a real fleet in trouble feeds them.

use std::{
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use mqfleet_test_support::{
    SOON,
    certs::{Authority, VALID},
    fleet_file::FleetFile,
    headless::Headless,
    monitoring::{Influx, Prometheus},
    mosquitto::{Mosquitto, Setup, free_port},
    process, program,
};
use rustix::process::Signal;
use serde_json::Value;

use crate::{scrape, sum, wait_for};

fn mqfleet(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).stdin(Stdio::null()).output().expect("it runs")
}

fn printed(arguments: &[&str]) -> String {
    let output = mqfleet(arguments);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The queries of a dashboard with the titles of their panels, and those of its variables.
fn queries(dashboard: &str, key: &str) -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(dashboard).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let all = panels.iter().flat_map(|panel| panel["panels"].as_array().into_iter().flatten().chain([panel]));
    let mut found = Vec::new();
    for panel in all {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let title = panel["title"].as_str().expect("a title");
            found.push((title.to_owned(), target[key].as_str().expect("a query").to_owned()));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        let query = variable["query"].as_str().or(variable["query"]["query"].as_str()).expect("a query");
        if variable["type"] == "query" {
            found.push((format!("variable {}", variable["name"]), query.to_owned()));
        }
    }
    assert!(found.len() > 60, "{}", found.len());
    found
}

/// Asks until each query has an answer.
#[track_caller]
fn wait_for_answers(whom: &str, queries: &[(String, String)], is_answered: impl Fn(&str) -> bool) {
    let (mut left, end): (Vec<_>, _) = (queries.iter().collect(), Instant::now() + SOON);
    loop {
        left.retain(|(_, query)| !is_answered(query));
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "{whom} has no data for {left:#?}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// What Grafana makes of a query for Prometheus.
fn asked_of_prometheus(query: &str) -> String {
    // `label_values` is Grafana's own: the values of a label of these series.
    let of_variable = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')?.rsplit_once(", "));
    let query = match of_variable {
        Some((series, label)) => format!("count by ({label}) ({series})"),
        None => query.to_owned(),
    };
    let query = query.replace("$__rate_interval", "1m");
    ["$fleet", "$instance", "$endpoint"].iter().fold(query, |query, name| query.replace(name, ".*"))
}

fn asked_of_influx(query: &str) -> String {
    let query = query.replace("$timeFilter", "time > now() - 10m").replace("$__interval", "5s");
    query.replace("/^$fleet$/", "/^.*$/").replace("/^$endpoint$/", "/^(eu-1|tls|strict)$/")
}

/// Whether an answer has a number in it.
fn is_number(value: &Value) -> bool {
    value.is_number() || value.as_str().is_some_and(|text| text.parse::<f64>().is_ok_and(f64::is_finite))
}

#[test]
fn every_query_of_every_dashboard_has_an_answer_and_every_rule_is_right() {
    let ca = Authority::new("test authority");
    let server = ca.issue("server", "DNS:localhost", VALID);
    let (cert, key) = ca.issue("client", "DNS:client", VALID);
    let mutual = free_port();
    let lines = vec![
        format!("listener {mutual} 127.0.0.1"),
        format!("certfile {}", server.0.display()),
        format!("keyfile {}", server.1.display()),
        format!("cafile {}", ca.pem().display()),
        "require_certificate true".into(),
    ];
    let broker = Mosquitto::with(Setup { lines, ..Setup::default() });
    let strict = Mosquitto::with(Setup { users: vec![("op".into(), "x".into())], ..Setup::default() });
    let influx = Influx::start();
    let port = free_port();
    let pushed = influx.as_ref().map_or(String::new(), |influx| {
        influx.query("", "CREATE DATABASE mqfleet");
        format!("influx = {{ url = \"http://127.0.0.1:{}\", database = \"mqfleet\", every = \"1s\" }}", influx.port())
    });
    let (plain, strict, ca) = (broker.port(), strict.port(), ca.pem());
    let file = FleetFile::new(&format!(
        r#"
        [fleet]
        name = "test plant"
        env = "test"
        worker_size = 3
        [endpoint.eu-1]
        url = "mqtt://127.0.0.1:{plain}"
        [endpoint.tls]
        url = "mqtts://localhost:{mutual}"
        ca_file = "{ca}"
        [endpoint.strict]
        url = "mqtt://127.0.0.1:{strict}"
        [defaults]
        probe = {{ kind = "ack", every = "200ms" }}
        reconnect = {{ strategy = "fixed", every = "500ms" }}
        publish = {{ topic = "t/%c", payload = "x", every = "300ms" }}
        subscribe = [{{ topic = "t/%c", qos = 0 }}]
        labels = {{ site = "hall-3" }}
        [[client]]
        id = "press-%i"
        count = 5
        endpoints = ["eu-1"]
        [[client]]
        id = "oven"
        endpoints = ["tls"]
        cert_file = "{cert}"
        key_file = "{key}"
        [[client]]
        id = "stranger"
        endpoints = ["strict"]
        [metrics]
        listen = "127.0.0.1:{port}"
        label = "site"
        clients = {{ match = "id:press-*" }}
        {pushed}
        [[alert]]
        name = "somebody is refused"
        match = "id:stranger"
        state = ["backoff", "failed"]
        for = "1s"
        severity = "critical"
        notify = ["exec.nobody", "exec.broken"]
        [notify.exec.nobody]
        run = ["cat"]
        group = "0s"
        [notify.exec.broken]
        run = ["false"]
        group = "0s"
        [[hook]]
        name = "changes"
        run = ["cat"]
        "#,
        ca = ca.display(),
        cert = cert.display(),
        key = key.display(),
    ));
    let checked = mqfleet(&["check", file.path()]);
    assert!(checked.status.success(), "{checked:?}");
    let run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(6);
    let prometheus = Prometheus::start(port, &printed(&["prometheus-rules"]));
    wait_for(port, "figures", |series| sum(series, "mqfleet_messages_received_total", "") > 10.0);
    // What is lost, and comes back: Prometheus sees counters grow that it has seen before.
    if let Some(prometheus) = &prometheus {
        let seen = [("figures".to_owned(), "mqfleet_connect_duration_seconds_count".to_owned())];
        wait_for_answers("Prometheus", &seen, |query| !prometheus.query(query).is_empty());
    }
    process::signal(run.workers()[&0], Signal::KILL);
    wait_for(port, "a loss", |series| {
        sum(series, "mqfleet_disconnects_total", "worker_lost") > 0.0
            && sum(series, "mqfleet_clients", "state=\"up\"") == 6.0
    });
    wait_for(port, "who was told of it", |series| {
        let of = |name: &str| series.get(name).copied().unwrap_or_default();
        of("mqfleet_alert_firing{alert=\"somebody is refused\",severity=\"critical\"}") == 1.0
            && of("mqfleet_alerts_fired_total{alert=\"somebody is refused\",severity=\"critical\"}") == 1.0
            && (of("mqfleet_alerts{severity=\"critical\"}"), of("mqfleet_alerts{severity=\"info\"}")) == (1.0, 0.0)
            && of("mqfleet_notifications_total{notifier=\"exec.nobody\"}") == 1.0
            && of("mqfleet_notifications_waiting{notifier=\"exec.nobody\"}") == 0.0
            && of("mqfleet_notification_failures_total{notifier=\"exec.broken\"}") >= 1.0
            && of("mqfleet_notifications_waiting{notifier=\"exec.broken\"}") == 1.0
            && of("mqfleet_hook_runs_total{hook=\"changes\"}") >= 1.0
    });
    if let Some(prometheus) = &prometheus {
        let queries = queries(&printed(&["grafana"]), "expr");
        let all = queries.iter().filter(|(_, query)| influx.is_some() || !query.contains("_influx_"));
        wait_for_answers("Prometheus", &all.cloned().collect::<Vec<_>>(), |query| {
            let answer = prometheus.query(&asked_of_prometheus(query));
            answer.iter().any(|series| is_number(&series["value"][1]))
        });
        rules_are_right(prometheus);
    }
    if let Some(influx) = &influx {
        let queries = queries(&printed(&["grafana", "--datasource", "influx"]), "query");
        wait_for_answers("InfluxDB", &queries, |query| {
            let series = influx.query("mqfleet", &asked_of_influx(query));
            let has_value = |row: &Value| row.as_array().is_some_and(|row| row[1..].iter().any(|v| !v.is_null()));
            series.iter().any(|one| one["values"].as_array().is_some_and(|rows| rows.iter().any(has_value)))
        });
        // Both tell the same.
        let up = influx.query(
            "mqfleet",
            "SELECT last(\"value\") FROM \"mqfleet_clients\" WHERE \"state\" = 'up' AND \"endpoint\" = 'eu-1'",
        );
        assert_eq!(up[0]["values"][0][1], 5.0, "{up:?}");
        assert!(scrape(port).is_some_and(|now| sum(&now, "mqfleet_influx_points_dropped_total", "") == 0.0));
    }
}

/// Prometheus evaluates all rules, and those fire that are to.
fn rules_are_right(prometheus: &Prometheus) {
    let end = Instant::now() + SOON;
    loop {
        let data = prometheus.get("/api/v1/rules");
        let rules = data["groups"][0]["rules"].as_array().cloned().unwrap_or_default();
        let state = |name: &str| rules.iter().find(|rule| rule["name"] == name).map(|rule| rule["state"].clone());
        let is_judged = rules.iter().all(|rule| rule["health"] != "unknown") && !rules.is_empty();
        let wrong: Vec<&Value> = rules.iter().filter(|rule| rule["health"] == "err").collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let fires = ["MqfleetAlertFires", "MqfleetWorkerDied"].iter().all(|name| state(name) == Some("firing".into()));
        if is_judged && fires {
            assert_eq!(state("MqfleetWorkerDown"), Some("inactive".into()));
            return;
        }
        assert!(Instant::now() < end, "{rules:#?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What promtool says of the rules, and of made-up histories that they are to fire on, or not.
#[test]
fn promtool_reads_the_rules_and_they_fire_when_they_are_to() {
    let folder = tempfile::TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("rules.yml"), printed(&["prometheus-rules"])).expect("a file");
    std::fs::write(folder.path().join("tests.yml"), HISTORIES).expect("a file");
    for arguments in [["check", "rules", "rules.yml"], ["test", "rules", "tests.yml"]] {
        let output = Command::new("promtool").args(arguments).current_dir(folder.path()).output();
        let Ok(output) = output else { return eprintln!("skipped: there is no promtool") };
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{said}");
    }
}

const HISTORIES: &str = r#"
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'mqfleet_clients{job="j",instance="i",endpoint="eu-1",state="up",site="a"}'
        values: '80x20'
      - series: 'mqfleet_clients{job="j",instance="i",endpoint="eu-1",state="backoff",site="a"}'
        values: '8x20'
      - series: 'mqfleet_clients{job="j",instance="i",endpoint="eu-1",state="backoff",site="b"}'
        values: '12x20'
      - series: 'mqfleet_clients{job="j",instance="i",endpoint="eu-1",state="off",site="a"}'
        values: '900x20'
      - series: 'mqfleet_clients{job="j",instance="i",endpoint="eu-2",state="up"}'
        values: '95x20'
      - series: 'mqfleet_clients{job="j",instance="i",endpoint="eu-2",state="backoff"}'
        values: '5x20'
      - series: 'mqfleet_certificate_not_after_timestamp_seconds{job="j",instance="i",endpoint="eu-1"}'
        values: '864000x20'
      - series: 'mqfleet_last_second_timestamp_seconds{job="j",instance="i"}'
        values: '0+60x5 300x15'
      - series: 'mqfleet_worker_deaths_total{job="j",instance="i",worker="0"}'
        values: '0x5 1x15'
    alert_rule_test:
      - eval_time: 4m
        alertname: MqfleetClientsDown
        exp_alerts: []
      - eval_time: 6m
        alertname: MqfleetClientsDown
        exp_alerts:
          - exp_labels: { severity: critical, job: j, instance: i, endpoint: eu-1 }
            exp_annotations:
              summary: "20% of the clients of eu-1 are down"
              description: "They should be connected and are not. `mqfleet attach` says why, by client; `mqfleet doctor FILE` says where it fails."
      - eval_time: 6m
        alertname: MqfleetServerCertificateEnds
        exp_alerts:
          - exp_labels: { severity: warning, job: j, instance: i, endpoint: eu-1 }
            exp_annotations:
              summary: "the certificate of eu-1 ends in 9d 23h 54m 0s"
              description: "Then nobody connects to it any more."
      - eval_time: 6m
        alertname: MqfleetServerCertificateEndsSoon
        exp_alerts: []
      - eval_time: 5m
        alertname: MqfleetStale
        exp_alerts: []
      - eval_time: 8m
        alertname: MqfleetStale
        exp_alerts:
          - exp_labels: { severity: critical, job: j, instance: i }
            exp_annotations:
              summary: "mqfleet at i counts nothing any more"
              description: "Its last figures are 3m 0s old: it hangs, or its clock is wrong. Where it does not answer at all, `up` is 0."
      - eval_time: 4m
        alertname: MqfleetWorkerDied
        exp_alerts: []
      - eval_time: 7m
        alertname: MqfleetWorkerDied
        exp_alerts:
          - exp_labels: { severity: warning, job: j, instance: i, worker: "0" }
            exp_annotations:
              summary: "worker 0 died"
              description: "It was replaced, and its clients connected anew. The event log says how it ended."
"#;
