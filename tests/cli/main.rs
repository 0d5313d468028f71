//! Subcommands and files as their users meet them: what is said of them, in which words, and with which exit code.

mod check;
mod config;
mod debug_log;
mod doctor;
mod fleet_file;
mod pipes;
