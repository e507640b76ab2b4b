//! Tables that come into the connector file, and that leave it.

use super::PipelineError;
use super::board::Board;
use super::create::create;
use super::prepare::writes;
use crate::change::TableName;
use crate::config::Connector;
use crate::preflight::Compiled;
use crate::store::after_load;
use crate::store::connector::ConnectorRecord;
use crate::store::table_state::{self, Halted, TableState};
use tokio_postgres::Client;

/// Forgets tables that left the file. Through Kafka only once the log says so too: else who adds one again finds it as it was.
///
/// # Errors
/// See [`PipelineError`].
pub async fn leave(target: &Client, connector: &Connector, leaving: &[TableName], board: &Board) -> Result<(), PipelineError> {
    for table in leaving {
        tracing::info!(table = %table, "left the connector file: its rows stay, nothing follows them any more");
        for open in after_load::open(target, &connector.name).await?.iter().filter(|open| open.table == *table) {
            tracing::info!(table = %table, "not made any more: {}: {}", open.step, open.step.sql);
        }
        table_state::delete(target, &connector.name, table).await?;
        board.resumed(table);
    }
    Ok(())
}

/// A new table whose entry does not fit.
#[derive(Clone, Debug)]
pub struct Misfit {
    pub source: TableName,
    pub target: TableName,
}

/// Records new tables, and makes those that the target lacks. One whose entry does not fit is recorded as halted, and nothing is made for it;
/// gives these. `has_rows`: tables whose rows are in the target already.
///
/// # Errors
/// See [`PipelineError`].
pub(super) async fn take_on(
    (target, source): (&Client, &Client),
    record: &mut ConnectorRecord,
    compiled: &[Compiled],
    (board, has_rows): (&Board, impl Fn(&Compiled) -> bool),
) -> Result<Vec<Misfit>, PipelineError> {
    let states = table_state::read(target, &record.name).await?;
    let mut misfits = Vec::new();
    for one in compiled {
        let rule = &one.rule;
        let state = states.iter().find(|state| state.target == rule.target);
        if state.is_some_and(TableState::was_taken_on) {
            continue;
        }
        let new = TableState::new(rule.source.clone(), rule.target.clone(), rule.table().clone());
        let plan = match &one.plan {
            Ok(plan) => plan,
            Err(findings) => {
                let halted = Halted::by(findings);
                if state.is_none() {
                    table_state::insert(target, &record.name, &new).await?;
                }
                tracing::error!(table = %rule.source, "new table halted: {}\n  hint: {}", halted.because, halted.hint);
                table_state::halt(target, &record.name, &rule.target, None, &halted).await?;
                board.halted(&rule.target, halted, None);
                misfits.push(Misfit { source: rule.source.clone(), target: rule.target.clone() });
                continue;
            }
        };
        if state.is_some() {
            tracing::info!(table = %rule.target, "its entry fits now");
            table_state::delete(target, &record.name, &rule.target).await?;
            board.resumed(&rule.target);
        }
        let writes_missed = if rule.insert_only { Some(writes(source, &plan.source).await?) } else { None };
        let state =
            TableState { fingerprint: plan.fingerprint.clone(), copied: state.is_none() && has_rows(one), writes_missed, ..new };
        match &one.design {
            Some(design) => create(target, record, design, &state).await?,
            None => table_state::insert(target, &record.name, &state).await?,
        }
    }
    Ok(misfits)
}
