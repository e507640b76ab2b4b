//! How far a table's copy is, range by range. Planned when the table is taken on; moved by the copy, with the rows.

use super::{StoreError, checkpoint, doing};
use crate::change::{EndLsn, Position, TableName};
use crate::chunk::Range;
use tokio_postgres::Client;

/// One range, as far as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyRange {
    pub target: TableName,
    pub nth: i32,
    pub range: Range,
    pub done: bool,
    pub rows: i64,
    pub bytes: i64,
}

/// All ranges of a connector's tables that are being copied.
///
/// # Errors
/// See [`StoreError`].
pub async fn read(client: &Client, connector: &str) -> Result<Vec<CopyRange>, StoreError> {
    let sql = "SELECT target_schema, target_name, nth, range, done, rows, bytes FROM tablelift.copy_range
               WHERE connector = $1 ORDER BY 1, 2, 3";
    let rows = client.query(sql, &[&connector]).await.map_err(doing("read a copy's progress"))?;
    let ranges = rows.iter().map(|row| {
        let range: &str = row.get(3);
        Ok(CopyRange {
            target: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
            nth: row.get(2),
            range: serde_json::from_str(range)
                .map_err(|_| StoreError::Damaged { what: "range of a copy", text: range.to_owned() })?,
            done: row.get(4),
            rows: row.get(5),
            bytes: row.get(6),
        })
    });
    ranges.collect()
}

fn text(range: &Range) -> String {
    serde_json::to_string(range).expect("plain data is always JSON")
}

/// A table's copy begins, or begins anew: it follows the stream from here on; or, where it is loaded, once that is over. False: another has
/// taken the checkpoint since `epoch`, and nothing was written.
///
/// # Errors
/// See [`StoreError`].
pub async fn plan(
    client: &Client,
    connector: &str,
    epoch: i64,
    target: &TableName,
    ranges: &[Range],
) -> Result<bool, StoreError> {
    record(client, connector, Some(epoch), target, (None, ranges)).await
}

/// A table's load begins, which has no key yet: it lacks the changes from `from` on until its rows and its key are there. False: as `plan`.
///
/// # Errors
/// See [`StoreError`].
pub async fn load(
    client: &Client,
    connector: &str,
    epoch: i64,
    target: &TableName,
    from: Position,
    ranges: &[Range],
) -> Result<bool, StoreError> {
    record(client, connector, Some(epoch), target, (Some(from), ranges)).await
}

/// `epoch`: `None` is for whoever is not the daemon. `load`: where the changes of a load wait from.
async fn record(
    client: &Client,
    connector: &str,
    epoch: Option<i64>,
    target: &TableName,
    (load, ranges): (Option<Position>, &[Range]),
) -> Result<bool, StoreError> {
    let texts: Vec<String> = ranges.iter().map(text).collect();
    let sql = "WITH mine AS (SELECT FROM tablelift.checkpoint
                             WHERE connector = $1 AND topic = $7 AND partition = 0 AND epoch = coalesce($6, epoch) FOR SHARE),
               old AS (DELETE FROM tablelift.copy_range USING mine
                       WHERE connector = $1 AND target_schema = $2 AND target_name = $3 AND nth > $5),
               state AS (UPDATE tablelift.table_state SET rows_copied = 0, bytes_copied = 0, lacks_from = coalesce($8, lacks_from),
                         state = CASE WHEN $8 IS NOT NULL OR state = 'load' THEN 'load' ELSE 'copy' END FROM mine
                         WHERE connector = $1 AND target_schema = $2 AND target_name = $3),
               new AS (INSERT INTO tablelift.copy_range (connector, target_schema, target_name, nth, range)
                       SELECT $1, $2, $3, nth::integer, range FROM mine, unnest($4::text[]) WITH ORDINALITY AS ranges (range, nth)
                       ON CONFLICT (connector, target_schema, target_name, nth)
                       DO UPDATE SET range = excluded.range, done = false, rows = 0, bytes = 0)
               SELECT EXISTS (SELECT FROM mine)";
    let count = i32::try_from(texts.len()).unwrap_or(i32::MAX);
    let load = load.map(|position| position.to_string());
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
        [&connector, &target.schema, &target.name, &texts, &count, &epoch, &checkpoint::LOCAL, &load];
    Ok(client.query_one(sql, &params).await.map_err(doing("record a copy's ranges"))?.get(0))
}

/// What of a table is read once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    Whole,
    /// Some of its partitions, or none: the record of them is `leaves` from then on.
    Partitions {
        leaves: &'a str,
        /// Rows may be gone with one of them.
        sweeps: bool,
    },
}

/// A table that was copied is read once more. False: it is being copied, and nothing was written.
///
/// # Errors
/// See [`StoreError`].
pub async fn resync(
    client: &Client,
    connector: &str,
    target: &TableName,
    ranges: &[Range],
    scope: Scope<'_>,
) -> Result<bool, StoreError> {
    let action = "ask for a copy";
    client.batch_execute("BEGIN").await.map_err(doing(action))?;
    let sql = "UPDATE tablelift.table_state SET repeats = true, partial = $4, sweeps = $5, leaves = coalesce($6, leaves)
               WHERE connector = $1 AND target_schema = $2 AND target_name = $3 AND state = 'follow'";
    let (leaves, sweeps) = match scope {
        Scope::Whole => (None, true),
        Scope::Partitions { leaves, sweeps } => (Some(leaves), sweeps),
    };
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&connector, &target.schema, &target.name, &leaves.is_some(), &sweeps, &leaves];
    let asked = client.execute(sql, &params).await.map_err(doing(action))? == 1
        && record(client, connector, None, target, (None, ranges)).await?;
    client.batch_execute(if asked { "COMMIT" } else { "ROLLBACK" }).await.map_err(doing(action))?;
    Ok(asked)
}

/// Ends the repeated copies that somebody asked for: their tables follow as before. Partitions that came have to be read. Gives their targets.
///
/// # Errors
/// See [`StoreError`].
pub async fn cancel(client: &Client, connector: &str) -> Result<Vec<TableName>, StoreError> {
    let sql = "WITH tables AS (UPDATE tablelift.table_state SET state = 'follow', repeats = false
                   WHERE connector = $1 AND state = 'copy' AND repeats AND NOT partial RETURNING target_schema, target_name),
               ranges AS (DELETE FROM tablelift.copy_range AS r USING tables AS t WHERE r.connector = $1
                   AND r.target_schema = t.target_schema AND r.target_name = t.target_name)
               SELECT target_schema, target_name FROM tables ORDER BY 1, 2";
    let rows = client.query(sql, &[&connector]).await.map_err(doing("cancel copies"))?;
    Ok(rows.iter().map(|row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1))).collect())
}

/// No chunk begins while the copies are paused.
///
/// # Errors
/// See [`StoreError`].
pub async fn pause(client: &Client, connector: &str, paused: bool) -> Result<(), StoreError> {
    let sql = "UPDATE tablelift.connector SET copy_paused = $2 WHERE name = $1";
    client.execute(sql, &[&connector, &paused]).await.map_err(doing("pause the copies"))?;
    Ok(())
}

/// What a person wants of the copies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    pub paused: bool,
    /// Targets that are being copied.
    pub copying: Vec<TableName>,
}

/// Reads it.
///
/// # Errors
/// See [`StoreError`].
pub async fn orders(client: &Client, connector: &str) -> Result<Orders, StoreError> {
    let sql = "SELECT c.copy_paused, s.target_schema, s.target_name FROM tablelift.connector AS c
               LEFT JOIN tablelift.table_state AS s ON s.connector = c.name AND s.state IN ('copy', 'load') WHERE c.name = $1 ORDER BY 2, 3";
    let rows = client.query(sql, &[&connector]).await.map_err(doing("look what is to be copied"))?;
    let name =
        |row: &tokio_postgres::Row| Some(TableName::new(row.get::<_, Option<String>>(1)?, row.get::<_, Option<String>>(2)?));
    Ok(Orders { paused: rows.first().is_some_and(|row| row.get(0)), copying: rows.iter().filter_map(name).collect() })
}

/// A chunk is in the target, or in the log. Gives false if another program has taken the connector over: then nothing of this transaction
/// may be committed. The row of the epoch is locked until then, so that nobody takes it over between.
///
/// # Errors
/// See [`StoreError`].
pub async fn advance(client: &Client, connector: &str, epoch: i64, moved: &CopyRange) -> Result<bool, StoreError> {
    let sql = "WITH mine AS (SELECT FROM tablelift.checkpoint WHERE connector = $1 AND topic = $9 AND partition = 0 AND epoch = $2 FOR SHARE)
               UPDATE tablelift.copy_range SET range = $6, done = $7, rows = rows + $8, bytes = bytes + $10
               FROM mine WHERE connector = $1 AND target_schema = $3 AND target_name = $4 AND nth = $5";
    let range = text(&moved.range);
    let target = &moved.target;
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 10] = [
        &connector,
        &epoch,
        &target.schema,
        &target.name,
        &moved.nth,
        &range,
        &moved.done,
        &moved.rows,
        &checkpoint::LOCAL,
        &moved.bytes,
    ];
    Ok(client.execute(sql, &params).await.map_err(doing("record a copy's progress"))? == 1)
}

/// All ranges of a table are read, and it is what it should be once the stream has passed `window`. It waits for the
/// stream's own transaction, however long: whoever lost patience would sweep and build again.
///
/// # Errors
/// See [`StoreError`].
pub async fn complete(
    client: &Client,
    connector: &str,
    epoch: i64,
    target: &TableName,
    window: EndLsn,
) -> Result<bool, StoreError> {
    let sql = "WITH mine AS (SELECT FROM tablelift.checkpoint WHERE connector = $1 AND topic = $5 AND partition = 0 AND epoch = $2
                          AND (SELECT pg_catalog.set_config('lock_timeout', '0', true)) = '0' FOR SHARE),
               ranges AS (DELETE FROM tablelift.copy_range USING mine
                          WHERE connector = $1 AND target_schema = $3 AND target_name = $4 RETURNING rows, bytes)
               UPDATE tablelift.table_state SET state = 'follow', copied_at = pg_catalog.now(), window_until = greatest(window_until, $6::text::pg_lsn),
               rows_copied = (SELECT coalesce(sum(rows), 0) FROM ranges), bytes_copied = (SELECT coalesce(sum(bytes), 0) FROM ranges),
               halted_because = CASE WHEN hint NOT LIKE 'copy: %' THEN halted_because END,
               hint = CASE WHEN hint NOT LIKE 'copy: %' THEN hint END,
               halted_at = CASE WHEN hint NOT LIKE 'copy: %' THEN halted_at END
               FROM mine WHERE connector = $1 AND target_schema = $3 AND target_name = $4";
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&connector, &epoch, &target.schema, &target.name, &checkpoint::LOCAL, &window.to_string()];
    Ok(client.execute(sql, &params).await.map_err(doing("record a copy"))? == 1)
}
