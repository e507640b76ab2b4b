//! Ordinary sessions whose drivers run as tasks of ours.

use super::Tasks;
use crate::pg::{self, ConnectError, Connected, Endpoint};
use tokio_postgres::Client;

/// Opens a session; its driver ends with the tasks' handle.
///
/// # Errors
/// See [`ConnectError`].
pub async fn open(tasks: &Tasks, endpoint: &Endpoint, application: &str) -> Result<Client, ConnectError> {
    Ok(driven(tasks, pg::connect(endpoint, application).await?))
}

/// Opens a session that sends a COPY of any length.
///
/// # Errors
/// See [`ConnectError`].
pub async fn open_for_copy_in(tasks: &Tasks, endpoint: &Endpoint, application: &str) -> Result<Client, ConnectError> {
    Ok(driven(tasks, pg::connect_for_copy_in(endpoint, application).await?))
}

fn driven(tasks: &Tasks, connected: Connected) -> Client {
    tasks.start(async move {
        if let Err(error) = connected.driver.await {
            tracing::debug!(%error, "a session ended");
        }
    });
    connected.client
}
