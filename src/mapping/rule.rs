//! A table's rule as the connector file states it, with names resolved and patterns expanded.

use crate::change::TableName;
use serde::{Deserialize, Serialize};

/// Source columns that nothing uses, and that is meant so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ignore {
    Columns(Vec<String>),
    /// `ignore = ["*"]`: all that nothing uses, also later ones.
    Rest,
}

/// What a column that appears in the source while we follow does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNewColumn {
    Halt,
    Ignore,
}

/// One `[[table]]` of the connector file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub source: TableName,
    /// The entry's name in our records: its target table, and where several entries fill that, of all but the first the source's name too.
    pub target: TableName,
    /// The target table, where other entries fill it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<TableName>,
    /// SQL over the source's columns.
    pub filter: Option<String>,
    /// Source columns; `None`: what the replica identity gives.
    pub key: Option<Vec<String>>,
    pub ignore: Ignore,
    pub insert_only: bool,
    pub on_new_column: OnNewColumn,
    /// Target column = SQL expression over the source's columns, as written.
    pub columns: Vec<(String, String)>,
}

impl Rule {
    /// The target table.
    pub fn table(&self) -> &TableName {
        self.shared.as_ref().unwrap_or(&self.target)
    }

    /// The rule of a table that a pattern names: every column to the column of its name.
    pub fn plain(source: TableName, target: TableName) -> Self {
        Self {
            source,
            target,
            shared: None,
            filter: None,
            key: None,
            ignore: Ignore::Columns(Vec::new()),
            insert_only: false,
            on_new_column: OnNewColumn::Halt,
            columns: Vec::new(),
        }
    }
}
