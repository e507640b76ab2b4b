//! `run`: the daemon, both halves.

use super::attend::{Progress, attend};
use super::{Exit, File, Place, signal};
use crate::change::EndLsn;
use crate::config::Connector;
use crate::pipeline::kafka::{ApplyLife, CaptureLife};
use crate::pipeline::{self, End, FirstCopy, Life, Live, PipelineError, RunOptions, Tasks};
use crate::source;
use clap::Args;
use std::collections::BTreeMap;
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

pub(super) async fn run(connector: Connector, options: &Options, progress: Progress) -> anyhow::Result<Exit> {
    let endpos = match options.endpos {
        None => None,
        Some(Place::At(end)) => Some(end),
        Some(Place::Current) => Some(current(&connector).await?),
    };
    let copy = if options.no_copy { FirstCopy::Skip } else { FirstCopy::Make };
    let file = options.file.config.clone();
    let options = RunOptions { endpos, copy, log_only: false };
    let connector = Arc::new(connector);
    let attendance = attend(&connector, progress);
    let live = Arc::clone(&attendance.live);
    signal::stoppable(|stop| async move {
        let running = Running::new(connector, options, stop, live);
        tokio::select! {
            ended = running.run() => exit(ended),
            never = signal::reloads(&file, |connector| running.reload(connector)) => never,
        }
    })
    .await
}

/// What the daemon's commands start.
pub(super) struct Running {
    connector: Arc<Connector>,
    options: RunOptions,
    stop: watch::Receiver<bool>,
    live: Arc<Live>,
    reload: broadcast::Sender<Arc<Connector>>,
}

impl Running {
    pub fn new(connector: Arc<Connector>, options: RunOptions, stop: watch::Receiver<bool>, live: Arc<Live>) -> Self {
        Self { connector, options, stop, live, reload: broadcast::channel(1).0 }
    }

    /// The connector file was read anew.
    pub async fn reload(&self, connector: Arc<Connector>) {
        self.live.reloaded(Arc::clone(&connector));
        self.reload.send(connector).ok();
    }

    /// Both halves, as the log's kind asks for.
    pub async fn run(&self) -> Result<End, PipelineError> {
        if self.connector.kafka().is_none() {
            let live = Arc::clone(&self.live);
            let life = Life {
                connector: Arc::clone(&self.connector),
                options: self.options,
                stop: self.stop.clone(),
                board: Arc::clone(&self.live.board),
                publish: Arc::new(move |meter| live.counts(meter)),
                apart: Vec::new(),
            };
            return pipeline::run_local(life, self.reload.subscribe()).await;
        }
        self.live.board.has_halves(2);
        tokio::select! {
            ended = Box::pin(self.capture()) => ended,

            ended = Box::pin(self.apply()) => ended,
            ended = self.held() => ended,
        }
    }

    pub async fn capture(&self) -> Result<End, PipelineError> {
        let live = Arc::clone(&self.live);
        let life = CaptureLife {
            connector: Arc::clone(&self.connector),
            options: self.options,
            stop: self.stop.clone(),
            board: Arc::clone(&self.live.board),
            publish: Arc::new(move |meter| live.captures(meter)),
            refused: BTreeMap::new(),
            topics: BTreeMap::new(),
        };
        pipeline::kafka::run_capture(life, self.reload.subscribe()).await
    }

    pub async fn apply(&self) -> Result<End, PipelineError> {
        let live = Arc::clone(&self.live);
        let life = ApplyLife {
            connector: Arc::clone(&self.connector),
            stop: self.stop.clone(),
            board: Arc::clone(&self.live.board),
            publish: Arc::new(move |meter| live.counts(meter)),
        };
        pipeline::kafka::run_apply(life, self.reload.subscribe()).await
    }

    /// `--endpos` through Kafka: until the target holds it.
    async fn held(&self) -> Result<End, PipelineError> {
        match self.options.endpos {
            Some(wanted) => pipeline::kafka::until_held(&self.connector, &self.live.board, wanted).await,
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
