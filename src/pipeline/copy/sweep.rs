//! A copy that is repeated: rows of the target that the source does not have. Never a range delete, for another partition may be ahead, and
//! the two databases may order keys differently: the target's keys are read, the source is asked for exactly these, and what it lacks goes
//! into the re-read set, which brings its absence.

use super::source::{ChunkSource, failed};
use super::worker::Copying;
use crate::pipeline::PipelineError;
use crate::store::reread;
use tokio_postgres::Client;

/// Keys that are asked for at once.
const PAGE: usize = 2000;

/// Looks through a table's targets.
///
/// # Errors
/// See [`PipelineError`].
pub async fn sweep(copying: &Copying, number: usize, source: &ChunkSource, target: &Client) -> Result<(), PipelineError> {
    let at_target = |source| PipelineError::Query { side: "target", source };
    for plan in copying.plans.iter().filter(|plan| copying.tables[number].copying.contains(&plan.target)) {
        let mut behind: Option<Vec<String>> = None;
        while let Some(sql) = plan.target_keys(behind.as_ref(), PAGE) {
            let rows = target.query(&sql, &[]).await.map_err(at_target)?;
            let keys: Vec<Vec<String>> = rows.iter().map(|row| row.get(0)).collect();
            let Some(last) = keys.last().cloned() else { break };
            let some: Vec<&Vec<String>> = keys.iter().collect();
            let absent = source.client.query(&plan.absent_keys(&some), &[]).await.map_err(failed)?;
            let absent: Vec<Vec<String>> = absent.iter().map(|row| row.get(0)).collect();
            if !absent.is_empty() {
                tracing::info!(table = %plan.target, rows = absent.len(), "rows that the source does not have");
                let absent: Vec<&Vec<String>> = absent.iter().collect();
                reread::add(target, &copying.connector.name, &plan.target, &absent).await?;
                copying.window.asks(number, absent.into_iter().cloned());
            }
            behind = Some(last);
        }
    }
    Ok(())
}
