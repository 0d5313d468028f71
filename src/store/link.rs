//! Defines a connection to a store: made as those to brokers are, over TLS where it is wanted, to the master that Sentinels know or the node of a cluster that has the keys; what is written or read there is elsewhere.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, RedisConnectionInfo, RedisError, ServerErrorKind,
    aio::MultiplexedConnection, cmd,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::Trouble;
use crate::{
    credentials,
    event::Finding,
    fleet::{Endpoint, Secret, Transport},
    telling::{self, Servers},
    text::{Scrubbed, plain_name},
    transport::{Connector, Resolver, Way},
};

/// How long a store may take to accept a connection, and to answer a command; one that takes longer is asked anew.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a Sentinel may take: where it is dead, another one knows as much.
const OF_SENTINELS: Duration = Duration::from_millis(500);
/// How often nodes of a cluster may name another one.
const HOPS: usize = 4;

/// Makes connections to one store. What it has looked up and read for that, it keeps.
pub(super) struct Linker {
    store: telling::Store,
    connector: Connector,
    /// What its connections are called there (`CLIENT LIST`).
    name: String,
    /// One of the keys that it is about.
    key: String,
}

/// A connection to the server that takes what is written.
pub(super) struct Link {
    line: Line,
    pub server: Server,
}

/// A connection. It ends when this is dropped.
struct Line {
    connection: MultiplexedConnection,
    driver: JoinHandle<()>,
    /// To whom, `host:port`.
    address: String,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What a store says of itself (`INFO`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Server {
    pub address: String,
    /// Its name and version.
    pub name: Scrubbed,
    pub role: Scrubbed,
    /// What it throws away where its memory is full (`maxmemory-policy`).
    pub policy: Scrubbed,
    /// Bytes that it may take, 0 without a limit; and that it takes.
    pub most: u64,
    pub used: u64,
}

/// Why a command has no answer.
enum Failed {
    Late,
    Error(RedisError),
}

impl Linker {
    /// For who is called so, and is about this key.
    pub fn new(store: telling::Store, name: &str, key: String) -> Linker {
        let name = format!("mqfleet:{}", plain_name(name));
        Linker { store, connector: Connector::new(Resolver::system()), name, key }
    }

    pub fn store(&self) -> &telling::Store {
        &self.store
    }

    /// Connects to the server that takes what is written.
    ///
    /// # Errors
    /// Why that cannot be done at present.
    pub async fn connect(&self) -> Result<Link, Trouble> {
        let password = match &self.store.password {
            Some(password) => Some(credentials::current(password, "password").await.map_err(|why| Trouble::new(&why))?),
            None => None,
        };
        let password = password.as_ref();
        let (mut host, mut port) = match &self.store.servers {
            Servers::One(host, port) => (host.clone(), *port),
            Servers::Sentinels { master, at } => self.master(master, at, password).await?,
        };
        for _ in 0..HOPS {
            let line = self.dial(&host, port, self.store.database, password, PATIENCE).await?;
            match line.whose(&self.key).await? {
                Some(other) => (host, port) = other,
                None => return line.into_link(matches!(self.store.servers, Servers::Sentinels { .. })).await,
            }
        }
        Err(Trouble::new("the nodes of the cluster name each other in turn"))
    }

    /// Where the master is, as the first Sentinel says that knows it.
    async fn master(
        &self,
        master: &str,
        at: &[(Box<str>, u16)],
        password: Option<&Secret>,
    ) -> Result<(Box<str>, u16), Trouble> {
        let mut ask = cmd("SENTINEL");
        ask.arg("get-master-addr-by-name").arg(master);
        let mut troubles = Vec::new();
        for (host, port) in at {
            let asked = async {
                // Most are open to everybody; others want what the servers want.
                let mut answer = self.dial(host, *port, 0, None, OF_SENTINELS).await?.run(&ask).await;
                if let (Err(Failed::Error(error)), Some(_)) = (&answer, password)
                    && error.code() == Some("NOAUTH")
                {
                    answer = self.dial(host, *port, 0, password, OF_SENTINELS).await?.run(&ask).await;
                }
                let found: Option<(String, u16)> =
                    answer.map_err(|failed| failed.trouble(&format!("{host}:{port}")))?;
                found.ok_or_else(|| Trouble::new(&format!("{host}:{port} watches no master of this name")))
            };
            match timeout(2 * OF_SENTINELS, asked).await {
                Ok(Ok((host, port))) => return Ok((host.into(), port)),
                Ok(Err(trouble)) => troubles.push(trouble.to_string()),
                Err(_) => troubles.push(format!("{host}:{port} does not answer")),
            }
        }
        Err(Trouble::new(&format!("no Sentinel says where the master {master} is: {}", troubles.join("; "))))
    }

    async fn dial(
        &self,
        host: &str,
        port: u16,
        database: u32,
        password: Option<&Secret>,
        patience: Duration,
    ) -> Result<Line, Trouble> {
        let transport = self.store.tls.as_ref().map_or(Transport::Tcp, |tls| Transport::Tls(tls.clone()));
        let endpoint = Endpoint { transport, ..Endpoint::new("store", host, port) };
        let (address, deadline) = (endpoint.address(), Instant::now() + patience);
        let way = Way { endpoint: &endpoint, identity: None, known: &[], deadline, examine: false };
        let stream = self.connector.connect(&way, &mut Finding::default()).await.map_err(|failure| {
            let cause = failure.cause;
            let detail = if cause.detail.is_empty() { String::new() } else { format!(": {}", cause.detail) };
            Trouble::new(&format!("{address}: {}{detail}", cause.reason.words()))
        })?;
        let mut who = RedisConnectionInfo::default().set_db(database.into()).set_skip_set_lib_name();
        if let Some(password) = password {
            who = who.set_password(password.expose());
            if let Some(username) = &self.store.username {
                who = who.set_username(username);
            }
        }
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let made = timeout(patience, MultiplexedConnection::new_with_config(&who, stream, config)).await;
        let made = made.map_err(|_| Failed::Late).and_then(|made| made.map_err(Failed::Error));
        let (connection, driver) = made.map_err(|failed| failed.trouble(&address))?;
        let line = Line { connection, driver: tokio::spawn(driver), address };
        let mut name = cmd("CLIENT");
        name.arg("SETNAME").arg(&self.name);
        // Who may not be called anything has no name.
        let _ = line.run::<redis::Value>(&name).await;
        Ok(line)
    }
}

impl Line {
    async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failed> {
        let mut connection = self.connection.clone();
        match timeout(PATIENCE, command.query_async(&mut connection)).await {
            Ok(answer) => answer.map_err(Failed::Error),
            Err(_) => Err(Failed::Late),
        }
    }

    /// The node of the cluster that has this key, where it is another one.
    async fn whose(&self, key: &str) -> Result<Option<(Box<str>, u16)>, Trouble> {
        match self.run::<i64>(cmd("EXISTS").arg(key)).await {
            Ok(_) => Ok(None),
            Err(Failed::Error(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::Moved) => {
                let node = error.redirect_node().and_then(|(node, _)| node.rsplit_once(':'));
                let node = node.and_then(|(host, port)| Some((host.into(), port.parse().ok()?)));
                node.map(Some).ok_or_else(|| Failed::Error(error.clone()).trouble(&self.address))
            }
            Err(failed) => Err(failed.trouble(&self.address)),
        }
    }

    async fn into_link(self, must_be_master: bool) -> Result<Link, Trouble> {
        let info: String = self.run(&cmd("INFO")).await.map_err(|failed| failed.trouble(&self.address))?;
        let server = Server::read(self.address.clone(), &info);
        if must_be_master && server.role.as_str() != "master" {
            let words = format!("{} is a {}, no master: a failover may be under way", server.address, server.role);
            return Err(Trouble::new(&words));
        }
        Ok(Link { line: self, server })
    }
}

impl Link {
    /// Runs a command.
    ///
    /// # Errors
    /// Why there is no answer, or what is wrong with it; whether the command was carried out is not known then.
    pub async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Trouble> {
        self.line.run(command).await.map_err(|failed| failed.trouble(&self.line.address))
    }
}

impl Failed {
    /// In words that have no secret.
    fn trouble(&self, address: &str) -> Trouble {
        let Failed::Error(error) = self else {
            return Trouble::new(&format!("{address} has not answered within {} s", PATIENCE.as_secs()));
        };
        let detail = error.detail().unwrap_or_default();
        let words = match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS")) => {
                "it does not take this user name and password".to_owned()
            }
            (_, Some("NOAUTH")) => "it wants a password, and a user name where it has an ACL".to_owned(),
            (_, Some("NOPERM")) => {
                format!("its ACL does not allow this: {detail} (`mqfleet store acl` prints what an agent needs)")
            }
            (_, Some("OOM")) => "its memory is full (maxmemory): nothing can be written".to_owned(),
            (_, Some("READONLY")) => "it is a replica, which nobody can write to".to_owned(),
            (_, Some("LOADING")) => "it is still reading its data".to_owned(),
            _ if error.is_connection_dropped() => "the connection has ended".to_owned(),
            _ => error.to_string(),
        };
        Trouble::new(&format!("{address}: {words}"))
    }
}

impl Server {
    fn read(address: String, info: &str) -> Server {
        let of = |key: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            value.unwrap_or_default().trim()
        };
        let name = match of("valkey_version") {
            "" => format!("Redis {}", of("redis_version")),
            version => format!("Valkey {version}"),
        };
        Server {
            address,
            name: Scrubbed::new(&name),
            role: Scrubbed::new(of("role")),
            policy: Scrubbed::new(of("maxmemory_policy")),
            most: of("maxmemory").parse().unwrap_or(0),
            used: of("used_memory").parse().unwrap_or(0),
        }
    }

    /// What is to be said where rows may be thrown away.
    pub fn doubt(&self) -> Option<String> {
        let is_any = self.most > 0 && self.policy.starts_with("allkeys");
        is_any.then(|| {
            format!(
                "where its memory is full the store throws away whatever it likes (maxmemory-policy {}): rows are missing \
                 until they are written again; noeviction, or one that begins with volatile-, keeps them",
                self.policy
            )
        })
    }
}
