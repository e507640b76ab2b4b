//! What there is that a pattern, or an explicit name, can mean.

use super::{CatalogError, letter};
use crate::change::TableName;
use std::fmt;
use tokio_postgres::GenericClient;

/// Why a pattern never takes a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOut {
    System,
    /// Our own schema, where this database is some connector's target.
    Ours,
    Temporary,
    /// Nothing of it is in the WAL.
    Unlogged,
    Extension(String),
    /// Its changes come under the name of the partitioned table.
    Partition {
        root: TableName,
    },
    /// A view, a foreign table and the like: it holds no rows that the WAL tells of.
    Kind(&'static str),
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeftOut::System => write!(f, "is a system table"),
            LeftOut::Ours => write!(f, "is one of tablelift's own tables"),
            LeftOut::Temporary => write!(f, "is temporary"),
            LeftOut::Unlogged => write!(f, "is unlogged: its changes are not in the WAL"),
            LeftOut::Extension(name) => write!(f, "belongs to the extension `{name}`"),
            LeftOut::Partition { root } => write!(f, "is a partition of `{root}`"),
            LeftOut::Kind(kind) => write!(f, "is a {kind}"),
        }
    }
}

/// A table, or what could be mistaken for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub name: TableName,
    pub oid: u32,
    /// `pg_class.relkind`.
    pub kind: char,
    /// `None`: an ordinary or partitioned table, to be taken.
    pub left_out: Option<LeftOut>,
}

const RELATIONS: &str = "
    SELECT n.nspname::text, c.relname::text, c.oid, c.relkind::text, c.relpersistence::text, e.extname::text,
           rn.nspname::text, rc.relname::text
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
                           AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
      LEFT JOIN pg_extension e ON e.oid = d.refobjid
      LEFT JOIN pg_class rc ON rc.oid = CASE WHEN c.relispartition THEN pg_partition_root(c.oid) END
      LEFT JOIN pg_namespace rn ON rn.oid = rc.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_toast'
     ORDER BY n.nspname, c.relname";

/// Every relation of the database by name, each with the reason that a pattern does not take it, if there is one.
///
/// # Errors
/// The query failed.
pub async fn relations(client: &impl GenericClient) -> Result<Vec<Relation>, CatalogError> {
    let rows = client.query(RELATIONS, &[]).await?;
    rows.iter().map(|row| Ok(relation(row)?)).collect()
}

fn relation(row: &tokio_postgres::Row) -> Result<Relation, tokio_postgres::Error> {
    let name = TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
    let kind = letter(row, 3)?;
    let extension: Option<String> = row.try_get(5)?;
    let root: Option<String> = row.try_get(6)?;
    let root = match root {
        Some(schema) => Some(TableName::new(schema, row.try_get::<_, String>(7)?)),
        None => None,
    };
    let left_out = why_left_out(&name, kind, letter(row, 4)?, extension, root);
    Ok(Relation { name, oid: row.try_get(2)?, kind, left_out })
}

fn why_left_out(
    name: &TableName,
    kind: char,
    persistence: char,
    extension: Option<String>,
    root: Option<TableName>,
) -> Option<LeftOut> {
    let kinds = match kind {
        'v' => Some("view"),
        'm' => Some("materialized view"),
        'f' => Some("foreign table"),
        _ => None,
    };
    if persistence == 't' {
        Some(LeftOut::Temporary)
    } else if name.schema == "information_schema" || name.schema.starts_with("pg_") {
        Some(LeftOut::System)
    } else if name.schema == "tablelift" {
        Some(LeftOut::Ours)
    } else if let Some(extension) = extension {
        Some(LeftOut::Extension(extension))
    } else if let Some(kind) = kinds {
        Some(LeftOut::Kind(kind))
    } else if persistence == 'u' {
        Some(LeftOut::Unlogged)
    } else {
        root.map(|root| LeftOut::Partition { root })
    }
}
