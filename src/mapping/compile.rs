//! Rule + shapes + facts -> plan, or everything that stands against it.

use super::expression::{Form, form};
use super::key::{key_text, source_key, target_key};
use super::{
    ExpressionFacts, Facts, Filter, Ignore, Input, KeyText, Kind, Output, Rule, SourceColumn, SourceShape, TablePlan,
    TargetColumn, TargetShape, Wire,
};
use crate::finding::Finding;
use crate::pg::quote;
use std::collections::BTreeMap;

/// Compiles a rule against both tables.
///
/// # Errors
/// All findings, never the first only.
pub fn compile(rule: &Rule, source: &SourceShape, target: &TargetShape, facts: &Facts) -> Result<TablePlan, Vec<Finding>> {
    let mut findings = Vec::new();
    let drafts = drafts(rule, source, target, facts, &mut findings);
    findings.extend(unlogged(target));
    findings.extend(unfilled(source, target, &drafts));
    findings.extend(unused(rule, source, target, &drafts, facts));
    let (kind, key_names) = source_key(rule, source).unwrap_or_else(|finding| {
        findings.push(finding);
        (Kind::InsertOnly, Vec::new())
    });
    let inputs = inputs(source, &drafts, facts, &key_names);
    let at = |column: usize| inputs.iter().position(|input| input.column == column).expect("every used column is an input");
    let mut outputs: Vec<Output> = drafts.iter().map(|draft| draft.output(source, &at)).collect();
    let key: Vec<usize> = key_names.iter().filter_map(|name| inputs.iter().position(|input| &input.name == name)).collect();
    if kind == Kind::Keyed {
        findings.extend(nullable_key(source, &key, &inputs));
        findings.extend(target_key(source, target, &inputs, &key, &mut outputs));
        findings.extend(identity_always(target, &outputs));
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let filter = rule.filter.clone().zip(facts.filter.as_ref());
    let filter = filter.map(|(sql, facts)| Filter { sql, uses: facts.uses.iter().map(|&column| at(column)).collect() });
    let worst = key.iter().map(|&input| inputs[input].key_text).fold(KeyText::Exact, |a, b| match (a, b) {
        (KeyText::Unsafe, _) | (_, KeyText::Unsafe) => KeyText::Unsafe,
        (KeyText::Numeric, _) | (_, KeyText::Numeric) => KeyText::Numeric,
        _ => KeyText::Exact,
    });
    let target_key: Vec<&String> = outputs.iter().filter(|output| output.key).map(|output| &output.column).collect();
    let is_key = |columns: &[String]| columns.len() == target_key.len() && columns.iter().all(|name| target_key.contains(&name));
    Ok(TablePlan {
        source: rule.source.clone(),
        source_oid: source.oid,
        target: rule.target.clone(),
        into: rule.table().clone(),
        kind,
        partitioned: source.kind == 'p',
        into_partitioned: target.kind == 'p',
        secondary_uniques: target.uniques.iter().any(|unique| unique.exclusion || !is_key(&unique.columns)),
        known_columns: source.columns.iter().map(|column| column.name.clone()).collect(),
        former: BTreeMap::new(),
        fingerprint: fingerprint(rule),
        cascades: !target.cascades.is_empty(),
        key_text: worst,
        rule: rule.clone(),
        inputs,
        outputs,
        key,
        filter,
    })
}

/// What the rule says of rows and values, without what only says what may be passed over.
fn fingerprint(rule: &Rule) -> String {
    serde_json::json!({
        "target": rule.target, "where": rule.filter, "key": rule.key, "insert_only": rule.insert_only, "columns": rule.columns,
    })
    .to_string()
}

/// A target column and what fills it, over the source shape's columns.
struct Draft<'a> {
    column: &'a TargetColumn,
    expression: String,
    uses: Vec<usize>,
    plain: Option<usize>,
}

impl Draft<'_> {
    fn output(&self, source: &SourceShape, at: &impl Fn(usize) -> usize) -> Output {
        let same_type = |column: usize| self.column.type_name == source.columns[column].type_name;
        Output {
            column: self.column.name.clone(),
            sql_type: self.column.type_name.clone(),
            expression: self.plain.map_or_else(|| self.expression.clone(), |column| quote::ident(&source.columns[column].name)),
            uses: self.uses.iter().map(|&column| at(column)).collect(),
            plain: self.plain.map(at),
            key: false,
            supplies: self.plain.is_some_and(same_type),
            binary: self.plain.is_some_and(|column| same_binary(&source.columns[column], self.column)),
        }
    }
}

/// Whether a value's binary form on the source is its binary form on the target: a type that PostgreSQL itself brings under a number that no
/// version changes, and whose values name no object of their database.
fn same_binary(source: &SourceColumn, target: &TargetColumn) -> bool {
    // object identifier types with an alias, aclitem, and arrays of them (PostgreSQL's `pg_type.dat`)
    const OBJECTS: [u32; 26] = [
        24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191, 1008, 2207, 2208, 2209, 2210, 2211, 3735, 3770, 4090,
        4097, 4192, 1033, 1034, 32, 194,
    ];
    /// Numbers from here on are given out anew in each version, or each database.
    const FIRST_UNPINNED: u32 = 8000;
    source.type_oid == target.type_oid
        && source.type_oid < FIRST_UNPINNED
        && !OBJECTS.contains(&source.type_oid)
        && source.type_name == target.type_name
}

fn drafts<'a>(
    rule: &Rule,
    source: &SourceShape,
    target: &'a TargetShape,
    facts: &Facts,
    findings: &mut Vec<Finding>,
) -> Vec<Draft<'a>> {
    let mut drafts = Vec::new();
    for (at, (name, expression)) in rule.columns.iter().enumerate() {
        let Some(column) = target.columns.iter().find(|column| &column.name == name) else {
            findings.push(
                Finding::error("table.target_column_missing", rule.table().to_string(), format!("has no column `{name}`"))
                    .sql(format!("ALTER TABLE {} ADD COLUMN {} ...;", quote::table(rule.table()), quote::ident(name))),
            );
            continue;
        };
        if column.generated {
            let what = format!("column `{name}` is generated by the target itself and cannot be filled");
            findings.push(
                Finding::error("table.target_generated", rule.table().to_string(), what)
                    .hint("leave it out of `[table.columns]`"),
            );
            continue;
        }
        let told = facts.columns.get(at).cloned();
        let ExpressionFacts { uses, .. } =
            told.unwrap_or(ExpressionFacts { type_oid: 0, type_name: String::new(), uses: Vec::new() });
        findings.extend(uses.iter().filter_map(|&used| generated(rule, &source.columns[used])));
        let plain = match form(expression) {
            Form::Column(name) => source.columns.iter().position(|column| column.name == name),
            _ => None,
        };
        drafts.push(Draft { column, expression: expression.clone(), uses: plain.map_or(uses, |column| vec![column]), plain });
    }
    findings.extend(facts.filter.iter().flat_map(|facts| &facts.uses).filter_map(|&used| generated(rule, &source.columns[used])));
    for column in target.columns.iter().filter(|column| !column.generated) {
        let named = rule.columns.iter().any(|(name, _)| name == &column.name);
        let from = source.columns.iter().position(|found| found.name == column.name && found.generated.is_none());
        if let Some(from) = from.filter(|&from| !named && !ignored(rule, &source.columns[from].name)) {
            drafts.push(Draft { column, expression: String::new(), uses: vec![from], plain: Some(from) });
        }
    }
    drafts
}

fn ignored(rule: &Rule, name: &str) -> bool {
    matches!(&rule.ignore, Ignore::Columns(names) if names.iter().any(|ignored| ignored == name))
}

fn generated(rule: &Rule, column: &SourceColumn) -> Option<Finding> {
    let expression = column.generated.as_ref()?;
    let what = format!("column `{}` is generated, and the stream does not carry it", column.name);
    Some(
        Finding::error("table.generated_column", rule.source.to_string(), what)
            .hint(format!("use its expression in its place: {expression}")),
    )
}

/// What a crash of the target would empty, while its checkpoint says that the rows are there.
fn unlogged(target: &TargetShape) -> Vec<Finding> {
    let each = target.unlogged.iter().map(|table| {
        let what = "it is unlogged: a crash of the server would empty it, and what had arrived would not come again";
        Finding::error("table.target_unlogged", table.to_string(), what)
            .sql(format!("ALTER TABLE {} SET LOGGED;", quote::table(table)))
    });
    each.collect()
}

/// Target columns that would stay empty and must not.
fn unfilled(source: &SourceShape, target: &TargetShape, drafts: &[Draft<'_>]) -> Vec<Finding> {
    let empty = target.columns.iter().filter(|column| {
        let filled = drafts.iter().any(|draft| draft.column.name == column.name);
        column.not_null && !column.has_default && !column.generated && !column.identity && !filled
    });
    empty
        .map(|column| {
            let what =
                format!("column `{}` is NOT NULL without a default, and nothing of `{}` fills it", column.name, source.name);
            Finding::error("table.not_null_unmapped", target.name.to_string(), what)
                .config(format!("[table.columns]\n{} = \"...\"", column.name))
        })
        .collect()
}

/// Source columns that would be lost without anybody having said so.
fn unused(rule: &Rule, source: &SourceShape, target: &TargetShape, drafts: &[Draft<'_>], facts: &Facts) -> Vec<Finding> {
    let filter: &[usize] = facts.filter.as_ref().map_or(&[], |facts| &facts.uses);
    let lost: Vec<&SourceColumn> = source
        .columns
        .iter()
        .enumerate()
        .filter(|(at, column)| {
            let used = drafts.iter().any(|draft| draft.uses.contains(at)) || filter.contains(at);
            !used && column.generated.is_none() && rule.ignore != Ignore::Rest && !ignored(rule, &column.name)
        })
        .map(|(_, column)| column)
        .collect();
    if lost.is_empty() {
        return Vec::new();
    }
    let each = |text: fn(&SourceColumn) -> String, between: &str| {
        lost.iter().map(|column| text(column)).collect::<Vec<_>>().join(between)
    };
    let list = each(|column| format!("{:?}", column.name), ", ");
    let what = format!(
        "nothing uses column `{}`: its values would be lost. Leave it out, or give it a place in the target: ALTER TABLE {} {}",
        each(|column| column.name.clone(), "`, `"),
        quote::table(&target.name),
        each(|column| format!("ADD COLUMN {} {}", quote::ident(&column.name), column.type_name), ", ")
    );
    vec![Finding::error("table.column_unused", source.name.to_string(), what).config(format!("ignore = [{list}]"))]
}

fn inputs(source: &SourceShape, drafts: &[Draft<'_>], facts: &Facts, key: &[String]) -> Vec<Input> {
    let filter: &[usize] = facts.filter.as_ref().map_or(&[], |facts| &facts.uses);
    let used = |at: usize| drafts.iter().any(|draft| draft.uses.contains(&at)) || filter.contains(&at);
    let chosen = source.columns.iter().enumerate().filter(|(at, column)| used(*at) || key.contains(&column.name));
    chosen
        .map(|(at, column)| {
            let users: Vec<&Draft<'_>> = drafts.iter().filter(|draft| draft.uses.contains(&at)).collect();
            let as_is = !users.is_empty() && !filter.contains(&at) && users.iter().all(|draft| draft.plain == Some(at));
            let first = users.first().map(|draft| draft.column);
            let one_type =
                as_is && users.iter().all(|draft| Some(&draft.column.type_base) == first.map(|column| &column.type_base));
            // read by the target column's own input function, as COPY does
            let own = first.filter(|_| one_type).map(|column| column.type_base.clone());
            let sql_type = own.or_else(|| facts.input_types.get(at).cloned()).unwrap_or_else(|| column.type_base.clone());
            Input {
                name: column.name.clone(),
                column: at,
                source_type_oid: column.type_oid,
                wire: wire(&sql_type),
                integer: matches!(column.type_base.as_str(), "smallint" | "integer" | "bigint"),
                key_text: key_text(column),
                came: None,
                sql_type,
            }
        })
        .collect()
}

/// Built-in types whose arrays take a comma and whose values unnest gives back one by one.
fn wire(sql_type: &str) -> Wire {
    const NATIVE: [&str; 25] = [
        "boolean",
        "smallint",
        "integer",
        "bigint",
        "oid",
        "real",
        "double precision",
        "numeric",
        "text",
        "character varying",
        "bpchar",
        "name",
        "date",
        "time without time zone",
        "time with time zone",
        "timestamp without time zone",
        "timestamp with time zone",
        "interval",
        "uuid",
        "json",
        "jsonb",
        "bytea",
        "inet",
        "cidr",
        "macaddr",
    ];
    if NATIVE.contains(&sql_type) { Wire::Native } else { Wire::Text }
}

fn nullable_key(source: &SourceShape, key: &[usize], inputs: &[Input]) -> Vec<Finding> {
    let loose = key.iter().map(|&input| &source.columns[inputs[input].column]).filter(|column| !column.not_null);
    loose
        .map(|column| {
            Finding::error("table.key_nullable", source.name.to_string(), format!("key column `{}` may be null", column.name))
                .sql(format!(
                    "ALTER TABLE {} ALTER COLUMN {} SET NOT NULL;",
                    quote::table(&source.name),
                    quote::ident(&column.name)
                ))
        })
        .collect()
}

/// An identity column GENERATED ALWAYS takes values on INSERT (with OVERRIDING), but never on UPDATE.
fn identity_always(target: &TargetShape, outputs: &[Output]) -> Vec<Finding> {
    let fixed = outputs.iter().filter(|output| !output.key);
    let fixed = fixed.filter(|output| target.columns.iter().any(|column| column.name == output.column && column.identity_always));
    fixed
        .map(|output| {
            let what = format!(
                "column `{}` is GENERATED ALWAYS AS IDENTITY and not part of the key: no UPDATE can set it",
                output.column
            );
            Finding::error("table.target_identity_always", target.name.to_string(), what).sql(format!(
                "ALTER TABLE {} ALTER COLUMN {} SET GENERATED BY DEFAULT;",
                quote::table(&target.name),
                quote::ident(&output.column)
            ))
        })
        .collect()
}
