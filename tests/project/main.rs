//! Holds the project to what its own documents say: layers, notices, and what the set-up installs.

mod install_tools;
mod keys;
mod layers;
mod metrics;
mod notice;
