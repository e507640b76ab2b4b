//! A row while it is read: cells in whatever order they come, in memory that is used again for the next.

use crate::change::{Cell, Row, RowBuilder};
use std::ops::Range;

/// Above this many bytes the memory is given back after the row.
const KEPT: usize = 1 << 20;

#[derive(Clone)]
enum Slot {
    Absent,
    Null,
    Unchanged,
    Text(Range<usize>),
}

#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    text: Vec<u8>,
}

impl Slots {
    pub fn start(&mut self, columns: usize) {
        self.slots.clear();
        self.slots.resize(columns, Slot::Absent);
        self.text.clear();
        self.text.shrink_to(KEPT);
    }

    pub fn null(&mut self, at: usize) {
        self.slots[at] = Slot::Null;
    }

    pub fn unchanged(&mut self, at: usize) {
        self.slots[at] = Slot::Unchanged;
    }

    pub fn text(&mut self, at: usize, text: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        self.slots[at] = Slot::Text(start..self.text.len());
    }

    pub fn is_taken(&self, at: usize) -> bool {
        !matches!(self.slots[at], Slot::Absent)
    }

    pub fn first_absent(&self) -> Option<usize> {
        self.slots.iter().position(|slot| matches!(slot, Slot::Absent))
    }

    /// The row; what is absent is null in it.
    pub fn row(&self) -> Row {
        let mut row = RowBuilder::new(self.slots.len());
        for slot in &self.slots {
            row.push(match slot {
                Slot::Absent | Slot::Null => Cell::Null,
                Slot::Unchanged => Cell::Unchanged,
                Slot::Text(at) => Cell::Text(&self.text[at.clone()]),
            });
        }
        row.finish()
    }
}
