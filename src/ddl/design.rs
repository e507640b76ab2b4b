//! One table to be made, whole: its columns, its key, what follows its load, and what does not come along.

use super::column::{Column, columns};
use super::{Given, GivenType, Kind, Step, constraint, index, name};
use crate::change::TableName;
use crate::finding::Finding;
use crate::mapping::{Facts, Ignore, Rule, SourceShape, source_key};
use crate::pg::quote;
use std::collections::{BTreeMap, BTreeSet};

/// What the target has to stand on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ground {
    /// The target's schema is there.
    pub schema_there: bool,
    /// Source columns whose default the target refuses, each with the reason.
    pub no_defaults: Vec<(usize, String)>,
    /// Source columns whose collation it lacks, each with its name.
    pub no_collations: Vec<(usize, String)>,
    /// Generated source columns that it will not generate, each with the reason.
    pub not_generated: Vec<(usize, String)>,
    /// Virtual ones that it will store, and not compute when they are read.
    pub stored: BTreeSet<usize>,
}

/// A type that the target lacks, and a column of the table needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeToMake {
    pub given: GivenType,
    /// Its schema is to be made first.
    pub schema: bool,
}

/// When a table that is made gets its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyTime {
    /// With the table.
    AtOnce,
    /// Behind the load, as the first of what follows it. Until then its plan counts on it (`store::after_load::expect`), and its
    /// changes wait.
    AfterLoad,
}

/// A table to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Design {
    pub source: TableName,
    pub target: TableName,
    /// To be made first.
    pub schema: bool,
    /// Types to be made before it, what they are made of first.
    pub types: Vec<TypeToMake>,
    pub columns: Vec<Column>,
    pub key: Option<Step>,
    pub key_time: KeyTime,
    /// What follows the load, in the order in which it can run.
    pub after_load: Vec<Step>,
    /// What does not come along.
    pub left_out: Vec<Finding>,
    /// What keeps the types that it needs from being made, or being those that it needs.
    pub lacking: Vec<Finding>,
    /// Target columns by the source column that they take as it is.
    pub plain: BTreeMap<String, String>,
}

impl Design {
    /// CREATE SCHEMA and CREATE TYPE, where they are missing, and CREATE TABLE.
    pub fn create(&self) -> Vec<String> {
        let types = self.types.iter().filter_map(|one| one.given.sql());
        self.schemas().into_iter().chain(types).chain([self.table()]).collect()
    }

    /// CREATE SCHEMA for each that is missing.
    pub fn schemas(&self) -> Vec<String> {
        let of_types = self.types.iter().filter(|one| one.schema).map(|one| one.given.schema.clone());
        let own = self.schema.then(|| quote::ident(&self.target.schema));
        let mut found: Vec<String> = Vec::new();
        for name in of_types.chain(own) {
            // a type's schema comes from the catalog, quoted only where it must be
            if !found.iter().any(|other| other.trim_matches('"') == name.trim_matches('"')) {
                found.push(name);
            }
        }
        found.iter().map(|name| format!("CREATE SCHEMA IF NOT EXISTS {name}")).collect()
    }

    /// The types that the columns have, arrays too; of one that is text for lack of its type, that type.
    pub fn type_names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.lacks.as_deref().unwrap_or(&column.type_name)).collect()
    }

    /// What is made with the table.
    pub fn at_once(&self) -> impl Iterator<Item = &Step> {
        self.key.iter().filter(|_| self.key_time == KeyTime::AtOnce)
    }

    /// What follows its load, the key first if it does.
    pub fn follows(&self) -> impl Iterator<Item = &Step> {
        self.key.iter().filter(|_| self.key_time == KeyTime::AfterLoad).chain(&self.after_load)
    }

    /// CREATE TABLE.
    pub fn table(&self) -> String {
        let last = self.columns.len().saturating_sub(1);
        let mut lines = String::new();
        for (at, column) in self.columns.iter().enumerate() {
            let comma = if at < last { "," } else { "" };
            // a comment ends with its line, whatever stands in a name
            let lacks = column.lacks.as_ref().map(|name| name.replace(['\n', '\r'], " "));
            let lacks = lacks.map(|name| format!("  -- the target has no type {name}")).unwrap_or_default();
            lines.push_str(&format!("    {}{comma}{lacks}\n", column.sql()));
        }
        format!("CREATE TABLE {} (\n{lines})", quote::table(&self.target))
    }

    /// Takes a statement that the target refuses off the list, and what needs it.
    pub fn without(&mut self, refused: &Step) {
        let gone: Vec<Step> = self.after_load.iter().filter(|step| *step == refused || step.needs(refused)).cloned().collect();
        self.after_load.retain(|step| !gone.contains(step));
    }
}

/// Designs one table; its foreign keys come with [`super::foreign_keys`]. `taken`: names of relations in the target's schema.
pub fn design(
    rule: &Rule,
    source: &SourceShape,
    facts: &Facts,
    given: &Given,
    ground: &Ground,
    taken: &mut BTreeSet<String>,
) -> Design {
    // a table without a usable key has its own finding when its rule is compiled
    let key = source_key(rule, source).map(|(_, key)| key).unwrap_or_default();
    let columns = columns(rule, source, facts, given, ground, &key);
    taken.insert(rule.target.name.clone());
    let mut plain = BTreeMap::new();
    for column in columns.iter().filter(|column| column.lacks.is_none()) {
        let from = column.from.and_then(|at| source.columns.get(at));
        if let Some(from) = from.filter(|from| !plain.contains_key(&from.name) || from.name == column.name) {
            plain.insert(from.name.clone(), column.name.clone());
        }
    }
    let mut design = Design {
        source: rule.source.clone(),
        target: rule.target.clone(),
        schema: !ground.schema_there,
        types: Vec::new(),
        key: key_step(&rule.target, source, given, &columns, &key, taken),
        key_time: KeyTime::AtOnce,
        columns,
        after_load: Vec::new(),
        left_out: Vec::new(),
        lacking: Vec::new(),
        plain,
    };
    design.left_out.extend(notes(&design, source, given, ground));
    design.left_out.extend(used_up(&design, rule, source, facts));
    for found in &given.indexes {
        index::add(&mut design, found, &key, taken);
    }
    constraint::add(&mut design, given);
    design.after_load.push(Step::analyze(&rule.target));
    design.after_load.sort_by_key(|step| step.kind.phase());
    design
}

fn key_step(
    target: &TableName,
    source: &SourceShape,
    given: &Given,
    columns: &[Column],
    key: &[String],
    taken: &mut BTreeSet<String>,
) -> Option<Step> {
    let told = |name: &String| {
        let at = source.columns.iter().position(|column| &column.name == name)?;
        let tells = |column: &&Column| column.tells == Some(at);
        columns.iter().find(|column| column.from == Some(at)).or_else(|| columns.iter().find(tells))
    };
    let found: Vec<&Column> = key.iter().map(told).collect::<Option<_>>()?;
    if found.is_empty() {
        return None;
    }
    let primary = given.indexes.iter().find(|index| index.primary && source.primary_key == key).map(|index| index.name.clone());
    let name = name::free(taken, &primary.unwrap_or_else(|| format!("{}_pkey", target.name)));
    let list: Vec<String> = found.iter().map(|column| quote::ident(&column.name)).collect();
    let sql =
        format!("ALTER TABLE {} ADD CONSTRAINT {} PRIMARY KEY ({})", quote::table(target), quote::ident(&name), list.join(", "));
    let unique = Some(found.iter().map(|column| column.name.clone()).collect());
    Some(Step { unique, ..Step::new(Kind::Key, &name, sql) })
}

/// What of the columns and of the table itself does not come along.
fn notes(design: &Design, source: &SourceShape, given: &Given, ground: &Ground) -> Vec<Finding> {
    let subject = design.target.to_string();
    let mut notes = Vec::new();
    if source.kind == 'p' {
        let what = format!("`{}` is partitioned, and the target table is made as an ordinary one", source.name);
        let hint =
            "make it yourself before the first start where it is to be partitioned: a table that is there is left as it is";
        notes.push(Finding::note("table.target_unpartitioned", &subject, what).hint(hint));
    }
    if given.row_security {
        let what = format!(
            "row-level security is on for `{}`, and the target table is made without it and its policies: whoever may read it there sees \
             all its rows",
            source.name
        );
        let sql = format!(
            "-- with a CREATE POLICY for each that the source has; we write as its owner, whom FORCE would bar:\n\
             ALTER TABLE {} ENABLE ROW LEVEL SECURITY;",
            quote::table(&design.target)
        );
        notes.push(Finding::warning("table.target_unprotected", &subject, what).sql(sql));
    }
    let made = |at: usize| design.columns.iter().find(move |column| column.from == Some(at));
    let of = |column: &Column| column.from.and_then(|at| given.columns.get(at));
    let (identities, drawn): (Vec<&Column>, Vec<&Column>) = (0..source.columns.len())
        .filter(|&at| given.columns.get(at).is_some_and(|column| column.drawn))
        .filter_map(made)
        .partition(|column| column.generated.is_some());
    notes.extend(identity(design, &identities, |column| of(column)?.identity.as_ref().map(|identity| identity.always)));
    notes.extend(sequences(design, &drawn, |column| of(column).is_some_and(|given| given.shared)));
    for (at, why) in &ground.no_defaults {
        if let Some(column) = made(*at).filter(|column| column.lacks.is_none()) {
            let what = format!("the default of `{}` is left out, for the target refuses it: {why}", column.name);
            notes.push(
                Finding::note("table.target_default", &subject, what)
                    .hint("rows of ours have all their values; give it one of yours"),
            );
        }
    }
    for (at, name) in &ground.no_collations {
        if let Some(column) = made(*at).filter(|column| column.lacks.is_none()) {
            let what = format!("the collation {name} of `{}` is left out, for the target has none of that name", column.name);
            let hint = "CREATE COLLATION there before the first start; else it sorts as the database does";
            notes.push(Finding::warning("table.target_collation", &subject, what).hint(hint));
        }
    }
    for column in ground.stored.iter().filter_map(|&at| made(at)) {
        let what = format!(
            "`{}` is computed when it is read on the source, and stored in the target, whose version lacks that",
            column.name
        );
        notes.push(Finding::note("table.target_stored", &subject, what));
    }
    for column in source.columns.iter().filter(|column| !design.columns.iter().any(|made| made.name == column.name)) {
        if let Some(expression) = &column.generated {
            let refused = ground.not_generated.iter().find(|(at, _)| source.columns[*at].name == column.name);
            let why = refused.map_or("", |(_, why)| why.as_str());
            let why = if why.is_empty() { String::new() } else { format!(", for the target refuses it: {why}") };
            let what = format!("`{}` is generated on the source, and not made{why}", column.name);
            let note = Finding::note("table.target_ungenerated", &subject, what);
            notes.push(if why.is_empty() {
                note.config(format!("[table.columns]\n{:?} = {expression:?}", column.name))
            } else {
                note.hint("make what it names in the target before the first start, or give the column an expression of yours")
            });
        }
    }
    notes
}

/// Columns that only expressions use: they have none of their own, which a person may not have meant.
fn used_up(design: &Design, rule: &Rule, source: &SourceShape, facts: &Facts) -> Option<Finding> {
    let gone = |at: &usize| {
        let ignored = matches!(&rule.ignore, Ignore::Columns(names) if names.contains(&source.columns[*at].name));
        let kept = design.columns.iter().any(|made| made.tells == Some(*at) || made.name == source.columns[*at].name);
        source.columns[*at].generated.is_none() && !ignored && rule.ignore != Ignore::Rest && !kept
    };
    let used = |at: &usize| facts.columns.iter().any(|facts| facts.uses.contains(at));
    let names: Vec<&str> =
        (0..source.columns.len()).filter(gone).filter(used).map(|at| source.columns[at].name.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    let what = format!("made without a column of its own, for an expression uses it: `{}`", names.join("`, `"));
    let lines: Vec<String> = names.iter().map(|name| format!("{name:?} = {:?}", quote::ident(name))).collect();
    let lines = format!("# where it is to be there too\n[table.columns]\n{}", lines.join("\n"));
    Some(Finding::note("table.target_used_up", design.target.to_string(), what).config(lines))
}

/// Identity columns: `always` says of which kind they are on the source.
fn identity(design: &Design, made: &[&Column], always: impl Fn(&Column) -> Option<bool>) -> Option<Finding> {
    if made.is_empty() {
        return None;
    }
    let names: Vec<String> = made.iter().map(|column| format!("`{}`", column.name)).collect();
    let looser: Vec<&&Column> = made
        .iter()
        .filter(|column| always(column) == Some(true) && !column.generated.iter().any(|sql| sql.contains("ALWAYS")))
        .collect();
    let mut what = format!("the sequence that comes with {} there stays at its start, for only we write to it", names.join(", "));
    if !looser.is_empty() {
        what.push_str("; ALWAYS is BY DEFAULT there, for our updates set what is no part of the key");
    }
    let finding = Finding::note("table.target_identity", design.target.to_string(), what);
    let table = quote::table(&design.target);
    let again = looser
        .iter()
        .map(|column| format!("ALTER TABLE {table} ALTER COLUMN {} SET GENERATED ALWAYS;", quote::ident(&column.name)));
    let again: Vec<String> = again.collect();
    Some(match again.as_slice() {
        [] => finding.hint("run the `setval` that `tablelift plan` prints when the target takes over the writing"),
        sql => finding.sql(format!(
            "-- when the target takes over the writing, with the `setval` that `tablelift plan` prints:\n{}",
            sql.join("\n")
        )),
    })
}

/// Columns that draw from a sequence on the source.
fn sequences(design: &Design, drawn: &[&Column], shared: impl Fn(&Column) -> bool) -> Option<Finding> {
    if drawn.is_empty() {
        return None;
    }
    let names: Vec<String> = drawn.iter().map(|column| format!("`{}`", column.name)).collect();
    let mut what = format!("no sequence feeds {} there: made without one, for only we write to it", names.join(", "));
    let others: Vec<String> = drawn.iter().filter(|column| shared(column)).map(|column| format!("`{}`", column.name)).collect();
    if !others.is_empty() {
        what.push_str(&format!(
            "; the source's sequence of {} feeds other columns too: give all of them a default of one sequence of yours when the target \
             takes over the writing",
            others.join(", ")
        ));
    }
    let finding = Finding::note("table.target_sequence", design.target.to_string(), what);
    let table = quote::table(&design.target);
    let sql: Vec<String> = drawn
        .iter()
        .filter(|column| matches!(column.type_name.as_str(), "smallint" | "integer" | "bigint"))
        .filter(|column| column.not_null && !shared(column))
        .map(|column| {
            format!("ALTER TABLE {table} ALTER COLUMN {} ADD GENERATED BY DEFAULT AS IDENTITY;", quote::ident(&column.name))
        })
        .collect();
    Some(match sql.as_slice() {
        [] => finding.hint("give it a default of yours when the target takes over the writing"),
        sql => finding.sql(format!(
            "-- when the target takes over the writing, before the `setval` that `tablelift plan` prints:\n{}",
            sql.join("\n")
        )),
    })
}
