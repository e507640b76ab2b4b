//! Target tables as their catalog describes them.

use super::{CatalogError, index_columns, letter, partition_tree, split, type_name};
use crate::change::TableName;
use crate::mapping::{Action, TargetColumn, TargetShape, UniqueKey};
use std::collections::BTreeMap;
use tokio_postgres::{GenericClient, Row};

/// The shapes of those of `names` that are ordinary or partitioned tables.
///
/// `foreign_keys_out` are constraint names, `foreign_keys_in` are `schema.table.constraint` of the referring tables. A unique
/// index that is not valid (yet) can still conflict, so it is there, marked like a partial one: nothing for `ON CONFLICT`.
///
/// # Errors
/// A query failed.
pub async fn target_shapes(
    client: &impl GenericClient,
    names: &[TableName],
) -> Result<BTreeMap<TableName, TargetShape>, CatalogError> {
    let (schemas, tables) = split(names);
    let mut shapes = BTreeMap::new();
    for row in client.query(TABLES, &[&schemas, &tables]).await? {
        let shape = shape(&row)?;
        shapes.insert(shape.oid, shape);
    }
    let oids: Vec<u32> = shapes.keys().copied().collect();
    for row in client.query(&columns_sql(), &[&oids]).await? {
        if let Some(shape) = shapes.get_mut(&row.try_get(0)?) {
            shape.columns.push(column(&row)?);
        }
    }
    for row in client.query(&uniques_sql(), &[&oids]).await? {
        if let Some(shape) = shapes.get_mut(&row.try_get(0)?) {
            shape.uniques.push(unique(&row)?);
        }
    }
    for row in client.query(FOREIGN_KEYS, &[&oids]).await? {
        if let Some(shape) = shapes.get_mut(&row.try_get(0)?) {
            shape.foreign_keys_out.push(row.try_get(2)?);
        }
        let declared: bool = row.try_get(4)?;
        if let Some(shape) = shapes.get_mut(&row.try_get(1)?).filter(|_| row.get(5)) {
            shape.cascades.push(row.try_get(3)?);
        }
        if let Some(shape) = shapes.get_mut(&row.try_get(1)?).filter(|_| declared) {
            shape.foreign_keys_in.push(row.try_get(3)?);
        }
    }
    for row in client.query(&unlogged(), &[&oids]).await? {
        if let Some(shape) = shapes.get_mut(&row.try_get(0)?) {
            shape.unlogged.push(TableName::new(row.try_get::<_, String>(1)?, row.try_get::<_, String>(2)?));
        }
    }
    for row in client.query(&actions(), &[&oids]).await? {
        if let Some(shape) = shapes.get_mut(&row.try_get(0)?) {
            shape.actions.push(Action {
                table: TableName::new(row.try_get::<_, String>(1)?, row.try_get::<_, String>(2)?),
                name: row.try_get(3)?,
                rule: row.try_get(4)?,
                enabled: letter(&row, 5)?,
            });
        }
    }
    Ok(shapes.into_values().map(|shape| (shape.name.clone(), shape)).collect())
}

fn unlogged() -> String {
    let tree = partition_tree("wanted.oid");
    format!(
        "SELECT wanted.oid, n.nspname::text, c.relname::text
      FROM unnest($1::oid[]) AS wanted(oid)
     CROSS JOIN LATERAL {tree} AS part
      JOIN pg_class c ON c.oid = part.relid
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relpersistence = 'u' AND c.relkind = 'r'
     ORDER BY 2, 3"
    )
}

/// A rule rewrites the statement that names its table; a partition's triggers fire for rows that come by way of its root.
fn actions() -> String {
    let tree = partition_tree("wanted.oid");
    format!(
        "WITH wanted AS (SELECT oid FROM unnest($1::oid[]) AS oid)
    SELECT found.oid, n.nspname::text, c.relname::text, found.name, found.rule, found.enabled
      FROM (SELECT wanted.oid, t.tgrelid AS relid, t.tgname::text AS name, false AS rule, t.tgenabled::text AS enabled
              FROM wanted
             CROSS JOIN LATERAL {tree} AS part
              JOIN pg_trigger t ON t.tgrelid = part.relid AND NOT t.tgisinternal
            UNION ALL
            SELECT wanted.oid, r.ev_class, r.rulename::text, true, r.ev_enabled::text
              FROM wanted
              JOIN pg_rewrite r ON r.ev_class = wanted.oid AND r.ev_type <> '1') AS found
      JOIN pg_class c ON c.oid = found.relid
      JOIN pg_namespace n ON n.oid = c.relnamespace
     ORDER BY 2, 3, 4"
    )
}

const TABLES: &str = "
    SELECT n.nspname::text, c.relname::text, c.oid, c.relkind::text
      FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[])) AS wanted(schema, name)
      JOIN pg_namespace n ON n.nspname = wanted.schema
      JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind IN ('r', 'p')";

/// A foreign key of a partitioned table is inherited by each partition (`conparentid`): only the one that was declared counts as
/// one that refers to us.
const FOREIGN_KEYS: &str = "
    SELECT k.conrelid, k.confrelid, k.conname::text, format('%s.%s.%s', n.nspname, c.relname, k.conname), k.conparentid = 0,
           k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd')
      FROM pg_constraint k
      JOIN pg_class c ON c.oid = k.conrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE k.contype = 'f' AND (k.conrelid = ANY($1) OR k.confrelid = ANY($1))
     ORDER BY k.conname, 4";

fn shape(row: &Row) -> Result<TargetShape, tokio_postgres::Error> {
    Ok(TargetShape {
        name: TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?),
        oid: row.try_get(2)?,
        kind: letter(row, 3)?,
        columns: Vec::new(),
        uniques: Vec::new(),
        foreign_keys_out: Vec::new(),
        foreign_keys_in: Vec::new(),
        cascades: Vec::new(),
        unlogged: Vec::new(),
        actions: Vec::new(),
    })
}

fn columns_sql() -> String {
    let (full, base) = (type_name("t", "a.atttypmod"), type_name("t", "-1"));
    format!(
        "SELECT a.attrelid, a.attname::text, {full}, {base}, a.atttypid, t.typtype::text, t.typcategory::text,
                a.attnotnull OR t.typnotnull, (a.atthasdef AND a.attgenerated = '') OR t.typdefault IS NOT NULL,
                a.attgenerated <> '', a.attidentity::text
           FROM pg_attribute a
           JOIN pg_type t ON t.oid = a.atttypid
          WHERE a.attrelid = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped
          ORDER BY a.attrelid, a.attnum"
    )
}

fn column(row: &Row) -> Result<TargetColumn, tokio_postgres::Error> {
    let identity = letter(row, 10)?;
    Ok(TargetColumn {
        name: row.try_get(1)?,
        type_name: row.try_get(2)?,
        type_base: row.try_get(3)?,
        type_oid: row.try_get(4)?,
        type_kind: letter(row, 5)?,
        type_category: letter(row, 6)?,
        not_null: row.try_get(7)?,
        has_default: row.try_get::<_, bool>(8)? || identity != ' ',
        generated: row.try_get(9)?,
        identity_always: identity == 'a',
        identity: identity != ' ',
    })
}

fn uniques_sql() -> String {
    let columns = index_columns("i");
    format!(
        "SELECT i.indrelid, x.relname::text, {columns}, i.indisprimary, NOT i.indimmediate,
                NOT i.indisvalid OR i.indpred IS NOT NULL OR i.indexprs IS NOT NULL, i.indisexclusion
           FROM pg_index i
           JOIN pg_class x ON x.oid = i.indexrelid
          WHERE i.indrelid = ANY($1) AND (i.indisunique OR i.indisexclusion) AND i.indislive
          ORDER BY i.indrelid, i.indisprimary DESC, x.relname"
    )
}

fn unique(row: &Row) -> Result<UniqueKey, tokio_postgres::Error> {
    Ok(UniqueKey {
        name: row.try_get(1)?,
        columns: row.try_get(2)?,
        primary: row.try_get(3)?,
        deferrable: row.try_get(4)?,
        partial_or_expression: row.try_get(5)?,
        exclusion: row.try_get(6)?,
    })
}
