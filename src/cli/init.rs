//! `init`: writes a connector file for what it finds in two databases.

use super::{Exit, Output, output};
use crate::config::{GivenUrl, Named};
use crate::finding::Finding;
use crate::preflight::{self, NoProposal, Proposal};
use clap::Args;
use serde::Serialize;

#[derive(Args)]
pub(super) struct Options {
    /// The live database: postgres://user@host:port/database, as in the file ('${VAR}' comes from the environment)
    #[arg(long, value_name = "URL")]
    pub source: String,
    /// The new service's database
    #[arg(long, value_name = "URL")]
    pub target: String,
    /// A table, or a pattern such as 'public.*'; may be repeated [default: all tables]
    #[arg(long, value_name = "PATTERN")]
    pub table: Vec<String>,
}

#[derive(Serialize)]
struct Report<'a> {
    connector: &'a str,
    /// The checks have no error against it.
    ok: bool,
    /// The file's text.
    file: &'a str,
    tables: Vec<String>,
    findings: &'a [Finding],
}

pub(super) async fn run(options: &Options, output: &Output) -> anyhow::Result<Exit> {
    let Some((source, target, wanted)) = read(options, output) else { return Ok(Exit::Wrong) };
    match Box::pin(preflight::propose(source, target, &wanted)).await {
        Ok(proposal) => tell(&proposal, output),
        Err(NoProposal::Unseen(findings)) => {
            let hinted = |finding: Finding| match finding.remedy {
                None => finding
                    .hint("is the server up, and are `--source` and `--target` right? `psql` with the same url says the same"),
                Some(_) => finding,
            };
            let errors: Vec<Finding> = findings.into_iter().filter(Finding::is_error).map(hinted).collect();
            output.complain(&output::findings(&errors));
            Ok(Exit::No)
        }
        Err(error @ NoProposal::NoTable(_)) => {
            output.complain(&format!("error: {error}\n  hint: as psql reads it: lower case unless quoted, schema public unless named; a pattern in single quotes"));
            Ok(Exit::No)
        }
        Err(error) => Err(error.into()),
    }
}

/// All mistakes of the command line at once.
fn read(options: &Options, output: &Output) -> Option<(GivenUrl, GivenUrl, Vec<Named>)> {
    let mut wrong = Vec::new();
    let mut url = |option: &str, text: &str, variable: &str| {
        let told = |mistakes: Vec<String>| wrong.extend(mistakes.into_iter().map(|what| format!("error: {option}: {what}")));
        GivenUrl::read(text, variable).map_err(told).ok()
    };
    let source = url("--source", &options.source, "TABLELIFT_SOURCE_PASSWORD");
    let target = url("--target", &options.target, "TABLELIFT_TARGET_PASSWORD");
    let mut wanted = Vec::new();
    for text in &options.table {
        match Named::read(text) {
            Ok(named) => wanted.push(named),
            Err(what) => wrong.push(format!("error: --table: {what}")),
        }
    }
    if !wrong.is_empty() {
        output.complain(&wrong.join("\n"));
    }
    source.zip(target).filter(|_| wrong.is_empty()).map(|(source, target)| (source, target, wanted))
}

fn tell(Proposal { draft, findings }: &Proposal, output: &Output) -> anyhow::Result<Exit> {
    let errors: Vec<Finding> = findings.iter().filter(|finding| finding.is_error()).cloned().collect();
    let tables: Vec<String> = draft.tables().map(|table| table.name.to_string()).collect();
    let ok = errors.is_empty() && !tables.is_empty();
    let (text, taken) = (draft.text(), tables.len());
    if output.json() {
        output.document(&Report { connector: &draft.name, ok, file: &text, tables, findings })?;
    } else {
        output.text(&text);
    }
    for variable in [&draft.source, &draft.target].into_iter().filter_map(GivenUrl::variable) {
        output.complain(&format!("the password is not in the file: export {variable} before the next command"));
    }
    if ok {
        let next = "next are `tablelift check FILE` and `tablelift plan FILE`";
        output.complain(&match (draft.refusals(), taken) {
            (0, _) => format!("nothing stands in the way: {next}"),
            (1, there) => format!("1 table is left out, with the reason in the file; nothing stands in the way of the other {there}: {next}"),
            (left, there) => {
                format!("{left} tables are left out, each with the reason in the file; nothing stands in the way of the other {there}: {next}")
            }
        });
    } else {
        output.complain(&format!("{}before `tablelift run FILE` this is to be cured", output::findings(&errors)));
    }
    Ok(if ok { Exit::Yes } else { Exit::No })
}
