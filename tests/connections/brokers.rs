//! Brokers of many makers, each as its users run it, in all that can go wrong with a client there: what the program says of it is right. `make brokers` installs those that are missing; those that are not there are skipped with a word.

mod server;
mod table;
mod trial;

mod aedes;
mod amqtt;
mod ejabberd_column;
mod mosquitto_column;
mod nats;
mod rabbitmq;
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
