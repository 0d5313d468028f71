//! Servers for tests of connections (echo, TLS, WebSocket, proxies), as tasks of the test's own runtime, which end with it; none of them speaks MQTT.

use std::{io, net::SocketAddr, pin::Pin, sync::Arc};

use openssl::ssl::{Ssl, SslAcceptor, SslAcceptorBuilder, SslMethod, SslVersion};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_openssl::SslStream;

use crate::certs::Certified;

/// Serves each connection to a free loopback port with a task of its own.
pub async fn serve<F>(handle: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> SocketAddr
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    serve_at("127.0.0.1:0", handle).await
}

/// The same at this address.
pub async fn serve_at<F>(address: &str, handle: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> SocketAddr
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // How a connection ends is for the other side to notice.
            drop(tokio::spawn(handle(stream)));
        }
    });
    address
}

/// Says what it hears until the other side has nothing more to say.
pub async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut bytes = vec![0; 64 << 10];
    loop {
        match stream.read(&mut bytes).await? {
            0 => break stream.shutdown().await,
            count => stream.write_all(&bytes[..count]).await?,
        }
        stream.flush().await?;
    }
}

/// A TLS server with this certificate, for further settings.
pub fn acceptor(own: &Certified) -> SslAcceptorBuilder {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_certificate(&own.certificate).unwrap();
    acceptor.set_private_key(&own.key).unwrap();
    acceptor.set_session_id_context(b"test").unwrap();
    acceptor
}

/// The same that speaks this version only.
pub fn acceptor_of(own: &Certified, version: SslVersion) -> SslAcceptorBuilder {
    let mut acceptor = acceptor(own);
    acceptor.set_min_proto_version(Some(version)).unwrap();
    acceptor.set_max_proto_version(Some(version)).unwrap();
    acceptor
}

/// The server's part of a handshake.
pub async fn accept<S>(acceptor: &SslAcceptor, stream: S) -> io::Result<SslStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = SslStream::new(Ssl::new(acceptor.context())?, stream)?;
    Pin::new(&mut stream).accept().await.map_err(io::Error::other)?;
    Ok(stream)
}

/// An echo in TLS.
pub async fn serve_tls(acceptor: SslAcceptorBuilder) -> SocketAddr {
    let acceptor = Arc::new(acceptor.build());
    serve(move |stream| {
        let acceptor = acceptor.clone();
        async move { echo(accept(&acceptor, stream).await?).await }
    })
    .await
}

/// The head of a request of HTTP.
pub async fn request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&request).into_owned())
}

/// Carries bytes between these two until both have ended.
pub async fn carry(mut near: impl AsyncRead + AsyncWrite + Unpin, target: SocketAddr) -> io::Result<()> {
    let mut far = TcpStream::connect(target).await?;
    copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}

/// A frame of a WebSocket's server (RFC 6455 §5.2); `head` is its first byte.
pub fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![head];
    match payload.len() {
        length @ 0..126 => frame.push(length as u8),
        length @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// The next frame of a WebSocket's client: its first byte, and what it carries without its mask.
pub async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let head = stream.read_u8().await?;
    let length = match stream.read_u8().await? {
        mask @ 0x80.. => match mask & 0x7f {
            126 => usize::from(stream.read_u16().await?),
            127 => stream.read_u64().await? as usize,
            length => usize::from(length),
        },
        _ => panic!("a client's frame without a mask"),
    };
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).await?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    payload.iter_mut().enumerate().for_each(|(at, byte)| *byte ^= mask[at % 4]);
    Ok((head, payload))
}
