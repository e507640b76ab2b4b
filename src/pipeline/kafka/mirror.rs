//! The copy in the target of what capture recorded: watermark and table states, for `wait`, `status` and apply. Written when the
//! target is reachable; newer ones replace what could not be written.

use super::record::SlotRecord;
use crate::config::Connector;
use crate::pipeline::{PipelineError, Tasks, session};
use crate::store::checkpoint;
use crate::store::watermark::{self, Watermark};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_postgres::Client;

/// Writes each record into the target, the newest only, until the channel closes.
pub async fn mirror(connector: Arc<Connector>, mut records: watch::Receiver<Option<SlotRecord>>) {
    let mut pause = Duration::from_millis(200);
    loop {
        let tasks = Tasks::default();
        let ended = match session::open(&tasks, &connector.target.endpoint, &connector.object_name()).await {
            Ok(client) => follow(&client, &connector, &mut records, &mut pause).await,
            Err(error) => Err(PipelineError::Target(error)),
        };
        match ended {
            Ok(()) => return,
            Err(error) => tracing::debug!(error = %crate::pipeline::chain(&error), "the target's copy of the watermark waits"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

async fn follow(
    client: &Client,
    connector: &Connector,
    records: &mut watch::Receiver<Option<SlotRecord>>,
    pause: &mut Duration,
) -> Result<(), PipelineError> {
    records.mark_changed();
    while records.changed().await.is_ok() {
        let record = records.borrow_and_update().clone();
        if let Some(record) = record {
            write(client, connector, &record).await?;
            *pause = Duration::from_millis(200);
        }
    }
    Ok(())
}

/// The watermark first: a table that is said to lack nothing has all its events below the watermark's offsets.
///
/// # Errors
/// See [`PipelineError`].
pub async fn write(client: &Client, connector: &Connector, record: &SlotRecord) -> Result<(), PipelineError> {
    let mut ends: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (topic, partition, end) in record.ends.iter() {
        let of_topic = ends.entry(topic.to_owned()).or_default();
        let at = usize::try_from(partition).unwrap_or(0);
        of_topic.resize(of_topic.len().max(at + 1), 0);
        of_topic[at] = end;
    }
    let failed = |source| PipelineError::Query { side: "target", source };
    client.batch_execute("BEGIN").await.map_err(failed)?;
    // what an older capture sends behind the first event of a newer one is void, however well it is acknowledged
    let number = i64::try_from(record.epoch).unwrap_or(i64::MAX);
    if !broken!(MirrorUnfenced) && !checkpoint::is_captured_by(client, &connector.name, number).await? {
        return client.batch_execute("ROLLBACK").await.map_err(failed);
    }
    watermark::write(client, &connector.name, &Watermark { end: record.end(), ends }).await?;
    for (source, table) in &record.tables {
        let (because, hint) = table.halted.clone().map_or((None, None), |(because, hint)| (Some(because), Some(hint)));
        // a halt of apply's is apply's to lift
        let sql = "UPDATE tablelift.table_state SET lacks_from = $3,
                   state = CASE WHEN $4 AND state = 'new' THEN 'follow' ELSE state END,
                   rows_copied = greatest(rows_copied, $5), bytes_copied = greatest(bytes_copied, $8),
                   halted_because = coalesce($6, CASE WHEN hint LIKE 'capture: %' THEN NULL ELSE halted_because END),
                   hint = coalesce('capture: ' || $7, CASE WHEN hint LIKE 'capture: %' THEN NULL ELSE hint END)
                   WHERE connector = $1 AND source_schema || '.' || source_name = $2 AND fingerprint <> ''
                   AND ((lacks_from, halted_because) IS DISTINCT FROM ($3, $6) OR rows_copied < $5 OR $4 AND state = 'new')";
        client
            .execute(
                sql,
                &[
                    &connector.name,
                    source,
                    &table.lacks_from,
                    &table.copied,
                    &table.rows_copied,
                    &because,
                    &hint,
                    &table.bytes_copied,
                ],
            )
            .await
            .map_err(failed)?;
    }
    client.batch_execute("COMMIT").await.map_err(failed)
}
