//! Text to checked values. The only room that reads files or the environment.
//!
//! Promises: every mistake of a file at once, each with line and column and what was meant; secrets never in a message.
//! Will not: connect to anything. Whether a table exists is for `preflight`.

mod connector;
mod load;

pub use connector::{Connector, Kafka, LogKind, Pattern, SourceConfig, TargetConfig, Triggers};
