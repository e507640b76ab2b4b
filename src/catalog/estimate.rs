//! About how many rows a table holds, without counting and without waiting for anybody.

use super::{CatalogError, partition_tree, split};
use crate::change::TableName;
use std::collections::BTreeMap;
use tokio_postgres::GenericClient;

/// What the last ANALYZE knew, or where there was none what the statistics count; partitions together.
fn estimates() -> String {
    let tree = partition_tree("c.oid");
    format!(
        "SELECT wanted.schema, wanted.name,
           (SELECT coalesce(sum(CASE WHEN leaf.reltuples > 0 THEN leaf.reltuples
                                     ELSE pg_stat_get_live_tuples(leaf.oid) END), 0)::int8
              FROM {tree} AS tree JOIN pg_class leaf ON leaf.oid = tree.relid AND tree.isleaf)
      FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[])) AS wanted(schema, name)
      JOIN pg_namespace n ON n.nspname = wanted.schema
      JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind IN ('r', 'p')"
    )
}

/// Rows of each of `names` that is there, estimated.
///
/// # Errors
/// The query failed.
pub async fn row_estimates(client: &impl GenericClient, names: &[TableName]) -> Result<BTreeMap<TableName, i64>, CatalogError> {
    let (schemas, tables) = split(names);
    let rows = client.query(&estimates(), &[&schemas, &tables]).await?;
    rows.iter()
        .map(|row| Ok((TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?), row.try_get(2)?)))
        .collect()
}
