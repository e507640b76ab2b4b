//! Life after life, until one ends for good: what the local pipeline and each half of Kafka's have in common.

use super::PipelineError;
use super::board::Board;
use super::live::Live;
use crate::config::Connector;
use crate::fate::Fate;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

/// A stop waits so long for the open target transaction.
pub const LAST_WORDS: Duration = Duration::from_secs(8);
/// A life that is told to stop has so long; then it is left as a crash would leave it.
const ORDERLY_END: Duration = Duration::from_secs(9);

/// Why a life ended in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Stopped,
    /// `--endpos` is held.
    Reached,
    /// `--endpos` cannot be held: a table is halted.
    HaltedBefore,
    /// Begin anew at once, from the slot: a table catches up.
    Again,
}

/// Backs off between lives.
#[derive(Debug)]
struct Retry(Duration);

impl Default for Retry {
    fn default() -> Self {
        Self(Duration::from_millis(100))
    }
}

impl Retry {
    const LONGEST: Duration = Duration::from_secs(10);

    /// Says why, and waits. Gives true if we were stopped meanwhile.
    async fn pause(&mut self, error: &PipelineError, begun: Instant, board: &Board, stop: &mut watch::Receiver<bool>) -> bool {
        if begun.elapsed() > Duration::from_secs(30) {
            *self = Self::default();
        }
        let text = super::chain(error);
        let after = format!("trying again in {:.1} s", self.0.as_secs_f64());
        if self.0 == Self::default().0 {
            // one hiccup is no news yet
            tracing::info!(error = %text, "{after}");
        } else {
            tracing::warn!(error = %text, "{after}");
        }
        board.waits("retry", Some(text));
        let stopped = tokio::select! {
            () = stopped(stop) => true,
            () = tokio::time::sleep(self.0) => false,
        };
        board.waits("retry", None);
        self.0 = (self.0 * 2).min(Self::LONGEST);
        stopped
    }
}

/// What lives after lives have in common: the local pipeline, and each half of Kafka's.
pub trait Lives {
    /// One life.
    fn live(&mut self) -> impl Future<Output = Result<End, PipelineError>> + Send;

    /// The connector file was read anew. Gives what it said before.
    fn renew(&mut self, connector: Arc<Connector>) -> Arc<Connector>;

    /// A life has got past what may be wrong with the file, since it was read.
    fn fits(&self) -> bool;
}

/// What stays the same from life to life.
pub struct Course {
    pub name: String,
    pub live: Arc<Live>,
    pub stop: watch::Receiver<bool>,
    pub reload: broadcast::Receiver<Arc<Connector>>,
    /// Where a half that refuses a file tells the other one, which has taken it, what both go back to.
    pub back: broadcast::Sender<Arc<Connector>>,
}

/// Lives after lives, until one ends for good.
///
/// # Errors
/// What cannot be tried again.
pub async fn run(lives: impl Lives + Send + 'static, course: Course) -> Result<End, PipelineError> {
    // a task of its own: the halves run side by side, and on the runtime's threads, where the sessions are that they wait for
    let mut task = JoinSet::new();
    task.spawn(live_on(lives, course));
    match task.join_next().await {
        Some(Ok(ended)) => ended,
        Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        _ => Ok(End::Stopped),
    }
}

/// `before`: what the file said when it was followed last.
fn renewed(lives: &mut impl Lives, live: &Live, before: &mut Option<Arc<Connector>>, connector: Arc<Connector>) {
    tracing::info!("reloaded the connector file");
    live.reloaded(Arc::clone(&connector));
    let fitted = lives.fits();
    let was = lives.renew(connector);
    if fitted || before.is_none() {
        *before = Some(was);
    }
}

/// The connector file, read anew. Of several that came the newest.
async fn read_anew(reload: &mut broadcast::Receiver<Arc<Connector>>) -> Arc<Connector> {
    loop {
        match reload.recv().await {
            Ok(connector) => return connector,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

async fn live_on(mut lives: impl Lives, course: Course) -> Result<End, PipelineError> {
    let Course { name, live, mut stop, mut reload, back } = course;
    let mut retry = Retry::default();
    // what the file said before it was read anew
    let mut before: Option<Arc<Connector>> = None;
    loop {
        let begun = Instant::now();
        let ended = tokio::select! {
            ended = lives.live() => ended,
            () = overdue(&mut stop) => return Ok(End::Stopped),
            connector = read_anew(&mut reload) => {
                renewed(&mut lives, &live, &mut before, connector);
                continue;
            }
        };
        match ended {
            Ok(End::Again) => {}
            Ok(end) => return Ok(end),
            Err(error) if error.fate() == Fate::Retry => {
                crate::telemetry::retried(&name, error.reason());
                tokio::select! {
                    stopped = retry.pause(&error, begun, &live.board, &mut stop) => if stopped {
                        return Ok(End::Stopped);
                    },
                    // a person who has put something right does not wait
                    connector = read_anew(&mut reload) => {
                        live.board.waits("retry", None);
                        renewed(&mut lives, &live, &mut before, connector);
                    }
                }
            }
            Err(PipelineError::Findings(findings)) if let Some(connector) = before.take_if(|_| !lives.fits()) => {
                let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
                tracing::error!("SIGHUP: the connector file stays as it was\n{}", findings.join("\n"));
                live.reloaded(Arc::clone(&connector));
                lives.renew(Arc::clone(&connector));
                // a newer one that waits goes to both
                if reload.is_empty() {
                    back.send(connector).ok();
                    reload = reload.resubscribe();
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Ends when a stop is asked for.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Ends with something that is looked for; never, where nobody looks.
pub async fn if_attended(attended: bool, event: impl Future<Output = ()>) {
    match attended {
        true => event.await,
        false => std::future::pending().await,
    }
}

/// Ends when the last words are over.
pub async fn past(deadline: Option<Instant>) {
    match deadline {
        None => std::future::pending().await,
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
    }
}

/// Ends when a stop was asked for long ago.
async fn overdue(stop: &mut watch::Receiver<bool>) {
    stopped(stop).await;
    tokio::time::sleep(ORDERLY_END).await;
}

/// Ends when a stop was asked for and what was under way has not come to its end since.
pub async fn given_up(stop: &mut watch::Receiver<bool>, deadline: &mut Option<Instant>) {
    stopped(stop).await;
    past(Some(*deadline.get_or_insert_with(|| Instant::now() + LAST_WORDS))).await;
}
