//! Types of the source that are not built in, and what each is made of: for a target that lacks them.

use super::{CatalogError, letter, type_name};
use crate::ddl::{Attribute, GivenType, TypeForm};
use tokio_postgres::{GenericClient, Row};

/// Those among the types `oids` that are not built in, and those that they are made of, which come first.
///
/// # Errors
/// The query failed.
pub async fn given_types(client: &impl GenericClient, oids: &[u32]) -> Result<Vec<GivenType>, CatalogError> {
    let mut types = Vec::new();
    for row in client.query(&types_sql(), &[&oids]).await? {
        types.push(given_type(&row)?);
    }
    Ok(types)
}

/// An array leads to its element, a domain to its base, a composite to its columns, a range to what it ranges over.
fn types_sql() -> String {
    let (name, base) = (type_name("t", "-1"), type_name("b", "t.typtypmod"));
    let (attribute, over) = (type_name("at", "a.atttypmod"), type_name("rt", "-1"));
    format!(
        "WITH RECURSIVE used(oid, depth) AS (
             SELECT u.oid, 0 FROM unnest($1::oid[]) AS u(oid)
             UNION
             SELECT part.oid, used.depth + 1
               FROM used JOIN pg_type t ON t.oid = used.oid
              CROSS JOIN LATERAL (
                    SELECT t.typelem AS oid WHERE t.typcategory = 'A'
                    UNION SELECT t.typbasetype WHERE t.typtype = 'd'
                    UNION SELECT a.atttypid FROM pg_attribute a
                           WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
                    UNION SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid) AS part
              WHERE used.depth < 20)
         SELECT {name}, t.typtype::text, x.extname::text,
                array(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder),
                CASE WHEN t.typtype = 'd' THEN (SELECT {base} FROM pg_type b WHERE b.oid = t.typbasetype) END,
                t.typnotnull, t.typdefault,
                array(SELECT format('CONSTRAINT %I %s', k.conname, pg_get_constraintdef(k.oid)) FROM pg_constraint k
                       WHERE k.contypid = t.oid AND k.contype = 'c' ORDER BY k.conname),
                array(SELECT a.attname::text FROM pg_attribute a
                       WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
                array(SELECT {attribute} FROM pg_attribute a JOIN pg_type at ON at.oid = a.atttypid
                       WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
                (SELECT {over} FROM pg_range r JOIN pg_type rt ON rt.oid = r.rngsubtype WHERE r.rngtypid = t.oid),
                t.typnamespace::regnamespace::text
           FROM (SELECT oid, max(depth) AS depth FROM used GROUP BY oid) AS used
           JOIN pg_type t ON t.oid = used.oid
           LEFT JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid
                                AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
           LEFT JOIN pg_extension x ON x.oid = d.refobjid
          WHERE t.typnamespace <> 'pg_catalog'::regnamespace AND NOT (t.typcategory = 'A' AND t.typelem <> 0)
          ORDER BY used.depth DESC, 1"
    )
}

fn given_type(row: &Row) -> Result<GivenType, tokio_postgres::Error> {
    let form = match (row.try_get(2)?, letter(row, 1)?) {
        (Some(extension), _) => TypeForm::Extension(extension),
        (None, 'e') => TypeForm::Enum(row.try_get(3)?),
        (None, 'd') => TypeForm::Domain {
            base: row.try_get::<_, Option<String>>(4)?.unwrap_or_default(),
            not_null: row.try_get(5)?,
            default: row.try_get(6)?,
            checks: row.try_get(7)?,
        },
        (None, 'c') => {
            let (names, types): (Vec<String>, Vec<String>) = (row.try_get(8)?, row.try_get(9)?);
            let attributes = names.into_iter().zip(types).map(|(name, type_name)| Attribute { name, type_name });
            TypeForm::Composite(attributes.collect())
        }
        (None, 'r') => TypeForm::Range { of: row.try_get::<_, Option<String>>(10)?.unwrap_or_default() },
        _ => TypeForm::Other,
    };
    Ok(GivenType { name: row.try_get(0)?, schema: row.try_get(11)?, form })
}
