//! Partition trees: what an UPDATE tells of the old row is up to each leaf, not to the root.

use super::inheritance::related;
use super::{CatalogError, letter, partition_tree, split};
use crate::change::TableName;
use crate::chunk::Part;
use std::collections::BTreeMap;
use tokio_postgres::GenericClient;

/// A partition that holds rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub name: TableName,
    /// `pg_class.relkind`: `r` ordinary, `f` foreign, whose changes are in no WAL of ours.
    pub kind: char,
    pub unlogged: bool,
    /// `pg_class.relreplident`: `d`, `n`, `f`, `i`.
    pub identity: char,
    /// The columns that its identity tells of an old row, in alphabetical order; FULL: empty.
    pub identity_columns: Vec<String>,
    /// Our role may read it by itself: what is granted on the root is not granted on it.
    pub select: bool,
}

fn leaves_sql() -> String {
    let tree = partition_tree("c.oid");
    format!(
        "SELECT n.nspname::text, c.relname::text, ln.nspname::text, leaf.relname::text, leaf.relkind::text,
           leaf.relpersistence::text, leaf.relreplident::text,
           array(SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
                  WHERE i.indrelid = leaf.oid AND i.indisvalid AND i.indimmediate
                    AND (leaf.relreplident = 'd' AND i.indisprimary OR leaf.relreplident = 'i' AND i.indisreplident)
                    AND a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1]) ORDER BY 1),
           has_schema_privilege(ln.oid, 'USAGE') AND has_table_privilege(leaf.oid, 'SELECT')
      FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[])) AS wanted(schema, name)
      JOIN pg_namespace n ON n.nspname = wanted.schema
      JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind = 'p'
     CROSS JOIN LATERAL {tree} AS tree
      JOIN pg_class leaf ON leaf.oid = tree.relid
      JOIN pg_namespace ln ON ln.oid = leaf.relnamespace
     WHERE tree.isleaf AND leaf.oid <> c.oid
     ORDER BY 3, 4"
    )
}

/// The leaves of those of `names` that are partitioned tables.
///
/// # Errors
/// The query failed.
pub async fn leaves(client: &impl GenericClient, names: &[TableName]) -> Result<BTreeMap<TableName, Vec<Leaf>>, CatalogError> {
    let (schemas, tables) = split(names);
    let mut found: BTreeMap<TableName, Vec<Leaf>> = BTreeMap::new();
    for row in client.query(&leaves_sql(), &[&schemas, &tables]).await? {
        let leaf = Leaf {
            name: TableName::new(row.try_get::<_, String>(2)?, row.try_get::<_, String>(3)?),
            kind: letter(&row, 4)?,
            unlogged: letter(&row, 5)? == 'u',
            identity: letter(&row, 6)?,
            identity_columns: row.try_get(7)?,
            select: row.try_get(8)?,
        };
        let root = TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
        found.entry(root).or_default().push(leaf);
    }
    Ok(found)
}

const ROOTS: &str = "
    SELECT n.nspname::text, c.relname::text, rn.nspname::text, root.relname::text
      FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[])) AS wanted(schema, name)
      JOIN pg_namespace n ON n.nspname = wanted.schema
      JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relispartition
     CROSS JOIN LATERAL pg_partition_ancestors(c.oid) AS above(relid)
      JOIN pg_class root ON root.oid = above.relid AND root.oid <> c.oid
      JOIN pg_namespace rn ON rn.oid = root.relnamespace
     ORDER BY 3, 4";

/// The partitioned tables that those of `names` are partitions of, at any depth.
///
/// # Errors
/// The query failed.
pub async fn roots(
    client: &impl GenericClient,
    names: &[TableName],
) -> Result<BTreeMap<TableName, Vec<TableName>>, CatalogError> {
    related(client, ROOTS, names).await
}

fn parts_sql() -> String {
    let tree = partition_tree("c.oid");
    format!(
        "WITH locked AS MATERIALIZED (
         SELECT relation FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation IS NOT NULL)
    SELECT n.nspname::text, c.relname::text, leaf.oid, pg_relation_filenode(leaf.oid),
           CASE WHEN leaf.oid IN (SELECT relation FROM locked) THEN leaf.relpages::int8
                ELSE pg_relation_size(leaf.oid) / current_setting('block_size')::int8 END,
           CASE WHEN leaf.reltoastrelid = 0 OR leaf.oid IN (SELECT relation FROM locked)
                  OR leaf.reltoastrelid IN (SELECT relation FROM locked) THEN 0
                ELSE pg_relation_size(leaf.reltoastrelid) END, current_setting('block_size')::int8
      FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[])) AS wanted(schema, name)
      JOIN pg_namespace n ON n.nspname = wanted.schema
      JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind IN ('r', 'p')
     CROSS JOIN LATERAL {tree} AS tree
      JOIN pg_class leaf ON leaf.oid = tree.relid AND leaf.relkind = 'r'
     ORDER BY leaf.oid"
    )
}

/// The files that hold the rows of `names`. Never waits for a lock that a table's owner holds.
///
/// # Errors
/// The query failed.
pub async fn parts(client: &impl GenericClient, names: &[TableName]) -> Result<BTreeMap<TableName, Vec<Part>>, CatalogError> {
    let (schemas, tables) = split(names);
    let mut found: BTreeMap<TableName, Vec<Part>> = BTreeMap::new();
    for row in client.query(&parts_sql(), &[&schemas, &tables]).await? {
        let table = TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
        let (relation, file, blocks): (u32, Option<u32>, i64) = (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
        let (toast, block): (i64, i64) = (row.try_get(5)?, row.try_get(6)?);
        let part = Part {
            relation,
            file: file.unwrap_or(0),
            blocks: u32::try_from(blocks).unwrap_or(u32::MAX),
            bytes: u64::try_from(blocks * block + toast).unwrap_or(0),
        };
        found.entry(table).or_default().push(part);
    }
    Ok(found)
}
