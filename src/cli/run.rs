//! `run`: the daemon, both halves.

use super::attend::{Progress, attend};
use super::{Exit, File, Place, signal};
use crate::change::EndLsn;
use crate::config::Connector;
use crate::pipeline::{self, End, FirstCopy, Life, PipelineError, RunOptions, Tasks};
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

pub(super) async fn run(connector: Connector, options: &Options, progress: Progress) -> anyhow::Result<Exit> {
    let endpos = match options.endpos {
        None => None,
        Some(Place::At(end)) => Some(end),
        Some(Place::Current) => Some(current(&connector).await?),
    };
    let copy = if options.no_copy { FirstCopy::Skip } else { FirstCopy::Make };
    let file = options.file.config.clone();
    let connector = Arc::new(connector);
    let attendance = attend(&connector, progress);
    let live = Arc::clone(&attendance.live);
    signal::stoppable(|stop| async move {
        let counting = Arc::clone(&live);
        let life = Life {
            connector,
            options: RunOptions { endpos, copy },
            stop,
            board: Arc::clone(&live.board),
            publish: Arc::new(move |meter| counting.counts(meter)),
        };
        let (reload, reloads) = mpsc::channel(1);
        let reload = async |connector: Arc<Connector>| {
            live.reloaded(Arc::clone(&connector));
            reload.send(connector).await.ok();
        };
        tokio::select! {
            ended = pipeline::run_local(life, reloads) => exit(ended),
            never = signal::reloads(&file, reload) => never,
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
