//! `capture`: the source's half of `run`.

use super::attend::Progress;
use super::run::{Halves, daemon, run_options};
use super::{Exit, File, Place};
use crate::config::Connector;
use clap::Args;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
    /// Stop with 0 when the log holds this: an LSN of the source, or `current`
    #[arg(long, value_name = "LSN|current")]
    pub endpos: Option<Place>,
    /// Follow only: the target has its rows already
    #[arg(long)]
    pub no_copy: bool,
}

pub(super) async fn run(connector: Connector, options: &Options, progress: Progress) -> anyhow::Result<Exit> {
    needs_kafka(&connector)?;
    let options = run_options(&connector, options.endpos, options.no_copy, true).await?;
    daemon(connector, options, Halves::Capture, progress).await
}

/// The halves run apart only where a log stands between them.
pub(super) fn needs_kafka(connector: &Connector) -> anyhow::Result<()> {
    anyhow::ensure!(
        connector.kafka().is_some(),
        "the log is local: its two halves are one process\n  hint: `tablelift run`, or `kind = \"kafka\"` in `[log]`"
    );
    Ok(())
}
