//! `apply`: the target's half of `run`.

use super::{Exit, File, signal};
use crate::config::Connector;
use clap::Args;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
}

pub(super) async fn run(connector: Connector) -> anyhow::Result<Exit> {
    signal::stoppable(|stop| async move {
        let _ = (connector, stop);
        anyhow::bail!("the pipeline is being written")
    })
    .await
}
