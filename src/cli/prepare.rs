//! `prepare`: makes publication, slot, topics and our schema.

use super::{Exit, File, Output};
use crate::{config::Connector, pipeline};
use clap::Args;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
}

pub(super) async fn run(connector: &Connector, output: &Output) -> anyhow::Result<Exit> {
    pipeline::prepare(connector, output).await
}
