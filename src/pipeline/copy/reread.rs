//! The re-read set's reader: rows that could not be applied are read anew, under the rules of a chunk, and brought as they are or as absent.

use super::sessions::{HALT_PAUSE, LONGEST_PAUSE, MOMENT, REFUSED_LIMIT, REFUSED_PAUSE, Sessions, tell};
use super::worker::{Copying, halt};
use super::{ChunkError, Sink, Sinks, sift};
use crate::change::TableName;
use crate::fate::Fate;
use crate::pipeline::PipelineError;
use crate::pipeline::holdup;
use crate::pipeline::turn::ChunkTurn;
use crate::source;
use crate::store::copy_range;
use crate::store::reread::{self, Reread};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Rows of one table that are read at once.
const MOST: usize = 200;
const LOOK: i64 = 2000;
/// Nobody tells us of what others ask for.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// A commit mostly is visible sooner.
const VISIBLE_PATIENCE: Duration = Duration::from_secs(1);

/// Rows whose parents do not come, while others do, halt their table after so long.
const ORPHAN_LIMIT: Duration = Duration::from_secs(600);
/// A stream that is later than this may still bring what rows wait for.
const LATE: Duration = Duration::from_secs(5);

/// Rows of one table that are to be read again.
pub struct Rereads<'a> {
    pub number: usize,
    pub target: &'a TableName,
    pub keys: Vec<&'a Vec<String>>,
    pub ids: Vec<i64>,
}

impl Rereads<'_> {
    /// The requests for some of the keys.
    pub fn ids_of(&self, keys: &[Vec<String>]) -> Vec<i64> {
        let keys: BTreeSet<&Vec<String>> = keys.iter().collect();
        self.keys.iter().zip(&self.ids).filter(|(key, _)| keys.contains(*key)).map(|(_, id)| *id).collect()
    }
}

/// Reads them, for as long as a life lasts.
pub struct Rereader<S: Sinks> {
    copying: Arc<Copying>,
    sessions: Sessions<S>,
    /// Tables whose rows the target refuses: since when, and when they are tried again.
    refused: BTreeMap<TableName, (Instant, Instant)>,
    /// Since when a commit that is not visible stands against them.
    unseen: Option<Instant>,
    /// Brought, and still open: the log carries the answer.
    answered: BTreeSet<i64>,
    /// When the last rows came, of any table.
    came: Instant,
}

impl<S: Sinks> Rereader<S> {
    pub fn new(copying: Arc<Copying>, sinks: Arc<S>) -> Self {
        let sessions = Sessions::new(Arc::clone(&copying), sinks);
        Self { copying, sessions, refused: BTreeMap::new(), unseen: None, answered: BTreeSet::new(), came: Instant::now() }
    }

    pub async fn run(mut self) {
        let mut pause = MOMENT;
        loop {
            pause = match self.round().await {
                Ok(true) => {
                    tokio::time::sleep(MOMENT).await;
                    MOMENT
                }
                Ok(false) => {
                    tokio::time::timeout(LOOK_AGAIN, self.copying.window.news()).await.ok();
                    MOMENT
                }
                Err(error) => {
                    self.sessions.forget();
                    self.copying.heed(&error);
                    tell(&error, "rows are to be read again: tried again");
                    self.copying.meter.retry("reread");
                    tokio::time::sleep(pause).await;
                    (pause * 2).min(LONGEST_PAUSE)
                }
            };
        }
    }

    /// Whatever is open. Gives whether some is left.
    async fn round(&mut self) -> Result<bool, PipelineError> {
        let asked = self.copying.window.asked();
        let copying = Arc::clone(&self.copying);
        let name = &copying.connector.name;
        let unfinished = copying.work.unfinished(false);
        let (_, sink) = self.sessions.both().await?;
        let orders = copy_range::orders(sink.client(), name).await?;
        copying.obey(&orders, &unfinished);
        let answered: Vec<i64> = self.answered.iter().copied().collect();
        let (_, sink) = self.sessions.both().await?;
        let mut open = reread::oldest(sink.client(), name, &answered, LOOK).await?;
        // they wait for the key, as all that would change the table
        open.retain(|one| !copying.tables.iter().any(|table| table.loads && table.targets.contains(&one.target)));
        if open.is_empty() {
            let left = reread::count(sink.client(), name).await?;
            if left > 0 {
                return Ok(false);
            }
            self.answered.clear();
            let was_open = self.copying.window.has_open_rereads();
            self.copying.window.answered(asked);
            if was_open {
                // the window closes when the stream passes this
                let (source, _) = self.sessions.both().await?;
                source::emit_mark(&source.client).await?;
            }
            return Ok(false);
        }
        let tables: BTreeSet<&TableName> = open.iter().map(|reread| &reread.target).collect();
        for table in tables {
            if self.refused.get(table).is_some_and(|(_, again)| *again > Instant::now()) {
                continue;
            }
            let mine: Vec<&Reread> = open.iter().filter(|reread| &reread.target == table).collect();
            // one of them may make room for another: a refusal holds up none
            let mut refused = false;
            for some in mine.chunks(MOST) {
                refused |= self.table(table, some).await?;
            }
            if !refused && self.refused.remove(table).is_some() {
                copying.board.waits(&table.to_string(), None);
            }
        }
        Ok(true)
    }

    /// Gives whether the target refused them.
    async fn table(&mut self, target: &TableName, rereads: &[&Reread]) -> Result<bool, PipelineError> {
        let copying = Arc::clone(&self.copying);
        let of = |table: &super::CopyTable| table.targets.contains(target);
        let Some(number) = copying.tables.iter().position(of) else { return Ok(false) };
        let keys = rereads.iter().map(|reread| &reread.key).collect();
        let rereads = Rereads { number, target, keys, ids: rereads.iter().map(|reread| reread.id).collect() };
        let refused = match self.read(&rereads).await {
            Ok(left) => {
                self.answered.extend(rereads.ids.iter().filter(|id| !left.contains(id)));
                self.unseen = None;
                self.came = Instant::now();
                if !left.is_empty() {
                    // what came may have made room for the rest
                    self.refused.remove(target);
                }
                return Ok(false);
            }
            Err(ChunkError::Failed(error)) if error.fate() == Fate::Retry => return Err(error),
            Err(ChunkError::Failed(error)) => {
                self.refuse(target, error).await;
                true
            }
            Err(ChunkError::Invisible(xid)) => {
                tracing::debug!(table = %target, xid, "a row is read again once a commit is visible");
                let (now, since) = (Instant::now(), *self.unseen.get_or_insert_with(Instant::now));
                if since.elapsed() > VISIBLE_PATIENCE
                    && let Some(source) = self.sessions.source()
                {
                    copying.board.waits(&target.to_string(), Some(holdup::invisible(&source.client, xid).await));
                    self.refused.insert(target.clone(), (now, now + REFUSED_PAUSE));
                }
                true
            }
            Err(_) => false,
        };
        self.sessions.give_back().await?;
        Ok(refused)
    }

    async fn refuse(&mut self, target: &TableName, error: PipelineError) {
        let now = Instant::now();
        let since = self.refused.get(target).map_or(now, |(since, _)| *since);
        let orphan = matches!(&error, PipelineError::Session(error) if error.is_foreign_key());
        // its parents may be on their way for as long as others come
        let others_come =
            orphan && (!self.copying.work.is_done() || self.came.elapsed() < REFUSED_LIMIT && since.elapsed() < ORPHAN_LIMIT);
        let patient = since.elapsed() < REFUSED_LIMIT || others_come || self.copying.meter.lag_now() > LATE;
        if sift::may_pass(&error) && patient {
            self.refused.insert(target.clone(), (since, now + REFUSED_PAUSE));
            let what = "rows that are read again: a row of the stream, or of another table, stands in their way".to_owned();
            self.copying.board.waits(&target.to_string(), Some(what));
            return;
        }
        self.refused.insert(target.clone(), (since, now + HALT_PAUSE));
        halt(&self.copying, target, &error).await;
    }

    async fn read(&mut self, rereads: &Rereads<'_>) -> Result<Vec<i64>, ChunkError> {
        let copying = Arc::clone(&self.copying);
        let table = &copying.tables[rereads.number];
        let (source, sink) = self.sessions.both().await?;
        let busy = Arc::clone(&source.busy);
        let _busy = busy.begin();
        source.draw_barrier(&copying.turns).await?;
        sink.unlocked(rereads.number).await?;
        source.lock_table(&table.source).await?;
        let turn = copying.turns.chunk().await;
        let until = match source.snapshot(&turn).await {
            Err(ChunkError::Invisible(_)) if source.sees(&turn, MOMENT).await? => {
                source.lock_table(&table.source).await?;
                source.snapshot(&turn).await?
            }
            until => until?,
        };
        let left = sink.reread(rereads, source, until).await?;
        let came = rereads.keys.iter().zip(&rereads.ids).filter(|(_, id)| !left.contains(id));
        copying.window.rereads(rereads.number, came.map(|(key, _)| *key), until);
        drop::<ChunkTurn>(turn);
        source.end().await?;
        sink.settle().await?;
        Ok(left)
    }
}
