//! Tables that come into the connector file, and that leave it.

use super::PipelineError;
use super::create::create;
use super::prepare::{FirstCopy, writes};
use crate::config::Connector;
use crate::preflight::Compiled;
use crate::store::after_load;
use crate::store::connector::ConnectorRecord;
use crate::store::table_state::{self, TableState};
use tokio_postgres::Client;

/// Forgets tables that left the file.
///
/// # Errors
/// See [`PipelineError`].
pub(super) async fn leave(target: &Client, connector: &Connector, compiled: &[Compiled]) -> Result<(), PipelineError> {
    for state in table_state::read(target, &connector.name).await? {
        if !compiled.iter().any(|one| one.rule.target == state.target) {
            tracing::info!(table = %state.target, "left the connector file: its rows stay, nothing follows them any more");
            for open in after_load::open(target, &connector.name).await?.iter().filter(|open| open.table == state.target) {
                tracing::info!(table = %state.target, "not made any more: {}: {}", open.step, open.step.sql);
            }
            table_state::delete(target, &connector.name, &state.target).await?;
        }
    }
    Ok(())
}

/// Records new tables, and makes those that the target lacks.
///
/// # Errors
/// See [`PipelineError`].
pub(super) async fn take_on(
    target: &Client,
    source: &Client,
    record: &mut ConnectorRecord,
    compiled: &[Compiled],
    copy: FirstCopy,
) -> Result<(), PipelineError> {
    let states = table_state::read(target, &record.name).await?;
    for one in compiled {
        let known = states.iter().any(|state| state.target == one.rule.target);
        let Ok(plan) = &one.plan else { continue };
        if known {
            continue;
        }
        let state = TableState {
            source: plan.source.clone(),
            target: plan.target.clone(),
            into: plan.into.clone(),
            fingerprint: plan.fingerprint.clone(),
            copied: copy == FirstCopy::Skip,
            lacks_from: None,
            halted: None,
            writes_missed: if plan.rule.insert_only { Some(writes(source, &plan.source).await?) } else { None },
            rows_copied: 0,
            bytes_copied: 0,
            copying: false,
            loading: false,
            repeats: false,
            partial: false,
            sweeps: true,
            moved: false,
            window: None,
            structure: None,
        };
        match &one.design {
            Some(design) => create(target, record, design, &state).await?,
            None => table_state::insert(target, &record.name, &state).await?,
        }
    }
    Ok(())
}
