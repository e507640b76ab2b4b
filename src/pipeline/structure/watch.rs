//! Beside a life: whether anything became of its tables that a new life has to deal with.

use super::changed;
use crate::change::TableName;
use crate::config::Connector;
use crate::pipeline::leaves::{self, Stand};
use crate::pipeline::{PipelineError, Tasks, chain, entries, publish, session};
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) const EVERY: Duration = Duration::from_secs(10);
/// While the stream is on its way to where something is to be done.
const SOON: Duration = Duration::from_secs(1);

/// Tables that a life knows not to fit: those of a source table, or of one entry by its target.
#[derive(Clone, Debug, Default)]
pub struct Unfit {
    pub sources: BTreeSet<TableName>,
    pub targets: BTreeSet<TableName>,
}

impl Unfit {
    pub fn has(&self, source: &TableName, target: &TableName) -> bool {
        self.sources.contains(source) || self.targets.contains(target)
    }
}

/// Ends when a publication of ours lapses, or has the source refuse an application's writes, when a table's structure changes, or its partitions,
/// or when a pattern takes a table that is new, but for those that do not fit.
pub async fn until_one_changes(connector: &Connector, with_source: bool, unfit: &Unfit) {
    let mut pause = EVERY;
    loop {
        tokio::time::sleep(std::mem::replace(&mut pause, EVERY)).await;
        match look_again(connector, with_source, unfit).await {
            Ok(Stand::Due) => return,
            Ok(Stand::Waits) => pause = SOON,
            Ok(Stand::AsKnown) => {}
            Err(error) => tracing::debug!(error = %chain(&error), "the tables' structure could not be looked at"),
        }
    }
}

async fn look_again(connector: &Connector, with_source: bool, unfit: &Unfit) -> Result<Stand, PipelineError> {
    let (tasks, name) = (Tasks::default(), connector.object_name());
    let target = session::open(&tasks, &connector.target.endpoint, &name).await.map_err(PipelineError::Target)?;
    let source = match with_source {
        true => Some(session::open(&tasks, &connector.source.endpoint, &name).await.map_err(PipelineError::Source)?),
        false => None,
    };
    let changed = changed(source.as_ref(), &target, connector).await?;
    if changed.iter().any(|(target, (source, _))| !unfit.has(source, target)) {
        return Ok(Stand::Due);
    }
    match &source {
        Some(source) if publish::is_due(connector, source, &target).await? => Ok(Stand::Due),
        Some(source) if Box::pin(entries::one_came(connector, source, &target, &unfit.sources)).await? => Ok(Stand::Due),
        Some(source) => leaves::stand(source, &target, connector, unfit).await,
        None => Ok(Stand::AsKnown),
    }
}
