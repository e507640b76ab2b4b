//! Types that a table to be made needs, and the target does not have.

use super::listed;
use super::rules::Compiled;
use crate::catalog::{self, CatalogError};
use crate::ddl::{Design, GivenType, TypeForm};
use crate::finding::Finding;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

/// One finding for each of them, what it is made of before it.
pub(super) async fn missing(
    source: &Client,
    target: &Client,
    compiled: &[Compiled],
    designs: &[&Design],
) -> Result<Vec<Finding>, CatalogError> {
    let mut users: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for design in designs {
        let shape = compiled.iter().find(|one| one.rule.target == design.target).and_then(|one| one.source.as_ref());
        for column in design.columns.iter().filter(|column| column.lacks.is_some()) {
            if let Some(from) = column.from.and_then(|at| shape?.columns.get(at)) {
                users.entry(from.type_oid).or_default().push(format!("{}.{}", design.target, column.name));
            }
        }
    }
    let mut findings = Vec::new();
    let mut told: BTreeSet<String> = BTreeSet::new();
    for (oid, columns) in users {
        let types = catalog::given_types(source, &[oid]).await?;
        for (one, schema_there) in catalog::missing_types(target, &types).await? {
            if told.insert(one.sql().unwrap_or_else(|| one.name.clone())) {
                findings.push(finding(&one, schema_there, &columns));
            }
        }
    }
    Ok(findings)
}

fn finding(given: &GivenType, schema_there: bool, columns: &[String]) -> Finding {
    let what = format!("it has no type {}, which is needed for {}", given.name, listed(columns));
    let finding = Finding::error("target.type_missing", "target", what);
    match given.sql() {
        Some(sql) if schema_there || matches!(given.form, TypeForm::Extension(_)) => finding.sql(sql),
        Some(sql) => finding.sql(format!("CREATE SCHEMA IF NOT EXISTS {};\n{sql}", given.schema)),
        None => finding.hint("make it there, or give the column an expression, such as a cast to text"),
    }
}
