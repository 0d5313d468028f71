//! Alerts handed to a real Alertmanager: there they fire for as long as they do here, also after it has forgotten all of them.

use mqfleet_test_support::{headless::Headless, monitoring::Alertmanager, mosquitto::Mosquitto};
use serde_json::Value;

use crate::{DOWN, file, receivers::wait_for};

#[test]
fn an_alertmanager_hears_it_again_and_again_until_it_is_over() {
    let Some(mut alertmanager) = Alertmanager::start() else { return };
    let mut broker = Mosquitto::start();
    let more = format!(
        r#"
        [[alert]]
        name = "presses down"
        {DOWN}
        severity = "critical"
        notify = "alertmanager.center"
        [notify.alertmanager.center]
        url = "http://127.0.0.1:{}"
        repeat = "5s"
        "#,
        alertmanager.port()
    );
    let file = file(broker.port(), 3, &more);
    let run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(3);
    broker.kill9();
    let only = |alertmanager: &Alertmanager| alertmanager.alerts().into_iter().next();
    let first = wait_for("an alert", || only(&alertmanager));
    let labels = serde_json::json!({ "alertname": "presses down", "fleet": "test", "severity": "critical" });
    assert_eq!(first["labels"], labels);
    assert_eq!(first["annotations"]["clients"], "3", "{first:#}");
    let time = |alert: &Value, key: &str| {
        let text = alert[key].as_str().expect("a time").to_owned();
        chrono::DateTime::parse_from_rfc3339(&text).expect("RFC 3339")
    };
    let lasts = (time(&first, "endsAt") - time(&first, "updatedAt")).num_seconds();
    assert!((19..=21).contains(&lasts), "it is over there after four repetitions that do not come, and not {lasts} s");
    // Told again, it is the same one, and lasts longer.
    let again =
        wait_for("a repetition", || only(&alertmanager).filter(|now| time(now, "endsAt") > time(&first, "endsAt")));
    assert_eq!((&again["fingerprint"], &again["startsAt"]), (&first["fingerprint"], &first["startsAt"]));
    alertmanager.kill9();
    alertmanager.start_again();
    let after = wait_for("what it had forgotten", || only(&alertmanager));
    assert_eq!((&after["labels"], &after["startsAt"]), (&first["labels"], &first["startsAt"]));
    broker.restart();
    wait_for("its end", || Some(()).filter(|()| alertmanager.alerts().is_empty()));
    drop(run.wait_for("its end here", |heard| heard.of_type("alert").any(|line| line["status"] == "resolved")));
}
