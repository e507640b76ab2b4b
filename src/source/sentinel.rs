//! An idle ordinary session that tells when the source begins to shut down: the server ends ordinary sessions first, while its
//! walsenders go on until all is sent, for as long as that takes. So a stalled stream would hold up the shutdown unnoticed.

use super::SourceError;
use crate::pg::{self, ConnectError, Connected, Endpoint};
use std::time::Duration;
use tokio::{sync::watch, time::sleep};

const AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Sentinel {
    endpoint: Endpoint,
    application: String,
    session: Connected,
    leaving: watch::Sender<bool>,
}

impl Sentinel {
    /// Opens the session on the host at `host`, the one of the stream.
    pub(super) async fn post(endpoint: &Endpoint, host: usize, application: &str) -> Result<Self, SourceError> {
        let endpoint = Endpoint {
            hosts: vec![endpoint.hosts[host].clone()],
            passwords: vec![endpoint.passwords.get(host).cloned().flatten()],
            ..endpoint.clone()
        };
        let session = pg::connect(&endpoint, application).await?;
        Ok(Self { endpoint, application: application.to_owned(), session, leaving: watch::Sender::new(false) })
    }

    /// Changes when the source shuts down.
    pub(super) fn signal(&self) -> watch::Receiver<bool> {
        self.leaving.subscribe()
    }

    /// Runs until the source shuts down or nobody listens.
    pub(super) async fn run(mut self) {
        let leaving = self.leaving.clone();
        tokio::select! {
            () = leaving.closed() => {}
            () = self.watch() => drop(leaving.send(true)),
        }
    }

    /// A session can also end for a reason of its own: then the server lets us in again.
    async fn watch(&mut self) {
        loop {
            (&mut self.session.driver).await.ok(); // how it ended says less than what comes next
            loop {
                match Box::pin(pg::connect(&self.endpoint, &self.application)).await {
                    Ok(session) => break self.session = session,
                    Err(error) if is_leaving(&error) => return,
                    Err(_) => sleep(AGAIN).await,
                }
            }
        }
    }
}

/// The server says that it shuts down, or is not there. With any other no it is there and stays.
fn is_leaving(error: &ConnectError) -> bool {
    error.sqlstate().is_none_or(|sqlstate| sqlstate.starts_with("57P"))
}
