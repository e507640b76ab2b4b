//! `run`: the daemon, both halves.

use super::{Exit, File, Place, signal};
use crate::change::EndLsn;
use crate::config::Connector;
use crate::pipeline::kafka::{ApplyLife, CaptureLife};
use crate::pipeline::{self, Board, End, FirstCopy, Life, PipelineError, RunOptions, Tasks};
use crate::source;
use clap::Args;
use std::sync::Arc;
use tokio::sync::{broadcast, watch};

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
    let options = RunOptions { endpos, copy, log_only: false };
    signal::stoppable(|stop| async move {
        let (reload, _) = broadcast::channel(1);
        let running = Running { connector: Arc::new(connector), options, stop, board: Arc::default(), reload: reload.clone() };
        tokio::select! {
            ended = running.run() => exit(ended),
            never = signal::reloads(&file, &reload) => never,
        }
    })
    .await
}

/// What the daemon's commands start.
pub(super) struct Running {
    pub connector: Arc<Connector>,
    pub options: RunOptions,
    pub stop: watch::Receiver<bool>,
    pub board: Arc<Board>,
    pub reload: broadcast::Sender<Arc<Connector>>,
}

impl Running {
    /// Both halves, as the log's kind asks for.
    async fn run(&self) -> Result<End, PipelineError> {
        if self.connector.kafka().is_none() {
            return pipeline::run_local(self.local(), self.reload.subscribe()).await;
        }
        let apply = self.apply();
        let held = self.held();
        tokio::select! {
            ended = self.capture() => ended,
            ended = apply => ended,
            ended = held => ended,
        }
    }

    fn local(&self) -> Life {
        Life {
            connector: Arc::clone(&self.connector),
            options: self.options,
            stop: self.stop.clone(),
            board: Arc::clone(&self.board),
            publish: Arc::new(|_| {}),
        }
    }

    pub async fn capture(&self) -> Result<End, PipelineError> {
        let life = CaptureLife {
            connector: Arc::clone(&self.connector),
            options: self.options,
            stop: self.stop.clone(),
            board: Arc::clone(&self.board),
            publish: Arc::new(|_| {}),
        };
        pipeline::kafka::run_capture(life, self.reload.subscribe()).await
    }

    pub async fn apply(&self) -> Result<End, PipelineError> {
        let life = ApplyLife {
            connector: Arc::clone(&self.connector),
            stop: self.stop.clone(),
            board: Arc::clone(&self.board),
            publish: Arc::new(|_| {}),
        };
        pipeline::kafka::run_apply(life, self.reload.subscribe()).await
    }

    /// `--endpos` through Kafka: until the target holds it.
    async fn held(&self) -> Result<End, PipelineError> {
        match self.options.endpos {
            Some(wanted) => pipeline::kafka::until_held(&self.connector, wanted).await,
            None => std::future::pending().await,
        }
    }
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
