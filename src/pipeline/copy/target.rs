//! The local log's side of a chunk: its rows and its progress, in one target transaction, while the stream's writer stands still.

use super::pipe::{Piped, pipe};
use super::source::{ChunkSource, Reading, failed};
use super::work::Task;
use super::{ChunkError, Rereads, Sink, Sinks, refused, sift};
use crate::change::EndLsn;
use crate::config::{Connector, Triggers};
use crate::mapping::{CopyForm, TablePlan};
use crate::pg::quote;
use crate::pipeline::board::Board;
use crate::pipeline::holdup::{Busy, Side};
use crate::pipeline::run::DURABLE;
use crate::pipeline::turn::ChunkTurn;
use crate::pipeline::window::Window;
use crate::pipeline::{PipelineError, Tasks, session};
use crate::store::copy_range;
use crate::store::reread;
use crate::target::{TargetError, origin};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Client;

/// A chunk that the stream waits for is given up after so long.
const PATIENCE: Duration = Duration::from_secs(1);
/// In a turn: the stream waits too.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '300ms'";
/// Beside the stream, whose own transaction, however long, comes before the record of our progress.
const BEGIN_ASIDE: &str = "BEGIN; SET LOCAL lock_timeout = 0";

/// A session that writes chunks.
pub struct ChunkTarget {
    client: Client,
    connector: String,
    epoch: i64,
    plans: Arc<Vec<TablePlan>>,
    /// Plans that have their staging table here.
    staged: BTreeSet<usize>,
    triggers_fire: bool,
    window: Window,
    pub busy: Arc<Busy>,
    _tasks: Tasks,
}

/// Opens them.
pub struct Targets {
    pub connector: Arc<Connector>,
    pub epoch: i64,
    pub plans: Arc<Vec<TablePlan>>,
    pub window: Window,
    pub board: Arc<Board>,
}

impl Sinks for Targets {
    type Sink = ChunkTarget;

    async fn open(&self) -> Result<ChunkTarget, PipelineError> {
        let Self { connector, epoch, plans, window, board } = self;
        let tasks = Tasks::default();
        let name = connector.object_name();
        let endpoint = &connector.target.endpoint;
        let client = session::open_for_copy_in(&tasks, endpoint, &name).await.map_err(PipelineError::Target)?;
        let settings = format!(
            "{DURABLE}; SET lock_timeout = '2s'; {}",
            if connector.target.triggers == Triggers::Off { "SET session_replication_role = replica" } else { "" }
        );
        client.batch_execute(&settings).await.map_err(at_target)?;
        origin::carry(&client, &name, Duration::ZERO).await;
        let busy = Busy::of(&client, Side::Target, None, board).await?;
        let (name, plans) = (connector.name.clone(), Arc::clone(plans));
        Ok(ChunkTarget {
            client,
            connector: name,
            epoch: *epoch,
            plans,
            staged: BTreeSet::new(),
            triggers_fire: connector.target.triggers == Triggers::Fire,
            window: window.clone(),
            busy,
            _tasks: tasks,
        })
    }
}

impl ChunkTarget {
    /// The staging table of a plan, made once a session.
    async fn staging(&mut self, number: usize) -> Result<String, PipelineError> {
        let plan = &self.plans[number];
        let name = format!("pg_temp.tablelift_staging_{number}");
        if self.staged.insert(number) {
            let sql = format!("CREATE TEMP TABLE tablelift_staging_{number} ({}) ON COMMIT DELETE ROWS", plan.staging_columns());
            let made = self.client.batch_execute(&sql).await.map_err(|source| refused(plan, source));
            if made.is_err() {
                self.staged.remove(&number);
            }
            made?;
        }
        Ok(name)
    }

    /// Ends requests, and the transaction.
    async fn done(&self, plan: &TablePlan, ids: &[i64], until: EndLsn) -> Result<(), PipelineError> {
        TargetError::fenced_unless(reread::done(&self.client, &self.connector, self.epoch, &plan.target, ids, until).await?)?;
        self.client.batch_execute("COMMIT").await.map_err(|source| refused(plan, source))
    }

    /// Says which column it is about, where that can be told.
    async fn blamed(&self, plan: &TablePlan, staging: &str, error: PipelineError) -> Result<PipelineError, PipelineError> {
        let error = match error {
            PipelineError::Session(error) if error.is_about_a_value() => error,
            other => return Ok(other),
        };
        for output in plan.blamable(&Vec::new()) {
            self.client.batch_execute("ROLLBACK TO SAVEPOINT tablelift_rows").await.map_err(at_target)?;
            if self.client.batch_execute(&plan.probe(output, staging)).await.is_err() {
                let blamed = TargetError::Blamed { about: plan.blamed(output), source: Box::new(error) };
                return Ok(PipelineError::Session(blamed));
            }
        }
        Ok(PipelineError::Session(error))
    }

    async fn pour(
        &mut self,
        task: &Task,
        source: &ChunkSource,
        reading: &Reading,
        turn: &ChunkTurn,
    ) -> Result<Piped, ChunkError> {
        let plan = Arc::clone(&self.plans);
        let plan = &plan[task.number];
        let form = if task.merge || task.sift { CopyForm::Staging } else { plan.copy_form() };
        let staging = if form == CopyForm::Staging { self.staging(task.number).await? } else { String::new() };
        let refused = |source| refused(plan, source);
        let begin = if turn.is_released() { BEGIN_ASIDE } else { BEGIN };
        self.client.batch_execute(begin).await.map_err(refused)?;
        let copy_out = plan.copy_out(&reading.relation, &reading.condition, form);
        let copy_in = plan.copy_in(&staging, form);
        let begun = Instant::now();
        let least = task.units == 1;
        let mut last = Piped::default();
        let go_on = |piped| {
            // one block may take its time, but not stand still
            let moves = least && std::mem::replace(&mut last, piped) != piped;
            moves || !turn.is_waited_for() || begun.elapsed() < PATIENCE
        };
        let piped = pipe((&source.client, &copy_out), (&self.client, &copy_in), failed, refused, go_on).await?;
        let mut piped = piped.ok_or(ChunkError::TooLong)?;
        if task.sift {
            self.client.batch_execute(sift::AT_ONCE).await.map_err(refused)?;
            let sifted = sift::bring(&self.client, plan, &staging).await?;
            if !sifted.left.is_empty() {
                let left: Vec<&Vec<String>> = sifted.left.iter().collect();
                reread::add(&self.client, &self.connector, &plan.target, &left).await.map_err(PipelineError::from)?;
                self.window.asks(task.number, sifted.left);
            }
        } else if form == CopyForm::Staging {
            let sql = if task.merge { plan.upsert_from(&staging) } else { plan.insert_from(&staging) };
            self.client.batch_execute("SAVEPOINT tablelift_rows").await.map_err(refused)?;
            piped.rows = match self.client.execute(&sql, &[]).await.map_err(refused) {
                Ok(rows) => rows,
                Err(error) => return Err(self.blamed(plan, &staging, error).await?.into()),
            };
        }
        Ok(piped)
    }
}

impl Sink for ChunkTarget {
    async fn unlocked(&mut self, number: usize) -> Result<(), PipelineError> {
        let busy = Arc::clone(&self.busy);
        let _busy = busy.begin();
        let plan = &self.plans[number];
        // not held until the turn comes: a TRUNCATE of the stream may come first
        let sql = format!("BEGIN; LOCK TABLE {} IN ROW EXCLUSIVE MODE; ROLLBACK", quote::table(&plan.into));
        self.client.batch_execute(&sql).await.map_err(|source| refused(plan, source))
    }

    async fn bring(
        &mut self,
        task: &Task,
        source: &ChunkSource,
        reading: &Reading,
        turn: &ChunkTurn,
    ) -> Result<Piped, ChunkError> {
        let busy = Arc::clone(&self.busy);
        let _busy = busy.begin();
        let piped = self.pour(task, source, reading, turn).await?;
        let moved = task.moved(&reading.chunk, piped);
        let ours = copy_range::advance(&self.client, &self.connector, self.epoch, &moved).await.map_err(PipelineError::from)?;
        TargetError::fenced_unless(ours).map_err(PipelineError::from)?;
        let plan = &self.plans[task.number];
        self.client.batch_execute("COMMIT").await.map_err(|source| refused(plan, source))?;
        Ok(piped)
    }

    async fn reread(&mut self, rereads: &Rereads<'_>, source: &ChunkSource, until: EndLsn) -> Result<Vec<i64>, ChunkError> {
        let plans = Arc::clone(&self.plans);
        let plan = &plans[rereads.number];
        let busy = Arc::clone(&self.busy);
        let _busy = busy.begin();
        let refused = |source| refused(plan, source);
        let staging = self.staging(rereads.number).await?;
        self.client.batch_execute(BEGIN).await.map_err(refused)?;
        if self.triggers_fire {
            self.client.batch_execute(sift::AT_ONCE).await.map_err(refused)?;
        }
        let copy_out = plan.copy_keys_out(&rereads.keys);
        let copy_in = plan.copy_in(&staging, CopyForm::Staging);
        pipe((&source.client, &copy_out), (&self.client, &copy_in), failed, refused, |_| true).await?;
        if !broken!(AbsentStays) {
            self.client.batch_execute(&plan.delete_absent(&staging, &rereads.keys)).await.map_err(refused)?;
        }
        if self.triggers_fire {
            // what hangs on the rows would go if they did
            let sifted = sift::bring(&self.client, plan, &staging).await?;
            let left = rereads.ids_of(&sifted.left);
            return match sifted.refusal {
                Some(refusal) if left.len() == rereads.ids.len() => Err(refusal.into()),
                _ => {
                    let done: Vec<i64> = rereads.ids.iter().copied().filter(|id| !left.contains(id)).collect();
                    self.done(plan, &done, until).await?;
                    Ok(left)
                }
            };
        }
        self.client.batch_execute("SAVEPOINT tablelift_rows").await.map_err(refused)?;
        if let Err(error) = self.client.batch_execute(&plan.upsert_from(&staging)).await.map_err(refused) {
            if !sift::may_pass(&error) {
                return Err(error.into());
            }
            // values of a secondary key changed hands among the rows: all out, then all in
            self.client.batch_execute("ROLLBACK TO SAVEPOINT tablelift_rows").await.map_err(refused)?;
            self.client.batch_execute(&plan.delete_keys(&rereads.keys)).await.map_err(refused)?;
            self.client.batch_execute("SAVEPOINT tablelift_room").await.map_err(refused)?;
            if let Err(error) = self.client.batch_execute(&plan.insert_from(&staging)).await.map_err(refused) {
                // others that are to be read again may be in the way with what they were, as ours are in theirs: make room until ours come again
                self.client.batch_execute("ROLLBACK TO SAVEPOINT tablelift_room").await.map_err(refused)?;
                self.done(plan, &[], until).await?;
                return Err(error.into());
            }
        }
        self.done(plan, &rereads.ids, until).await?;
        Ok(Vec::new())
    }

    async fn settle(&mut self) -> Result<(), PipelineError> {
        Ok(())
    }

    async fn give_back(&mut self) -> Result<(), PipelineError> {
        self.client.batch_execute("ROLLBACK").await.map_err(at_target)
    }

    fn client(&self) -> &Client {
        &self.client
    }
}

fn at_target(source: tokio_postgres::Error) -> PipelineError {
    PipelineError::Query { side: "target", source }
}
