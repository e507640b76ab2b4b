//! `status`: how it stands, from both databases.

use super::{Exit, File, Output};
use crate::{config::Connector, pipeline};
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
    pipeline::status(connector, options.watch, output).await
}
