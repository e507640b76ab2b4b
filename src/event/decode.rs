//! Bytes to changes.

use super::row::{DecodedRow, Fault, Reader};
use super::slots::Slots;
use super::{
    DecodeError, HEADER_BASE, HEADER_CHUNK, HEADER_EPOCH, HEADER_POSITION, HEADER_REREAD, HEADER_RESET, HEADER_UNCHANGED,
};
use crate::change::{Before, Change, Op, Position, Table, UnixMicros};
use std::sync::Arc;

/// What one message of a table's topic says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Of the capture that wrote it. 0 on a foreign message.
    pub epoch: u64,
    /// On everything that came from the stream. Rows of a copy have none.
    pub position: Option<Position>,
    /// The copy's attempt: of a row that it read, and of a reset.
    pub attempt: Option<&'a str>,
    /// What [`HEADER_BASE`] says.
    pub base: Option<&'a str>,
    /// The requests that a row which was read again answers.
    pub requests: Vec<i64>,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `at` is when the source committed it (for `Op::Read`: when the copy read it). The position of a read is the default one.
    Change { change: Change, at: UnixMicros },
    /// What earlier attempts of the table's copy brought is void.
    Reset,
    /// Follows a delete, for others. Skipped.
    Tombstone,
    /// Not written by us: it lacks our headers. Skipped, and counted.
    Foreign,
}

/// Reads the events of one table. Keeps memory from row to row, so each worker has its own.
pub struct Decoder {
    table: Arc<Table>,
    slots: Slots,
}

impl Decoder {
    pub fn new(table: Arc<Table>) -> Self {
        Self { table, slots: Slots::default() }
    }

    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Reads one message.
    pub fn event<'a>(
        &mut self,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<Event<'a>, DecodeError> {
        let headers = Headers::of(headers);
        let Some(epoch) = headers.epoch else {
            let (base, requests) = (None, Vec::new());
            return Ok(Event { epoch: 0, position: None, attempt: None, base, requests, kind: Kind::Foreign });
        };
        let epoch = self.number(HEADER_EPOCH, epoch)?;
        let position = headers.position.map(|text| self.number(HEADER_POSITION, text)).transpose()?;
        let attempt = match (headers.reset, headers.chunk) {
            (Some(reset), _) => Some(self.text(HEADER_RESET, reset)?),
            (None, chunk) => chunk.map(|text| self.text(HEADER_CHUNK, text)).transpose()?,
        };
        let kind = match value {
            _ if headers.reset.is_some() => Kind::Reset,
            None => Kind::Tombstone,
            Some(value) => self.change(value, position, attempt.is_some(), headers.unchanged)?,
        };
        let base = headers.base.map(|text| self.text(HEADER_BASE, text)).transpose()?;
        let requests = match headers.reread {
            None => Vec::new(),
            Some(text) => text.split(|&byte| byte == b',').map(|id| self.number(HEADER_REREAD, id)).collect::<Result<_, _>>()?,
        };
        Ok(Event { epoch, position, attempt, base, requests, kind })
    }

    fn change(
        &mut self,
        value: &[u8],
        position: Option<Position>,
        copied: bool,
        unchanged: Option<&[u8]>,
    ) -> Result<Kind, DecodeError> {
        let unchanged = match unchanged {
            None => Vec::new(),
            Some(names) => self.columns(names)?,
        };
        let mut reader = Reader { table: &self.table, unchanged: &unchanged, slots: &mut self.slots, fault: None };
        let envelope = reader.envelope(value).map_err(|fault| self.fault(fault))?;
        let missing = |field| DecodeError::NoField { table: self.table.name.clone(), field };
        let op = match envelope.op.ok_or_else(|| missing("op"))? {
            b'r' => Op::Read,
            b'c' => Op::Insert,
            b'u' => Op::Update,
            b'd' => Op::Delete,
            b't' => Op::Truncate,
            _ => return Err(DecodeError::Op { table: self.table.name.clone() }),
        };
        if matches!(op, Op::Read | Op::Insert | Op::Update) && envelope.after.is_none() {
            return Err(missing("after"));
        }
        let position = match (op, position) {
            (Op::Read, _) if !copied => return Err(self.no_header(HEADER_CHUNK)),
            // a row that was read again and is not there
            (Op::Read, _) | (Op::Delete, None) if copied => Position::default(),
            (_, Some(position)) => position,
            (_, None) => return Err(self.no_header(HEADER_POSITION)),
        };
        let before = match envelope.before {
            None => Before::Absent,
            Some(DecodedRow { row, complete: true }) => Before::Full(row),
            Some(DecodedRow { row, complete: false }) => Before::Key(row),
        };
        let at = envelope.at.ok_or_else(|| missing("source.ts_us"))?;
        let after = envelope.after.map(|decoded| decoded.row);
        Ok(Kind::Change { change: Change { position, table: Arc::clone(&self.table), op, before, after }, at })
    }

    /// The columns that a JSON array names.
    fn columns(&self, names: &[u8]) -> Result<Vec<usize>, DecodeError> {
        let names: Vec<String> = serde_json::from_slice(names).map_err(|_| self.bad_header(HEADER_UNCHANGED))?;
        let index = |name: String| match self.table.columns.iter().position(|column| column.name == name) {
            Some(at) => Ok(at),
            None => Err(DecodeError::UnknownColumn { table: self.table.name.clone(), column: name }),
        };
        names.into_iter().map(index).collect()
    }

    fn fault(&self, fault: Fault) -> DecodeError {
        let table = self.table.name.clone();
        let column = |at: usize| self.table.columns[at].name.clone();
        match fault {
            Fault::Json { line, column } => DecodeError::Json { table, line, column },
            Fault::UnknownColumn(column) => DecodeError::UnknownColumn { table, column },
            Fault::NoColumn(at) => DecodeError::NoColumn { table, column: column(at) },
            Fault::Twice(at) => DecodeError::Twice { table, column: column(at) },
            Fault::Form(at) => DecodeError::Form { table, column: column(at) },
        }
    }

    fn text<'a>(&self, name: &'static str, text: &'a [u8]) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(text).map_err(|_| self.bad_header(name))
    }

    fn number<T: std::str::FromStr>(&self, name: &'static str, text: &[u8]) -> Result<T, DecodeError> {
        self.text(name, text)?.parse().map_err(|_| self.bad_header(name))
    }

    fn bad_header(&self, name: &'static str) -> DecodeError {
        DecodeError::Header { table: self.table.name.clone(), name }
    }

    fn no_header(&self, name: &'static str) -> DecodeError {
        DecodeError::NoHeader { table: self.table.name.clone(), name }
    }
}

/// Ours among a message's headers.
#[derive(Default)]
struct Headers<'a> {
    epoch: Option<&'a [u8]>,
    position: Option<&'a [u8]>,
    chunk: Option<&'a [u8]>,
    reset: Option<&'a [u8]>,
    unchanged: Option<&'a [u8]>,
    base: Option<&'a [u8]>,
    reread: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    fn of(headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Self {
        let mut ours = Self::default();
        for (name, value) in headers {
            let Some(name) = std::str::from_utf8(name).ok().filter(|name| name.starts_with("tablelift-")) else { continue };
            match name {
                HEADER_EPOCH => ours.epoch = value,
                HEADER_POSITION => ours.position = value,
                HEADER_CHUNK => ours.chunk = value,
                HEADER_RESET => ours.reset = value,
                HEADER_UNCHANGED => ours.unchanged = value,
                HEADER_BASE => ours.base = value,
                HEADER_REREAD => ours.reread = value,
                _ => {}
            }
        }
        ours
    }
}
