//! About how many rows a table holds, without counting and without waiting for anybody.

use super::{CatalogError, split};
use crate::change::TableName;
use std::collections::BTreeMap;
use tokio_postgres::GenericClient;

/// What the last ANALYZE knew, or where there was none what the statistics count; partitions together.
const ESTIMATES: &str = "
    SELECT wanted.schema, wanted.name,
           (SELECT coalesce(sum(CASE WHEN leaf.reltuples > 0 THEN leaf.reltuples
                                     ELSE pg_stat_get_live_tuples(leaf.oid) END), 0)::int8
              FROM pg_class leaf
             WHERE leaf.oid = c.oid AND c.relkind = 'r'
                OR c.relkind = 'p' AND leaf.oid IN (SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf))
      FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[])) AS wanted(schema, name)
      JOIN pg_namespace n ON n.nspname = wanted.schema
      JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind IN ('r', 'p')";

/// Rows of each of `names` that is there, estimated.
///
/// # Errors
/// The query failed.
pub async fn row_estimates(client: &impl GenericClient, names: &[TableName]) -> Result<BTreeMap<TableName, i64>, CatalogError> {
    let (schemas, tables) = split(names);
    let rows = client.query(ESTIMATES, &[&schemas, &tables]).await?;
    rows.iter()
        .map(|row| Ok((TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?), row.try_get(2)?)))
        .collect()
}
