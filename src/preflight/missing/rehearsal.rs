//! The tables made, their indexes and constraints too, the rules compiled against them and their statements prepared; then all of it
//! rolled back.

use super::Draft;
use crate::catalog::{self, CatalogError, Scratch, SqlError, run_in};
use crate::change::TableName;
use crate::ddl::{Kind, Step, left_out};
use crate::finding::{Finding, Level};
use crate::mapping;
use crate::pg::quote;
use crate::preflight::rules::Compiled;
use crate::preflight::statement;
use std::collections::BTreeSet;
use tokio_postgres::{GenericClient, Transaction};

/// What came of one table.
pub(super) struct Tried {
    pub draft: Draft,
    pub findings: Vec<Finding>,
    /// `None`: it could not be made.
    pub compiled: Option<Compiled>,
}

/// Tries tables together, for they may refer to each other. The types that they need are there.
pub(super) async fn rehearse(
    target: &mut impl GenericClient,
    compiled: &[Compiled],
    drafts: Vec<Draft>,
) -> Result<Vec<Tried>, CatalogError> {
    let mut transaction = target.transaction().await?;
    transaction.batch_execute("SET LOCAL lock_timeout = '5s'").await?;
    let mut tried = Vec::with_capacity(drafts.len());
    let mut made: BTreeSet<TableName> = BTreeSet::new();
    for draft in drafts {
        let findings = Vec::from_iter(create(&transaction, &draft).await?);
        if findings.is_empty() {
            made.insert(draft.design.target.clone());
        }
        tried.push(Tried { draft, findings, compiled: None });
    }
    for one in tried.iter_mut().filter(|one| made.contains(&one.draft.design.target)) {
        follow(&transaction, one, &made, |kind| !matches!(kind, Kind::ForeignKey)).await?;
    }
    for one in tried.iter_mut().filter(|one| made.contains(&one.draft.design.target)) {
        follow(&transaction, one, &made, |kind| matches!(kind, Kind::ForeignKey)).await?;
    }
    let names: Vec<TableName> = made.into_iter().collect();
    let mut shapes = catalog::target_shapes(&transaction, &names).await?;
    for one in &mut tried {
        let of = &compiled[one.draft.at];
        let (Some(shape), Some(source)) = (shapes.remove(&of.rule.target), &of.source) else { continue };
        let plan = mapping::compile(&of.rule, source, &shape, &one.draft.facts);
        let scratch = Scratch::open(&mut transaction, &catalog::inputs(source)).await?;
        let result = Compiled { plan, target: Some(shape), design: None, ..of.clone() };
        one.findings.extend(statement::refused_in(&scratch, &result).await?);
        scratch.close().await?;
        one.compiled = Some(result);
    }
    transaction.rollback().await?;
    Ok(tried)
}

/// Makes the table and its key; gives what the target has against it.
async fn create(transaction: &Transaction<'_>, draft: &Draft) -> Result<Option<Finding>, CatalogError> {
    let design = &draft.design;
    let key = design.key.as_ref().map(|key| key.sql.clone());
    for sql in design.schemas().into_iter().chain([design.table()]).chain(key) {
        if let Err(refused) = run_in(transaction, &sql).await? {
            let role: String = transaction.query_one("SELECT current_user::text", &[]).await?.try_get(0)?;
            return Ok(Some(not_made(design.schema, &design.target, &role, &refused)));
        }
    }
    Ok(None)
}

fn not_made(schema: bool, table: &TableName, role: &str, refused: &SqlError) -> Finding {
    let what = format!("it cannot be made in the target: {refused}");
    let finding = Finding::error("table.target_not_makeable", table.to_string(), what);
    let role = quote::ident(role);
    let name = quote::ident(&table.schema);
    match (refused.code.as_str(), schema) {
        ("42501", true) => finding.sql(format!("CREATE SCHEMA {name} AUTHORIZATION {role};")),
        ("42501", false) => finding.sql(format!("GRANT USAGE, CREATE ON SCHEMA {name} TO {role};")),
        _ => finding.hint("`tablelift plan` shows the statement; correct the entry, or make the table yourself"),
    }
}

/// Runs what follows the load; what is refused is taken off, and said.
async fn follow(
    transaction: &Transaction<'_>,
    one: &mut Tried,
    made: &BTreeSet<TableName>,
    of: fn(Kind) -> bool,
) -> Result<(), CatalogError> {
    let steps: Vec<Step> = one.draft.design.after_load.iter().filter(|step| of(step.kind)).cloned().collect();
    for step in steps {
        // on a table that is there, it would stop its writers; and what is new has no rows to be looked at
        let away = step.refers.as_ref().is_some_and(|refers| !made.contains(refers));
        if away || matches!(step.kind, Kind::Analyze | Kind::Validate) || !one.draft.design.after_load.contains(&step) {
            continue;
        }
        if let Err(refused) = run_in(transaction, &step.sql).await? {
            one.draft.design.without(&step);
            let finding =
                left_out(&one.draft.design.target, step.kind.word(), &step.name, &format!("the target refuses it: {refused}"));
            one.findings.push(Finding { level: Level::Warning, ..finding });
        }
    }
    Ok(())
}
