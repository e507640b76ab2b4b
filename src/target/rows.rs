//! Rows as array parameters, and as lines of COPY's text form. Written straight into the outgoing buffer.

use crate::change::Cell;
use bytes::{BufMut, BytesMut};
use std::{error::Error, fmt, num::TryFromIntError};
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

/// A table of cells: `width` inputs a row.
pub struct Rows<'a> {
    width: usize,
    count: usize,
    cells: Vec<Cell<'a>>,
}

impl<'a> Rows<'a> {
    pub fn new(width: usize) -> Self {
        Self { width, count: 0, cells: Vec::new() }
    }

    /// Adds a row of exactly `width` cells.
    pub fn push(&mut self, row: impl IntoIterator<Item = Cell<'a>>) {
        self.cells.extend(row);
        self.count += 1;
        debug_assert_eq!(self.cells.len(), self.width * self.count);
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn width(&self) -> usize {
        self.width
    }

    /// One input of all rows, as the text of an array.
    pub(super) fn column(&self, at: usize, bare: bool) -> Column<'_> {
        Column { cells: &self.cells, at, width: self.width, bare }
    }

    /// One row as a line of COPY's text form, the cells in the order of `columns`.
    pub(super) fn copy_line(&self, row: usize, columns: &[usize], out: &mut BytesMut) {
        let cells = &self.cells[row * self.width..(row + 1) * self.width];
        for (nth, &column) in columns.iter().enumerate() {
            if nth > 0 {
                out.put_u8(b'\t');
            }
            match cells[column] {
                Cell::Text(text) => copy_text(text, out),
                Cell::Null | Cell::Unchanged => out.put_slice(b"\\N"),
            }
        }
        out.put_u8(b'\n');
    }
}

/// COPY's text form (PostgreSQL's manual, COPY, "Text Format"): backslash, tab, newline and return are escaped.
fn copy_text(text: &[u8], out: &mut BytesMut) {
    let mut rest = text;
    while let Some(at) = memchr::memchr3(b'\\', b'\n', b'\t', rest).into_iter().chain(memchr::memchr(b'\r', rest)).min() {
        out.put_slice(&rest[..at]);
        out.put_slice(match rest[at] {
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\t' => b"\\t",
            _ => b"\\r",
        });
        rest = &rest[at + 1..];
    }
    out.put_slice(rest);
}

/// An array parameter (PostgreSQL's manual, 8.15.6).
pub(super) struct Column<'r> {
    cells: &'r [Cell<'r>],
    at: usize,
    width: usize,
    /// The values need no quotes: integers.
    bare: bool,
}

impl fmt::Debug for Column<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {} of {} cells", self.at, self.cells.len())
    }
}

impl Column<'_> {
    fn cells(&self) -> impl Iterator<Item = &Cell<'_>> {
        self.cells.iter().skip(self.at).step_by(self.width)
    }

    /// `{1,"a",NULL}`.
    fn text(&self, out: &mut BytesMut) {
        out.put_u8(b'{');
        for (nth, cell) in self.cells().enumerate() {
            if nth > 0 {
                out.put_u8(b',');
            }
            match cell {
                Cell::Text(text) if self.bare => out.put_slice(text),
                Cell::Text(text) => quoted(text, out),
                Cell::Null | Cell::Unchanged => out.put_slice(b"NULL"),
            }
        }
        out.put_u8(b'}');
    }

    /// As `array_recv` reads it (PostgreSQL's `arrayfuncs.c`): what is text in both forms need not be quoted, and looked through again there.
    fn binary(&self, element: &Type, out: &mut BytesMut) -> Result<(), TryFromIntError> {
        let (one_dimension, has_nulls, from_one) = (1, 1, 1);
        out.put_i32(one_dimension);
        out.put_i32(has_nulls);
        out.put_u32(element.oid());
        out.put_i32(i32::try_from(self.cells().count())?);
        out.put_i32(from_one);
        for cell in self.cells() {
            match cell {
                Cell::Text(text) => {
                    out.put_i32(i32::try_from(text.len())?);
                    out.put_slice(text);
                }
                Cell::Null | Cell::Unchanged => out.put_i32(-1),
            }
        }
        Ok(())
    }
}

/// The element of an array whose binary form is its text.
fn element(array: &Type) -> Option<Type> {
    match *array {
        Type::TEXT_ARRAY => Some(Type::TEXT),
        Type::VARCHAR_ARRAY => Some(Type::VARCHAR),
        _ => None,
    }
}

impl ToSql for Column<'_> {
    fn to_sql(&self, array: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match element(array) {
            Some(element) => self.binary(&element, out)?,
            None => self.text(out),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, array: &Type) -> Format {
        if element(array).is_some() { Format::Binary } else { Format::Text }
    }

    tokio_postgres::types::to_sql_checked!();
}

fn quoted(text: &[u8], out: &mut BytesMut) {
    out.put_u8(b'"');
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        out.put_slice(&rest[..at]);
        out.put_u8(b'\\');
        out.put_u8(rest[at]);
        rest = &rest[at + 1..];
    }
    out.put_slice(rest);
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_and_lines_keep_every_byte() {
        let mut rows = Rows::new(2);
        rows.push([Cell::Text(b"1"), Cell::Text(b"a\"\\,{}\t\n\r\\N")]);
        rows.push([Cell::Text(b"-2"), Cell::Null]);
        rows.push([Cell::Text(b"3"), Cell::Text(b"")]);
        let mut out = BytesMut::new();
        rows.column(0, true).to_sql(&Type::INT8_ARRAY, &mut out).unwrap();
        assert_eq!(&out[..], b"{1,-2,3}");
        out.clear();
        rows.column(1, false).to_sql(&Type::JSON_ARRAY, &mut out).unwrap();
        assert_eq!(&out[..], b"{\"a\\\"\\\\,{}\t\n\r\\\\N\",NULL,\"\"}");
        out.clear();
        rows.column(1, false).to_sql(&Type::TEXT_ARRAY, &mut out).unwrap();
        let head = [1, 1, 25, 3, 1].map(i32::to_be_bytes).concat();
        assert_eq!(&out[..], [&head[..], &[0, 0, 0, 11], b"a\"\\,{}\t\n\r\\N", &[255; 4], &[0; 4]].concat());
        out.clear();
        (0..3).for_each(|row| rows.copy_line(row, &[1, 0], &mut out));
        assert_eq!(&out[..], b"a\"\\\\,{}\\t\\n\\r\\\\N\t1\n\\N\t-2\n\t3\n");
    }
}
