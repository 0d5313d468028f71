//! mqfleet: the terminal console for many MQTT clients.
pub mod action;
pub mod clock;
pub mod command;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod engine;
pub mod event;
pub mod fleet;
pub mod lifecycle;
pub mod model;
pub mod paho;
pub mod pool;
pub mod text;
pub mod ui;
pub mod wire;
pub mod worker;
