//! `run`: the daemon, both halves.

use super::{Exit, File, Place, signal};
use crate::config::Connector;
use clap::Args;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
    /// Stop with 0 when the target holds this: an LSN of the source, or `current`
    #[arg(long, value_name = "LSN|current")]
    pub endpos: Option<Place>,
    /// Follow only: the target has its rows already
    #[arg(long)]
    pub no_copy: bool,
}

pub(super) async fn run(connector: Connector, options: &Options) -> anyhow::Result<Exit> {
    signal::stoppable(|stop| async move {
        let _ = (connector, options.endpos, options.no_copy, stop);
        anyhow::bail!("the pipeline is being written")
    })
    .await
}
