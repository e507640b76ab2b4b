//! The envelope, read as a stream straight into rows: no JSON tree, no string of its own for a name or a value.

use super::cell::Form;
use super::slots::Slots;
use crate::change::{Row, Table, UnixMicros};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// What is wrong with a value. Columns by their index.
#[derive(Debug)]
pub(super) enum Fault {
    Json { line: usize, column: usize },
    UnknownColumn(String),
    NoColumn(usize),
    Twice(usize),
    Form(usize),
}

/// A row, and whether all columns of the table were there.
pub(super) struct DecodedRow {
    pub row: Row,
    pub complete: bool,
}

/// What we take from an envelope.
#[derive(Default)]
pub(super) struct Envelope {
    pub before: Option<DecodedRow>,
    pub after: Option<DecodedRow>,
    pub op: Option<u8>,
    pub at: Option<UnixMicros>,
}

/// Reads one envelope. serde's errors carry text alone, and the text may quote a value: ours go by `fault`, beside them.
pub(super) struct Reader<'t> {
    pub table: &'t Table,
    pub unchanged: &'t [usize],
    pub slots: &'t mut Slots,
    pub fault: Option<Fault>,
}

impl Reader<'_> {
    pub fn envelope(&mut self, value: &[u8]) -> Result<Envelope, Fault> {
        let mut json = serde_json::Deserializer::from_slice(value);
        let read = EnvelopeSeed(self).deserialize(&mut json).and_then(|envelope| json.end().map(|()| envelope));
        read.map_err(|error| self.fault.take().unwrap_or(Fault::Json { line: error.line(), column: error.column() }))
    }

    fn fail<E: serde::de::Error>(&mut self, fault: Fault) -> E {
        self.fault = Some(fault);
        E::custom("")
    }
}

struct EnvelopeSeed<'r, 't>(&'r mut Reader<'t>);

impl<'de> DeserializeSeed<'de> for EnvelopeSeed<'_, '_> {
    type Value = Envelope;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Envelope, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EnvelopeSeed<'_, '_> {
    type Value = Envelope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an envelope")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope, A::Error> {
        let mut out = Envelope::default();
        while let Some(field) = map.next_key_seed(FieldSeed)? {
            match field {
                Field::Before => out.before = map.next_value_seed(RowSeed { reader: &mut *self.0, after: false })?,
                Field::After => out.after = map.next_value_seed(RowSeed { reader: &mut *self.0, after: true })?,
                Field::Source => out.at = map.next_value::<Source>()?.at(),
                Field::Op => out.op = map.next_value_seed(OpSeed)?,
                Field::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(out)
    }
}

enum Field {
    Before,
    After,
    Source,
    Op,
    Other,
}

struct FieldSeed;

impl<'de> DeserializeSeed<'de> for FieldSeed {
    type Value = Field;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Field, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldSeed {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Field, E> {
        Ok(match name {
            "before" => Field::Before,
            "after" => Field::After,
            "source" => Field::Source,
            "op" => Field::Op,
            _ => Field::Other,
        })
    }
}

struct OpSeed;

impl<'de> DeserializeSeed<'de> for OpSeed {
    type Value = Option<u8>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Option<u8>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for OpSeed {
    type Value = Option<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an operation")
    }

    fn visit_str<E>(self, op: &str) -> Result<Option<u8>, E> {
        Ok(op.as_bytes().first().copied().filter(|_| op.len() == 1))
    }
}

#[derive(serde::Deserialize)]
struct Source {
    ts_us: Option<i64>,
    ts_ms: Option<i64>,
}

impl Source {
    fn at(&self) -> Option<UnixMicros> {
        self.ts_us.or_else(|| self.ts_ms.and_then(|ms| ms.checked_mul(1000)))
    }
}

/// `before` or `after`.
struct RowSeed<'r, 't> {
    reader: &'r mut Reader<'t>,
    after: bool,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_, '_> {
    type Value = Option<DecodedRow>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Option<DecodedRow>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_, '_> {
    type Value = Option<DecodedRow>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self { reader, after } = self;
        reader.slots.start(reader.table.columns.len());
        let mut next = 0;
        while let Some(at) = map.next_key_seed(ColumnSeed { reader: &mut *reader, next })? {
            if reader.slots.is_taken(at) {
                return Err(reader.fail(Fault::Twice(at)));
            }
            if after && reader.unchanged.contains(&at) {
                map.next_value::<IgnoredAny>()?;
                reader.slots.unchanged(at);
            } else {
                map.next_value_seed(CellSeed { reader: &mut *reader, at })?;
            }
            next = at + 1;
        }
        match reader.slots.first_absent() {
            Some(at) if after => Err(reader.fail(Fault::NoColumn(at))),
            absent => Ok(Some(DecodedRow { row: reader.slots.row(), complete: absent.is_none() })),
        }
    }
}

/// A column's name, to its index. `next` is the likely one.
struct ColumnSeed<'r, 't> {
    reader: &'r mut Reader<'t>,
    next: usize,
}

impl<'de> DeserializeSeed<'de> for ColumnSeed<'_, '_> {
    type Value = usize;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<usize, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for ColumnSeed<'_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column's name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<usize, E> {
        let columns = &self.reader.table.columns;
        if columns.get(self.next).is_some_and(|column| column.name == name) {
            return Ok(self.next);
        }
        let found = columns.iter().position(|column| column.name == name);
        found.ok_or_else(|| self.reader.fail(Fault::UnknownColumn(name.to_owned())))
    }
}

/// One value, into its slot. Which JSON forms a column may have follows from its type.
struct CellSeed<'r, 't> {
    reader: &'r mut Reader<'t>,
    at: usize,
}

impl CellSeed<'_, '_> {
    fn integer<E: serde::de::Error>(self, number: impl itoa::Integer) -> Result<(), E> {
        if Form::of(&self.reader.table.columns[self.at]) != Form::Integer {
            return Err(self.reader.fail(Fault::Form(self.at)));
        }
        self.reader.slots.text(self.at, itoa::Buffer::new().format(number).as_bytes());
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for CellSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl Visitor<'_> for CellSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column's value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.reader.slots.null(self.at);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.reader.slots.text(self.at, text.as_bytes());
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        if Form::of(&self.reader.table.columns[self.at]) != Form::Boolean {
            return Err(self.reader.fail(Fault::Form(self.at)));
        }
        self.reader.slots.text(self.at, if value { b"t" } else { b"f" });
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.integer(number)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.integer(number)
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        Err(self.reader.fail(Fault::Form(self.at)))
    }
}
