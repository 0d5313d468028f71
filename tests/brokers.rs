//! Brokers of many makers, each as its users run it, in all that can go wrong with a client there: what the program says of it is right. `make brokers` installs those that are missing; those that are not there are skipped with a word.

#[path = "harness/certs.rs"]
mod certs;
#[path = "harness/ejabberd.rs"]
mod ejabberd;
#[path = "harness/fleet_file.rs"]
mod fleet_file;
#[path = "harness/headless.rs"]
mod headless;
#[path = "harness/mosquitto.rs"]
mod mosquitto;
#[path = "harness/rmqtt.rs"]
mod rmqtt;

#[path = "brokers/server.rs"]
mod server;
#[path = "brokers/table.rs"]
mod table;
#[path = "brokers/trial.rs"]
mod trial;

#[path = "brokers/aedes.rs"]
mod aedes;
#[path = "brokers/amqtt.rs"]
mod amqtt;
#[path = "brokers/ejabberd_column.rs"]
mod ejabberd_column;
#[path = "brokers/mosquitto_column.rs"]
mod mosquitto_column;
#[path = "brokers/nats.rs"]
mod nats;
#[path = "brokers/rabbitmq.rs"]
mod rabbitmq;
#[path = "brokers/rmqtt_column.rs"]
mod rmqtt_column;

#[test]
fn with_mosquitto() {
    table::fill(&mosquitto_column::COLUMN);
}

#[test]
fn with_rmqtt() {
    table::fill(&rmqtt_column::COLUMN);
}

#[test]
fn with_ejabberd() {
    table::fill(&ejabberd_column::COLUMN);
}

#[test]
#[ignore = "for `make brokers`, which installs it"]
fn with_rabbitmq() {
    table::fill(&rabbitmq::COLUMN);
}

#[test]
#[ignore = "for `make brokers`, which installs it"]
fn with_nats() {
    table::fill(&nats::COLUMN);
}

#[test]
#[ignore = "for `make brokers`, which installs it"]
fn with_aedes() {
    table::fill(&aedes::COLUMN);
}

#[test]
#[ignore = "for `make brokers`, which installs it"]
fn with_amqtt() {
    table::fill(&amqtt::COLUMN);
}
