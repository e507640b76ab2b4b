//! `drop`: removes what `prepare` made.

use super::{Exit, File, Output};
use crate::{config::Connector, pipeline};
use clap::Args;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Remove the topics too, with all that is in them
    #[arg(long)]
    pub topics: bool,
}

pub(super) async fn run(connector: &Connector, options: &Options, output: &Output) -> anyhow::Result<Exit> {
    pipeline::drop(connector, options.yes, options.topics, output).await
}
