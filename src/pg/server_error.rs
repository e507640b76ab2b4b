//! What the server says when it ends a conversation, as a value that both the ordinary and the replication session can make.

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{ErrorFields, ErrorResponseBody};
use std::io;
use tokio_postgres::error::DbError;

/// The server's own words (PostgreSQL's manual, 55.8 "Error and Notice Message Fields"). Only for errors about a session, a
/// slot or a catalog: the message of an error about a row can hold the row's values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{severity}: {message} (SQLSTATE {sqlstate})")]
pub struct ServerError {
    pub severity: String,
    pub sqlstate: String,
    pub message: String,
}

impl ServerError {
    /// # Errors
    /// The body is not what the protocol says.
    pub fn from_body(body: &ErrorResponseBody) -> io::Result<Self> {
        Self::from_fields(body.fields())
    }

    /// Of an error or a notice.
    ///
    /// # Errors
    /// The fields are not what the protocol says.
    pub fn from_fields(mut fields: ErrorFields<'_>) -> io::Result<Self> {
        let mut error = Self { severity: String::new(), sqlstate: String::new(), message: String::new() };
        while let Some(field) = fields.next()? {
            let slot = match field.type_() {
                b'S' => &mut error.severity,
                b'C' => &mut error.sqlstate,
                b'M' => &mut error.message,
                _ => continue,
            };
            *slot = String::from_utf8_lossy(field.value_bytes()).into_owned();
        }
        Ok(error)
    }
}

impl From<&DbError> for ServerError {
    fn from(error: &DbError) -> Self {
        Self {
            severity: error.severity().to_owned(),
            sqlstate: error.code().code().to_owned(),
            message: error.message().to_owned(),
        }
    }
}
