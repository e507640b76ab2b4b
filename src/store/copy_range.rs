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

/// A table's copy begins, or begins anew: it follows the stream from here on; or, where it is loaded, once that is over.
///
/// # Errors
/// See [`StoreError`].
pub async fn plan(client: &Client, connector: &str, target: &TableName, ranges: &[Range]) -> Result<(), StoreError> {
    let texts: Vec<String> = ranges.iter().map(text).collect();
    let sql = "WITH old AS (DELETE FROM tablelift.copy_range WHERE connector = $1 AND target_schema = $2 AND target_name = $3 AND nth > $5),
               state AS (UPDATE tablelift.table_state SET state = CASE state WHEN 'load' THEN 'load' ELSE 'copy' END, rows_copied = 0, bytes_copied = 0
                         WHERE connector = $1 AND target_schema = $2 AND target_name = $3)
               INSERT INTO tablelift.copy_range (connector, target_schema, target_name, nth, range)
               SELECT $1, $2, $3, nth::integer, range FROM unnest($4::text[]) WITH ORDINALITY AS ranges (range, nth)
               ON CONFLICT (connector, target_schema, target_name, nth)
               DO UPDATE SET range = excluded.range, done = false, rows = 0, bytes = 0";
    let count = i32::try_from(texts.len()).unwrap_or(i32::MAX);
    client
        .execute(sql, &[&connector, &target.schema, &target.name, &texts, &count])
        .await
        .map_err(doing("record a copy's ranges"))?;
    Ok(())
}

/// A table's load begins, which has no key yet: it lacks the changes from `from` on until its rows and its key are there. In one
/// transaction with its ranges.
///
/// # Errors
/// See [`StoreError`].
pub async fn load(
    client: &Client,
    connector: &str,
    target: &TableName,
    from: Position,
    ranges: &[Range],
) -> Result<(), StoreError> {
    let sql = "UPDATE tablelift.table_state SET state = 'load', lacks_from = $4
               WHERE connector = $1 AND target_schema = $2 AND target_name = $3";
    client.batch_execute("BEGIN").await.map_err(doing("begin a load"))?;
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&connector, &target.schema, &target.name, &from.to_string()];
    client.execute(sql, &params).await.map_err(doing("begin a load"))?;
    plan(client, connector, target, ranges).await?;
    client.batch_execute("COMMIT").await.map_err(doing("begin a load"))
}

/// A table that was copied is read once more.
///
/// # Errors
/// See [`StoreError`].
pub async fn resync(client: &Client, connector: &str, target: &TableName, ranges: &[Range]) -> Result<(), StoreError> {
    let sql = "UPDATE tablelift.table_state SET repeats = true WHERE connector = $1 AND target_schema = $2 AND target_name = $3";
    client.execute(sql, &[&connector, &target.schema, &target.name]).await.map_err(doing("ask for a copy"))?;
    plan(client, connector, target, ranges).await
}

/// Ends the repeated copies: their tables follow as before. Gives their targets.
///
/// # Errors
/// See [`StoreError`].
pub async fn cancel(client: &Client, connector: &str) -> Result<Vec<TableName>, StoreError> {
    let sql = "WITH tables AS (UPDATE tablelift.table_state SET state = 'follow', repeats = false
                   WHERE connector = $1 AND state = 'copy' AND repeats RETURNING target_schema, target_name),
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

/// All ranges of a table are read, and it is what it should be once the stream has passed `window`.
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
    let sql = "WITH mine AS (SELECT FROM tablelift.checkpoint WHERE connector = $1 AND topic = $5 AND partition = 0 AND epoch = $2 FOR SHARE),
               ranges AS (DELETE FROM tablelift.copy_range USING mine
                          WHERE connector = $1 AND target_schema = $3 AND target_name = $4 RETURNING rows, bytes)
               UPDATE tablelift.table_state SET state = 'follow', repeats = false, copied_at = pg_catalog.now(), window_until = greatest(window_until, $6::text::pg_lsn),
               rows_copied = (SELECT coalesce(sum(rows), 0) FROM ranges), bytes_copied = (SELECT coalesce(sum(bytes), 0) FROM ranges),
               halted_because = CASE WHEN lacks_from IS NOT NULL THEN halted_because END,
               hint = CASE WHEN lacks_from IS NOT NULL THEN hint END,
               halted_at = CASE WHEN lacks_from IS NOT NULL THEN halted_at END
               FROM mine WHERE connector = $1 AND target_schema = $3 AND target_name = $4";
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&connector, &epoch, &target.schema, &target.name, &checkpoint::LOCAL, &window.to_string()];
    Ok(client.execute(sql, &params).await.map_err(doing("record a copy"))? == 1)
}
