//! `prepare`: makes publication, slot, topics and our schema.

use super::{Exit, File, Output, output};
use crate::config::Connector;
use crate::pipeline::kafka::CaptureLife;
use crate::pipeline::{self, Board, FirstCopy, PipelineError, Prepared, Tasks};
use clap::Args;
use serde_json::json;
use std::sync::Arc;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
}

pub(super) async fn run(connector: Connector, output: &Output) -> anyhow::Result<Exit> {
    let connector = Arc::new(connector);
    match prepare(&connector).await {
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

async fn prepare(connector: &Arc<Connector>) -> Result<Prepared, PipelineError> {
    let board = Arc::new(Board::default());
    if connector.kafka().is_some() {
        return CaptureLife::new(Arc::clone(connector), board).prepare().await;
    }
    let tasks = Tasks::default();
    let name = connector.object_name();
    let source = pipeline::open_session(&tasks, &connector.source.endpoint, &name).await.map_err(PipelineError::Source)?;
    let mut target = pipeline::open_session(&tasks, &connector.target.endpoint, &name).await.map_err(PipelineError::Target)?;
    pipeline::prepare(connector, &source, &mut target, FirstCopy::Make, &board).await
}
