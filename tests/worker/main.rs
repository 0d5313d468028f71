//! Real worker processes against real brokers: every order ends as it must, and nothing hangs. How orders come about is not tested here.

mod accuracy;
mod beat;
mod causes;
mod connack;
mod death;
mod echo;
mod ends;
mod figures;
mod hostile;
mod kernel;
mod late;
mod orders;
mod payloads;
mod resets;
mod samples;
mod subscriptions;
mod talk;
mod trust;

use std::sync::Arc;

use mqfleet_test_support::{
    SOON,
    worker::{Def, client},
};

fn def(id: impl Into<Arc<str>>, port: u16) -> Def {
    Def::new(client(id), port)
}

fn defs(n: usize, port: u16) -> Vec<Def> {
    (0..n).map(|i| def(format!("client-{i:04}"), port)).collect()
}
