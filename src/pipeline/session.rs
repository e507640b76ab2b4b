//! Ordinary sessions whose drivers run as tasks of ours.

use super::Tasks;
use crate::pg::{self, ConnectError, Endpoint};
use tokio_postgres::Client;

/// Opens a session; its driver ends with the tasks' handle.
///
/// # Errors
/// See [`ConnectError`].
pub async fn open(tasks: &Tasks, endpoint: &Endpoint, application: &str) -> Result<Client, ConnectError> {
    let connected = pg::connect(endpoint, application).await?;
    tasks.start(async move {
        if let Err(error) = connected.driver.await {
            tracing::debug!(%error, "a session ended");
        }
    });
    Ok(connected.client)
}
