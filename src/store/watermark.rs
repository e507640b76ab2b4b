//! Kafka: a place in the source's WAL and, per partition, the log offset that holds everything up to it. Moved by capture; once all
//! checkpoints have reached the offsets, the target holds that place.

use super::{StoreError, doing, parse};
use crate::change::{EndLsn, Lsn};
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// Next offsets by topic, one per partition.
pub type Ends = BTreeMap<String, Vec<i64>>;

/// The newest watermark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    pub end: EndLsn,
    pub ends: Ends,
}

/// Records a watermark; an older one never replaces a newer.
///
/// # Errors
/// See [`StoreError`].
pub async fn write(client: &Client, connector: &str, watermark: &Watermark) -> Result<(), StoreError> {
    let ends = serde_json::to_string(&watermark.ends).expect("plain data is always JSON");
    let sql = "INSERT INTO tablelift.watermark AS w (connector, end_lsn, ends) VALUES ($1, $2::text::pg_lsn, $3::text::jsonb)
               ON CONFLICT (connector) DO UPDATE SET end_lsn = excluded.end_lsn, ends = excluded.ends, written_at = pg_catalog.now()
               WHERE w.end_lsn <= excluded.end_lsn";
    client.execute(sql, &[&connector, &watermark.end.to_string(), &ends]).await.map_err(doing("record a watermark"))?;
    Ok(())
}

/// The newest watermark, if any.
///
/// # Errors
/// See [`StoreError`].
pub async fn read(client: &Client, connector: &str) -> Result<Option<Watermark>, StoreError> {
    let sql = "SELECT end_lsn::text, ends::text FROM tablelift.watermark WHERE connector = $1";
    let Some(row) = client.query_opt(sql, &[&connector]).await.map_err(doing("read the watermark"))? else {
        return Ok(None);
    };
    let ends: String = row.get(1);
    Ok(Some(Watermark {
        end: EndLsn(parse::<Lsn>("LSN", row.get(0))?),
        ends: serde_json::from_str(&ends).map_err(|_| StoreError::Damaged { what: "list of offsets", text: ends })?,
    }))
}
