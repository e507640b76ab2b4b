//! One session on the target: transactions, savepoints, a plan's statements with rows as arrays or COPY.
//!
//! Promises: values go as PostgreSQL's text, untouched; a statement is prepared once per session.
//! Will not: decide what a failure means for a table, or what belongs into one transaction.

mod error;
pub mod origin;
mod rows;
mod session;

pub use error::TargetError;
pub use rows::Rows;
pub use session::{Session, SourceKey};
