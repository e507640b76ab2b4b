//! One statement behind the load, on a session of its own.

use super::Traffic;
use super::standing::{Standing, standing};
use crate::change::TableName;
use crate::config::{Connector, Triggers};
use crate::ddl::{self, Kind};
use crate::pg::{fate_of, quote};
use crate::pipeline::board::Board;
use crate::pipeline::holdup::{Busy, Side};
use crate::pipeline::{PipelineError, Tasks, session};
use crate::store::after_load::{self, Open};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::{Client, Error};

/// PostgreSQL's default is made for a hundred sessions; we are few. Whoever set another value meant it.
const MEMORY: &str = "SELECT pg_catalog.set_config('maintenance_work_mem', '256MB', false)
    WHERE pg_catalog.current_setting('maintenance_work_mem') = '64MB'";
/// A build whose builder died is ended by the server, so that the next one need not wait for it. Not every platform can.
const NOTICE: &str = "SELECT pg_catalog.set_config('client_connection_check_interval', '2s', false)
    FROM pg_catalog.pg_settings WHERE name = 'client_connection_check_interval'";
/// Who waits in the queue for a strong lock stops everybody behind him.
const PATIENCE: &str = "SET lock_timeout = '5s'";
const ENDLESS: &str = "SET lock_timeout = 0";
const TRIES: u32 = 3;

pub(super) enum Outcome {
    Done,
    Failed,
    /// Another builder is at it.
    Elsewhere,
}

pub(super) struct Builder<'a> {
    connector: &'a str,
    traffic: Traffic,
    triggers_fire: bool,
    client: Client,
    busy: Arc<Busy>,
    _tasks: Tasks,
}

impl<'a> Builder<'a> {
    pub(super) async fn open(connector: &'a Connector, board: &Board, traffic: Traffic) -> Result<Self, PipelineError> {
        let tasks = Tasks::default();
        let name = connector.object_name();
        let client = session::open(&tasks, &connector.target.endpoint, &name).await.map_err(PipelineError::Target)?;
        client.batch_execute(MEMORY).await.map_err(at_target)?;
        client.batch_execute(NOTICE).await.ok();
        let busy = Busy::of(&client, Side::Target, None, board).await?;
        let triggers_fire = connector.target.triggers == Triggers::Fire;
        Ok(Self { connector: &connector.name, traffic, triggers_fire, client, busy, _tasks: tasks })
    }

    /// A table's key, if it is still to be built.
    pub(super) async fn key_of(&self, table: &TableName) -> Result<Option<Open>, PipelineError> {
        let open = after_load::open(&self.client, self.connector).await?;
        Ok(open.into_iter().find(|open| &open.table == table && open.step.kind == Kind::Key))
    }

    /// Sees to it that the statement is done. The lock is the session's, so it is held for as long as the server is at work for it.
    pub(super) async fn build(&self, open: &Open) -> Result<Outcome, PipelineError> {
        let _busy = self.busy.begin();
        let name = after_load::lock_name(self.connector, &open.table);
        let sql = "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtext($1), $2)";
        let row = self.client.query_one(sql, &[&name, &open.place]).await.map_err(at_target)?;
        if !row.get::<_, bool>(0) {
            return Ok(Outcome::Elsewhere);
        }
        let outcome = self.locked(open).await?;
        let sql = "SELECT pg_catalog.pg_advisory_unlock(pg_catalog.hashtext($1), $2)";
        self.client.query_one(sql, &[&name, &open.place]).await.map_err(at_target)?;
        Ok(outcome)
    }

    async fn locked(&self, open: &Open) -> Result<Outcome, PipelineError> {
        if !after_load::is_open(&self.client, self.connector, open).await? {
            return Ok(Outcome::Done);
        }
        let mut tries = 0;
        let refused = loop {
            match self.run(open).await {
                Ok(()) => break None,
                Err(PipelineError::Query { source, .. }) if source.as_db_error().is_some() => {
                    tries += 1;
                    if !is_lock(&source) || tries == TRIES {
                        break Some(source);
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(error) => return Err(error),
            }
        };
        let Some(error) = refused else {
            after_load::done(&self.client, self.connector, open).await?;
            tracing::info!(table = %open.table, "made: {}", open.step);
            return Ok(Outcome::Done);
        };
        self.sweep(open).await;
        let told = error.as_db_error().map(|server| (server.code().code().to_owned(), server.message().to_owned()));
        let (code, message) = told.unwrap_or_default();
        let (because, hint) = ddl::because(&open.step, &code, &message);
        if open.failed.as_ref().is_none_or(|(before, _)| *before != because) {
            tracing::warn!(table = %open.table, "{because}\n  hint: {hint}");
        }
        after_load::failed(&self.client, self.connector, open, &because, &hint).await?;
        Ok(Outcome::Failed)
    }

    async fn run(&self, open: &Open) -> Result<(), PipelineError> {
        match standing(&self.client, &open.table, &open.step).await? {
            Standing::There => return Ok(()),
            Standing::Invalid => self.drop_index(open).await?,
            Standing::Missing => {}
        }
        let beside = self.traffic == Traffic::Flowing;
        let weak = matches!(open.step.kind, Kind::Analyze | Kind::Validate) || open.step.kind == Kind::Index && beside;
        self.execute(if weak { ENDLESS } else { PATIENCE }).await?;
        let sql = if beside { open.step.beside_writers() } else { open.step.sql.as_str().into() };
        match self.execute(&sql).await {
            Err(PipelineError::Query { source, .. }) if open.step.kind == Kind::Key && is_unique(&source) => {
                let Some(columns) = &open.step.unique else { return Err(at_target(source)) };
                self.remove_doubles(open, columns).await?;
                self.execute(&sql).await
            }
            built => built,
        }
    }

    /// Rows that moved in the source while they were loaded may have come twice. Either will do: the change that moved them is still
    /// to come.
    async fn remove_doubles(&self, open: &Open, columns: &[String]) -> Result<(), PipelineError> {
        let table = quote::table(&open.table);
        let columns: Vec<String> = columns.iter().map(|name| quote::ident(name)).collect();
        let triggers = if self.triggers_fire { "" } else { "SET LOCAL session_replication_role = replica;" };
        tracing::info!(table = %open.table, "rows that came twice are removed, then its key is built");
        // where all tables are published a row is deleted only by an identity, and there is no key yet
        let removed = self
            .execute(&format!(
                "BEGIN; {triggers} ALTER TABLE {table} REPLICA IDENTITY FULL;
                 DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM (SELECT ctid, pg_catalog.row_number() OVER (PARTITION BY {}) AS nth
                     FROM {table}) AS numbered WHERE nth > 1);
                 ALTER TABLE {table} REPLICA IDENTITY DEFAULT; COMMIT",
                columns.join(", ")
            ))
            .await;
        if removed.is_err() {
            self.execute("ROLLBACK").await?;
        }
        removed
    }

    /// One of ours that was not built to its end. A unique one would go on refusing rows.
    async fn drop_index(&self, open: &Open) -> Result<(), PipelineError> {
        let concurrently = if self.traffic == Traffic::Flowing { "CONCURRENTLY " } else { "" };
        let (schema, name) = (quote::ident(&open.table.schema), quote::ident(&open.step.name));
        self.execute("SET lock_timeout = '60s'").await?;
        self.execute(&format!("DROP INDEX {concurrently}{schema}.{name}")).await
    }

    /// After a build that failed.
    async fn sweep(&self, open: &Open) {
        if let Ok(Standing::Invalid) = standing(&self.client, &open.table, &open.step).await
            && let Err(error) = self.drop_index(open).await
        {
            tracing::debug!(error = %crate::pipeline::chain(&error), "an index that was not built to its end stays for now");
        }
    }

    async fn execute(&self, sql: &str) -> Result<(), PipelineError> {
        self.client.batch_execute(sql).await.map_err(at_target)
    }
}

/// Somebody else's lock, and not the end of the session.
fn is_lock(error: &Error) -> bool {
    let code = error.as_db_error().map(|server| server.code().code());
    matches!(code, Some("55P03" | "40P01")) && fate_of(error) == crate::fate::Fate::Retry
}

fn is_unique(error: &Error) -> bool {
    error.as_db_error().is_some_and(|server| server.code().code() == "23505")
}

pub(super) fn at_target(source: Error) -> PipelineError {
    PipelineError::Query { side: "target", source }
}
