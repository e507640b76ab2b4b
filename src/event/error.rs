//! What cannot be written as an event, and what cannot be read as one. Names only, never values.

use crate::change::TableName;
use crate::fate::Fate;
use std::fmt;

/// The part of an event that holds a row's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowPart {
    Key,
    Before,
    After,
}

impl fmt::Display for RowPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RowPart::Key => "key",
            RowPart::Before => "before",
            RowPart::After => "after",
        })
    }
}

/// A change that has no form as an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error(
        "column `{column}` of table `{table}` holds text that is not UTF-8, which an event cannot carry\n  hint: correct the value at the source, or use `log.kind = \"local\"` and `ignore` its column"
    )]
    NotUtf8 { table: TableName, column: String },
    #[error(
        "column `{column}` of table `{table}` is an unchanged TOAST value in the change's `{part}`, where every value is needed"
    )]
    Unchanged { table: TableName, column: String, part: RowPart },
    #[error("a row of table `{table}` has {found} cells in its `{part}`, where {wanted} columns are known")]
    Cells { table: TableName, part: RowPart, wanted: usize, found: usize },
    #[error("key column `{column}` is not a column of table `{table}`")]
    KeyColumn { table: TableName, column: String },
}

impl EncodeError {
    /// The shape or the content of one table is not what we hold it to be: that table stops.
    pub fn fate(&self) -> Fate {
        match self {
            Self::NotUtf8 { .. } | Self::Unchanged { .. } | Self::Cells { .. } | Self::KeyColumn { .. } => Fate::Halt,
        }
    }
}

/// An event of ours that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("an event of table `{table}` has no header `{name}`")]
    NoHeader { table: TableName, name: &'static str },
    #[error("header `{name}` of an event of table `{table}` cannot be read")]
    Header { table: TableName, name: &'static str },
    #[error("an event of table `{table}` is not the JSON that it should be, at byte {column} of line {line}")]
    Json { table: TableName, line: usize, column: usize },
    #[error("an event of table `{table}` has no field `{field}`")]
    NoField { table: TableName, field: &'static str },
    #[error("an event of table `{table}` has an operation that is not ours")]
    Op { table: TableName },
    /// The event was written under another shape of the table than the one known here.
    #[error("an event of table `{table}` has column `{column}`, which the table's known shape has not")]
    UnknownColumn { table: TableName, column: String },
    /// The same.
    #[error("an event of table `{table}` lacks column `{column}` in its `after`")]
    NoColumn { table: TableName, column: String },
    #[error("an event of table `{table}` has column `{column}` twice")]
    Twice { table: TableName, column: String },
    #[error("column `{column}` of an event of table `{table}` has another form than its type's")]
    Form { table: TableName, column: String },
}

impl DecodeError {
    /// A topic is written by us alone: what cannot be read stops its table, and is never skipped.
    pub fn fate(&self) -> Fate {
        match self {
            Self::NoHeader { .. }
            | Self::Header { .. }
            | Self::Json { .. }
            | Self::NoField { .. }
            | Self::Op { .. }
            | Self::UnknownColumn { .. }
            | Self::NoColumn { .. }
            | Self::Twice { .. }
            | Self::Form { .. } => Fate::Halt,
        }
    }
}
