//! The columns of a table to be made: first those that the rule names, in its order, then the source's own that nothing else uses, in
//! theirs.

use super::{Given, Ground};
use crate::mapping::{Facts, Form, Ignore, Rule, SourceShape, form, lossless};
use crate::pg::quote;

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub type_name: String,
    pub collation: Option<String>,
    pub default: Option<String>,
    pub not_null: bool,
    /// The source column that it takes as it is: its index.
    pub from: Option<usize>,
    /// The source column whose values it keeps apart: the same, or one behind a lossless cast.
    pub(super) tells: Option<usize>,
    /// The source's type, where the target has none of that name. The column is text then.
    pub lacks: Option<String>,
}

impl Column {
    /// As in CREATE TABLE.
    pub(super) fn sql(&self) -> String {
        let collation = self.collation.as_ref().map(|name| format!(" COLLATE {name}")).unwrap_or_default();
        let default = self.default.as_ref().map(|sql| format!(" DEFAULT {sql}")).unwrap_or_default();
        let not_null = if self.not_null { " NOT NULL" } else { "" };
        format!("{} {}{collation}{default}{not_null}", quote::ident(&self.name), self.type_name)
    }
}

/// All columns. `key`: source columns that tell rows apart.
pub(super) fn columns(
    rule: &Rule,
    source: &SourceShape,
    facts: &Facts,
    given: &Given,
    ground: &Ground,
    key: &[String],
) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for ((name, expression), facts_of) in rule.columns.iter().zip(&facts.columns) {
        let at = |name: &String| source.columns.iter().position(|column| &column.name == name);
        let (tells, plain) = match form(expression) {
            Form::Column(from) => (at(&from), true),
            Form::Cast(from, to) => (at(&from).filter(|&at| lossless(&source.columns[at].type_base, &to)), false),
            Form::Other => (None, false),
        };
        let column = match tells {
            Some(at) if plain => as_it_is(source, facts, given, ground, at),
            _ => computed(&facts_of.type_name, tells),
        };
        columns.push(Column { name: name.clone(), ..column });
    }
    let used = |at: usize| facts.columns.iter().any(|facts| facts.uses.contains(&at));
    for (at, column) in source.columns.iter().enumerate().filter(|(_, column)| column.generated.is_none()) {
        let is_key = key.contains(&column.name) && !columns.iter().any(|made| made.tells == Some(at));
        let ignored = match &rule.ignore {
            Ignore::Rest => true,
            Ignore::Columns(names) => names.contains(&column.name),
        };
        let taken = columns.iter().any(|made| made.name == column.name);
        if !taken && (is_key || !ignored && !used(at)) {
            columns.push(as_it_is(source, facts, given, ground, at));
        }
    }
    columns
}

fn computed(type_name: &str, tells: Option<usize>) -> Column {
    Column {
        name: String::new(),
        type_name: type_name.to_owned(),
        collation: None,
        default: None,
        not_null: false,
        from: None,
        tells,
        lacks: None,
    }
}

/// A generated column has no values in the stream, and no default of its own.
fn as_it_is(source: &SourceShape, facts: &Facts, given: &Given, ground: &Ground, at: usize) -> Column {
    let column = &source.columns[at];
    let known = facts.input_types.get(at).is_none_or(|declared| declared == &column.type_base);
    let of = given.columns.get(at);
    let refused = |list: &[(usize, String)]| !known || list.iter().any(|(refused, _)| *refused == at);
    let default = of.and_then(|given| given.default.clone().filter(|_| !given.drawn));
    Column {
        name: column.name.clone(),
        type_name: if known { column.type_name.clone() } else { "text".to_owned() },
        collation: of.and_then(|given| given.collation.clone()).filter(|_| !refused(&ground.no_collations)),
        default: default.filter(|_| !refused(&ground.no_defaults)),
        not_null: column.not_null,
        from: Some(at),
        tells: Some(at),
        lacks: (!known).then(|| column.type_name.clone()),
    }
}
