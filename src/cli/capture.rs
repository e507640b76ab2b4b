//! `capture`: the source's half of `run`.

use super::attend::{Progress, attend};
use super::run::{Running, current, exit};
use super::{Exit, File, Place, signal};
use crate::config::Connector;
use crate::pipeline::{FirstCopy, RunOptions};
use clap::Args;
use std::sync::Arc;

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
    let endpos = match options.endpos {
        None => None,
        Some(Place::At(end)) => Some(end),
        Some(Place::Current) => Some(current(&connector).await?),
    };
    let copy = if options.no_copy { FirstCopy::Skip } else { FirstCopy::Make };
    let options = RunOptions { endpos, copy, log_only: true };
    let file = connector.file.clone();
    let connector = Arc::new(connector);
    let attendance = attend(&connector, progress);
    let live = Arc::clone(&attendance.live);
    signal::stoppable(|stop| async move {
        let running = Running::new(connector, options, stop, live);
        tokio::select! {
            ended = running.capture() => exit(ended),
            never = signal::reloads(&file, |connector| running.reload(connector)) => never,
        }
    })
    .await
}

/// The halves run apart only where a log stands between them.
pub(super) fn needs_kafka(connector: &Connector) -> anyhow::Result<()> {
    anyhow::ensure!(
        connector.kafka().is_some(),
        "the log is local: its two halves are one process\n  hint: `tablelift run`, or `kind = \"kafka\"` in `[log]`"
    );
    Ok(())
}
