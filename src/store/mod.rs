//! Our control tables, in schema `tablelift` of the target: one file per record, with their migrations.
//!
//! Promises: every statement names what it moves; who moves it stands in the record's file. A position is recorded here, durably,
//! before any slot is confirmed past it.
//! Will not: decide anything.

pub mod after_load;
pub mod checkpoint;
pub mod connector;
pub mod copy_range;
pub mod reread;
pub mod schema;
pub mod table_state;
pub mod watermark;

use crate::fate::Fate;

/// A control table could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {action} in schema `tablelift` of the target")]
    Postgres { action: &'static str, source: tokio_postgres::Error },
    #[error(
        "the control tables say `{text}` where a {what} belongs\n  hint: nobody but tablelift may write in schema `tablelift`; restore it from a backup"
    )]
    Damaged { what: &'static str, text: String },
    #[error(
        "schema `tablelift` of the target is of version {found}, and this program knows {known}\n  hint: use the newer tablelift that made it"
    )]
    Newer { found: i32, known: i32 },
}

impl StoreError {
    pub fn fate(&self) -> Fate {
        match self {
            StoreError::Postgres { source, .. } => match crate::pg::fate_of(source) {
                Fate::Retry => Fate::Retry,
                Fate::Reject | Fate::Halt => Fate::Halt,
            },
            StoreError::Damaged { .. } | StoreError::Newer { .. } => Fate::Halt,
        }
    }
}

/// Adds to a PostgreSQL error what was being done.
fn doing(action: &'static str) -> impl FnOnce(tokio_postgres::Error) -> StoreError {
    move |source| StoreError::Postgres { action, source }
}

/// Reads text as `T`, or says what stood there.
fn parse<T: std::str::FromStr>(what: &'static str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Damaged { what, text: text.to_owned() })
}
