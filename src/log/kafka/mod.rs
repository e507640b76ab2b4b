//! Kafka as the log: one topic per table, one control topic per connector.
//!
//! Promises:
//! - What [`Producer`] was given is acknowledged in order, per partition without a gap, or the producer is dead and says why: nothing is dropped
//!   in silence, and nothing overtakes what failed.
//! - [`Consumer`] gives each partition's messages in order from the offset that its owner named. A partition whose log lacks that offset is a
//!   [`LogError::Gap`](super::LogError::Gap), at the start and at any later time.
//! - Memory is bounded on both sides, whatever the backlog: see `settings` for the figures.
//!
//! Will not: use transactions, or Kafka's committed offsets for anything but the lag that Kafka's own tools show.

mod acks;
mod admin;
mod batch;
mod board;
mod consumer;
mod context;
mod control;
mod credit;
mod ends;
mod feeds;
mod group;
#[cfg(test)]
pub mod memory;
mod place;
mod producer;
mod reader;
mod settings;
mod worker;

pub use acks::{AckGroup, Acks};
pub use admin::{Admin, TopicSpec, TopicState};
pub use batch::{Batch, Message};
pub use consumer::{Assignment, Consumer, Delivery, Partition, Start};
pub use control::{Contents, Control, ControlTail, Entry, Tail};
pub use ends::Ends;
pub use producer::Producer;
pub use settings::{BROKER_LIMIT, LARGEST_MESSAGE, REFUSED, refused_settings, unknown_settings};
