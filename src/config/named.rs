//! Tables as a command line names them, and names as a file has them.

use super::names::{Glob, qualified};
use crate::change::TableName;
use std::fmt;

/// What `--table` names: a table, or a pattern.
pub struct Named {
    schema: Glob,
    name: Glob,
}

impl Named {
    /// Reads it as psql does; `*` outside quotes stands for any characters.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(text: &str) -> Result<Self, String> {
        let (schema, name) = qualified(text, text).map_err(|complaint| match complaint.hint {
            Some(hint) => format!("{}\n  hint: {hint}", complaint.what),
            None => complaint.what,
        })?;
        Ok(Self { schema, name })
    }

    /// Whether it means this table.
    pub fn means(&self, table: &TableName) -> bool {
        self.schema.matches(&table.schema) && self.name.matches(&table.name)
    }

    /// The table, where it is one.
    pub fn table(&self) -> Option<TableName> {
        Some(TableName::new(self.schema.fixed()?, self.name.fixed()?))
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A table's name as a file has it: quoted where it must be.
pub fn written(table: &TableName) -> String {
    format!("{}.{}", written_part(&table.schema), written_part(&table.name))
}

/// One part of a name as a file has it.
pub fn written_part(part: &str) -> String {
    Glob::of(part).to_string()
}
