//! `resync`: reads rows again from the source, through the stream, while the daemon runs.

use super::{Exit, File, Output};
use crate::config::{Connector, table_name};
use crate::pipeline::{self, ResyncError, Wish};
use clap::Args;
use serde_json::json;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
    /// The table, by its name on either side; all of it, unless keys or ranges are given
    #[arg(long, value_name = "TABLE")]
    pub table: String,
    /// A row's key; with commas between the columns of one: --key 7,2026-01-01
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub key: Vec<String>,
    /// Keys from A to B, both included; either may be left out
    #[arg(long, value_name = "A..B", allow_hyphen_values = true)]
    pub range: Vec<String>,
}

pub(super) async fn run(connector: &Connector, options: &Options, output: &Output) -> anyhow::Result<Exit> {
    let table = match table_name(&options.table) {
        Ok(table) => table,
        Err(mistake) => {
            output.complain(&format!("error: {mistake}"));
            return Ok(Exit::Wrong);
        }
    };
    let wish = if options.key.is_empty() && options.range.is_empty() {
        Wish::Table
    } else {
        Wish::Rows { keys: options.key.clone(), ranges: options.range.clone() }
    };
    let asked = match pipeline::resync(connector, &table, &wish).await {
        Ok(asked) => asked,
        Err(refused) => return refuse(&refused, output),
    };
    if output.json() {
        let tables: Vec<_> = asked.iter().map(|one| json!({"target": one.target.to_string(), "rows": one.rows})).collect();
        output.document(&json!({"connector": connector.name, "asked": tables}))?;
        return Ok(Exit::Yes);
    }
    for one in asked {
        let what = one.rows.map_or_else(|| "all rows".to_owned(), |rows| format!("{rows} rows"));
        output.text(&format!("{}: {what} are to be read again; `tablelift wait` returns when they were\n", one.target));
    }
    Ok(Exit::Yes)
}

/// A command that is wrong ends with 2.
pub(super) fn refuse(refused: &ResyncError, output: &Output) -> anyhow::Result<Exit> {
    match refused {
        ResyncError::Wrong { .. } => {
            output.complain(&format!("error: {refused}"));
            Ok(Exit::Wrong)
        }
        ResyncError::Failed(pipeline::PipelineError::Findings(findings)) => {
            findings.iter().for_each(|finding| output.complain(&finding.to_string()));
            Ok(Exit::No)
        }
        ResyncError::Failed(error) => anyhow::bail!("{}", pipeline::chain(error)),
    }
}
