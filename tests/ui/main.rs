//! Judges the screen by its cells: whole screens as snapshots of text and styles, hostile texts, every size, and the cursor's loyalty.
#![allow(clippy::unwrap_used)] // here a panic is how a failure is told

mod edges;
mod frames;
mod glance;
mod help;
mod loyalty;
mod scenes;
mod screenshots;
mod snapshots;
