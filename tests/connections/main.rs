//! Every kind of connection, by the whole program to real brokers: what must come up does, what must be refused is, with its reason. Conversations are tested with the worker.

mod brokers;
mod endpoint;
mod failures;
mod table;
mod transport;
mod trust_store;
mod ways;
mod with_ejabberd;
mod with_mosquitto;
mod with_rmqtt;

use mqfleet_test_support::{
    fleet_file::FleetFile,
    headless::Headless,
    mosquitto::{Mosquitto, Setup, free_port},
};

#[test]
fn where_no_tls_listens_nothing_is_tried() {
    let broker = Mosquitto::start();
    let (plain, closed) = (broker.port(), free_port());
    let file = FleetFile::new(&format!(
        r#"
        [endpoint.plain]
        url = "mqtts://localhost:{plain}"
        insecure = true
        [endpoint.closed]
        url = "mqtts://localhost:{closed}"
        insecure = true
        [[client]]
        id = "plain"
        endpoints = ["plain"]
        [[client]]
        id = "closed"
        endpoints = ["closed"]
        "#
    ));
    let run = Headless::start(&["run", file.path()], &[]);
    // What a broker does with a TLS hello at a plain port is a matter of taste.
    for (client, reasons) in
        [("plain", &["tls_failed", "connection_reset", "not_tls"][..]), ("closed", &["connection_refused"])]
    {
        let heard = run.wait_for("both held", |h| {
            let mut steps = h.of_type("state").filter(|l| l["client"] == client);
            steps.any(|l| l["to"] == "held" && reasons.iter().any(|reason| l["reason"] == *reason))
        });
        assert!(heard.of_type("state").all(|l| l["to"] != "connecting"));
    }
}

#[test]
fn a_downgrade_is_told_and_messages_are_counted() {
    let broker = Mosquitto::with(Setup { lines: vec!["max_qos 1".into()], ..Setup::default() });
    let file = FleetFile::new(&format!(
        r#"
        [endpoint.local]
        url = "mqtt://127.0.0.1:{}"
        [[client]]
        id = "ears"
        endpoints = ["local"]
        subscribe = [{{ topic = "data/#", qos = 2 }}]
        [[client]]
        id = "source-%i"
        count = 2
        endpoints = ["local"]
        publish = {{ topic = "data/%c", payload = "%s", every = "100ms" }}
        "#,
        broker.port()
    ));
    let run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(3);
    let is_less = |l: &serde_json::Value| {
        (&l["client"], &l["filter"], &l["asked"], &l["granted"])
            == (&"ears".into(), &"data/#".into(), &2.into(), &1.into())
    };
    let heard = run.wait_for("the downgrade", |h| h.of_type("shortfall").any(is_less));
    assert_eq!(heard.of_type("shortfall").count(), 1);
    assert_eq!(heard.of_type("connack").count(), 3, "each client is told what it was accepted with");
    assert!(heard.of_type("finding").all(|l| l["ok"] == true && l["stages_us"]["tcp"].as_u64() > Some(0)));
    drop(heard);
    drop(run.wait_for("a slow one", |h| h.of_type("summary").last().is_some_and(|l| l["slow"] == 1)));
    let heard =
        run.wait_for("messages", |h| h.of_type("summary").last().is_some_and(|l| l["received"].as_u64() >= Some(20)));
    let last = heard.of_type("summary").last().expect("a summary");
    assert!(last["published"].as_u64() >= last["received"].as_u64(), "{last}");
}
