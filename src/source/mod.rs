//! WAL to changes: slot, replication connection, pgoutput decoding, relation cache, assembly.
//!
//! Promises: the feed is the slot's stream in its order, each change with its position; memory is bounded in bytes whatever the size of a
//! transaction; the server is answered in time whatever the consumer does; the slot moves only by [`Feedback::confirm`].
//! Will not: know a log or a target; make or drop a slot by itself; open a stream again that ended.

mod assembly;
mod error;
mod identity;
mod pgoutput;
pub mod publication;
mod reader;
mod replication;
mod sentinel;
mod slot;

pub use assembly::{Assembly, AssemblyError, KnownLeaf, KnownLeaves};
pub use error::SourceError;
pub use identity::{ParseHistoryError, ServerFacts, TimelineHistory, server_facts};
pub use pgoutput::{DecodeError, MARK_PREFIX, Message, decode};
pub use publication::{Publication, Published, PublishedTable};
pub use reader::{Feedback, Reader, ReaderConfig};
pub use replication::{Connection, CreatedSlot, Identity, SlotKind, SnapshotUse, TextRow};
pub use slot::{SlotFacts, SlotHolder, SlotName, WalStatus, drop_slot, emit_mark, slot_facts, slot_holder};
