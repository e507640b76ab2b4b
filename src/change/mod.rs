//! What happened in the source, and nothing about how we learnt it.
//!
//! Promises: no clock, no I/O; a value is PostgreSQL's own text form, as bytes, from one end to the other.
//! Will not: know a wire protocol, a topic or a target.

mod feed;
mod lsn;
mod position;
mod row;
mod table;

pub use feed::{Before, Change, Feed, Op, UnixMicros};
pub use lsn::{CommitLsn, EndLsn, Lsn, ParseLsnError};
pub use position::{ParsePositionError, Position};
pub use row::{Cell, Row, RowBuilder, RowError};
pub use table::{Column, ReplicaIdentity, Table, TableName};
