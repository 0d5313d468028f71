//! Tests of what makes a client that is up slow, and of when it no longer is, on made-up time; figures by themselves are tested where they are defined.

use super::*;
use crate::{
    event::{Late, Tcp, TcpState},
    fleet::Probe,
};

/// Two clients with an ack every second, which must not take longer than 100 ms; both are up.
fn asked() -> Known {
    let mut fleet = Fleet::clone(&fleet(2));
    let settings = Arc::new(Settings {
        probe: Probe { kind: ProbeKind::Ack, every: Duration::from_secs(1) },
        slow_p99: Some(Duration::from_millis(100)),
        ..Settings::default()
    });
    fleet.clients.iter_mut().for_each(|client| client.settings = settings.clone());
    let mut known = Known::new(Arc::new(fleet), ms(0));
    for client in 0..2 {
        known.apply(&step(&known, ms(0), client, State::Up, Reason::Connected));
    }
    known
}

fn answer(known: &mut Known, at: Moment, rtt: u64) {
    let sample = Sample { client: ClientKey(0), probe: ProbeKind::Ack, rtt: Duration::from_millis(rtt) };
    known.apply(&Event { at, what: What::Sample(sample) });
}

fn late(known: &mut Known, at: Moment, since: Moment) {
    tell(known, at, What::Late(Late { client: ClientKey(0), probe: ProbeKind::Ack, since }));
}

#[test]
fn what_is_measured_of_a_client_costs_little() {
    let shared = 2 * size_of::<usize>();
    let bytes = size_of::<Answers>() + shared + size_of::<Trend>() + size_of::<Link>() + size_of::<Option<Moment>>();
    println!("{bytes} bytes a client");
    assert!(bytes <= 1_500, "{bytes} bytes");
}

#[test]
fn a_probe_is_late_while_it_is_and_its_answer_counts_for_those_that_waited() {
    let (mut known, client) = (asked(), ClientKey(0));
    for second in 0..40 {
        answer(&mut known, ms(1_000 * second + 2), 2);
    }
    late(&mut known, ms(41_000), ms(40_000));
    assert_eq!((known.row(client).slow, known.totals().slow()), (Some(Slow::Late), 1), "at once");
    assert_eq!(known.row(client).late, Some(ms(40_000)));
    known.look(ms(44_000));
    assert_eq!(known.row(client).slow, Some(Slow::Late));
    answer(&mut known, ms(47_000), 7_000);
    let row = known.row(client);
    assert_eq!((row.late, row.slow), (None, Some(Slow::Objective)));
    let answers = row.answers().unwrap();
    assert_eq!(answers.loss(ms(47_000)), (41, 0));
    let beyond: u32 =
        answers.histogram(ms(47_000)).counts().skip(histogram::bucket_of(Duration::from_millis(900))).sum();
    assert_eq!(beyond, 7);
    // What the fleet's users saw is no less.
    assert_eq!(known.latencies().fleet(ms(47_000)).total(), 47);
}

#[test]
fn what_is_late_ends_with_the_connection_and_is_lost() {
    let (mut known, client) = (asked(), ClientKey(0));
    answer(&mut known, ms(1_002), 2);
    late(&mut known, ms(3_000), ms(2_000));
    late(&mut known, ms(4_000), ms(3_000)); // the one before has no answer either
    known.apply(&step(&known, ms(5_000), 0, State::Backoff, Reason::KeepAliveTimeout));
    let row = known.row(client);
    assert_eq!((row.late, row.slow, known.totals().slow()), (None, None, 0));
    assert_eq!(row.answers().unwrap().loss(ms(5_000)), (1, 2));
    known.apply(&step(&known, ms(6_000), 0, State::Up, Reason::Connected));
    late(&mut known, ms(6_001), ms(3_000));
    assert_eq!(known.row(client).slow, None, "news of a connection that is gone");
    assert_eq!(known.row(client).p99(ms(6_001)), Some(Duration::from_millis(2)), "a probe without an answer is a gap");
}

#[test]
fn news_of_lateness_that_an_answer_overtook_is_no_news() {
    let (mut known, client) = (asked(), ClientKey(0));
    answer(&mut known, ms(3_000), 1_000); // sent at 2 s
    late(&mut known, ms(3_000), ms(2_000));
    assert_eq!(known.row(client).late, None);
    late(&mut known, ms(4_500), ms(3_500));
    // The answer to another probe says that this one is lost.
    answer(&mut known, ms(5_002), 2);
    let answers = known.row(client).answers().unwrap();
    assert_eq!((known.row(client).late, answers.loss(ms(5_002))), (None, (2, 1)));
}

/// The worker gave the first one up, and awaits another by now.
#[test]
fn a_client_is_late_since_the_first_probe_without_an_answer() {
    let (mut known, client) = (asked(), ClientKey(0));
    answer(&mut known, ms(2), 2);
    late(&mut known, ms(3_000), ms(2_000));
    late(&mut known, ms(3_500), ms(2_000));
    assert_eq!(known.row(client).answers().unwrap().loss(ms(3_500)), (1, 0), "told again");
    late(&mut known, ms(8_000), ms(7_000));
    late(&mut known, ms(13_000), ms(12_000));
    let row = known.row(client);
    assert_eq!((row.late, row.answers().unwrap().loss(ms(13_000))), (Some(ms(2_000)), (1, 2)));
    answer(&mut known, ms(14_000), 2_000);
    let row = known.row(client);
    assert_eq!((row.late, row.answers().unwrap().loss(ms(14_000))), (None, (2, 2)));
}

#[test]
fn an_answer_to_an_earlier_probe_is_an_answer_and_ends_nothing() {
    let (mut known, client) = (asked(), ClientKey(0));
    late(&mut known, ms(3_000), ms(2_000));
    answer(&mut known, ms(3_100), 1_600);
    let row = known.row(client);
    assert_eq!(
        (row.late, row.slow, row.last),
        (Some(ms(2_000)), Some(Slow::Late), Some((ms(3_100), Duration::from_millis(1_600))))
    );
    answer(&mut known, ms(9_000), 7_000);
    let row = known.row(client);
    assert_eq!((row.late, row.answers().unwrap().loss(ms(9_000))), (None, (2, 0)));
}

/// A message of the client's own, measured in the place of a ping, and a ping that overtook it.
#[test]
fn an_answer_of_another_kind_ends_what_is_late_and_loses_nothing() {
    let (mut known, client) = (asked(), ClientKey(0));
    answer(&mut known, ms(2), 2);
    late(&mut known, ms(3_000), ms(2_000));
    let ping = Sample { client, probe: ProbeKind::Heartbeat, rtt: Duration::from_millis(500) };
    tell(&mut known, ms(3_500), What::Sample(ping));
    assert_eq!(known.row(client).late, None);
    answer(&mut known, ms(4_000), 2_000);
    assert_eq!(known.row(client).answers().unwrap().loss(ms(4_000)), (3, 0));
}

proptest! {
    /// A worker probes, tells once what is late, gives up, hears answers and sees connections end.
    #[test]
    fn a_probe_is_lost_once_and_only_where_it_was_never_answered(acts in proptest::collection::vec(0..6u8, 0..44)) {
        let (mut known, client) = (asked(), ClientKey(0));
        answer(&mut known, ms(2), 2);
        let (mut awaited, mut since, mut lost, mut answered) = (None, None, 0, 1);
        let is_told = |awaited: Option<(Moment, bool)>| awaited.is_some_and(|(_, told)| told);
        for (at, act) in (1..).map(|n| ms(2_000 * n)).zip(acts.into_iter().chain([0, 2])) {
            match (act, awaited) {
                (0 | 1, _) => {
                    lost += u32::from(is_told(awaited));
                    awaited = Some((at, false));
                }
                (2, Some((sent, _))) => {
                    answer(&mut known, at, at.since(sent).as_millis() as u64);
                    (awaited, since, answered) = (None, None, answered + 1);
                }
                (3 | 4, Some((sent, false))) => {
                    late(&mut known, at, sent);
                    awaited = Some((sent, true));
                    since = since.or(Some(sent));
                }
                (5, _) => {
                    // A second that was not late yet does not stand for the first one.
                    lost += u32::from(is_told(awaited));
                    known.apply(&step(&known, at, 0, State::Backoff, Reason::ConnectionLost));
                    known.apply(&step(&known, at, 0, State::Up, Reason::Connected));
                    (awaited, since) = (None, None);
                }
                _ => {}
            }
            prop_assert_eq!(known.row(client).late, since);
        }
        prop_assert_eq!(known.row(client).late, None);
        prop_assert_eq!(known.row(client).answers().unwrap().loss(ms(2_000)), (answered, lost));
    }
}

#[test]
fn a_silent_client_loses_its_probe_too() {
    let mut known = asked();
    answer(&mut known, ms(1_000), 2);
    known.look(ms(9_000));
    assert!(known.row(ClientKey(0)).is_silent() && known.row(ClientKey(0)).late.is_none());
    known.apply(&step(&known, ms(10_000), 0, State::Backoff, Reason::KeepAliveTimeout));
    assert_eq!(known.row(ClientKey(0)).answers().unwrap().loss(ms(10_000)), (1, 1));
}

/// How often a client changes between slow and not while it answers like this, a second each.
fn turns(answers: impl Iterator<Item = u64>) -> (u32, bool) {
    let (mut known, mut turns) = (asked(), 0);
    for (second, rtt) in answers.enumerate() {
        let was = known.row(ClientKey(0)).slow;
        answer(&mut known, ms(1_000 * second as u64), rtt);
        let is = known.row(ClientKey(0)).slow;
        assert!(matches!(is, None | Some(Slow::Objective)), "{is:?}");
        turns += u32::from(was != is);
    }
    (turns, known.row(ClientKey(0)).is_slow())
}

#[test]
fn a_client_near_its_objective_does_not_flap() {
    // A quarter of an hour on both sides of 100 ms.
    assert_eq!(turns((0..900).map(|n| 95 + n % 11)), (1, true));
    assert_eq!(turns((0..900).map(|n| if n / 10 % 2 == 0 { 90 } else { 101 })), (1, true));
    assert_eq!(turns((0..900).map(|_| 99)), (0, false));
    // Over it once, and then well below for a whole trend.
    let once = |n: u64| if n == 50 { 300 } else { 20 };
    assert_eq!(turns((0..74).map(once)), (1, true));
    assert_eq!(turns((0..75).map(once)), (2, false));
    assert_eq!(turns((0..900).map(once)), (2, false));
    // Once among more than a hundred is not one in a hundred.
    let rare = |n: u64| if n == 140 { 300 } else { 20 };
    assert_eq!(turns((0..900).map(rare)), (0, false));
}

#[test]
fn a_client_that_recovers_slowly_is_slow_until_it_is_well_below() {
    let (mut known, client) = (asked(), ClientKey(0));
    let mut left = None;
    for second in 0..900 {
        // From 300 ms to 10 ms within ten minutes.
        answer(&mut known, ms(1_000 * second), 300_u64.saturating_sub(second / 2).max(10));
        match (known.row(client).slow, left) {
            (None, None) => left = Some(second),
            (Some(_), Some(_)) => panic!("slow again at {second} s"),
            _ => {}
        }
    }
    // It takes 101 ms at 399 s for the last time, and a trend's length later nothing of it is over.
    assert_eq!(left, Some(399 + Trend::LEN as u64));
}

#[test]
fn what_the_kernel_says_makes_a_client_slow_where_it_goes_on() {
    let (mut known, client) = (asked(), ClientKey(0));
    let read = |known: &mut Known, second: u64, retransmits: u32, unacknowledged: u32, since: u64| {
        answer(known, ms(1_000 * second), 2);
        let ms_ = Duration::from_millis;
        let (state, since_received) = (TcpState::Established, ms_(since));
        let tcp = Tcp {
            state,
            rtt: ms_(9),
            rtt_variation: ms_(3),
            retransmits,
            unacknowledged,
            since_received,
            sent: 0,
            received: 0,
        };
        tell(known, ms(1_000 * second), What::Tcp(client, tcp));
        known.row(client).slow
    };
    let told: Vec<_> = (1..5).map(|n| read(&mut known, n, n as u32, 0, 0)).collect();
    assert_eq!(told, [None, None, None, Some(Slow::Lossy)]);
    assert_eq!((known.row(client).link.as_ref().unwrap().grown, known.totals().slow()), (1, 1));
    let told: Vec<_> = (5..8).map(|n| read(&mut known, n, 4, 2, 5_000)).collect();
    assert_eq!(told, [Some(Slow::Lossy), Some(Slow::Lossy), Some(Slow::Stuck)], "the gravest is told");
    assert_eq!(read(&mut known, 8, 4, 0, 0), None);
    known.apply(&step(&known, ms(9_000), 0, State::Backoff, Reason::ConnectionLost));
    assert!(known.row(client).link.is_none());
    read(&mut known, 10, 9, 9, 9_000);
    assert!(known.row(client).link.is_none(), "news of a connection that is gone");
}

#[test]
fn a_frozen_view_keeps_its_figures() {
    let mut known = asked();
    answer(&mut known, ms(1_000), 2);
    let frozen = known.clone();
    answer(&mut known, ms(2_000), 50);
    let max = |known: &Known| known.row(ClientKey(0)).answers().and_then(|a| a.quantile(ms(2_000), 1.0));
    assert_eq!((max(&frozen), max(&known)), (Some(Duration::from_millis(2)), Some(Duration::from_millis(50))));
}
