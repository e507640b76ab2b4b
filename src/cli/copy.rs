//! `copy`: pauses and resumes the copies of tables, or cancels those that are repeated.

use super::resync::refuse;
use super::{Exit, File, Output};
use crate::config::Connector;
use crate::pipeline::{self, CopyOrder};
use clap::{Args, Subcommand};
use serde_json::json;

#[derive(Args)]
pub(super) struct Options {
    #[command(subcommand)]
    pub order: Order,
}

#[derive(Subcommand)]
pub(super) enum Order {
    /// Let no chunk begin until `copy resume`; changes go on
    Pause(File),
    /// Go on where it was paused
    Resume(File),
    /// End what `resync --table` began: what was read stays
    Cancel(File),
}

impl Options {
    pub fn file(&self) -> &File {
        match &self.order {
            Order::Pause(file) | Order::Resume(file) | Order::Cancel(file) => file,
        }
    }
}

pub(super) async fn run(connector: &Connector, options: &Options, output: &Output) -> anyhow::Result<Exit> {
    let (order, done) = match &options.order {
        Order::Pause(_) => (CopyOrder::Pause, "the copies pause; changes go on"),
        Order::Resume(_) => (CopyOrder::Resume, "the copies go on"),
        Order::Cancel(_) => (CopyOrder::Cancel, "no copy is repeated"),
    };
    let cancelled = match pipeline::order_copies(connector, order).await {
        Ok(cancelled) => cancelled,
        Err(refused) => return refuse(&refused, output),
    };
    if output.json() {
        let names: Vec<String> = cancelled.iter().map(ToString::to_string).collect();
        output.document(&json!({"connector": connector.name, "cancelled": names}))?;
        return Ok(Exit::Yes);
    }
    for table in &cancelled {
        output.text(&format!("{table}: its copy is cancelled, what was read of it stays\n"));
    }
    if cancelled.is_empty() {
        output.text(&format!("{done}\n"));
    }
    Ok(Exit::Yes)
}
