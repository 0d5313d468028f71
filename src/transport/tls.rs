//! Defines the TLS handshake of one connection and the stream that comes of it; what is trusted is `trust`'s matter, and what failures mean is `verdict`'s.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use openssl::{
    error::ErrorStack,
    ssl::{self, Ssl, SslRef, SslVerifyMode, SslVersion},
    x509::{X509, X509StoreContextRef},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;

use super::{
    because, certificate,
    ended::{self, Ended},
    identity::Papers,
    kernel,
    pipe::Pipe,
    tickets::Holder,
    trust::Trust,
    verdict::{self, Shown, stack_words},
};
use crate::{
    event::{Cause, Reason, Session},
    fleet::{Tls, TlsMinimum},
    text::Scrubbed,
};

/// A handshake that is ready to begin.
pub(super) struct Setup {
    pub tls: Arc<Tls>,
    /// The name that is asked for and verified: a host, or an address.
    pub name: Box<str>,
    pub trust: Arc<Trust>,
    pub papers: Option<Arc<Papers>>,
    /// Whether to look at the server's certificates, so that no session is resumed.
    pub examine: bool,
    /// Where the connection goes.
    pub address: Box<str>,
}

/// What verifying the server's chain brought.
#[derive(Default)]
struct Verification {
    refused: Option<Cause>,
    /// The chain as far as it was built, where it is examined.
    chain: Vec<X509>,
}

/// A stream in TLS.
pub(super) struct Secure {
    stream: SslStream<Pipe>,
    tls: Arc<Tls>,
    name: Box<str>,
    has_identity: bool,
    /// It has failed: OpenSSL is asked for nothing more (SSL_get_error(3)), since it may then say for ever
    /// that it wants to read, and the crate would ask for ever.
    is_broken: bool,
    /// Why the last write failed, until it is known what the other side said before.
    unwritten: Option<io::Error>,
}

impl Setup {
    fn ssl(&self, verification: &Arc<Mutex<Verification>>) -> Result<Ssl, ErrorStack> {
        let Setup { tls, name, trust, papers, .. } = self;
        let mut ssl = Ssl::new(&trust.context)?;
        ssl.set_min_proto_version(Some(match tls.min_version {
            TlsMinimum::V1_2 => SslVersion::TLS1_2,
            TlsMinimum::V1_3 => SslVersion::TLS1_3,
        }))?;
        match name.parse::<IpAddr>() {
            // An address is no name: not to be asked for by SNI (RFC 6066 §3), and held against addresses only.
            Ok(ip) => ssl.param_mut().set_ip(ip)?,
            Err(_) => {
                ssl.set_hostname(name)?;
                ssl.param_mut().set_host(name)?;
            }
        }
        if !tls.alpn.is_empty() {
            ssl.set_alpn_protos(&offer(&tls.alpn))?;
        }
        if let Some(papers) = papers {
            papers.give(&mut ssl)?;
        }
        if self.examine || !tls.insecure {
            let mode = if tls.insecure { SslVerifyMode::NONE } else { SslVerifyMode::PEER };
            let (said, name) = (verification.clone(), name.clone());
            let (insecure, examine) = (tls.insecure, self.examine);
            ssl.set_verify_callback(mode, move |is_ok, store| {
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                said.take_in(is_ok, store, &name, examine);
                is_ok || insecure
            });
        } else {
            ssl.set_verify(SslVerifyMode::NONE);
        }
        if !self.examine {
            let (address, name, tls) = (self.address.clone(), name.clone(), tls.clone());
            let identity = papers.as_ref().map(|p| p.mark);
            trust.tickets.prepare(&mut ssl, Holder { address, name, tls, identity })?;
        }
        Ok(ssl)
    }

    /// Shakes hands. What was learnt goes into `session`, where it is examined, even if it fails.
    pub(super) async fn shake_hands(self, pipe: Pipe, session: &mut Option<Session>) -> Result<Secure, Cause> {
        let internal = |e: ErrorStack| because(Reason::Internal, &format!("OpenSSL: {}", stack_words(&e)));
        let verification = Arc::new(Mutex::new(Verification::default()));
        let ssl = self.ssl(&verification).map_err(internal)?;
        let mut stream = SslStream::new(ssl, pipe).map_err(internal)?;
        let done = Pin::new(&mut stream).connect().await;
        let Verification { refused, chain } =
            std::mem::take(&mut *verification.lock().unwrap_or_else(PoisonError::into_inner));
        let secure = Secure {
            stream,
            tls: self.tls,
            name: self.name,
            has_identity: self.papers.is_some(),
            is_broken: false,
            unwritten: None,
        };
        let ssl = secure.ssl();
        if self.examine && (done.is_ok() || !chain.is_empty()) {
            let is_done = done.is_ok();
            *session = Some(Session {
                protocol: is_done.then(|| ssl.version_str()),
                cipher: ssl.current_cipher().filter(|_| is_done).map(|c| Scrubbed::new(c.name())),
                alpn: ssl.selected_alpn_protocol().filter(|_| is_done).map(Scrubbed::from_bytes),
                overlooked: refused.clone().filter(|_| secure.tls.insecure),
                wants_certificate: false,
                chain: chain.iter().map(|c| certificate::read(c)).collect(),
            });
        }
        match (done, refused) {
            (Ok(()), _) => Ok(secure),
            (Err(_), Some(refused)) if !secure.tls.insecure => Err(refused),
            (Err(error), _) => Err(secure.failed(&error)),
        }
    }
}

impl Verification {
    fn take_in(&mut self, is_ok: bool, store: &mut X509StoreContextRef, name: &str, examine: bool) {
        if !is_ok && self.refused.is_none() {
            let certificate = store.current_cert().map(certificate::read);
            self.refused = Some(verdict::refusal(store.error(), certificate.as_ref(), name));
        }
        if let (true, Some(chain)) = (examine, store.chain()) {
            self.chain = chain.iter().map(|c| c.to_owned()).collect();
        }
    }
}

/// Protocols as ALPN offers them (RFC 7301 §3.1): each with its length before it. A name has 1 to 255
/// bytes, which the fleet file's reader saw to.
fn offer(names: &[String]) -> Vec<u8> {
    let fitting = names.iter().filter_map(|name| Some((u8::try_from(name.len()).ok()?, name)));
    fitting.flat_map(|(length, name)| [length].into_iter().chain(name.bytes())).collect()
}

impl Secure {
    pub(super) fn pipe(&self) -> &Pipe {
        self.stream.get_ref()
    }

    /// Whether the handshake only took up an earlier session.
    pub(super) fn is_resumed(&self) -> bool {
        self.ssl().session_reused()
    }

    fn ssl(&self) -> &SslRef {
        self.stream.ssl()
    }

    fn shown(&self) -> Shown {
        Shown { asked: kernel::asked_for_certificate(self.ssl()), identity: self.has_identity }
    }

    /// Why the handshake failed.
    fn failed(&self, error: &ssl::Error) -> Cause {
        if let Some(alert) = verdict::alert_in(error) {
            return verdict::alert(alert, self.shown(), &self.tls, &self.name);
        }
        let mut random = [0; 32];
        self.ssl().server_random(&mut random);
        verdict::broken(error, random != [0; 32], &self.tls)
    }

    /// The error of a write. The other side may have said why before the way broke: then that counts. The way's end
    /// is there to be read as well, but tokio may not know of it yet.
    fn poll_unwritten(mut self: Pin<&mut Self>, error: io::Error, cx: &mut Context<'_>) -> Poll<io::Error> {
        let is_of_the_way = error.raw_os_error().is_some();
        match Pin::new(&mut self.stream).poll_peek(cx, &mut [0]) {
            Poll::Ready(Err(said)) if is_of_the_way && verdict::alert_in(&said).is_some() => {
                Poll::Ready(Ended(verdict::lost(&said, self.shown(), &self.tls, &self.name)).into())
            }
            Poll::Pending if is_of_the_way => {
                self.unwritten = Some(error);
                Poll::Pending
            }
            _ => Poll::Ready(self.ended(error)),
        }
    }

    /// The error with its cause inside, where it is of this layer.
    fn ended(&self, error: io::Error) -> io::Error {
        if ended::told(&error).is_some() {
            return error;
        }
        match error.get_ref().and_then(|e| e.downcast_ref::<ssl::Error>()) {
            Some(of_tls) => Ended(verdict::lost(of_tls, self.shown(), &self.tls, &self.name)).into(),
            None => error,
        }
    }
}

impl AsyncRead for Secure {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_broken {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let done = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        let is_end = done.is_ok() && buffer.filled().len() == before && buffer.remaining() > 0;
        if is_end && !kernel::has_taken_leave(self.ssl()) {
            self.is_broken = true;
            return Poll::Ready(Err(Ended(verdict::cut_off()).into()));
        }
        self.is_broken = done.is_err();
        Poll::Ready(done.map_err(|error| self.ended(error)))
    }
}

impl AsyncWrite for Secure {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let error = match self.unwritten.take() {
            Some(error) => error,
            None => match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes)) {
                Err(error) => error,
                written => return Poll::Ready(written),
            },
        };
        let error = ready!(self.as_mut().poll_unwritten(error, cx));
        self.is_broken = true;
        Poll::Ready(Err(error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(done.map_err(|error| self.ended(error)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_broken {
            return Pin::new(self.stream.get_mut()).poll_shutdown(cx);
        }
        let done = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        // Where only the way out is broken, what the other side said before may still be read.
        self.is_broken = done.as_ref().is_err_and(|error| error.raw_os_error().is_none());
        Poll::Ready(done.map_err(|error| self.ended(error)))
    }
}
