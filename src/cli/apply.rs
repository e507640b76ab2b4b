//! `apply`: the target's half of `run`.

use super::attend::{Progress, attend};
use super::capture::needs_kafka;
use super::run::{Running, exit};
use super::{Exit, File, signal};
use crate::config::Connector;
use crate::pipeline::{FirstCopy, RunOptions};
use clap::Args;
use std::sync::Arc;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
}

pub(super) async fn run(connector: Connector, progress: Progress) -> anyhow::Result<Exit> {
    needs_kafka(&connector)?;
    let options = RunOptions { endpos: None, copy: FirstCopy::Skip, log_only: false };
    let file = connector.file.clone();
    let connector = Arc::new(connector);
    let attendance = attend(&connector, progress);
    let live = Arc::clone(&attendance.live);
    signal::stoppable(|stop| async move {
        let running = Running::new(connector, options, stop, live);
        tokio::select! {
            ended = running.apply() => exit(ended),
            never = signal::reloads(&file, |connector| running.reload(connector)) => never,
        }
    })
    .await
}
