#![doc = include_str!("ARCHITECTURE.md")]

#[macro_use]
mod broken;

pub mod apply;
pub mod catalog;
pub mod change;
pub mod chunk;
pub mod cli;
pub mod config;
pub mod ddl;
pub mod event;
pub mod fate;
pub mod finding;
pub mod http;
pub mod log;
pub mod mapping;
pub mod pg;
pub mod pipeline;
pub mod preflight;
pub mod source;
pub mod status;
pub mod store;
pub mod target;
pub mod telemetry;

#[cfg(test)]
#[path = "../tests/sim/mod.rs"]
mod sim;
