//! Both tables as their catalogs describe them: what a rule is compiled against.

use crate::change::{ReplicaIdentity, TableName};
use serde::{Deserialize, Serialize};

/// A column of a source table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceColumn {
    pub name: String,
    /// `format_type(oid, typmod)`, schema-qualified where needed: SQL that can be used as it stands.
    pub type_name: String,
    /// `format_type(oid, -1)`: without length or precision, so that a cast to it never cuts a value.
    pub type_base: String,
    pub type_oid: u32,
    /// `pg_type.typtype`: `b` base, `d` domain, `e` enum, `c` composite, `r` range, `m` multirange.
    pub type_kind: char,
    /// `pg_type.typcategory`: `A` array, `N` numeric, `S` string ...
    pub type_category: char,
    pub not_null: bool,
    /// `GENERATED ALWAYS AS (...) STORED`: its expression. Not in the stream up to 17.
    pub generated: Option<String>,
    /// `false` for a text column under a nondeterministic collation.
    pub collation_deterministic: bool,
    /// `pg_attribute.attnum`: the same for as long as the column lives, whatever its name. 0: not known.
    #[serde(default)]
    pub number: i32,
    /// Rows that were there when it was added may have something else in it than NULL.
    #[serde(default)]
    pub has_default: bool,
}

/// A source table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceShape {
    pub name: TableName,
    pub oid: u32,
    /// `pg_class.relkind`: `r` ordinary, `p` partitioned.
    pub kind: char,
    pub identity: ReplicaIdentity,
    /// Columns of the replica identity's index, in its order; of the primary key for DEFAULT. Empty for FULL and NOTHING.
    pub identity_columns: Vec<String>,
    pub primary_key: Vec<String>,
    /// An index that could be the replica identity: unique over NOT NULL columns. Only looked for at the source.
    #[serde(skip)]
    pub unique_index: Option<String>,
    pub columns: Vec<SourceColumn>,
    /// `reltuples`, never negative.
    pub rows_estimated: i64,
    pub bytes: i64,
}

/// A column of a target table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetColumn {
    pub name: String,
    pub type_name: String,
    /// `format_type(oid, -1)`.
    pub type_base: String,
    pub type_oid: u32,
    pub type_kind: char,
    pub type_category: char,
    pub not_null: bool,
    pub has_default: bool,
    pub generated: bool,
    /// `GENERATED ALWAYS AS IDENTITY`: needs `OVERRIDING SYSTEM VALUE`, cannot be UPDATEd.
    pub identity_always: bool,
    pub identity: bool,
}

/// A unique index of the target that is valid, or an exclusion constraint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UniqueKey {
    pub name: String,
    pub columns: Vec<String>,
    pub primary: bool,
    pub deferrable: bool,
    /// Partial, or over expressions: no `ON CONFLICT` target of ours, but it can conflict.
    pub partial_or_expression: bool,
    pub exclusion: bool,
}

/// A target table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetShape {
    pub name: TableName,
    pub oid: u32,
    pub kind: char,
    pub columns: Vec<TargetColumn>,
    pub uniques: Vec<UniqueKey>,
    /// Foreign keys of this table, and of others that refer to it.
    pub foreign_keys_out: Vec<String>,
    pub foreign_keys_in: Vec<String>,
    /// Those of them by whose action rows go, or change, when one of ours is deleted or gets another key.
    pub cascades: Vec<String>,
    /// Of it and its partitions: a crash of the server empties them.
    #[serde(default)]
    pub unlogged: Vec<TableName>,
    /// Its own triggers and rules, and the triggers of its partitions.
    #[serde(default)]
    pub actions: Vec<Action>,
}

/// A trigger or a rule of a person's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    pub table: TableName,
    pub name: String,
    /// Else a trigger.
    pub rule: bool,
    /// `pg_trigger.tgenabled`, `pg_rewrite.ev_enabled`: `O` in sessions of the origin, `R` of a replica, `A` in both, `D` in none.
    pub enabled: char,
}

impl Action {
    /// Whether it meets a session whose `session_replication_role` is `replica`, or is not.
    pub fn fires(&self, replica: bool) -> bool {
        self.enabled == 'A' || self.enabled == if replica { 'R' } else { 'O' }
    }
}
