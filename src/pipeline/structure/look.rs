//! Tables as the catalog has them.

use super::watched::Watched;
use crate::catalog::{HAS_DEFAULT, leaf_default, partition_tree, published};
use crate::change::TableName;
use crate::config::Connector;
use crate::pipeline::PipelineError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

/// `pg_attribute`'s word on a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Column {
    pub number: i32,
    pub type_oid: u32,
    pub type_modifier: i32,
}

/// A table as it is.
pub(super) struct Found {
    pub oid: u32,
    pub watched: Watched,
    /// Numbers that were given to columns, also to those that are gone.
    pub given: i32,
    /// Our publication carries it, with all that is to be carried of it: every operation, row and column.
    pub published: bool,
    pub columns: BTreeMap<String, Column>,
    /// Columns without a default: NULL in the rows that were there when they were added.
    pub bare: BTreeSet<String>,
}

impl Found {
    /// Of its files, and its partitions': another one where rows were rewritten.
    pub fn files(&self) -> i64 {
        self.watched.files.values().sum()
    }

    pub fn numbers(&self) -> BTreeMap<String, i32> {
        self.columns.iter().map(|(name, column)| (name.clone(), column.number)).collect()
    }
}

/// `varchar`, `varbit`, `numeric` (PostgreSQL's `pg_type.dat`).
const VARCHAR: u32 = 1043;
const VARBIT: u32 = 1562;
const NUMERIC: u32 = 1700;

/// Whether a column's type became another without any value becoming another: a limit that was raised or lifted.
pub(super) fn keeps_values(was: &Column, is: &Column) -> bool {
    let (from, to) = (was.type_modifier, is.type_modifier);
    // numeric's modifier: precision in the upper half, scale in the lower, 4 added (PostgreSQL's `numeric.c`)
    let scale = |modifier: i32| (modifier - 4) & 0xffff;
    let raised = match is.type_oid {
        VARCHAR | VARBIT => to == -1 || from != -1 && to >= from,
        NUMERIC => to == -1 || from != -1 && to >= from && scale(to) == scale(from),
        _ => false,
    };
    was.type_oid == is.type_oid && (from == to || raised)
}

/// Looks at those of `tables` that are there.
///
/// # Errors
/// The database could not be asked.
pub(super) async fn look<'a>(
    client: &Client,
    side: &'static str,
    connector: &Connector,
    tables: impl Iterator<Item = &'a TableName>,
) -> Result<BTreeMap<TableName, Found>, PipelineError> {
    let names: Vec<&TableName> = tables.collect();
    let schemas: Vec<&str> = names.iter().map(|name| name.schema.as_str()).collect();
    let tables: Vec<&str> = names.iter().map(|name| name.name.as_str()).collect();
    let failed = |source| PipelineError::Query { side, source };
    let version = "SELECT pg_catalog.current_setting('server_version_num')::integer";
    let version = client.query_one(version, &[]).await.map_err(failed)?.get(0);
    let carried = published("ARRAY[$3::text, $4::text]", version);
    let (tree, leaf_default) = (partition_tree("c.oid"), leaf_default());
    let sql = format!(
        "WITH found AS MATERIALIZED (
                 SELECT n.nspname, c.relname, c.oid, c.relnatts, c.relkind,
                   (SELECT pg_catalog.jsonb_object_agg(part.oid::bigint, part.relfilenode::bigint) FROM pg_catalog.pg_class part
                    WHERE part.oid IN (SELECT relid FROM {tree} AS tree))::text AS files
                 FROM (SELECT DISTINCT * FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS w (schema, name)) AS w
                 JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
                 JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name),
               {leaf_default},
               published AS MATERIALIZED (
                 SELECT DISTINCT q.relid FROM {carried} AS q JOIN pg_catalog.pg_publication p ON p.pubname = q.pubname
                 WHERE p.pubinsert AND p.pubtruncate AND (p.pubname = $4::text OR p.pubupdate AND p.pubdelete)
                   AND NOT q.filtered AND NOT q.partial)
               SELECT f.nspname::text, f.relname::text, f.oid, a.attname::text, a.attnum::integer, a.atttypid, a.atttypmod, f.files,
                 NOT {HAS_DEFAULT},
                 p.relid IS NOT NULL, f.relnatts::integer, a.xmin::text::bigint
               FROM found f
               JOIN pg_catalog.pg_attribute a ON a.attrelid = f.oid AND a.attnum > 0 AND NOT a.attisdropped
               LEFT JOIN published p ON p.relid = f.oid"
    );
    let (main, inserts) = (connector.publication(), connector.inserts_publication());
    let rows = client.query(&sql, &[&schemas, &tables, &main, &inserts]).await.map_err(failed)?;
    let mut found: BTreeMap<TableName, Found> = BTreeMap::new();
    for row in &rows {
        let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let table = found.entry(name).or_insert_with(|| {
            let files: BTreeMap<u32, i64> = serde_json::from_str(row.get(7)).unwrap_or_default();
            Found {
                oid: row.get(2),
                watched: Watched { files, columns: BTreeMap::new() },
                published: row.get(9),
                given: row.get(10),
                columns: BTreeMap::new(),
                bare: BTreeSet::new(),
            }
        });
        if row.get(8) {
            table.bare.insert(row.get(3));
        }
        let column = Column { number: row.get(4), type_oid: row.get(5), type_modifier: row.get(6) };
        table.watched.columns.insert(column.number, row.get(11));
        table.columns.insert(row.get(3), column);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(number: i32, type_oid: u32, type_modifier: i32) -> Column {
        Column { number, type_oid, type_modifier }
    }

    #[test]
    fn a_limit_may_be_raised() {
        let numeric = |precision: i32, scale: i32| (precision << 16 | scale) + 4;
        let kept = [
            (VARCHAR, 14, 24),
            (VARCHAR, 14, -1),
            (NUMERIC, numeric(10, 2), numeric(12, 2)),
            (NUMERIC, numeric(10, 2), -1),
            (23, -1, -1),
        ];
        let changed =
            [(VARCHAR, 24, 14), (VARCHAR, -1, 14), (NUMERIC, numeric(10, 2), numeric(12, 1)), (1184, -1, 0), (1042, 14, 24)];
        for (oid, from, to) in kept {
            assert!(keeps_values(&column(1, oid, from), &column(1, oid, to)), "{oid} {from} {to}");
        }
        for (oid, from, to) in changed {
            assert!(!keeps_values(&column(1, oid, from), &column(1, oid, to)), "{oid} {from} {to}");
        }
        assert!(!keeps_values(&column(1, 23, -1), &column(1, 20, -1)));
    }
}
