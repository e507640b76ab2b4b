//! The command line: parse, load the connector file, run one command, print, choose the exit status.
//!
//! Promises: results on stdout, logs and progress on stderr; with `--json` one document on stdout and nothing else there. Exit
//! status 0 yes or done, 1 no, 2 the command or the file is wrong, 130 cut short by a second SIGINT.
//! Will not: decide anything. What a command does is in `preflight` and `pipeline`.
//!
//! To add a command: a file here with its `Options` (`clap::Args`) and `run`, a variant of `Command`, a line in `dispatch`.

mod amount;
mod apply;
mod ask;
mod attend;
mod bars;
mod capture;
mod check;
mod copy;
mod drop;
mod fit;
mod init;
mod log;
mod output;
mod plan;
mod prepare;
mod progress;
mod resync;
mod run;
mod sample_view;
mod signal;
mod status;
mod status_view;
mod terminal;
mod value;
mod wait;

pub use output::Output;
pub use value::Place;

use crate::config::Connector;
use anstream::ColorChoice;
use attend::Progress;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{path::PathBuf, process::ExitCode};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, equal, yes, or an orderly stop.
    Yes = 0,
    /// Error findings, timed out, unequal, cannot go on.
    No = 1,
    /// The command or the file is wrong.
    Wrong = 2,
    /// Cut short by a second SIGINT.
    Cut = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

#[derive(Parser)]
#[command(
    name = "tablelift",
    version,
    about = "Lifts tables out of a live PostgreSQL into another database, while both stay in use",
    after_help = "CONFIG is the connector's file. Results go to stdout, logs and progress to stderr.\n\
                  Exit status: 0 yes or done, 1 no, 2 the command or the file is wrong, 130 cut short by a second SIGINT.",
    max_term_width = 110
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Global {
    /// Log warnings and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 100)]
    quiet: bool,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, display_order = 101)]
    verbose: u8,
    /// Colour the output
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", display_order = 102)]
    color: Color,
    /// Report as one JSON document
    #[arg(long, global = true, display_order = 103)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

impl From<Color> for ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        }
    }
}

/// What every command takes.
#[derive(Args)]
struct File {
    /// The connector's file
    config: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Write a commented connector file for what there is; change nothing
    Init(init::Options),
    /// Find everything that stands in the way, with its remedy; change nothing
    Check(check::Options),
    /// Show what `prepare` and `run` will do, or what becomes of some rows; change nothing
    Plan(plan::Options),
    /// Make publication, slot, topics and our schema; may be repeated
    Prepare(prepare::Options),
    /// Copy what is not yet copied, then follow: the daemon
    Run(run::Options),
    /// The source's half of `run`: into the log
    Capture(capture::Options),
    /// The target's half of `run`: out of the log
    Apply(apply::Options),
    /// Return when the target holds a position
    Wait(wait::Options),
    /// Say how it stands, from both databases
    Status(status::Options),
    /// Read rows, ranges or a whole table again from the source
    Resync(resync::Options),
    /// Pause, resume or cancel copies
    Copy(copy::Options),
    /// Remove what `prepare` made; never the target's data
    Drop(drop::Options),
}

impl Command {
    /// `None`: it is what the command writes.
    fn file(&self) -> Option<&File> {
        Some(match self {
            Command::Init(_) => return None,
            Command::Check(options) => &options.file,
            Command::Plan(options) => &options.file,
            Command::Prepare(options) => &options.file,
            Command::Run(options) => &options.file,
            Command::Capture(options) => &options.file,
            Command::Apply(options) => &options.file,
            Command::Wait(options) => &options.file,
            Command::Status(options) => &options.file,
            Command::Resync(options) => &options.file,
            Command::Copy(options) => &options.file,
            Command::Drop(options) => &options.file,
        })
    }
}

/// The whole program: arguments in, exit status out.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refused) => {
            // Nobody left to tell when even this cannot be printed.
            refused.print().ok();
            return ExitCode::from(u8::try_from(refused.exit_code()).unwrap_or(Exit::Wrong as u8));
        }
    };
    let command = match cli.command {
        Command::Copy(options) => Command::Copy(options.in_order()),
        other => other,
    };
    let color = ColorChoice::from(cli.global.color);
    log::start(cli.global.quiet, cli.global.verbose, color);
    let output = Output::new(cli.global.json, color);
    let progress = if cli.global.quiet { Progress::Quiet } else { Progress::Shown };
    let connector = match command.file().map(|file| Connector::load(&file.config)).transpose() {
        Ok(connector) => connector,
        Err(mistakes) => {
            output.complain(&mistakes.to_string());
            return Exit::Wrong.into();
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output.complain(&format!("error: cannot start the runtime: {error}"));
            return Exit::No.into();
        }
    };
    let exit = runtime.block_on(dispatch(command, connector, &output, progress)).unwrap_or_else(|error| {
        output.complain(&format!("error: {error:#}"));
        Exit::No
    });
    // Not waited for: after a second SIGINT nothing may hold the process.
    runtime.shutdown_background();
    exit.into()
}

async fn dispatch(command: Command, connector: Option<Connector>, output: &Output, progress: Progress) -> anyhow::Result<Exit> {
    let Some(connector) = connector else {
        let Command::Init(options) = command else { return Ok(Exit::Wrong) };
        return Box::pin(init::run(&options, output)).await;
    };
    match command {
        Command::Init(_) => Ok(Exit::Wrong),
        Command::Check(_) => Box::pin(check::run(&connector, output)).await,
        Command::Plan(options) => Box::pin(plan::run(&connector, &options, output)).await,
        Command::Prepare(_) => Box::pin(prepare::run(connector, output)).await,
        Command::Run(options) => Box::pin(run::run(connector, &options, progress)).await,
        Command::Capture(options) => Box::pin(capture::run(connector, &options, progress)).await,
        Command::Apply(_) => Box::pin(apply::run(connector, progress)).await,
        Command::Wait(options) => Box::pin(wait::run(&connector, &options, output)).await,
        Command::Status(options) => Box::pin(status::run(&connector, &options, output)).await,
        Command::Resync(options) => Box::pin(resync::run(&connector, &options, output)).await,
        Command::Copy(options) => Box::pin(copy::run(&connector, &options, output)).await,
        Command::Drop(options) => Box::pin(drop::run(&connector, &options, output)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_anywhere() {
        for line in ["tablelift -v --json check a.toml", "tablelift check a.toml --json -v", "tablelift --json check -v a.toml"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert!(cli.global.json && cli.global.verbose == 1, "{line}");
        }
        for line in
            ["tablelift", "tablelift chekc a.toml", "tablelift check", "tablelift wait a --lsn x", "tablelift -q -v check a"]
        {
            assert_eq!(Cli::try_parse_from(line.split(' ')).err().unwrap().exit_code(), 2, "{line}");
        }
    }
}
