//! The demo's broker as a peer for tests: rmqtt inside the test's own process, with a door of each kind and one user who needs a password; it ends with its owner and knows nothing of mqfleet.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use async_trait::async_trait;
use rmqtt::{
    context::ServerContext,
    hook::{Handler, HookResult, Parameter, ReturnType, Type},
    net::{Builder, Listener, Result},
    server::MqttServer,
    types::AuthResult,
};
use tokio::runtime::Runtime;

/// A broker with its own threads.
pub struct Rmqtt {
    runtime: Option<Runtime>,
}

/// What a port speaks.
#[derive(Clone, Copy)]
pub enum Door<'a> {
    Plain,
    WebSocket,
    Tls(Papers<'a>),
    SecureWebSocket(Papers<'a>),
}

/// A certificate, its key, and who has to have signed a client's certificate, where one is wanted.
#[derive(Clone, Copy)]
pub struct Papers<'a> {
    pub certificate: &'a Path,
    pub key: &'a Path,
    pub client_ca: Option<&'a Path>,
}

impl Rmqtt {
    /// Starts it, and returns the port of each door. Who gives no user name comes in without a password.
    pub fn start<const N: usize>(doors: [Door; N], username: &str, password: &str) -> (Rmqtt, [u16; N]) {
        let runtime = Runtime::new().expect("a runtime");
        let guard = Guard { username: username.into(), password: password.into() };
        let ports = runtime.block_on(open(doors, guard)).expect("rmqtt starts");
        (Rmqtt { runtime: Some(runtime) }, ports)
    }
}

impl Drop for Rmqtt {
    fn drop(&mut self) {
        // Nothing else ends its sessions.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn open<const N: usize>(doors: [Door<'_>; N], guard: Guard) -> Result<[u16; N]> {
    let context = ServerContext::new().busy_check_enable(false).build().await;
    let hooks = context.extends.hook_mgr().register();
    hooks.add(Type::ClientAuthenticate, Box::new(guard)).await;
    hooks.start().await;
    let mut server = MqttServer::new(context);
    let mut ports = [0; N];
    for (n, door) in doors.into_iter().enumerate() {
        let listener = listener(door)?;
        ports[n] = listener.local_addr()?.port();
        server = server.listener_by_id(listener, n as _);
    }
    // Until it runs, connects wait in the listeners' queues.
    tokio::spawn(server.build().run());
    Ok(ports)
}

fn listener(door: Door) -> Result<Listener> {
    let mut builder =
        Builder::new().name("test").laddr(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).allow_anonymous(true);
    if let Door::Tls(papers) | Door::SecureWebSocket(papers) = door {
        let name = |path: &Path| path.to_str().map(str::to_owned);
        builder = builder
            .tls_cert(name(papers.certificate))
            .tls_key(name(papers.key))
            .tls_cross_certificate(papers.client_ca.is_some())
            .tls_client_ca_certs(papers.client_ca.and_then(name));
    }
    let bound = builder.bind()?;
    match door {
        Door::Plain => bound.tcp(),
        Door::WebSocket => bound.ws(),
        Door::Tls(_) => bound.tls(),
        Door::SecureWebSocket(_) => bound.wss(),
    }
}

/// Lets in who knows the user name and the password.
struct Guard {
    username: String,
    password: String,
}

#[async_trait]
impl Handler for Guard {
    async fn hook(&self, parameter: &Parameter, _: Option<HookResult>) -> ReturnType {
        let Parameter::ClientAuthenticate(client) = parameter else { return (true, None) };
        let known = client.username().is_some_and(|name| **name == *self.username)
            && client.password().is_some_and(|word| **word == *self.password.as_bytes());
        let result = if known { AuthResult::Allow(false, None) } else { AuthResult::BadUsernameOrPassword };
        (false, Some(HookResult::AuthResult(result)))
    }
}
