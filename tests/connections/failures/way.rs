//! Failures on the way to the broker: names, routes, ports, proxies. TLS has a file of its own.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixListener,
};

use mqfleet_test_support::{
    certs::{Certified, Wanted},
    dns::{Dns, Mood},
    mosquitto::{Mosquitto, Setup, free_port},
    netns::Network,
    peers::{Blackhole, TlsSetup, serve, serve_http, serve_proxy, serve_tls},
    relay::Relay,
};
use tempfile::TempDir;

use super::{Run, not_shown};

#[test]
fn name_not_resolved() {
    let dns = match Dns::start(Mood::Denies) {
        Ok(dns) => dns,
        Err(why) => return not_shown("name_not_resolved", &why),
    };
    let broker = Mosquitto::start();
    let url = format!("mqtt://broker.test:{}", broker.port());
    let mut run = Run::of(&url, "", "", |program, args| dns.run(program, args));
    run.expect("name_not_resolved");
    assert!(dns.was_asked());
    dns.turn(Mood::Knows);
    run.comes_up();
}

#[test]
fn resolver_hangs() {
    let dns = match Dns::start(Mood::Silent) {
        Ok(dns) => dns,
        Err(why) => return not_shown("resolver_hangs", &why),
    };
    let broker = Mosquitto::start();
    let url = format!("mqtt://broker.test:{}", broker.port());
    let mut run = Run::of(&url, "", "", |program, args| dns.run(program, args));
    run.expect("resolver_hangs");
    assert!(dns.was_asked());
    dns.turn(Mood::Knows);
    run.comes_up();
}

#[test]
fn refused() {
    let mut broker = Mosquitto::start();
    broker.kill9();
    let mut run = Run::at(&format!("mqtt://127.0.0.1:{}", broker.port()));
    run.expect("refused");
    broker.restart();
    run.comes_up();
}

#[test]
fn blackholed() {
    let hole = Blackhole::open();
    Run::at(&format!("mqtt://{}", hole.address())).expect("blackholed");
}

#[test]
fn no_route() {
    let network = match Network::start() {
        Ok(network) => network,
        Err(why) => return not_shown("no_route", &why),
    };
    let url = format!("mqtt://10.77.0.1:{}", Network::PORT);
    let mut run = Run::of(&url, "", "", |program, args| network.run(program, args));
    run.expect("no_route");
    network.add("10.77.0.1");
    run.comes_up();
}

#[test]
fn ports_exhausted() {
    let network = match Network::start() {
        Ok(network) => network,
        Err(why) => return not_shown("ports_exhausted", &why),
    };
    // The only port there is, and the broker has it.
    network.local_ports(Network::PORT, Network::PORT);
    let url = format!("mqtt://127.0.0.1:{}", Network::PORT);
    let mut run = Run::of(&url, "", "", |program, args| network.run(program, args));
    run.expect("ports_exhausted");
    network.local_ports(41_000, 42_000);
    run.comes_up();
}

/// A client whose way leads through this proxy.
fn through(proxy: SocketAddr, broker: &Mosquitto) -> Run {
    Run::with(&format!("mqtt://127.0.0.1:{}", broker.port()), &format!("proxy = \"http://{proxy}\""), "")
}

#[test]
fn proxy_refuses() {
    let broker = Mosquitto::start();
    let proxy = serve_proxy(broker.address(), |_| Some("HTTP/1.1 403 Forbidden"));
    through(proxy, &broker).expect("proxy_refuses");
}

#[test]
fn proxy_wants_password() {
    let broker = Mosquitto::start();
    let proxy = serve_proxy(broker.address(), |request| {
        let known = request.contains("\r\nProxy-Authorization: Basic ");
        (!known).then_some("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0")
    });
    through(proxy, &broker).expect("proxy_wants_password");
}

#[test]
fn proxy_reaches_nobody() {
    let broker = Mosquitto::start();
    let proxy = serve_proxy(broker.address(), |_| Some("HTTP/1.1 502 Bad Gateway"));
    through(proxy, &broker).expect("proxy_reaches_nobody");
}

#[test]
fn proxy_is_none() {
    let broker = Mosquitto::start();
    let mail = serve(|mut s| drop(std::io::Write::write_all(&mut s, b"220 mail.example ESMTP\r\n\r\n")));
    through(mail, &broker).expect("proxy_is_none");
}

#[test]
fn proxy_down() {
    let broker = Mosquitto::start();
    let proxy = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut run = through(proxy, &broker);
    run.expect("proxy_down");
    let _way = Relay::from(proxy, serve_proxy(broker.address(), |_| None));
    run.comes_up();
}

#[test]
fn proxy_hangs() {
    let broker = Mosquitto::start();
    let silent = serve(|mut s| drop(s.read_to_end(&mut Vec::new())));
    through(silent, &broker).expect("proxy_hangs");
}

#[test]
fn proxy_tls_unknown_ca() {
    let broker = Mosquitto::start();
    let proxy = serve_tls(&Certified::ca("plant CA").issue(&Wanted::LOCALHOST), TlsSetup::default());
    let line = format!("proxy = \"https://localhost:{}\"", proxy.port());
    Run::with(&format!("mqtt://127.0.0.1:{}", broker.port()), &line, "").expect("proxy_tls_unknown_ca");
}

/// A SOCKS proxy that says this to a greeting, and this to a request.
fn socks(broker: &Mosquitto, choice: &'static [u8], reply: &'static [u8]) -> Run {
    let proxy = serve(move |mut s: TcpStream| {
        let mut heard = [0; 512];
        for answer in [choice, reply] {
            if !matches!(s.read(&mut heard), Ok(1..)) || s.write_all(answer).is_err() {
                return;
            }
        }
        drop(s.read(&mut heard));
    });
    Run::with(&format!("mqtt://127.0.0.1:{}", broker.port()), &format!("proxy = \"socks5://{proxy}\""), "")
}

#[test]
fn socks_refuses() {
    socks(&Mosquitto::start(), &[5, 0], &[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).expect("socks_refuses");
}

#[test]
fn socks_wants_password() {
    socks(&Mosquitto::start(), &[5, 0xff], &[]).expect("socks_wants_password");
}

#[test]
fn unix_socket_missing() {
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().join("mqtt.sock");
    let mut run = Run::at(&format!("unix://{}", path.display()));
    run.expect("unix_socket_missing");
    let _broker = Mosquitto::with(Setup { lines: vec![format!("listener 0 {}", path.display())], ..Setup::default() });
    run.comes_up();
}

#[test]
fn unix_socket_refused() {
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().join("mqtt.sock");
    drop(UnixListener::bind(&path).expect("a socket"));
    Run::at(&format!("unix://{}", path.display())).expect("unix_socket_refused");
}

#[test]
fn source_address_gone() {
    let broker = Mosquitto::start();
    let url = format!("mqtt://127.0.0.1:{}", broker.port());
    Run::with(&url, "bind = \"192.0.2.1\"", "").expect("source_address_gone");
}

#[test]
fn websocket_refused() {
    let (tell, _heard) = std::sync::mpsc::channel();
    let web = serve_http(tell, |_| "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into());
    Run::at(&format!("ws://{web}/mqtt")).expect("websocket_refused");
}
