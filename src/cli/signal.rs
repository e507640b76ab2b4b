//! Signals of a daemon: the first SIGINT or SIGTERM asks for an orderly stop, a second SIGINT ends it at once.

use super::Exit;
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
