//! Small servers for probes (TLS, proxy, blackhole), each a thread on a free loopback port that ends with the test's process; none of them speaks MQTT.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use openssl::ssl::{SslAcceptor, SslAcceptorBuilder, SslMethod, SslVerifyMode, SslVersion};

use crate::certs::Certified;

/// Serves each connection on a thread of its own.
pub fn serve(handle: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = handle.clone();
            thread::spawn(move || handle(stream));
        }
    });
    address
}

/// How a TLS server is set up.
#[derive(Clone, Default)]
pub struct TlsSetup {
    /// What it sends with its own certificate.
    pub intermediates: Vec<Certified>,
    /// Insist on a client's certificate of this CA.
    pub client_ca: Option<Certified>,
    /// The highest version; the library's where there is none.
    pub version: Option<SslVersion>,
    pub alpn: Option<&'static [u8]>,
    /// Whatever else.
    pub more: Option<fn(&mut SslAcceptorBuilder)>,
}

/// A TLS server with this certificate. It reads until the other side says goodbye.
pub fn serve_tls(own: &Certified, setup: TlsSetup) -> SocketAddr {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_certificate(&own.certificate).unwrap();
    acceptor.set_private_key(&own.key).unwrap();
    for intermediate in setup.intermediates {
        acceptor.add_extra_chain_cert(intermediate.certificate).unwrap();
    }
    if let Some(ca) = setup.client_ca {
        acceptor.cert_store_mut().add_cert(ca.certificate).unwrap();
        acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    }
    if let Some(protocols) = setup.alpn {
        acceptor.set_alpn_select_callback(move |_, offered| {
            openssl::ssl::select_next_proto(protocols, offered).ok_or(openssl::ssl::AlpnError::NOACK)
        });
    }
    acceptor.set_max_proto_version(setup.version).unwrap();
    if let Some(more) = setup.more {
        more(&mut acceptor);
    }
    let acceptor = acceptor.build();
    serve(move |stream| {
        if let Ok(mut stream) = acceptor.accept(stream) {
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.shutdown();
        }
    })
}

/// A server of HTTP that gives `answer` to every request, and tells `heard` what it was asked and,
/// after that, all that came until the other side closed.
pub fn serve_http(
    heard: std::sync::mpsc::Sender<(String, Vec<u8>)>,
    answer: impl Fn(&str) -> String + Send + Sync + Clone + 'static,
) -> SocketAddr {
    let heard = std::sync::Arc::new(std::sync::Mutex::new(heard));
    serve(move |mut stream| {
        let request = request(&stream);
        stream.write_all(answer(&request).as_bytes()).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        let _ = heard.lock().unwrap().send((request, rest));
    })
}

/// What a server answers that takes this request for a WebSocket (RFC 6455 §4.2.2).
pub fn accepted(request: &str) -> String {
    let key = request.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let hash = openssl::sha::sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    let accept = openssl::base64::encode_block(&hash);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {accept}\r\nsec-websocket-protocol: mqtt\r\n\r\n"
    )
}

/// The head of a request.
fn request(mut stream: &TcpStream) -> String {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
        request.push(byte[0]);
    }
    String::from_utf8_lossy(&request).into_owned()
}

/// An HTTP proxy that connects to `target`, whatever it is asked for, once the request satisfies it;
/// else it gives that answer.
pub fn serve_proxy(
    target: SocketAddr,
    judge: impl Fn(&str) -> Option<&'static str> + Send + Sync + Clone + 'static,
) -> SocketAddr {
    serve(move |stream| {
        if let Some(refusal) = judge(&request(&stream)) {
            let _ = (&stream).write_all(format!("{refusal}\r\n\r\n").as_bytes());
            return;
        }
        let up = TcpStream::connect(target).unwrap();
        (&stream).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        let (mut from, mut to) = (stream.try_clone().unwrap(), up.try_clone().unwrap());
        let there = thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
        let _ = std::io::copy(&mut &up, &mut &stream);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = there.join();
    })
}

/// A port whose listener accepts nothing and whose queue is full, so that the kernel drops further
/// SYNs. It stays so while the value lives.
pub struct Blackhole {
    address: SocketAddr,
    _queued: Vec<TcpStream>,
    _socket: std::os::fd::OwnedFd,
}

impl Blackhole {
    pub fn open() -> Blackhole {
        use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&socket, 0).unwrap();
        let address: SocketAddr = getsockname(&socket).unwrap().try_into().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, std::time::Duration::from_millis(200)) {
            queued.push(stream);
            assert!(queued.len() < 10, "its queue never fills");
        }
        Blackhole { address, _queued: queued, _socket: socket }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
