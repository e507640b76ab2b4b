//! Which column's expression the target refuses: the server names none, so each is asked for by itself.

use super::{Partial, TablePlan};
use crate::pg::quote;

impl TablePlan {
    /// Outputs whose expressions can be evaluated without the `missing` inputs.
    pub fn blamable(&self, missing: &Partial) -> Vec<usize> {
        let is_whole = |output: &usize| !self.outputs[*output].uses.iter().any(|input| missing.contains(input));
        (0..self.outputs.len()).filter(is_whole).collect()
    }

    /// Evaluates one output's expression over rows `from`, and what becomes of it in its column. An explicit cast cuts what an
    /// assignment refuses (PostgreSQL's manual, "Character Types"): what was cut divides by zero.
    pub fn probe(&self, output: usize, from: &str) -> String {
        let output = &self.outputs[output];
        let value = format!("({})", output.expression);
        let kept = format!("({value}::{})", output.sql_type);
        let asked = if output.sql_type.starts_with("character") || output.sql_type.starts_with("bit") {
            let text = |value: &str| format!("pg_catalog.rtrim({value}::pg_catalog.text)");
            format!("1 / CASE WHEN {} IS DISTINCT FROM {} THEN 0 ELSE 1 END", text(&value), text(&kept))
        } else {
            kept
        };
        format!("SELECT pg_catalog.count({asked}) FROM {from} AS src")
    }

    /// What is said of an output that is refused: columns, and no values.
    pub fn blamed(&self, output: usize) -> String {
        let output = &self.outputs[output];
        let keys: Vec<String> = self.key.iter().map(|&input| format!("`{}`", self.inputs[input].name)).collect();
        let filled = match output.plain {
            Some(_) => String::new(),
            None => format!(", which is filled by `{}`", output.expression),
        };
        let row = if keys.is_empty() { String::new() } else { format!(", of a row whose key is {}", keys.join(", ")) };
        format!("; it is column `{}` of {}{filled}{row}", output.column, quote::table(&self.into))
    }
}
