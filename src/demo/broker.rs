//! Defines the process of the demo's broker: rmqtt with one user name and one password, on loopback; it makes no trouble by itself.

use std::{net::Ipv4Addr, process::ExitCode, time::Duration};

use async_trait::async_trait;
use rmqtt::{
    context::ServerContext,
    hook::{Handler, HookResult, Parameter, ReturnType, Type},
    net::Builder,
    server::MqttServer,
    types::AuthResult,
};

use super::part::{self, FromPart, ToPart, make_room};
use crate::{fleet::Secret, stdio::complain, text::Scrubbed, wire::WireError};

/// The process behind the hidden subcommand `demo-broker`. It ends when descriptor 0 does.
pub fn broker_main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return ExitCode::FAILURE,
    };
    let end = runtime.block_on(serve());
    // Nothing else ends rmqtt: without its runtime the sessions would go on.
    runtime.shutdown_background();
    match end {
        Ok(()) | Err(WireError::Closed) => ExitCode::SUCCESS,
        Err(e) => {
            complain(&format!("mqfleet: {}: this subcommand is for `mqfleet demo` to start: {e}", part::BROKER));
            ExitCode::from(2)
        }
    }
}

async fn serve() -> Result<(), WireError> {
    let (mut reports, mut orders, task) = part::accept().await?;
    let ToPart::Broker { username, password, connections } = task else { return Err(WireError::Stranger) };
    let door = Door { username, password: password.into_secret() };
    let port = match make_room(u64::from(connections) + 64) {
        Ok(()) => open(door, connections).await.map_err(|e| Scrubbed::new(&format!("cannot start the broker: {e}"))),
        Err(why) => Err(why),
    };
    let port = match port {
        Ok(port) => port,
        Err(why) => return reports.send(&FromPart::Failed(why)).await,
    };
    reports.send(&FromPart::Ready { port }).await?;
    loop {
        orders.recv::<ToPart>().await?;
    }
}

/// Starts rmqtt in the background and returns its port.
async fn open(door: Door, connections: u32) -> rmqtt::Result<u16> {
    let room = connections as usize + 64;
    let context = ServerContext::new()
        // A laptop under load must still let its clients in.
        .busy_check_enable(false)
        .build()
        .await;
    let hooks = context.extends.hook_mgr().register();
    hooks.add(Type::ClientAuthenticate, Box::new(door)).await;
    hooks.start().await;
    let listener = Builder::new()
        .name("demo")
        .laddr((Ipv4Addr::LOCALHOST, 0).into())
        .backlog(4096)
        .nodelay(true)
        .allow_anonymous(false)
        .max_connections(room)
        .max_handshaking_limit(room)
        .handshake_timeout(Duration::from_secs(15))
        .max_packet_size(64 << 10)
        .bind()?
        .tcp()?;
    let port = listener.local_addr()?.port();
    tokio::spawn(MqttServer::new(context).listener_by_id(listener, 1).build().run());
    Ok(port)
}

/// Lets in who knows the user name and the password.
#[derive(Clone)]
struct Door {
    username: String,
    password: Secret,
}

#[async_trait]
impl Handler for Door {
    async fn hook(&self, parameter: &Parameter, _: Option<HookResult>) -> ReturnType {
        let Parameter::ClientAuthenticate(client) = parameter else { return (true, None) };
        let known = client.username().is_some_and(|name| **name == *self.username)
            && client.password().is_some_and(|word| **word == *self.password.expose().as_bytes());
        let result = if known { AuthResult::Allow(false, None) } else { AuthResult::BadUsernameOrPassword };
        (false, Some(HookResult::AuthResult(result)))
    }
}
