//! The columns of a table to be made: first those that the rule names, in its order, then the source's own that nothing else uses, in
//! theirs. Identity columns get a sequence of their own, generated ones their expression.

use super::{Given, Ground};
use crate::mapping::{Facts, Form, Ignore, Rule, SourceColumn, SourceShape, form, lossless};
use crate::pg::quote;

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub type_name: String,
    pub collation: Option<String>,
    pub default: Option<String>,
    pub not_null: bool,
    /// `GENERATED ...`: an identity column, or one that the target computes.
    pub generated: Option<String>,
    /// The source column that it takes as it is, or is generated as: its index.
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
        let generated = self.generated.as_ref().map(|sql| format!(" {sql}")).unwrap_or_default();
        let not_null = if self.not_null { " NOT NULL" } else { "" };
        format!("{} {}{collation}{default}{generated}{not_null}", quote::ident(&self.name), self.type_name)
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
            Some(at) if plain => as_it_is(source, facts, given, ground, key, at),
            _ => computed(&facts_of.type_name, tells),
        };
        columns.push(Column { name: name.clone(), ..column });
    }
    let used = |at: usize| facts.columns.iter().any(|facts| facts.uses.contains(&at));
    for (at, column) in source.columns.iter().enumerate().filter(|(_, column)| column.generated.is_none()) {
        let is_key = key.contains(&column.name) && !columns.iter().any(|made| made.tells == Some(at));
        let taken = columns.iter().any(|made| made.name == column.name);
        if !taken && (is_key || !ignored(rule, &column.name) && !used(at)) {
            columns.push(as_it_is(source, facts, given, ground, key, at));
        }
    }
    for at in (0..source.columns.len()).filter(|&at| !ignored(rule, &source.columns[at].name)) {
        let Some(clause) = generates(&columns, source, given, ground, at) else { continue };
        let column = Column { generated: Some(clause), tells: None, ..as_it_is(source, facts, given, ground, key, at) };
        if column.lacks.is_some() {
            continue;
        }
        let before = columns.iter().rposition(|made| made.from.is_some_and(|from| from < at));
        columns.insert(before.map_or(rule.columns.len(), |before| before + 1), column);
    }
    columns
}

fn ignored(rule: &Rule, name: &String) -> bool {
    match &rule.ignore {
        Ignore::Rest => true,
        Ignore::Columns(names) => names.contains(name),
    }
}

/// A generated column is made where all that it reads is there under its own name and type, for its text is not read.
fn generates(columns: &[Column], source: &SourceShape, given: &Given, ground: &Ground, at: usize) -> Option<String> {
    let generated = given.columns.get(at)?.generated.as_ref()?;
    let as_there = |name: &String| {
        let made = columns.iter().find(|made| &made.name == name && made.lacks.is_none());
        made.and_then(|made| made.from).is_some_and(|from| &source.columns[from].name == name)
    };
    let refused = ground.not_generated.iter().any(|(refused, _)| *refused == at);
    let taken = columns.iter().any(|made| made.name == source.columns[at].name);
    let clause = || generated.stored().filter(|_| ground.stored.contains(&at)).unwrap_or_else(|| generated.clause.clone());
    (!refused && !taken && generated.uses.iter().all(as_there)).then(clause)
}

/// `GENERATED ... AS IDENTITY`. ALWAYS only in a key that no update of ours sets (`mapping::compile` refuses the others).
fn identity(source: &SourceShape, given: &Given, key: &[String], at: usize) -> Option<String> {
    const EXACT: [&str; 4] = ["smallint", "integer", "bigint", "uuid"];
    let identity = given.columns.get(at)?.identity.as_ref()?;
    let exact = |column: &&SourceColumn| EXACT.contains(&column.type_base.as_str());
    let fixed = key.contains(&source.columns[at].name)
        && source.columns.iter().filter(|column| key.contains(&column.name)).all(|column| exact(&column));
    let kind = if identity.always && fixed { "ALWAYS" } else { "BY DEFAULT" };
    let options = if identity.options.is_empty() { String::new() } else { format!(" ({})", identity.options) };
    Some(format!("GENERATED {kind} AS IDENTITY{options}"))
}

fn computed(type_name: &str, tells: Option<usize>) -> Column {
    Column {
        name: String::new(),
        type_name: type_name.to_owned(),
        collation: None,
        default: None,
        not_null: false,
        generated: None,
        from: None,
        tells,
        lacks: None,
    }
}

fn as_it_is(source: &SourceShape, facts: &Facts, given: &Given, ground: &Ground, key: &[String], at: usize) -> Column {
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
        generated: identity(source, given, key, at).filter(|_| known),
        from: Some(at),
        tells: Some(at),
        lacks: (!known).then(|| column.type_name.clone()),
    }
}
