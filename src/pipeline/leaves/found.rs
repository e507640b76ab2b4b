//! The partitions of a table as the source's catalog has them.

use crate::change::TableName;
use crate::pipeline::PipelineError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

/// What tells that a partition is the one it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// `pg_relation_filenode`: TRUNCATE gives it another, and whatever writes its rows anew.
    pub file: u32,
    /// The sum of the transactions that attached it, and the partitions it lies in: one that was detached for a while has others.
    pub attached: i64,
}

/// By `pg_class.oid`.
pub(super) type Leaves = BTreeMap<u32, Mark>;

/// A partition as it is.
pub(super) struct Found {
    pub mark: Mark,
    /// Whether it may hold what no change has brought or will bring; `None`: somebody has locked it.
    pub to_read: Option<bool>,
    /// It was made by another transaction than the last that attached it, or what it lies in.
    pub was_table: bool,
}

pub(super) fn marks(found: &BTreeMap<u32, Found>) -> Leaves {
    found.iter().map(|(&oid, found)| (oid, found.mark)).collect()
}

/// The roots that are asked for, as `n` and `c`.
const ROOTS: &str = "FROM (SELECT DISTINCT * FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS w (schema, name)) AS w
        JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
        JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind = 'p'";

/// By roots; those that have no partitions, too. And roots of which somebody is about to detach one, while others still write to it (DETACH ...
/// CONCURRENTLY): of these nothing can be said before that is over.
///
/// # Errors
/// The source could not be asked.
pub(super) async fn look(
    source: &Client,
    roots: &[TableName],
) -> Result<(BTreeMap<TableName, BTreeMap<u32, Found>>, BTreeSet<TableName>), PipelineError> {
    // The row of a system column keeps the transaction that made the table. Of an empty one nothing is to be read, unless it has another file than its first,
    // whose name is the OID, or was a table before, and the stream may still take it for one (see `remembered`).
    let sql = format!(
        "WITH locked AS MATERIALIZED (
             SELECT relation FROM pg_catalog.pg_locks WHERE mode = 'AccessExclusiveLock' AND relation IS NOT NULL)
        SELECT n.nspname::text, c.relname::text, leaf.relid::oid, coalesce(pg_catalog.pg_relation_filenode(leaf.relid), 0)::oid,
          coalesce(above.attached, 0)::bigint, CASE WHEN leaf.relid NOT IN (SELECT relation FROM locked)
            THEN pg_catalog.pg_relation_size(leaf.relid) > 0 END,
          coalesce(pg_catalog.age(made.xmin) > above.youngest, true)
        {ROOTS}
        LEFT JOIN LATERAL pg_catalog.pg_partition_tree(c.oid) AS leaf ON leaf.isleaf AND leaf.relid <> c.oid
        LEFT JOIN LATERAL (SELECT pg_catalog.sum(i.xmin::text::bigint) AS attached, pg_catalog.min(pg_catalog.age(i.xmin)) AS youngest
          FROM pg_catalog.pg_partition_ancestors(leaf.relid) AS above
          JOIN pg_catalog.pg_inherits i ON i.inhrelid = above.relid) AS above ON true
        LEFT JOIN pg_catalog.pg_attribute made ON made.attrelid = leaf.relid AND made.attname = 'tableoid'"
    );
    let schemas: Vec<&str> = roots.iter().map(|name| name.schema.as_str()).collect();
    let names: Vec<&str> = roots.iter().map(|name| name.name.as_str()).collect();
    let remembers = super::remembered::remembers(source).await?;
    let rows = source.query(&sql, &[&schemas, &names]).await;
    let rows = rows.map_err(|source| PipelineError::Query { side: "source", source })?;
    let mut found: BTreeMap<TableName, BTreeMap<u32, Found>> = BTreeMap::new();
    for row in &rows {
        let leaves = found.entry(TableName::new(row.get::<_, String>(0), row.get::<_, String>(1))).or_default();
        if let Some(oid) = row.get::<_, Option<u32>>(2) {
            let mark = Mark { file: row.get(3), attached: row.get(4) };
            let was_table = row.get(6);
            let to_read = row.get::<_, Option<bool>>(5).map(|filled| filled || mark.file != oid || remembers && was_table);
            leaves.insert(oid, Found { mark, to_read, was_table });
        }
    }
    // behind the first look, which may have seen them as they are to become
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text
        {ROOTS}
        WHERE EXISTS (SELECT FROM pg_catalog.pg_partition_tree(c.oid) AS part JOIN pg_catalog.pg_inherits i ON i.inhparent = part.relid
          WHERE pg_catalog.to_jsonb(i) ->> 'inhdetachpending' = 'true')"
    );
    let rows = source.query(&sql, &[&schemas, &names]).await;
    let rows = rows.map_err(|source| PipelineError::Query { side: "source", source })?;
    let name = |row: &tokio_postgres::Row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
    let detaching: BTreeSet<TableName> = rows.iter().map(name).collect();
    found.retain(|root, _| !detaching.contains(root));
    Ok((found, detaching))
}
