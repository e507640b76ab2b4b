//! The first copy. A table with a key is read in chunks while its changes flow: each chunk in a short transaction of its own, entered between
//! two transactions of the stream (see `turn`), its progress recorded with its rows. What has no key is copied whole
//! (see `whole`).

mod begin;
mod load;
mod pipe;
mod reread;
mod sessions;
mod sift;
mod source;
mod sweep;
mod target;
mod unreadable;
mod whole;
mod work;
mod worker;

pub(super) use begin::{begin, in_chunks};
pub(super) use reread::{Rereader, Rereads};
pub(super) use source::{ChunkSource, Reading, failed as at_source};
pub(super) use target::Targets;
pub(super) use whole::{Copier, open_snapshot, temporary_name};
pub(super) use work::{Task, Work};
pub(super) use worker::{CopyTable, Copying, Limits, all};

use super::PipelineError;
use super::turn::ChunkTurn;
use crate::change::EndLsn;
use crate::mapping::TablePlan;
use crate::target::TargetError;
pub(super) use pipe::Piped;
use tokio_postgres::Client;

/// Opens the other end of a worker.
pub(super) trait Sinks: Send + Sync {
    type Sink: Sink;

    fn open(&self) -> impl Future<Output = Result<Self::Sink, PipelineError>> + Send;
}

/// Where chunks go.
pub(super) trait Sink: Send {
    /// Waits until what was brought has got on, so that the stream does not queue behind it.
    fn ready(&mut self) -> impl Future<Output = Result<(), PipelineError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Waits, before the turn, for whoever has locked the table: in it the stream would wait too.
    fn unlocked(&mut self, _number: usize) -> impl Future<Output = Result<(), PipelineError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Brings a chunk's rows, in its turn. Local: they are durable, and so is the progress. Kafka: they stand in the log's order.
    fn bring(
        &mut self,
        task: &Task,
        source: &ChunkSource,
        reading: &Reading,
        turn: &ChunkTurn,
    ) -> impl Future<Output = Result<Piped, ChunkError>> + Send;

    /// Brings rows that are to be read again, in their turn, or their absence; and ends the requests, but those that it gives back: other
    /// rows are in their way.
    fn reread(
        &mut self,
        rereads: &Rereads<'_>,
        source: &ChunkSource,
        until: EndLsn,
    ) -> impl Future<Output = Result<Vec<i64>, ChunkError>> + Send;

    /// Makes durable what was brought, and records it, if that is still to be done.
    fn settle(&mut self) -> impl Future<Output = Result<(), PipelineError>> + Send;

    /// Undoes a chunk that was not brought.
    fn give_back(&mut self) -> impl Future<Output = Result<(), PipelineError>> + Send;

    /// The session on the target.
    fn client(&self) -> &Client;

    /// All rows of a table are brought, and that is recorded.
    fn finished(&self, _number: usize) {}
}

/// Why a chunk was not brought.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChunkError {
    /// A transaction that the stream has brought is not visible yet.
    #[error("transaction {0} is not visible yet")]
    Invisible(u64),
    #[error("the stream has brought more than is remembered one by one")]
    NoBarrier,
    #[error("the table's file is another one")]
    Rewritten,
    #[error("the stream has waited for too long")]
    TooLong,
    #[error(transparent)]
    Failed(#[from] PipelineError),
}

fn refused(plan: &TablePlan, source: tokio_postgres::Error) -> PipelineError {
    PipelineError::Session(TargetError::Refused { table: plan.target.clone(), source })
}
