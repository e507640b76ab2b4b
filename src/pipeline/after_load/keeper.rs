//! Sees to what is still open: left by an earlier life, tried in vain, or waiting for another table. Runs beside the stream.

use super::loaded::Loaded;
use super::{Finished, SESSIONS, Traffic, finish, is_due, states};
use crate::change::TableName;
use crate::config::Connector;
use crate::pipeline::board::Board;
use crate::pipeline::{PipelineError, Tasks, session};
use crate::store::after_load::{self, Open};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// A new life begins with what its stream has; only then is anything built.
const EVERY: Duration = Duration::from_secs(2);

/// Builds what can be built, until nothing is open. `copying`: tables whose copy ends in this life, and with it what can be built then.
pub async fn keep(connector: Arc<Connector>, board: Arc<Board>, copying: Vec<TableName>) {
    let mut keeper = Keeper { connector, board, copying, loaded: Loaded::default(), asked: None };
    loop {
        tokio::time::sleep(EVERY).await;
        match keeper.round().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::debug!(error = %crate::pipeline::chain(&error), "what follows the loads waits");
                keeper.asked = None;
            }
        }
    }
}

struct Keeper {
    connector: Arc<Connector>,
    board: Arc<Board>,
    copying: Vec<TableName>,
    loaded: Loaded,
    asked: Option<(Tasks, Client)>,
}

impl Keeper {
    /// False: nothing is open any more.
    async fn round(&mut self) -> Result<bool, PipelineError> {
        if self.asked.is_none() {
            let tasks = Tasks::default();
            let (endpoint, name) = (&self.connector.target.endpoint, self.connector.object_name());
            let client = session::open(&tasks, endpoint, &name).await.map_err(PipelineError::Target)?;
            self.asked = Some((tasks, client));
        }
        let Some((_, client)) = &self.asked else { return Ok(true) };
        let open = after_load::open(client, &self.connector.name).await?;
        if open.is_empty() {
            return Ok(false);
        }
        let mut loaded = self.loaded.tables(client, &self.connector).await?;
        let untouched = |table: &TableName| !open.iter().any(|one: &Open| &one.table == table && one.tried.is_some());
        loaded.retain(|table| !(self.copying.contains(table) && untouched(table)));
        let states = states(client, &self.connector).await?;
        if open.iter().any(|one| is_due(one, &loaded, &states)) {
            finish(&self.connector, &self.board, &loaded, SESSIONS, Traffic::Flowing).await?;
        }
        Ok(true)
    }
}

/// Everything that can be built now, at the end of a run whose target holds what it was to hold.
///
/// # Errors
/// The target is away.
pub async fn finish_all(connector: &Connector, board: &Board) -> Result<Finished, PipelineError> {
    loop {
        let loaded = {
            let tasks = Tasks::default();
            let (endpoint, name) = (&connector.target.endpoint, connector.object_name());
            let client = session::open(&tasks, endpoint, &name).await.map_err(PipelineError::Target)?;
            Loaded::default().tables(&client, connector).await?
        };
        let finished = finish(connector, board, &loaded, SESSIONS, Traffic::Flowing).await?;
        if finished.elsewhere == 0 {
            return Ok(finished);
        }
        tokio::time::sleep(EVERY).await;
    }
}
