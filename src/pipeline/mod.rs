//! The only place that starts tasks and joins the rooms.

use crate::cli::{Exit, Output, Place};
use crate::config::Connector;
use std::time::Duration;
use tokio::sync::watch;

type Outcome = anyhow::Result<Exit>;

pub async fn prepare(_connector: &Connector, _output: &Output) -> Outcome {
    not_yet()
}

pub async fn run(_connector: Connector, _endpos: Option<Place>, _no_copy: bool, _stop: watch::Receiver<bool>) -> Outcome {
    not_yet()
}

pub async fn capture(_connector: Connector, _endpos: Option<Place>, _stop: watch::Receiver<bool>) -> Outcome {
    not_yet()
}

pub async fn apply(_connector: Connector, _stop: watch::Receiver<bool>) -> Outcome {
    not_yet()
}

pub async fn wait(_connector: &Connector, _lsn: Place, _timeout: Duration, _output: &Output) -> Outcome {
    not_yet()
}

pub async fn status(_connector: &Connector, _watch: bool, _output: &Output) -> Outcome {
    not_yet()
}

pub async fn drop(_connector: &Connector, _yes: bool, _topics: bool, _output: &Output) -> Outcome {
    not_yet()
}

fn not_yet() -> Outcome {
    anyhow::bail!("the pipeline is being written")
}
