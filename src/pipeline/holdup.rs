//! Who holds us up: a lock that a session of ours waits for, or the open transactions that a new slot waits for. Said on the board
//! while it lasts.

mod words;

use super::board::Board;
use super::live::Live;
use super::{PipelineError, Tasks, session};
use crate::catalog::{self, Blocker, LockHolder};
use crate::config::Connector;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// Nobody asks after a statement that takes no longer.
const PATIENCE: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Source,
    Target,
}

impl Side {
    fn word(self) -> &'static str {
        match self {
            Side::Source => "source",
            Side::Target => "target",
        }
    }
}

/// A session of ours that may be held up.
#[derive(Debug)]
pub struct Busy {
    side: Side,
    pid: i32,
    /// Who waits, on the board; `None`: the table whose lock it is.
    who: Option<String>,
    /// Milliseconds since `START`, plus one; zero: idle.
    since: AtomicU64,
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Busy {
    /// A session of ours, put on the board's list as long as somebody has this.
    ///
    /// # Errors
    /// The session is gone.
    pub async fn of(client: &Client, side: Side, who: Option<String>, board: &Board) -> Result<Arc<Self>, PipelineError> {
        let busy = Arc::new(Self { side, pid: catalog::backend_pid(client).await?, who, since: AtomicU64::new(0) });
        board.may_be_held_up(&busy);
        Ok(busy)
    }

    /// Statements begin; they end when the guard goes.
    pub fn begin(&self) -> BusyGuard<'_> {
        let now = u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since.store(now + 1, Relaxed);
        BusyGuard(self)
    }

    fn for_long(&self) -> bool {
        let since = self.since.load(Relaxed);
        since > 0 && START.elapsed() > Duration::from_millis(since - 1) + PATIENCE
    }
}

/// While it lives, statements run.
pub struct BusyGuard<'a>(&'a Busy);

impl Drop for BusyGuard<'_> {
    fn drop(&mut self) {
        self.0.since.store(0, Relaxed);
    }
}

/// Looks after all busy sessions, for as long as the daemon lives.
pub struct Watch {
    pub live: Arc<Live>,
}

impl Watch {
    pub async fn run(self) {
        let board = &self.live.board;
        let mut said = Said { board, who: BTreeSet::new() };
        let (mut source, mut target) = (Asking::default(), Asking::default());
        loop {
            tokio::time::sleep(EVERY).await;
            let mut held = Vec::new();
            let sessions = board.busy();
            // one of ours that waits for another of ours waits for nobody: the other has its own line here, if it needs one
            let ours =
                |side: Side, holder: &LockHolder| sessions.iter().any(|one| one.side == side && holder.pid == Some(one.pid));
            for busy in sessions.iter().filter(|busy| busy.for_long()) {
                let asking = match busy.side {
                    Side::Source => &mut source,
                    Side::Target => &mut target,
                };
                match asking.holders(&self.live.connector(), busy).await {
                    Ok(holders) if holders.iter().all(|holder| ours(busy.side, holder)) || !busy.for_long() => {}
                    Ok(holders) => held.push((name(busy, &holders), words::lock(busy.side, &holders))),
                    Err(error) => tracing::debug!(error = %super::chain(&error), "cannot see who holds a lock"),
                }
            }
            said.now(held);
        }
    }
}

/// What stands on the board because of us; taken off with us.
struct Said<'a> {
    board: &'a Board,
    who: BTreeSet<String>,
}

impl Said<'_> {
    fn now(&mut self, held: Vec<(String, String)>) {
        let who: BTreeSet<String> = held.iter().map(|(who, _)| who.clone()).collect();
        for gone in self.who.difference(&who) {
            self.board.waits(gone, None);
        }
        for (who, what) in held {
            if !self.who.contains(&who) {
                tracing::info!("{who} waits: {what}");
            }
            self.board.waits(&who, Some(what));
        }
        self.who = who;
    }
}

impl Drop for Said<'_> {
    fn drop(&mut self) {
        self.now(Vec::new());
    }
}

/// The second session, opened when first needed.
#[derive(Default)]
struct Asking {
    tasks: Tasks,
    client: Option<Client>,
}

impl Asking {
    async fn holders(&mut self, connector: &Connector, busy: &Busy) -> Result<Vec<LockHolder>, PipelineError> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.tasks = Tasks::default();
            let endpoint = match busy.side {
                Side::Source => &connector.source.endpoint,
                Side::Target => &connector.target.endpoint,
            };
            let opened = session::open(&self.tasks, endpoint, &connector.object_name()).await;
            self.client = Some(opened.map_err(match busy.side {
                Side::Source => PipelineError::Source,
                Side::Target => PipelineError::Target,
            })?);
        }
        let client = self.client.as_ref().expect("it was opened a moment ago");
        Ok(catalog::lock_holders(client, busy.pid).await?)
    }
}

fn name(busy: &Busy, holders: &[LockHolder]) -> String {
    let table = || holders.iter().find_map(|holder| holder.table.as_ref()).map(ToString::to_string);
    busy.who.clone().or_else(table).unwrap_or_else(|| busy.side.word().to_owned())
}

/// What a copy waits for whose snapshot does not see a transaction.
pub async fn invisible(source: &Client, xid: u64) -> String {
    let asked = tokio::time::timeout(Duration::from_secs(5), catalog::blockers(source)).await;
    words::invisible(xid, &asked.ok().and_then(Result::ok).unwrap_or_default())
}

/// Waits for the making of a slot, and says whom it waits for: every transaction that has an xid must end first.
pub async fn slot_made<T>(board: &Board, who: &str, source: &Client, making: impl Future<Output = T>) -> T {
    let mut said = Said { board, who: BTreeSet::new() };
    let begun = Instant::now();
    tokio::pin!(making);
    loop {
        tokio::select! {
            made = &mut making => return made,
            () = tokio::time::sleep(PATIENCE) => {}
        }
        let asked = tokio::time::timeout(Duration::from_secs(5), catalog::blockers(source)).await;
        let blockers = asked.ok().and_then(Result::ok).unwrap_or_default();
        // those that began after us are none of our worry, as far as we may see when they began
        let older: Vec<Blocker> =
            blockers.into_iter().filter(|blocker| blocker.age.is_none_or(|age| age > begun.elapsed())).collect();
        said.now(vec![(who.to_owned(), words::slot(&older))]);
    }
}
