//! Defines the agent, which holds a fleet without a screen, and the consoles that attach to it over a Unix socket; what a console shows is the console's matter.
//!
//! An agent publishes its run on a bus that keeps what is known. Whoever attaches is sent that, and from then on
//! every event; a console that reads slowly gets them folded, and delays nobody. One console commands, the first
//! one that asks, until another takes over or it leaves. Nothing listens but a socket in the user's own runtime
//! folder, and being there is answered by the agent itself: there is no file with a process ID to be wrong.

mod agents;
mod audit;
mod client;
mod connection;
mod merger;
mod protocol;
mod records;
mod reload;
mod server;
mod socket;
mod ssh;
mod start;
mod state;
mod stored;
mod systemd;
mod target;

pub use agents::{Agents, Farewell, Gone, Here, News, NotDone};
pub use client::{Attached, Commands, attach};
pub use merger::TooMany;
pub use protocol::{Purpose, Reload, Role, Who};
pub use reload::{Reread, Wrong};
pub use server::{Options, run};
pub use socket::{AgentError, relay, running};
pub use start::start;
pub use stored::Stored;
pub use target::Target;
