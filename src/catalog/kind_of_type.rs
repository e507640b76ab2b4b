//! Types of the source that are not built in, and what each is made of: for a target that lacks them, or has others.

use super::{CatalogError, WHOLE_NAMES, is_array, letter, type_name};
use crate::ddl::{Attribute, DomainCheck, GivenType, TypeForm};
use tokio_postgres::{GenericClient, Row, Transaction};

/// Those among the types `oids` that are not built in, and those that they are made of, which come first.
///
/// # Errors
/// A query failed.
pub async fn given_types(client: &impl GenericClient, oids: &[u32]) -> Result<Vec<GivenType>, CatalogError> {
    client.batch_execute(WHOLE_NAMES).await?;
    let rows = client.query(&types_sql(), &[&oids]).await;
    client.batch_execute("COMMIT").await?;
    Ok(rows?.iter().map(given_type).collect::<Result<_, _>>()?)
}

/// The same inside a transaction.
///
/// # Errors
/// A query failed.
pub async fn given_types_in(transaction: &mut Transaction<'_>, oids: &[u32]) -> Result<Vec<GivenType>, CatalogError> {
    let inner = transaction.transaction().await?;
    inner.batch_execute("SET LOCAL search_path = pg_catalog").await?;
    let rows = inner.query(&types_sql(), &[&oids]).await?;
    inner.rollback().await?;
    Ok(rows.iter().map(given_type).collect::<Result<_, _>>()?)
}

/// What a target has of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeGround {
    /// A type of that name.
    pub there: Option<u32>,
    pub schema_there: bool,
    /// The schema, as SQL, in which it has the type's extension.
    pub extension_in: Option<String>,
}

/// What the target has of each of the types.
///
/// # Errors
/// The query failed.
pub async fn type_grounds(client: &impl GenericClient, types: &[GivenType]) -> Result<Vec<TypeGround>, CatalogError> {
    let sql = "SELECT to_regtype(asked.name)::oid, to_regnamespace(asked.schema) IS NOT NULL, e.extnamespace::regnamespace::text
                 FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS asked(name, schema, extension, at)
                 LEFT JOIN pg_extension e ON e.extname = asked.extension
                ORDER BY asked.at";
    let names: Vec<&str> = types.iter().map(|one| one.name.as_str()).collect();
    let schemas: Vec<&str> = types.iter().map(|one| one.schema.as_str()).collect();
    let extension = |one: &GivenType| if let TypeForm::Extension(name) = &one.form { name.clone() } else { String::new() };
    let extensions: Vec<String> = types.iter().map(extension).collect();
    let rows = client.query(sql, &[&names, &schemas, &extensions]).await?;
    let ground = |row: &Row| -> Result<TypeGround, tokio_postgres::Error> {
        Ok(TypeGround { there: row.try_get(0)?, schema_there: row.try_get(1)?, extension_in: row.try_get(2)? })
    };
    Ok(rows.iter().map(ground).collect::<Result<_, _>>()?)
}

/// An array leads to its element, a domain to its base, a composite to its columns, a range to what it ranges over, a multirange to its
/// range (which it depends on: up to 13 there is no column that says it).
fn types_sql() -> String {
    let (name, base) = (type_name("t", "-1"), type_name("b", "t.typtypmod"));
    let (attribute, over, multirange) = (type_name("at", "a.atttypmod"), type_name("rt", "-1"), type_name("m", "-1"));
    let array = is_array("t");
    format!(
        "WITH RECURSIVE used(oid, depth) AS (
             SELECT u.oid, 0 FROM unnest($1::oid[]) AS u(oid)
             UNION
             SELECT part.oid, used.depth + 1
               FROM used JOIN pg_type t ON t.oid = used.oid
              CROSS JOIN LATERAL (
                    SELECT t.typelem AS oid WHERE {array}
                    UNION SELECT t.typbasetype WHERE t.typtype = 'd'
                    UNION SELECT a.atttypid FROM pg_attribute a
                           WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
                    UNION SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid
                    UNION SELECT d.refobjid FROM pg_depend d
                           WHERE t.typtype = 'm' AND d.classid = 'pg_type'::regclass AND d.objid = t.oid
                             AND d.refclassid = 'pg_type'::regclass AND d.deptype = 'i') AS part
              WHERE used.depth < 20)
         SELECT {name}, t.typtype::text, t.typnamespace::regnamespace::text, x.extname::text,
                array(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder),
                CASE WHEN t.typtype = 'd' THEN (SELECT {base} FROM pg_type b WHERE b.oid = t.typbasetype) END,
                CASE WHEN t.typtype = 'd' AND t.typcollation <> (SELECT b.typcollation FROM pg_type b WHERE b.oid = t.typbasetype)
                     THEN t.typcollation::regcollation::text END,
                t.typnotnull, pg_get_expr(t.typdefaultbin, 0), checks.names, checks.definitions,
                c.relkind::text, attributes.names, attributes.types, attributes.collations,
                r.of, r.collation, m.name, coalesce(m.renamed, false), coalesce(r.own, false)
           FROM (SELECT oid, max(depth) AS depth FROM used GROUP BY oid) AS used
           JOIN pg_type t ON t.oid = used.oid
           LEFT JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid
                                AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
           LEFT JOIN pg_extension x ON x.oid = d.refobjid
           LEFT JOIN pg_class c ON c.oid = t.typrelid
          CROSS JOIN LATERAL (
                SELECT coalesce(array_agg(quote_ident(k.conname) ORDER BY k.conname), '{{}}') AS names,
                       coalesce(array_agg(pg_get_constraintdef(k.oid) ORDER BY k.conname), '{{}}') AS definitions
                  FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c' AND k.convalidated) AS checks
          CROSS JOIN LATERAL (
                SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{{}}') AS names,
                       coalesce(array_agg({attribute} ORDER BY a.attnum), '{{}}') AS types,
                       coalesce(array_agg(CASE WHEN a.attcollation <> at.typcollation THEN a.attcollation::regcollation::text END
                                          ORDER BY a.attnum), '{{}}') AS collations
                  FROM pg_attribute a JOIN pg_type at ON at.oid = a.atttypid
                 WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS attributes
           LEFT JOIN LATERAL (
                SELECT {over} AS of,
                       CASE WHEN g.rngcollation <> rt.typcollation THEN g.rngcollation::regcollation::text END AS collation,
                       g.rngcanonical <> 0 OR NOT o.opcdefault AS own
                  FROM pg_range g JOIN pg_type rt ON rt.oid = g.rngsubtype JOIN pg_opclass o ON o.oid = g.rngsubopc
                 WHERE g.rngtypid = t.oid) AS r ON true
           LEFT JOIN LATERAL (
                SELECT {multirange} AS name,
                       m.typnamespace <> t.typnamespace OR m.typname <>
                       CASE WHEN strpos(t.typname, 'range') > 0 THEN regexp_replace(t.typname, 'range', 'multirange')
                            ELSE t.typname || '_multirange' END AS renamed
                  FROM pg_depend md JOIN pg_type m ON m.oid = md.objid AND m.typtype = 'm'
                 WHERE md.refclassid = 'pg_type'::regclass AND md.refobjid = t.oid AND md.classid = 'pg_type'::regclass
                   AND md.deptype = 'i') AS m ON true
          WHERE t.typnamespace <> 'pg_catalog'::regnamespace AND NOT {array} AND t.typtype <> 'm'
          ORDER BY used.depth DESC, 1"
    )
}

fn given_type(row: &Row) -> Result<GivenType, tokio_postgres::Error> {
    let text = |at: usize| Ok::<_, tokio_postgres::Error>(row.try_get::<_, Option<String>>(at)?.unwrap_or_default());
    let form = match (row.try_get(3)?, letter(row, 1)?) {
        (Some(extension), _) => TypeForm::Extension(extension),
        (None, 'e') => TypeForm::Enum(row.try_get(4)?),
        (None, 'd') => {
            let (names, definitions): (Vec<String>, Vec<String>) = (row.try_get(9)?, row.try_get(10)?);
            let checks = names.into_iter().zip(definitions).map(|(name, definition)| DomainCheck { name, definition }).collect();
            TypeForm::Domain {
                base: text(5)?,
                collation: row.try_get(6)?,
                not_null: row.try_get(7)?,
                default: row.try_get(8)?,
                checks,
            }
        }
        (None, 'c') if text(11)? == "c" => TypeForm::Composite(attributes(row)?),
        (None, 'c') => TypeForm::Row(attributes(row)?),
        (None, 'r') if !row.try_get::<_, bool>(19)? => TypeForm::Range {
            of: text(15)?,
            collation: row.try_get(16)?,
            multirange: row.try_get(17)?,
            renamed: row.try_get(18)?,
        },
        _ => TypeForm::Other,
    };
    Ok(GivenType { name: row.try_get(0)?, schema: row.try_get(2)?, form })
}

fn attributes(row: &Row) -> Result<Vec<Attribute>, tokio_postgres::Error> {
    let (names, types): (Vec<String>, Vec<String>) = (row.try_get(12)?, row.try_get(13)?);
    let collations: Vec<Option<String>> = row.try_get(14)?;
    let parts = names.into_iter().zip(types).zip(collations);
    Ok(parts.map(|((name, type_name), collation)| Attribute { name, type_name, collation }).collect())
}
