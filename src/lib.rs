#![doc = include_str!("ARCHITECTURE.md")]

pub mod apply;
pub mod catalog;
pub mod change;
pub mod cli;
pub mod config;
pub mod event;
pub mod fate;
pub mod finding;
pub mod log;
pub mod mapping;
pub mod pg;
pub mod pipeline;
pub mod preflight;
pub mod store;
pub mod target;
pub mod telemetry;
