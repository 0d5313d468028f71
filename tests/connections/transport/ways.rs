//! Names, addresses, sources and sockets.

use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

use mqfleet_test_support::{
    async_peers::{self, acceptor, echo, serve, serve_at, serve_tls},
    certs::Wanted,
    peers::Blackhole,
};
use tokio::net::UnixListener;

use super::*;

/// Cases 2: the first of two addresses is dead, and TLS is no different from TCP.
#[tokio::test]
async fn a_dead_address_gives_way_to_the_next_in_tls_too() {
    let trust = Trust::new();
    let hole = Blackhole::open();
    let own = trust.ca.issue(&Wanted { names: &["many.example"], ..Wanted::LOCALHOST });
    let acceptor = Arc::new(acceptor(&own).build());
    let listening = format!("127.0.0.2:{}", hole.address().port());
    let live = serve_at(&listening, move |stream| {
        let acceptor = acceptor.clone();
        async move { echo(async_peers::accept(&acceptor, stream).await?).await }
    })
    .await;
    let endpoint = Endpoint { host: "many.example".into(), ..secure(live, &trust.ca_file()) };
    let began = Instant::now();
    let finding = echoes(&knowing(&["127.0.0.1", "127.0.0.2"]), &way(&endpoint)).await;
    assert_eq!(finding.address, Some(live));
    assert_eq!(finding.addresses.len(), 2);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// Case 3: a lookup that takes its time is paid for once, by nobody in TLS more than in TCP.
#[tokio::test]
async fn slow_names_are_waited_for_once() {
    let trust = Trust::new();
    let live = serve_tls(acceptor(&trust.ca.issue(&Wanted { names: &["slow.example"], ..Wanted::LOCALHOST }))).await;
    let endpoint = Endpoint { host: "slow.example".into(), ..secure(live, &trust.ca_file()) };
    let connector = Connector::new(Resolver::with(|_| {
        std::thread::sleep(Duration::from_secs(2));
        Ok(vec![[127, 0, 0, 1].into()])
    }));
    let began = Instant::now();
    let way = way(&endpoint);
    let all = (0..40).map(|_| echoes(&connector, &way));
    futures_util::future::join_all(all).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // And the answer serves those that come next.
    let finding = echoes(&connector, &way).await;
    assert!(finding.stages[0].took < Duration::from_secs(1), "{:?}", finding.stages);
}

#[tokio::test]
async fn known_addresses_are_used_while_names_are_in_doubt() {
    let live = serve(echo).await;
    let endpoint = Endpoint { host: "in.doubt".into(), ..plain(live) };
    let known = [live.ip()];
    let (release, hold) = mpsc::channel::<()>();
    let hold = Mutex::new(hold);
    let hanging = Connector::new(Resolver::with(move |_| {
        let _ = hold.lock().unwrap().recv_timeout(PATIENCE);
        Ok(vec![[127, 0, 0, 1].into()])
    }));
    let failing = Connector::new(Resolver::with(|_| Err(io::Error::other("the name server is down"))));
    for connector in [&hanging, &failing] {
        let finding = echoes(connector, &Way { known: &known, ..way(&endpoint) }).await;
        assert_eq!(finding.address, Some(live));
        assert_eq!(finding.stages.iter().map(|s| s.kind).collect::<Vec<_>>(), [StageKind::Dns, StageKind::Tcp]);
    }
    // Where they are wrong, what is wrong with the name is told as well.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let endpoint = Endpoint { port: gone.port(), ..endpoint };
    let result = connect(&failing, &Way { known: &known, ..way(&endpoint) }).await;
    let words = format!("{gone}; in.doubt: the name server is down");
    assert_eq!(told(&result), (StageKind::Tcp, Reason::ConnectionRefused, words.as_str()));
    drop(release);
}

/// While nobody knows where it is now, it is looked for where it was until it is there again.
#[tokio::test]
async fn known_addresses_are_tried_again_while_a_lookup_hangs() {
    let (release, hold) = mpsc::channel::<()>();
    let hold = Mutex::new(hold);
    let connector = Connector::new(Resolver::with(move |_| {
        let _ = hold.lock().unwrap().recv_timeout(2 * PATIENCE);
        Ok(vec![[127, 0, 0, 1].into()])
    }));
    let gone = tokio::net::TcpListener::bind("127.0.0.3:0").await.unwrap().local_addr().unwrap();
    let endpoint = Endpoint { host: "in.doubt".into(), ..plain(gone) };
    let known = [gone.ip()];
    let soon = Way { known: &known, deadline: Instant::now() + Duration::from_millis(500), ..way(&endpoint) };
    let result = connect(&connector, &soon).await;
    let words = format!("{gone}; no answer about in.doubt");
    assert_eq!(told(&result), (StageKind::Tcp, Reason::ConnectionRefused, words.as_str()));
    let began = Instant::now();
    let back = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        serve_at(&gone.to_string(), echo).await
    };
    let patient = Way { known: &known, ..way(&endpoint) };
    let (finding, live) = tokio::join!(echoes(&connector, &patient), back);
    assert_eq!(finding.address, Some(live));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    drop(release);
}

#[tokio::test]
async fn an_answer_that_comes_late_brings_addresses_into_the_race() {
    let live = serve_at("127.0.0.2:0", echo).await;
    let endpoint = Endpoint { host: "moved.example".into(), ..plain(live) };
    let connector = Connector::new(Resolver::with(|_| {
        std::thread::sleep(Duration::from_millis(200));
        Ok(vec![[127, 0, 0, 2].into()])
    }));
    // Nobody listens there any more.
    let known = [[127, 0, 0, 3].into()];
    let finding = echoes(&connector, &Way { known: &known, ..way(&endpoint) }).await;
    assert_eq!(finding.address, Some(live));
    assert_eq!(finding.addresses.len(), 2);
}

/// Case 4: it is the asker's time that ends a lookup, and no other.
#[tokio::test]
async fn a_lookup_has_as_long_as_the_connect() {
    let live = serve(echo).await;
    let endpoint = Endpoint { host: "slow.example".into(), ..plain(live) };
    let connector = Connector::new(Resolver::with(|_| {
        std::thread::sleep(Duration::from_millis(6_000));
        Ok(vec![[127, 0, 0, 1].into()])
    }));
    let hasty = Way { deadline: Instant::now() + Duration::from_millis(100), ..way(&endpoint) };
    let result = connect(&connector, &hasty).await;
    assert_eq!(told(&result), (StageKind::Dns, Reason::DnsTimeout, "no answer about slow.example"));
    echoes(&connector, &way(&endpoint)).await;
}

#[tokio::test]
async fn connects_come_from_the_chosen_addresses_in_turn() {
    let (tell, heard) = mpsc::channel();
    let live = serve(move |stream| {
        tell.send(stream.peer_addr().unwrap().ip().to_string()).unwrap();
        echo(stream)
    })
    .await;
    let bind = ["127.0.0.7", "::1", "127.0.0.8"].map(|ip| ip.parse().unwrap());
    let endpoint = Endpoint { host: "127.0.0.1".into(), bind: Arc::new(bind), ..plain(live) };
    let connector = connector();
    for _ in 0..4 {
        echoes(&connector, &way(&endpoint)).await;
    }
    let from: Vec<String> = heard.try_iter().collect();
    assert_eq!(from, ["127.0.0.7", "127.0.0.8", "127.0.0.7", "127.0.0.8"]);

    let other = Endpoint { bind: Arc::new([[0; 16].into()]), ..endpoint.clone() };
    let result = connect(&connector, &way(&other)).await;
    let words = format!("{live}: no address to connect from is of its family");
    assert_eq!(told(&result), (StageKind::Tcp, Reason::NetworkUnreachable, words.as_str()));
    let foreign = Endpoint { bind: Arc::new([[192, 0, 2, 1].into()]), ..endpoint };
    let result = connect(&connector, &way(&foreign)).await;
    let (_, reason, words) = told(&result);
    assert_eq!(reason, Reason::NetworkUnreachable);
    assert!(words.contains("cannot connect from 192.0.2.1: cannot assign requested address"), "{words}");
}

/// One source address serves as many ports towards each destination.
#[tokio::test]
async fn a_source_s_ports_serve_every_destination() {
    let destinations = [serve(echo).await, serve(echo).await];
    let bind: Arc<[IpAddr]> = Arc::new([[127, 0, 0, 9].into()]);
    let connector = connector();
    let mut held = Vec::new();
    for destination in destinations {
        let endpoint = Endpoint { host: "127.0.0.1".into(), bind: bind.clone(), ..plain(destination) };
        for _ in 0..50 {
            held.push(connect(&connector, &way(&endpoint)).await.unwrap_or_else(|f| panic!("{f:?}")));
        }
    }
    assert!(held.iter().all(|stream| stream.socket().local_port().is_some() && stream.socket().tcp().is_some()));
}

#[tokio::test]
async fn a_unix_socket_is_connected_to_by_its_path() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("broker.sock");
    let endpoint = Endpoint { transport: Transport::Unix(path.clone()), ..Endpoint::new("e", "localhost", 0) };
    let result = connect(&connector(), &way(&endpoint)).await;
    let words = format!("{}: no such file or directory", path.display());
    assert_eq!(told(&result), (StageKind::Tcp, Reason::ConnectionRefused, words.as_str()));
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    let finding = echoes(&connector(), &way(&endpoint)).await;
    assert_eq!((finding.stages.len(), finding.address), (1, None));
    let mut stream = connect(&connector(), &way(&endpoint)).await.unwrap_or_else(|f| panic!("{f:?}"));
    say(&mut stream, b"x").await.unwrap();
    assert!(stream.socket().tcp().is_none() && stream.socket().local_port().is_none());
}

/// A full queue of a Unix socket is no refusal.
#[tokio::test]
async fn a_unix_socket_with_a_full_queue_is_waited_for() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("busy.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let endpoint = Endpoint { transport: Transport::Unix(path.clone()), ..Endpoint::new("e", "localhost", 0) };
    let _queued = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let soon = Way { deadline: Instant::now() + Duration::from_millis(300), ..way(&endpoint) };
    let result = connect(&connector(), &soon).await;
    assert_eq!(told(&result).1, Reason::ConnectTimeout);
    tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(200));
        let accepted = [listener.accept().unwrap(), listener.accept().unwrap()];
        std::thread::sleep(Duration::from_millis(500));
        drop(accepted);
    });
    assert!(connect(&connector(), &way(&endpoint)).await.is_ok());
}

/// Only the deadline ends a connect: nothing else is in the way of one that takes long.
#[tokio::test]
async fn stages_are_each_measurement_s_own_and_share_one_deadline() {
    let hole = Blackhole::open();
    let endpoint = Endpoint::new("e", "127.0.0.1", hole.address().port());
    let began = Instant::now();
    let mut finding = Finding::default();
    let limited = Way { deadline: began + Duration::from_millis(700), ..way(&endpoint) };
    let result = connector().connect(&limited, &mut finding).await;
    let words = format!("no answer from {}", hole.address());
    assert_eq!(told(&result), (StageKind::Tcp, Reason::ConnectTimeout, words.as_str()));
    assert!((700..3_000).contains(&began.elapsed().as_millis()));
    assert_eq!(finding.stages.iter().map(|s| s.kind).collect::<Vec<_>>(), [StageKind::Tcp]);
    assert!(finding.took() >= Duration::from_millis(690));
}
