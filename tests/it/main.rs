//! Integration tests: the real binary between real servers, one binary for all of them. How to write one: `support/mod.rs`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod acting;
mod behind;
mod catalog;
mod chunk_storms;
mod chunks;
mod commands;
mod constraints;
mod copy;
mod crash;
mod create;
mod deferred;
mod entries;
mod halt;
mod handover;
mod harness;
mod hostile;
mod init;
mod key_after;
mod log;
mod operations;
mod partitions;
mod preflight;
mod publication;
mod resync;
mod shared;
mod status;
mod stream;
mod support;
