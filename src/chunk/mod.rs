//! Which part of a table is read next, under which snapshot it may be, and how long the rest takes.
//!
//! Promises: pure; what it decides follows from what it was told.
//! Will not: read a row, or know where rows go.

mod eta;
mod pace;
mod range;
mod visibility;

pub use eta::Headway;
pub use pace::{Allowance, Pace};
pub use range::{Chunk, Part, Range, bytes_read, plan};
pub use visibility::{Emitted, Must, ParseSnapshotError, Snapshot};
