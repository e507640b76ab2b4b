//! Tables that inherit (`INHERITS`, not partitions): their rows show in a SELECT from the parent, and are the child's in the WAL.

use super::{CatalogError, split};
use crate::change::TableName;
use std::collections::BTreeMap;
use tokio_postgres::GenericClient;

const HEIRS: &str = "
    WITH RECURSIVE heirs(parent, child) AS (
        SELECT c.oid, i.inhrelid
          FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[])) AS wanted(schema, name)
          JOIN pg_namespace n ON n.nspname = wanted.schema
          JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind = 'r'
          JOIN pg_inherits i ON i.inhparent = c.oid
        UNION SELECT h.parent, i.inhrelid FROM heirs h JOIN pg_inherits i ON i.inhparent = h.child)
    SELECT pn.nspname::text, p.relname::text, n.nspname::text, c.relname::text
      FROM heirs
      JOIN pg_class p ON p.oid = heirs.parent
      JOIN pg_namespace pn ON pn.oid = p.relnamespace
      JOIN pg_class c ON c.oid = heirs.child
      JOIN pg_namespace n ON n.oid = c.relnamespace
     ORDER BY 3, 4";

/// Those that inherit from any of `names`, also by way of others.
///
/// # Errors
/// The query failed.
pub async fn heirs(
    client: &impl GenericClient,
    names: &[TableName],
) -> Result<BTreeMap<TableName, Vec<TableName>>, CatalogError> {
    related(client, HEIRS, names).await
}

/// What a query over the schemas and names of `names` gives with each: the name, and another.
pub(super) async fn related(
    client: &impl GenericClient,
    sql: &str,
    names: &[TableName],
) -> Result<BTreeMap<TableName, Vec<TableName>>, CatalogError> {
    let (schemas, tables) = split(names);
    let mut found: BTreeMap<TableName, Vec<TableName>> = BTreeMap::new();
    for row in client.query(sql, &[&schemas, &tables]).await? {
        let name = TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
        found.entry(name).or_default().push(TableName::new(row.try_get::<_, String>(2)?, row.try_get::<_, String>(3)?));
    }
    Ok(found)
}
