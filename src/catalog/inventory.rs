//! What of a source database is not in its tables' rows, and so is not carried.

use super::{CatalogError, split};
use crate::change::TableName;
use tokio_postgres::GenericClient;

/// A sequence that feeds a column of a lifted table, as identity, as serial or through its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    pub name: TableName,
    pub table: TableName,
    pub column: String,
    /// `None`: not used yet, or we may not read it.
    pub last_value: Option<i64>,
    pub descends: bool,
}

/// What stays behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    pub sequences: Vec<Sequence>,
    pub views: i64,
    pub materialized_views: i64,
    pub functions: i64,
    /// On the lifted tables, foreign keys' own left out.
    pub triggers: i64,
    /// On the lifted tables, too.
    pub rules: i64,
    pub policies: i64,
    /// Of CREATE STATISTICS.
    pub statistics: i64,
    pub large_objects: i64,
    /// Every login role but ours and the predefined ones.
    pub roles: i64,
}

/// Sequences that a column owns (serial, identity), and those that its default draws from.
const SEQUENCES: &str = "
    WITH lifted AS MATERIALIZED (
         SELECT c.oid, n.nspname, c.relname
           FROM unnest($1::text[], $2::text[]) AS wanted(schema, name)
           JOIN pg_namespace n ON n.nspname = wanted.schema
           JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name),
         drawn AS (
         SELECT d.objid AS sequence, l.oid AS relid, d.refobjsubid AS attnum
           FROM lifted l
           JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = l.oid AND d.refobjsubid > 0
          WHERE d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
         UNION
         SELECT d.refobjid, l.oid, f.adnum
           FROM lifted l
           JOIN pg_attrdef f ON f.adrelid = l.oid
           JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
          WHERE d.refclassid = 'pg_class'::regclass)
    SELECT DISTINCT sn.nspname::text, s.relname::text, l.nspname::text, l.relname::text, a.attname::text,
           CASE WHEN has_sequence_privilege(s.oid, 'SELECT,USAGE') THEN pg_sequence_last_value(s.oid) END, q.seqincrement < 0
      FROM drawn
      JOIN lifted l ON l.oid = drawn.relid
      JOIN pg_attribute a ON a.attrelid = drawn.relid AND a.attnum = drawn.attnum
      JOIN pg_class s ON s.oid = drawn.sequence AND s.relkind = 'S'
      JOIN pg_sequence q ON q.seqrelid = s.oid
      JOIN pg_namespace sn ON sn.oid = s.relnamespace
     ORDER BY 1, 2";

const COUNTS: &str = "
    WITH mine AS (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'tablelift')),
         extended AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e')
    SELECT (SELECT count(*) FROM pg_class c WHERE relkind = 'v' AND relnamespace IN (SELECT oid FROM mine)
               AND ('pg_class'::regclass, c.oid) NOT IN (SELECT classid, objid FROM extended)),
           (SELECT count(*) FROM pg_class c WHERE relkind = 'm' AND relnamespace IN (SELECT oid FROM mine)
               AND ('pg_class'::regclass, c.oid) NOT IN (SELECT classid, objid FROM extended)),
           (SELECT count(*) FROM pg_proc p WHERE pronamespace IN (SELECT oid FROM mine)
               AND ('pg_proc'::regclass, p.oid) NOT IN (SELECT classid, objid FROM extended)),
           (SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE NOT t.tgisinternal AND (n.nspname, c.relname) IN (SELECT * FROM unnest($1::text[], $2::text[]))),
           (SELECT count(*) FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest($1::text[], $2::text[]))),
           (SELECT count(*) FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest($1::text[], $2::text[]))),
           (SELECT count(*) FROM pg_statistic_ext s JOIN pg_class c ON c.oid = s.stxrelid JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest($1::text[], $2::text[]))),
           (SELECT count(*) FROM pg_largeobject_metadata),
           (SELECT count(*) FROM pg_roles WHERE rolcanlogin AND rolname <> current_user AND rolname !~ '^pg_')";

/// What stays behind when `tables` are lifted.
///
/// # Errors
/// A query failed.
pub async fn inventory(client: &impl GenericClient, tables: &[TableName]) -> Result<Inventory, CatalogError> {
    let (schemas, names) = split(tables);
    let mut sequences = Vec::new();
    for row in client.query(SEQUENCES, &[&schemas, &names]).await? {
        sequences.push(Sequence {
            name: TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?),
            table: TableName::new(row.try_get::<_, String>(2)?, row.try_get::<_, String>(3)?),
            column: row.try_get(4)?,
            last_value: row.try_get(5)?,
            descends: row.try_get(6)?,
        });
    }
    let row = client.query_one(COUNTS, &[&schemas, &names]).await?;
    Ok(Inventory {
        sequences,
        views: row.try_get(0)?,
        materialized_views: row.try_get(1)?,
        functions: row.try_get(2)?,
        triggers: row.try_get(3)?,
        rules: row.try_get(4)?,
        policies: row.try_get(5)?,
        statistics: row.try_get(6)?,
        large_objects: row.try_get(7)?,
        roles: row.try_get(8)?,
    })
}
