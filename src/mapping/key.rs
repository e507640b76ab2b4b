//! Which columns tell rows apart, on both sides, and whether their text does.

use super::expression::{Form, form, is_literal, lossless};
use super::{Input, KeyText, Kind, Output, Rule, SourceColumn, SourceShape, TargetShape};
use crate::change::ReplicaIdentity;
use crate::finding::Finding;
use crate::pg::quote;

/// The kind of a table and its source key's column names.
///
/// # Errors
/// Nothing tells its rows apart, or the rule's key is not told of old rows.
pub fn source_key(rule: &Rule, source: &SourceShape) -> Result<(Kind, Vec<String>), Finding> {
    if rule.insert_only {
        return Ok((Kind::InsertOnly, Vec::new()));
    }
    let identity = match source.identity {
        ReplicaIdentity::Full | ReplicaIdentity::Default => &source.primary_key,
        ReplicaIdentity::Index => &source.identity_columns,
        ReplicaIdentity::Nothing => &Vec::new(),
    };
    let Some(wanted) = &rule.key else {
        return match (identity.is_empty(), source.identity) {
            (false, _) => Ok((Kind::Keyed, identity.clone())),
            (true, ReplicaIdentity::Full) => Ok((Kind::Keyless, Vec::new())),
            (true, _) => Err(no_key(source)),
        };
    };
    let full = source.identity == ReplicaIdentity::Full;
    let names: Vec<&str> = source.columns.iter().map(|column| column.name.as_str()).collect();
    let outside: Vec<&str> = wanted
        .iter()
        .map(String::as_str)
        .filter(|name| if full { !names.contains(name) } else { !identity.iter().any(|column| column == name) })
        .collect();
    if outside.is_empty() {
        return Ok((Kind::Keyed, wanted.clone()));
    }
    Err(Finding::error(
        "table.key_outside_identity",
        source.name.to_string(),
        format!(
            "key column `{}` is not covered by the replica identity, so an update would not tell its old value",
            outside.join("`, `")
        ),
    )
    .sql(format!("ALTER TABLE {} REPLICA IDENTITY FULL;", quote::table(&source.name))))
}

fn no_key(source: &SourceShape) -> Finding {
    if source.identity == ReplicaIdentity::Nothing && !source.primary_key.is_empty() {
        let what = "its replica identity is NOTHING (or an index that is gone), although it has a primary key";
        let sql = format!("ALTER TABLE {} REPLICA IDENTITY DEFAULT;", quote::table(&source.name));
        return Finding::error("table.identity_nothing", source.name.to_string(), what).sql(sql);
    }
    let identity =
        source.unique_index.as_ref().map_or_else(|| "FULL".to_owned(), |index| format!("USING INDEX {}", quote::ident(index)));
    Finding::error(
        "table.no_key",
        source.name.to_string(),
        "has no primary key and no replica identity: once it is published, the application's own UPDATEs and DELETEs would fail. \
         Give it one, or write `insert_only = true` if rows are only ever inserted",
    )
    .sql(format!("ALTER TABLE {} REPLICA IDENTITY {identity};", quote::table(&source.name)))
}

/// Whether equal values of a key column always have equal text.
pub(super) fn key_text(column: &SourceColumn) -> KeyText {
    const EXACT: [&str; 17] = [
        "smallint",
        "integer",
        "bigint",
        "oid",
        "uuid",
        "text",
        "character varying",
        "bpchar",
        "character",
        "\"char\"",
        "name",
        "boolean",
        "date",
        "bytea",
        "timestamp without time zone",
        "timestamp with time zone",
        "time without time zone",
    ];
    if column.type_kind == 'e' {
        return KeyText::Exact;
    }
    match column.type_base.as_str() {
        "numeric" => KeyText::Numeric,
        name if EXACT.contains(&name) && column.collation_deterministic => KeyText::Exact,
        _ => KeyText::Unsafe,
    }
}

/// Marks the outputs that make the target's key.
pub(super) fn target_key(
    source: &SourceShape,
    target: &TargetShape,
    inputs: &[Input],
    key: &[usize],
    outputs: &mut [Output],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut wanted: Vec<usize> = Vec::new();
    for &input in key {
        match outputs.iter().position(|output| one_to_one(output, input, inputs, source)) {
            Some(output) => wanted.push(output),
            None => findings.push(unmapped(source, &inputs[input].name)),
        }
    }
    if !findings.is_empty() {
        return findings;
    }
    let is_constant = |output: &Output| output.uses.is_empty() && is_literal(&output.expression);
    let constants: Vec<usize> = (0..outputs.len()).filter(|&at| is_constant(&outputs[at])).collect();
    let fits = |columns: &[String]| {
        let named = |at: usize| columns.contains(&outputs[at].column);
        wanted.iter().all(|&at| named(at))
            && columns.iter().all(|name| wanted.iter().chain(&constants).any(|&at| &outputs[at].column == name))
    };
    let mut usable = target.uniques.iter().filter(|key| !key.deferrable && !key.partial_or_expression && !key.exclusion);
    match usable.find(|key| fits(&key.columns)) {
        Some(found) => {
            outputs.iter_mut().filter(|output| found.columns.contains(&output.column)).for_each(|output| output.key = true);
        }
        None => findings.push(no_unique(target, wanted.iter().map(|&at| outputs[at].column.as_str()))),
    }
    findings
}

/// Different key values stay different in this output, and no other column plays into it.
fn one_to_one(output: &Output, input: usize, inputs: &[Input], source: &SourceShape) -> bool {
    if output.plain == Some(input) {
        return true;
    }
    match form(&output.expression) {
        Form::Cast(name, to) => name == inputs[input].name && lossless(&source.columns[inputs[input].column].type_base, &to),
        _ => false,
    }
}

fn unmapped(source: &SourceShape, column: &str) -> Finding {
    Finding::error(
        "table.key_unmapped",
        source.name.to_string(),
        format!(
            "key column `{column}` reaches no target column as it is or by a lossless cast, so rows could not be told apart there"
        ),
    )
    .hint(format!(
        "give it a place in the target as it is, under [table.columns]: {column:?} = {:?}; or name other columns of the replica identity, \
         which tell rows apart too, as `key`",
        quote::ident(column)
    ))
}

fn no_unique<'a>(target: &TargetShape, columns: impl Iterator<Item = &'a str>) -> Finding {
    let names: Vec<&str> = columns.collect();
    let list = names.iter().map(|name| quote::ident(name)).collect::<Vec<_>>().join(", ");
    Finding::error(
        "table.target_key",
        target.name.to_string(),
        format!("the target has no unique index over exactly (`{}`) that is neither partial nor deferrable", names.join("`, `")),
    )
    .sql(format!("ALTER TABLE {} ADD PRIMARY KEY ({list});", quote::table(&target.name)))
}
