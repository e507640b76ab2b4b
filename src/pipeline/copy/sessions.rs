//! A session on each side, opened when first needed, and the pauses that whoever works over them has in common.

use super::source::ChunkSource;
use super::worker::Copying;
use super::{Sink, Sinks};
use crate::pipeline::PipelineError;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at what passes in a moment: a lag, a commit that is not visible.
pub const MOMENT: Duration = Duration::from_millis(20);
/// Between two tries while the world is away, at the most.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Rows in the way, or missing parents, mostly are on their way in the stream.
pub const REFUSED_PAUSE: Duration = Duration::from_millis(200);
pub const REFUSED_LIMIT: Duration = Duration::from_secs(60);
/// A table that halted is tried again after so long.
pub const HALT_PAUSE: Duration = Duration::from_secs(30);

/// One worker's.
pub struct Sessions<S: Sinks> {
    copying: Arc<Copying>,
    sinks: Arc<S>,
    open: Option<(ChunkSource, S::Sink)>,
}

impl<S: Sinks> Sessions<S> {
    pub fn new(copying: Arc<Copying>, sinks: Arc<S>) -> Self {
        Self { copying, sinks, open: None }
    }

    /// Both, opened if they are not.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn both(&mut self) -> Result<(&ChunkSource, &mut S::Sink), PipelineError> {
        if self.open.is_none() {
            let Copying { connector, system, board, .. } = &*self.copying;
            let (source, sink) = tokio::try_join!(ChunkSource::open(connector, system, board), self.sinks.open())?;
            self.open = Some((source, sink));
        }
        let (source, sink) = self.open.as_mut().expect("they were opened a moment ago");
        Ok((source, sink))
    }

    /// The source's, if it is open.
    pub fn source(&self) -> Option<&ChunkSource> {
        self.open.as_ref().map(|(source, _)| source)
    }

    /// Both are in a state that nobody knows: the next ones are new.
    pub fn forget(&mut self) {
        self.open = None;
    }

    /// Undoes what was begun over them.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn give_back(&mut self) -> Result<(), PipelineError> {
        if let Some((source, sink)) = &mut self.open {
            source.end().await?;
            sink.give_back().await?;
        }
        Ok(())
    }
}

/// Says that something is tried again. Two of our own sessions that are after the same unique values stand in each other's way now and then,
/// and a moment later no more: that is no warning.
pub fn tell(error: &PipelineError, what: &str) {
    let sqlstate = match error {
        PipelineError::Session(error) => error.server().map(|error| error.code().code()),
        _ => None,
    };
    let error = crate::pipeline::chain(error);
    if matches!(sqlstate, Some("55P03" | "40P01")) { tracing::info!(error, "{what}") } else { tracing::warn!(error, "{what}") }
}
