//! Defines what an agent and a console may do in a store, as lines of its ACL.

use super::keys::Keys;

/// What every connection runs.
const BOTH: &str = "+auth +hello +ping +select +client|setname +info +time";
/// What runs who only looks: consoles and other programs.
const LOOK: &str =
    "+get +mget +exists +hget +hmget +hgetall +hscan +hlen +xread +xrange +xrevrange +xlen +subscribe +unsubscribe";
/// What an agent runs beside that, by itself and in its scripts.
const WRITE: &str = "+eval +set +del +unlink +rename +hset +hdel +xadd +publish";

/// The lines for who sets up a store: for the agents of a fleet, and for who only looks. `CHANGE-ME` is to be replaced by
/// a password. Each begins with `reset`, so that it says all that the user may do: these commands, on this fleet's keys.
pub fn lines(fleet: &str, agent: &str) -> String {
    let pattern = Keys::new(fleet).pattern();
    let line = |user: &str, commands: &str| {
        format!("ACL SETUSER {user} reset on >CHANGE-ME ~{pattern} &{pattern} {BOTH} {LOOK}{commands}\n")
    };
    line(agent, &format!(" {WRITE}")) + &line(&format!("{agent}-look"), "")
}
