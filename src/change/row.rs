//! One row's cells, in one piece of memory: the form of pgoutput's TupleData (PostgreSQL's manual, 55.9), so that decoding a
//! change copies nothing. Int16 count, then per cell a kind (`n` null, `u` unchanged, `t` text) and, for text, Int32 length and bytes.

use bytes::{BufMut, Bytes, BytesMut};

/// One value of a row. Text is PostgreSQL's own output form; bytes, for a SQL_ASCII source may send what is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cell<'a> {
    Null,
    Text(&'a [u8]),
    /// A TOAST value that the source did not send because the update left it alone. Not NULL, and nothing can stand for it.
    Unchanged,
}

/// A row's cells. Cloning shares the memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(Bytes);

/// The bytes are not a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    #[error("a row ends before its last cell")]
    Short,
    #[error("a cell of kind {0:#04x} is not text, null or unchanged")]
    Kind(u8),
}

impl Row {
    /// Takes one row off the front of `input`, checking all of it. Shares `input`'s memory.
    pub fn take(input: &mut Bytes) -> Result<Self, RowError> {
        let length = measure(input)?;
        Ok(Self(input.split_to(length)))
    }

    /// How many cells.
    pub fn len(&self) -> usize {
        usize::from(u16::from_be_bytes([self.0[0], self.0[1]]))
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size in memory, in bytes.
    pub fn weight(&self) -> usize {
        self.0.len()
    }

    /// The cells in the order of the table's columns.
    pub fn cells(&self) -> Cells<'_> {
        Cells { rest: &self.0[2..] }
    }

    /// One cell; walks over those before it.
    pub fn cell(&self, at: usize) -> Option<Cell<'_>> {
        self.cells().nth(at)
    }

    pub fn has_unchanged(&self) -> bool {
        self.cells().any(|cell| cell == Cell::Unchanged)
    }

    /// A row with its own memory: for one that outlives its batch, since a shared slice pins the whole read buffer.
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// This row with each `Unchanged` cell taken from `base`, where `base` has it.
    pub fn filled_from(&self, base: &Row) -> Self {
        let mut out = RowBuilder::new(self.len());
        for (cell, old) in self.cells().zip(base.cells()) {
            out.push(if cell == Cell::Unchanged { old } else { cell });
        }
        out.finish()
    }
}

fn measure(input: &[u8]) -> Result<usize, RowError> {
    let count = input.first_chunk::<2>().ok_or(RowError::Short)?;
    let mut at = 2;
    for _ in 0..u16::from_be_bytes(*count) {
        match *input.get(at).ok_or(RowError::Short)? {
            b'n' | b'u' => at += 1,
            b't' => {
                let length = input.get(at + 1..).and_then(|rest| rest.first_chunk::<4>()).ok_or(RowError::Short)?;
                at += 5 + u32::from_be_bytes(*length) as usize;
            }
            kind => return Err(RowError::Kind(kind)),
        }
    }
    if at > input.len() { Err(RowError::Short) } else { Ok(at) }
}

/// Iterator over a row's cells.
pub struct Cells<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Cells<'a> {
    type Item = Cell<'a>;

    fn next(&mut self) -> Option<Cell<'a>> {
        let (&kind, rest) = self.rest.split_first()?;
        match kind {
            b't' => {
                let (length, rest) = rest.split_first_chunk::<4>().expect("a row was measured when it was made");
                let (text, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
                self.rest = rest;
                Some(Cell::Text(text))
            }
            kind => {
                self.rest = rest;
                Some(if kind == b'u' { Cell::Unchanged } else { Cell::Null })
            }
        }
    }
}

/// Makes a row cell by cell.
pub struct RowBuilder {
    bytes: BytesMut,
}

impl RowBuilder {
    /// For a row of `columns` cells (65,535 at most; PostgreSQL's limit is 1,600).
    pub fn new(columns: usize) -> Self {
        let mut bytes = BytesMut::with_capacity(2 + columns * 16);
        bytes.put_u16(u16::try_from(columns).expect("a table has at most 1,600 columns"));
        Self { bytes }
    }

    pub fn push(&mut self, cell: Cell<'_>) {
        match cell {
            Cell::Null => self.bytes.put_u8(b'n'),
            Cell::Unchanged => self.bytes.put_u8(b'u'),
            Cell::Text(text) => {
                self.bytes.put_u8(b't');
                self.bytes.put_u32(u32::try_from(text.len()).expect("a value is at most 1 GB"));
                self.bytes.put_slice(text);
            }
        }
    }

    /// The row. The number of cells pushed must be the number announced.
    pub fn finish(self) -> Row {
        let row = Row(self.bytes.freeze());
        debug_assert_eq!(measure(&row.0), Ok(row.0.len()));
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[Cell<'_>]) -> Row {
        let mut out = RowBuilder::new(cells.len());
        cells.iter().for_each(|cell| out.push(*cell));
        out.finish()
    }

    #[test]
    fn cells_come_back() {
        let cells = [Cell::Null, Cell::Text(b"a\xff"), Cell::Unchanged, Cell::Text(b"")];
        assert_eq!(row(&cells).cells().collect::<Vec<_>>(), cells);
        assert!(row(&[]).is_empty());
    }

    #[test]
    fn take_leaves_the_rest_and_refuses_what_is_cut() {
        let one = row(&[Cell::Text(b"abc"), Cell::Null]);
        let mut input = Bytes::from([&one.0[..], b"rest"].concat());
        assert_eq!(Row::take(&mut input), Ok(one.clone()));
        assert_eq!(&input[..], b"rest");
        for cut in 0..one.0.len() {
            assert_eq!(Row::take(&mut one.0.slice(..cut)), Err(RowError::Short), "{cut}");
        }
        assert_eq!(Row::take(&mut Bytes::from_static(b"\0\x01b")), Err(RowError::Kind(b'b')));
    }

    #[test]
    fn unchanged_is_filled_from_the_base_only() {
        let new = row(&[Cell::Text(b"1"), Cell::Unchanged, Cell::Null]);
        let old = row(&[Cell::Text(b"0"), Cell::Text(b"long"), Cell::Text(b"x")]);
        assert_eq!(new.filled_from(&old), row(&[Cell::Text(b"1"), Cell::Text(b"long"), Cell::Null]));
    }
}
