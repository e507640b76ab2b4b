//! The source's room against real servers: what the stream says, how it ends, what the catalog tells.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod catalog;
mod ends;
mod login;
mod stream;
#[path = "../it/support/mod.rs"]
mod support;
mod tap;
