//! Why a connector does not run.

use crate::catalog::CatalogError;
use crate::change::TableName;
use crate::fate::Fate;
use crate::finding::Finding;
use crate::log::LogError;
use crate::pg::ConnectError;
use crate::pipeline::local::LocalError;
use crate::source::SourceError;
use crate::store::StoreError;
use crate::target::TargetError;

/// Everything that ends a run of the pipeline, to be tried again or not.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error("cannot reach the source")]
    Source(#[source] ConnectError),
    #[error("cannot reach the target")]
    Target(#[source] ConnectError),
    #[error("the source's stream ended")]
    Stream(#[from] SourceError),
    #[error("the catalogs cannot be read")]
    Catalog(#[from] CatalogError),
    #[error("the log")]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the target's session ended")]
    Session(#[from] TargetError),
    #[error("writing to the target failed")]
    Write(#[from] LocalError),
    #[error("a query on the {side} failed")]
    Query { side: &'static str, source: tokio_postgres::Error },
    /// Things to be put right first; already told one by one.
    #[error("{} error finding(s) stand against it", .0.iter().filter(|finding| finding.is_error()).count())]
    Findings(Vec<Finding>),
    /// It was there a moment ago.
    #[error("the source table `{table}` went while it was looked at")]
    Moved { table: TableName },
    #[error("{what}\n  hint: {hint}")]
    Belief { what: String, hint: String },
}

impl PipelineError {
    pub fn fate(&self) -> Fate {
        match self {
            PipelineError::Source(error) | PipelineError::Target(error) => error.fate(),
            PipelineError::Stream(error) => error.fate(),
            PipelineError::Catalog(error) => error.fate(),
            PipelineError::Log(error) => error.fate(),
            PipelineError::Store(error) => error.fate(),
            PipelineError::Session(error) => error.fate(),
            PipelineError::Write(error) => error.fate(),
            PipelineError::Query { source, .. } => crate::pg::fate_of(source),
            PipelineError::Moved { .. } => Fate::Retry,
            PipelineError::Findings(_) | PipelineError::Belief { .. } => Fate::Halt,
        }
    }

    /// A short name for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            PipelineError::Source(_) => "source_connect",
            PipelineError::Target(_) => "target_connect",
            PipelineError::Stream(_) => "source_stream",
            PipelineError::Catalog(_) | PipelineError::Query { .. } | PipelineError::Moved { .. } => "catalog",
            PipelineError::Log(_) => "log",
            PipelineError::Store(_) | PipelineError::Session(_) | PipelineError::Write(_) => "target_write",
            PipelineError::Findings(_) => "findings",
            PipelineError::Belief { .. } => "belief",
        }
    }
}
