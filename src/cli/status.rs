//! `status`: how it stands, from both databases, with what the daemon adds.

use super::{Exit, File, Output, ask, status_view};
use crate::config::Connector;
use crate::pipeline::{Headways, Reporter};
use crate::status::Status;
use clap::Args;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Between two looks of `--watch`.
const EVERY: Duration = Duration::from_secs(1);
/// Cursor to the top left, and nothing below what is then written.
const TOP: &str = "\x1b[H\x1b[J";

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
    /// Show it anew every second, until interrupted; with --json one document a line
    #[arg(long)]
    pub watch: bool,
}

pub(super) async fn run(connector: &Connector, options: &Options, output: &Output) -> anyhow::Result<Exit> {
    let mut reporter = Reporter::default();
    let (mut headways, begun) = (Headways::default(), Instant::now());
    loop {
        let (mut status, live) = look(&mut reporter, connector).await;
        if !live {
            headways.note(begun.elapsed(), &mut status);
        }
        if !options.watch {
            return verdict(&reporter, &status, connector, output);
        }
        if output.json() {
            output.text(&format!("{}\n", serde_json::to_string(&status)?));
        } else {
            let top = if std::io::stdout().is_terminal() { TOP } else { "" };
            output.text(&format!("{top}{}", status_view::text(&status)));
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// The status, and whether the daemon has added what it knows.
async fn look(reporter: &mut Reporter, connector: &Connector) -> (Status, bool) {
    let daemon = async {
        match connector.http {
            Some(listen) => ask::daemon(listen).await,
            None => None,
        }
    };
    let (mut status, live) = tokio::join!(reporter.status(connector, false), daemon);
    let live = live.is_some_and(|live| status.take_live(live));
    (status, live)
}

/// Says it once, and whether there was anything to say.
fn verdict(reporter: &Reporter, status: &Status, connector: &Connector, output: &Output) -> anyhow::Result<Exit> {
    let nothing = status.source.error.is_some() && status.target.error.is_some() && status.streaming.is_none();
    if output.json() {
        output.document(status)?;
    } else if nothing {
        let errors = [&status.source.error, &status.target.error].into_iter().flatten();
        errors.for_each(|error| output.complain(&format!("error: {error}")));
    } else if !reporter.never_prepared() {
        output.text(&status_view::text(status));
    }
    if reporter.never_prepared() {
        let file = connector.file.display();
        output.complain(&format!(
            "error: `{}` was never prepared: its target has no record of it\n  hint: tablelift check {file}, then tablelift run {file}",
            connector.name
        ));
    }
    Ok(if nothing || reporter.never_prepared() { Exit::No } else { Exit::Yes })
}
