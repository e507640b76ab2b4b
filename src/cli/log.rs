//! The log: to stderr, so that stdout is the result's alone.

use anstream::{AutoStream, ColorChoice};
use tracing_subscriber::{EnvFilter, fmt::time::SystemTime};

/// Starts it, once.
pub(super) fn start(quiet: bool, verbose: u8, color: ColorChoice) {
    let directives = match (quiet, verbose) {
        (true, _) => "warn",
        (false, 0) => "warn,tablelift=info",
        (false, 1) => "warn,tablelift=debug",
        (false, _) => "info,tablelift=trace",
    };
    let color = match color {
        ColorChoice::Auto => AutoStream::choice(&std::io::stderr()) != ColorChoice::Never,
        chosen => chosen != ColorChoice::Never,
    };
    let started = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(directives))
        .with_writer(|| super::terminal::Log)
        .with_timer(SystemTime)
        .with_target(false)
        .with_ansi(color)
        .try_init();
    // A test of this process may have started one already.
    started.ok();
}
