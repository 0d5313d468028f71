//! Defines what is looked at where it is asked whether a store is right for a fleet, and how an agent that is gone is forgotten there.

use chrono::Utc;
use redis::cmd;

use super::{
    Trouble,
    entry::Entry,
    keys::Keys,
    link::{Link, Linker},
    reader, script,
};
use crate::telling;

/// Looks at a store, and at a fleet in it where one is meant: what is to be said, and whether all is well. Where the
/// store is to be written to, that is tried.
///
/// # Errors
/// Why nothing can be had of it.
pub async fn check(store: &telling::Store, fleet: Option<&str>, is_writer: bool) -> Result<(String, bool), Trouble> {
    let keys = Keys::new(fleet.unwrap_or_default());
    let link = Linker::new(store.clone(), "check", keys.agents()).connect().await?;
    let server = &link.server;
    let mut said = vec![format!("{store}: {} at {}, {}", server.name, server.address, server.role)];
    let most = if server.most == 0 { "no limit".to_owned() } else { format!("of {} MB", server.most / 1_000_000) };
    said.push(format!("memory: {} MB, {most}, maxmemory-policy {}", server.used / 1_000_000, server.policy));
    let mut is_well = true;
    if let Some(doubt) = server.doubt() {
        is_well = false;
        said.push(format!("warning: {doubt}"));
    }
    if let Some(fleet) = fleet {
        if is_writer {
            try_to_write(&link, &keys, &store.agent).await?;
            said.push(format!("an agent {} can write to fleet {fleet}", store.agent));
        }
        for reader::Agent { name, entry, is_here } in reader::agents(&link, &keys).await? {
            let Some(entry) = entry else { continue };
            let Entry { clients, up, .. } = entry;
            let state = if is_here { "here" } else { "gone" };
            said.push(format!(
                "agent {name}: {state}, {up} of {clients} clients up, {}, last heard {}",
                entry.words(),
                entry.beat
            ));
            is_well &= is_here;
        }
    }
    Ok((said.iter().map(|line| format!("{line}\n")).collect(), is_well))
}

/// Runs all that an agent runs, on keys that nobody has and that end by themselves.
async fn try_to_write(link: &Link, keys: &Keys, agent: &str) -> Result<(), Trouble> {
    // No agent's name begins with this sign where it is written plainly.
    let agent = format!("{agent}\u{0}check");
    let instance = format!("{:016x}", fastrand::u64(..));
    let at = Utc::now().timestamp_millis();
    let row = format!("{{\"at\":{at}}}");
    let mut tries = cmd("EVAL");
    tries.arg(TRY).arg(4).arg(keys.presence(&agent)).arg(keys.rows(&agent)).arg(keys.new_rows(&agent));
    tries.arg(format!("{}:check", keys.events())).arg(instance).arg(row).arg(format!("{}:check", keys.changes()));
    link.run::<String>(&tries).await.map(|_| ())
}

const TRY: &str = "
redis.call('SET', KEYS[1], ARGV[1], 'PX', 1000)
redis.call('GET', KEYS[1])
redis.call('HSET', KEYS[3], 'check', ARGV[2])
redis.call('RENAME', KEYS[3], KEYS[2])
redis.call('HLEN', KEYS[2])
redis.call('HGET', KEYS[2], 'check')
redis.call('HDEL', KEYS[2], 'check')
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 1, '*', 'check', ARGV[2])
redis.call('PUBLISH', ARGV[3], 'check')
redis.call('TIME')
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
redis.call('DEL', KEYS[1])
return 'OK'
";

/// Forgets an agent that is gone: its rows, and that it was there.
///
/// # Errors
/// Where it is alive or was never there, or nothing can be had of the store.
pub async fn forget(store: &telling::Store, fleet: &str, agent: &str) -> Result<String, Trouble> {
    let keys = Keys::new(fleet);
    let link = Linker::new(store.clone(), "forget", keys.agents()).connect().await?;
    let mut command = cmd("EVAL");
    command.arg(script::forget()).arg(5).arg(keys.presence(agent)).arg(keys.agents()).arg(keys.epochs());
    command.arg(keys.rows(agent)).arg(keys.new_rows(agent)).arg(agent);
    let answer: Vec<String> = link.run(&command).await?;
    match answer.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["OK", rows] => Ok(format!("agent {agent} of fleet {fleet} is forgotten, with the rows of {rows} clients")),
        ["ALIVE", entry] => {
            let who = serde_json::from_str(entry).map_or("somebody".to_owned(), |entry: Entry| entry.words());
            Err(Trouble::new(&format!("agent {agent} of fleet {fleet} is alive ({who}): end it first")))
        }
        _ => {
            let all = reader::agents(&link, &keys).await?;
            let names: Vec<&str> = all.iter().map(|agent| agent.name.as_str()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Err(Trouble::new(&format!("fleet {fleet} has no agent {agent} in the store; there are: {names}")))
        }
    }
}
