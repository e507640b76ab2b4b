//! `drop`: removes what `prepare` made.

use super::{Exit, File, Output};
use crate::config::Connector;
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
    let _ = (connector, options.yes, options.topics, output);
    anyhow::bail!("the pipeline is being written")
}
