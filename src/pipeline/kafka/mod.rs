//! The two halves of a pipeline whose log is Kafka. Each can run alone on its own host; they meet in the topics.

mod arrivals;
mod barrier;
mod capture;
mod chunk;
mod consume;
mod copy;
mod mirror;
mod partition;
mod record;
mod specs;

pub use capture::CaptureLife;
pub use consume::ApplyLife;
#[cfg(test)]
pub use consume::Plans;
pub use record::{SlotRecord, TableRecord};
pub use specs::TableSpec;

use crate::change::EndLsn;
use crate::config::Connector;
use crate::pipeline::board::{Board, Stream};
use crate::pipeline::{End, PipelineError, Tasks, held, session};
use std::time::Duration;

/// Ends when the target holds a place, or cannot because a table is halted. Not before both halves have begun: only then is it known that
/// the place is one of the source that the target follows.
///
/// # Errors
/// What cannot be tried again.
pub async fn until_held(connector: &Connector, board: &Board, wanted: EndLsn) -> Result<End, PipelineError> {
    while board.stream() == Stream::NotYet {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let tasks = Tasks::default();
        let Ok(client) = session::open(&tasks, &connector.target.endpoint, &connector.object_name()).await else { continue };
        while let Ok(found) = held::held(&client, &connector.name).await {
            if let Some(found) = found {
                if found.holds(wanted) {
                    return Ok(End::Reached);
                }
                if found.lacks_only_halted(wanted) {
                    return Ok(End::HaltedBefore);
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
