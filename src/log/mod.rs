//! The durable order between capture and apply: Kafka, or the local queue whose durable log is the slot itself.
//!
//! Promises: what was acknowledged is in the log, in the order of sending per partition and without a gap; a reader gets every offset from where
//! it asked on, or a typed [`LogError::Gap`], never a jump.
//! Will not: know a row, a target, or what a position means.

mod error;
pub mod kafka;

pub use error::{Doing, LogError};
