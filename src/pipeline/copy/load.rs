//! A table that was made without its key, and is loaded before any of its changes comes: they wait, with the slot, from where the stream
//! stood when the load began. Its chunks go straight in, for there is nothing to meet; and the stream stands still only for their snapshots.
//! Rows that moved meanwhile may come twice, from two moments; then one of them goes when the key is built. What has waited brings the rest
//! right, as after any copy.

use super::worker::Copying;
use crate::change::TableName;
use crate::chunk::Range;
use crate::pg::quote;
use crate::pipeline::{PipelineError, after_load};
use crate::store::{checkpoint, copy_range};
use crate::target::TargetError;
use tokio_postgres::Client;

/// Its file is another one, and its ranges are void: what was read would all be read twice.
///
/// # Errors
/// See [`PipelineError`]. Another program has taken the connector over: what it has brought must not go.
pub async fn begin_anew(copying: &Copying, target: &Client, table: &TableName, ranges: &[Range]) -> Result<(), PipelineError> {
    let at_target = |source| PipelineError::Query { side: "target", source };
    let name = &copying.connector.name;
    target.batch_execute("BEGIN").await.map_err(at_target)?;
    // before the TRUNCATE: it takes the checkpoint's lock first, as the writer does
    TargetError::fenced_unless(checkpoint::is_ours(target, name, copying.epoch).await?)?;
    target.batch_execute(&format!("TRUNCATE ONLY {}", quote::table(table))).await.map_err(at_target)?;
    TargetError::fenced_unless(copy_range::plan(target, name, copying.epoch, table, ranges).await?)?;
    target.batch_execute("COMMIT").await.map_err(at_target)
}

/// All its rows are there: builds its key.
///
/// # Errors
/// See [`PipelineError`].
pub async fn build_keys(copying: &Copying, number: usize) -> Result<(), PipelineError> {
    for target in &copying.tables[number].copying {
        after_load::key(&copying.connector, &copying.board, target).await?;
    }
    Ok(())
}

/// Ends the life once no load is under way: the next one begins with the changes that have waited. Not before, for each costs the others
/// the chunks that they are at.
pub fn catch_up(copying: &Copying) {
    if copying.work.is_at_rest(|number| copying.tables[number].loads) {
        copying.changed.notify_one();
    }
}
