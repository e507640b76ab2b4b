//! Source tables as their catalog describes them.

use super::{CatalogError, index_columns, letter, partition_tree, split, type_name};
use crate::change::{ReplicaIdentity, TableName};
use crate::mapping::{SourceColumn, SourceShape};
use std::collections::BTreeMap;
use tokio_postgres::{GenericClient, Row};

/// The shapes of those of `names` that are ordinary or partitioned tables.
///
/// A key counts only if it identifies rows at every moment: a deferrable or invalid primary key is none, for PostgreSQL does not
/// log it as replica identity either. REPLICA IDENTITY USING INDEX whose index is gone reads as NOTHING, which is what it does.
/// Never waits for a lock that a table's owner holds.
///
/// # Errors
/// A query failed.
pub async fn source_shapes(
    client: &impl GenericClient,
    names: &[TableName],
) -> Result<BTreeMap<TableName, SourceShape>, CatalogError> {
    let (schemas, tables) = split(names);
    let rows = client.query(&tables_sql(), &[&schemas, &tables]).await?;
    let mut shapes = rows.iter().map(shape).collect::<Result<Vec<_>, _>>()?;
    let oids: Vec<u32> = shapes.iter().map(|shape| shape.oid).collect();
    let mut columns: BTreeMap<u32, Vec<SourceColumn>> = BTreeMap::new();
    for row in client.query(&columns_sql(), &[&oids]).await? {
        columns.entry(row.try_get(0)?).or_default().push(column(&row)?);
    }
    for shape in &mut shapes {
        shape.columns = columns.remove(&shape.oid).unwrap_or_default();
    }
    Ok(shapes.into_iter().map(|shape| (shape.name.clone(), shape)).collect())
}

/// `pg_table_size` waits for ACCESS EXCLUSIVE locks, so behind one the size is what the last VACUUM or ANALYZE knew.
fn tables_sql() -> String {
    let primary = index_columns("pk");
    let identity = index_columns("ri");
    let tree = partition_tree("c.oid");
    format!(
        "WITH locked AS MATERIALIZED (
             SELECT relation FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation IS NOT NULL)
         SELECT n.nspname::text, c.relname::text, c.oid, c.relkind::text, c.relreplident::text,
                CASE WHEN pk.indrelid IS NOT NULL THEN {primary} ELSE '{{}}' END,
                CASE WHEN ri.indrelid IS NOT NULL THEN {identity} END,
                estimate.rows, estimate.bytes, CASE c.relkind WHEN 'r' THEN
                (SELECT u.relname::text FROM pg_index i JOIN pg_class u ON u.oid = i.indexrelid
                  WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
                    AND NOT EXISTS (SELECT FROM unnest(i.indkey[0:i.indnkeyatts - 1]) AS key
                                      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = key AND NOT a.attnotnull)
                  ORDER BY i.indnkeyatts, u.relname LIMIT 1) END
           FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[])) AS wanted(schema, name)
           JOIN pg_namespace n ON n.nspname = wanted.schema
           JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind IN ('r', 'p')
           LEFT JOIN pg_index pk ON pk.indrelid = c.oid AND pk.indisprimary AND pk.indisvalid AND pk.indimmediate
           LEFT JOIN pg_index ri ON ri.indrelid = c.oid AND ri.indisreplident AND ri.indisvalid AND c.relreplident = 'i'
          CROSS JOIN LATERAL (
                SELECT coalesce(sum(CASE WHEN leaf.reltuples > 0 THEN leaf.reltuples
                                         ELSE pg_stat_get_live_tuples(leaf.oid) END), 0)::int8 AS rows,
                       coalesce(sum(CASE WHEN leaf.oid IN (SELECT relation FROM locked)
                                         THEN leaf.relpages * current_setting('block_size')::int8
                                         ELSE pg_table_size(leaf.oid) END), 0)::int8 AS bytes
                  FROM {tree} AS tree
                  JOIN pg_class leaf ON leaf.oid = tree.relid AND tree.isleaf
                ) AS estimate"
    )
}

fn shape(row: &Row) -> Result<SourceShape, tokio_postgres::Error> {
    let primary_key: Vec<String> = row.try_get(5)?;
    let index: Option<Vec<String>> = row.try_get(6)?;
    let (identity, identity_columns) = match (letter(row, 4)?, index) {
        ('d', _) => (ReplicaIdentity::Default, primary_key.clone()),
        ('f', _) => (ReplicaIdentity::Full, Vec::new()),
        ('i', Some(columns)) => (ReplicaIdentity::Index, columns),
        _ => (ReplicaIdentity::Nothing, Vec::new()),
    };
    Ok(SourceShape {
        name: TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?),
        oid: row.try_get(2)?,
        kind: letter(row, 3)?,
        identity,
        identity_columns,
        primary_key,
        unique_index: row.try_get(9)?,
        columns: Vec::new(),
        rows_estimated: row.try_get(7)?,
        bytes: row.try_get(8)?,
    })
}

/// SQL for [`HAS_DEFAULT`], behind `found (oid, relkind)`: a partitioned table has no rows that could have been given a default, its partitions have.
pub fn leaf_default() -> String {
    let tree = partition_tree("f.oid");
    format!(
        "leaf_default AS MATERIALIZED (
    SELECT DISTINCT f.oid AS root, l.attname
      FROM found f CROSS JOIN LATERAL {tree} AS p
      JOIN pg_catalog.pg_attribute l ON l.attrelid = p.relid AND (l.atthasmissing OR l.atthasdef)
     WHERE f.relkind = 'p')"
    )
}

/// Whether rows that were there when the column `a` of `pg_attribute` was added may have something else in it than NULL.
pub const HAS_DEFAULT: &str = "(a.atthasdef OR a.atthasmissing OR a.attidentity <> ''
    OR EXISTS (SELECT FROM leaf_default l WHERE l.root = a.attrelid AND l.attname = a.attname))";

fn columns_sql() -> String {
    let (full, base) = (type_name("t", "a.atttypmod"), type_name("t", "-1"));
    let leaf_default = leaf_default();
    format!(
        "WITH found AS MATERIALIZED (SELECT oid, relkind FROM pg_class WHERE oid = ANY($1)), {leaf_default}
         SELECT a.attrelid, a.attname::text, {full}, {base}, a.atttypid, t.typtype::text, t.typcategory::text,
                a.attnotnull OR t.typnotnull, CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END,
                coalesce(l.collisdeterministic, true), {HAS_DEFAULT},
                a.attnum::integer
           FROM pg_attribute a
           JOIN pg_type t ON t.oid = a.atttypid
           LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
           LEFT JOIN pg_collation l ON l.oid = a.attcollation
          WHERE a.attrelid = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped
          ORDER BY a.attrelid, a.attnum"
    )
}

fn column(row: &Row) -> Result<SourceColumn, tokio_postgres::Error> {
    Ok(SourceColumn {
        name: row.try_get(1)?,
        type_name: row.try_get(2)?,
        type_base: row.try_get(3)?,
        type_oid: row.try_get(4)?,
        type_kind: letter(row, 5)?,
        type_category: letter(row, 6)?,
        not_null: row.try_get(7)?,
        generated: row.try_get(8)?,
        collation_deterministic: row.try_get(9)?,
        has_default: row.try_get(10)?,
        number: row.try_get(11)?,
    })
}
