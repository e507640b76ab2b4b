//! What a target has to make a table on: schemas, names that are taken, collations, and whether it takes a default or generates a column.

use super::{CatalogError, Scratch, split};
use crate::change::TableName;
use crate::ddl::{Given, Ground};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::GenericClient;

/// Names of relations in each of `schemas`; one that is not there has no entry.
///
/// # Errors
/// The query failed.
pub async fn taken_names(
    client: &impl GenericClient,
    schemas: &BTreeSet<String>,
) -> Result<BTreeMap<String, BTreeSet<String>>, CatalogError> {
    let sql = "SELECT n.nspname::text, array(SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = n.oid)
                 FROM pg_namespace n WHERE n.nspname = ANY($1)";
    let schemas: Vec<&str> = schemas.iter().map(String::as_str).collect();
    let rows = client.query(sql, &[&schemas]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<_, Vec<String>>(1)?.into_iter().collect()))).collect()
}

/// What the target has against the defaults, collations and generated columns of a source table. `scratch` has the table's columns.
///
/// # Errors
/// We could not ask.
pub async fn ground(scratch: &Scratch<'_>, given: &Given) -> Result<Ground, CatalogError> {
    let mut ground = Ground::default();
    for (at, column) in given.columns.iter().enumerate() {
        if let Some(default) = column.default.as_ref().filter(|_| !column.drawn)
            && let Err(refused) = scratch.facts(default).await?
        {
            ground.no_defaults.push((at, refused.to_string()));
        }
        if let Some(collation) = &column.collation {
            let sql = "SELECT to_regcollation($1) IS NULL";
            if scratch.transaction().query_one(sql, &[collation]).await?.try_get(0)? {
                ground.no_collations.push((at, collation.clone()));
            }
        }
        if let Some(generated) = &column.generated
            && let Err(refused) = scratch.generates(at, &generated.clause).await?
        {
            match generated.stored() {
                Some(clause) if scratch.generates(at, &clause).await?.is_ok() => _ = ground.stored.insert(at),
                _ => ground.not_generated.push((at, refused.to_string())),
            }
        }
    }
    Ok(ground)
}

/// An index of a table that is there, beside its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub name: String,
    pub columns: Vec<String>,
    pub unique: bool,
    pub definition: String,
    /// Of the constraint that it stands for.
    pub constraint: Option<String>,
}

/// Indexes of the target's tables that could be dropped and built again: neither primary key nor replica identity, and no foreign key
/// refers to them.
///
/// # Errors
/// The query failed.
pub async fn standing_indexes(
    client: &impl GenericClient,
    names: &[TableName],
) -> Result<BTreeMap<TableName, Vec<Standing>>, CatalogError> {
    let columns = super::index_columns("i");
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text, x.relname::text, {columns}, i.indisunique,
                pg_get_indexdef(x.oid), pg_get_constraintdef(k.oid)
           FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[])) AS wanted(schema, name)
           JOIN pg_namespace n ON n.nspname = wanted.schema
           JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
           JOIN pg_index i ON i.indrelid = c.oid AND NOT i.indisprimary AND NOT i.indisreplident AND i.indisvalid
           JOIN pg_class x ON x.oid = i.indexrelid
           LEFT JOIN pg_constraint k ON k.conindid = x.oid AND k.conrelid = c.oid AND k.contype IN ('u', 'x')
          WHERE NOT EXISTS (SELECT FROM pg_constraint f WHERE f.conindid = x.oid AND f.contype = 'f')
          ORDER BY 1, 2, 3"
    );
    let (schemas, tables) = split(names);
    let mut found: BTreeMap<TableName, Vec<Standing>> = BTreeMap::new();
    for row in client.query(&sql, &[&schemas, &tables]).await? {
        let name = TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
        found.entry(name).or_default().push(Standing {
            name: row.try_get(2)?,
            columns: row.try_get(3)?,
            unique: row.try_get(4)?,
            definition: row.try_get(5)?,
            constraint: row.try_get(6)?,
        });
    }
    Ok(found)
}
