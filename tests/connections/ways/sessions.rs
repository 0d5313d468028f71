//! TLS sessions of many clients of one worker, counted by the server: reconnects take them up.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use mqfleet::fleet::{Endpoint, Tls, Transport};
use mqfleet_test_support::{
    async_peers::{accept, acceptor_of, carry, serve},
    mosquitto::Mosquitto,
};
use openssl::ssl::SslVersion;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_back_takes_up_its_session() {
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let (broker, papers) = (Mosquitto::start(), Papers::new(&["localhost"]));
        let target = broker.address();
        let handshakes = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let (tls, seen) = (Arc::new(acceptor_of(&papers.own, version).build()), handshakes.clone());
        let server = serve(move |stream| {
            let (tls, seen) = (tls.clone(), seen.clone());
            async move {
                let stream = accept(&tls, stream).await?;
                seen[usize::from(stream.ssl().session_reused())].fetch_add(1, Ordering::SeqCst);
                carry(stream, target).await
            }
        })
        .await;
        let tls = Tls { ca_file: Some(papers.ca_file.clone()), ..Tls::default() };
        let transport = Transport::Tls(Arc::new(tls));
        let endpoint = Endpoint { transport, ..Endpoint::new("secure", "localhost", server.port()) };
        let count = many(500, 100);
        let mut worker = Worker::start(defs("secure", count, &endpoint)).await;
        let mut before = 0;
        for round in 1..=3 {
            worker.connect(0..count as u32).await;
            assert!(worker.until(SOON, |w| w.up() == count).await, "{version:?}: {} of {count}", worker.up());
            let [whole, resumed] = [0, 1].map(|kind| handshakes[kind].load(Ordering::SeqCst));
            println!("{version:?}: round {round}: {whole} whole handshakes and {resumed} resumed in all");
            assert_eq!(whole + resumed, round * count);
            if round > 1 {
                assert_eq!(whole, before, "{version:?}: somebody began anew in round {round}");
            }
            before = whole;
            measured(&mut worker, 0..count as u32).await;
            worker.samples.clear();
            worker.disconnect(0..count as u32).await;
            assert!(worker.until(SOON, |w| w.ended() == count).await);
        }
    }
}
