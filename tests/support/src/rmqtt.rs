//! The demo's broker as a peer for tests: rmqtt inside the test's own process, with a door of each kind and users who need a password; it ends with its owner and knows nothing of mqfleet.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use rmqtt::{
    codec::v5::SubscribeAckReason,
    context::ServerContext,
    hook::{Handler, HookResult, Parameter, ReturnType, Type},
    net::{Builder, Listener, Result},
    server::MqttServer,
    session::Session,
    types::{AuthResult, PublishAclResult, SubscribeAclResult},
};
use tokio::runtime::Runtime;

/// A broker with its own threads.
pub struct Rmqtt {
    runtime: Option<Runtime>,
    context: ServerContext,
    log: Log,
}

/// What it does, in lines: a library leaves that to its user.
type Log = Arc<Mutex<String>>;

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
    /// Starts it, and returns the port of each door. Who gives no user name comes in without a password; besides
    /// `username` it knows `kicked`, and `denied`, who may neither publish to `mqfleet/#` nor subscribe to
    /// `forbidden/#`.
    pub fn start<const N: usize>(doors: [Door; N], username: &str, password: &str) -> (Rmqtt, [u16; N]) {
        let runtime = Runtime::new().expect("a runtime");
        let log = Log::default();
        let guard = Guard { username: username.into(), password: password.into(), log: log.clone() };
        let (context, ports) = runtime.block_on(open(doors, guard)).expect("rmqtt starts");
        (Rmqtt { runtime: Some(runtime), context, log }, ports)
    }

    pub fn log(&self) -> String {
        self.log.lock().expect("its log").clone()
    }

    /// Throws off all clients of a user, as its administrator.
    pub fn kick(&self, username: &str) {
        let kick = async {
            let shared = self.context.extends.shared().await;
            // What holds the list while it is walked through would wait for itself.
            let ids: Vec<_> = shared.iter().map(|entry| entry.id()).collect();
            for id in ids.into_iter().filter(|id| id.username_ref() == username) {
                let mut entry = shared.entry(id).try_lock().await.expect("nobody else does");
                entry.kick(true, true, true).await.expect("to kick it");
            }
        };
        self.runtime.as_ref().expect("it runs").block_on(kick);
    }

    /// Ends it without a word.
    pub fn end(&mut self) {
        // Nothing else ends its sessions.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Rmqtt {
    fn drop(&mut self) {
        self.end();
    }
}

async fn open<const N: usize>(doors: [Door<'_>; N], guard: Guard) -> Result<(ServerContext, [u16; N])> {
    let context = ServerContext::new().busy_check_enable(false).build().await;
    let hooks = context.extends.hook_mgr().register();
    for of in [
        Type::ClientAuthenticate,
        Type::ClientConnected,
        Type::ClientDisconnected,
        Type::MessagePublishCheckAcl,
        Type::ClientSubscribeCheckAcl,
    ] {
        hooks.add(of, Box::new(guard.clone())).await;
    }
    hooks.start().await;
    let mut server = MqttServer::new(context.clone());
    let mut ports = [0; N];
    for (n, door) in doors.into_iter().enumerate() {
        let listener = listener(door)?;
        ports[n] = listener.local_addr()?.port();
        server = server.listener_by_id(listener, n as _);
    }
    // Until it runs, connects wait in the listeners' queues.
    tokio::spawn(server.build().run());
    Ok((context, ports))
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

/// Lets in who knows the user name and the password, and says what happens.
#[derive(Clone)]
struct Guard {
    username: String,
    password: String,
    log: Log,
}

impl Guard {
    fn say(&self, line: String) {
        let mut log = self.log.lock().expect("its log");
        *log += &line;
        log.push('\n');
    }
}

#[async_trait]
impl Handler for Guard {
    async fn hook(&self, parameter: &Parameter, _: Option<HookResult>) -> ReturnType {
        let is_denied = |session: &Session| session.id.username_ref() == "denied";
        match parameter {
            Parameter::ClientAuthenticate(client) => {
                let names = [&self.username, "kicked", "denied"];
                let known = client.username().is_some_and(|name| names.contains(&&**name))
                    && client.password().is_some_and(|word| **word == *self.password.as_bytes());
                if !known {
                    self.say(format!("refuses {}", client.id().client_id));
                }
                let result = if known { AuthResult::Allow(false, None) } else { AuthResult::BadUsernameOrPassword };
                (false, Some(HookResult::AuthResult(result)))
            }
            Parameter::ClientConnected(session) => {
                self.say(format!("connected {}", session.id.client_id));
                (true, None)
            }
            Parameter::ClientDisconnected(session, why) => {
                self.say(format!("disconnected {}: {why}", session.id.client_id));
                (true, None)
            }
            Parameter::MessagePublishCheckAcl(session, publish)
                if is_denied(session) && publish.topic.starts_with("mqfleet/") =>
            {
                self.say(format!("denies publish {}", session.id.client_id));
                (false, Some(HookResult::PublishAclResult(PublishAclResult::rejected(false, None))))
            }
            Parameter::ClientSubscribeCheckAcl(session, subscribe)
                if is_denied(session) && subscribe.topic_filter.starts_with("forbidden/") =>
            {
                self.say(format!("denies subscribe {}", session.id.client_id));
                let refused = SubscribeAclResult::new_failure(SubscribeAckReason::NotAuthorized);
                (false, Some(HookResult::SubscribeAclResult(refused)))
            }
            _ => (true, None),
        }
    }
}
