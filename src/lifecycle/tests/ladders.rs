//! Tests of what follows from each class of reason, for the client and for its endpoint.

use super::*;

#[test]
fn each_reason_has_its_ladder() {
    use Reason::*;
    let minutes = |m: u64| Duration::from_secs(60 * m);
    for (reason, to, next, rate) in [
        (ConnectionLost, State::Backoff, Some(Duration::from_secs(1)), 1_000),
        (ConnectTimeout, State::Backoff, Some(Duration::from_secs(1)), 1_000),
        (MalformedPacket, State::Backoff, Some(Duration::from_secs(1)), 1_000),
        (ServerBusy, State::Backoff, Some(Duration::from_secs(1)), 500),
        (ServerUnavailable, State::Backoff, Some(Duration::from_secs(1)), 500),
        (ServerShuttingDown, State::Backoff, Some(Duration::from_secs(1)), 500),
        (QuotaExceeded, State::Backoff, Some(Duration::from_secs(1)), 500),
        (ConnectionRateExceeded, State::Backoff, Some(Duration::from_secs(1)), 500),
        (SessionTakenOver, State::Backoff, Some(Duration::from_secs(1)), 1_000),
        (BadCredentials, State::Failed, Some(minutes(10)), 1_000),
        (NotAuthorized, State::Failed, Some(minutes(10)), 1_000),
        (ClientCertificateRefused, State::Failed, Some(minutes(10)), 1_000),
        (Banned, State::Failed, None, 1_000),
        (ClientIdRejected, State::Failed, None, 1_000),
        (UnsupportedProtocolVersion, State::Failed, None, 1_000),
        (BadAuthenticationMethod, State::Failed, None, 1_000),
        (UseAnotherServer, State::Failed, None, 1_000),
        (ServerMoved, State::Failed, None, 1_000),
    ] {
        let (mut l, c, g) = connecting(Settings::default());
        l.report(c, g, cause(reason), ms(5));
        let step = last_step(&mut l);
        assert_eq!((step.to, step.reason), (to, reason));
        assert_eq!(step.next_try.is_some(), next.is_some(), "{reason:?}");
        assert!(step.next_try <= next, "{reason:?}: {step:?}");
        assert_eq!(l.gate(EndpointKey(0)).rate, rate, "{reason:?}");
    }
}

/// A client sees the same of its broker as a probe does, and may see it first.
#[test]
fn what_is_wrong_on_the_way_is_the_endpoint_s_though_a_client_finds_it() {
    use Reason::*;
    for reason in [
        CertificateExpired,
        CertificateUnknownCa,
        CertificateNameMismatch,
        CertificateInvalid,
        CaFileUnusable,
        NotTls,
        ProxyAuthenticationRequired,
        ProxyRefused,
    ] {
        let (mut l, c, g) = connecting(Settings::default());
        l.report(c, g, cause(reason), ms(5));
        assert_eq!(l.state(c), State::Backoff);
        let effects: Vec<_> = l.drain().collect();
        assert!(effects.contains(&Effect::Probe(EndpointKey(0))), "{reason:?}: {effects:?}");
        l.probed(EndpointKey(0), Err(Cause { reason, detail: Scrubbed::default() }), ms(6));
        l.poll(ms(2_000));
        let effects: Vec<_> = l.drain().collect();
        let held =
            effects.iter().any(|e| matches!(e, Effect::Transition(_, t) if t.to == State::Held && t.reason == reason));
        // It is asked again, and once it is mended nobody has to do anything.
        assert!(held && effects.contains(&Effect::Probe(EndpointKey(0))), "{reason:?}: {effects:?}");
        l.probed(EndpointKey(0), Ok(()), ms(60_000));
        l.poll(ms(60_001));
        assert_eq!(l.state(c), State::Connecting);
    }
}

#[test]
fn refused_credentials_are_tried_again_slowly() {
    let (mut l, c, mut g) = connecting(Settings::default());
    let mut now = ms(5);
    for (least, most) in [(5, 10), (10, 20), (15, 30), (15, 30)] {
        l.report(c, g, cause(Reason::BadCredentials), now);
        let wait = last_step(&mut l).next_try.unwrap();
        assert!((least * 60..=most * 60).contains(&wait.as_secs()), "{wait:?}");
        now = now + wait;
        l.poll(Moment(now.0 - 1));
        assert_eq!(l.state(c), State::Failed);
        l.poll(now);
        assert_eq!(l.state(c), State::Connecting);
        g += 1;
    }
}

#[test]
fn taken_over_twice_in_a_minute_is_a_duplicate_and_twice_in_an_hour_is_not() {
    for (gap, last) in [(20_000, State::Failed), (1_800_000, State::Backoff)] {
        let (mut l, c, g) = connecting(Settings::default());
        l.report(c, g, Step::Up(Box::default()), ms(5));
        l.report(c, g, cause(Reason::SessionTakenOver), ms(10));
        assert_eq!(l.state(c), State::Backoff);
        l.poll(ms(5_000));
        settle(&mut l, ms(5_000));
        l.report(c, g + 1, Step::Up(Box::default()), ms(5_001));
        l.report(c, g + 1, cause(Reason::SessionTakenOver), ms(10 + gap));
        let step = last_step(&mut l);
        assert_eq!(step.to, last, "{step:?}");
        if last == State::Failed {
            assert_eq!((step.reason, step.next_try), (Reason::DuplicateClientId, None));
            l.reconnect(c, ms(50_000));
            l.poll(ms(50_000));
            assert_eq!(l.state(c), State::Connecting, "the operator can bring it back");
        }
    }
}

#[test]
fn two_of_ours_with_one_id_are_found_out_though_the_broker_only_closes_the_socket() {
    let mut fleet = fleet(3, 1_000, Settings::default());
    fleet.clients[1].id = fleet.clients[0].id.clone();
    let mut l = Lifecycle::new(&fleet, 1, ms(0));
    for c in fleet.keys() {
        l.start(c, ms(0));
    }
    l.worker_ready(WorkerKey(0), fleet.keys(), ms(0));
    let mut up: Option<(ClientKey, Generation)> = None;
    for t in 0..30_000 {
        l.poll(ms(t));
        for effect in settle(&mut l, ms(t)) {
            let Effect::Connect(c, ConnectOrder { generation: g, .. }) = effect else { continue };
            if c != ClientKey(2)
                && let Some((other, g)) = up.replace((c, g))
            {
                l.report(other, g, cause(Reason::ConnectionLost), ms(t));
            }
            l.report(c, g, Step::Up(Box::default()), ms(t));
        }
    }
    let states: Vec<State> = fleet.keys().map(|c| l.state(c)).collect();
    let failed = states.iter().filter(|s| **s == State::Failed).count();
    assert_eq!((failed, states[2]), (1, State::Up), "one of the two stays up: {states:?}");
    let quarantined = l.machines.iter().find(|m| m.state == State::Failed).unwrap();
    assert_eq!(quarantined.reason, Reason::DuplicateClientId);
}

#[test]
fn an_endpoint_on_hold_lets_nobody_through_and_leaves_those_alone_who_are_up() {
    let mut l = Lifecycle::new(&fleet(2, 1_000, Settings::default()), 1, ms(0));
    let (a, b) = (ClientKey(0), ClientKey(1));
    l.worker_ready(WorkerKey(0), [a, b], ms(0));
    l.start(a, ms(0));
    settle(&mut l, ms(0));
    l.poll(ms(1));
    l.report(a, 1, Step::Up(Box::default()), ms(2));
    l.hold(EndpointKey(0), ms(3));
    l.start(b, ms(4));
    let step = last_step(&mut l);
    assert_eq!((step.to, step.reason, step.next_try), (State::Held, Reason::OperatorHold, None));
    l.poll(ms(60_000));
    assert_eq!((l.state(a), l.state(b)), (State::Up, State::Held));
    assert_eq!(l.gate(EndpointKey(0)).condition, Condition::OnHold);
    l.release(EndpointKey(0), ms(60_001));
    l.poll(ms(60_002));
    assert_eq!(l.state(b), State::Connecting);
}
