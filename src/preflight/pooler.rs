//! Is there a pooler in between that hands sessions round by transaction? Then settings, temporary tables and prepared statements
//! end up in somebody else's session, and replication is not passed on at all.

use super::session::beside;
use crate::pg::{self, ConnectError, Endpoint};
use std::time::Duration;
use tokio_postgres::{Client, Error};

/// A pool of one server session lets only one of our two transactions begin.
const PATIENCE: Duration = Duration::from_secs(3);

/// Tries it with two sessions: while each has a transaction open they hold different server sessions; when both have ended theirs, one
/// after the other, a pooler gives the session that was freed last to whoever asks first.
pub(super) async fn by_transaction(endpoint: &Endpoint, application: &str) -> Result<bool, ConnectError> {
    let (one, two) = tokio::try_join!(pg::connect(endpoint, application), pg::connect(endpoint, application))?;
    let several_hosts = one.host != two.host;
    let swaps = beside(vec![one.driver, two.driver], swap(one.client, two.client)).await;
    // An error here comes up again where it matters more; two servers cannot swap.
    Ok(!several_hosts && swaps.unwrap_or(false))
}

async fn swap(one: Client, two: Client) -> Result<bool, Error> {
    for _ in 0..2 {
        let first = begin(&one).await?;
        let Ok(second) = tokio::time::timeout(PATIENCE, begin(&two)).await else { return Ok(true) };
        let second = second?;
        one.batch_execute("COMMIT").await?;
        two.batch_execute("COMMIT").await?;
        if begin(&one).await? != first {
            return Ok(true);
        }
        one.batch_execute("COMMIT").await?;
        if begin(&two).await? != second {
            return Ok(true);
        }
        two.batch_execute("COMMIT").await?;
    }
    Ok(false)
}

/// The server session that this transaction runs in. One message: a pooler sees a transaction from its first byte.
async fn begin(client: &Client) -> Result<String, Error> {
    let answer = client.simple_query("BEGIN; SELECT pg_catalog.pg_backend_pid()").await?;
    let pid = answer.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(pid.unwrap_or_default())
}
