//! The terminal console for many MQTT clients: one live, operable row per client.
//!
//! A *fleet* is read from one file. *Worker* processes of this same binary hold its Paho clients and
//! do nothing else. The *engine* owns the workers and each client's *lifecycle*, and turns what they
//! report into one ordered stream of *events*, published on a *bus*. The console, the lines for scripts, the
//! log file, the recording, metrics, hooks and a store for other hosts are its subscribers, each with a mailbox of its own; *commands* go the other
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
//! Imports point down: from the ground up, a module uses only what its row names, which stands in rows above it, and
//! does without what its last column names. `tests/project/layers.rs` reads this table, and holds the code to it.
//!
//! | module | uses | does without |
//! |---|---|---|
//! | `text` | | `Instant::now` |
//! | `clock` | | |
//! | `fleet` | `text` | `Instant::now` |
//! | `event` | `clock`, `fleet`, `text` | `Instant::now` |
//! | `command` | `event`, `fleet`, `text` | `Instant::now` |
//! | `action` | | `Instant::now` |
//! | `stdio` | | `Instant::now` |
//! | `seal` | | |
//! | `private` | | `Instant::now` |
//! | `debug_log` | `private`, `text` | `Moment::now` |
//! | `signals` | | |
//! | `program` | `text` | `Instant::now` |
//! | `document` | `text` | `Moment::now` |
//! | `appearance` | `action`, `document`, `event` | `Moment::now`, `Instant::now` |
//! | `credentials` | `event`, `fleet`, `program`, `text` | |
//! | `query` | `document`, `event`, `fleet`, `text` | `Moment::now`, `Instant::now`, `Mutex` |
//! | `telling` | `event`, `fleet`, `program`, `query`, `text` | `Instant::now`, `Moment::now` |
//! | `http` | `credentials`, `fleet`, `telling`, `text` | `Moment::now`, `Instant::now` |
//! | `fleet_file` | `credentials`, `document`, `event`, `fleet`, `program`, `query`, `telling`, `text` | `Moment::now` |
//! | `lifecycle` | `clock`, `event`, `fleet`, `text` | `Moment::now`, `Instant::now`, `Mutex` |
//! | `jobs` | `clock`, `command`, `event`, `fleet`, `lifecycle` | `Moment::now`, `Instant::now`, `Mutex` |
//! | `wire` | `clock`, `event`, `fleet`, `text` | |
//! | `mqtt` | `clock`, `fleet`, `text` | `Moment::now`, `Instant::now`, `Mutex` |
//! | `transport` | `clock`, `event`, `fleet`, `text` | |
//! | `paho` | `clock`, `event`, `fleet`, `mqtt`, `text`, `transport`, `wire` | |
//! | `endpoint` | `event`, `fleet`, `transport` | |
//! | `pool` | `clock`, `debug_log`, `event`, `fleet`, `text`, `wire` | |
//! | `worker` | `clock`, `event`, `fleet`, `mqtt`, `paho`, `stdio`, `text`, `transport`, `wire` | |
//! | `model` | `action`, `clock`, `command`, `document`, `event`, `fleet`, `query`, `text` | `Moment::now`, `Instant::now`, `Mutex` |
//! | `mailbox` | `clock`, `event`, `fleet`, `text` | `Moment::now`, `Instant::now`, `Mutex` |
//! | `bus` | `clock`, `event`, `mailbox`, `model`, `text` | `Moment::now` |
//! | `engine` | `bus`, `clock`, `command`, `credentials`, `endpoint`, `event`, `fleet`, `jobs`, `lifecycle`, `pool`, `text`, `transport`, `wire` | |
//! | `metrics` | `bus`, `clock`, `event`, `fleet`, `http`, `model`, `telling`, `text` | |
//! | `words` | `clock`, `event`, `fleet`, `model`, `text` | `Moment::now` |
//! | `alerts` | `bus`, `clock`, `command`, `credentials`, `event`, `fleet`, `http`, `model`, `private`, `program`, `telling`, `text`, `words` | |
//! | `ui` | `action`, `appearance`, `clock`, `event`, `fleet`, `model`, `query`, `text`, `words` | `Moment::now`, `Instant::now`, `&mut Model` |
//! | `lines` | `clock`, `event`, `fleet`, `model`, `text`, `words` | `Moment::now` |
//! | `hooks` | `bus`, `clock`, `event`, `fleet`, `lines`, `model`, `program`, `query`, `signals`, `stdio`, `telling`, `text` | |
//! | `store` | `bus`, `clock`, `credentials`, `event`, `fleet`, `lines`, `model`, `query`, `telling`, `text`, `transport`, `words` | |
//! | `report` | `clock`, `event`, `fleet`, `lines`, `model`, `text`, `words` | `Moment::now`, `Instant::now`, `Mutex` |
//! | `recording` | `bus`, `clock`, `command`, `event`, `fleet`, `lines`, `model`, `private`, `text` | |
//! | `run` | `alerts`, `bus`, `clock`, `command`, `engine`, `event`, `fleet`, `hooks`, `lines`, `metrics`, `private`, `recording`, `store`, `text` | |
//! | `headless` | `clock`, `event`, `fleet`, `lines`, `model`, `run`, `signals`, `stdio` | |
//! | `agent` | `bus`, `clock`, `command`, `engine`, `event`, `fleet`, `model`, `pool`, `private`, `recording`, `run`, `signals`, `stdio`, `store`, `telling`, `text`, `wire` | |
//! | `console` | `action`, `agent`, `appearance`, `clock`, `command`, `event`, `fleet`, `model`, `recording`, `run`, `signals`, `stdio`, `text`, `ui`, `words` | |
//! | `key_list` | `action`, `appearance`, `headless` | `Instant::now`, `Moment::now` |
//! | `listing` | `clock`, `fleet`, `headless`, `lines`, `model`, `query`, `store`, `words` | `Moment::now` |
//! | `control` | `agent`, `clock`, `command`, `event`, `fleet`, `model`, `query`, `stdio`, `text`, `wire`, `words` | |
//! | `replay` | `clock`, `event`, `headless`, `recording`, `report`, `signals`, `stdio` | |
//! | `rehearsal` | `alerts`, `clock`, `event`, `fleet`, `headless`, `lines`, `recording`, `replay`, `telling`, `words` | |
//! | `check` | `bus`, `clock`, `event`, `fleet`, `headless`, `lines`, `model`, `pool`, `query`, `run`, `signals`, `stdio`, `text`, `words` | |
//! | `doctor` | `clock`, `credentials`, `endpoint`, `event`, `fleet`, `headless`, `lines`, `pool`, `stdio`, `text`, `transport`, `wire`, `words` | |
//! | `demo` | `clock`, `event`, `fleet`, `pool`, `stdio`, `text`, `wire` | |
//! | `cli` | `agent`, `alerts`, `appearance`, `bus`, `check`, `clock`, `console`, `control`, `debug_log`, `demo`, `doctor`, `document`, `event`, `fleet_file`, `fleet`, `headless`, `hooks`, `key_list`, `lines`, `listing`, `metrics`, `model`, `pool`, `query`, `recording`, `rehearsal`, `replay`, `report`, `run`, `seal`, `stdio`, `store`, `telling`, `text`, `words`, `worker` | |
//!
//! Other people's code is used by whom it is for, and by nobody else:
//!
//! | crate | used by |
//! |---|---|
//! | `annotate_snippets` | `document` |
//! | `anyhow` | `agent`, `cli`, `replay` |
//! | `async_trait` | `demo` |
//! | `chrono` | any |
//! | `clap` | `cli`, `headless`, `report` |
//! | `crossterm` | `appearance`, `console` |
//! | `csv` | `fleet_file` |
//! | `fastrand` | `agent`, `check`, `cli`, `demo`, `lifecycle`, `paho`, `store`, `transport`, `worker` |
//! | `flate2` | `metrics` |
//! | `foreign_types` | `transport` |
//! | `futures_util` | `agent`, `cli`, `console`, `demo`, `transport`, `wire` |
//! | `httparse` | `metrics` |
//! | `humantime` | any |
//! | `indexmap` | `check`, `demo` |
//! | `lettre` | `alerts` |
//! | `libc` | `paho`, `transport` |
//! | `openssl` | `fleet_file`, `http`, `transport` |
//! | `openssl_probe` | `transport` |
//! | `paho_mqtt` | `paho`, `worker` |
//! | `paho_mqtt_sys` | |
//! | `postcard` | `model`, `wire` |
//! | `ratatui` | `appearance`, `console`, `ui` |
//! | `redis` | `store` |
//! | `regex` | `query` |
//! | `rmqtt` | `demo` |
//! | `rustc_hash` | `paho` |
//! | `rustix` | `agent`, `check`, `cli`, `clock`, `console`, `credentials`, `demo`, `fleet_file`, `metrics`, `pool`, `private`, `program`, `seal`, `signals`, `stdio`, `store`, `transport`, `worker` |
//! | `secrecy` | `fleet` |
//! | `serde` | any |
//! | `serde_json` | `agent`, `alerts`, `fleet_file`, `key_list`, `lines`, `listing`, `metrics`, `recording`, `report`, `store` |
//! | `thiserror` | any |
//! | `tokio` | `agent`, `alerts`, `bus`, `check`, `cli`, `console`, `control`, `credentials`, `demo`, `doctor`, `endpoint`, `engine`, `headless`, `hooks`, `http`, `metrics`, `paho`, `pool`, `program`, `recording`, `replay`, `run`, `signals`, `store`, `transport`, `wire`, `worker` |
//! | `tokio_openssl` | `transport` |
//! | `tokio_util` | `agent`, `demo`, `wire` |
//! | `toml` | `document` |
//! | `tracing` | any |
//! | `tracing_appender` | `cli`, `debug_log` |
//! | `tracing_subscriber` | `debug_log` |
//! | `tui_input` | `console`, `model`, `ui` |
//! | `tungstenite` | `transport` |
//! | `unicode_segmentation` | `text` |
//! | `unicode_width` | `doctor`, `query`, `report`, `text`, `ui` |
//! | `ureq` | `http` |
//! | `winnow` | `query` |
//! | `zstd` | `recording` |
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
//! - A fleet may become another one while it runs, and every key stays what it is: who is new comes after all others,
//!   and who is gone leaves an empty place ([`fleet::Fleet::revised`]). So an event that was on its way, a line of the log
//!   and a recording mean the same client as before, nobody has to agree on when a key changes hands, and a mailbox may
//!   fold several fleets into the last. The places are taken back when the agent starts anew.
//! - In a replay the fleet's time is not the user's: the recording tells when a second of it is over,
//!   and keys, toasts and re-sorting go by the clock on the wall.
//! - A frame is encoded into memory and written by a thread of its own, so that a stalled terminal
//!   stalls neither the fleet nor the keys.

// These panic where nobody reads any more; `stdio` has what does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]
#![warn(unreachable_pub)]
// They are documentation for who works on them, who reads that of private items, too.
#![allow(rustdoc::private_intra_doc_links)]
#[cfg(not(target_os = "linux"))]
compile_error!("mqfleet runs on Linux: it asks its kernel about connections, and waits as only that one can");

pub mod action;
pub mod agent;
#[allow(unreachable_pub)]
pub mod alerts;
pub mod appearance;
pub mod bus;
pub mod check;
pub mod cli;
pub mod clock;
pub mod command;
pub mod console;
pub mod control;
pub mod credentials;
pub mod debug_log;
#[cfg(feature = "demo")]
pub mod demo;
pub mod doctor;
pub mod document;
pub mod endpoint;
#[allow(unreachable_pub)]
pub mod engine;
#[allow(unreachable_pub)]
pub mod event;
pub mod fleet;
pub mod fleet_file;
pub mod headless;
#[allow(unreachable_pub)]
pub mod hooks;
pub mod http;
pub mod jobs;
pub mod key_list;
pub mod lifecycle;
pub mod lines;
pub mod listing;
#[allow(unreachable_pub)]
pub mod mailbox;
#[allow(unreachable_pub)]
pub mod metrics;
#[allow(unreachable_pub)]
pub mod model;
pub mod mqtt;
pub mod paho;
#[allow(unreachable_pub)]
pub mod pool;
pub mod private;
pub mod program;
pub mod query;
#[allow(unreachable_pub)]
pub mod recording;
pub mod rehearsal;
pub mod replay;
pub mod report;
pub mod run;
pub mod seal;
pub mod signals;
pub mod stdio;
#[allow(unreachable_pub)]
pub mod store;
pub mod telling;
pub mod text;
pub mod transport;
pub mod ui;
#[allow(unreachable_pub)]
pub mod wire;
pub mod words;
#[allow(unreachable_pub)]
pub mod worker;
