//! A plan's statements for a sample: some of the source's rows, and what the target makes of each. As in a copy through a staging table, but what
//! is written goes into a temporary table with the target's columns.

use super::{Output, SourceShape, TablePlan, TargetShape};
use crate::pg::quote;

/// Holds one row as it comes.
const ROW: &str = "pg_temp.tablelift_sample_row";
/// Holds what becomes of it.
const WRITTEN: &str = "pg_temp.tablelift_sample";
/// Holds one column of that by itself.
const ALONE: &str = "pg_temp.tablelift_sample_alone";

impl TablePlan {
    /// Columns of the source by which "the first rows" are first; none where it has no key.
    pub fn sample_order(&self) -> Vec<&str> {
        self.key.iter().map(|&input| self.inputs[input].name.as_str()).collect()
    }

    /// The source's first rows, all columns, for the simple protocol: there each type's own output function makes the text.
    pub fn sample_source(&self, source: &SourceShape, rows: u32) -> String {
        let columns: Vec<String> = source.columns.iter().map(|column| quote::ident(&column.name)).collect();
        let order: Vec<String> = self.sample_order().into_iter().map(quote::ident).collect();
        let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
        format!("SELECT {} FROM {}{order} LIMIT {rows}", columns.join(", "), self.source_only())
    }

    /// Makes the tables. What is written goes into one with the target's types and NOT NULLs: what else a row must satisfy hangs on other rows, or acts on them.
    pub fn sample_tables(&self, target: &TargetShape) -> String {
        let columns = |must: &dyn Fn(&str) -> bool| {
            let column = |output: &Output| {
                let not_null = if must(&output.column) { " NOT NULL" } else { "" };
                format!("{} {}{not_null}", quote::ident(&output.column), output.sql_type)
            };
            self.outputs.iter().map(column).collect::<Vec<_>>().join(", ")
        };
        let must = |name: &str| target.columns.iter().any(|column| column.name == name && column.not_null);
        format!(
            "CREATE TEMP TABLE tablelift_sample_row ({}); CREATE TEMP TABLE tablelift_sample ({}); \
             CREATE TEMP TABLE tablelift_sample_alone ({})",
            self.staging_columns(),
            columns(&must),
            columns(&|_| false)
        )
    }

    /// Brings a row: one value per input, read by its type's input function.
    pub fn sample_bring(&self, values: &[Option<&str>]) -> String {
        let values: Vec<String> = values.iter().map(|value| value.map_or_else(|| "NULL".to_owned(), quote::literal)).collect();
        let values = if values.is_empty() { "DEFAULT VALUES".to_owned() } else { format!("VALUES ({})", values.join(", ")) };
        format!("INSERT INTO {ROW} {values}")
    }

    /// Brings one of its inputs only.
    pub fn sample_bring_one(&self, input: usize, value: &str) -> String {
        format!("INSERT INTO {ROW} ({}) VALUES ({})", quote::ident(&self.inputs[input].name), quote::literal(value))
    }

    /// Writes it, through the same expressions and the same `where` as ever: no row where it is left out.
    pub fn sample_write(&self) -> String {
        self.insert_into(WRITTEN, ROW)
    }

    /// What was written.
    pub fn sample_written(&self) -> String {
        let columns: Vec<String> = self.outputs.iter().map(|output| quote::ident(&output.column)).collect();
        format!("SELECT {} FROM {WRITTEN}", columns.join(", "))
    }

    /// Evaluates `where` alone.
    pub fn sample_filter(&self) -> Option<String> {
        let filter = self.filter.as_ref()?;
        Some(format!("SELECT pg_catalog.count(*) FROM {ROW} AS src WHERE ({})", filter.sql))
    }

    /// Writes one column by itself.
    pub fn sample_write_one(&self, output: usize) -> String {
        let output = &self.outputs[output];
        format!("INSERT INTO {ALONE} ({}) SELECT ({}) FROM {ROW} AS src", quote::ident(&output.column), output.expression)
    }
}
