//! The local log's one writer: whole source transactions, in commit order, many to one target transaction, the checkpoint in each.
//! The slot is confirmed only up to what the target has committed.

use super::board::Board;
use super::gate::{Gate, Gates};
use super::gather::Bundle;
use super::holdup::Busy;
use crate::apply::{Applier, ApplyError, Halt, Item};
use crate::change::{EndLsn, Op};
use crate::fate::Fate;
use crate::store::{StoreError, checkpoint, table_state};
use crate::target::{Session, TargetError};
use crate::telemetry::{Meter, Stage};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The writer had to stop.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LocalError {
    pub fn fate(&self) -> Fate {
        match self {
            LocalError::Apply(error) => error.fate(),
            LocalError::Target(error) => error.fate(),
            LocalError::Store(error) => error.fate(),
        }
    }
}

/// The writer, its session and the tables' gates.
pub struct LocalWriter {
    pub connector: String,
    pub session: Session,
    pub epoch: i64,
    pub applier: Applier,
    pub gates: Gates,
    pub meter: Arc<Meter>,
    pub board: Arc<Board>,
    /// A target transaction is open, with a part of a large source transaction in it.
    pub open: bool,
    /// How far the checkpoint is durable.
    pub durable: EndLsn,
    /// Tells that a statement of ours runs, for whoever looks what holds it up.
    pub busy: Arc<Busy>,
    /// Changes by table in the open target transaction: inserts, updates, deletes, truncates.
    pub counts: Vec<[u64; 4]>,
    /// When the open target transaction's first part was handed to us.
    pub started: Option<Instant>,
}

impl LocalWriter {
    /// Writes a bundle. Gives how far the slot may be confirmed now, if the target committed something.
    ///
    /// # Errors
    /// The session is to be thrown away: nothing after the last commit is in the target.
    pub async fn write(&mut self, bundle: Bundle) -> Result<Option<EndLsn>, LocalError> {
        let mut items = bundle.items;
        items.retain(|item| self.gates.wants(item.plan, item.change.position));
        if items.is_empty() && !self.open {
            return self.pass_over(&Bundle { items, ..bundle }).await;
        }
        let busy = Arc::clone(&self.busy);
        let _busy = busy.begin();
        let started = *self.started.get_or_insert_with(Instant::now);
        let moved_already = self.begin(bundle.complete.as_ref()).await?;
        let applied = self.applier.apply(&mut self.session, &items).await?;
        for halt in applied.halts {
            self.halt(halt, &items).await?;
        }
        self.count(&items);
        let Some(moved) = bundle.complete else { return Ok(None) };
        self.advance(moved, moved_already).await?;
        let commit = Instant::now();
        self.commit().await?;
        self.started = None;
        let rows = self.tell_counts();
        self.meter.batch(rows, commit.elapsed());
        self.meter.settled(moved.position.commit);
        self.meter.lag_since(Stage::EndToEnd, &bundle.commits);
        self.meter.lags(Stage::Apply, started.elapsed(), bundle.commits.len());
        let queued = bundle.received.map_or(Duration::ZERO, |received| started - received);
        self.meter.lags(Stage::Log, queued, bundle.commits.len());
        Ok(Some(self.gates.confirmable()))
    }

    /// Transactions without anything for us: noted at once where somebody waits, else with the next tick.
    async fn pass_over(&mut self, bundle: &Bundle) -> Result<Option<EndLsn>, LocalError> {
        let mut moved = Vec::new();
        if let Some(complete) = &bundle.complete {
            moved.extend(self.gates.passed(complete.position, complete.end));
            self.meter.settled(complete.position.commit);
        }
        if let Some(end) = bundle.idle {
            moved.extend(self.gates.idle(end));
        }
        if moved.is_empty() && !bundle.marked {
            return Ok(None);
        }
        self.record(moved).await
    }

    /// Makes durable what was only passed over. Call it about once a second.
    ///
    /// # Errors
    /// As `write`.
    pub async fn tick(&mut self) -> Result<Option<EndLsn>, LocalError> {
        if self.open || self.gates.end() <= self.durable { Ok(None) } else { self.record(Vec::new()).await }
    }

    async fn record(&mut self, moved: Vec<(usize, Option<crate::change::Position>)>) -> Result<Option<EndLsn>, LocalError> {
        let busy = Arc::clone(&self.busy);
        let _busy = busy.begin();
        self.session.frame("BEGIN").await?;
        self.open = true;
        self.move_checkpoint(self.gates.checkpoint(), self.gates.end(), None).await?;
        self.note(moved).await?;
        self.commit().await?;
        Ok(Some(self.gates.confirmable()))
    }

    /// Opens the target transaction and holds the checkpoint's row: nobody else can write until we commit. Gives whether the
    /// checkpoint has moved to where the transaction will end.
    async fn begin(&mut self, complete: Option<&checkpoint::LocalMove>) -> Result<bool, LocalError> {
        if self.open {
            return Ok(false);
        }
        self.open = true;
        let fresh = complete.filter(|moved| !self.gates.is_replay(moved.position));
        let (position, end) = fresh.map_or((self.gates.checkpoint(), self.gates.end()), |moved| (moved.position, moved.end));
        let at = fresh.map(|moved| moved.committed_at);
        // sent together: one round trip
        let begun = self.session.frame("BEGIN");
        let moved = self.move_checkpoint(position, end, at);
        let (begun, moved) = futures_util::join!(begun, moved);
        begun?;
        moved?;
        Ok(fresh.is_some())
    }

    async fn move_checkpoint(
        &self,
        position: crate::change::Position,
        end: EndLsn,
        committed_at: Option<i64>,
    ) -> Result<(), LocalError> {
        let (position, end) = (position.to_string(), end.to_string());
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&self.connector, &self.epoch, &position, &end, &committed_at];
        let sql = checkpoint::MOVE_LOCAL;
        let moved = self.session.control(sql, &params).await?;
        if moved == 1 { Ok(()) } else { Err(TargetError::Fenced.into()) }
    }

    /// The source transaction is whole: moves gates, and the checkpoint if the transaction began before its end was known.
    async fn advance(&mut self, moved: checkpoint::LocalMove, moved_already: bool) -> Result<(), LocalError> {
        let done = moved_already || self.gates.is_replay(moved.position);
        let changed = self.gates.passed(moved.position, moved.end);
        self.note(changed).await?;
        if !done {
            self.move_checkpoint(moved.position, moved.end, Some(moved.committed_at)).await?;
        }
        Ok(())
    }

    /// Records what tables that catch up lack now.
    async fn note(&mut self, moved: Vec<(usize, Option<crate::change::Position>)>) -> Result<(), LocalError> {
        for (table, lacks) in moved {
            let target = &self.applier.plans[table].target;
            table_state::advance(self.session.client(), &self.connector, target, lacks).await?;
            self.board.resumed(target);
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), LocalError> {
        self.session.frame("COMMIT").await?;
        self.open = false;
        self.durable = self.gates.end();
        self.board.applied(self.gates.checkpoint(), self.gates.end(), self.gates.consistent());
        Ok(())
    }

    async fn halt(&mut self, halt: Halt, items: &[Item]) -> Result<(), LocalError> {
        let plan = &self.applier.plans[halt.plan];
        tracing::error!(table = %plan.target, position = %halt.position, "table halted: {}\n  hint: {}", halt.because, halt.hint);
        let halted = table_state::Halted { because: halt.because.clone(), hint: halt.hint.clone() };
        let client = self.session.client();
        table_state::halt(client, &self.connector, &plan.target, Some(halt.position), &halted).await?;
        self.gates.halt(halt.plan, halt.position);
        let mut failed = items.iter().find(|item| item.plan == halt.plan && item.change.position == halt.position).cloned();
        if let Some(item) = &mut failed {
            item.change.detach();
        }
        self.board.halted(&plan.target, halted, failed);
        Ok(())
    }

    fn count(&mut self, items: &[Item]) {
        for item in items {
            let halted = matches!(self.gates.gate(item.plan), Gate::Halted(from) if item.change.position >= from);
            let op = match item.change.op {
                Op::Read | Op::Insert => 0,
                Op::Update => 1,
                Op::Delete => 2,
                Op::Truncate => 3,
            };
            self.counts[item.plan][op] += u64::from(!halted);
        }
    }

    /// What was counted is in the target now. Gives how much that was.
    fn tell_counts(&mut self) -> usize {
        let mut rows = 0;
        for (table, counts) in self.counts.iter_mut().enumerate() {
            for (op, count) in [Op::Insert, Op::Update, Op::Delete, Op::Truncate].into_iter().zip(counts) {
                let count = std::mem::take(count);
                if count > 0 {
                    self.meter.changes(Stage::Apply, table, op, count);
                    rows += usize::try_from(count).unwrap_or(usize::MAX);
                }
            }
        }
        rows
    }
}
