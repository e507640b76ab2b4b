//! The key of a table that was loaded without it: first of all that follows, and before any of the table's changes.

use super::build::{Builder, Outcome};
use super::{PipelineError, Traffic};
use crate::change::TableName;
use crate::config::Connector;
use crate::pipeline::board::Board;
use std::time::Duration;

/// A build whose daemon died is ended by its server within two seconds.
const ELSEWHERE: Duration = Duration::from_millis(500);

/// Builds it, if that is still to be done.
///
/// # Errors
/// The target is away; or refuses it ([`PipelineError::Belief`]), with the reason in the statement's record too.
pub async fn key(connector: &Connector, board: &Board, table: &TableName) -> Result<(), PipelineError> {
    let builder = Builder::open(connector, board, Traffic::Still).await?;
    while let Some(open) = builder.key_of(table).await? {
        board.waits(&table.to_string(), Some(format!("being built: {}", open.step)));
        let outcome = builder.build(&open).await;
        board.waits(&table.to_string(), None);
        match outcome? {
            Outcome::Done => break,
            Outcome::Elsewhere => tokio::time::sleep(ELSEWHERE).await,
            Outcome::Failed => {
                let failed = builder.key_of(table).await?.and_then(|open| open.failed);
                let (what, hint) = failed.unwrap_or_else(|| ("its key cannot be built".to_owned(), String::new()));
                return Err(PipelineError::Belief { what, hint });
            }
        }
    }
    Ok(())
}
