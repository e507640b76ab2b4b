//! What publications carry.

use super::partition_tree;

/// SQL: the tables of the publications `of` (SQL of an array of their names) as `(pubname, relid, filtered, partial)`, to stand behind FROM. Of a
/// partition tree its root or its leaves, as the publication says. `filtered`: some rows are kept back; `partial`: some columns are.
/// `version`: the server's `server_version_num`. `pg_publication_tables` would wait, from 16 on, until nobody has locked any of them.
pub fn published(of: &str, version: i32) -> String {
    let tree = partition_tree("l.relid");
    let schemas = match version {
        150_000.. => "OR c.relnamespace IN (SELECT s.pnnspid FROM pg_catalog.pg_publication_namespace s WHERE s.pnpubid = p.oid)",
        _ => "",
    };
    // what can be published: `is_publishable_class` in PostgreSQL's pg_publication.c, 16384 being its FirstNormalObjectId
    format!(
        "(WITH p AS (SELECT * FROM pg_catalog.pg_publication WHERE pubname = ANY ({of})),
          listed AS (
            SELECT p.oid AS pub, r.prrelid AS relid, true AS by_name FROM p JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
            UNION ALL
            SELECT p.oid, c.oid, false FROM p
              JOIN pg_catalog.pg_class c ON c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.oid >= 16384 AND (p.puballtables {schemas})),
          below AS (
            SELECT l.pub, l.relid FROM listed l CROSS JOIN LATERAL pg_catalog.pg_partition_ancestors(l.relid) AS above
              JOIN listed o ON o.pub = l.pub AND o.relid = above.relid AND o.relid <> l.relid),
          carried AS (
            SELECT l.pub, t.relid, pg_catalog.bool_and(l.by_name) AS by_name
              FROM listed l JOIN p ON p.oid = l.pub CROSS JOIN LATERAL {tree} AS t
             WHERE CASE WHEN p.pubviaroot THEN t.relid = l.relid AND (l.pub, l.relid) NOT IN (SELECT * FROM below) ELSE t.isleaf END
             GROUP BY l.pub, t.relid)
          SELECT p.pubname, c.relid, r.j ->> 'prqual' IS NOT NULL AS filtered,
            r.j -> 'prattrs' <> 'null' AND EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.relid AND a.attnum > 0
              AND NOT a.attisdropped AND a.attgenerated = '' AND NOT r.j -> 'prattrs' @> pg_catalog.to_jsonb(a.attnum)) AS partial
            FROM carried c JOIN p ON p.oid = c.pub
            LEFT JOIN (SELECT r.prpubid, r.prrelid, pg_catalog.to_jsonb(r) AS j FROM pg_catalog.pg_publication_rel r) AS r
              ON c.by_name AND r.prpubid = c.pub AND r.prrelid = c.relid)"
    )
}
