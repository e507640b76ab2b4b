//! `prepare`: makes publication, slot, topics and our schema.

use super::{Exit, File, Output};
use crate::config::Connector;
use clap::Args;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
}

pub(super) async fn run(connector: &Connector, output: &Output) -> anyhow::Result<Exit> {
    let _ = (connector, output);
    anyhow::bail!("the pipeline is being written")
}
