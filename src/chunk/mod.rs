//! Which part of a table is read next, and under which snapshot it may be.
//!
//! Promises: pure; what it decides follows from what it was told.
//! Will not: read a row, or know where rows go.

mod pace;
mod range;
mod visibility;

pub use pace::{Allowance, Pace};
pub use range::{BLOCK_RANGES, Chunk, Part, Range, plan};
pub use visibility::{Emitted, Must, ParseSnapshotError, Snapshot};
