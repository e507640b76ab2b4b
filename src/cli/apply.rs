//! `apply`: the target's half of `run`.

use super::capture::needs_kafka;
use super::run::{Running, exit};
use super::{Exit, File, signal};
use crate::config::Connector;
use crate::pipeline::{FirstCopy, RunOptions};
use clap::Args;
use std::sync::Arc;
use tokio::sync::broadcast;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
}

pub(super) async fn run(connector: Connector) -> anyhow::Result<Exit> {
    needs_kafka(&connector)?;
    let options = RunOptions { endpos: None, copy: FirstCopy::Skip, log_only: false };
    let file = connector.file.clone();
    signal::stoppable(|stop| async move {
        let (reload, _) = broadcast::channel(1);
        let running = Running { connector: Arc::new(connector), options, stop, board: Arc::default(), reload: reload.clone() };
        tokio::select! {
            ended = running.apply() => exit(ended),
            never = signal::reloads(&file, &reload) => never,
        }
    })
    .await
}
