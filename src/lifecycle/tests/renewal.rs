//! Tests of clients whose password is fetched before each connect: what a refusal means, and when their time begins.

use super::*;
use crate::fleet::{Password, PasswordCommand};

/// A client's first connect under way, with a password that comes from there.
fn connecting_with(source: PasswordSource) -> (Lifecycle, ClientKey, Generation) {
    connecting_of(source, Settings::default())
}

/// The same with a file and these settings.
fn connecting_as(settings: Settings) -> (Lifecycle, ClientKey, Generation) {
    connecting_of(PasswordSource::File("token".into()), settings)
}

fn connecting_of(source: PasswordSource, settings: Settings) -> (Lifecycle, ClientKey, Generation) {
    let mut fleet = fleet(1, 1_000, settings);
    fleet.clients[0].password = Some(Password::Fetched(Arc::new(source)));
    let (mut l, client) = (Lifecycle::new(&fleet, 1, ms(0)), ClientKey(0));
    l.start(client, ms(0));
    l.worker_ready(WorkerKey(0), [client], ms(0));
    settle(&mut l, ms(0));
    let generation = connect(&mut l, ms(1));
    (l, client, generation)
}

fn connect(l: &mut Lifecycle, now: Moment) -> Generation {
    l.poll(now);
    let connect = settle(l, now).into_iter().find(|e| matches!(e, Effect::Connect(..)));
    let Some(Effect::Connect(_, generation, ..)) = connect else { panic!("{connect:?}") };
    generation
}

fn issued() -> PasswordSource {
    PasswordSource::Command(PasswordCommand {
        program: "token".into(),
        arguments: Vec::new(),
        folder: "/".into(),
        variables: Vec::new(),
        every: None,
    })
}

#[test]
fn a_client_s_time_begins_when_its_password_is_there() {
    let (mut l, c, g) = connecting_with(issued());
    l.poll(ms(300_000));
    assert!(l.is_connecting(c, g), "nobody has ordered it to connect yet");
    l.ordered(c, ms(300_000));
    l.poll(ms(314_000));
    assert!(l.is_connecting(c, g));
    l.poll(ms(316_000));
    assert_eq!((last_step(&mut l).reason, l.is_connecting(c, g)), (Reason::ConnectTimeout, false));
}

#[test]
fn a_token_that_is_refused_is_issued_anew_within_a_second_but_only_once() {
    let (mut l, c, g) = connecting_with(issued());
    l.report(c, g, cause(Reason::NotAuthorized), ms(5));
    let step = last_step(&mut l);
    assert!(step.to == State::Backoff && step.next_try <= Some(Duration::from_secs(1)), "{step:?}");
    let g = connect(&mut l, ms(2_000));
    l.report(c, g, cause(Reason::NotAuthorized), ms(2_005));
    let step = last_step(&mut l);
    assert!(step.to == State::Failed && step.next_try >= Some(Duration::from_secs(60)), "{step:?}");
    // Once it is in, it may happen again.
    l.connect(c, ms(3_000));
    let g = connect(&mut l, ms(3_000));
    l.report(c, g, Step::Up(Box::default()), ms(3_005));
    l.report(c, g, cause(Reason::NotAuthorized), ms(9_000));
    assert_eq!(last_step(&mut l).to, State::Backoff);
}

#[test]
fn who_was_refused_with_a_file_or_had_none_tries_again_when_it_changes() {
    for reason in [Reason::NotAuthorized, Reason::BadCredentials, Reason::PasswordUnavailable] {
        let (mut l, c, g) = connecting_with(PasswordSource::File("token".into()));
        l.report(c, g, cause(reason), ms(5));
        assert_ne!(l.state(c), State::Connecting);
        l.renewed([c], ms(6));
        connect(&mut l, ms(6));
    }
    let never = Reconnect { strategy: Strategy::Never, ..Reconnect::default() };
    let (mut l, c, g) = connecting_as(Settings { reconnect: never, ..Settings::default() });
    l.report(c, g, cause(Reason::NotAuthorized), ms(5));
    l.renewed([c], ms(6));
    assert_eq!(l.state(c), State::Failed, "it is never to try again by itself");
    let (mut l, c, g) = connecting_with(PasswordSource::File("token".into()));
    l.report(c, g, cause(Reason::Banned), ms(5));
    l.renewed([c], ms(6));
    assert_eq!(l.state(c), State::Failed, "its password is not what is wrong");
}
