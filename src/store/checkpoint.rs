//! How far the target is: moved by apply, in the transaction that brings the rows.

use super::{StoreError, doing, parse};
use crate::change::{CommitLsn, EndLsn, Lsn, Position, UnixMicros};
use tokio_postgres::Client;

/// The local log's name among topics.
pub const LOCAL: &str = "";

/// One partition's checkpoint; the local log has one, of topic `LOCAL` and partition 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub topic: String,
    pub partition: i32,
    /// Drawn by the writer that owns the partition now.
    pub epoch: i64,
    /// The highest capture epoch seen in the partition (Kafka).
    pub capture_epoch: i64,
    /// The last change (Kafka), or the last transaction with its highest ordinal (local), that the target holds.
    pub position: Option<Position>,
    /// Everything that ends at or before it is held (local).
    pub end_lsn: Option<EndLsn>,
    /// The next offset to read (Kafka).
    pub log_offset: Option<i64>,
}

const COLUMNS: &str = "topic, partition, epoch, capture_epoch, position, end_lsn::text, log_offset";

fn checkpoint(row: &tokio_postgres::Row) -> Result<Checkpoint, StoreError> {
    let position: Option<&str> = row.get(4);
    let end: Option<&str> = row.get(5);
    Ok(Checkpoint {
        topic: row.get(0),
        partition: row.get(1),
        epoch: row.get(2),
        capture_epoch: row.get(3),
        position: position.map(|text| parse("position", text)).transpose()?,
        end_lsn: end.map(|text| parse::<Lsn>("LSN", text).map(EndLsn)).transpose()?,
        log_offset: row.get(6),
    })
}

/// All checkpoints of a connector.
///
/// # Errors
/// See [`StoreError`].
pub async fn read(client: &Client, connector: &str) -> Result<Vec<Checkpoint>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM tablelift.checkpoint WHERE connector = $1 ORDER BY topic, partition");
    let rows = client.query(&sql, &[&connector]).await.map_err(doing("read the checkpoints"))?;
    rows.iter().map(checkpoint).collect()
}

/// Records where a connector's local log starts, unless it is recorded already.
///
/// # Errors
/// See [`StoreError`].
pub async fn start(client: &Client, connector: &str, incarnation: u32, end: EndLsn) -> Result<(), StoreError> {
    let position = Position::start_of(incarnation, CommitLsn(end.0)).to_string();
    let sql = "INSERT INTO tablelift.checkpoint (connector, topic, partition, position, end_lsn)
               VALUES ($1, '', 0, $2, $3::text::pg_lsn) ON CONFLICT DO NOTHING";
    client.execute(sql, &[&connector, &position, &end.to_string()]).await.map_err(doing("write the first checkpoint"))?;
    Ok(())
}

/// Becomes the only writer of a partition: draws an epoch (a random one, so that a restored backup never repeats it) and
/// gives the checkpoint as it then is. The UPDATE waits for a transaction of the old writer that is under way.
///
/// # Errors
/// See [`StoreError`].
pub async fn take(client: &Client, connector: &str, topic: &str, partition: i32) -> Result<Checkpoint, StoreError> {
    let sql = format!(
        "INSERT INTO tablelift.checkpoint AS c (connector, topic, partition, epoch)
         VALUES ($1, $2, $3, ('x' || pg_catalog.substr(pg_catalog.md5(pg_catalog.gen_random_uuid()::text), 1, 16))::bit(64)::bigint)
         ON CONFLICT (connector, topic, partition) DO UPDATE SET epoch = excluded.epoch RETURNING {COLUMNS}"
    );
    let row = client.query_one(&sql, &[&connector, &topic, &partition]).await.map_err(doing("take the checkpoint"))?;
    checkpoint(&row)
}

/// Draws a capture's number: above all that were drawn, and above `known`. `None`: another has taken the connector since `epoch`.
///
/// # Errors
/// See [`StoreError`].
pub async fn number_capture(client: &Client, connector: &str, epoch: i64, known: i64) -> Result<Option<i64>, StoreError> {
    let sql = "UPDATE tablelift.checkpoint SET capture_epoch = greatest(capture_epoch, $3) + 1
               WHERE connector = $1 AND topic = $4 AND partition = 0 AND epoch = $2 RETURNING capture_epoch";
    let row = client.query_opt(sql, &[&connector, &epoch, &known, &LOCAL]).await.map_err(doing("number the capture"))?;
    Ok(row.map(|row| row.get(0)))
}

/// What was known of a topic is void.
async fn forget(client: &Client, connector: &str, topic: &str) -> Result<(), StoreError> {
    for table in ["checkpoint", "barrier"] {
        let sql = format!("DELETE FROM tablelift.{table} WHERE connector = $1 AND topic = $2");
        client.execute(&sql, &[&connector, &topic]).await.map_err(doing("forget a topic"))?;
    }
    Ok(())
}

/// What a topic holds so far is void: its partitions begin at these offsets; one without offsets is about to be made anew, and has no
/// history. False: another has taken the connector since `epoch`, and nothing was written.
///
/// # Errors
/// See [`StoreError`].
pub async fn begin_at(client: &Client, connector: &str, epoch: i64, topic: &str, offsets: &[i64]) -> Result<bool, StoreError> {
    client.batch_execute("BEGIN").await.map_err(doing("begin a topic"))?;
    if !is_ours(client, connector, epoch).await? && !broken!(BeginsUnasked) {
        client.batch_execute("ROLLBACK").await.map_err(doing("begin a topic"))?;
        return Ok(false);
    }
    forget(client, connector, topic).await?;
    let sql = "INSERT INTO tablelift.checkpoint (connector, topic, partition, log_offset)
               SELECT $1, $2, (at - 1)::integer, next FROM unnest($3::bigint[]) WITH ORDINALITY AS offsets (next, at)";
    client.execute(sql, &[&connector, &topic, &offsets]).await.map_err(doing("begin a topic"))?;
    client.batch_execute("COMMIT").await.map_err(doing("begin a topic"))?;
    Ok(true)
}

/// Whether the local checkpoint is still this writer's. Nobody takes it before the transaction ends.
///
/// # Errors
/// See [`StoreError`].
pub async fn is_ours(client: &Client, connector: &str, epoch: i64) -> Result<bool, StoreError> {
    let sql = "SELECT FROM tablelift.checkpoint WHERE connector = $1 AND topic = $3 AND partition = 0 AND epoch = $2 FOR SHARE";
    let row = client.query_opt(sql, &[&connector, &epoch, &LOCAL]).await.map_err(doing("look whose the checkpoint is"))?;
    Ok(row.is_some())
}

/// Whether nobody has begun to capture since this number was drawn. The row is locked until the end of the transaction: whoever begins waits.
///
/// # Errors
/// See [`StoreError`].
pub async fn is_captured_by(client: &Client, connector: &str, number: i64) -> Result<bool, StoreError> {
    let sql =
        "SELECT FROM tablelift.checkpoint WHERE connector = $1 AND topic = $3 AND partition = 0 AND capture_epoch = $2 FOR SHARE";
    let row = client.query_opt(sql, &[&connector, &number, &LOCAL]).await.map_err(doing("look who captures"))?;
    Ok(row.is_some())
}

/// Moves the local checkpoint. Gives false if another writer has taken it: then nothing of this transaction may be committed.
pub const MOVE_LOCAL: &str = "UPDATE tablelift.checkpoint SET position = $3, end_lsn = $4::text::pg_lsn,
    committed_at = pg_catalog.to_timestamp($5::bigint / 1000000.0)
    WHERE connector = $1 AND topic = '' AND partition = 0 AND epoch = $2";

/// Moves a topic partition's checkpoint, never back. Affects no row if another writer has taken it, or it was moved past a marker meanwhile.
pub const MOVE_PARTITION: &str = "UPDATE tablelift.checkpoint SET position = coalesce($5, position), log_offset = $6,
    capture_epoch = greatest(capture_epoch, $7), committed_at = coalesce(pg_catalog.to_timestamp($8::bigint / 1000000.0), committed_at)
    WHERE connector = $1 AND topic = $2 AND partition = $3 AND epoch = $4 AND coalesce(log_offset, 0) <= $6";

/// What `MOVE_LOCAL` writes.
#[derive(Clone, Copy, Debug)]
pub struct LocalMove {
    pub position: Position,
    pub end: EndLsn,
    pub committed_at: UnixMicros,
}

/// A Kafka partition's checkpoint, and how old it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub topic: String,
    pub partition: i32,
    /// The next offset to read.
    pub next: i64,
    /// How long ago what was last applied was committed on the source.
    pub age: Option<std::time::Duration>,
}

/// Where each Kafka partition stands.
///
/// # Errors
/// See [`StoreError`].
pub async fn waiting(client: &Client, connector: &str) -> Result<Vec<Waiting>, StoreError> {
    let sql = "SELECT topic, partition, log_offset, extract(epoch FROM pg_catalog.clock_timestamp() - committed_at)::float8
               FROM tablelift.checkpoint WHERE connector = $1 AND log_offset IS NOT NULL ORDER BY 1, 2";
    let rows = client.query(sql, &[&connector]).await.map_err(doing("read the checkpoints' ages"))?;
    let age = |seconds: f64| std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let rows = rows.iter();
    Ok(rows
        .map(|row| Waiting {
            topic: row.get(0),
            partition: row.get(1),
            next: row.get(2),
            age: row.get::<_, Option<f64>>(3).map(age),
        })
        .collect())
}
