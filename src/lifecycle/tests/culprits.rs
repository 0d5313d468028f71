//! Tests of what is made of an end of which the broker does not say why.

use super::*;
use crate::event::{Ask, Connack, Measured, Request, Unanswered};

fn asked(ask: Ask, packet: &str) -> Unanswered {
    Unanswered { packet: Scrubbed::new(packet), waited: Duration::from_millis(2), ..Unanswered::new(ask) }
}

fn after(reason: Reason, unanswered: &Unanswered) -> Step {
    let detail = Scrubbed::new("the broker closed the connection");
    Step::Ended(Cause { reason, detail }, Some(Box::new(unanswered.clone())))
}

fn up() -> Step {
    Step::Up(Box::default())
}

/// Lets time pass until the client connects, and tells when, in what manner and with which generation.
fn connects(l: &mut Lifecycle, client: ClientKey, from: u64) -> (u64, Manner, Generation) {
    for t in (from..from + 3_600_000).step_by(10) {
        l.poll(ms(t));
        for effect in settle(l, ms(t)) {
            if let Effect::Connect(c, ConnectOrder { generation, manner, .. }) = effect
                && c == client
            {
                return (t, manner, generation);
            }
        }
    }
    panic!("{client:?} does not connect");
}

/// The last step of one of several clients.
fn last_of(effects: &[Effect], client: ClientKey) -> Transition {
    let steps = effects.iter().filter_map(|e| if let Effect::Transition(_, t) = e { Some(t) } else { None });
    steps.rev().find(|t| t.client == client).expect("a step").clone()
}

/// Several clients, all up.
fn all_up(clients: u32, settings: Settings) -> Lifecycle {
    let mut l = Lifecycle::new(&fleet(clients, 100_000, settings), 1, ms(0));
    let keys = (0..clients).map(ClientKey);
    keys.clone().for_each(|c| l.start(c, ms(0)));
    l.worker_ready(WorkerKey(0), keys.clone(), ms(0));
    for _ in 0..=clients {
        l.poll(ms(20));
        settle(&mut l, ms(20));
        keys.clone().for_each(|c| l.report(c, 1, up(), ms(20)));
    }
    assert!(keys.clone().all(|c| l.state(c) == State::Up));
    settle(&mut l, ms(20));
    l
}

#[test]
fn a_probe_that_is_closed_on_twice_is_left_out_and_costs_no_try() {
    let probe = Unanswered { is_probe: true, ..asked(Ask::Publish, "PUBLISH to p at QoS 1") };
    let (mut l, c, g) = connecting(Settings::default());
    l.report(c, g, up(), ms(5));
    l.report(c, g, after(Reason::ConnectionLost, &probe), ms(10));
    assert_eq!(last_step(&mut l).reason, Reason::ConnectionLost, "a broker that stops may do so then");
    let (t, manner, g) = connects(&mut l, c, 10);
    assert!(!manner.is_muted);
    l.report(c, g, up(), ms(t));
    l.report(c, g, after(Reason::ConnectionLost, &probe), ms(t + 5));
    let effects = settle(&mut l, ms(t + 5));
    let step = last_of(&effects, c);
    assert_eq!((step.to, step.reason, step.attempt), (State::Backoff, Reason::ProbeRefused, 1));
    let is_told = |e: &&Effect| matches!(e, Effect::Measured(_, m) if m.by == crate::fleet::ProbeKind::Heartbeat);
    assert_eq!(effects.iter().filter(is_told).count(), 1);
    assert_eq!(effects.iter().filter(|e| matches!(e, Effect::Warning(..))).count(), 1);
    let (t, manner, g) = connects(&mut l, c, t + 5);
    assert!(manner.is_muted);
    l.report(c, g, up(), ms(t));
    settle(&mut l, ms(t));
    // The operator has it tried once more.
    l.reconnect(c, ms(t + 1));
    let effects = settle(&mut l, ms(t + 1));
    let own = Measured { client: c, by: Settings::default().probe.kind, detail: Scrubbed::default() };
    assert!(effects.contains(&Effect::Measured(ms(t + 1), own)), "{effects:?}");
    assert!(!connects(&mut l, c, t + 1).1.is_muted);
}

#[test]
fn a_probe_that_is_refused_in_words_is_left_out_at_once_and_even_where_nothing_is_tried_again() {
    let probe = Unanswered { is_probe: true, ..asked(Ask::Publish, "PUBLISH to p at QoS 1") };
    let never = Reconnect { strategy: Strategy::Never, ..Reconnect::default() };
    for (reason, reconnect) in [(Reason::NotAuthorized, Reconnect::default()), (Reason::ConnectionLost, never)] {
        let (mut l, c, g) = connecting(Settings { reconnect, ..Settings::default() });
        l.report(c, g, up(), ms(5));
        l.report(c, g, after(reason, &probe), ms(10));
        let step = last_step(&mut l);
        assert_eq!((step.to, step.reason), (State::Backoff, Reason::ProbeRefused));
        let (t, manner, _) = connects(&mut l, c, 10);
        assert!(manner.is_muted && t < 1_000, "{t}");
    }
}

#[test]
fn of_many_whose_probes_are_refused_one_sentence_is_said() {
    let mut l = all_up(200, Settings::default());
    for c in (0..200).map(ClientKey) {
        l.refused(c, Request::Probe, &Scrubbed::new("PUBLISH to p: not authorized"), ms(30));
        l.refused(c, Request::Probe, &Scrubbed::new("PUBLISH to p: not authorized"), ms(40));
    }
    let effects: Vec<_> = l.drain().collect();
    assert_eq!(effects.iter().filter(|e| matches!(e, Effect::Warning(..))).count(), 1);
    assert_eq!(effects.iter().filter(|e| matches!(e, Effect::Measured(..))).count(), 200);
    assert!((0..200).all(|c| l.state(ClientKey(c)) == State::Up));
}

#[test]
fn a_packet_of_the_client_s_own_is_the_cause_the_second_time() {
    for (ask, reason) in [(Ask::Publish, Reason::PublishRefused), (Ask::Subscribe, Reason::SubscribeRefused)] {
        let packet = asked(ask, "it to a");
        let (mut l, c, g) = connecting(Settings::default());
        l.report(c, g, up(), ms(5));
        l.report(c, g, after(Reason::ConnectionLost, &packet), ms(10));
        assert_eq!(last_step(&mut l).reason, Reason::ConnectionLost);
        let (t, _, g) = connects(&mut l, c, 10);
        l.report(c, g, up(), ms(t));
        l.report(c, g, after(Reason::ConnectionLost, &packet), ms(t + 1));
        let step = last_step(&mut l);
        assert_eq!((step.to, step.reason), (State::Failed, reason));
        assert!(step.next_try >= Some(Duration::from_secs(300)) && step.detail.contains("for the second time"));
    }
}

#[test]
fn what_is_familiar_or_long_ago_or_another_packet_is_no_culprit() {
    let packet = asked(Ask::Publish, "PUBLISH to a at QoS 1");
    let familiar = Unanswered { is_familiar: true, ..packet.clone() };
    let late = Unanswered { waited: Duration::from_secs(4), ..packet.clone() };
    let other = asked(Ask::Publish, "PUBLISH to b at QoS 1");
    for [first, second] in [[&familiar, &familiar], [&late, &late], [&packet, &other], [&packet, &familiar]] {
        let (mut l, c, g) = connecting(Settings::default());
        l.report(c, g, up(), ms(5));
        l.report(c, g, after(Reason::ConnectionLost, first), ms(10_000));
        let (t, _, g) = connects(&mut l, c, 10_000);
        l.report(c, g, up(), ms(t));
        l.report(c, g, after(Reason::ConnectionLost, second), ms(t + 1));
        assert_eq!(last_step(&mut l).reason, Reason::ConnectionLost, "{first:?}, {second:?}");
    }
}

#[test]
fn a_broker_that_hangs_up_while_others_are_up_is_full_and_never_shut() {
    for ask in [Ask::Connect, Ask::ClientHello] {
        let mut l = all_up(3, Settings::default());
        let c = ClientKey(2);
        l.reconnect(c, ms(100));
        let (t, _, g) = connects(&mut l, c, 100);
        l.report(c, g, after(Reason::ConnectionLost, &Unanswered::new(ask)), ms(t));
        let effects = settle_with(&mut l, ms(t), |_| false);
        let step = last_of(&effects, c);
        assert_eq!((step.to, step.reason), (State::Backoff, Reason::BrokerFull), "{ask:?}");
        assert_eq!(step.detail.as_str(), "it hung up, while 2 others are up");
        // Its probe fares no better.
        for reason in [Reason::ConnectionReset, Reason::ConnectionLost, Reason::ConnectionRefused] {
            l.probed(EndpointKey(0), Err(Cause { reason, detail: Scrubbed::default() }), ms(t + 1));
            assert_eq!(l.gate(EndpointKey(0)).condition, Condition::Open, "{reason:?}");
        }
        // A certificate that has ended is none of a full broker's.
        let cause = Cause { reason: Reason::CertificateExpired, detail: Scrubbed::default() };
        l.probed(EndpointKey(0), Err(cause), ms(t + 2));
        assert!(matches!(l.gate(EndpointKey(0)).condition, Condition::Shut { .. }));
    }
}

/// Who is up, and has no answer either, is no sign that there is no room.
#[test]
fn a_broker_that_hangs_up_while_the_others_wait_for_its_answers_is_not_full() {
    let mut l = all_up(3, Settings::default());
    let c = ClientKey(2);
    l.late(ClientKey(0), ms(200));
    l.reconnect(c, ms(300));
    let (t, _, g) = connects(&mut l, c, 300);
    l.report(c, g, after(Reason::ConnectionLost, &Unanswered::new(Ask::ClientHello)), ms(t));
    let effects = settle_with(&mut l, ms(t), |_| false);
    assert_eq!(last_of(&effects, c).reason, Reason::ConnectionLost);
}

/// A client of several at one endpoint that is hung up on, while another one is told of then and later.
#[test]
fn who_is_hung_up_on_while_others_are_let_in_is_not_let_in() {
    // Whether another comes in between, and whether one leaves before.
    for (comes, leaves, reason) in
        [(true, false, Reason::NotLetIn), (true, true, Reason::BrokerFull), (false, false, Reason::BrokerFull)]
    {
        let mut l = Lifecycle::new(&fleet(3, 1_000, Settings::default()), 1, ms(0));
        let [a, b, c] = [0, 1, 2].map(ClientKey);
        l.worker_ready(WorkerKey(0), [a, b, c], ms(0));
        l.start(a, ms(0));
        let (t, _, g) = connects(&mut l, a, 0);
        l.report(a, g, up(), ms(t));
        let hangs_up = after(Reason::ConnectionLost, &Unanswered::new(Ask::Connect));
        l.start(c, ms(t));
        let (t, _, g) = connects(&mut l, c, t);
        l.report(c, g, hangs_up.clone(), ms(t));
        assert_eq!(last_step(&mut l).reason, Reason::BrokerFull);
        if leaves {
            l.disconnect(a, ms(t + 1));
        }
        // It comes in where the other one may be waiting.
        let mut at = t + 1;
        if comes {
            l.start(b, ms(at));
            let (t, _, g) = connects(&mut l, b, at);
            l.report(b, g, up(), ms(t));
            at = t;
        }
        let (t, _, g) = connects(&mut l, c, at);
        l.report(c, g, hangs_up.clone(), ms(t));
        let step = last_step(&mut l);
        assert_eq!(step.reason, reason, "{comes}, {leaves}: {step:?}");
        assert_eq!(step.to, if reason == Reason::NotLetIn { State::Failed } else { State::Backoff });
    }
}

/// Clients that are up by their keep alives only are no witnesses.
#[test]
fn an_endpoint_that_is_silent_to_those_who_are_up_is_shut_when_its_probe_fails() {
    let endpoint = EndpointKey(0);
    let fails = |l: &mut Lifecycle, at| {
        let cause = Cause { reason: Reason::ConnectTimeout, detail: Scrubbed::default() };
        l.probed(endpoint, Err(cause), ms(at));
        matches!(l.gate(endpoint).condition, Condition::Shut { .. })
    };
    let mut l = all_up(3, Settings::default());
    assert!(!fails(&mut l, 100), "it is full");
    l.late(ClientKey(0), ms(200));
    l.heard(ClientKey(1), ms(300));
    assert!(!fails(&mut l, 400), "it answers another");
    l.late(ClientKey(1), ms(500));
    assert!(fails(&mut l, 600));
    // As soon as it answers anybody it is asked, and what it said to the others may be that it is full.
    l.heard(ClientKey(2), ms(700));
    assert!(l.drain().any(|effect| effect == Effect::Probe(endpoint)));
    assert!(!fails(&mut l, 800));
    // What those who are up need no more is no contradiction, however often they are answered.
    let cause = Cause { reason: Reason::CertificateExpired, detail: Scrubbed::default() };
    l.probed(endpoint, Err(cause), ms(900));
    drop(l.drain());
    l.heard(ClientKey(2), ms(1_000));
    assert!(!l.drain().any(|effect| effect == Effect::Probe(endpoint)));
}

#[test]
fn a_broker_that_answers_others_and_not_this_client_may_be_full() {
    let connect = Unanswered::new(Ask::Connect);
    for (answers, says) in [(Some(150), true), (Some(50), false), (None, false)] {
        let mut l = all_up(2, Settings { protocol: Protocol::V311, ..Settings::default() });
        let c = ClientKey(1);
        l.reconnect(c, ms(100));
        let (_, _, g) = connects(&mut l, c, 100);
        if let Some(at) = answers {
            l.heard(ClientKey(0), ms(at));
        }
        l.report(c, g, after(Reason::ConnectTimeout, &connect), ms(5_000));
        let step = last_step(&mut l);
        assert_eq!(step.reason, Reason::ConnectTimeout);
        assert_eq!(step.detail.contains("though it answers others (it may be full)"), says, "{answers:?}: {step:?}");
    }
}

#[test]
fn a_broker_where_nobody_is_up_may_speak_an_older_version() {
    for (step, reason, says) in [
        (after(Reason::ConnectionLost, &Unanswered::new(Ask::Connect)), Reason::ConnectionLost, true),
        (after(Reason::ConnectTimeout, &Unanswered::new(Ask::Connect)), Reason::ConnectTimeout, true),
        (cause(Reason::UnsupportedProtocolVersion), Reason::UnsupportedProtocolVersion, true),
        (cause(Reason::ConnectTimeout), Reason::ConnectTimeout, false),
    ] {
        for protocol in [Protocol::V5, Protocol::V311] {
            let (mut l, c, g) = connecting(Settings { protocol, ..Settings::default() });
            l.report(c, g, step.clone(), ms(5));
            let told = last_step(&mut l);
            let hint = "speak MQTT 3.1.1 only: set protocol = \"3.1.1\"";
            assert_eq!(told.reason, reason);
            assert_eq!(told.detail.contains(hint), says && protocol == Protocol::V5, "{told:?}");
        }
    }
}

/// Those that are up there speak 3.1.1.
#[test]
fn a_broker_where_others_are_up_with_the_older_version_is_not_full() {
    let mut fleet = fleet(2, 1_000, Settings::default());
    fleet.clients[0].settings = Arc::new(Settings { protocol: Protocol::V311, ..Settings::default() });
    let mut l = Lifecycle::new(&fleet, 1, ms(0));
    let (a, b) = (ClientKey(0), ClientKey(1));
    l.worker_ready(WorkerKey(0), [a, b], ms(0));
    l.start(a, ms(0));
    let (t, _, g) = connects(&mut l, a, 0);
    l.report(a, g, up(), ms(t));
    l.start(b, ms(t));
    let (t, _, g) = connects(&mut l, b, t);
    l.report(b, g, after(Reason::ConnectionLost, &Unanswered::new(Ask::Connect)), ms(t));
    let step = last_step(&mut l);
    assert_eq!(step.reason, Reason::ConnectionLost);
    assert!(step.detail.contains("speak MQTT 3.1.1 only"), "{step:?}");
}

#[test]
fn auto_tries_5_then_3_1_1_and_the_endpoint_remembers() {
    let auto = Settings { falls_back: true, ..Settings::default() };
    for step in [
        after(Reason::ConnectionLost, &Unanswered::new(Ask::Connect)),
        after(Reason::ConnectTimeout, &Unanswered::new(Ask::Connect)),
        cause(Reason::UnsupportedProtocolVersion),
    ] {
        let mut l = Lifecycle::new(&fleet(2, 1_000, auto.clone()), 1, ms(0));
        let (a, b) = (ClientKey(0), ClientKey(1));
        l.worker_ready(WorkerKey(0), [a, b], ms(0));
        l.start(a, ms(0));
        let (t, manner, g) = connects(&mut l, a, 0);
        assert_eq!(manner.protocol, None);
        l.report(a, g, step, ms(t + 1));
        let old = Some(Protocol::V311);
        let (t, manner, g) = connects(&mut l, a, t + 1);
        assert_eq!(manner.protocol, old);
        l.report(a, g, up(), ms(t));
        let told = last_step(&mut l);
        assert_eq!((told.to, told.attempt, told.detail.as_str()), (State::Up, 1, "in MQTT 3.1.1"));
        l.start(b, ms(t + 1));
        assert_eq!(connects(&mut l, b, t + 1).1.protocol, old, "known by now");
        // The operator has it found out anew: the broker may have been slow only.
        l.reconnect(a, ms(t + 9));
        assert_eq!(connects(&mut l, a, t + 9).1.protocol, None);
    }
}

#[test]
fn auto_stays_with_5_where_that_was_answered() {
    let (mut l, c, g) = connecting(Settings { falls_back: true, ..Settings::default() });
    l.report(c, g, up(), ms(5));
    l.report(c, g, cause(Reason::ConnectionLost), ms(6));
    let (t, _, g) = connects(&mut l, c, 6);
    l.report(c, g, after(Reason::ConnectionLost, &Unanswered::new(Ask::Connect)), ms(t));
    assert_eq!(last_step(&mut l).to, State::Backoff);
    assert_eq!(connects(&mut l, c, t).1.protocol, None);
}

#[test]
fn auto_goes_on_in_turn_where_neither_is_answered() {
    let (mut l, c, mut g) = connecting(Settings { falls_back: true, ..Settings::default() });
    let mut t = 5;
    for protocol in [Some(Protocol::V311), None, Some(Protocol::V311), None] {
        l.report(c, g, after(Reason::ConnectionLost, &Unanswered::new(Ask::Connect)), ms(t));
        let manner;
        (t, manner, g) = connects(&mut l, c, t);
        assert_eq!(manner.protocol, protocol);
    }
}

#[test]
fn credentials_that_were_good_are_tried_again_soon() {
    let (mut l, c, mut g) = connecting(Settings::default());
    let mut t = 5;
    // Losses do not count.
    for _ in 0..5 {
        l.report(c, g, up(), ms(t));
        l.report(c, g, cause(Reason::ConnectionLost), ms(t + 40_000));
        (t, _, g) = connects(&mut l, c, t + 40_000);
    }
    for (least, most) in [(2, 4), (6, 12), (18, 36), (54, 108), (300, 600), (600, 1_200)] {
        l.report(c, g, cause(Reason::NotAuthorized), ms(t));
        let step = last_step(&mut l);
        let wait = step.next_try.expect("a next try").as_secs_f64();
        assert!((f64::from(least)..=f64::from(most)).contains(&wait), "{wait} s, {least} to {most}");
        assert_eq!(step.to, if most < 300 { State::Backoff } else { State::Failed });
        (t, _, g) = connects(&mut l, c, t);
    }
    // Let in and thrown out at once is as good as refused; after a while it counts from the start again.
    l.report(c, g, up(), ms(t));
    l.report(c, g, cause(Reason::NotAuthorized), ms(t + 1));
    assert!(last_step(&mut l).next_try >= Some(Duration::from_secs(900)));
    let (t, _, g) = connects(&mut l, c, t + 1);
    l.report(c, g, up(), ms(t));
    l.report(c, g, cause(Reason::NotAuthorized), ms(t + 40_000));
    assert!(last_step(&mut l).next_try <= Some(Duration::from_secs(4)));
}

/// It comes up and is closed, again and again, each time so long after it came up.
fn flaps(l: &mut Lifecycle, c: ClientKey, uptimes: &[u64]) -> Vec<Transition> {
    let (mut t, mut g) = (20, 1);
    let mut steps = Vec::new();
    for uptime in uptimes {
        l.report(c, g, cause(Reason::ConnectionLost), ms(t + uptime));
        let effects = settle(l, ms(t + uptime));
        steps.push(last_of(&effects, c));
        if l.state(c) == State::Failed {
            break;
        }
        (t, _, g) = connects(l, c, t + uptime);
        l.report(c, g, up(), ms(t));
        settle(l, ms(t));
    }
    steps
}

#[test]
fn who_is_closed_each_time_as_long_after_coming_up_may_have_a_double_elsewhere() {
    let mut l = all_up(2, Settings::default());
    let steps = flaps(&mut l, ClientKey(0), &[5_000, 5_100, 4_950, 5_200]);
    let reasons: Vec<_> = steps.iter().map(|s| s.reason).collect();
    use Reason::*;
    assert_eq!(reasons, [ConnectionLost, ConnectionLost, SuspectedDuplicate, DuplicateClientId]);
    assert_eq!((steps[2].to, steps[3].to), (State::Backoff, State::Failed));
    assert_eq!(steps[2].detail.as_str(), "closed 3 times, each about 5.0 s after it came up");
}

#[test]
fn without_a_witness_a_double_is_suspected_but_nothing_is_given_up() {
    let mut l = all_up(1, Settings::default());
    let steps = flaps(&mut l, ClientKey(0), &[5_000; 8]);
    assert!(steps.iter().all(|s| s.to == State::Backoff), "{steps:?}");
    assert!(steps[2..].iter().all(|s| s.reason == Reason::SuspectedDuplicate));
}

#[test]
fn what_has_no_pattern_is_no_double() {
    let mut l = all_up(2, Settings::default());
    let steps = flaps(&mut l, ClientKey(0), &[5_000, 20_000, 1_000, 61_000, 61_000, 61_000, 61_000, 9_000]);
    assert!(steps.iter().all(|s| s.reason == Reason::ConnectionLost), "{steps:?}");
}

#[test]
fn a_session_that_should_be_there_and_is_not_is_told() {
    let kept = |clean_start, seconds| Settings {
        clean_start,
        session_expiry: Duration::from_secs(seconds),
        ..Settings::default()
    };
    let old = Settings { clean_start: false, protocol: Protocol::V311, ..Settings::default() };
    for (settings, present, reason) in [
        (kept(false, 600), false, Reason::SessionLost),
        (kept(false, 600), true, Reason::Connected),
        (kept(true, 600), false, Reason::Connected),
        (kept(false, 0), false, Reason::Connected),
        (kept(false, 2), false, Reason::Connected), // it has run out
        (old, false, Reason::SessionLost),
    ] {
        let (mut l, c, g) = connecting(settings.clone());
        l.report(c, g, up(), ms(5));
        assert_eq!(last_step(&mut l).reason, Reason::Connected, "the first time there is none");
        l.report(c, g, cause(Reason::ConnectionLost), ms(10));
        let (_, _, g) = connects(&mut l, c, 10);
        let connack = Connack { session_present: present, ..Connack::default() };
        l.report(c, g, Step::Up(Box::new(connack)), ms(5_000));
        assert_eq!(last_step(&mut l).reason, reason, "{settings:?}, {present}");
    }
}

#[test]
fn two_losses_with_a_good_time_between_them_are_no_refusal_of_a_message() {
    let packet = asked(Ask::Publish, "PUBLISH to a at QoS 0");
    let (mut l, c, mut g) = connecting(Settings::default());
    let mut t = 5;
    for _ in 0..3 {
        l.report(c, g, up(), ms(t));
        l.report(c, g, after(Reason::ConnectionLost, &packet), ms(t + 600_000));
        assert_eq!(last_step(&mut l).reason, Reason::ConnectionLost);
        (t, _, g) = connects(&mut l, c, t + 600_000);
    }
}
