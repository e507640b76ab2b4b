//! Changes, and the frames of the transactions that carry them.

use super::{CommitLsn, EndLsn, Position, Row, Table};
use std::sync::Arc;

/// Microseconds since 1970-01-01 UTC.
pub type UnixMicros = i64;

/// What was done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A row as a snapshot saw it. It has no place in the stream.
    Read,
    Insert,
    Update,
    Delete,
    Truncate,
}

/// What is known of the row before the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    Absent,
    /// Only the columns of the replica identity are there; the others are null and mean nothing.
    Key(Row),
    Full(Row),
}

impl Before {
    pub fn row(&self) -> Option<&Row> {
        match self {
            Before::Absent => None,
            Before::Key(row) | Before::Full(row) => Some(row),
        }
    }
}

/// One row's event as a value. `after` is there for reads, inserts and updates. A TRUNCATE is one change per table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub position: Position,
    pub table: Arc<Table>,
    pub op: Op,
    pub before: Before,
    pub after: Option<Row>,
}

impl Change {
    /// Gives the rows memory of their own.
    pub fn detach(&mut self) {
        match &mut self.before {
            Before::Absent => {}
            Before::Key(row) | Before::Full(row) => *row = row.detached(),
        }
        self.after = self.after.as_ref().map(Row::detached);
    }

    /// Size in memory, in bytes, about.
    pub fn weight(&self) -> usize {
        96 + self.before.row().map_or(0, Row::weight) + self.after.as_ref().map_or(0, Row::weight)
    }
}

/// What the reader hands on, in the order of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feed {
    Begin {
        commit: CommitLsn,
        xid: u32,
        committed_at: UnixMicros,
    },
    /// A table's shape, before its first change and again whenever it may have changed.
    Shape(Arc<Table>),
    Change(Change),
    /// Our own transactional message in the WAL: somebody waits for this place.
    Mark,
    Commit {
        commit: CommitLsn,
        end: EndLsn,
        committed_at: UnixMicros,
    },
    /// The server has sent everything up to here.
    Keepalive {
        end: EndLsn,
    },
}
