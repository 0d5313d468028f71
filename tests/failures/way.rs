//! Failures on the way to the broker: names, routes, ports, proxies. TLS has a file of its own.

use std::net::SocketAddr;

use crate::{
    Run,
    dns::{Dns, Mood},
    mosquitto::{Mosquitto, free_port},
    netns::Network,
    not_shown,
    peers::{Blackhole, serve, serve_proxy},
    relay::Relay,
};

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
