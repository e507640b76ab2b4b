//! `copy`: pauses and resumes the copies of tables, or cancels those that are repeated.

use super::resync::refuse;
use super::{Exit, File, Output};
use crate::config::Connector;
use crate::pipeline::{self, CopyOrder};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
    /// `pause`: no chunk begins, changes go on; `resume`: go on where it was paused; `cancel`: end what `resync --table` began
    #[arg(value_name = "pause|resume|cancel")]
    order: PathBuf,
}

impl Options {
    /// The order may stand before the file.
    pub fn in_order(mut self) -> Self {
        if order(&self.file.config).is_some() && order(&self.order).is_none() {
            std::mem::swap(&mut self.file.config, &mut self.order);
        }
        self
    }
}

fn order(word: &Path) -> Option<CopyOrder> {
    match word.to_str()? {
        "pause" => Some(CopyOrder::Pause),
        "resume" => Some(CopyOrder::Resume),
        "cancel" => Some(CopyOrder::Cancel),
        _ => None,
    }
}

pub(super) async fn run(connector: &Connector, options: &Options, output: &Output) -> anyhow::Result<Exit> {
    let Some(order) = order(&options.order) else {
        output.complain(&format!("error: `{}` is not an order\n  hint: pause, resume or cancel", options.order.display()));
        return Ok(Exit::Wrong);
    };
    let done = match order {
        CopyOrder::Pause => "the copies pause; changes go on",
        CopyOrder::Resume => "the copies go on",
        CopyOrder::Cancel => "no copy is repeated",
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
