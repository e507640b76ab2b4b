//! A `[[table]]` whose names hold `*`: what no explicit entry names.

use super::names::Glob;
use crate::change::TableName;
use crate::mapping::{Ignore, OnNewColumn, Rule};

/// A `[[table]]` whose source holds `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pub source_schema: Glob,
    pub source_name: Glob,
    /// A fixed name, or nothing but `*`, which keeps the source's.
    pub target_schema: Glob,
    pub target_name: Glob,
    /// Schema and name.
    pub exclude: Vec<(Glob, Glob)>,
    /// None named, or all that nothing uses.
    pub ignore: Ignore,
    pub on_new_column: OnNewColumn,
}

impl Pattern {
    /// The rule of a table that this pattern means, and does not exclude.
    pub fn rule_of(&self, source: &TableName) -> Option<Rule> {
        let fits = |(schema, name): (&Glob, &Glob)| schema.matches(&source.schema) && name.matches(&source.name);
        if !fits((&self.source_schema, &self.source_name)) || self.exclude.iter().any(|(schema, name)| fits((schema, name))) {
            return None;
        }
        let keep = |glob: &Glob, name: &str| glob.fixed().unwrap_or(name).to_owned();
        let target = TableName::new(keep(&self.target_schema, &source.schema), keep(&self.target_name, &source.name));
        let plain = Rule::plain(source.clone(), target);
        Some(Rule { ignore: self.ignore.clone(), on_new_column: self.on_new_column, ..plain })
    }
}
