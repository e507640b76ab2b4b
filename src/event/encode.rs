//! Changes to bytes. Everything about a table that is the same for all its rows is written once, when the encoder is made.

use super::cell::{Form, integer, string};
use super::{
    EncodeError, Frame, HEADER_BASE, HEADER_CHUNK, HEADER_EPOCH, HEADER_POSITION, HEADER_REREAD, HEADER_RESET, HEADER_UNCHANGED,
    RowPart, UNAVAILABLE,
};
use crate::change::{Before, Cell, Change, Lsn, Op, Row, Table, UnixMicros};
use std::io::Write as _;
use std::sync::Arc;

/// What an event says beside its row.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The capture's epoch.
    pub epoch: u64,
    /// Capture's time, for the outer `ts_ms`.
    pub now: UnixMicros,
    pub origin: Origin<'a>,
}

/// Where a row came from.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// The stream. The commit LSN and the ordinal are the change's own position. `base`: what stands in its header, if any does.
    Stream { xid: u32, committed_at: UnixMicros, base: Option<&'static str> },
    /// A copy's attempt, whose snapshot was taken at `lsn`.
    Copy { attempt: &'a str, lsn: Lsn, read_at: UnixMicros, base: Option<&'static str> },
    /// A row that was read again, at `lsn`, or its absence. `requests`: those that it answers.
    Reread { requests: &'a str, lsn: Lsn, read_at: UnixMicros },
}

/// Writes one table's changes. Made again when the table's shape changes.
pub struct Encoder {
    table: Arc<Table>,
    /// `"name":` and the form, per column.
    columns: Vec<(Box<[u8]>, Form)>,
    /// Indexes of the key columns, in the table's order.
    key: Vec<usize>,
    /// `,"source":{...,"ts_ms":`
    source: Box<[u8]>,
    /// `,"db":"...","sequence":`
    database: Box<[u8]>,
    /// `,"schema":"...","table":"...","txId":`
    relation: Box<[u8]>,
}

impl Encoder {
    /// `key` names the key's columns, in any order (an event has them in the table's); empty for a keyless table. `connector` is the
    /// `name` that consumers see in `source`.
    pub fn new(table: Arc<Table>, key: &[String], database: &str, connector: &str) -> Result<Self, EncodeError> {
        if let Some(column) = key.iter().find(|name| table.columns.iter().all(|column| column.name != **name)) {
            return Err(EncodeError::KeyColumn { table: table.name.clone(), column: column.clone() });
        }
        let key = (0..table.columns.len()).filter(|at| key.contains(&table.columns[*at].name)).collect();
        let columns = table.columns.iter().map(|column| (quoted("", &column.name, ":"), Form::of(column))).collect();
        let version = concat!(r#","source":{"version":""#, env!("CARGO_PKG_VERSION"), r#"","connector":"postgresql","name":"#);
        let source = quoted(version, connector, r#","ts_ms":"#);
        let database = quoted(r#","db":"#, database, r#","sequence":"#);
        let schema = quoted(r#","schema":"#, &table.name.schema, "");
        let relation = [schema, quoted(r#","table":"#, &table.name.name, r#","txId":"#)].concat().into_boxed_slice();
        Ok(Self { table, columns, key, source, database, relation })
    }

    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    pub fn is_keyless(&self) -> bool {
        self.key.is_empty()
    }

    /// The key's cells of `row`, in the table's order: what [`Encoder::change`] takes, unless the caller has a canonical form for some.
    pub fn key_cells<'r>(&'r self, row: &'r Row) -> impl Iterator<Item = Cell<'r>> {
        let mut wanted = self.key.iter().copied().peekable();
        row.cells().enumerate().filter_map(move |(at, cell)| wanted.next_if_eq(&at).map(|_| cell))
    }

    /// Writes `change` into `out`. `key` gives the key's cells in the table's order; a keyless table's and a TRUNCATE's are not asked for.
    pub fn change<'c>(
        &self,
        out: &mut Frame,
        change: &Change,
        key: impl IntoIterator<Item = Cell<'c>>,
        about: &About<'_>,
    ) -> Result<(), EncodeError> {
        out.clear();
        if change.op != Op::Truncate && !self.is_keyless() {
            self.key(out, key)?;
        }
        out.value.extend_from_slice(br#"{"before":"#);
        match &change.before {
            Before::Absent => out.value.extend_from_slice(b"null"),
            Before::Full(row) => self.row(&mut out.value, row, RowPart::Before, |_| true)?,
            Before::Key(row) => self.row(&mut out.value, row, RowPart::Before, |at| self.table.columns[at].identity)?,
        }
        out.value.extend_from_slice(br#","after":"#);
        match &change.after {
            None => out.value.extend_from_slice(b"null"),
            Some(row) => self.row(&mut out.value, row, RowPart::After, |_| true)?,
        }
        let op = match change.op {
            Op::Read => b'r',
            Op::Insert => b'c',
            Op::Update => b'u',
            Op::Delete => b'd',
            Op::Truncate => b't',
        };
        self.tail(&mut out.value, change, op, about);
        self.headers(out, change, about);
        Ok(())
    }

    /// Writes a reset into `out`: the copy's attempt `attempt` starts, what earlier ones brought is void.
    pub fn reset(&self, out: &mut Frame, attempt: &str, lsn: Lsn, epoch: u64, now: UnixMicros) {
        out.clear();
        out.value.extend_from_slice(br#"{"before":null,"after":null"#);
        let nowhere = Change {
            position: Default::default(),
            table: Arc::clone(&self.table),
            op: Op::Read,
            before: Before::Absent,
            after: None,
        };
        self.tail(
            &mut out.value,
            &nowhere,
            b'm',
            &About { epoch, now, origin: Origin::Copy { attempt, lsn, read_at: now, base: None } },
        );
        out.value.pop();
        out.value.extend_from_slice(br#","message":{"prefix":"tablelift","content":""}}"#);
        out.header(HEADER_EPOCH, |text| integer(epoch, text));
        out.header(HEADER_RESET, |text| text.extend_from_slice(attempt.as_bytes()));
    }

    fn key<'c>(&self, out: &mut Frame, cells: impl IntoIterator<Item = Cell<'c>>) -> Result<(), EncodeError> {
        let (mut found, mut lead) = (0, b'{');
        for cell in cells {
            let Some(at) = self.key.get(found) else { return Err(self.cells_differ(RowPart::Key, self.key.len(), found + 1)) };
            out.key.push(std::mem::replace(&mut lead, b','));
            out.key.extend_from_slice(&self.columns[*at].0);
            self.cell(&mut out.key, *at, cell, RowPart::Key)?;
            found += 1;
        }
        if found < self.key.len() {
            return Err(self.cells_differ(RowPart::Key, self.key.len(), found));
        }
        out.key.push(b'}');
        out.keyed = true;
        Ok(())
    }

    fn row(&self, out: &mut Vec<u8>, row: &Row, part: RowPart, takes: impl Fn(usize) -> bool) -> Result<(), EncodeError> {
        if row.len() != self.columns.len() {
            return Err(self.cells_differ(part, self.columns.len(), row.len()));
        }
        let mut lead = b'{';
        for (at, cell) in row.cells().enumerate().filter(|(at, _)| takes(*at)) {
            out.push(std::mem::replace(&mut lead, b','));
            out.extend_from_slice(&self.columns[at].0);
            self.cell(out, at, cell, part)?;
        }
        if lead == b'{' {
            out.push(lead);
        }
        out.push(b'}');
        Ok(())
    }

    fn cell(&self, out: &mut Vec<u8>, at: usize, cell: Cell<'_>, part: RowPart) -> Result<(), EncodeError> {
        let named = || (self.table.name.clone(), self.table.columns[at].name.clone());
        match cell {
            Cell::Null => out.extend_from_slice(b"null"),
            Cell::Text(text) => self.columns[at].1.write(text, out).ok_or_else(|| {
                let (table, column) = named();
                EncodeError::NotUtf8 { table, column }
            })?,
            Cell::Unchanged if part == RowPart::After => string(UNAVAILABLE, out),
            Cell::Unchanged => {
                let (table, column) = named();
                return Err(EncodeError::Unchanged { table, column, part });
            }
        }
        Ok(())
    }

    /// Everything after the row: `source`, `op`, `ts_ms`.
    fn tail(&self, out: &mut Vec<u8>, change: &Change, op: u8, about: &About<'_>) {
        let (at, snapshot) = match about.origin {
            Origin::Stream { committed_at, .. } => (committed_at, "false"),
            Origin::Copy { read_at, .. } => (read_at, "true"),
            Origin::Reread { read_at, .. } => (read_at, "incremental"),
        };
        out.extend_from_slice(&self.source);
        integer(millis(at), out);
        out.extend_from_slice(br#","snapshot":""#);
        out.extend_from_slice(snapshot.as_bytes());
        out.push(b'"');
        out.extend_from_slice(&self.database);
        let Lsn(commit) = change.position.commit.0;
        match about.origin {
            Origin::Copy { .. } | Origin::Reread { .. } => out.extend_from_slice(b"null"),
            Origin::Stream { .. } => {
                out.extend_from_slice(br#""[\""#);
                integer(commit, out);
                out.extend_from_slice(br#"\",\""#);
                integer(change.position.ordinal, out);
                out.extend_from_slice(br#"\"]""#);
            }
        }
        out.extend_from_slice(br#","ts_us":"#);
        integer(at, out);
        out.extend_from_slice(&self.relation);
        let lsn = match about.origin {
            Origin::Copy { lsn, .. } | Origin::Reread { lsn, .. } => {
                out.extend_from_slice(b"null");
                lsn.0
            }
            Origin::Stream { xid, .. } => {
                integer(xid, out);
                commit
            }
        };
        out.extend_from_slice(br#","lsn":"#);
        integer(lsn, out);
        out.extend_from_slice(br#","xmin":null},"op":""#);
        out.push(op);
        out.extend_from_slice(br#"","ts_ms":"#);
        integer(millis(about.now), out);
        out.push(b'}');
    }

    fn headers(&self, out: &mut Frame, change: &Change, about: &About<'_>) {
        out.header(HEADER_EPOCH, |text| integer(about.epoch, text));
        match about.origin {
            Origin::Stream { base, .. } => {
                out.header(HEADER_POSITION, |text| {
                    write!(text, "{}", change.position).expect("a vector takes all bytes");
                });
                if let Some(base) = base {
                    out.header(HEADER_BASE, |text| text.extend_from_slice(base.as_bytes()));
                }
            }
            Origin::Copy { attempt, base, .. } => {
                out.header(HEADER_CHUNK, |text| text.extend_from_slice(attempt.as_bytes()));
                if let Some(base) = base {
                    out.header(HEADER_BASE, |text| text.extend_from_slice(base.as_bytes()));
                }
            }
            Origin::Reread { requests, .. } => {
                out.header(HEADER_CHUNK, |text| text.extend_from_slice(b"reread"));
                out.header(HEADER_REREAD, |text| text.extend_from_slice(requests.as_bytes()));
            }
        }
        if let Some(row) = change.after.as_ref().filter(|row| row.has_unchanged()) {
            out.header(HEADER_UNCHANGED, |text| {
                let mut lead = b'[';
                for (_, column) in row.cells().zip(&self.table.columns).filter(|(cell, _)| *cell == Cell::Unchanged) {
                    text.push(std::mem::replace(&mut lead, b','));
                    string(&column.name, text);
                }
                text.push(b']');
            });
        }
    }

    fn cells_differ(&self, part: RowPart, wanted: usize, found: usize) -> EncodeError {
        EncodeError::Cells { table: self.table.name.clone(), part, wanted, found }
    }
}

/// `text` as a JSON string, with `head` before it and `tail` behind it as they are.
fn quoted(head: &str, text: &str, tail: &str) -> Box<[u8]> {
    let mut out = head.as_bytes().to_vec();
    string(text, &mut out);
    out.extend_from_slice(tail.as_bytes());
    out.into_boxed_slice()
}

/// Milliseconds since 1970, rounded down also before it.
fn millis(at: UnixMicros) -> i64 {
    at.div_euclid(1000)
}
