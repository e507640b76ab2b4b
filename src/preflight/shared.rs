//! Entries that fill one target table: a constant of its own in the table's key keeps each one's rows from those of the others.

use crate::catalog::CatalogError;
use crate::change::TableName;
use crate::finding::Finding;
use crate::mapping::{Kind, TablePlan};
use crate::pg::quote;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

/// Plans, by their place, whose rows could be another entry's too.
///
/// # Errors
/// We could not ask the target.
pub async fn mixed<'p>(
    target: &Client,
    plans: impl Iterator<Item = Option<&'p TablePlan>>,
) -> Result<BTreeMap<usize, Finding>, CatalogError> {
    let mut tables: BTreeMap<&TableName, Vec<(usize, &TablePlan)>> = BTreeMap::new();
    for (at, plan) in plans.enumerate() {
        if let Some(plan) = plan.filter(|plan| plan.rule.shared.is_some()) {
            tables.entry(&plan.into).or_default().push((at, plan));
        }
    }
    let mut found = BTreeMap::new();
    for (table, sharing) in tables {
        let columns = constants(&sharing);
        let mixed = match columns.is_empty() {
            true => sharing.iter().map(|(at, _)| *at).collect(),
            false => alike(target, table, &sharing, &columns).await?,
        };
        let sources: Vec<String> = sharing.iter().map(|(_, plan)| format!("`{}`", plan.source)).collect();
        for at in mixed {
            let what = format!("the entries of {} fill this table, and nothing keeps their rows apart", sources.join(", "));
            let hint = "give each of them a constant of its own for one and the same column of the target's key, such as \
                        `[table.columns] origin = \"'eu'\"`, or another `target`";
            found.insert(at, Finding::error("table.target_twice", table.to_string(), what).hint(hint));
        }
    }
    Ok(found)
}

/// Key columns for which each of them has a constant.
fn constants<'p>(sharing: &[(usize, &'p TablePlan)]) -> Vec<&'p String> {
    let of = |plan: &'p TablePlan| plan.key_constants().map(|output| &output.column);
    let keyed = sharing.iter().all(|(_, plan)| plan.kind == Kind::Keyed);
    let Some((_, first)) = sharing.first().filter(|_| keyed) else { return Vec::new() };
    of(first).filter(|column| sharing.iter().all(|(_, plan)| of(plan).any(|other| other == *column))).collect()
}

/// Those that have the constants of another one, or NULL. Compared as the table's index does: by its columns' types and collations.
async fn alike(
    target: &Client,
    table: &TableName,
    sharing: &[(usize, &TablePlan)],
    columns: &[&String],
) -> Result<BTreeSet<usize>, CatalogError> {
    let names: Vec<String> = columns.iter().map(|column| quote::ident(column)).collect();
    let values = sharing.iter().enumerate().map(|(nth, (_, plan))| {
        let value = |column: &&String| {
            let output = plan.key_outputs().find(|output| output.column == **column).expect("each of them has it");
            format!("({})::{}", output.expression, output.sql_type)
        };
        format!(" UNION ALL SELECT {nth}, {}", columns.iter().map(value).collect::<Vec<_>>().join(", "))
    });
    let same: Vec<String> = names.iter().map(|name| format!("a.{name} = b.{name}")).collect();
    let null: Vec<String> = names.iter().map(|name| format!("a.{name} IS NULL")).collect();
    let sql = format!(
        "WITH v(\"tablelift:n\", {names}) AS MATERIALIZED (SELECT 0, {names} FROM {} WHERE false{})
         SELECT a.\"tablelift:n\" FROM v AS a WHERE {} OR EXISTS
           (SELECT FROM v AS b WHERE a.\"tablelift:n\" <> b.\"tablelift:n\" AND {})",
        quote::table(table),
        values.collect::<String>(),
        null.join(" OR "),
        same.join(" AND "),
        names = names.join(", "),
    );
    let rows = target.query(&sql, &[]).await?;
    Ok(rows.iter().filter_map(|row| usize::try_from(row.get::<_, i32>(0)).ok()).map(|nth| sharing[nth].0).collect())
}
