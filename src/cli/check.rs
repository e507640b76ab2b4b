//! `check`: everything that stands in the way, with its remedy.

use super::{Exit, File, Output, output};
use crate::{config::Connector, finding::Finding, preflight};
use clap::Args;
use serde::Serialize;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
}

#[derive(Serialize)]
struct Report<'a> {
    connector: &'a str,
    ok: bool,
    findings: &'a [Finding],
}

pub(super) async fn run(connector: &Connector, output: &Output) -> anyhow::Result<Exit> {
    let findings = Box::pin(preflight::check(connector)).await;
    let ok = !findings.iter().any(Finding::is_error);
    if output.json() {
        output.document(&Report { connector: &connector.name, ok, findings: &findings })?;
    } else {
        output.text(&output::findings(&findings));
    }
    Ok(if ok { Exit::Yes } else { Exit::No })
}
