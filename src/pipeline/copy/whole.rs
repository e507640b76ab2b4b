//! The first copy of one table, local log: under the snapshot of a temporary slot, in one target transaction with its record. What
//! commits at or behind the slot's consistent point comes from the stream; an interrupted copy leaves nothing behind.

use super::at_source;
use super::pipe::{Piped, pipe};
use super::refused;
use crate::catalog::partition_tree;
use crate::change::{CommitLsn, Position, TableName};
use crate::config::{Connector, Triggers};
use crate::mapping::TablePlan;
use crate::pg::Endpoint;
use crate::pg::quote;
use crate::pipeline::board::Board;
use crate::pipeline::holdup::{self, Busy, Side};
use crate::pipeline::{PipelineError, Tasks, after_load, halted_by, session};
use crate::source::{Connection, CreatedSlot, SlotKind, SlotName, SnapshotUse};
use crate::store::table_state;
use crate::telemetry::Meter;
use futures_util::{StreamExt, stream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio_postgres::Client;

/// What becomes of a table whose rows refer to rows that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Early {
    Later,
    Halts,
}

/// Copies tables.
pub struct Copier {
    pub connector: Arc<Connector>,
    pub incarnation: u32,
    pub plans: Arc<Vec<TablePlan>>,
    pub meter: Arc<Meter>,
    pub board: Arc<Board>,
}

impl Copier {
    /// Copies tables, two at a time. Where foreign keys fire, a table may need the rows of another: then it comes again behind the
    /// others, for as long as that brings any of them further.
    pub async fn copy_all(&self, mut tables: Vec<usize>) {
        while !tables.is_empty() {
            let before = tables.len();
            let early = stream::iter(tables).map(|number| self.copy(number, Early::Later)).buffer_unordered(2);
            tables = early.filter_map(std::future::ready).collect().await;
            if tables.len() == before {
                break;
            }
        }
        let rest = stream::iter(tables).map(|number| self.copy(number, Early::Halts)).buffer_unordered(2);
        rest.for_each(|_| std::future::ready(())).await;
    }

    /// Copies one table, whatever it takes: tries again while the world is away, and slowly while the table does not fit. Gives the
    /// table back where a row's parent is missing and it may come later.
    async fn copy(&self, number: usize, early: Early) -> Option<usize> {
        let plan = &self.plans[number];
        let mut pause = Duration::from_millis(200);
        loop {
            let error = match self.attempt(number, plan).await {
                Ok(rows) => {
                    self.board.resumed(&plan.target);
                    tracing::info!(table = %plan.target, rows, "copied");
                    after_load::at_copy_end(&self.connector, &self.board, &plan.target).await;
                    return None;
                }
                Err(error) => error,
            };
            self.meter.reset_copied(number);
            if early == Early::Later && matches!(&error, PipelineError::Session(error) if error.is_foreign_key()) {
                tracing::info!(table = %plan.target, "a foreign key needs rows of another table: it is copied again behind the others");
                return Some(number);
            }
            pause = if error.fate() == crate::fate::Fate::Retry {
                self.meter.retry("copy");
                tracing::warn!(table = %plan.target, error = %crate::pipeline::chain(&error), "the copy is tried again");
                (pause * 2).min(Duration::from_secs(10))
            } else {
                self.halted(plan, &error).await;
                Duration::from_secs(30)
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Says why, on the board and in the table's record, as far as that can be reached.
    async fn halted(&self, plan: &TablePlan, error: &PipelineError) {
        let halted = halted_by(error, "cure that, and the copy is tried again within 30 s; SIGHUP or a restart tries at once");
        tracing::error!(table = %plan.target, "the first copy halted: {}\n  hint: {}", halted.because, halted.hint);
        let tasks = Tasks::default();
        if let Ok(client) = session::open(&tasks, &self.connector.target.endpoint, &self.connector.object_name()).await {
            table_state::halt(&client, &self.connector.name, &plan.target, None, &halted).await.ok();
        }
        self.board.halted(&plan.target, halted, None);
    }

    async fn attempt(&self, number: usize, plan: &TablePlan) -> Result<u64, PipelineError> {
        let tasks = Tasks::default();
        let name = self.connector.object_name();
        let source = session::open(&tasks, &self.connector.source.endpoint, &name).await.map_err(PipelineError::Source)?;
        let endpoint = &self.connector.target.endpoint;
        let target = session::open_for_copy_in(&tasks, endpoint, &name).await.map_err(PipelineError::Target)?;
        let slot = temporary_name(&name)?;
        let snapshot =
            open_snapshot(&self.connector.source.endpoint, &name, &source, &plan.source, &slot, (&self.board, &plan.target))
                .await?;
        let source_busy = Busy::of(&source, Side::Source, Some(plan.target.to_string()), &self.board).await?;
        let target_busy = Busy::of(&target, Side::Target, Some(plan.target.to_string()), &self.board).await?;
        let _busy = (source_busy.begin(), target_busy.begin());
        let piped = self.pour(number, plan, &source, &target).await?;
        let from = Position::start_of(self.incarnation, CommitLsn(snapshot.made.consistent_point.0));
        table_state::copied(&target, &self.connector.name, &plan.target, from, piped.recorded()).await?;
        target.batch_execute("COMMIT").await.map_err(|source| refused(plan, source))?;
        target.batch_execute(&format!("ANALYZE {}", quote::table(&plan.into))).await.ok();
        Ok(piped.rows)
    }

    /// All rows, into the target's open transaction. Gives how many it took.
    async fn pour(&self, number: usize, plan: &TablePlan, source: &Client, target: &Client) -> Result<Piped, PipelineError> {
        let refused = |source| refused(plan, source);
        if self.connector.target.triggers == Triggers::Off {
            target.batch_execute("SET session_replication_role = replica").await.map_err(refused)?;
        }
        target.batch_execute(crate::pipeline::run::DURABLE).await.map_err(refused)?;
        target.batch_execute("BEGIN").await.map_err(refused)?;
        if target.query_one(&plan.filled(), &[]).await.map_err(refused)?.get(0) {
            return Err(PipelineError::Belief {
                what: format!("`{}` is not empty: the first copy would mix with the rows that are there", plan.target),
                hint: "empty it, or run with --no-copy if it holds the source's rows already".to_owned(),
            });
        }
        let straight = plan.straight() && !plan.outputs.is_empty();
        let (columns, copy_in) = if straight {
            let columns: Vec<usize> = plan.outputs.iter().filter_map(|output| output.plain).collect();
            (columns, plan.sql(&crate::mapping::Statement::CopyIn).expect("a COPY needs nothing unchanged"))
        } else {
            let staging = format!("CREATE TEMP TABLE tablelift_staging ({}) ON COMMIT DROP", plan.staging_columns());
            target.batch_execute(&staging).await.map_err(refused)?;
            ((0..plan.inputs.len()).collect(), "COPY pg_temp.tablelift_staging FROM STDIN".to_owned())
        };
        let names: Vec<String> = columns.iter().map(|&input| quote::ident(&plan.inputs[input].name)).collect();
        let copy_out = format!("COPY (SELECT {} FROM {}) TO STDOUT", names.join(", "), plan.source_only());
        let mut counted = Piped::default();
        let mut count = |piped: Piped| {
            self.meter.copied(number, piped.rows.saturating_sub(counted.rows), piped.bytes.saturating_sub(counted.bytes));
            counted = piped;
            true
        };
        let piped = pipe((source, &copy_out), (target, &copy_in), at_source, refused, &mut count).await?;
        let piped = piped.expect("it always goes on");
        count(piped);
        if straight {
            return Ok(piped);
        }
        let sql = plan.insert_from("pg_temp.tablelift_staging");
        Ok(Piped { rows: target.execute(&sql, &[]).await.map_err(refused)?, ..piped })
    }
}

/// A session that reads under a temporary slot's snapshot.
pub struct Snapshot {
    pub made: CreatedSlot,
    /// Holds the slot, which keeps the snapshot.
    _stream: Connection,
}

/// Makes a temporary slot and opens its snapshot in `source`, the table locked against rewrites.
///
/// # Errors
/// See [`PipelineError`]. A table that was rewritten meanwhile is tried again: the snapshot would see it empty.
pub async fn open_snapshot(
    endpoint: &Endpoint,
    name: &str,
    source: &Client,
    table: &TableName,
    slot: &SlotName,
    (board, who): (&Board, &TableName),
) -> Result<Snapshot, PipelineError> {
    let before = files(source, table).await?;
    let mut stream = Connection::open(endpoint, name).await.map_err(PipelineError::Source)?;
    let making = stream.create_slot(slot, SlotKind::Temporary, SnapshotUse::Export);
    let made = holdup::slot_made(board, &who.to_string(), source, making).await?;
    let open = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}; SET LOCAL row_security = off;
         SET LOCAL lock_timeout = '60s'; LOCK TABLE {} IN ACCESS SHARE MODE",
        quote::literal(made.snapshot.as_deref().unwrap_or_default()),
        quote::table(table)
    );
    source.batch_execute(&open).await.map_err(at_source)?;
    if files(source, table).await? != before {
        // TRUNCATE or a rewrite between snapshot and lock
        return Err(PipelineError::Stream(crate::source::SourceError::Closed));
    }
    Ok(Snapshot { made, _stream: stream })
}

/// The files that hold the table's rows, of all its partitions: they change with TRUNCATE and with every rewrite.
async fn files(source: &Client, table: &TableName) -> Result<Vec<u32>, PipelineError> {
    let tree = partition_tree("$1::text::regclass");
    let sql = format!("SELECT coalesce(pg_catalog.pg_relation_filenode(relid), 0) FROM {tree} AS tree ORDER BY 1");
    let rows = source.query(&sql, &[&quote::table(table)]).await.map_err(at_source)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

pub fn temporary_name(object: &str) -> Result<SlotName, PipelineError> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nth = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok(SlotName::new(format!("{}_copy_{}_{nth}", &object[..object.len().min(40)], std::process::id()))?)
}
