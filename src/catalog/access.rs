//! What our role may do with tables, and what stands between it and their rows.

use super::{CatalogError, split};
use crate::change::TableName;
use std::collections::BTreeMap;
use tokio_postgres::GenericClient;

/// Our role's rights on one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    pub owner: String,
    /// We are its owner, or may act as it.
    pub owned: bool,
    /// USAGE on its schema.
    pub schema: bool,
    pub select: bool,
    pub insert: bool,
    pub update: bool,
    pub delete: bool,
    pub truncate: bool,
    /// Row-level security would hide rows from us.
    pub row_security: bool,
    /// Its rows are in its partitions.
    pub partitioned: bool,
}

const ACCESS: &str = "
    SELECT n.nspname::text, c.relname::text, pg_get_userbyid(c.relowner)::text, pg_has_role(c.relowner, 'USAGE'),
           has_schema_privilege(n.oid, 'USAGE'), has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT'),
           has_table_privilege(c.oid, 'UPDATE'), has_table_privilege(c.oid, 'DELETE'), has_table_privilege(c.oid, 'TRUNCATE'),
           row_security_active(c.oid), c.relkind = 'p'
      FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[])) AS wanted(schema, name)
      JOIN pg_namespace n ON n.nspname = wanted.schema
      JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind IN ('r', 'p')";

/// Our role's rights on those of `names` that are tables.
///
/// # Errors
/// The query failed.
pub async fn access(client: &impl GenericClient, names: &[TableName]) -> Result<BTreeMap<TableName, Access>, CatalogError> {
    let (schemas, tables) = split(names);
    let mut found = BTreeMap::new();
    for row in client.query(ACCESS, &[&schemas, &tables]).await? {
        let access = Access {
            owner: row.try_get(2)?,
            owned: row.try_get(3)?,
            schema: row.try_get(4)?,
            select: row.try_get(5)?,
            insert: row.try_get(6)?,
            update: row.try_get(7)?,
            delete: row.try_get(8)?,
            truncate: row.try_get(9)?,
            row_security: row.try_get(10)?,
            partitioned: row.try_get(11)?,
        };
        found.insert(TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?), access);
    }
    Ok(found)
}

/// Whether our role is `role`, or may act as it.
///
/// # Errors
/// The query failed.
pub async fn may_act_as(client: &impl GenericClient, role: &str) -> Result<bool, CatalogError> {
    let sql = "SELECT pg_has_role(oid, 'USAGE') FROM pg_roles WHERE rolname = $1";
    let row = client.query_opt(sql, &[&role]).await?;
    row.map_or(Ok(false), |row| Ok(row.try_get(0)?))
}
