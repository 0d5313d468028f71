//! Many clients of one worker through one proxy, each kind and each mood of it, while others of the same worker go straight and must not feel it (case 1: 34 of 200 were up after a minute).

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use mqfleet::{
    clock::Moment,
    event::Reason,
    fleet::{Endpoint, Proxy, ProxyKind, Secret},
};
use mqfleet_test_support::{
    async_peers::{accept, acceptor, carry, request, serve},
    mosquitto::Mosquitto,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

const MS: Duration = Duration::from_millis(1);
const OPEN: &[u8] = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy.example\r\n\r\n";
const PASSWORD: &str = "hunter2-of-the-proxy";

/// What a proxy does with a request.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Opens,
    After(Duration),
    /// The answer's halves with a pause between them.
    Halves(Duration),
    Refuses,
    WantsPassword,
    Hangs,
}

/// An HTTP proxy's part of a connection.
async fn http(mut stream: impl AsyncRead + AsyncWrite + Unpin, target: SocketAddr, mood: Mood) -> std::io::Result<()> {
    let asked = request(&mut stream).await?;
    let (answer, pauses): (&[u8], [Duration; 2]) = match mood {
        Mood::Opens => (OPEN, [Duration::ZERO; 2]),
        Mood::After(pause) => (OPEN, [pause, Duration::ZERO]),
        Mood::Halves(pause) => (OPEN, [Duration::ZERO, pause]),
        Mood::WantsPassword if is_told(&asked) => (OPEN, [Duration::ZERO; 2]),
        Mood::WantsPassword => {
            (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", [Duration::ZERO; 2])
        }
        Mood::Refuses => (b"HTTP/1.1 403 Forbidden\r\n\r\n", [Duration::ZERO; 2]),
        Mood::Hangs => return stream.read_to_end(&mut Vec::new()).await.map(drop),
    };
    let (first, second) = answer.split_at(answer.len() / 2);
    for (part, pause) in [first, second].into_iter().zip(pauses) {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        stream.write_all(part).await?;
        stream.flush().await?;
    }
    if answer == OPEN { carry(stream, target).await } else { Ok(()) }
}

fn is_told(asked: &str) -> bool {
    let login = openssl::base64::encode_block(format!("fleet:{PASSWORD}").as_bytes());
    asked.contains(&format!("\r\nProxy-Authorization: Basic {login}\r\n"))
}

/// A SOCKS proxy's part of a connection; it may want a password.
async fn socks(mut stream: TcpStream, wants: bool) -> std::io::Result<()> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    let mut methods = vec![0; usize::from(head[1])];
    stream.read_exact(&mut methods).await?;
    let method = if wants { 2 } else { 0 };
    if !methods.contains(&method) {
        return stream.write_all(&[5, 0xff]).await;
    }
    stream.write_all(&[5, method]).await?;
    if wants {
        let expected = [&[1, 5][..], b"fleet", &[PASSWORD.len() as u8], PASSWORD.as_bytes()].concat();
        let mut told = vec![0; expected.len()];
        stream.read_exact(&mut told).await?;
        stream.write_all(&[1, u8::from(told != expected)]).await?;
    }
    let mut asked = [0; 10];
    stream.read_exact(&mut asked).await?;
    assert_eq!(asked[..8], [5, 1, 0, 1, 127, 0, 0, 1], "an address");
    let target = SocketAddr::from(([127, 0, 0, 1], u16::from_be_bytes([asked[8], asked[9]])));
    stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 80]).await?;
    carry(stream, target).await
}

/// Clients of one worker: 20 that go straight, and others at this endpoint.
struct Side {
    worker: Worker,
    /// One with clients that go straight and no others: what it can hear, this machine had time for.
    control: Worker,
    broker: Mosquitto,
    others: std::ops::Range<u32>,
}

impl Side {
    const STRAIGHT: u32 = 20;

    /// The straight ones are up and measured.
    async fn of(broker: Mosquitto, others: Vec<Def>, env: &[(&str, &str)]) -> Side {
        let straight = Endpoint::new("straight", "127.0.0.1", broker.port());
        let all = Self::STRAIGHT..Self::STRAIGHT + others.len() as u32;
        let of = |name| defs(name, Self::STRAIGHT as usize, &straight);
        let mut worker = Worker::with_env([of("straight"), others].concat(), env).await;
        let mut control = Worker::start(of("control")).await;
        for worker in [&mut worker, &mut control] {
            worker.connect(0..Self::STRAIGHT).await;
            measured(worker, 0..Self::STRAIGHT).await;
        }
        Side { worker, control, broker, others: all }
    }

    /// Has the others connect, waits until `done`, and tells how long that took. The straight ones must
    /// have been answered all the time.
    async fn watch(&mut self, what: &str, bound: Duration, done: impl Fn(&Worker) -> usize) -> Duration {
        self.worker.samples.clear();
        self.control.samples.clear();
        let (count, begin, began) = (self.others.len(), Moment::now(), Instant::now());
        self.worker.connect(self.others.clone()).await;
        let all = self.worker.until(bound, |w| done(w) == count).await;
        let took = began.elapsed();
        assert!(all, "{what}: {} of {count} after {took:?}", done(&self.worker));
        // Long enough for each of them to be asked twice, however short that was.
        let least = took.max(1_200 * MS);
        self.worker.until(least.saturating_sub(took), |_| false).await;
        let end = Moment::now();
        let passed = |w: &Worker| w.samples.last().is_some_and(|s| s.at >= end);
        assert!(self.control.until(SOON, passed).await, "{what}: the control is not answered");
        let heard =
            |w: &Worker, slot| w.samples.iter().filter(|s| s.slot == slot && s.at >= begin && s.at < end).count();
        let straight = self.worker.samples.iter().filter(|s| s.slot < Self::STRAIGHT);
        let worst = straight.map(|s| s.rtt).max().unwrap_or_default();
        // Two a second, but for one that is under way at either end, where the machine had time for as many.
        let possible = (0..Self::STRAIGHT).map(|slot| heard(&self.control, slot)).min().unwrap_or(0);
        let due = (least.as_millis() as usize / 500).min(possible).saturating_sub(1);
        for slot in 0..Self::STRAIGHT {
            let heard = heard(&self.worker, slot);
            assert!(heard >= due, "{what}: {heard} of {due} samples of straight client {slot}");
            assert_eq!(self.worker.generation(slot), 1);
            assert!(self.worker.is_up(slot), "{what}: a straight client fell");
        }
        let late = self.worker.late.iter().filter(|l| l.slot < Self::STRAIGHT).count();
        assert!(late == 0 || !self.control.late.is_empty(), "{what}: {late} answers are late");
        assert_eq!(self.worker.samples_lost, 0, "{what}");
        println!("{what}: {count} within {took:.2?}; the straight clients' worst answer took {worst:.1?}");
        took
    }
}

fn through(broker: &Mosquitto, proxy: Proxy) -> Endpoint {
    Endpoint { proxy: Some(proxy), ..Endpoint::new("behind", "127.0.0.1", broker.port()) }
}

fn with_login(proxy: Proxy) -> Proxy {
    Proxy { username: Some("fleet".into()), password: Some(Secret::new(PASSWORD.into())), ..proxy }
}

/// All come up, about as fast as the proxy lets them; `pause` is how long that takes it.
async fn all_come_up(what: &str, proxy: Proxy, broker: Mosquitto, pause: Duration, env: &[(&str, &str)]) {
    let count = many(1_000, 200);
    let others = defs("behind", count, &through(&broker, proxy));
    let mut side = Side::of(broker, others, env).await;
    // mosquitto's own queue is 100 long, and what does not fit comes again after one second, or three.
    let bound = pause + Duration::from_secs(4) + count as u32 * 10 * MS;
    let others = side.others.clone();
    let took = side.watch(what, bound, |w| others.clone().filter(|slot| w.is_up(*slot)).count()).await;
    assert!(took >= pause, "{what}: the proxy was not asked");
    // They are there to be measured.
    measured(&mut side.worker, side.others.clone()).await;
}

async fn by_http(mood: Mood, pause: Duration) {
    let broker = Mosquitto::start();
    let target = broker.address();
    let proxy = serve(move |stream| http(stream, target, mood)).await;
    let proxy = Proxy::new(ProxyKind::Http, "127.0.0.1", proxy.port());
    let proxy = if matches!(mood, Mood::WantsPassword) { with_login(proxy) } else { proxy };
    all_come_up(&format!("an HTTP proxy that {mood:?}"), proxy, broker, pause, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_opens_at_once() {
    by_http(Mood::Opens, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_takes_a_fifth_of_a_second() {
    by_http(Mood::After(200 * MS), 200 * MS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_takes_a_second_and_a_half() {
    by_http(Mood::After(1_500 * MS), 1_500 * MS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_whose_answer_comes_in_two_pieces() {
    by_http(Mood::Halves(400 * MS), 400 * MS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_knows_its_password() {
    by_http(Mood::WantsPassword, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_in_tls() {
    let (broker, papers) = (Mosquitto::start(), Papers::new(&["localhost"]));
    let (target, tls) = (broker.address(), Arc::new(acceptor(&papers.own).build()));
    let proxy = serve(move |stream| {
        let tls = tls.clone();
        async move { http(accept(&tls, stream).await?, target, Mood::After(200 * MS)).await }
    })
    .await;
    let proxy = Proxy::new(ProxyKind::Https, "localhost", proxy.port());
    // The system's store is who it is held against.
    let system = [("SSL_CERT_FILE", papers.ca_file.to_str().unwrap())];
    all_come_up("a proxy in TLS", proxy, broker, 200 * MS, &system).await;
}

async fn by_socks(wants: bool) {
    let broker = Mosquitto::start();
    let proxy = serve(move |stream| socks(stream, wants)).await;
    let proxy = Proxy::new(ProxyKind::Socks5, "127.0.0.1", proxy.port());
    let proxy = if wants { with_login(proxy) } else { proxy };
    all_come_up(&format!("a SOCKS proxy, password: {wants}"), proxy, broker, Duration::ZERO, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socks_proxy() {
    by_socks(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socks_proxy_that_knows_its_password() {
    by_socks(true).await;
}

/// All of them are told why, each by its own, and no straight client notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_that_open_nothing_are_told_by_each_client() {
    let refused = Reason::ProxyAuthenticationRequired;
    for (mood, limit, reason, words) in [
        (Mood::Refuses, 10_000, Reason::ProxyRefused, "403 Forbidden"),
        (Mood::WantsPassword, 10_000, refused, "407 Proxy Authentication Required"),
        (Mood::Hangs, 2_000, Reason::ConnectTimeout, "no answer from the proxy"),
    ] {
        let broker = Mosquitto::start();
        let target = broker.address();
        let proxy = serve(move |stream| http(stream, target, mood)).await;
        let endpoint = through(&broker, Proxy::new(ProxyKind::Http, "127.0.0.1", proxy.port()));
        let mut others = defs("behind", many(1_000, 200), &endpoint);
        others.iter_mut().for_each(|one| one.settings.connect_timeout = limit * MS);
        let mut side = Side::of(broker, others, &[]).await;
        let others = side.others.clone();
        let what = format!("an HTTP proxy that {mood:?}");
        side.watch(&what, SOON, |w| others.clone().filter(|slot| w.is_ended(*slot)).count()).await;
        for slot in side.others.clone() {
            let cause = side.worker.cause(slot);
            assert_eq!((cause.reason, cause.detail.as_str()), (reason, words), "{what}");
        }
        assert_eq!(side.broker.log().matches("as behind-").count(), 0, "{what}");
    }
}
