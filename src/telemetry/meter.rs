//! One connector's counters.

use crate::change::{Op, TableName, UnixMicros};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The part of the way that a lag is measured over, always from the source's commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// To the log.
    Capture,
    /// From the log to apply.
    Log,
    /// From apply's receipt to the target's commit.
    Apply,
    EndToEnd,
}

/// What one table has seen since the daemon started.
#[derive(Debug)]
pub struct TableMeter {
    pub target: TableName,
    pub source: TableName,
    pub inserts: AtomicU64,
    pub updates: AtomicU64,
    pub deletes: AtomicU64,
    pub truncates: AtomicU64,
    pub rows_copied: AtomicU64,
}

/// One connector's counters. Tables are told apart by their plan's number.
#[derive(Debug)]
pub struct Meter {
    pub connector: String,
    pub tables: Vec<TableMeter>,
}

impl Meter {
    pub fn new(connector: &str, tables: impl IntoIterator<Item = (TableName, TableName)>) -> Self {
        let table = |(source, target)| TableMeter {
            target,
            source,
            inserts: AtomicU64::new(0),
            updates: AtomicU64::new(0),
            deletes: AtomicU64::new(0),
            truncates: AtomicU64::new(0),
            rows_copied: AtomicU64::new(0),
        };
        Self { connector: connector.to_owned(), tables: tables.into_iter().map(table).collect() }
    }

    /// Changes of a table that reached the end of a stage.
    pub fn changes(&self, stage: Stage, table: usize, op: Op, count: u64) {
        if stage != Stage::EndToEnd {
            return;
        }
        let table = &self.tables[table];
        let counter = match op {
            Op::Read | Op::Insert => &table.inserts,
            Op::Update => &table.updates,
            Op::Delete => &table.deletes,
            Op::Truncate => &table.truncates,
        };
        counter.fetch_add(count, Relaxed);
    }

    /// Rows of a first copy that were read and sent.
    pub fn copied(&self, table: usize, rows: u64) {
        self.tables[table].rows_copied.fetch_add(rows, Relaxed);
    }

    /// A first copy begins anew.
    pub fn reset_copied(&self, table: usize) {
        self.tables[table].rows_copied.store(0, Relaxed);
    }

    /// A source transaction reached the end of a stage.
    pub fn lag(&self, _stage: Stage, _lag: Duration) {}

    /// One target transaction: its rows, and how long its commit took.
    pub fn batch(&self, _rows: usize, _commit: Duration) {}

    /// Something is tried again.
    pub fn retry(&self, _reason: &'static str) {}
}

/// Microseconds since 1970-01-01 UTC.
pub fn now() -> UnixMicros {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// How long ago a source transaction committed; nothing where the clocks disagree.
pub fn since(committed_at: UnixMicros) -> Duration {
    Duration::from_micros(u64::try_from(now() - committed_at).unwrap_or(0))
}
