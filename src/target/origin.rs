//! The replication origin that our transactions carry, where the role may have one: by it other subscribers of the target
//! (`origin = none`), and a flow back to the source, tell our writes from the service's own.
//!
//! It is worth having and nothing depends on it, so whatever stands against it is no error.

use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::{Client, error::SqlState};

const RIGHTS: &str =
    "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_replication_origin_session_setup(text)', 'EXECUTE'),
    pg_catalog.has_function_privilege('pg_catalog.pg_replication_origin_create(text)', 'EXECUTE')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_origin WHERE roname = $1)";
const PAUSE: Duration = Duration::from_millis(50);

/// Lets all later transactions of a session carry the origin `name`, which is made if it is not there. Gives whether they do.
///
/// Only one session at a time can have an origin. Between two lives the old session may be about to end: then its end is waited for,
/// for as long as `patience` says; zero is for sessions of which there are several at a time.
pub async fn carry(client: &Client, name: &str, patience: Duration) -> bool {
    let begun = Instant::now();
    loop {
        match set_up(client, name).await {
            Ok(set) => return set,
            Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) && begun.elapsed() < patience => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                tracing::debug!(origin = name, error = %error, "our writes carry no replication origin");
                return false;
            }
        }
    }
}

async fn set_up(client: &Client, name: &str) -> Result<bool, tokio_postgres::Error> {
    let row = client.query_one(RIGHTS, &[&name]).await?;
    if !row.get::<_, bool>(0) {
        return Ok(false);
    }
    if row.get(1) {
        client.execute("SELECT pg_catalog.pg_replication_origin_create($1)", &[&name]).await?;
    }
    client.execute("SELECT pg_catalog.pg_replication_origin_session_setup($1)", &[&name]).await?;
    Ok(true)
}

/// Whether the target has the origin, and whether we may drop it.
///
/// # Errors
/// The query failed.
pub async fn find(client: &Client, name: &str) -> Result<Option<bool>, tokio_postgres::Error> {
    let sql = "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_replication_origin_drop(text)', 'EXECUTE')
               FROM pg_catalog.pg_replication_origin WHERE roname = $1";
    Ok(client.query_opt(sql, &[&name]).await?.map(|row| row.get(0)))
}

/// Drops the origin.
///
/// # Errors
/// A session still has it, or the role may not.
pub async fn remove(client: &Client, name: &str) -> Result<(), tokio_postgres::Error> {
    client.execute("SELECT pg_catalog.pg_replication_origin_drop($1)", &[&name]).await.map(|_| ())
}
