//! The terminal console for many MQTT clients: one live, operable row per client.
//!
//! A *fleet* is read from one file. *Worker* processes of this same binary hold its Paho clients and
//! do nothing else. The *engine* owns the workers and each client's *lifecycle*, and turns what they
//! report into one ordered stream of *events*, published on a *bus*. The console, the lines for scripts, the
//! log file and the recording are its subscribers, each with a mailbox of its own; *commands* go the other
//! way. An *agent* is a run without a screen: its bus keeps what is known, and a console that attaches gets
//! that first, then the events, over a Unix socket.
//!
//! ```text
//!  keys ──► console ── Action ──► model ── Command ──► engine ──► pool ══ stdin ══► worker ──► Paho
//!                                   ▲                   │  ▲       ║                  │         ⇅ whole packets
//!  pixels ◄── ui ◄──────────────────┘                   │  └───────╨══ same socket ═══┤    connection ◄──► broker
//!                                   │                   ▼                   reports   │         ▲ stream
//!                                   └── Event ────── bus ──► log, recording           └──► transport
//!                                                     └────► lines, agent ══ socket ══► other consoles
//! ```
//!
//! A worker has the [`transport`] make a connection (names, proxies, TLS, WebSocket), and Paho speaks MQTT
//! over it. What is between them, [`paho`]'s connection, hands on whole packets that the inspector of
//! [`mqtt`] let through, and measures. Below MQTT nothing is left to Paho.
//!
//! To follow an event from socket to pixel, read: [`transport`], [`paho`] with [`mqtt`], [`worker`],
//! [`wire`], [`pool`], [`engine`] with [`lifecycle`], [`bus`], [`model`], [`ui`], [`console`].
//!
//! # Layers
//!
//! Imports point down. `tests/project/layers.rs` reads this table and holds the code to it: a module uses
//! only what its row names, and does without what its last column names.
//!
//! | floor | module | uses | does without |
//! |---|---|---|---|
//! | 1 | `text` | | `tokio`, `ratatui`, `Instant::now` |
//! | 1 | `clock` | | `tokio`, `ratatui` |
//! | 1 | `fleet` | `text` | `tokio`, `ratatui`, `Instant::now` |
//! | 1 | `event` | `clock`, `fleet`, `text` | `tokio`, `ratatui`, `Instant::now` |
//! | 1 | `command` | `fleet` | `tokio`, `ratatui`, `Instant::now` |
//! | 1 | `action` | | `tokio`, `ratatui`, `Instant::now` |
//! | 2 | `lifecycle` | `clock`, `event`, `fleet`, `text` | `tokio`, `ratatui`, `Moment::now`, `Instant::now`, `Mutex` |
//! | 2 | `model` | `action`, `clock`, `command`, `event`, `fleet`, `text` | `tokio`, `ratatui`, `Moment::now`, `Instant::now`, `Mutex` |
//! | 2 | `credentials` | `event`, `fleet`, `text` | `ratatui` |
//! | 3 | `config` | `action`, `credentials`, `event`, `fleet`, `text` | `tokio`, `Moment::now` |
//! | 2 | `mailbox` | `clock`, `event`, `fleet`, `text` | `tokio`, `ratatui`, `Moment::now`, `Instant::now`, `Mutex` |
//! | 3 | `bus` | `clock`, `event`, `mailbox`, `model` | `ratatui`, `paho`, `Moment::now` |
//! | 2 | `wire` | `clock`, `event`, `fleet`, `text` | `ratatui` |
//! | 2 | `mqtt` | `clock`, `fleet`, `text` | `tokio`, `ratatui`, `Moment::now`, `Instant::now`, `Mutex` |
//! | 2 | `signals` | | `ratatui` |
//! | 1 | `stdio` | | `tokio`, `ratatui`, `Instant::now` |
//! | 2 | `seal` | | `tokio`, `ratatui` |
//! | 1 | `private` | | `tokio`, `ratatui`, `Instant::now` |
//! | 4 | `paho` | `clock`, `event`, `fleet`, `mqtt`, `text`, `transport`, `wire` | `ratatui` |
//! | 3 | `words` | `clock`, `event`, `fleet`, `model`, `text` | `tokio`, `ratatui`, `Moment::now` |
//! | 4 | `ui` | `action`, `clock`, `config`, `event`, `fleet`, `model`, `text`, `words` | `tokio`, `Moment::now`, `Instant::now`, `&mut Model` |
//! | 4 | `lines` | `clock`, `event`, `fleet`, `model`, `text`, `words` | `tokio`, `ratatui`, `Moment::now` |
//! | 3 | `pool` | `clock`, `event`, `fleet`, `text`, `wire` | `ratatui`, `paho` |
//! | 3 | `transport` | `clock`, `event`, `fleet`, `text` | `ratatui`, `paho` |
//! | 4 | `endpoint` | `event`, `fleet`, `transport` | `ratatui`, `paho` |
//! | 5 | `worker` | `clock`, `event`, `fleet`, `mqtt`, `paho`, `stdio`, `text`, `transport`, `wire` | `ratatui` |
//! | 5 | `engine` | `bus`, `clock`, `command`, `credentials`, `endpoint`, `event`, `fleet`, `lifecycle`, `pool`, `text`, `transport`, `wire` | `ratatui`, `paho` |
//! | 4 | `report` | `clock`, `event`, `fleet`, `model`, `text`, `words` | `tokio`, `ratatui`, `Moment::now`, `Instant::now`, `Mutex` |
//! | 5 | `recording` | `bus`, `clock`, `command`, `event`, `fleet`, `lines`, `model`, `private`, `text` | `ratatui`, `paho` |
//! | 6 | `run` | `bus`, `clock`, `command`, `engine`, `event`, `fleet`, `lines`, `private`, `recording`, `text` | `ratatui`, `paho` |
//! | 6 | `demo` | `clock`, `event`, `fleet`, `pool`, `stdio`, `text`, `wire` | `ratatui`, `paho` |
//! | 7 | `agent` | `bus`, `clock`, `command`, `event`, `fleet`, `model`, `pool`, `private`, `recording`, `run`, `signals`, `stdio`, `text`, `wire` | `ratatui`, `paho` |
//! | 8 | `console` | `action`, `agent`, `clock`, `command`, `config`, `event`, `model`, `recording`, `run`, `signals`, `stdio`, `ui`, `words` | `paho` |
//! | 7 | `headless` | `clock`, `event`, `fleet`, `lines`, `model`, `run`, `signals`, `stdio` | `ratatui`, `paho` |
//! | 8 | `replay` | `clock`, `event`, `headless`, `recording`, `report`, `signals`, `stdio` | `ratatui`, `paho` |
//! | 8 | `check` | `bus`, `clock`, `event`, `fleet`, `headless`, `lines`, `model`, `pool`, `run`, `signals`, `stdio`, `text`, `words` | `ratatui`, `paho` |
//! | 8 | `listing` | `clock`, `fleet`, `headless`, `model`, `words` | `tokio`, `ratatui`, `paho`, `Moment::now` |
//! | 8 | `control` | `agent`, `command`, `event`, `fleet`, `model`, `stdio`, `wire`, `words` | `ratatui`, `paho` |
//! | 8 | `doctor` | `clock`, `credentials`, `endpoint`, `event`, `fleet`, `headless`, `pool`, `stdio`, `text`, `transport`, `wire`, `words` | `ratatui`, `paho` |
//! | 9 | `cli` | `agent`, `bus`, `check`, `clock`, `config`, `console`, `control`, `demo`, `doctor`, `fleet`, `headless`, `lines`, `listing`, `model`, `pool`, `recording`, `replay`, `report`, `run`, `seal`, `stdio`, `text`, `words`, `worker` | `ratatui`, `paho` |
//!
//! # Where this differs from what one might expect
//!
//! - A worker and the console share one socket pair, which is the worker's standard input: its end
//!   is the one death signal that no way of dying can forget.
//! - Clients of different endpoints share a worker, and a fleet has as few workers as `worker_size` allows:
//!   nothing that one endpoint does stalls the clients of another.
//! - A password that may be another one by the next connect is not among what a worker knows of its clients:
//!   the engine has it fetched ([`credentials`]) before a client takes its place at the gate, where nobody is to
//!   wait for a command or a mount, and sends the newest with the order to connect.
//! - A worker speaks once a second, of what happened or not. One that is silent for 5 s, because it is
//!   stopped or hangs, is replaced as a dead one is: nobody would see what becomes of its connections.
//! - What a worker has to tell is kept in a cell for each client, and a cell is queued once: its
//!   queue cannot overflow, and a console that is late reads the present, not the past.
//! - Paho has no sockets. Its `Socket.c` is not linked: `src/paho/socket.rs` stands in for it, and what Paho
//!   takes for a socket is the number of a connection, never given twice. Every stream is read by a task of
//!   its own, whatever it goes through, so TLS needs no pair of sockets to reach Paho, a number cannot be
//!   another's, and a packet reaches Paho whole or not at all. Where TLS or a WebSocket is between, the task
//!   writes as well; a plain socket Paho's threads write themselves, which saves a hop between threads.
//! - Nor is its `LinkedList.c`: `src/paho/list.rs` has the same lists with an index, since Paho looks for a
//!   packet's client among all of them. Likewise it looks at the keep alives of all, many times a second: the
//!   linker puts `src/paho/wrapped.rs` before that (`build.rs`), and Paho is given those that are due.
//! - Figures (round trips, counts, what the kernel says) wake nobody: a worker collects them four times a second,
//!   and the console draws them with the next second.
//! - A write is never told to Paho to have failed: it would free the message twice. The end of the connection
//!   is seen by reading.
//! - In a replay the fleet's time is not the user's: the recording tells when a second of it is over,
//!   and keys, toasts and re-sorting go by the clock on the wall.
//! - A frame is encoded into memory and written by a thread of its own, so that a stalled terminal
//!   stalls neither the fleet nor the keys.

// These panic where nobody reads any more; `stdio` has what does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]
#[cfg(not(target_os = "linux"))]
compile_error!("mqfleet runs on Linux: it asks its kernel about connections, and waits as only that one can");

pub mod action;
pub mod agent;
pub mod bus;
pub mod check;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod console;
pub mod control;
pub mod credentials;
#[cfg(feature = "demo")]
pub mod demo;
pub mod doctor;
pub mod endpoint;
pub mod engine;
pub mod event;
pub mod fleet;
pub mod headless;
pub mod lifecycle;
pub mod lines;
pub mod listing;
pub mod mailbox;
pub mod model;
pub mod mqtt;
pub mod paho;
pub mod pool;
pub mod private;
pub mod recording;
pub mod replay;
pub mod report;
pub mod run;
pub mod seal;
pub mod signals;
pub mod stdio;
pub mod text;
pub mod transport;
pub mod ui;
pub mod wire;
pub mod words;
pub mod worker;
