//! `prepare`: makes publication, slot, topics and our schema.

use super::{Exit, File, Output, output};
use crate::config::Connector;
use crate::pipeline::{self, Board, FirstCopy, PipelineError, Tasks};
use clap::Args;
use serde_json::json;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
}

pub(super) async fn run(connector: &Connector, output: &Output) -> anyhow::Result<Exit> {
    let tasks = Tasks::default();
    let name = connector.object_name();
    let source = pipeline::open_session(&tasks, &connector.source.endpoint, &name).await?;
    let mut target = pipeline::open_session(&tasks, &connector.target.endpoint, &name).await?;
    match pipeline::prepare(connector, &source, &mut target, FirstCopy::Make, &Board::default()).await {
        Ok(prepared) => {
            let tables: Vec<String> = prepared.compiled.iter().map(|one| one.rule.target.to_string()).collect();
            if output.json() {
                output.document(&json!({
                    "connector": connector.name, "ok": true, "slot": prepared.slot, "publications": prepared.publications,
                    "tables": tables, "findings": prepared.findings,
                }))?;
            } else {
                output.text(&output::findings(&prepared.findings));
                let publications = prepared.publications.join("`, `");
                output.text(&format!(
                    "ready: slot `{}`, publication `{publications}`, {} table(s)\n",
                    prepared.slot,
                    tables.len()
                ));
            }
            Ok(Exit::Yes)
        }
        Err(PipelineError::Findings(findings)) => {
            if output.json() {
                output.document(&json!({"connector": connector.name, "ok": false, "findings": findings}))?;
            } else {
                output.text(&output::findings(&findings));
            }
            Ok(Exit::No)
        }
        Err(error) => anyhow::bail!("{}", pipeline::chain(&error)),
    }
}
