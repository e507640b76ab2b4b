//! Which tables have all rows of their copy in the target, and of one moment: before that, values of a unique index may be there twice.

use crate::change::TableName;
use crate::config::Connector;
use crate::event::table_topic;
use crate::pipeline::PipelineError;
use crate::store::table_state::{self, TableState};
use crate::store::{checkpoint, reread, watermark};
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// Local: the copy is recorded with its rows. Kafka: it is recorded when its rows are in the log, so the watermark's offsets of that
/// moment have to be reached.
#[derive(Default)]
pub(super) struct Loaded {
    awaited: BTreeMap<TableName, Vec<i64>>,
}

impl Loaded {
    pub(super) async fn tables(&mut self, client: &Client, connector: &Connector) -> Result<Vec<TableName>, PipelineError> {
        let states = table_state::read(client, &connector.name).await?;
        let copied: Vec<&TableState> = states.iter().filter(|state| state.copied).collect();
        let Some(kafka) = connector.kafka() else { return of_one_moment(client, connector, &copied).await };
        let mark = watermark::read(client, &connector.name).await?;
        let checkpoints = checkpoint::read(client, &connector.name).await?;
        let mut loaded = Vec::new();
        for state in copied {
            let Ok(topic) = table_topic(&kafka.topic_prefix, &state.source) else { continue };
            let now = mark.as_ref().and_then(|mark| mark.ends.get(&topic)).cloned().unwrap_or_default();
            let awaited = self.awaited.entry(state.target.clone()).or_insert(now);
            let reached = awaited.iter().enumerate().all(|(partition, &end)| {
                let of =
                    |found: &&checkpoint::Checkpoint| found.topic == topic && usize::try_from(found.partition) == Ok(partition);
                end <= 0 || checkpoints.iter().find(of).and_then(|found| found.log_offset).unwrap_or(0) >= end
            });
            if reached {
                loaded.push(state.target.clone());
            }
        }
        Ok(loaded)
    }
}

/// A table that stands still stays as it is: what it lacks is not waited for.
async fn of_one_moment(client: &Client, connector: &Connector, copied: &[&TableState]) -> Result<Vec<TableName>, PipelineError> {
    let checkpoints = checkpoint::read(client, &connector.name).await?;
    let end = checkpoints.iter().find(|found| found.topic == checkpoint::LOCAL).and_then(|found| found.end_lsn);
    let calm = reread::count(client, &connector.name).await? == 0;
    let closed = |state: &&&TableState| {
        let passed = state.window.is_none_or(|window| end.is_some_and(|end| end >= window));
        calm && passed && state.lacks_from.is_none() || state.halted.is_some()
    };
    Ok(copied.iter().filter(closed).map(|state| state.target.clone()).collect())
}
