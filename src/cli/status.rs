//! `status`: how it stands, from both databases.

use super::{Exit, File, Output};
use crate::config::Connector;
use clap::Args;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
    /// Show it anew every second, until interrupted
    #[arg(long)]
    pub watch: bool,
}

pub(super) async fn run(connector: &Connector, options: &Options, output: &Output) -> anyhow::Result<Exit> {
    let _ = (connector, options.watch, output);
    anyhow::bail!("the pipeline is being written")
}
