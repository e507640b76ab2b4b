//! A change as bytes on a topic, and back: envelope, key, headers, topic names, the choice of a partition.
//!
//! Promises: PostgreSQL's text comes back byte for byte; no JSON tree and no allocation per row on the way out; no value in an error.
//! Will not: talk to a broker, know a clock (time comes in as an argument), decide what a key's canonical form is.
//!
//! # The form
//!
//! Value: Debezium's envelope without schema. Its fields as Debezium has them, and where ours differ:
//! - `source.lsn` is the commit LSN, `source.sequence` is `["COMMIT LSN","ORDINAL"]`, both decimal: compare the first, then the second.
//!   On a row that a copy read (`op` `r`, `source.snapshot` `"true"`) `lsn` is the snapshot's, `sequence` and `txId` are null.
//! - `source.ts_ms` and `ts_us` are the commit's time on the source (the reading's, for a copy); the outer `ts_ms` is capture's.
//! - `before` has *all* columns where the source sent the old row in full, and *only the key columns* where it sent no more.
//!   An absent column says that nothing is known; Debezium writes null there, which could be a value. (Where every column is of the key the
//!   two are the same, and read as full.)
//! - int2, int4, int8 and boolean are JSON's own; everything else is PostgreSQL's text in a string.
//! - An unchanged TOAST column in `after` is [`UNAVAILABLE`], and its name stands in the header [`HEADER_UNCHANGED`]. Only the header counts:
//!   a text that happens to read like the placeholder is a text.
//!
//! A delete is followed by a tombstone (same key and headers, null value); keyless tables have none. A TRUNCATE is `op` `t` with a null key,
//! sent to every partition. A *reset* is ours: `op` `m`, the form of Debezium's logical messages (`message.prefix` `tablelift`), with a null key,
//! sent to every partition of a table's topic before its copy starts: what earlier attempts of the copy brought is void. Header
//! [`HEADER_RESET`] names the attempt that starts; consumers other than ours skip an `op` that carries no row.

mod cell;
mod decode;
mod encode;
mod error;
mod frame;
mod partition;
mod row;
mod slots;
mod topic;

pub use decode::{Decoder, Event, Kind};
pub use encode::{About, Encoder, Origin};
pub use error::{DecodeError, EncodeError, RowPart};
pub use frame::{Frame, LARGE};
pub use partition::{Partitions, murmur2};
pub use topic::{TopicError, control_topic, letters_topic, table_topic, table_topics};

/// Debezium's `unavailable.value.placeholder`.
pub const UNAVAILABLE: &str = "__debezium_unavailable_value";
/// `INCARNATION/COMMIT LSN/ORDINAL`, on stream events and their tombstones.
pub const HEADER_POSITION: &str = "tablelift-position";
/// The copy's attempt, on the rows that it read.
pub const HEADER_CHUNK: &str = "tablelift-chunk";
/// The capture's epoch, decimal, on all events.
pub const HEADER_EPOCH: &str = "tablelift-epoch";
/// JSON array of the columns of `after` that the source did not send.
pub const HEADER_UNCHANGED: &str = "tablelift-unchanged";
/// The copy's attempt that starts here; all earlier ones are void.
pub const HEADER_RESET: &str = "tablelift-reset";
/// `mixed`: the table's rows may be of a later moment than this event, for a copy is under way, or was a moment ago. `doubtful`: and that copy
/// is not the first, so that what is there may be wrong.
pub const HEADER_BASE: &str = "tablelift-base";
/// On rows that were read again, and on the absence of one: the requests that it answers, as numbers with commas between.
pub const HEADER_REREAD: &str = "tablelift-reread";

#[cfg(test)]
mod round_trip;
