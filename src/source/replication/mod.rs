//! The replication connection: a thin layer on `postgres-protocol`.
//!
//! Promises: the server is answered in time whatever the consumer does; memory in flight is bounded in bytes; frames come in
//! the order of the stream, and the reason of its end comes last; the server's fast shutdown is not held up.
//! Will not: know what a message means.

mod budget;
mod commands;
mod connection;
pub(super) mod frame;
mod login;
mod pace;
mod pump;
mod status;
mod wire;

pub use commands::{CreatedSlot, Identity, SlotKind, SnapshotUse};
pub use connection::{Connection, TextRow};
pub(super) use pump::{Chunks, Limits, pump};
