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
    let mut effects = Vec::new();
    for _ in 0..2 {
        l.poll(now);
        effects.extend(settle(l, now)); // first its password, then its turn
    }
    let connect = effects.into_iter().find(|e| matches!(e, Effect::Connect(..)));
    let Some(Effect::Connect(_, ConnectOrder { generation, .. })) = connect else { panic!("{connect:?}") };
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

/// A fleet of which the first so many clients have a command say their password, all in the queue of an endpoint
/// that takes ten connects a second and one at once; and what has to be fetched for that.
fn waiting(slow: usize, clients: u32) -> (Lifecycle, Vec<(ClientKey, u32)>) {
    let mut fleet = fleet(clients, 10, Settings::default());
    fleet.endpoints[0].max_connecting = 1;
    let source = Arc::new(issued());
    fleet.clients[..slow].iter_mut().for_each(|c| c.password = Some(Password::Fetched(source.clone())));
    let mut l = Lifecycle::new(&fleet, 1, ms(0));
    fleet.keys().for_each(|client| l.start(client, ms(0)));
    l.worker_ready(WorkerKey(0), fleet.keys(), ms(0));
    l.probed(EndpointKey(0), Ok(()), ms(0));
    let fetches = l.drain().filter_map(|e| if let Effect::Fetch(c, ticket) = e { Some((c, ticket)) } else { None });
    let fetches = fetches.collect();
    (l, fetches)
}

/// Those who are let through in this time, where each connect succeeds at once.
fn let_through(l: &mut Lifecycle, from: Moment, until: Moment) -> Vec<ClientKey> {
    let mut through = Vec::new();
    while let Some(now) = l.next_deadline().map(|at| at.max(from)).filter(|at| *at <= until) {
        l.poll(now);
        for effect in l.drain().collect::<Vec<_>>() {
            if let Effect::Connect(client, ConnectOrder { generation, .. }) = effect {
                through.push(client);
                l.ordered(client, now);
                l.report(client, generation, Step::Up(Box::default()), now);
            }
        }
    }
    through
}

#[test]
fn who_waits_for_a_password_keeps_nobody_from_connecting_and_connects_at_the_rate() {
    let (mut l, fetches) = waiting(50, 60);
    assert_eq!(fetches.len(), 50);
    let others: Vec<ClientKey> = (50..60).map(ClientKey).collect();
    assert_eq!(let_through(&mut l, ms(0), ms(5_000)), others, "the slots are held by those who wait for a command");
    assert_eq!((l.gate(EndpointKey(0)).waiting, l.state(ClientKey(0))), (50, State::Queued));
    // It answers, for all of them at once.
    fetches.into_iter().for_each(|(client, ticket)| l.fetched(client, ticket, Ok(()), ms(5_000)));
    let through = let_through(&mut l, ms(5_000), ms(7_000)).len();
    assert!((19..=22).contains(&through), "{through} connects in two seconds, of ten a second");
}

#[test]
fn what_was_fetched_counts_only_for_who_still_waits_for_it() {
    let (mut l, fetches) = waiting(2, 2);
    let unavailable = || Err(Cause { reason: Reason::PasswordUnavailable, detail: Scrubbed::default() });
    l.disconnect(ClientKey(0), ms(1));
    l.connect(ClientKey(0), ms(2));
    let (client, old) = fetches[0];
    l.fetched(client, old, unavailable(), ms(3));
    l.fetched(client, old, Ok(()), ms(3));
    assert_eq!(
        (l.state(client), let_through(&mut l, ms(3), ms(1_000))),
        (State::Queued, Vec::new()),
        "its order is an older one"
    );
    let (client, ticket) = fetches[1];
    l.fetched(client, ticket, unavailable(), ms(4));
    assert_eq!((l.state(client), l.gate(EndpointKey(0)).waiting), (State::Backoff, 1));
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
