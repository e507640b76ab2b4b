//! A source table as the stream describes it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A table's schema and name, unquoted as the catalog has them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    pub schema: String,
    pub name: String,
}

impl TableName {
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

impl fmt::Display for TableName {
    /// For people: `schema.name`, unquoted. For SQL use `pg::quote`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// What an UPDATE or DELETE says of the old row (`pg_class.relreplident`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplicaIdentity {
    Default,
    Nothing,
    Full,
    Index,
}

/// One column as a Relation message describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub type_oid: u32,
    pub type_modifier: i32,
    /// Part of the replica identity.
    pub identity: bool,
}

/// The shape of a source table at one place of the stream. Kept by relation id: with `publish_via_partition_root` the tuples
/// come in the parent's column order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub relation_id: u32,
    pub name: TableName,
    pub identity: ReplicaIdentity,
    pub columns: Vec<Column>,
}
