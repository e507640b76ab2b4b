//! The partitions of a table as the source's catalog has them.

use crate::change::TableName;
use crate::pipeline::PipelineError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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

/// What [`look`] saw.
#[derive(Default)]
pub(super) struct Seen {
    /// By roots; those that have no partitions, too.
    pub found: BTreeMap<TableName, BTreeMap<u32, Found>>,
    /// Roots of which somebody is about to detach a partition, while others still write to it, with the SQL that ends a DETACH ... CONCURRENTLY
    /// which was broken off. Of these nothing can be said before that is over.
    pub detaching: BTreeMap<TableName, String>,
}

/// Takes no lock that waits for others, but for the moment in which a partition's size is asked.
///
/// # Errors
/// The source could not be asked.
pub(super) async fn look(source: &Client, roots: &[TableName]) -> Result<Seen, PipelineError> {
    // The row of a system column keeps the transaction that made the table. Of an empty one nothing is to be read, unless it has another file than its first,
    // whose name is the OID, or was a table before, and the stream may still take it for one (see `remembered`).
    let sql = "WITH RECURSIVE locked AS MATERIALIZED (
             SELECT relation FROM pg_catalog.pg_locks WHERE mode = 'AccessExclusiveLock' AND relation IS NOT NULL),
           tree (schema, name, relid, kind, attached, youngest, finish) AS (
             SELECT n.nspname, c.relname, c.oid, c.relkind, 0::bigint, NULL::integer, NULL::text COLLATE \"C\"
             FROM (SELECT DISTINCT * FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS w (schema, name)) AS w
             JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
             JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind = 'p'
             UNION ALL
             SELECT tree.schema, tree.name, c.oid, c.relkind, tree.attached + i.xmin::text::bigint, least(tree.youngest, pg_catalog.age(i.xmin)),
               CASE WHEN pg_catalog.to_jsonb(i) ->> 'inhdetachpending' = 'true'
                 THEN pg_catalog.format('ALTER TABLE %s.%I DETACH PARTITION %s.%I FINALIZE', above.relnamespace::regnamespace, above.relname,
                   c.relnamespace::regnamespace, c.relname) END
             FROM tree
             JOIN pg_catalog.pg_class above ON above.oid = tree.relid AND above.relkind = 'p'
             JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.relid
             JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid)
        SELECT t.schema::text, t.name::text, t.finish, t.kind::text, t.relid, pg_catalog.pg_relation_filenode(t.relid), t.attached,
          CASE WHEN t.kind = 'r' AND t.relid NOT IN (SELECT relation FROM locked) THEN pg_catalog.pg_relation_size(t.relid) > 0 END,
          coalesce(pg_catalog.age(made.xmin) > t.youngest, true)
        FROM tree t LEFT JOIN pg_catalog.pg_attribute made ON made.attrelid = t.relid AND made.attname = 'tableoid'";
    let schemas: Vec<&str> = roots.iter().map(|name| name.schema.as_str()).collect();
    let names: Vec<&str> = roots.iter().map(|name| name.name.as_str()).collect();
    let remembers = super::remembered::remembers(source).await?;
    let rows = source.query(sql, &[&schemas, &names]).await;
    let rows = rows.map_err(|source| PipelineError::Query { side: "source", source })?;
    let mut seen = Seen::default();
    for row in &rows {
        let root = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let leaves = seen.found.entry(root.clone()).or_default();
        let (kind, oid, file): (&str, u32, Option<u32>) = (row.get(3), row.get(4), row.get(5));
        match (row.get(2), kind, file) {
            (Some(finish), ..) => _ = seen.detaching.insert(root, finish),
            (None, "p", _) => {}
            // dropped a moment ago
            (None, "r", None) => {}
            (None, _, file) => {
                let mark = Mark { file: file.unwrap_or(0), attached: row.get(6) };
                let was_table = row.get(8);
                let to_read = row.get::<_, Option<bool>>(7).map(|filled| filled || mark.file != oid || remembers && was_table);
                leaves.insert(oid, Found { mark, to_read, was_table });
            }
        }
    }
    seen.found.retain(|root, _| !seen.detaching.contains_key(root));
    Ok(seen)
}

/// The transactions, or parts of them, that made these partitions, of those that are there.
///
/// # Errors
/// The source could not be asked.
pub(super) async fn made_by(source: &Client, partitions: impl Iterator<Item = u32>) -> Result<BTreeMap<u32, u32>, PipelineError> {
    let partitions: Vec<u32> = partitions.collect();
    let sql =
        "SELECT attrelid, xmin::text::bigint FROM pg_catalog.pg_attribute WHERE attname = 'tableoid' AND attrelid = ANY ($1)";
    let rows = source.query(sql, &[&partitions]).await.map_err(|source| PipelineError::Query { side: "source", source })?;
    Ok(rows.iter().map(|row| (row.get(0), u32::try_from(row.get::<_, i64>(1)).unwrap_or(0))).collect())
}
