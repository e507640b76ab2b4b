//! Transactions that a new slot would have to wait for: those that have an xid, in any database of the server.

use super::CatalogError;
use std::time::Duration;
use tokio_postgres::GenericClient;

/// Who holds a transaction open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    Session {
        pid: i32,
        /// Not told to a role that may not see other sessions.
        application: Option<String>,
    },
    /// `PREPARE TRANSACTION`: it ends when somebody ends it.
    Prepared { gid: String, database: String },
}

/// An open transaction with an xid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    pub xid: String,
    pub holder: Holder,
    /// `None`: the role may not see it.
    pub age: Option<Duration>,
    /// It has committed, and waits for a synchronous standby.
    pub waits_for_standby: bool,
}

/// `pg_locks` shows every xid to everyone; when the transaction began only to those who may see the session.
const BLOCKERS: &str = "
    SELECT l.transactionid::text, l.pid, nullif(a.application_name, ''), NULL::text, NULL::text,
           extract(epoch FROM clock_timestamp() - a.xact_start)::float8, coalesce(a.wait_event = 'SyncRep', false)
      FROM pg_locks l
      LEFT JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid <> pg_backend_pid()
    UNION ALL
    SELECT transaction::text, NULL, NULL, gid, database::text, extract(epoch FROM clock_timestamp() - prepared)::float8, false
      FROM pg_prepared_xacts
     ORDER BY 6 DESC NULLS FIRST";

/// All transactions that hold an xid now, the oldest first.
///
/// # Errors
/// The query failed.
pub async fn blockers(client: &impl GenericClient) -> Result<Vec<Blocker>, CatalogError> {
    let mut blockers = Vec::new();
    for row in client.query(BLOCKERS, &[]).await? {
        let holder = match row.try_get::<_, Option<i32>>(1)? {
            Some(pid) => Holder::Session { pid, application: row.try_get(2)? },
            None => Holder::Prepared { gid: row.try_get(3)?, database: row.try_get(4)? },
        };
        let age: Option<f64> = row.try_get(5)?;
        let age = age.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
        blockers.push(Blocker { xid: row.try_get(0)?, holder, age, waits_for_standby: row.try_get(6)? });
    }
    Ok(blockers)
}
