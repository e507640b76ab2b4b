//! One connector's counters and lags.

use super::series::{self, Series};
use super::waiting::Waiting;
use super::window::{Spread, Window};
use crate::change::{CommitLsn, Op, TableName, UnixMicros};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The part of the way that a lag is measured over, from the source's commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From the source's commit to our receipt (local), or to the log's acknowledgement (Kafka).
    Capture,
    /// From there to apply's receipt.
    Log,
    /// From apply's receipt to the target's commit.
    Apply,
    /// From the source's commit to the target's.
    EndToEnd,
}

impl Stage {
    pub(super) const ALL: [Stage; 4] = [Stage::Capture, Stage::Log, Stage::Apply, Stage::EndToEnd];

    pub(super) fn label(self) -> &'static str {
        match self {
            Stage::Capture => "capture",
            Stage::Log => "log",
            Stage::Apply => "apply",
            Stage::EndToEnd => "end_to_end",
        }
    }
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
    /// As the source sent them.
    pub bytes_copied: AtomicU64,
    series: series::Table,
}

impl TableMeter {
    fn applied(&self, op: Op) -> &AtomicU64 {
        match op {
            Op::Read | Op::Insert => &self.inserts,
            Op::Update => &self.updates,
            Op::Delete => &self.deletes,
            Op::Truncate => &self.truncates,
        }
    }
}

/// One connector's counters. Tables are told apart by their plan's number.
#[derive(Debug)]
pub struct Meter {
    pub connector: String,
    pub tables: Vec<TableMeter>,
    series: Series,
    /// By stage.
    windows: Mutex<[Window; 4]>,
    waiting: Mutex<Waiting>,
    /// When the oldest change was committed that waits in no order of the stream; 0: none does.
    waits_since: AtomicI64,
}

impl Meter {
    pub fn new(connector: &str, tables: impl IntoIterator<Item = (TableName, TableName)>) -> Self {
        let table = |(source, target): (TableName, TableName)| TableMeter {
            series: series::Table::new(connector, &target),
            target,
            source,
            inserts: AtomicU64::new(0),
            updates: AtomicU64::new(0),
            deletes: AtomicU64::new(0),
            truncates: AtomicU64::new(0),
            rows_copied: AtomicU64::new(0),
            bytes_copied: AtomicU64::new(0),
        };
        Self {
            connector: connector.to_owned(),
            tables: tables.into_iter().map(table).collect(),
            series: Series::new(connector),
            windows: Mutex::default(),
            waiting: Mutex::default(),
            waits_since: AtomicI64::new(0),
        }
    }

    /// Goes on where the meter of an earlier life of the pipeline ended.
    pub fn follow_on(&self, earlier: &Meter) {
        for table in &self.tables {
            let Some(before) = earlier.tables.iter().find(|before| before.target == table.target) else { continue };
            for op in [Op::Insert, Op::Update, Op::Delete, Op::Truncate] {
                table.applied(op).fetch_add(before.applied(op).load(Relaxed), Relaxed);
            }
        }
        lock(&self.windows).clone_from(&*lock(&earlier.windows));
    }

    /// Changes of a table that reached the end of a stage: capture, or apply.
    pub fn changes(&self, stage: Stage, table: usize, op: Op, count: u64) {
        let table = &self.tables[table];
        table.series.changes(&self.connector, &table.target, stage, op).increment(count);
        if stage == Stage::Apply {
            table.applied(op).fetch_add(count, Relaxed);
        }
    }

    /// Rows of a copy that were read and sent, and their bytes as the source sent them.
    pub fn copied(&self, table: usize, rows: u64, bytes: u64) {
        let table = &self.tables[table];
        table.rows_copied.fetch_add(rows, Relaxed);
        table.bytes_copied.fetch_add(bytes, Relaxed);
        table.series.rows_copied.increment(rows);
        table.series.bytes_copied.increment(bytes);
    }

    /// A first copy begins anew.
    pub fn reset_copied(&self, table: usize) {
        self.tables[table].rows_copied.store(0, Relaxed);
        self.tables[table].bytes_copied.store(0, Relaxed);
    }

    /// A source transaction reached the end of a stage.
    pub fn lag(&self, stage: Stage, lag: Duration) {
        self.lags(stage, lag, 1);
    }

    /// So many source transactions reached the end of a stage together.
    pub fn lags(&self, stage: Stage, lag: Duration, transactions: usize) {
        lock(&self.windows)[stage as usize].add(second(), micros(lag), u32::try_from(transactions).unwrap_or(u32::MAX));
        self.series.lag[stage as usize].record_many(lag, transactions);
    }

    /// Source transactions that committed then reached the end of a stage now.
    pub fn lag_since(&self, stage: Stage, commits: &[UnixMicros]) {
        let (second, now) = (second(), now());
        let mut windows = lock(&self.windows);
        for &committed_at in commits {
            let micros = u64::try_from(now - committed_at).unwrap_or(0);
            windows[stage as usize].add(second, micros, 1);
            self.series.lag[stage as usize].record(Duration::from_micros(micros));
        }
    }

    /// Source transactions are known.
    pub fn arrived(&self, transactions: &[(CommitLsn, UnixMicros)]) {
        lock(&self.waiting).arrived(transactions);
    }

    /// Everything up to this commit is in the target, or needs not be.
    pub fn settled(&self, commit: CommitLsn) {
        lock(&self.waiting).settled(commit);
    }

    /// Partitions wait each for their own: when the oldest change that any of them waits for was committed.
    pub fn waits_since(&self, committed_at: Option<UnixMicros>) {
        self.waits_since.store(committed_at.unwrap_or(0), Relaxed);
    }

    /// How long the oldest transaction that is known and not yet applied has been committed; zero: all are applied.
    pub fn lag_now(&self) -> Duration {
        let unordered = Some(self.waits_since.load(Relaxed)).filter(|&at| at != 0);
        lock(&self.waiting).oldest().into_iter().chain(unordered).min().map_or(Duration::ZERO, since)
    }

    /// Lags of about the last minute; `None`: there were none.
    pub fn spread(&self, stage: Stage) -> Option<Spread> {
        lock(&self.windows)[stage as usize].spread(second())
    }

    /// One target transaction: its rows, and how long its commit took.
    pub fn batch(&self, rows: usize, commit: Duration) {
        self.series.batch_rows.record(u32::try_from(rows).unwrap_or(u32::MAX));
        self.series.target_commit.record(commit);
    }

    /// Something is tried again.
    pub fn retry(&self, reason: &'static str) {
        super::retried(&self.connector, reason);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds the lock")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Seconds since the process first asked.
fn second() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_secs()
}

/// Microseconds since 1970-01-01 UTC.
pub fn now() -> UnixMicros {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// How long ago a source transaction committed; nothing where the clocks disagree.
pub fn since(committed_at: UnixMicros) -> Duration {
    Duration::from_micros(u64::try_from(now() - committed_at).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Lsn;

    fn meter() -> Meter {
        Meter::new("shop", [(TableName::new("public", "a"), TableName::new("public", "b"))])
    }

    #[test]
    fn counters_outlive_a_life_of_the_pipeline() {
        let first = meter();
        first.changes(Stage::Capture, 0, Op::Update, 9);
        first.changes(Stage::Apply, 0, Op::Update, 3);
        first.lag(Stage::EndToEnd, Duration::from_micros(11));
        let second = meter();
        second.follow_on(&first);
        second.changes(Stage::Apply, 0, Op::Update, 4);
        assert_eq!(second.tables[0].updates.load(Relaxed), 7);
        assert_eq!(second.spread(Stage::EndToEnd).map(|spread| spread.p99), Some(11));
        assert_eq!(second.spread(Stage::Log), None);
    }

    #[test]
    fn the_lag_of_now_is_the_oldest_waiting_one() {
        let meter = meter();
        assert_eq!(meter.lag_now(), Duration::ZERO);
        meter.arrived(&[(CommitLsn(Lsn(5)), now() - 2_000_000), (CommitLsn(Lsn(6)), now() - 1_000_000)]);
        assert!(meter.lag_now() >= Duration::from_secs(2));
        meter.settled(CommitLsn(Lsn(5)));
        assert!(meter.lag_now() < Duration::from_secs(2));
        meter.settled(CommitLsn(Lsn(6)));
        assert_eq!(meter.lag_now(), Duration::ZERO);
    }
}
