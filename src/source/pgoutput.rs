//! The messages of plugin `pgoutput`, protocol 1 (PostgreSQL's manual, 55.9). Nothing is copied but names; every bound is checked,
//! so that garbage is an error and never a panic.

use crate::change::{Before, Column, CommitLsn, EndLsn, Lsn, ReplicaIdentity, Row, RowError, Table, TableName, UnixMicros};
use bytes::{Buf, Bytes};

/// PostgreSQL counts microseconds from 2000-01-01, we from 1970-01-01.
const EPOCH_2000_MICROS: i64 = 946_684_800_000_000;

/// The prefix of our own logical messages.
pub const MARK_PREFIX: &str = "tablelift";

/// One message. Origin and Type messages say nothing that we need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Begin {
        commit: CommitLsn,
        committed_at: UnixMicros,
        xid: u32,
    },
    Commit {
        commit: CommitLsn,
        end: EndLsn,
        committed_at: UnixMicros,
    },
    Relation(Table),
    Insert {
        relation: u32,
        new: Row,
    },
    Update {
        relation: u32,
        before: Before,
        new: Row,
    },
    Delete {
        relation: u32,
        before: Before,
    },
    Truncate {
        relations: Vec<u32>,
    },
    /// A transactional logical message with our prefix.
    Mark,
    Ignored,
}

/// The bytes are not a message of protocol 1. `tag` is the message's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("a message without content")]
    Empty,
    #[error("unknown message {tag:#04x}")]
    Tag { tag: u8 },
    #[error("message {tag:#04x} ends too early")]
    Short { tag: u8 },
    #[error("message {tag:#04x} has {bytes} bytes too many")]
    Long { tag: u8, bytes: usize },
    #[error("message {tag:#04x} has part {part:#04x}, which does not belong there")]
    Part { tag: u8, part: u8 },
    #[error("a name in message {tag:#04x} is not UTF-8")]
    Name { tag: u8 },
    #[error("a row in message {tag:#04x} is wrong")]
    Row { tag: u8, source: RowError },
}

/// Decodes one message, as it stands in an XLogData frame.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(message: Bytes) -> Result<Message, DecodeError> {
    let mut input = Input { rest: message, tag: 0 };
    if input.rest.is_empty() {
        return Err(DecodeError::Empty);
    }
    input.tag = input.rest.get_u8();
    let decoded = match input.tag {
        b'I' => insert(&mut input)?,
        b'U' => update(&mut input)?,
        b'D' => delete(&mut input)?,
        b'B' => {
            let (commit, committed_at) = (CommitLsn(input.lsn()?), input.time()?);
            Message::Begin { commit, committed_at, xid: input.u32()? }
        }
        b'C' => {
            input.u8()?; // flags, unused
            let (commit, end) = (CommitLsn(input.lsn()?), EndLsn(input.lsn()?));
            Message::Commit { commit, end, committed_at: input.time()? }
        }
        b'R' => relation(&mut input)?,
        b'T' => truncate(&mut input)?,
        b'M' => logical(&mut input)?,
        b'O' | b'Y' => return Ok(Message::Ignored),
        tag => return Err(DecodeError::Tag { tag }),
    };
    match input.rest.len() {
        0 => Ok(decoded),
        bytes => Err(DecodeError::Long { tag: input.tag, bytes }),
    }
}

fn insert(input: &mut Input) -> Result<Message, DecodeError> {
    let relation = input.u32()?;
    input.part(b'N')?;
    Ok(Message::Insert { relation, new: input.row()? })
}

fn update(input: &mut Input) -> Result<Message, DecodeError> {
    let relation = input.u32()?;
    let (before, part) = match input.u8()? {
        b'K' => (Before::Key(input.row()?), input.u8()?),
        b'O' => (Before::Full(input.row()?), input.u8()?),
        part => (Before::Absent, part),
    };
    if part != b'N' {
        return Err(DecodeError::Part { tag: input.tag, part });
    }
    Ok(Message::Update { relation, before, new: input.row()? })
}

fn delete(input: &mut Input) -> Result<Message, DecodeError> {
    let relation = input.u32()?;
    let before = match input.u8()? {
        b'K' => Before::Key(input.row()?),
        b'O' => Before::Full(input.row()?),
        part => return Err(DecodeError::Part { tag: input.tag, part }),
    };
    Ok(Message::Delete { relation, before })
}

fn relation(input: &mut Input) -> Result<Message, DecodeError> {
    let relation_id = input.u32()?;
    let schema = match input.name()? {
        empty if empty.is_empty() => "pg_catalog".to_owned(),
        schema => schema,
    };
    let name = TableName { schema, name: input.name()? };
    let identity = match input.u8()? {
        b'd' => ReplicaIdentity::Default,
        b'n' => ReplicaIdentity::Nothing,
        b'f' => ReplicaIdentity::Full,
        b'i' => ReplicaIdentity::Index,
        part => return Err(DecodeError::Part { tag: input.tag, part }),
    };
    let count = input.u16()?;
    let mut columns = Vec::with_capacity(usize::from(count).min(1600));
    for _ in 0..count {
        let identity = input.u8()? & 1 == 1;
        let name = input.name()?;
        columns.push(Column { name, type_oid: input.u32()?, type_modifier: input.u32()?.cast_signed(), identity });
    }
    Ok(Message::Relation(Table { relation_id, name, identity, columns }))
}

fn truncate(input: &mut Input) -> Result<Message, DecodeError> {
    let count = input.u32()? as usize;
    input.u8()?; // CASCADE, RESTART IDENTITY: the source has done that already
    if input.rest.len() / 4 < count {
        return Err(DecodeError::Short { tag: input.tag });
    }
    let relations = (0..count).map(|_| input.u32()).collect::<Result<_, _>>()?;
    Ok(Message::Truncate { relations })
}

fn logical(input: &mut Input) -> Result<Message, DecodeError> {
    let transactional = input.u8()? & 1 == 1;
    input.lsn()?;
    let ours = input.text()? == MARK_PREFIX;
    let content = input.u32()? as usize;
    if input.rest.len() < content {
        return Err(DecodeError::Short { tag: input.tag });
    }
    input.rest.advance(content);
    Ok(if transactional && ours { Message::Mark } else { Message::Ignored })
}

/// What is left of a message.
struct Input {
    rest: Bytes,
    tag: u8,
}

impl Input {
    fn short(&self) -> DecodeError {
        DecodeError::Short { tag: self.tag }
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.rest.try_get_u8().map_err(|_| self.short())
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.rest.try_get_u16().map_err(|_| self.short())
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.rest.try_get_u32().map_err(|_| self.short())
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.rest.try_get_u64().map_err(|_| self.short())
    }

    fn lsn(&mut self) -> Result<Lsn, DecodeError> {
        Ok(Lsn(self.u64()?))
    }

    fn time(&mut self) -> Result<UnixMicros, DecodeError> {
        Ok(self.u64()?.cast_signed().saturating_add(EPOCH_2000_MICROS))
    }

    fn part(&mut self, wanted: u8) -> Result<(), DecodeError> {
        match self.u8()? {
            part if part == wanted => Ok(()),
            part => Err(DecodeError::Part { tag: self.tag, part }),
        }
    }

    fn row(&mut self) -> Result<Row, DecodeError> {
        Row::take(&mut self.rest).map_err(|source| DecodeError::Row { tag: self.tag, source })
    }

    /// The bytes up to the next zero, which is taken off too.
    fn text(&mut self) -> Result<Bytes, DecodeError> {
        let length = memchr::memchr(0, &self.rest).ok_or_else(|| self.short())?;
        let text = self.rest.split_to(length);
        self.rest.advance(1);
        Ok(text)
    }

    fn name(&mut self) -> Result<String, DecodeError> {
        String::from_utf8(self.text()?.to_vec()).map_err(|_| DecodeError::Name { tag: self.tag })
    }
}

#[cfg(test)]
mod tests;
