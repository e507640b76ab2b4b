//! Events to the newest row: batching, reduction per key, statements, and the ladder on failure.
//!
//! Promises: after `apply` the open target transaction holds the effect of every change of the batch, in source order, except
//! those from the first failed change of a halted table on; the same code serves both logs.
//! Will not: begin or commit a transaction, or move a checkpoint: that is its driver's, so that both go together.

mod applier;
mod deferred;
mod halt;
mod ladder;
mod reduce;
mod route;

pub use applier::{Applied, Applier, Reread};
pub use halt::Halt;
pub use ladder::{ApplyError, key};
pub use route::{Base, Item, Routes};
