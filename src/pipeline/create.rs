//! `create = "missing"`: makes target tables for good. The table, what is recorded of it and what is to follow its load are one
//! transaction, so that a crash leaves all of it or nothing.

use super::PipelineError;
use crate::ddl::{Design, KeyTime, Step};
use crate::store::table_state::TableState;
use crate::store::{after_load, table_state};
use tokio_postgres::Client;

/// Makes one table and takes it on.
///
/// # Errors
/// See [`PipelineError`]; then nothing of it is there.
pub async fn create(target: &Client, connector: &str, design: &Design, state: &TableState) -> Result<(), PipelineError> {
    target.batch_execute("BEGIN; SET LOCAL lock_timeout = '30s'").await.map_err(at_target)?;
    let made = make(target, connector, design, state).await;
    let end = if made.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = target.batch_execute(end).await.map_err(at_target);
    made?;
    ended?;
    tracing::info!(table = %design.target, "made in the target");
    Ok(())
}

async fn make(target: &Client, connector: &str, design: &Design, state: &TableState) -> Result<(), PipelineError> {
    // without a copy there is no load that it could wait for
    let waits = design.key_time == KeyTime::AfterLoad && !state.copied;
    let now = design.key.as_ref().filter(|_| !waits).map(|key| &key.sql);
    for sql in design.create().iter().chain(now) {
        target.batch_execute(sql).await.map_err(at_target)?;
    }
    table_state::insert(target, connector, state).await?;
    let steps: Vec<Step> = design.key.iter().chain(&design.after_load).cloned().collect();
    let done = usize::from(now.is_some());
    after_load::insert(target, connector, &design.target, &steps, done).await?;
    Ok(())
}

fn at_target(source: tokio_postgres::Error) -> PipelineError {
    PipelineError::Query { side: "target", source }
}
