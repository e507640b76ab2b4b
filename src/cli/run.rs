//! `run`: the daemon, both halves.

use super::{Exit, File, Place, signal};
use crate::change::EndLsn;
use crate::config::Connector;
use crate::pipeline::{self, Board, End, FirstCopy, Life, PipelineError, RunOptions, Tasks};
use crate::source;
use clap::Args;
use std::sync::Arc;
use tokio::sync::mpsc;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
    /// Stop with 0 when the target holds this: an LSN of the source, or `current`
    #[arg(long, value_name = "LSN|current")]
    pub endpos: Option<Place>,
    /// Follow only: the target has its rows already
    #[arg(long)]
    pub no_copy: bool,
}

pub(super) async fn run(connector: Connector, options: &Options) -> anyhow::Result<Exit> {
    let endpos = match options.endpos {
        None => None,
        Some(Place::At(end)) => Some(end),
        Some(Place::Current) => Some(current(&connector).await?),
    };
    let copy = if options.no_copy { FirstCopy::Skip } else { FirstCopy::Make };
    let file = options.file.config.clone();
    signal::stoppable(|stop| async move {
        let life = Life {
            connector: Arc::new(connector),
            options: RunOptions { endpos, copy },
            stop,
            board: Arc::new(Board::default()),
            publish: Arc::new(|_| {}),
        };
        let (reload, reloads) = mpsc::channel(1);
        tokio::select! {
            ended = pipeline::run_local(life, reloads) => exit(ended),
            never = signal::reloads(&file, &reload) => never,
        }
    })
    .await
}

/// The exit status of a pipeline that ended.
pub(super) fn exit(ended: Result<End, PipelineError>) -> anyhow::Result<Exit> {
    match ended {
        Ok(End::Stopped | End::Reached | End::Again) => Ok(Exit::Yes),
        Ok(End::HaltedBefore) => Ok(Exit::No),
        Err(PipelineError::Findings(findings)) => {
            anyhow::bail!("it cannot start\n{}", super::output::findings(&findings))
        }
        Err(error) => anyhow::bail!("{}", pipeline::chain(&error)),
    }
}

/// Draws `current`: a mark on the source.
pub(super) async fn current(connector: &Connector) -> anyhow::Result<EndLsn> {
    let tasks = Tasks::default();
    let client = pipeline::open_session(&tasks, &connector.source.endpoint, &connector.object_name()).await?;
    Ok(source::emit_mark(&client).await?)
}
