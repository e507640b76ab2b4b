//! `plan`: what `prepare` and `run` will do.

use super::{Exit, File, Output, output};
use crate::{config::Connector, finding::Finding};
use clap::Args;
use std::collections::BTreeSet;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
}

pub(super) async fn run(connector: &Connector, output: &Output) -> anyhow::Result<Exit> {
    let _ = (connector, output, BTreeSet::<String>::new(), output::heading(""));
    let _: Option<Finding> = None;
    Ok(Exit::Yes)
}
