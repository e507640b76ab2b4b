//! Messages to feed: the relation cache, positions, and the rules of what may follow what.

use super::pgoutput::Message;
use crate::change::{Before, Cell, Change, CommitLsn, EndLsn, Feed, Op, Position, Row, RowBuilder, Table, TableName};
use hashbrown::HashMap;
use std::sync::Arc;

/// The partitions that are known of partitioned tables, both by their relation ids.
pub type KnownLeaves = HashMap<u32, HashMap<u32, KnownLeaf>>;

/// How far a partition is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownLeaf {
    /// What is committed behind it is of another one.
    pub until: EndLsn,
    /// The transaction, or the part of one, that made it. What else that did to it has still to be thought of: a TRUNCATE in it leaves the file
    /// (PostgreSQL's tablecmds.c, `ExecuteTruncateGuts`), and no trace anywhere.
    pub made: Option<u32>,
}

impl KnownLeaf {
    /// Whether the transaction `xid`, or a part of it, may have made it: parts have later numbers than the whole.
    pub fn was_made_in(&self, xid: u32) -> bool {
        self.made.is_some_and(|made| made.wrapping_sub(xid).cast_signed() >= 0)
    }

    fn knows(&self, open: &Open) -> bool {
        open.commit.0 <= self.until.0 && !self.was_made_in(open.xid)
    }
}

/// The stream broke its own rules, or is not to go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssemblyError {
    #[error("a transaction begins inside another one")]
    Nested,
    #[error("{0} outside a transaction")]
    Outside(&'static str),
    #[error("a transaction that began as {begun} ends as {ended}")]
    OtherCommit { begun: CommitLsn, ended: CommitLsn },
    #[error("a change of relation {0}, which was not described")]
    UnknownRelation(u32),
    /// It is to be known before its first change is handed on.
    #[error("partition {partition} of relation {table} came with transaction {xid}")]
    PartitionCame { table: u32, partition: u32, xid: u32 },
    #[error("a row of `{table}` has {cells} cells for {columns} columns")]
    Width { table: TableName, cells: usize, columns: usize },
}

/// Turns the messages of one connection into feed. A new connection starts with a new one: the server describes its relations anew.
#[derive(Debug)]
pub struct Assembly {
    incarnation: u32,
    tables: HashMap<u32, Arc<Table>>,
    open: Option<Open>,
    partitions: KnownLeaves,
    /// What was described last. Of a partition that is at once before its first change, which then comes as its root's (PostgreSQL's pgoutput.c,
    /// `maybe_send_schema`).
    described: Option<u32>,
}

#[derive(Debug)]
struct Open {
    commit: CommitLsn,
    xid: u32,
    /// Row messages so far.
    rows: u64,
}

impl Assembly {
    /// `incarnation` goes into every position. `partitions`: of these tables no other is taken.
    pub fn new(incarnation: u32, partitions: KnownLeaves) -> Self {
        Self { incarnation, tables: HashMap::new(), open: None, partitions, described: None }
    }

    /// Inside a transaction?
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Appends to `out` what the message means.
    ///
    /// # Errors
    /// See [`AssemblyError`]; the connection is of no further use.
    pub fn push(&mut self, message: Message, out: &mut Vec<Feed>) -> Result<(), AssemblyError> {
        match message {
            Message::Insert { relation, new } => {
                let change = self.change("an insert", relation, Op::Insert, Before::Absent, Some(new))?;
                out.push(Feed::Change(change));
            }
            Message::Update { relation, before, new } => {
                let change = self.change("an update", relation, Op::Update, before, Some(new))?;
                out.push(Feed::Change(filled(change)));
            }
            Message::Delete { relation, before } => {
                let change = self.change("a delete", relation, Op::Delete, before, None)?;
                out.push(Feed::Change(change));
            }
            Message::Truncate { relations } => {
                for relation in relations {
                    let change = self.change("a truncate", relation, Op::Truncate, Before::Absent, None)?;
                    out.push(Feed::Change(change));
                }
            }
            Message::Begin { commit, committed_at, xid } => {
                if self.open.replace(Open { commit, xid, rows: 0 }).is_some() {
                    return Err(AssemblyError::Nested);
                }
                out.push(Feed::Begin { commit, xid, committed_at });
            }
            Message::Commit { commit, end, committed_at } => {
                let begun = self.open.take().ok_or(AssemblyError::Outside("a commit"))?.commit;
                if begun != commit {
                    return Err(AssemblyError::OtherCommit { begun, ended: commit });
                }
                out.push(Feed::Commit { commit, end, committed_at });
            }
            Message::Relation(table) => {
                self.described = Some(table.relation_id);
                out.push(Feed::Shape(self.remember(table)));
            }
            Message::Mark if self.open.is_none() => return Err(AssemblyError::Outside("a mark")),
            Message::Mark => out.push(Feed::Mark),
            Message::Ignored => {}
        }
        Ok(())
    }

    /// The same shape described again stays the same value, so that nobody compiles it again.
    fn remember(&mut self, table: Table) -> Arc<Table> {
        match self.tables.get(&table.relation_id) {
            Some(known) if **known == table => Arc::clone(known),
            _ => {
                let table = Arc::new(table);
                self.tables.insert(table.relation_id, Arc::clone(&table));
                table
            }
        }
    }

    fn change(
        &mut self,
        what: &'static str,
        relation: u32,
        op: Op,
        before: Before,
        after: Option<Row>,
    ) -> Result<Change, AssemblyError> {
        let open = self.open.as_mut().ok_or(AssemblyError::Outside(what))?;
        let table = self.tables.get(&relation).ok_or(AssemblyError::UnknownRelation(relation))?;
        if let Some(partition) = self.described.take().filter(|&described| described != relation && op != Op::Truncate)
            && self.partitions.get(&relation).is_some_and(|known| !known.get(&partition).is_some_and(|known| known.knows(open)))
        {
            return Err(AssemblyError::PartitionCame { table: relation, partition, xid: open.xid });
        }
        for row in before.row().into_iter().chain(&after) {
            if row.len() != table.columns.len() {
                let (cells, columns) = (row.len(), table.columns.len());
                return Err(AssemblyError::Width { table: table.name.clone(), cells, columns });
            }
        }
        let position = Position::new(self.incarnation, open.commit, 2 * open.rows); // two apart: a key change takes two
        open.rows += 1;
        Ok(Change { position, table: Arc::clone(table), op, before, after })
    }
}

/// An update whose `Unchanged` cells are taken from what came of the old row: all of it, or the replica identity's columns (a
/// toasted key value is sent with the old key only).
fn filled(mut change: Change) -> Change {
    let Some(after) = change.after.as_ref().filter(|after| change.before != Before::Absent && after.has_unchanged()) else {
        return change;
    };
    let new = match &change.before {
        Before::Absent => return change,
        Before::Full(old) => after.filled_from(old),
        Before::Key(old) => {
            let mut out = RowBuilder::new(after.len());
            for ((cell, old), column) in after.cells().zip(old.cells()).zip(&change.table.columns) {
                out.push(if cell == Cell::Unchanged && column.identity { old } else { cell });
            }
            out.finish()
        }
    };
    change.after = Some(new);
    change
}

#[cfg(test)]
mod tests;
