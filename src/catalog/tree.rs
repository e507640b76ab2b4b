//! Partition trees without their locks.

/// SQL: a table and its partitions at any depth as `(relid, isleaf)`, to stand behind FROM or LATERAL. `of`: SQL of its `oid`. A table that is
/// not partitioned is all of its tree. What `pg_partition_tree` gives, but for waiting until nobody has locked any of them
/// (`find_all_inheritors` in PostgreSQL's pg_inherits.c). A partition whose DETACH ... CONCURRENTLY has begun is none.
pub fn partition_tree(of: &str) -> String {
    format!(
        "(WITH RECURSIVE tree (relid) AS (
            SELECT {of}::oid UNION ALL
            SELECT i.inhrelid FROM tree
              JOIN pg_catalog.pg_class above ON above.oid = tree.relid AND above.relkind = 'p'
              JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.relid
             WHERE pg_catalog.to_jsonb(i) ->> 'inhdetachpending' IS DISTINCT FROM 'true')
          SELECT tree.relid, part.relkind <> 'p' AS isleaf FROM tree JOIN pg_catalog.pg_class part ON part.oid = tree.relid)"
    )
}
