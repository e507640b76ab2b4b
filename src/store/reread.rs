//! The re-read set: keys whose rows are to be read again from the source. Filled in the checkpoint's transaction by whoever had to pass a
//! change over; emptied in the transaction that brings the row, or its absence.

use super::{StoreError, checkpoint, doing};
use crate::change::{EndLsn, TableName};
use tokio_postgres::Client;

/// A key that is to be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reread {
    pub target: TableName,
    /// The text of the source key's columns, in its order.
    pub key: Vec<String>,
    /// A later request for the same key has a higher one.
    pub id: i64,
}

/// Adds keys of one table.
///
/// # Errors
/// See [`StoreError`].
pub async fn add(client: &Client, connector: &str, target: &TableName, keys: &[&Vec<String>]) -> Result<(), StoreError> {
    // an array of arrays must be a rectangle, and keys of one table are
    let width = i32::try_from(keys.first().map_or(0, |key| key.len())).unwrap_or(0);
    let flat: Vec<&str> = keys.iter().flat_map(|key| key.iter().map(String::as_str)).collect();
    let sql = "INSERT INTO tablelift.reread AS r (connector, target_schema, target_name, key)
               SELECT DISTINCT $1, $2, $3, ($4::text[])[at:at + $5 - 1]
               FROM pg_catalog.generate_series(1, pg_catalog.cardinality($4::text[]), $5) AS at
               ON CONFLICT (connector, target_schema, target_name, key) DO UPDATE SET id = DEFAULT, tries = r.tries + 1";
    client.execute(sql, &[&connector, &target.schema, &target.name, &flat, &width]).await.map_err(doing("ask for a re-read"))?;
    Ok(())
}

/// The oldest open requests that it is time for, without those in `not`. One that was asked for again and again waits longer each time.
///
/// # Errors
/// See [`StoreError`].
pub async fn oldest(client: &Client, connector: &str, not: &[i64], limit: i64) -> Result<Vec<Reread>, StoreError> {
    let sql = "SELECT target_schema, target_name, key, id FROM tablelift.reread WHERE connector = $1 AND id <> ALL ($2)
               AND asked_at + pg_catalog.power(least(tries, 78), 2) * interval '5 ms' <= pg_catalog.clock_timestamp() ORDER BY id LIMIT $3";
    let rows = client.query(sql, &[&connector, &not, &limit]).await.map_err(doing("look for re-reads"))?;
    let reread = |row: &tokio_postgres::Row| Reread {
        target: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
        key: row.get(2),
        id: row.get(3),
    };
    Ok(rows.iter().map(reread).collect())
}

/// Rows of a table are about to be brought that are of this place: the table is of one moment from there on.
///
/// # Errors
/// See [`StoreError`].
pub async fn open_window(client: &Client, connector: &str, target: &TableName, until: EndLsn) -> Result<(), StoreError> {
    let sql = "UPDATE tablelift.table_state SET window_until = greatest(window_until, $4::text::pg_lsn)
               WHERE connector = $1 AND target_schema = $2 AND target_name = $3";
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&connector, &target.schema, &target.name, &until.to_string()];
    client.execute(sql, &params).await.map_err(doing("begin a re-read"))?;
    Ok(())
}

/// Requests are done: their rows, or their absence, are in this transaction.
///
/// # Errors
/// See [`StoreError`].
pub async fn answered(client: &Client, connector: &str, ids: &[i64]) -> Result<(), StoreError> {
    let sql = "DELETE FROM tablelift.reread WHERE connector = $1 AND id = ANY ($2)";
    client.execute(sql, &[&connector, &ids]).await.map_err(doing("end a re-read"))?;
    Ok(())
}

/// How many are open.
///
/// # Errors
/// See [`StoreError`].
pub async fn count(client: &Client, connector: &str) -> Result<i64, StoreError> {
    let sql = "SELECT pg_catalog.count(*) FROM tablelift.reread WHERE connector = $1";
    Ok(client.query_one(sql, &[&connector]).await.map_err(doing("count the re-reads"))?.get(0))
}

/// Requests are done: their table is of one moment again from `window` on. Gives false if another program has taken the connector over: then
/// nothing of this transaction may be committed.
///
/// # Errors
/// See [`StoreError`].
pub async fn done(
    client: &Client,
    connector: &str,
    epoch: i64,
    target: &TableName,
    ids: &[i64],
    window: EndLsn,
) -> Result<bool, StoreError> {
    let sql = "WITH mine AS (SELECT FROM tablelift.checkpoint WHERE connector = $1 AND topic = $7 AND partition = 0 AND epoch = $2 FOR SHARE),
               gone AS (DELETE FROM tablelift.reread USING mine WHERE connector = $1 AND id = ANY ($5))
               UPDATE tablelift.table_state SET window_until = greatest(window_until, $6::text::pg_lsn) FROM mine
               WHERE connector = $1 AND target_schema = $3 AND target_name = $4";
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
        [&connector, &epoch, &target.schema, &target.name, &ids, &window.to_string(), &checkpoint::LOCAL];
    Ok(client.execute(sql, &params).await.map_err(doing("end a re-read"))? == 1)
}
