//! Who holds what a session waits for.

use super::CatalogError;
use crate::change::TableName;
use std::time::Duration;
use tokio_postgres::GenericClient;

/// A session, or a prepared transaction, that another session waits for. What the role may not see is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// `None`: a prepared transaction.
    pub pid: Option<i32>,
    pub application: Option<String>,
    /// `pg_stat_activity.state`: `active`, `idle in transaction` ...
    pub state: Option<String>,
    /// Since its transaction began.
    pub age: Option<Duration>,
    /// The table whose lock is waited for; `None`: another kind of lock, such as one on a row.
    pub table: Option<TableName>,
}

/// A row lock shows as a wait for its holder's transaction, with the lock on the table's tuple held by the first who waits.
const HOLDERS: &str = "
    WITH wanted AS (
        SELECT n.nspname::text AS schema, c.relname::text AS name
          FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE l.pid = $1 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND (NOT l.granted OR l.locktype = 'tuple')
         LIMIT 1)
    SELECT blocking.pid, nullif(a.application_name, ''), a.state,
           extract(epoch FROM clock_timestamp() - a.xact_start)::float8, wanted.schema, wanted.name
      FROM (SELECT DISTINCT unnest(pg_blocking_pids($1)) AS pid) AS blocking
      LEFT JOIN pg_stat_activity a ON a.pid = blocking.pid
      LEFT JOIN wanted ON true
     ORDER BY a.xact_start NULLS LAST, 1";

/// Everybody that the session `pid` waits for, the longest transaction first; empty: it waits for no lock.
///
/// # Errors
/// The query failed.
pub async fn lock_holders(client: &impl GenericClient, pid: i32) -> Result<Vec<LockHolder>, CatalogError> {
    let rows = client.query(HOLDERS, &[&pid]).await?;
    let holder = |row: &tokio_postgres::Row| -> Result<LockHolder, tokio_postgres::Error> {
        let schema: Option<String> = row.try_get(4)?;
        let table = match schema {
            Some(schema) => Some(TableName::new(schema, row.try_get::<_, String>(5)?)),
            None => None,
        };
        let age: Option<f64> = row.try_get(3)?;
        let pid: i32 = row.try_get(0)?;
        Ok(LockHolder {
            pid: (pid != 0).then_some(pid),
            application: row.try_get(1)?,
            state: row.try_get(2)?,
            age: age.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()),
            table,
        })
    };
    Ok(rows.iter().map(holder).collect::<Result<Vec<_>, _>>()?)
}

/// The session's own process on the server.
///
/// # Errors
/// The query failed.
pub async fn backend_pid(client: &impl GenericClient) -> Result<i32, CatalogError> {
    Ok(client.query_one("SELECT pg_backend_pid()", &[]).await?.try_get(0)?)
}
