//! Tables whose old rows nothing tells: PostgreSQL refuses UPDATEs and DELETEs of them once these are published (`CREATE PUBLICATION`, notes).

use super::CatalogError;
use crate::change::TableName;
use std::collections::BTreeSet;
use tokio_postgres::{GenericClient, Row};

/// Of a `pg_class` that is called `c`.
const IS_MUTE: &str = "c.relreplident <> 'f' AND NOT EXISTS (
                SELECT FROM pg_index i
                 WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
                   AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END)";

/// All of them, and the partitioned tables of those that are partitions.
///
/// # Errors
/// The query failed.
pub async fn mute(client: &impl GenericClient) -> Result<BTreeSet<TableName>, CatalogError> {
    let sql = format!(
        "WITH mute AS (
              SELECT c.oid, c.relkind, c.relispartition
                FROM pg_class c
               WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND {IS_MUTE})
         SELECT n.nspname::text, c.relname::text
           FROM (SELECT oid FROM mute UNION SELECT pg_partition_root(oid) FROM mute WHERE relkind = 'r' AND relispartition) AS found
           JOIN pg_class c ON c.oid = found.oid
           JOIN pg_namespace n ON n.oid = c.relnamespace"
    );
    names(&client.query(&sql, &[]).await?)
}

/// Those that a publication names.
///
/// # Errors
/// The query failed.
pub async fn mute_in(client: &impl GenericClient, publication: &str) -> Result<BTreeSet<TableName>, CatalogError> {
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text
           FROM pg_publication p
           JOIN pg_publication_rel r ON r.prpubid = p.oid
           JOIN pg_class c ON c.oid = r.prrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE p.pubname = $1::text AND {IS_MUTE}"
    );
    names(&client.query(&sql, &[&publication]).await?)
}

fn names(rows: &[Row]) -> Result<BTreeSet<TableName>, CatalogError> {
    rows.iter().map(|row| Ok(TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?))).collect()
}
