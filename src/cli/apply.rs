//! `apply`: the target's half of `run`.

use super::attend::Progress;
use super::capture::needs_kafka;
use super::run::{Halves, daemon};
use super::{Exit, File};
use crate::config::Connector;
use crate::pipeline::{FirstCopy, RunOptions};
use clap::Args;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
}

pub(super) async fn run(connector: Connector, progress: Progress) -> anyhow::Result<Exit> {
    needs_kafka(&connector)?;
    let options = RunOptions { endpos: None, copy: FirstCopy::Skip, log_only: false };
    daemon(connector, options, Halves::Apply, progress).await
}
