//! Why the catalog could not be read, and what PostgreSQL has against a piece of SQL.

use crate::fate::Fate;
use std::fmt;
use tokio_postgres::error::{DbError, ErrorPosition};

/// The catalog could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("reading the catalog failed")]
    Query(#[from] tokio_postgres::Error),
}

impl CatalogError {
    /// Reading the catalog has no row that could be at fault.
    pub fn fate(&self) -> Fate {
        match self {
            CatalogError::Query(error) => match crate::pg::fate_of(error) {
                Fate::Retry => Fate::Retry,
                Fate::Reject | Fate::Halt => Fate::Halt,
            },
        }
    }
}

/// What PostgreSQL has against a piece of SQL. Its message can quote the SQL, never a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// SQLSTATE.
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
    /// Where in the SQL that was asked about, in characters from 1.
    pub position: Option<usize>,
}

impl SqlError {
    pub(super) fn new(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), message: message.to_owned(), hint: None, position: None }
    }

    /// `text` was sent with `before` in front of it.
    pub(super) fn of(error: &DbError, before: &str, text: &str) -> Self {
        let position = match error.position() {
            Some(ErrorPosition::Original(at)) => (*at as usize).checked_sub(before.chars().count()),
            _ => None,
        };
        Self {
            code: error.code().code().to_owned(),
            message: error.message().to_owned(),
            hint: error.hint().map(str::to_owned),
            position: position.filter(|&at| at >= 1).map(|at| at.min(text.chars().count() + 1)),
        }
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {}", self.message, self.code)?;
        match self.position {
            Some(at) => write!(f, ", at character {at})"),
            None => write!(f, ")"),
        }
    }
}

impl std::error::Error for SqlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_state_and_place() {
        let mut error = SqlError::new("42703", "column \"x\" does not exist");
        assert_eq!(error.to_string(), "column \"x\" does not exist (SQLSTATE 42703)");
        error.position = Some(3);
        assert_eq!(error.to_string(), "column \"x\" does not exist (SQLSTATE 42703, at character 3)");
    }
}
