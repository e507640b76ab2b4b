//! `wait`: returns when the target holds a position.

use super::{Exit, File, Output, Place, value};
use crate::config::Connector;
use clap::Args;
use std::time::Duration;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
    /// What to wait for: an LSN of the source, or what is committed there now
    #[arg(long, value_name = "LSN|current", default_value = "current")]
    pub lsn: Place,
    /// Give up with 1 after this time
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = value::duration)]
    pub timeout: Duration,
}

pub(super) async fn run(connector: &Connector, options: &Options, output: &Output) -> anyhow::Result<Exit> {
    let _ = (connector, options.lsn, options.timeout, output);
    anyhow::bail!("the pipeline is being written")
}
