//! What was recorded when a connector first started. Written by `prepare`; `incarnation` and `source_timeline` by capture.

use super::{StoreError, doing};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

/// One connector's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorRecord {
    pub name: String,
    pub source_system: String,
    pub source_database: String,
    pub source_timeline: i32,
    pub log_kind: String,
    pub topic_prefix: Option<String>,
    pub partitions: Option<i32>,
    pub slot: String,
    pub publication: String,
    pub incarnation: i32,
    pub made: Made,
}

/// What `prepare` made, and `drop` may remove or name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Made {
    pub slot: bool,
    pub publications: Vec<String>,
    pub topics: Vec<String>,
    /// Of the target, as SQL.
    pub types: Vec<String>,
}

/// Reads a connector's record; `None`: it never started.
///
/// # Errors
/// See [`StoreError`].
pub async fn read(client: &Client, name: &str) -> Result<Option<ConnectorRecord>, StoreError> {
    let sql = "SELECT name, source_system, source_database, source_timeline, log_kind, topic_prefix, partitions, slot,
               publication, incarnation, made::text FROM tablelift.connector WHERE name = $1";
    let Some(row) = client.query_opt(sql, &[&name]).await.map_err(doing("read the connector's record"))? else {
        return Ok(None);
    };
    let made: String = row.get(10);
    Ok(Some(ConnectorRecord {
        name: row.get(0),
        source_system: row.get(1),
        source_database: row.get(2),
        source_timeline: row.get(3),
        log_kind: row.get(4),
        topic_prefix: row.get(5),
        partitions: row.get(6),
        slot: row.get(7),
        publication: row.get(8),
        incarnation: row.get(9),
        made: serde_json::from_str(&made).map_err(|_| StoreError::Damaged { what: "list of what was made", text: made })?,
    }))
}

/// Writes the record: new, or what of it may change later.
///
/// # Errors
/// See [`StoreError`].
pub async fn write(client: &Client, record: &ConnectorRecord) -> Result<(), StoreError> {
    let made = serde_json::to_string(&record.made).expect("plain data is always JSON");
    let sql = "INSERT INTO tablelift.connector (name, source_system, source_database, source_timeline, log_kind, topic_prefix,
               partitions, slot, publication, incarnation, made)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::jsonb)
               ON CONFLICT (name) DO UPDATE SET source_timeline = excluded.source_timeline, incarnation = excluded.incarnation,
               made = excluded.made";
    let r = record;
    client
        .execute(
            sql,
            &[
                &r.name,
                &r.source_system,
                &r.source_database,
                &r.source_timeline,
                &r.log_kind,
                &r.topic_prefix,
                &r.partitions,
                &r.slot,
                &r.publication,
                &r.incarnation,
                &made,
            ],
        )
        .await
        .map_err(doing("write the connector's record"))?;
    Ok(())
}

/// Forgets a connector: its record, checkpoints, table states, watermark.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(client: &Client, name: &str) -> Result<(), StoreError> {
    client.execute("DELETE FROM tablelift.connector WHERE name = $1", &[&name]).await.map_err(doing("forget the connector"))?;
    Ok(())
}
