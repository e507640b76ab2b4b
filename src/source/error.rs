//! Why a question to the source, or its stream, ended, and what becomes of that.

use super::{AssemblyError, DecodeError, SlotName};
use crate::{
    fate::Fate,
    pg::{self, ConnectError, ServerError},
};
use std::{io, time::Duration};
use tokio_postgres::error::SqlState;

/// Everything that can go wrong with the source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot open a session on the source")]
    Connect(#[from] ConnectError),
    #[error("the connection to the source broke")]
    Io(#[from] io::Error),
    #[error("the source closed the connection")]
    Closed,
    /// No byte came for so long, though we asked for one.
    #[error("the source has been silent for {} s", .0.as_secs())]
    Silent(Duration),
    /// The stream ended in order, or we closed it because it would have held up the source's shutdown.
    #[error("the source is shutting down")]
    ShuttingDown,
    /// The server's no, on the replication connection.
    #[error("the source refused to {doing}")]
    Refused { doing: &'static str, source: ServerError },
    /// A query of an ordinary session failed.
    #[error("cannot {doing}")]
    Query { doing: &'static str, source: tokio_postgres::Error },
    #[error("`{0}` is not a slot's name\n  hint: a to z, 0 to 9 and _, at most 63")]
    SlotName(String),
    #[error("slot `{0}` is in use by another session")]
    SlotActive(SlotName),
    #[error("slot `{0}` does not exist")]
    SlotMissing(SlotName),
    /// The server has removed WAL that it needs (`max_slot_wal_keep_size`), or invalidated it.
    #[error("slot `{0}` is lost: the source has removed what it needs")]
    SlotLost(SlotName),
    #[error("slot `{slot}` does not fit: its {what} is `{found}` and not `{wanted}`")]
    SlotUnfit { slot: SlotName, what: &'static str, found: String, wanted: String },
    #[error("publication `{0}` does not exist")]
    PublicationMissing(String),
    /// Up to 17 the server refuses to go on without a publication, from 18 on it only warns.
    #[error("the source goes on without a publication that we asked for: {}", .0.message)]
    PublicationSkipped(ServerError),
    #[error("the source sent message {tag:#04x} in answer to \"{doing}\"")]
    Unexpected { doing: &'static str, tag: u8 },
    #[error("the source sent a frame that is cut or too long")]
    Frame,
    #[error("cannot read the source's answer to \"{doing}\"")]
    Answer { doing: &'static str },
    #[error("cannot decode the source's stream")]
    Decode(#[from] DecodeError),
    #[error("the source's stream breaks its own rules")]
    Assembly(#[from] AssemblyError),
}

impl SourceError {
    /// A failed query of an ordinary session; `doing` completes "cannot ...".
    pub(super) fn query(doing: &'static str) -> impl Fn(tokio_postgres::Error) -> Self {
        move |source| SourceError::Query { doing, source }
    }

    /// The server's SQLSTATE, where it gave one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            SourceError::Connect(error) => error.sqlstate(),
            SourceError::Refused { source, .. } => Some(&source.sqlstate),
            SourceError::Query { source, .. } => source.code().map(SqlState::code),
            _ => None,
        }
    }

    /// What becomes of it. Nothing here is ever about one row.
    pub fn fate(&self) -> Fate {
        let fate = match self {
            SourceError::Io(_)
            | SourceError::Closed
            | SourceError::Silent(_)
            | SourceError::ShuttingDown
            | SourceError::SlotActive(_)
            | SourceError::Assembly(AssemblyError::PartitionCame { .. }) => Fate::Retry,
            SourceError::Connect(error) => error.fate(),
            SourceError::Refused { source, .. } => pg::fate_of_sqlstate(&source.sqlstate),
            // no table there is ours: one has gone, or got another name, since its name was read
            SourceError::Query { source, .. } if source.code() == Some(&SqlState::UNDEFINED_TABLE) => Fate::Retry,
            SourceError::Query { source, .. } => pg::fate_of(source),
            SourceError::SlotName(_)
            | SourceError::SlotMissing(_)
            | SourceError::SlotLost(_)
            | SourceError::SlotUnfit { .. }
            | SourceError::PublicationMissing(_)
            | SourceError::PublicationSkipped(_)
            | SourceError::Unexpected { .. }
            | SourceError::Frame
            | SourceError::Answer { .. }
            | SourceError::Decode(_)
            | SourceError::Assembly(_) => Fate::Halt,
        };
        if fate == Fate::Reject { Fate::Halt } else { fate }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sqlstate: &str) -> SourceError {
        let source = ServerError { severity: String::new(), sqlstate: sqlstate.to_owned(), message: String::new() };
        SourceError::Refused { doing: "stream", source }
    }

    #[test]
    fn the_world_being_away_is_retried_and_a_wrong_belief_halts() {
        for sqlstate in ["57P01", "57P03", "53300", "08006", "55006"] {
            assert_eq!(refused(sqlstate).fate(), Fate::Retry, "{sqlstate}");
        }
        for sqlstate in ["28P01", "28000", "42704", "55000", "58P01", "42501", "22021"] {
            assert_eq!(refused(sqlstate).fate(), Fate::Halt, "{sqlstate}");
        }
        assert_eq!(SourceError::Silent(Duration::from_secs(60)).fate(), Fate::Retry);
        assert_eq!(SourceError::Frame.fate(), Fate::Halt);
    }
}
