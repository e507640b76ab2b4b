//! The compiled rule.

use super::Rule;
use crate::change::{Lsn, TableName};
use std::collections::BTreeMap;

/// How rows are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Keyed,
    /// No key, `REPLICA IDENTITY FULL`: a delete removes one of equal rows.
    Keyless,
    /// Published with inserts and truncates only.
    InsertOnly,
}

/// Whether two equal keys always have the same text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyText {
    Exact,
    /// Equal after trailing zeros of the fraction are cut: `numeric`.
    Numeric,
    /// Cannot be told from the text (citext, float, interval, nondeterministic collations ...): changes go one by one.
    Unsafe,
}

/// How a column's values travel in an array parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// As an array of the type itself.
    Native,
    /// As `text[]`, cast row by row: arrays (unnest flattens them), and types with another delimiter or none of ours.
    Text,
}

/// A source column that the plan uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub name: String,
    /// Index in the compiled `SourceShape`.
    pub column: usize,
    /// The source's type, to be found again in each Relation message.
    pub source_type_oid: u32,
    /// The type it has in our statements.
    pub sql_type: String,
    pub wire: Wire,
    pub key_text: KeyText,
    /// Sorts as a number on the client: keys in index order make updates cheaper.
    pub integer: bool,
    /// The column was added before here, without a default: where an earlier change does not have it, it was NULL.
    pub came: Option<Lsn>,
}

/// A target column that the plan fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub column: String,
    /// The target column's type with its length and precision.
    pub sql_type: String,
    /// SQL over the inputs' names.
    pub expression: String,
    /// Indexes into `TablePlan::inputs`.
    pub uses: Vec<usize>,
    /// The input that it takes as it is.
    pub plain: Option<usize>,
    /// Part of the target key.
    pub key: bool,
    /// A plain column of the source's own type: the target row can stand in for an unchanged value.
    pub supplies: bool,
    /// A plain column whose binary form means the same on both sides.
    pub binary: bool,
}

/// SQL over the source's columns that decides whether the target holds a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub sql: String,
    pub uses: Vec<usize>,
}

/// One table's rule, compiled once. Immutable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePlan {
    pub rule: Rule,
    pub source: TableName,
    /// `pg_class.oid`: the stream may bring the table under a name that it had for a while.
    pub source_oid: u32,
    /// The entry's name in our records.
    pub target: TableName,
    /// The target table.
    pub into: TableName,
    pub kind: Kind,
    /// The source table is partitioned: its rows are in its partitions.
    pub partitioned: bool,
    /// The same of the target table.
    pub into_partitioned: bool,
    pub inputs: Vec<Input>,
    pub outputs: Vec<Output>,
    /// Inputs that make the source's key, in its order. Empty unless `Keyed`.
    pub key: Vec<usize>,
    pub filter: Option<Filter>,
    /// The worst of the key's columns.
    pub key_text: KeyText,
    /// The target has unique or exclusion constraints besides the key.
    pub secondary_uniques: bool,
    /// Every column the compiled source shape has: any other that appears is new.
    pub known_columns: Vec<String>,
    /// Names that earlier changes have for its columns, with what they are called now; none where the column is gone.
    pub former: BTreeMap<String, Option<String>>,
    /// What the rule says of which rows and values arrive, as JSON; recorded at the first start and compared at each later one.
    pub fingerprint: String,
    /// Foreign keys of the target act on other rows when one of its rows is deleted, or gets another key.
    pub cascades: bool,
}

impl TablePlan {
    /// Rows can go from the source's COPY, or from a change's cells, straight into a COPY of the target.
    pub fn straight(&self) -> bool {
        self.filter.is_none() && self.outputs.iter().all(|output| output.plain.is_some())
    }

    /// Columns of the target's key that have one value in all rows of the entry.
    pub fn key_constants(&self) -> impl Iterator<Item = &Output> {
        self.key_outputs().filter(|output| output.uses.is_empty())
    }

    pub fn key_outputs(&self) -> impl Iterator<Item = &Output> {
        self.outputs.iter().filter(|output| output.key)
    }
}
