//! What the daemon knows of itself now, for `status`, the halted tables' next try, and `--endpos`.

use super::holdup::Busy;
use crate::apply::Item;
use crate::change::{EndLsn, Position, TableName};
use crate::store::table_state::Halted;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How far the target is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub position: Position,
    pub end: EndLsn,
    /// The target is the source at `position`.
    pub consistent: bool,
}

/// A halted table and the change that halted it, if we still have it.
#[derive(Clone, Debug)]
pub struct HaltedTable {
    pub halted: Halted,
    pub failed: Option<Item>,
    /// Its copy says so. What the stream says comes first.
    by_copy: bool,
}

/// Between two lines of the log on what one table waits for.
const TOLD: Duration = Duration::from_secs(60);

/// Shared by the tasks of a run.
#[derive(Default)]
pub struct Board {
    progress: watch::Sender<Progress>,
    halted: Mutex<BTreeMap<TableName, HaltedTable>>,
    /// What a half waits for, in words.
    waiting: Mutex<BTreeMap<String, String>>,
    /// When that was last logged.
    told: Mutex<BTreeMap<String, Instant>>,
    /// Sessions of ours that somebody else's lock may hold up.
    busy: Mutex<Vec<Weak<Busy>>>,
    stream: Mutex<Stream>,
    /// Partitions that the stream has told of before they were thought of, by their tables, as relation ids, each with the transaction.
    partitions: Mutex<BTreeMap<u32, BTreeMap<u32, u32>>>,
    /// Halves of ours that read it, or the log.
    readers: AtomicUsize,
    /// How many there should be: `run` through Kafka has two.
    halves: AtomicUsize,
}

/// Whether the source's stream is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stream {
    #[default]
    NotYet,
    Read,
    /// What was committed since then may be unknown.
    EndedAt(Instant),
}

/// While it lives, the source's stream is read.
pub struct Streaming(Arc<Board>);

impl Drop for Streaming {
    fn drop(&mut self) {
        let mut stream = lock(&self.0.stream);
        self.0.readers.fetch_sub(1, Relaxed);
        if *stream == Stream::Read {
            *stream = Stream::EndedAt(Instant::now());
        }
    }
}

impl Board {
    pub fn applied(&self, position: Position, end: EndLsn, consistent: bool) {
        self.progress.send_replace(Progress { position, end, consistent });
    }

    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub fn halted(&self, target: &TableName, halted: Halted, failed: Option<Item>) {
        lock(&self.halted).insert(target.clone(), HaltedTable { halted, failed, by_copy: false });
    }

    pub fn resumed(&self, target: &TableName) {
        lock(&self.halted).remove(target);
    }

    /// Its copy stands still. Gives whether that is what is said of it: it may be halted for another reason.
    pub fn copy_halted(&self, target: &TableName, halted: Halted) -> bool {
        let mut all = lock(&self.halted);
        let says = all.get(target).is_none_or(|known| known.by_copy);
        if says {
            all.insert(target.clone(), HaltedTable { halted, failed: None, by_copy: true });
        }
        says
    }

    /// What its copy says.
    pub fn copy_halt(&self, target: &TableName) -> Option<Halted> {
        lock(&self.halted).get(target).filter(|known| known.by_copy).map(|known| known.halted.clone())
    }

    pub fn copy_resumed(&self, target: &TableName) {
        let mut all = lock(&self.halted);
        if all.get(target).is_some_and(|known| known.by_copy) {
            all.remove(target);
        }
    }

    pub fn halted_tables(&self) -> BTreeMap<TableName, HaltedTable> {
        lock(&self.halted).clone()
    }

    /// The stream tells of a partition that nobody knows, or of what the transaction that made it did: the next life is to look at it first.
    pub fn partition_came(&self, table: u32, partition: u32, xid: u32) {
        lock(&self.partitions).entry(table).or_default().insert(partition, xid);
    }

    /// Those that came, until they are `known`.
    pub fn partitions_that_came(&self) -> BTreeMap<u32, BTreeMap<u32, u32>> {
        lock(&self.partitions).clone()
    }

    pub fn partitions_are_recorded(&self) {
        lock(&self.partitions).clear();
    }

    /// Says what `who` (a table, `source`, `target`) waits for; `None`: for nothing any more.
    pub fn waits(&self, who: &str, what: Option<String>) {
        let mut waiting = lock(&self.waiting);
        match what {
            Some(what) => {
                // whoever tries again has said so
                if who != "retry" {
                    self.log(who, &what);
                }
                waiting.insert(who.to_owned(), what)
            }
            None => waiting.remove(who),
        };
    }

    /// For who has no `status` to look at: each of them now and then.
    fn log(&self, who: &str, what: &str) {
        let mut told = lock(&self.told);
        if told.get(who).is_none_or(|at| at.elapsed() > TOLD) {
            told.insert(who.to_owned(), Instant::now());
            tracing::info!("{who} waits: {what}");
        }
    }

    /// The source's stream (of `apply` alone: the log) is read now, until the guard goes.
    pub fn streams(self: &Arc<Self>) -> Streaming {
        let mut stream = lock(&self.stream);
        let reading = self.readers.fetch_add(1, Relaxed) + 1;
        if reading >= self.halves.load(Relaxed) {
            *stream = Stream::Read;
        }
        Streaming(Arc::clone(self))
    }

    /// So many halves run here; it is read when all of them do.
    pub fn has_halves(&self, halves: usize) {
        self.halves.store(halves, Relaxed);
    }

    pub fn stream(&self) -> Stream {
        *lock(&self.stream)
    }

    pub fn may_be_held_up(&self, session: &Arc<Busy>) {
        let mut busy = lock(&self.busy);
        busy.retain(|session| session.strong_count() > 0);
        busy.push(Arc::downgrade(session));
    }

    pub fn busy(&self) -> Vec<Arc<Busy>> {
        lock(&self.busy).iter().filter_map(Weak::upgrade).collect()
    }

    pub fn waiting(&self) -> BTreeMap<String, String> {
        lock(&self.waiting).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds the lock")
}
