//! The DDL of a target table that is missing: the rule's columns with the types of their expressions, its key, its NOT NULLs. Tried in
//! a transaction that is rolled back, and the rule's statements on it.

use super::{Compiled, statement};
use crate::catalog::{self, CatalogError, Scratch};
use crate::finding::{Finding, Remedy};
use crate::mapping::{self, Facts, Ignore, Rule, SourceShape};
use crate::pg::quote;
use tokio_postgres::GenericClient;

/// A column of the table to be made.
struct Column {
    name: String,
    type_name: String,
    not_null: bool,
    /// The source column that it takes as it is.
    from: Option<usize>,
    comment: Option<String>,
}

/// Adds the DDL to the finding that the table is missing, and what would be wrong even then.
pub(super) async fn propose<C: GenericClient>(target: &mut C, one: &mut Compiled) -> Result<(), CatalogError> {
    let (Some(source), Err(findings)) = (&one.source, &mut one.plan) else { return Ok(()) };
    let (facts, refused) = catalog::rule_facts(target, &one.rule, source).await?;
    findings.extend(refused.iter().map(|refused| super::rules::refusal(&one.rule, refused)));
    if !refused.is_empty() {
        return Ok(());
    }
    let columns = columns(&one.rule, source, &facts);
    let mut statements = Vec::from_iter(schema(&*target, &one.rule).await?);
    statements.push(ddl(&one.rule, source, &columns));
    if let Some(missing) = findings.iter_mut().find(|finding| finding.code == "table.target_missing") {
        missing.remedy = Some(Remedy::Sql(statements.join("\n")));
    }
    let further = rehearse(target, &one.rule, source, &facts, &statements).await?;
    findings.extend(further);
    Ok(())
}

fn columns(rule: &Rule, source: &SourceShape, facts: &Facts) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for ((name, expression), facts) in rule.columns.iter().zip(&facts.columns) {
        let from = plain(source, expression);
        let mut column = match from {
            Some(at) => as_it_is(source, at, &facts.type_name),
            None => {
                Column { name: String::new(), type_name: facts.type_name.clone(), not_null: false, from: None, comment: None }
            }
        };
        column.name.clone_from(name);
        columns.push(column);
    }
    let used = |at: usize| facts.columns.iter().any(|facts| facts.uses.contains(&at));
    for (at, column) in source.columns.iter().enumerate() {
        let ignored = match &rule.ignore {
            Ignore::Rest => !key(rule, source).contains(&column.name),
            Ignore::Columns(names) => names.contains(&column.name),
        };
        let taken = columns.iter().any(|made| made.name == column.name);
        if column.generated.is_none() && !ignored && !used(at) && !taken {
            columns.push(as_it_is(source, at, facts.input_types.get(at).unwrap_or(&column.type_base)));
        }
    }
    columns
}

/// `declared`: its type without length as the target has it, `text` where it has none of that name.
fn as_it_is(source: &SourceShape, at: usize, declared: &str) -> Column {
    let column = &source.columns[at];
    let known = declared == column.type_base;
    Column {
        name: column.name.clone(),
        type_name: if known { column.type_name.clone() } else { declared.to_owned() },
        not_null: column.not_null,
        from: Some(at),
        comment: (!known).then(|| format!("the target has no type {}", column.type_name)),
    }
}

fn plain(source: &SourceShape, expression: &str) -> Option<usize> {
    let text = expression.trim();
    let text = text.strip_prefix("src.").unwrap_or(text);
    source.columns.iter().position(|column| {
        let folded = text.to_lowercase() == column.name && column.name.chars().all(|c| c.is_alphanumeric() || c == '_');
        folded || text == quote::ident(&column.name)
    })
}

/// The source columns that tell rows apart; none where nothing does.
fn key(rule: &Rule, source: &SourceShape) -> Vec<String> {
    if rule.insert_only {
        return Vec::new();
    }
    let default = if source.identity_columns.is_empty() { &source.primary_key } else { &source.identity_columns };
    rule.key.clone().unwrap_or_else(|| default.clone())
}

fn ddl(rule: &Rule, source: &SourceShape, columns: &[Column]) -> String {
    let key: Vec<Option<&Column>> = key(rule, source)
        .iter()
        .map(|name| columns.iter().find(|column| column.from.is_some_and(|at| &source.columns[at].name == name)))
        .collect();
    let mut lines: Vec<String> = Vec::with_capacity(columns.len() + 1);
    let last = columns.len() - usize::from(!columns.is_empty());
    let keyed = !key.is_empty() && key.iter().all(Option::is_some);
    for (at, column) in columns.iter().enumerate() {
        let not_null = if column.not_null { " NOT NULL" } else { "" };
        let comma = if at < last || keyed { "," } else { "" };
        let comment = column.comment.as_ref().map(|text| format!("  -- {text}")).unwrap_or_default();
        lines.push(format!("    {} {}{not_null}{comma}{comment}", quote::ident(&column.name), column.type_name));
    }
    if keyed {
        let names: Vec<String> = key.iter().flatten().map(|column| quote::ident(&column.name)).collect();
        lines.push(format!("    PRIMARY KEY ({})", names.join(", ")));
    }
    format!("CREATE TABLE {} (\n{}\n);", quote::table(&rule.target), lines.join("\n"))
}

/// Making a schema that is there already asks for a right that making the table does not.
async fn schema<C: GenericClient>(target: &C, rule: &Rule) -> Result<Option<String>, CatalogError> {
    let name = quote::ident(&rule.target.schema);
    let row = target.query_one("SELECT to_regnamespace($1) IS NULL", &[&name]).await?;
    Ok(row.try_get::<_, bool>(0)?.then(|| format!("CREATE SCHEMA {name};")))
}

/// Makes the table, compiles the rule against it and prepares its statements; then rolls back.
async fn rehearse<C: GenericClient>(
    target: &mut C,
    rule: &Rule,
    source: &SourceShape,
    facts: &Facts,
    statements: &[String],
) -> Result<Vec<Finding>, CatalogError> {
    let scratch = Scratch::open(target, &catalog::inputs(source)).await?;
    let mut made = true;
    for sql in statements {
        // Refused where the role may not make it: then its DDL is all we can say.
        made &= scratch.run(sql).await?.is_ok();
    }
    let shape = catalog::target_shapes(scratch.transaction(), std::slice::from_ref(&rule.target)).await?.remove(&rule.target);
    let mut further = Vec::new();
    if let (true, Some(shape)) = (made, shape) {
        let plan = mapping::compile(rule, source, &shape, facts);
        let compiled = Compiled { rule: rule.clone(), source: Some(source.clone()), target: Some(shape), plan };
        further.extend(compiled.plan.as_ref().err().into_iter().flatten().cloned());
        further.extend(statement::refused_in(&scratch, &compiled).await?);
    }
    scratch.close().await?;
    Ok(further)
}
