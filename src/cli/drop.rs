//! `drop`: removes what `prepare` made.

use super::{Exit, File, Output};
use crate::config::Connector;
use crate::pipeline::{self, Tasks};
use clap::Args;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Remove the topics too, with all that is in them
    #[arg(long)]
    pub topics: bool,
}

pub(super) async fn run(connector: &Connector, options: &Options, output: &Output) -> anyhow::Result<Exit> {
    let tasks = Tasks::default();
    let name = connector.object_name();
    let source = pipeline::open_session(&tasks, &connector.source.endpoint, &name).await?;
    let target = pipeline::open_session(&tasks, &connector.target.endpoint, &name).await?;
    let removal = match pipeline::plan_removal(connector, &source, &target, options.topics).await {
        Ok(removal) => removal,
        Err(error) => anyhow::bail!("{}", pipeline::chain(&error)),
    };
    if output.json() {
        output.document(&removal)?;
    } else {
        let lines = |verb: &str, list: &[String]| list.iter().map(|what| format!("{verb} {what}\n")).collect::<String>();
        output.text(&(lines("removes", &removal.removes) + &lines("leaves ", &removal.leaves)));
    }
    if removal.removes.is_empty() {
        return Ok(Exit::Yes);
    }
    if !options.yes {
        match output.ask("Remove it?") {
            Some(true) => {}
            Some(false) => return Ok(Exit::No),
            None => {
                output.complain("error: nobody is there to be asked\n  hint: --yes");
                return Ok(Exit::Wrong);
            }
        }
    }
    match pipeline::remove(connector, &source, &target, &removal).await {
        Ok(()) => Ok(Exit::Yes),
        Err(error) => anyhow::bail!("{}", pipeline::chain(&error)),
    }
}
