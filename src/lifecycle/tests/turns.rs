//! Tests of the order in which clients pass a gate: workers take turns, and nobody is forgotten.

use std::collections::HashMap;

use super::*;
use crate::lifecycle::queue::Queue;

/// A lifecycle of this many workers, each with as many clients, all of which wait for one gate.
fn crowd(workers: u32, each: u32, max_connecting: u32) -> Lifecycle {
    let mut fleet = fleet(workers * each, 100_000, Settings::default());
    fleet.endpoints[0].max_connecting = max_connecting;
    let mut l = Lifecycle::new(&fleet, 1, ms(0));
    fleet.keys().for_each(|c| l.start(c, ms(0)));
    for worker in 0..workers {
        l.worker_ready(WorkerKey(worker), (worker * each..(worker + 1) * each).map(ClientKey), ms(0));
    }
    settle(&mut l, ms(0));
    l
}

/// Who connects next, each accepted at once.
fn accept_all(l: &mut Lifecycle, from: u64) -> Vec<ClientKey> {
    let mut order = Vec::new();
    for t in from..from + 1_000 {
        l.poll(ms(t));
        for effect in settle(l, ms(t)) {
            if let Effect::Connect(c, ConnectOrder { generation: g, .. }) = effect {
                order.push(c);
                l.report(c, g, Step::Up(Box::default()), ms(t));
            }
        }
    }
    order
}

#[test]
fn a_few_workers_at_a_time_connect_side_by_side_each_in_its_own_order() {
    let (workers, each) = (8, 30);
    let order = accept_all(&mut crowd(workers, each, 7), 1);
    assert_eq!(order.len(), 240);
    let worker = |c: &ClientKey| c.0 / each;
    for few in order.windows(Queue::WIDTH) {
        let distinct: std::collections::HashSet<u32> = few.iter().map(worker).collect();
        assert_eq!(distinct.len(), Queue::WIDTH, "{few:?}");
    }
    for w in 0..workers {
        assert!(order.iter().filter(|c| worker(c) == w).is_sorted(), "worker {w} connects out of turn");
        let begin = order.iter().position(|c| worker(c) == w).expect("a turn");
        assert!(begin < (w as usize / Queue::WIDTH + 1) * Queue::WIDTH * each as usize, "worker {w} waits too long");
    }
}

#[test]
fn who_was_let_through_last_comes_last_again() {
    let mut l = crowd(2, 5, 6);
    l.poll(ms(1));
    let mut first = Vec::new();
    for effect in settle(&mut l, ms(1)) {
        if let Effect::Connect(c, ConnectOrder { generation: g, .. }) = effect {
            first.push((c, g));
        }
    }
    assert_eq!(first.len(), 6, "three of each worker");
    for &(c, g) in &first {
        l.report(c, g, cause(Reason::ConnectionRefused), ms(2));
    }
    settle_with(&mut l, ms(3), |_| false);
    assert!((0..10).all(|c| matches!(l.state(ClientKey(c)), State::Held | State::Backoff)));
    l.probed(EndpointKey(0), Ok(()), ms(4));
    let order = accept_all(&mut l, 5);
    assert_eq!(order.len(), 10);
    let late: Vec<_> = order[4..].iter().collect();
    assert!(first.iter().all(|(c, _)| late.contains(&c)), "{order:?} after {first:?}");
}

/// Clients that come back as soon as they were let through are the worst that can happen to those
/// who wait.
#[test]
fn nobody_is_overtaken_again_and_again() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let sizes: Vec<u32> = (0..random.u32(1..12)).map(|_| random.u32(1..40)).collect();
        let total: u32 = sizes.iter().sum();
        let bound = total + 2 * Queue::WIDTH as u32 * sizes.iter().max().unwrap();
        let workers: Vec<u32> = sizes.iter().enumerate().flat_map(|(w, n)| vec![w as u32; *n as usize]).collect();
        let mut queue = Queue::default();
        // The ticket of each client that waits, and how many were let through before it came.
        let mut waiting: HashMap<u32, (u32, u32)> = HashMap::new();
        let mut keys: Vec<u32> = (0..total).collect();
        random.shuffle(&mut keys);
        for client in keys {
            queue.push(WorkerKey(workers[client as usize]), ClientKey(client), 0);
            waiting.insert(client, (0, 0));
        }
        let mut last = vec![0; sizes.len()];
        for n in 1..20 * total {
            let waits = |c: ClientKey, ticket| waiting.get(&c.0).is_some_and(|w| w.0 == ticket);
            let next = queue.next(waits).expect("somebody waits");
            assert_eq!(queue.next(waits), Some(next), "to look changes nothing");
            queue.pop();
            let (ticket, since) = waiting.remove(&next.0).expect("one that waits");
            assert!(n - since <= bound, "client {} was let through as number {n} since it came", n - since);
            let worker = workers[next.index()];
            assert!(last[worker as usize] <= since, "worker {worker}: one that came later was first");
            last[worker as usize] = since;
            queue.push(WorkerKey(worker), next, ticket + 1);
            waiting.insert(next.0, (ticket + 1, n));
            // One changes its mind, and comes back as a new one.
            if random.u32(0..4) == 0 {
                let other = random.u32(0..total);
                let (ticket, _) = waiting[&other];
                waiting.insert(other, (ticket + 1, n));
                queue.push(WorkerKey(workers[other as usize]), ClientKey(other), ticket + 1);
            }
            if queue.len() > 2 * total as usize {
                queue.retain(|c, ticket| waiting[&c.0].0 == ticket);
                assert_eq!(queue.len(), total as usize);
            }
        }
    }
}
