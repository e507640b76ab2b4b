//! `create = "missing"`: makes target tables for good. The types that a table needs, the table, what is recorded of it and what is to
//! follow its load are one transaction, so that a crash leaves all of it or nothing.

use super::PipelineError;
use crate::ddl::{ALONE, Design, KeyTime, Step};
use crate::store::connector::ConnectorRecord;
use crate::store::table_state::TableState;
use crate::store::{self, after_load, table_state};
use tokio_postgres::Client;

/// Makes one table and takes it on; `record` says then which types were made for it.
///
/// # Errors
/// See [`PipelineError`]; then nothing of it is there.
pub async fn create(
    target: &Client,
    record: &mut ConnectorRecord,
    design: &Design,
    state: &TableState,
) -> Result<(), PipelineError> {
    target.batch_execute("BEGIN; SET LOCAL lock_timeout = '30s'").await.map_err(at_target)?;
    let before = record.made.types.len();
    let made = make(target, record, design, state).await;
    if made.is_err() {
        record.made.types.truncate(before);
    }
    let end = if made.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = target.batch_execute(end).await.map_err(at_target);
    made?;
    ended?;
    tracing::info!(table = %design.target, "made in the target");
    Ok(())
}

async fn make(target: &Client, record: &mut ConnectorRecord, design: &Design, state: &TableState) -> Result<(), PipelineError> {
    // another connector may be about to make the same schema, or the same type
    target.batch_execute(ALONE).await.map_err(at_target)?;
    for sql in design.schemas() {
        target.batch_execute(&sql).await.map_err(at_target)?;
    }
    make_types(target, record, design).await?;
    // without a copy there is no load that it could wait for
    let waits = design.key_time == KeyTime::AfterLoad && !state.copied;
    let now = design.key.as_ref().filter(|_| !waits).map(|key| &key.sql);
    for sql in [design.table()].iter().chain(now) {
        target.batch_execute(sql).await.map_err(at_target)?;
    }
    table_state::insert(target, &record.name, state).await?;
    let steps: Vec<Step> = design.key.iter().chain(&design.after_load).cloned().collect();
    let done = usize::from(now.is_some());
    after_load::insert(target, &record.name, &design.target, &steps, done).await?;
    Ok(())
}

/// Each is looked for first: an earlier table's, or somebody else, may have made it since it was found to be missing.
async fn make_types(target: &Client, record: &mut ConnectorRecord, design: &Design) -> Result<(), PipelineError> {
    let before = record.made.types.len();
    for given in design.types.iter().map(|one| &one.given) {
        let sql = "SELECT pg_catalog.to_regtype($1) IS NOT NULL";
        let there: bool = target.query_one(sql, &[&given.name]).await.map_err(at_target)?.get(0);
        let Some(sql) = given.sql().filter(|_| !there) else { continue };
        target.batch_execute(&sql).await.map_err(at_target)?;
        tracing::info!("makes the type {} in the target", given.name);
        record.made.types.push(given.name.clone());
    }
    if record.made.types.len() > before {
        store::connector::write(target, record).await?;
    }
    Ok(())
}

fn at_target(source: tokio_postgres::Error) -> PipelineError {
    PipelineError::Query { side: "target", source }
}
