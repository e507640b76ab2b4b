//! Rows that the target refuses for the sake of other rows: a parent that has not come yet, a unique value that another row still has. The rest of
//! what was staged with them comes without them, and they are to be read again.

use super::refused;
use crate::mapping::TablePlan;
use crate::pipeline::PipelineError;
use tokio_postgres::Client;

/// What may be checked at the end of a transaction is checked at once: else it would be refused as a whole.
pub const AT_ONCE: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// Whether other rows may be the reason.
pub fn may_pass(error: &PipelineError) -> bool {
    matches!(error, PipelineError::Session(error) if error.may_pass())
}

/// What became of rows that were staged.
pub struct Sifted {
    /// The source keys of those that have to wait.
    pub left: Vec<Vec<String>>,
    /// Why not all of them came at once.
    pub refusal: Option<PipelineError>,
}

/// Brings what is staged, all at once or else one by one.
///
/// # Errors
/// See [`PipelineError`]. It is not for the sake of other rows that they are refused.
pub async fn bring(client: &Client, plan: &TablePlan, staging: &str) -> Result<Sifted, PipelineError> {
    let refused = |source| refused(plan, source);
    client.batch_execute("SAVEPOINT tablelift_sift").await.map_err(refused)?;
    let refusal = match client.execute(&plan.upsert_from(staging), &[]).await.map_err(refused) {
        Ok(_) => return Ok(Sifted { left: Vec::new(), refusal: None }),
        Err(error) if may_pass(&error) => error,
        Err(error) => return Err(error),
    };
    client.batch_execute("ROLLBACK TO SAVEPOINT tablelift_sift").await.map_err(refused)?;
    client.batch_execute(&plan.sift_from(staging)).await.map_err(refused)?;
    let left = client.query(&plan.staged_keys(staging), &[]).await.map_err(refused)?;
    Ok(Sifted { left: left.iter().map(|row| row.get(0)).collect(), refusal: Some(refusal) })
}
