//! The source's side of a chunk: one short transaction, whose snapshot is taken while the stream stands still.

use super::ChunkError;
use super::work::Task;
use crate::change::{EndLsn, TableName};
use crate::chunk::{Chunk, Range, Snapshot};
use crate::config::Connector;
use crate::pg::quote;
use crate::pipeline::board::Board;
use crate::pipeline::holdup::{Busy, Side};
use crate::pipeline::turn::{ChunkTurn, Turns};
use crate::pipeline::{PipelineError, Tasks, session};
use crate::source;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// A session that reads chunks.
pub struct ChunkSource {
    pub client: Client,
    pub busy: Arc<Busy>,
    /// `server_version_num`.
    version: u32,
    _tasks: Tasks,
}

/// A transaction that is open, the table locked against rewrites, and no snapshot taken yet.
pub struct Locked {
    /// The table or partition, quoted.
    pub relation: String,
    oid: u32,
    file: u32,
}

/// What the chunk will read.
pub struct Reading {
    pub relation: String,
    pub chunk: Chunk,
    /// On its rows.
    pub condition: String,
    /// Everything that the snapshot sees is in the WAL before it.
    pub until: EndLsn,
}

impl ChunkSource {
    /// Opens it, on the very server that the stream comes from.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn open(connector: &Connector, system: &(String, u32), board: &Board) -> Result<Self, PipelineError> {
        let tasks = Tasks::default();
        let name = connector.object_name();
        let client = session::open(&tasks, &connector.source.endpoint, &name).await.map_err(PipelineError::Source)?;
        let facts = source::server_facts(&client).await?;
        if facts.in_recovery || (&facts.system_id, facts.timeline) != (&system.0, system.1) {
            return Err(PipelineError::Belief {
                what: "the copy's session is not on the server that the stream comes from".to_owned(),
                hint: "`[source] url` must lead to the primary, and to one only: target_session_attrs=read-write".to_owned(),
            });
        }
        let busy = Busy::of(&client, Side::Source, None, board).await?;
        Ok(Self { client, busy, version: facts.version, _tasks: tasks })
    }

    /// Draws a barrier, in a turn, if one is wanted: the first of a stream's life is, and one when too much was emitted.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn draw_barrier(&self, turns: &Turns) -> Result<(), PipelineError> {
        if turns.want_barrier() {
            let turn = turns.chunk().await;
            turn.barrier(&self.barrier().await?);
        }
        Ok(())
    }

    /// What the stream has behind it and nobody knows one by one: an own transaction id, then a snapshot.
    async fn barrier(&self) -> Result<Snapshot, PipelineError> {
        if !broken!(NoOwnXid) {
            self.client.batch_execute("BEGIN; SELECT pg_catalog.pg_current_xact_id(); ROLLBACK").await.map_err(failed)?;
        }
        let row = self.client.query_one("SELECT pg_catalog.pg_current_snapshot()::text", &[]).await.map_err(failed)?;
        snapshot(row.get(0))
    }

    /// Whether a table is still there.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn has(&self, table: &TableName) -> Result<bool, PipelineError> {
        let sql = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
        Ok(self.client.query_one(sql, &[&quote::table(table)]).await.map_err(failed)?.get(0))
    }

    /// Begins a chunk. The lock comes before the snapshot: what is rewritten or truncated between the two would look empty.
    ///
    /// # Errors
    /// The table is gone, or somebody holds it.
    pub async fn lock(&self, range: &Range) -> Result<Locked, ChunkError> {
        let Range::Blocks { relation: oid, file, .. } = *range;
        let sql = "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
                   FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1";
        let Some(row) = self.client.query_opt(sql, &[&oid]).await.map_err(failed)? else { return Err(ChunkError::Rewritten) };
        let relation: String = row.get(0);
        match self.begin(&format!("ONLY {relation}")).await {
            // dropped, or named otherwise, while we waited for the lock
            Err(PipelineError::Query { source, .. }) if is_nowhere(&source) => Err(ChunkError::Rewritten),
            begun => Ok(begun.map(|()| Locked { relation, oid, file })?),
        }
    }

    /// Takes the snapshot, in the chunk's turn, and holds it against what the stream has brought.
    ///
    /// # Errors
    /// It does not see all of that; or the file is another one.
    pub async fn look(&self, locked: Locked, task: &Task, turn: &ChunkTurn) -> Result<Reading, ChunkError> {
        let sql = "SELECT pg_catalog.pg_relation_filenode($1::oid),
                   pg_catalog.pg_relation_size($1::oid) / pg_catalog.current_setting('block_size')::bigint, $2::text::regclass::oid";
        let file = async { Ok(self.client.query_one(sql, &[&locked.oid, &locked.relation]).await.map_err(failed)?) };
        // sent together: one round trip
        let (until, row) = tokio::try_join!(self.snapshot(turn), file)?;
        let (file, blocks, oid): (Option<u32>, Option<i64>, u32) = (row.get(0), row.get(1), row.get(2));
        if (file != Some(locked.file) || oid != locked.oid) && !broken!(AnyFile) {
            return Err(ChunkError::Rewritten);
        }
        let blocks = u32::try_from(blocks.unwrap_or(0)).unwrap_or(u32::MAX);
        let chunk = task.range.chunk(task.units, blocks);
        let condition = chunk.condition(self.version, blocks);
        Ok(Reading { relation: locked.relation, chunk, condition, until })
    }

    /// Begins to read single rows of a table, partitions and all.
    ///
    /// # Errors
    /// As `lock`.
    pub async fn lock_table(&self, table: &TableName) -> Result<(), ChunkError> {
        Ok(self.begin(&quote::table(table)).await?)
    }

    async fn begin(&self, relation: &str) -> Result<(), PipelineError> {
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL row_security = off; SET LOCAL lock_timeout = '10s';
             LOCK TABLE {relation} IN ACCESS SHARE MODE"
        );
        self.client.batch_execute(&begin).await.map_err(failed)
    }

    /// Takes the transaction's snapshot, in the chunk's turn, and holds it against what the stream has brought. Gives a place that everything
    /// it sees lies before.
    ///
    /// # Errors
    /// It does not see all of that.
    pub async fn snapshot(&self, turn: &ChunkTurn) -> Result<EndLsn, ChunkError> {
        let must = turn.must().ok_or(ChunkError::NoBarrier)?;
        let sql = "SELECT pg_catalog.pg_current_snapshot()::text, pg_catalog.pg_current_wal_insert_lsn()::text";
        let row = self.client.query_one(sql, &[]).await.map_err(failed)?;
        let taken = snapshot(row.get(0))?;
        if let Some(xid) = must.lacks(&taken) {
            return Err(ChunkError::Invisible(xid));
        }
        turn.seen(&taken);
        row.get::<_, &str>(1).parse().map(EndLsn).map_err(|_| answer().into())
    }

    /// Ends the transaction, and waits until a new snapshot would see what the stream has brought. Gives false if it does not within
    /// `patience`.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn sees(&self, turn: &ChunkTurn, patience: Duration) -> Result<bool, PipelineError> {
        self.end().await?;
        let begun = Instant::now();
        loop {
            let row = self.client.query_one("SELECT pg_catalog.pg_current_snapshot()::text", &[]).await.map_err(failed)?;
            let now = snapshot(row.get(0))?;
            if turn.must().is_some_and(|must| must.lacks(&now).is_none()) {
                return Ok(true);
            }
            if begun.elapsed() >= patience {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Ends the transaction.
    ///
    /// # Errors
    /// The session is gone.
    pub async fn end(&self) -> Result<(), PipelineError> {
        self.client.batch_execute("ROLLBACK").await.map_err(failed)
    }
}

fn is_nowhere(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(&SqlState::UNDEFINED_TABLE | &SqlState::INVALID_SCHEMA_NAME))
}

fn snapshot(text: &str) -> Result<Snapshot, PipelineError> {
    text.parse().map_err(|_| answer())
}

fn answer() -> PipelineError {
    PipelineError::Stream(source::SourceError::Answer { doing: "take a snapshot" })
}

pub fn failed(source: tokio_postgres::Error) -> PipelineError {
    PipelineError::Query { side: "source", source }
}
