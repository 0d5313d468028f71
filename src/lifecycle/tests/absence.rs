//! Tests of what becomes of the operator's orders while a client's worker is starting, silent or gone.

use super::*;

/// A lifecycle with one client that is up, and its generation.
fn up() -> (Lifecycle, ClientKey, Generation) {
    let (mut l, c, g) = connecting(Settings::default());
    l.report(c, g, Step::Up(Box::default()), ms(5));
    settle(&mut l, ms(5));
    (l, c, g)
}

fn comes_back(l: &mut Lifecycle, c: ClientKey, at: u64) -> State {
    l.worker_ready(WorkerKey(0), [c], ms(at));
    settle(l, ms(at));
    l.poll(ms(at + 50));
    l.state(c)
}

#[test]
fn a_silent_worker_holds_its_clients_under_a_reason_of_its_own() {
    let (mut l, c, g) = up();
    l.worker_lost([c], &gone(Reason::WorkerSilent), ms(6_000));
    let step = last_step(&mut l);
    assert_eq!((step.from, step.to, step.reason), (State::Up, State::Held, Reason::WorkerSilent));
    assert_eq!((step.detail.as_str(), step.next_try), ("no sign of it", None));
    // What the process still has to say comes too late, and its death is no further news.
    l.report(c, g, cause(Reason::ConnectionLost), ms(6_001));
    assert_eq!((l.drain().count(), l.state(c)), (0, State::Held));
    assert_eq!(comes_back(&mut l, c, 6_500), State::Connecting);
}

#[test]
fn told_to_disconnect_meanwhile_it_stays_off() {
    for reason in [Reason::WorkerSilent, Reason::WorkerLost] {
        let (mut l, c, _) = up();
        l.worker_lost([c], &gone(reason), ms(6_000));
        drop(l.drain());
        l.disconnect(c, ms(6_100));
        let effects: Vec<_> = l.drain().collect();
        let [Effect::Transition(_, step)] = &effects[..] else { panic!("nobody is there to be told: {effects:?}") };
        assert_eq!((step.to, step.reason), (State::Off, Reason::OperatorDisconnect));
        assert_eq!(comes_back(&mut l, c, 6_500), State::Off);
        l.connect(c, ms(7_000));
        l.poll(ms(7_100));
        assert_eq!(l.state(c), State::Connecting);
    }
}

/// Before anybody noticed, the order goes to a worker that does not obey any more.
#[test]
fn what_was_ordered_of_a_worker_that_hung_already_is_kept() {
    let (mut l, c, _) = up();
    l.disconnect(c, ms(4_000));
    l.worker_lost([c], &gone(Reason::WorkerSilent), ms(6_000));
    assert_eq!(comes_back(&mut l, c, 6_500), State::Off);

    let (mut l, c, _) = up();
    l.reconnect(c, ms(4_000));
    l.poll(ms(4_050));
    assert_eq!(l.state(c), State::Connecting);
    l.worker_lost([c], &gone(Reason::WorkerSilent), ms(6_000));
    let step = last_step(&mut l);
    assert_eq!((step.to, step.reason), (State::Held, Reason::WorkerSilent));
    assert_eq!(comes_back(&mut l, c, 6_500), State::Connecting);
}

#[test]
fn told_to_connect_meanwhile_it_says_that_it_waits_for_its_worker() {
    let (mut l, c, _) = up();
    l.worker_lost([c], &gone(Reason::WorkerSilent), ms(6_000));
    drop(l.drain());
    let told = |l: &mut Lifecycle| {
        let step = last_step(l);
        (step.to, step.reason, step.detail.to_string())
    };
    let waits = || (State::Held, Reason::WorkerSilent, "no sign of it".to_owned());
    l.reconnect(c, ms(6_100));
    assert_eq!(told(&mut l), waits(), "an order without an answer");
    l.disconnect(c, ms(6_200));
    l.connect(c, ms(6_300));
    assert_eq!(told(&mut l), waits());
    // The one that should replace it does not start: that is what the rows say from then on, once.
    l.worker_lost([c], &gone(Reason::WorkerLost), ms(6_400));
    assert_eq!(told(&mut l), (State::Held, Reason::WorkerLost, "no sign of it".to_owned()));
    l.worker_lost([c], &gone(Reason::WorkerLost), ms(6_500));
    assert_eq!(l.drain().count(), 0);
    assert_eq!(comes_back(&mut l, c, 7_000), State::Connecting);
}

#[test]
fn a_retry_that_falls_due_without_a_worker_waits_for_it() {
    let (mut l, c, g) = up();
    l.report(c, g, cause(Reason::AdministrativeAction), ms(1_000));
    let due = ms(1_000) + last_step(&mut l).next_try.expect("a retry");
    l.worker_lost([c], &gone(Reason::WorkerSilent), ms(1_001));
    assert_eq!(l.state(c), State::Backoff, "it was not connected");
    l.poll(due);
    let step = last_step(&mut l);
    assert_eq!((step.to, step.reason), (State::Held, Reason::WorkerSilent));
}

#[test]
fn before_the_first_worker_orders_are_kept_too() {
    let mut l = Lifecycle::new(&fleet(2, 1_000, Settings::default()), 1, ms(0));
    let (a, b) = (ClientKey(0), ClientKey(1));
    [a, b].into_iter().for_each(|c| l.start(c, ms(0)));
    settle(&mut l, ms(0));
    l.disconnect(a, ms(1));
    l.reconnect(b, ms(2));
    let step = last_step(&mut l);
    assert_eq!((step.to, step.reason), (State::Held, Reason::Start));
    l.worker_ready(WorkerKey(0), [a, b], ms(3));
    l.poll(ms(50));
    assert_eq!((l.state(a), l.state(b)), (State::Off, State::Connecting));
}
