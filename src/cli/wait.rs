//! `wait`: returns when the target holds a position.

use super::{Exit, File, Output, Place, run, value};
use crate::config::Connector;
use crate::fate::Fate;
use crate::pg;
use crate::pipeline::{self, Held, PipelineError, Tasks};
use clap::Args;
use serde_json::json;
use std::time::{Duration, Instant};

/// Between two looks at the target.
const POLL: Duration = Duration::from_millis(20);
/// The same, where partitions of the source came or went and the daemon has not seen it yet.
const AGAIN: Duration = Duration::from_millis(500);

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
    let until = Instant::now() + options.timeout;
    let wanted = match options.lsn {
        Place::At(end) => end,
        Place::Current => {
            pipeline::same_source(connector).await.map_err(|error| anyhow::anyhow!(pipeline::chain(&error)))?;
            run::current(connector).await?
        }
    };
    let mut tasks = Tasks::default();
    let mut session = None;
    let mut last: Option<Held> = None;
    loop {
        match look(&mut tasks, &mut session, connector).await {
            Ok(held) => last = held.or(last),
            Err(error) if error.fate() == Fate::Retry => session = None,
            Err(error) => anyhow::bail!("{}", pipeline::chain(&error)),
        }
        let mut held = last.as_ref().is_some_and(|held| held.holds(wanted));
        let mut lacks = Vec::new();
        if held {
            lacks = match pipeline::unknown_partitions(connector).await {
                // the source may be away for good: the place was reached
                Err(_) if options.lsn != Place::Current => Vec::new(),
                Err(error) => vec![format!("whether partitions came or went is not known: {}", pipeline::chain(&error))],
                Ok(lacks) => lacks,
            };
            held = lacks.is_empty();
        }
        if !held && !lacks.is_empty() {
            tokio::time::sleep(AGAIN).await;
        }
        let halted: Vec<String> = last
            .iter()
            .flat_map(Held::halted)
            .map(|(table, why)| format!("table `{table}` is halted: {}\n  hint: {}", why.because, why.hint))
            .collect();
        let late = Instant::now() > until;
        if !held && halted.is_empty() && !late {
            tokio::time::sleep(POLL).await;
            continue;
        }
        let end = last.as_ref().and_then(|held| held.end).map(|end| end.to_string());
        if output.json() {
            output.document(&json!({"connector": connector.name, "held": held, "lsn": wanted.to_string(), "applied_end_lsn": end, "halted": halted}))?;
        } else if held {
            output.text(&format!("the target holds {wanted}\n"));
        } else if halted.is_empty() {
            lacks.extend(last.as_ref().map_or_else(|| vec!["nothing is recorded of it".to_owned()], |held| held.lacks(wanted)));
            output.complain(&format!(
                "error: the target does not hold {wanted} within {:?}: {}\n  hint: `tablelift status` says what it waits for",
                options.timeout,
                lacks.join("; ")
            ));
        } else {
            output.complain(&format!("error: {}", halted.join("\nerror: ")));
        }
        return Ok(if held { Exit::Yes } else { Exit::No });
    }
}

async fn look(
    tasks: &mut Tasks,
    session: &mut Option<tokio_postgres::Client>,
    connector: &Connector,
) -> Result<Option<Held>, PipelineError> {
    if session.as_ref().is_none_or(tokio_postgres::Client::is_closed) {
        *tasks = Tasks::default();
        let opened: Result<_, pg::ConnectError> =
            pipeline::open_session(tasks, &connector.target.endpoint, &connector.object_name()).await;
        *session = Some(opened.map_err(PipelineError::Target)?);
    }
    let client = session.as_ref().expect("it was opened a moment ago");
    pipeline::held(client, &connector.name).await
}
