//! What is still to be built on target tables that we made: statements that follow the load. `prepare` writes them with the table itself;
//! whoever builds takes them off, one by one.

use super::{StoreError, doing};
use crate::change::TableName;
use crate::ddl::{Kind, Step};
use crate::mapping::{TargetShape, UniqueKey};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::{Client, Row};

pub(super) const MIGRATION: &str = "
CREATE TABLE tablelift.after_load (
    connector     text NOT NULL,
    target_schema text NOT NULL,
    target_name   text NOT NULL,
    place         integer NOT NULL,
    kind          text NOT NULL,
    name          text NOT NULL,
    statement     text NOT NULL,
    keeps_unique  text[],
    refers_schema text,
    refers_name   text,
    done_at       timestamptz,
    tried_at      timestamptz,
    because       text,
    hint          text,
    PRIMARY KEY (connector, target_schema, target_name, place),
    FOREIGN KEY (connector, target_schema, target_name) REFERENCES tablelift.table_state ON DELETE CASCADE
);
";

/// A statement that is not done yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    pub table: TableName,
    /// Among the table's, in their order.
    pub place: i32,
    pub step: Step,
    /// Since it was last tried in vain.
    pub tried: Option<Duration>,
    /// Why that was in vain, and what to do.
    pub failed: Option<(String, String)>,
}

/// A statement that a session is at now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderWay {
    pub table: TableName,
    pub place: i32,
    /// Of an index: what PostgreSQL does, and how much of that is done, of how much.
    pub phase: Option<(String, i64, i64)>,
}

/// The name of the advisory locks that whoever builds on a table holds, each with a statement's place: for as long as the server is at work
/// for it.
pub fn lock_name(connector: &str, table: &TableName) -> String {
    format!("tablelift after_load {connector} {table}")
}

/// Those of `open` that some session is at, whoever started it.
///
/// # Errors
/// See [`StoreError`].
pub async fn under_way(client: &Client, connector: &str, open: &[Open]) -> Result<Vec<UnderWay>, StoreError> {
    let names: Vec<String> = open.iter().map(|one| lock_name(connector, &one.table)).collect();
    let places: Vec<i32> = open.iter().map(|one| one.place).collect();
    // a lock of two numbers: the first stands in `classid`, the second in `objid`
    let sql = "SELECT wanted.nth, p.phase, CASE WHEN p.blocks_total > 0 THEN p.blocks_done ELSE p.tuples_done END,
               CASE WHEN p.blocks_total > 0 THEN p.blocks_total ELSE p.tuples_total END
               FROM unnest($1::text[], $2::integer[]) WITH ORDINALITY AS wanted (name, place, nth)
               JOIN pg_catalog.pg_locks AS l ON l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted
                   AND l.classid = (pg_catalog.hashtext(wanted.name)::bigint & 4294967295)::oid AND l.objid = wanted.place::oid
                   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
               LEFT JOIN pg_catalog.pg_stat_progress_create_index AS p ON p.pid = l.pid ORDER BY 1";
    let rows = client.query(sql, &[&names, &places]).await.map_err(doing("look what is being built"))?;
    let found = rows.iter().filter_map(|row| {
        let one = open.get(usize::try_from(row.get::<_, i64>(0)).ok()?.checked_sub(1)?)?;
        let phase = row.get::<_, Option<String>>(1).map(|phase| {
            let amount = |column| row.get::<_, Option<i64>>(column).unwrap_or(0);
            (phase, amount(2), amount(3))
        });
        Some(UnderWay { table: one.table.clone(), place: one.place, phase })
    });
    Ok(found.collect())
}

/// Records what follows a table's load. `done`: how many of the first are done already.
///
/// # Errors
/// See [`StoreError`].
pub async fn insert(client: &Client, connector: &str, table: &TableName, steps: &[Step], done: usize) -> Result<(), StoreError> {
    let sql =
        "INSERT INTO tablelift.after_load (connector, target_schema, target_name, place, kind, name, statement, keeps_unique,
               refers_schema, refers_name, done_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, CASE WHEN $11 THEN pg_catalog.now() END)";
    for (at, step) in steps.iter().enumerate() {
        let place = i32::try_from(at).unwrap_or(i32::MAX);
        let (schema, name) = (step.refers.as_ref().map(|to| &to.schema), step.refers.as_ref().map(|to| &to.name));
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 11] = [
            &connector,
            &table.schema,
            &table.name,
            &place,
            &step.kind.code(),
            &step.name,
            &step.sql,
            &step.unique,
            &schema,
            &name,
            &(at < done),
        ];
        client.execute(sql, &params).await.map_err(doing("record what follows a table's load"))?;
    }
    Ok(())
}

/// All statements of a connector that are not done, in the order in which they can run.
///
/// # Errors
/// See [`StoreError`].
pub async fn open(client: &Client, connector: &str) -> Result<Vec<Open>, StoreError> {
    if !readable(client).await? {
        return Ok(Vec::new());
    }
    let sql = "SELECT target_schema, target_name, place, kind, name, statement, keeps_unique, refers_schema, refers_name,
               extract(epoch FROM pg_catalog.clock_timestamp() - tried_at)::float8, because, hint
               FROM tablelift.after_load WHERE connector = $1 AND done_at IS NULL ORDER BY 1, 2, 3";
    let rows = client.query(sql, &[&connector]).await.map_err(doing("read what follows the tables' loads"))?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Open, StoreError> {
    let kind: &str = row.get(3);
    let kind: Kind = kind.parse().map_err(|_| StoreError::Damaged { what: "kind of statement", text: kind.to_owned() })?;
    let refers: Option<String> = row.get(7);
    let refers = refers.map(|schema| TableName::new(schema, row.get::<_, Option<String>>(8).unwrap_or_default()));
    let because: Option<String> = row.get(10);
    Ok(Open {
        table: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
        place: row.get(2),
        step: Step { kind, name: row.get(4), sql: row.get(5), unique: row.get(6), refers },
        tried: row.get::<_, Option<f64>>(9).map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()),
        failed: because.map(|because| (because, row.get::<_, Option<String>>(11).unwrap_or_default())),
    })
}

/// Whether a statement is still to be done: another builder may have come first.
///
/// # Errors
/// See [`StoreError`].
pub async fn is_open(client: &Client, connector: &str, open: &Open) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT FROM tablelift.after_load
               WHERE connector = $1 AND target_schema = $2 AND target_name = $3 AND place = $4 AND done_at IS NULL)";
    let row = client.query_one(sql, &[&connector, &open.table.schema, &open.table.name, &open.place]).await;
    Ok(row.map_err(doing("look at what follows a table's load"))?.get(0))
}

/// A statement is done.
///
/// # Errors
/// See [`StoreError`].
pub async fn done(client: &Client, connector: &str, open: &Open) -> Result<(), StoreError> {
    let sql =
        "UPDATE tablelift.after_load SET done_at = pg_catalog.clock_timestamp(), tried_at = NULL, because = NULL, hint = NULL
               WHERE connector = $1 AND target_schema = $2 AND target_name = $3 AND place = $4";
    let done = client.execute(sql, &[&connector, &open.table.schema, &open.table.name, &open.place]).await;
    done.map_err(doing("record what was built"))?;
    Ok(())
}

/// A statement was tried in vain.
///
/// # Errors
/// See [`StoreError`].
pub async fn failed(client: &Client, connector: &str, open: &Open, because: &str, hint: &str) -> Result<(), StoreError> {
    let sql = "UPDATE tablelift.after_load SET tried_at = pg_catalog.clock_timestamp(), because = $5, hint = $6
               WHERE connector = $1 AND target_schema = $2 AND target_name = $3 AND place = $4";
    let (schema, name) = (&open.table.schema, &open.table.name);
    let failed = client.execute(sql, &[&connector, schema, name, &open.place, &because, &hint]).await;
    failed.map_err(doing("record what could not be built"))?;
    Ok(())
}

/// Adds to the shapes the unique indexes that are still to be built: a plan must not change with them. Each but the key is marked like one
/// that is not valid yet, which is nothing to conflict on; before it has its key, a table is only loaded.
///
/// # Errors
/// The query failed.
pub async fn expect(client: &Client, shapes: &mut BTreeMap<TableName, TargetShape>) -> Result<(), tokio_postgres::Error> {
    if shapes.is_empty() || !asked(client).await? {
        return Ok(());
    }
    let sql = "SELECT target_schema, target_name, name, keeps_unique, kind = 'key' FROM tablelift.after_load
               WHERE done_at IS NULL AND kind IN ('key', 'index') AND keeps_unique IS NOT NULL";
    for row in client.query(sql, &[]).await? {
        let table = TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
        let name: String = row.try_get(2)?;
        if let Some(shape) = shapes.get_mut(&table).filter(|shape| !shape.uniques.iter().any(|unique| unique.name == name)) {
            let primary: bool = row.try_get(4)?;
            shape.uniques.push(UniqueKey {
                name,
                columns: row.try_get(3)?,
                primary,
                deferrable: false,
                partial_or_expression: !primary,
                exclusion: false,
            });
        }
    }
    Ok(())
}

async fn readable(client: &Client) -> Result<bool, StoreError> {
    asked(client).await.map_err(doing("look for the control tables"))
}

/// The table is there, and may be read: an older program made none, and not every role may look.
async fn asked(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'tablelift' AND c.relname = 'after_load'
               AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))";
    client.query_one(sql, &[]).await?.try_get(0)
}
