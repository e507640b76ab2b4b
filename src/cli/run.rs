//! `run`: the daemon, both halves.

use super::attend::{Progress, attend};
use super::{Exit, File, Place, signal};
use crate::change::EndLsn;
use crate::config::Connector;
use crate::pipeline::kafka::{ApplyLife, CaptureLife};
use crate::pipeline::{self, Course, End, FirstCopy, Life, Live, PipelineError, RunOptions, Tasks};
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

pub(super) async fn run(connector: Connector, options: &Options, progress: Progress) -> anyhow::Result<Exit> {
    let options = run_options(&connector, options.endpos, options.no_copy, false).await?;
    daemon(connector, options, Halves::Both, progress).await
}

/// What the command line asks for.
pub(super) async fn run_options(
    connector: &Connector,
    endpos: Option<Place>,
    no_copy: bool,
    log_only: bool,
) -> anyhow::Result<RunOptions> {
    let endpos = match endpos {
        None => None,
        Some(Place::At(end)) => Some(end),
        Some(Place::Current) => Some(current(connector).await?),
    };
    Ok(RunOptions { endpos, copy: if no_copy { FirstCopy::Skip } else { FirstCopy::Make }, log_only })
}

/// Which halves of the pipeline this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halves {
    Both,
    Capture,
    Apply,
}

/// Runs until it ends for good or is stopped.
pub(super) async fn daemon(
    connector: Connector,
    options: RunOptions,
    halves: Halves,
    progress: Progress,
) -> anyhow::Result<Exit> {
    let file = connector.file.clone();
    let connector = Arc::new(connector);
    let attendance = attend(&connector, progress);
    let live = Arc::clone(&attendance.live);
    signal::stoppable(|stop| async move {
        let running = Running { connector, options, stop, live, reload: broadcast::channel(1).0 };
        tokio::select! {
            ended = running.run(halves) => exit(ended),
            never = signal::reloads(&file, |connector| running.reload(connector)) => never,
        }
    })
    .await
}

struct Running {
    connector: Arc<Connector>,
    options: RunOptions,
    stop: watch::Receiver<bool>,
    live: Arc<Live>,
    reload: broadcast::Sender<Arc<Connector>>,
}

impl Running {
    /// The connector file was read anew. What was pinned on the first start cannot be taken on by one half and refused by the other.
    async fn reload(&self, connector: Arc<Connector>) {
        let other: Vec<String> = connector
            .unpinned(self.connector.pinned().map(|(_, _, value)| value))
            .map(|(_, what, was, is)| format!("{what} is `{was}` since it first started, not `{is}`"))
            .collect();
        if other.is_empty() {
            self.reload.send(connector).ok();
        } else {
            tracing::error!("SIGHUP: the connector file stays as it was: {}", other.join("; "));
        }
    }

    async fn run(&self, halves: Halves) -> Result<End, PipelineError> {
        let ended = match (self.connector.kafka(), halves) {
            (None, _) => self.local().await,
            (_, Halves::Capture) => self.capture(self.stop.clone()).await,
            (_, Halves::Apply) => self.apply(self.stop.clone()).await,
            (_, Halves::Both) => self.both().await,
        };
        if matches!(ended, Ok(End::Reached)) && halves != Halves::Capture {
            self.finish().await;
        }
        ended
    }

    /// What is still to be built on tables that we made.
    async fn finish(&self) {
        let mut stop = self.stop.clone();
        tokio::select! {
            finished = pipeline::finish_all(&self.connector, &self.live.board) => {
                if let Err(error) = finished {
                    tracing::warn!(error = %pipeline::chain(&error), "what follows the loads is left to the next run");
                }
            }
            () = pipeline::stopped(&mut stop) => {}
        }
    }

    /// Ends with the first that ends, and not before the others have stopped in good order: a member that goes without leaving its group
    /// keeps its partitions from the next one for a session's timeout.
    async fn both(&self) -> Result<End, PipelineError> {
        self.live.board.has_halves(2);
        let (tell, stop) = watch::channel(false);
        let mut capture = Box::pin(self.capture(stop.clone()));
        let mut apply = Box::pin(self.apply(stop));
        let end = || tell.send_replace(true);
        tokio::select! {
            ended = &mut capture => {
                end();
                let applied = apply.await;
                ended.and_then(|end| applied.map(|_| end))
            }
            ended = &mut apply => {
                end();
                let captured = capture.await;
                ended.and_then(|end| captured.map(|_| end))
            }
            ended = self.asked() => {
                end();
                let (captured, applied) = tokio::join!(capture, apply);
                ended.and_then(|end| captured.and(applied).map(|_| end))
            }
        }
    }

    /// Until both halves are to end.
    async fn asked(&self) -> Result<End, PipelineError> {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = pipeline::stopped(&mut stop) => Ok(End::Stopped),
            ended = self.held() => ended,
        }
    }

    fn course(&self, stop: watch::Receiver<bool>) -> Course {
        let (name, live) = (self.connector.name.clone(), Arc::clone(&self.live));
        Course { name, live, stop, reload: self.reload.subscribe(), back: self.reload.clone() }
    }

    async fn local(&self) -> Result<End, PipelineError> {
        let live = Arc::clone(&self.live);
        let stop = self.stop.clone();
        let course = self.course(stop.clone());
        let life = Life {
            connector: Arc::clone(&self.connector),
            options: self.options,
            stop,
            board: Arc::clone(&self.live.board),
            publish: Arc::new(move |meter| live.counts(meter)),
            apart: Vec::new(),
            fits: false,
        };
        pipeline::run(life, course).await
    }

    async fn capture(&self, stop: watch::Receiver<bool>) -> Result<End, PipelineError> {
        let live = Arc::clone(&self.live);
        let board = Arc::clone(&self.live.board);
        let course = self.course(stop.clone());
        let life = CaptureLife {
            options: self.options,
            stop,
            publish: Arc::new(move |meter| live.captures(meter)),
            ..CaptureLife::new(Arc::clone(&self.connector), board)
        };
        pipeline::run(life, course).await
    }

    async fn apply(&self, stop: watch::Receiver<bool>) -> Result<End, PipelineError> {
        let live = Arc::clone(&self.live);
        let course = self.course(stop.clone());
        let life = ApplyLife {
            connector: Arc::clone(&self.connector),
            stop,
            board: Arc::clone(&self.live.board),
            publish: Arc::new(move |meter| live.counts(meter)),
        };
        pipeline::run(life, course).await
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
fn exit(ended: Result<End, PipelineError>) -> anyhow::Result<Exit> {
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
