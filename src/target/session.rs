//! The session: what is prepared, and how statements are sent.

use super::{Rows, TargetError};
use crate::mapping::{Statement, TablePlan};
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, SinkExt};
use hashbrown::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

/// How much of a COPY is handed to the socket at once, in bytes.
const COPY_CHUNK: usize = 64 * 1024;

/// The text of a source key's columns, in its order.
pub type SourceKey = Vec<String>;

type Owed = BoxFuture<'static, Result<(), TargetError>>;

/// One session on the target. Statements are prepared on first use; plans are told apart by their number.
pub struct Session {
    client: Arc<Client>,
    /// Answers that nobody has waited for yet.
    owed: Mutex<Vec<Owed>>,
    prepared: HashMap<(usize, Statement), tokio_postgres::Statement>,
    controls: HashMap<&'static str, tokio_postgres::Statement>,
}

impl Session {
    pub fn new(client: Client) -> Self {
        Self { client: Arc::new(client), owed: Mutex::default(), prepared: HashMap::new(), controls: HashMap::new() }
    }

    /// For the control tables, whose statements belong into the same transaction.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Runs a transaction's frame: `BEGIN`, `COMMIT`, `SAVEPOINT` ...
    ///
    /// # Errors
    /// See [`TargetError`].
    pub async fn frame(&self, sql: &'static str) -> Result<(), TargetError> {
        let done = self.client.batch_execute(sql).await.map_err(|source| TargetError::Session { action: sql, source });
        self.settle().await.and(done)
    }

    /// Sends a part of a transaction's frame and waits for nothing: one round trip less. Whoever runs something next is told of its
    /// error; a COMMIT too, which alone would not say that it became a rollback.
    pub fn ahead(&self, sql: &'static str) {
        let client = Arc::clone(&self.client);
        let mut sent: Owed =
            Box::pin(
                async move { client.batch_execute(sql).await.map_err(|source| TargetError::Session { action: sql, source }) },
            );
        // the first poll sends it
        let owed: Owed = match (&mut sent).now_or_never() {
            Some(done) => Box::pin(std::future::ready(done)),
            None => sent,
        };
        self.owed().push(owed);
    }

    fn owed(&self) -> MutexGuard<'_, Vec<Owed>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answers to what was sent ahead: the server gives them in order, so what was run since has brought them.
    async fn settle(&self) -> Result<(), TargetError> {
        let owed = std::mem::take(&mut *self.owed());
        for answer in owed {
            answer.await?;
        }
        Ok(())
    }

    /// Prepares a statement on the control tables, once.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub async fn prepare_control(&mut self, sql: &'static str) -> Result<(), TargetError> {
        let refused = |source| TargetError::Session { action: "a statement on the control tables", source };
        if !self.controls.contains_key(sql) {
            self.controls.insert(sql, self.client.prepare(sql).await.map_err(refused)?);
        }
        Ok(())
    }

    /// Runs a statement that `prepare_control` prepared. Gives the rows affected.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub async fn control(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<u64, TargetError> {
        let prepared = self.controls.get(sql).expect("every control statement is prepared when the session is opened");
        let done = self.client.execute(prepared, params).await;
        self.settle().await?;
        done.map_err(|source| TargetError::Session { action: "a checkpoint", source })
    }

    /// Runs a plan's statement over rows. Gives the source keys of rows whose base is missing, of `Update` and `Move`; of `DeleteOne`, which
    /// has no key, that is an error.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub async fn run(
        &mut self,
        number: usize,
        plan: &TablePlan,
        statement: &Statement,
        rows: &Rows<'_>,
    ) -> Result<Vec<SourceKey>, TargetError> {
        let done = self.send(number, plan, statement, rows).await;
        self.settle().await.and(done)
    }

    async fn send(
        &mut self,
        number: usize,
        plan: &TablePlan,
        statement: &Statement,
        rows: &Rows<'_>,
    ) -> Result<Vec<SourceKey>, TargetError> {
        if *statement == Statement::CopyIn {
            self.copy(number, plan, rows).await?;
            return Ok(Vec::new());
        }
        let prepared = self.prepare(number, plan, statement).await?;
        let bare = bare(plan, statement);
        let columns: Vec<_> = (0..rows.width()).map(|at| rows.column(at, bare[at])).collect();
        let count = i64::try_from(rows.len()).expect("few rows");
        let mut params: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
        if plan.carried(statement).is_empty() {
            params.insert(0, &count);
        }
        let refused = |source| TargetError::Refused { table: plan.target.clone(), source };
        match statement {
            Statement::Update(_) | Statement::Move(_) | Statement::Rekey(_) => {
                let missing = self.client.query(&prepared, &params).await.map_err(refused)?;
                Ok(missing.iter().map(|row| row.get(0)).collect())
            }
            Statement::DeleteOne => {
                let missing: i64 = self.client.query_one(&prepared, &params).await.map_err(refused)?.get(0);
                if missing == 0 { Ok(Vec::new()) } else { Err(TargetError::MissingBase { table: plan.target.clone() }) }
            }
            _ => {
                self.client.execute(&prepared, &params).await.map_err(refused)?;
                Ok(Vec::new())
            }
        }
    }

    async fn prepare(
        &mut self,
        number: usize,
        plan: &TablePlan,
        statement: &Statement,
    ) -> Result<tokio_postgres::Statement, TargetError> {
        let key = (number, statement.clone());
        if let Some(found) = self.prepared.get(&key) {
            return Ok(found.clone());
        }
        let text = plan.sql(statement).map_err(|source| TargetError::NotSupplied { table: plan.target.clone(), source })?;
        let refused = |source| TargetError::Refused { table: plan.target.clone(), source };
        let prepared = self.client.prepare(&text).await.map_err(refused)?;
        self.prepared.insert(key, prepared.clone());
        Ok(prepared)
    }

    async fn copy(&mut self, number: usize, plan: &TablePlan, rows: &Rows<'_>) -> Result<(), TargetError> {
        let refused = |source| TargetError::Refused { table: plan.target.clone(), source };
        let prepared = self.prepare(number, plan, &Statement::CopyIn).await?;
        let columns: Vec<usize> = plan.outputs.iter().filter_map(|output| output.plain).collect();
        let sink = self.client.copy_in::<_, Bytes>(&prepared).await.map_err(refused)?;
        tokio::pin!(sink);
        let mut chunk = BytesMut::with_capacity(COPY_CHUNK + COPY_CHUNK / 4);
        for row in 0..rows.len() {
            rows.copy_line(row, &columns, &mut chunk);
            if chunk.len() >= COPY_CHUNK && sink.send(chunk.split().freeze()).await.is_err() {
                break; // the reason comes with `finish`
            }
        }
        if !chunk.is_empty() {
            sink.send(chunk.freeze()).await.ok();
        }
        sink.finish().await.map_err(refused)?;
        Ok(())
    }

    /// Forgets what was prepared, after a table's structure may have changed.
    pub fn forget(&mut self) {
        self.prepared.clear();
    }
}

/// Which parameters need no quotes in their array.
fn bare(plan: &TablePlan, statement: &Statement) -> Vec<bool> {
    let old_key: &[usize] = if matches!(statement, Statement::Move(_) | Statement::Rekey(_)) { &plan.key } else { &[] };
    let is_bare = |&input: &usize| plan.inputs[input].integer;
    plan.carried(statement).iter().chain(old_key).map(is_bare).collect()
}
