//! The rule's statements, tried on the real target: prepared, never run.

use super::{Compiled, listed};
use crate::catalog::{self, CatalogError, Scratch};
use crate::finding::Finding;
use crate::mapping::{Ignore, Kind, SourceShape, Statement, TablePlan, TargetShape};
use crate::pg::quote;
use tokio_postgres::GenericClient;

/// What the target has against the rule's types and statements.
pub(super) async fn refused<C: GenericClient>(target: &mut C, one: &Compiled) -> Result<Vec<Finding>, CatalogError> {
    let (Some(source), Some(_)) = (&one.source, &one.target) else { return Ok(Vec::new()) };
    let scratch = Scratch::open(target, &catalog::inputs(source)).await?;
    let findings = refused_in(&scratch, one).await?;
    scratch.close().await?;
    Ok(findings)
}

/// The same in a transaction that has the source's columns, and perhaps made the target table.
pub(super) async fn refused_in(scratch: &Scratch<'_>, one: &Compiled) -> Result<Vec<Finding>, CatalogError> {
    let (Some(source), Some(to)) = (&one.source, &one.target) else { return Ok(Vec::new()) };
    let mut findings = unfit_columns(scratch, one, source, to).await?;
    findings.extend(unsteady(scratch, one).await?);
    if let (false, Ok(plan)) = (findings.iter().any(Finding::is_error), &one.plan) {
        findings.extend(unprepared(scratch, plan).await?);
    }
    Ok(findings)
}

/// Target columns of a type that cannot take their expression.
async fn unfit_columns(
    scratch: &Scratch<'_>,
    one: &Compiled,
    source: &SourceShape,
    to: &TargetShape,
) -> Result<Vec<Finding>, CatalogError> {
    let mut findings = Vec::new();
    for (name, expression) in &one.rule.columns {
        let Some(column) = to.columns.iter().find(|column| &column.name == name && !column.generated) else { continue };
        let Err(error) = scratch.takes(&to.name, name, expression).await? else { continue };
        // One that is wrong by itself has its finding already.
        if scratch.facts(expression).await?.is_err() {
            continue;
        }
        let what = format!("column `{name}` of type {} cannot take `{}`: {error}", column.type_name, one_line(expression));
        let line = format!("{} = \"({})::{}\"", toml_key(name), one_line(expression), column.type_name);
        findings.push(Finding::error("table.target_type", to.name.to_string(), what).config(format!("[table.columns]\n{line}")));
    }
    for (at, column) in source.columns.iter().enumerate().filter(|(_, column)| column.generated.is_none()) {
        let named = one.rule.columns.iter().any(|(name, _)| name == &column.name);
        let ignored = matches!(&one.rule.ignore, Ignore::Columns(names) if names.contains(&column.name));
        let Some(into) = to.columns.iter().find(|into| into.name == column.name && !into.generated && !named && !ignored) else {
            continue;
        };
        // Read by the column's own input function, as COPY does: a type that the target lacks arrives as its text.
        if into.type_base == column.type_base || scratch.declared().get(at).is_some_and(|declared| declared.as_text) {
            findings.extend(narrower(to, &column.name, &column.type_name, &into.type_name, &column.type_base, &into.type_base));
            continue;
        }
        if let Err(error) = scratch.takes(&to.name, &column.name, &quote::ident(&column.name)).await? {
            let what = format!(
                "column `{}` of type {} cannot take the source's {}: {error}",
                column.name, into.type_name, column.type_name
            );
            let line = format!("{} = '{}::{}'", toml_key(&column.name), quote::ident(&column.name), into.type_name);
            findings
                .push(Finding::error("table.target_type", to.name.to_string(), what).config(format!("[table.columns]\n{line}")));
        } else {
            findings.extend(narrower(to, &column.name, &column.type_name, &into.type_name, &column.type_base, &into.type_base));
        }
    }
    Ok(findings)
}

/// Expressions that give another value each time.
async fn unsteady(scratch: &Scratch<'_>, one: &Compiled) -> Result<Vec<Finding>, CatalogError> {
    let columns = one.rule.columns.iter().map(|(name, sql)| (format!("the expression of `{name}`"), sql));
    let filter = one.rule.filter.iter().map(|sql| ("`where`".to_owned(), sql));
    let mut findings = Vec::new();
    for (place, expression) in columns.chain(filter) {
        let functions = scratch.unsteady(expression).await?;
        if functions.is_empty() {
            continue;
        }
        let what = format!(
            "{place} uses {}, which is another each time: a repeated update, a replay or a new copy gives a row another value",
            listed(&functions)
        );
        let hint = "take it from a column of the source; a function that always gives the same for the same row may be marked IMMUTABLE or STABLE";
        findings.push(Finding::warning("table.expression_volatile", one.rule.source.to_string(), what).hint(hint));
    }
    Ok(findings)
}

/// The same type with other limits, or a smaller number: most values fit, and one that does not halts its table or is rounded.
fn narrower(to: &TargetShape, name: &str, from: &str, into: &str, from_base: &str, into_base: &str) -> Option<Finding> {
    const WIDTHS: [&[&str]; 3] = [
        &["smallint", "integer", "bigint", "numeric"],
        &["real", "double precision"],
        &["timestamp without time zone", "timestamp with time zone"],
    ];
    let rank =
        |base: &str| WIDTHS.iter().enumerate().find_map(|(group, widths)| Some((group, widths.iter().position(|w| *w == base)?)));
    let limited = from_base == into_base && from != into && into != into_base && !wider(from, into);
    let smaller = matches!((rank(from_base), rank(into_base)), (Some((a, from)), Some((b, into))) if a == b && into < from);
    if !limited && !smaller {
        return None;
    }
    let what = format!(
        "column `{name}` of type {into} cannot hold every value of the source's {from}: they are rounded, or halt the table"
    );
    let sql = format!("ALTER TABLE {} ALTER COLUMN {} TYPE {from};", quote::table(&to.name), quote::ident(name));
    Some(Finding::warning("table.target_narrower", to.name.to_string(), what).sql(sql))
}

/// Both have limits, and none of the second's is smaller: `varchar(5)` into `varchar(10)`, `numeric(9,2)` into `numeric(12,2)`.
fn wider(from: &str, into: &str) -> bool {
    let (Some(from), Some(into)) = (limits(from), limits(into)) else { return false };
    match (from.as_slice(), into.as_slice()) {
        ([from], [into]) => into >= from,
        ([digits, scale], [more_digits, more_scale]) => more_scale >= scale && more_digits - more_scale >= digits - scale,
        _ => false,
    }
}

fn limits(type_name: &str) -> Option<Vec<i64>> {
    let inner = type_name.split_once('(')?.1.split_once(')')?.0;
    inner.split(',').map(|number| number.trim().parse().ok()).collect()
}

/// Each statement that apply will use.
async fn unprepared(scratch: &Scratch<'_>, plan: &TablePlan) -> Result<Vec<Finding>, CatalogError> {
    for (name, statement) in statements(plan) {
        let Ok(sql) = plan.sql(&statement) else { continue };
        if let Err(error) = scratch.prepares(&sql).await? {
            // What is missing in rights has a finding that names the right.
            if error.code == "42501" {
                continue;
            }
            let what = format!("the server cannot prepare its {name}: {error}");
            let hint = "`tablelift plan` shows the statement; correct the entry, or the target table";
            return Ok(vec![Finding::error("table.target_statement", plan.target.to_string(), what).hint(hint)]);
        }
    }
    Ok(Vec::new())
}

/// What apply asks of a table, by name.
pub(super) fn statements(plan: &TablePlan) -> Vec<(&'static str, Statement)> {
    let mut statements = vec![("insert", Statement::Insert)];
    match plan.kind {
        Kind::InsertOnly => {}
        Kind::Keyless => statements.push(("delete", Statement::DeleteOne)),
        Kind::Keyed => statements.extend([
            ("upsert", Statement::Upsert),
            ("update", Statement::Update(Vec::new())),
            ("key change", Statement::Move(Vec::new())),
            ("delete", Statement::Delete),
        ]),
    }
    statements
}

fn one_line(expression: &str) -> String {
    expression.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A name as a key of the connector file.
fn toml_key(name: &str) -> String {
    let bare = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare && !name.is_empty() { name.to_owned() } else { format!("{name:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_compared() {
        assert!(wider("character varying(5)", "character varying(10)"));
        assert!(!wider("character varying(10)", "character varying(5)"));
        assert!(wider("numeric(9,2)", "numeric(12,4)") && !wider("numeric(9,2)", "numeric(9,3)"));
        assert!(!wider("numeric", "numeric(9,2)"));
    }
}
