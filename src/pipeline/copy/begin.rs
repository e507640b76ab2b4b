//! Tables that are new: their ranges are planned and recorded before the stream brings their first change.

use crate::catalog;
use crate::change::{Position, TableName};
use crate::config::Connector;
use crate::ddl;
use crate::mapping::{Kind, TablePlan};
use crate::pipeline::PipelineError;
use crate::pipeline::board::Board;
use crate::store::table_state::{self, Halted, TableState};
use crate::store::{after_load, copy_range};
use crate::target::TargetError;
use tokio_postgres::Client;

/// Whether a table is copied in chunks.
pub fn in_chunks(plan: &TablePlan) -> bool {
    plan.kind == Kind::Keyed && !plan.outputs.is_empty()
}

/// Takes up the copies of new tables, and notes in `states` which are under way. `brought`: the stream has brought everything before
/// it. Where a table's key is still to be built, its changes from there on wait for it.
///
/// # Errors
/// See [`PipelineError`].
pub async fn begin<'p>(
    (source, target, epoch): (&Client, &Client, i64),
    connector: &Connector,
    plans: impl Iterator<Item = &'p TablePlan>,
    (states, brought): (&mut [TableState], Position),
    board: &Board,
) -> Result<(), PipelineError> {
    let fresh = |plan: &&TablePlan| states.iter().any(|state| state.target == plan.target && !state.copied && !state.copying);
    let plans: Vec<&TablePlan> = plans.filter(|plan| in_chunks(plan)).filter(fresh).collect();
    if plans.is_empty() {
        return Ok(());
    }
    let open = after_load::open(target, &connector.name).await?;
    let keyless: Vec<TableName> =
        open.into_iter().filter(|open| open.step.kind == ddl::Kind::Key).map(|open| open.table).collect();
    let names: Vec<_> = plans.iter().map(|plan| plan.source.clone()).collect();
    let parts = catalog::parts(source, &names).await?;
    for plan in plans {
        if connector.kafka().is_none() && is_filled(target, plan).await? {
            let because = format!("`{}` is not empty: the first copy would mix with the rows that are there", plan.target);
            let hint = "empty it, or run with --no-copy if it holds the source's rows already".to_owned();
            tracing::error!(table = %plan.target, "the first copy halted: {because}\n  hint: {hint}");
            let halted = Halted { because, hint };
            table_state::halt(target, &connector.name, &plan.target, None, &halted).await?;
            board.halted(&plan.target, halted, None);
            continue;
        }
        let ranges = crate::chunk::plan(parts.get(&plan.source).map_or(&[][..], Vec::as_slice));
        let from = keyless.contains(&plan.target).then_some(brought);
        let name = &connector.name;
        let ours = match from {
            Some(from) => copy_range::load(target, name, epoch, &plan.target, from, &ranges).await?,
            None => copy_range::plan(target, name, epoch, &plan.target, &ranges).await?,
        };
        TargetError::fenced_unless(ours)?;
        table_state::lift(target, &connector.name, &plan.target).await?;
        board.resumed(&plan.target);
        for state in states.iter_mut().filter(|state| state.target == plan.target) {
            (state.copying, state.loading, state.halted) = (true, from.is_some(), None);
            state.lacks_from = from.or(state.lacks_from);
        }
    }
    Ok(())
}

async fn is_filled(target: &Client, plan: &TablePlan) -> Result<bool, PipelineError> {
    let row = target.query_one(&plan.filled(), &[]).await;
    Ok(row.map_err(|source| PipelineError::Query { side: "target", source })?.get(0))
}
