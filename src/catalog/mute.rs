//! Tables whose old rows nothing tells: PostgreSQL refuses UPDATEs and DELETEs of them once these are published (`CREATE PUBLICATION`, notes).

use super::CatalogError;
use crate::change::TableName;
use std::collections::BTreeSet;
use tokio_postgres::GenericClient;

const MUTE: &str = "
    WITH mute AS (
         SELECT c.oid, c.relkind, c.relispartition
           FROM pg_class c
          WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.relreplident <> 'f' AND NOT EXISTS (
                SELECT FROM pg_index i
                 WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
                   AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END))
    SELECT n.nspname::text, c.relname::text
      FROM (SELECT oid FROM mute UNION SELECT pg_partition_root(oid) FROM mute WHERE relkind = 'r' AND relispartition) AS found
      JOIN pg_class c ON c.oid = found.oid
      JOIN pg_namespace n ON n.oid = c.relnamespace";

/// All of them, and the partitioned tables of those that are partitions.
///
/// # Errors
/// The query failed.
pub async fn mute(client: &impl GenericClient) -> Result<BTreeSet<TableName>, CatalogError> {
    let rows = client.query(MUTE, &[]).await?;
    rows.iter().map(|row| Ok(TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?))).collect()
}
