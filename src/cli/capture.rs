//! `capture`: the source's half of `run`.

use super::{Exit, File, Place, signal};
use crate::config::Connector;
use clap::Args;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
    /// Stop with 0 when the log holds this: an LSN of the source, or `current`
    #[arg(long, value_name = "LSN|current")]
    pub endpos: Option<Place>,
}

pub(super) async fn run(connector: Connector, options: &Options) -> anyhow::Result<Exit> {
    signal::stoppable(|stop| async move {
        let _ = (connector, options.endpos, stop);
        anyhow::bail!("the pipeline is being written")
    })
    .await
}
