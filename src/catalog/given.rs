//! What source tables have beside the shapes of their columns: defaults, collations, indexes, constraints. As SQL that names
//! everything with its schema, and so can be used on another server.

use super::{CatalogError, WHOLE_NAMES, split};
use crate::change::TableName;
use crate::ddl::{Constraint, ForeignKey, Generated, Given, GivenColumn, Identity, Index, Part};
use std::collections::BTreeMap;
use tokio_postgres::{GenericClient, Row};

/// What those of `names` have that are tables.
///
/// # Errors
/// A query failed.
pub async fn given(client: &impl GenericClient, names: &[TableName]) -> Result<BTreeMap<TableName, Given>, CatalogError> {
    client.batch_execute(WHOLE_NAMES).await?;
    let found = read(client, names).await;
    client.batch_execute("COMMIT").await?;
    found
}

const TABLES: &str = "
    SELECT c.oid, n.nspname::text, c.relname::text, c.relrowsecurity, above.schemas, above.names
      FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[])) AS wanted(schema, name)
      JOIN pg_namespace n ON n.nspname = wanted.schema
      JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind IN ('r', 'p')
     CROSS JOIN LATERAL (
           SELECT coalesce(array_agg(pn.nspname::text ORDER BY i.inhseqno), '{}') AS schemas,
                  coalesce(array_agg(p.relname::text ORDER BY i.inhseqno), '{}') AS names
             FROM pg_inherits i
             JOIN pg_class p ON p.oid = i.inhparent
             JOIN pg_namespace pn ON pn.oid = p.relnamespace
            WHERE i.inhrelid = c.oid AND NOT c.relispartition) AS above";

async fn read(client: &impl GenericClient, names: &[TableName]) -> Result<BTreeMap<TableName, Given>, CatalogError> {
    let (schemas, tables) = split(names);
    let mut found: BTreeMap<u32, (TableName, Given)> = BTreeMap::new();
    for row in client.query(TABLES, &[&schemas, &tables]).await? {
        let name = TableName::new(row.try_get::<_, String>(1)?, row.try_get::<_, String>(2)?);
        let (schemas, names): (Vec<String>, Vec<String>) = (row.try_get(4)?, row.try_get(5)?);
        let parents = schemas.into_iter().zip(names).map(|(schema, name)| TableName::new(schema, name)).collect();
        found.insert(row.try_get(0)?, (name, Given { parents, row_security: row.try_get(3)?, ..Given::default() }));
    }
    let oids: Vec<u32> = found.keys().copied().collect();
    for row in client.query(COLUMNS, &[&oids]).await? {
        if let Some((_, given)) = found.get_mut(&row.try_get(0)?) {
            given.columns.push(column(&row)?);
        }
    }
    for row in client.query(INDEXES, &[&oids]).await? {
        if let Some((_, given)) = found.get_mut(&row.try_get(0)?) {
            given.indexes.push(index(&row)?);
        }
    }
    for row in client.query(CONSTRAINTS, &[&oids]).await? {
        if let Some((_, given)) = found.get_mut(&row.try_get(0)?) {
            let one = constraint(&row)?;
            if row.try_get::<_, bool>(5)? { given.exclusions.push(one) } else { given.checks.push(one) }
        }
    }
    for row in client.query(FOREIGN_KEYS, &[&oids]).await? {
        if let Some((_, given)) = found.get_mut(&row.try_get(0)?) {
            given.foreign_keys.push(foreign_key(&row)?);
        }
    }
    Ok(found.into_values().collect())
}

/// `nextval('name')` with a text leaves no dependency, so the text is looked at too.
const COLUMNS: &str = "
    SELECT a.attrelid,
           CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
           a.attidentity <> ''
             OR coalesce(a.attgenerated = '' AND pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval(%', false)
             OR EXISTS (SELECT FROM pg_depend p JOIN pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'
                         WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass),
           CASE WHEN l.oid <> t.typcollation
                THEN CASE WHEN ln.nspname = 'pg_catalog' THEN '' ELSE quote_ident(ln.nspname) || '.' END || quote_ident(l.collname)
           END,
           nullif(a.attidentity::text, ''), concat_ws(' ',
             CASE WHEN s.seqincrement <> 1 THEN 'INCREMENT BY ' || s.seqincrement END,
             CASE WHEN s.seqstart <> 1 THEN 'START WITH ' || s.seqstart END,
             CASE WHEN s.seqmin <> 1 THEN 'MINVALUE ' || s.seqmin END,
             CASE WHEN s.seqmax <> CASE a.atttypid WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647
                                                   ELSE 9223372036854775807 END THEN 'MAXVALUE ' || s.seqmax END,
             CASE WHEN s.seqcache <> 1 THEN 'CACHE ' || s.seqcache END,
             CASE WHEN s.seqcycle THEN 'CYCLE' END),
           CASE WHEN a.attgenerated <> ''
                THEN format('GENERATED ALWAYS AS (%s) %s', pg_get_expr(d.adbin, d.adrelid),
                            CASE a.attgenerated WHEN 'v' THEN 'VIRTUAL' ELSE 'STORED' END) END,
           array(SELECT u.attname::text FROM pg_attribute u
                  WHERE u.attrelid = a.attrelid AND u.attnum > 0 AND a.attgenerated <> '' AND u.attnum <> a.attnum
                    AND u.attnum IN (
                         SELECT p.refobjsubid FROM pg_depend p
                          WHERE p.refclassid = 'pg_class'::regclass AND p.refobjid = a.attrelid
                            AND (p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
                                 OR p.classid = 'pg_class'::regclass AND p.objid = a.attrelid AND p.objsubid = a.attnum))
                  ORDER BY u.attnum),
           EXISTS (SELECT FROM pg_depend p
                     JOIN pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'
                     JOIN pg_depend o ON o.refclassid = 'pg_class'::regclass AND o.refobjid = s.oid AND o.classid = 'pg_attrdef'::regclass
                                     AND o.objid <> p.objid
                     JOIN pg_attrdef other ON other.oid = o.objid AND (
                          other.adrelid = a.attrelid OR pg_partition_root(other.adrelid) IS DISTINCT FROM pg_partition_root(a.attrelid)
                          OR pg_partition_root(other.adrelid) IS NULL)
                    WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass)
      FROM pg_attribute a
      JOIN pg_type t ON t.oid = a.atttypid
      LEFT JOIN pg_depend sd ON sd.refclassid = 'pg_class'::regclass AND sd.refobjid = a.attrelid AND sd.refobjsubid = a.attnum
                            AND sd.classid = 'pg_class'::regclass AND sd.deptype = 'i' AND a.attidentity <> ''
      LEFT JOIN pg_sequence s ON s.seqrelid = sd.objid
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      LEFT JOIN pg_collation l ON l.oid = a.attcollation
      LEFT JOIN pg_namespace ln ON ln.oid = l.collnamespace
     WHERE a.attrelid = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY a.attrelid, a.attnum";

fn column(row: &Row) -> Result<GivenColumn, tokio_postgres::Error> {
    let identity: Option<&str> = row.try_get(4)?;
    let options: String = row.try_get(5)?;
    let (clause, uses): (Option<String>, Vec<String>) = (row.try_get(6)?, row.try_get(7)?);
    Ok(GivenColumn {
        default: row.try_get(1)?,
        drawn: row.try_get(2)?,
        shared: row.try_get(8)?,
        collation: row.try_get(3)?,
        identity: identity.map(|kind| Identity { always: kind == "a", options }),
        generated: clause.map(|clause| Generated { clause, uses }),
    })
}

/// The definition begins with names that are the target's business; how it begins is known, and so cut off.
const INDEXES: &str = "
    SELECT i.indrelid, x.relname::text, i.indisprimary, i.indisunique, i.indisreplident,
           i.indisvalid AND i.indisready, i.indexprs IS NULL AND i.indpred IS NULL,
           CASE WHEN k.contype = 'u'
                THEN CASE WHEN k.condeferrable THEN ' DEFERRABLE' || CASE WHEN k.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END
                          ELSE '' END END,
           CASE WHEN starts_with(whole.def, whole.head) THEN substr(whole.def, length(whole.head) + 1) END,
           array(SELECT pg_get_indexdef(x.oid, at, false) FROM generate_series(1, i.indnatts::int) at ORDER BY at),
           array(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY AS part(attnum, at)
                   LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = part.attnum AND part.attnum <> 0
                  ORDER BY part.at),
           i.indnkeyatts::int,
           array(SELECT a.attname::text FROM pg_attribute a
                  WHERE a.attrelid = i.indrelid AND a.attnum > 0
                    AND (a.attnum = ANY(i.indkey) OR a.attnum IN (
                         SELECT d.refobjsubid FROM pg_depend d
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = x.oid
                            AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid)) ORDER BY a.attnum)
      FROM pg_index i
      JOIN pg_class x ON x.oid = i.indexrelid
      JOIN pg_class c ON c.oid = i.indrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_constraint k ON k.conindid = x.oid AND k.conrelid = c.oid AND k.contype IN ('u', 'x')
     CROSS JOIN LATERAL (
           SELECT pg_get_indexdef(x.oid) AS def,
                  format('CREATE %sINDEX %I ON %s%I.%I USING ', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, x.relname,
                         CASE WHEN x.relkind = 'I' THEN 'ONLY ' ELSE '' END, n.nspname, c.relname) AS head) AS whole
     WHERE i.indrelid = ANY($1) AND k.contype IS DISTINCT FROM 'x'
     ORDER BY i.indrelid, i.indisprimary DESC, x.relname";

fn index(row: &Row) -> Result<Index, tokio_postgres::Error> {
    let texts: Vec<String> = row.try_get(9)?;
    let columns: Vec<Option<String>> = row.try_get(10)?;
    Ok(Index {
        name: row.try_get(1)?,
        primary: row.try_get(2)?,
        unique: row.try_get(3)?,
        identity: row.try_get(4)?,
        valid: row.try_get(5)?,
        simple: row.try_get(6)?,
        constraint: row.try_get(7)?,
        body: row.try_get(8)?,
        parts: texts.into_iter().zip(columns).map(|(text, column)| Part { text, column }).collect(),
        keys: usize::try_from(row.try_get::<_, i32>(11)?).unwrap_or(0),
        uses: row.try_get(12)?,
    })
}

const CONSTRAINTS: &str = "
    SELECT k.conrelid, k.conname::text, pg_get_constraintdef(k.oid), k.convalidated,
           array(SELECT a.attname::text FROM pg_attribute a
                  WHERE a.attrelid = k.conrelid AND a.attnum > 0
                    AND (a.attnum = ANY(k.conkey) OR a.attnum IN (
                         SELECT d.refobjsubid FROM pg_depend d
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = k.conindid AND k.contype = 'x'
                            AND d.refclassid = 'pg_class'::regclass AND d.refobjid = k.conrelid)) ORDER BY a.attnum),
           k.contype = 'x'
      FROM pg_constraint k
     WHERE k.conrelid = ANY($1) AND k.contype IN ('c', 'x')
     ORDER BY k.conrelid, k.conname";

fn constraint(row: &Row) -> Result<Constraint, tokio_postgres::Error> {
    Ok(Constraint { name: row.try_get(1)?, definition: row.try_get(2)?, validated: row.try_get(3)?, uses: row.try_get(4)? })
}

/// Partitions inherit their root's (`conparentid`).
const FOREIGN_KEYS: &str = "
    SELECT k.conrelid, k.conname::text, mine.names, rn.nspname::text, r.relname::text, theirs.names,
           CASE WHEN starts_with(whole.def, whole.head) THEN substr(whole.def, length(whole.head) + 1) END, k.convalidated
      FROM pg_constraint k
      JOIN pg_class r ON r.oid = k.confrelid
      JOIN pg_namespace rn ON rn.oid = r.relnamespace
     CROSS JOIN LATERAL (
           SELECT array_agg(a.attname::text ORDER BY u.at) AS names, string_agg(quote_ident(a.attname), ', ' ORDER BY u.at) AS list
             FROM unnest(k.conkey) WITH ORDINALITY AS u(attnum, at)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum) AS mine
     CROSS JOIN LATERAL (
           SELECT array_agg(a.attname::text ORDER BY u.at) AS names, string_agg(quote_ident(a.attname), ', ' ORDER BY u.at) AS list
             FROM unnest(k.confkey) WITH ORDINALITY AS u(attnum, at)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum) AS theirs
     CROSS JOIN LATERAL (
           SELECT pg_get_constraintdef(k.oid) AS def,
                  format('FOREIGN KEY (%s) REFERENCES %I.%I(%s)', mine.list, rn.nspname, r.relname, theirs.list) AS head) AS whole
     WHERE k.conrelid = ANY($1) AND k.contype = 'f' AND k.conparentid = 0
     ORDER BY k.conrelid, k.conname";

fn foreign_key(row: &Row) -> Result<ForeignKey, tokio_postgres::Error> {
    Ok(ForeignKey {
        name: row.try_get(1)?,
        columns: row.try_get(2)?,
        refers: TableName::new(row.try_get::<_, String>(3)?, row.try_get::<_, String>(4)?),
        refers_to: row.try_get(5)?,
        rest: row.try_get(6)?,
        validated: row.try_get(7)?,
    })
}
