//! Signals of a daemon: the first SIGINT or SIGTERM asks for an orderly stop, a second SIGINT ends it at once.

use super::Exit;
use crate::config::Connector;
use crate::log::kafka::unknown_settings;
use std::{path::Path, sync::Arc};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Runs `work`, which stops in good order once the receiver that it was given says `true`.
pub(super) async fn stoppable<F, W>(work: W) -> anyhow::Result<Exit>
where
    W: FnOnce(watch::Receiver<bool>) -> F,
    F: Future<Output = anyhow::Result<Exit>>,
{
    let (stop, stopped) = watch::channel(false);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let work = work(stopped);
    tokio::pin!(work);
    let mut interrupted = false;
    loop {
        tokio::select! {
            ended = &mut work => return ended,
            _ = terminate.recv() => tracing::info!("stopping: SIGTERM"),
            _ = interrupt.recv() => {
                if interrupted {
                    return Ok(Exit::Cut);
                }
                interrupted = true;
                tracing::info!("stopping: SIGINT; once more to cut it short");
            }
        }
        stop.send_replace(true);
    }
}

/// Reads the connector file anew at each SIGHUP. A file with mistakes changes nothing, nor do settings that no Kafka client takes.
pub(super) async fn reloads(file: &Path, reload: impl AsyncFn(Arc<Connector>)) -> anyhow::Result<Exit> {
    let mut hangup = signal(SignalKind::hangup())?;
    while hangup.recv().await.is_some() {
        match Connector::load(file) {
            Ok(connector) => match connector.kafka().map(unknown_settings).unwrap_or_default() {
                wrong if wrong.is_empty() => reload(Arc::new(connector)).await,
                wrong => {
                    let wrong: Vec<String> = wrong.iter().map(|(key, why)| format!("`{key}`: {why}")).collect();
                    tracing::error!("SIGHUP: the connector file stays as it was\n[log.kafka]: {}", wrong.join("; "));
                }
            },
            Err(mistakes) => tracing::error!("SIGHUP: the connector file stays as it was\n{mistakes}"),
        }
    }
    std::future::pending().await
}
