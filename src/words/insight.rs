//! Defines the sentence on how a fleet stands: what most of those share that are not well, or since when all is well; what is shared is the model's to find.

use crate::{
    clock::Moment,
    fleet::{ClientKey, Fleet},
    model::{Insight, Known, Shared, Slow, Totals, Why},
    words::figures,
};

/// What most of the unhealthy share: `187 of 190 down share endpoint eu-2: certificate expired, since 12:01`,
/// or `220 down since 12:01: 110 at eu-1, connection refused; 110 at eu-2, certificate expired`. How many are not well it
/// takes from the totals, as the header does. `clock` tells a moment's time of day.
pub fn causes(known: &Known, clock: impl Fn(Moment) -> String) -> Option<String> {
    told(known.fleet(), known.insights(), known.totals(), &clock)
}

/// What most of these clients share, in the same words, by what is known of them alone.
pub fn among(known: &Known, clients: &[ClientKey], clock: impl Fn(Moment) -> String) -> Option<String> {
    let insights = Insight::among(known, clients);
    let sentences: Vec<String> =
        insights.iter().map(|insight| sentence(known.fleet(), insight, insight.of, &clock)).collect();
    (!sentences.is_empty()).then(|| sentences.join("; "))
}

/// One cause in short: `110 at eu-1, connection refused`.
pub fn cause(fleet: &Fleet, insight: &Insight) -> String {
    part(fleet, insight, "")
}

/// Since when everybody is up who should be, where everybody is: `all 1,000 up since 14:02`.
pub fn well(known: &Known, clock: impl Fn(Moment) -> String) -> Option<String> {
    let totals = known.totals();
    let since = clock(known.well().filter(|_| totals.is_well())?);
    Some(match (totals.wearing(crate::event::Badge::Up), totals.all()) {
        (1, 1) => format!("up since {since}"),
        (up, all) if up == all => format!("all {} up since {since}", figures::count(up)),
        (up, _) => format!("all {} that should be up are, since {since}", figures::count(up)),
    })
}

fn told(fleet: &Fleet, insights: &[Insight], totals: &Totals, clock: &dyn Fn(Moment) -> String) -> Option<String> {
    // Who came back since the last look is no longer told of.
    let now = |insight: &Insight| if insight.are_slow { totals.slow() } else { totals.down };
    let insights: Vec<&Insight> = insights.iter().filter(|insight| now(insight) > 0).collect();
    match insights.as_slice() {
        [] => None,
        [one, other] if one.are_slow == other.are_slow => {
            let since = |insight: &Insight| insight.since.map(|at| format!(" since {}", clock(at))).unwrap_or_default();
            let whens = [*one, *other].map(since);
            let (both, each) = match &whens {
                [first, second] if first == second => (first.clone(), Default::default()),
                _ => (String::new(), whens),
            };
            let parts = [(*one, &each[0]), (*other, &each[1])].map(|(insight, since)| part(fleet, insight, since));
            let what = if one.are_slow { "slow" } else { "down" };
            Some(format!("{} {what}{both}: {}", figures::count(now(one)), parts.join("; ")))
        }
        several => {
            let sentences = several.iter().map(|insight| sentence(fleet, insight, now(insight), clock));
            Some(sentences.collect::<Vec<_>>().join("; "))
        }
    }
}

/// One of two causes: `110 at eu-1 since 12:01, connection refused`.
fn part(fleet: &Fleet, insight: &Insight, since: &str) -> String {
    let count = figures::count(insight.clients);
    let (place, why) = match &insight.shared {
        Shared::Endpoint(endpoint, why) => (format!(" at {}", fleet.endpoint(*endpoint).name), *why),
        Shared::Label { label, value, why } => (format!(" in {label}={value}"), *why),
        Shared::Reason(why) => return format!("{count} {}{since}", why.words()),
        _ => return sentence(fleet, insight, insight.of, &|_| String::new()),
    };
    format!("{count}{place}{since}{}", why.map(|why| format!(", {}", why.words())).unwrap_or_default())
}

/// A cause as a sentence of its own; `of` clients are down, or slow.
fn sentence(fleet: &Fleet, insight: &Insight, of: u32, clock: &dyn Fn(Moment) -> String) -> String {
    let &Insight { ref shared, are_slow, since, .. } = insight;
    // Of who fell ill since the last look nobody knows yet what they share.
    let clients = insight.clients.min(of);
    let since = since.map(|at| format!("since {}", clock(at)));
    let (place, why) = match shared {
        Shared::Storm { waiting, rate, eta } => {
            let waiting = figures::count(*waiting);
            return format!("reconnect storm: {waiting} waiting, {rate}/s, done in {}", figures::wait(*eta));
        }
        Shared::ClientId(first, 1) => {
            return format!("{} and one more use the same client ID", fleet.full_name(*first));
        }
        Shared::ClientId(first, ids) => {
            let ids = figures::count(*ids);
            return format!("{ids} client IDs are used twice, {} among them", fleet.full_name(*first));
        }
        Shared::Worker(worker) => {
            return format!("{} died: {} wait for it", fleet.worker(*worker), figures::clients(clients));
        }
        Shared::Endpoint(endpoint, why) => (Some(("at", format!("endpoint {}", fleet.endpoint(*endpoint).name))), *why),
        Shared::Label { label, value, why } => (Some(("in", format!("{label}={value}"))), *why),
        Shared::Reason(why) => (None, Some(*why)),
    };
    let why = why.map(|why| format!(": {}", why.words())).unwrap_or_default();
    match (are_slow, place) {
        (true, place) => {
            let since = since.map(|since| format!(" {since}")).unwrap_or_default();
            let place = place.map(|(at, place)| match clients == of {
                true => format!(", all {at} {place}"),
                false => format!(", {} of them {at} {place}", figures::count(clients)),
            });
            let (how, why) = match shared.why() {
                Some(Why::Slow(Slow::Late)) => ("get no answer", String::new()),
                _ => ("slow", why),
            };
            format!("{} {how}{since}{}{why}", figures::clients(of), place.unwrap_or_default())
        }
        (false, place) => {
            let who = match clients == of {
                true => format!("all {} down", figures::count(of)),
                false => format!("{} of {} down", figures::count(clients), figures::count(of)),
            };
            let place = place.map(|(_, place)| format!(" share {place}")).unwrap_or_default();
            format!("{who}{place}{why}{}", since.map(|since| format!(", {since}")).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        event::Reason,
        fleet::{Client, ClientKey, Endpoint, EndpointKey, WorkerKey},
        text::Scrubbed,
    };

    fn fleet() -> Fleet {
        let client = |n: u32| Client::new(&format!("press-{n:04}"), EndpointKey(0), Arc::default());
        let endpoints = vec![Endpoint::new("eu-1", "eu-1", 1883), Endpoint::new("eu-2", "eu-2", 1883)];
        let clients = (1..=40).map(client).collect();
        Fleet { name: Scrubbed::new("f"), env: None, worker_size: 500, endpoints, clients }
    }

    fn insight(shared: Shared, are_slow: bool, clients: u32, of: u32) -> Insight {
        Insight { shared, are_slow, clients, of, since: Some(Moment(1)) }
    }

    fn site(why: Option<Why>) -> Shared {
        Shared::Label { label: Scrubbed::new("site"), value: Scrubbed::new("hall-3"), why }
    }

    fn down(reason: Reason) -> Option<Why> {
        Some(Why::Down(reason))
    }

    #[test]
    fn one_cause_is_a_sentence() {
        let eta = Duration::from_secs(8);
        for (shared, are_slow, clients, of, says) in [
            (
                Shared::Endpoint(EndpointKey(0), down(Reason::CertificateExpired)),
                false,
                187,
                190,
                "187 of 190 down share endpoint eu-1: certificate expired, since 12:01",
            ),
            (Shared::Endpoint(EndpointKey(0), None), false, 9, 9, "all 9 down share endpoint eu-1, since 12:01"),
            (site(None), true, 40, 40, "40 clients slow since 12:01, all in site=hall-3"),
            (
                site(Some(Why::Slow(Slow::Late))),
                true,
                40,
                43,
                "43 clients get no answer since 12:01, 40 of them in site=hall-3",
            ),
            (
                Shared::Reason(Why::Down(Reason::NotAuthorized)),
                false,
                28,
                30,
                "28 of 30 down: not authorized, since 12:01",
            ),
            (
                Shared::Reason(Why::Slow(Slow::Objective)),
                true,
                900,
                1_000,
                "1,000 clients slow since 12:01: p99 over objective",
            ),
            (Shared::Worker(WorkerKey(3)), false, 250, 252, "worker 3 died: 250 clients wait for it"),
            (Shared::ClientId(ClientKey(39), 1), false, 1, 1, "press-0040 and one more use the same client ID"),
            (Shared::ClientId(ClientKey(39), 4), false, 8, 8, "4 client IDs are used twice, press-0040 among them"),
            (
                Shared::Storm { waiting: 812, rate: 100, eta },
                false,
                812,
                812,
                "reconnect storm: 812 waiting, 100/s, done in 8.0 s",
            ),
        ] {
            assert_eq!(sentence(&fleet(), &insight(shared, are_slow, clients, of), of, &|_| "12:01".to_owned()), says);
        }
    }

    #[test]
    fn two_causes_are_told_beside_each_other_and_counted_as_the_header_counts() {
        let mut totals = Totals::default();
        totals.down = 221;
        let at = |n, why| insight(Shared::Endpoint(EndpointKey(n), why), false, 110, 220);
        let two = [at(0, down(Reason::ConnectionRefused)), at(1, down(Reason::CertificateExpired))];
        let tell = |insights: &[Insight]| told(&fleet(), insights, &totals, &|_| "12:01".to_owned());
        assert_eq!(
            tell(&two).as_deref(),
            Some("221 down since 12:01: 110 at eu-1, connection refused; 110 at eu-2, certificate expired")
        );
        // One has been there for longer, and of the other it is not known.
        let [earlier, mut later] = two;
        let apart = |later: &Insight| {
            let clock = |at: Moment| format!("12:0{}", at.0);
            told(&fleet(), &[earlier.clone(), later.clone()], &totals, &clock)
        };
        later.since = Some(Moment(7));
        let says =
            "221 down: 110 at eu-1 since 12:01, connection refused; 110 at eu-2 since 12:07, certificate expired";
        assert_eq!(apart(&later).as_deref(), Some(says));
        later.since = None;
        let says = "221 down: 110 at eu-1 since 12:01, connection refused; 110 at eu-2, certificate expired";
        assert_eq!(apart(&later).as_deref(), Some(says));
        let all = insight(Shared::Reason(Why::Down(Reason::ConnectionRefused)), false, 220, 220);
        assert_eq!(tell(&[all]).as_deref(), Some("220 of 221 down: connection refused, since 12:01"));
        assert_eq!(tell(&[insight(site(None), true, 9, 9)]), None, "nobody is slow any more");
    }
}
