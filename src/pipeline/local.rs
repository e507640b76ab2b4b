//! The local log's one writer: whole source transactions, in commit order, many to one target transaction, the checkpoint in each.
//! The slot is confirmed only up to what the target has committed.

pub mod copies;
mod refused;

use super::board::Board;
use super::gate::{Gate, Gates};
use super::gather::Bundle;
use super::holdup::Busy;
use super::turn::{StreamTurn, Turns};
use super::window::Window;
use crate::apply::{self, Applier, ApplyError, Halt, Item, Reread};
use crate::change::{EndLsn, Op, Position, Row, TableName, UnixMicros};
use crate::fate::Fate;
use crate::mapping::KeyText;
use crate::store::checkpoint::{self, LocalMove};
use crate::store::{StoreError, reread, table_state};
use crate::target::{Session, TargetError};
use crate::telemetry::{Meter, Stage};
use std::collections::BTreeMap;
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
    /// A large source transaction is refused as a whole, and is to be read again without these tables, which are halted.
    #[error("the target refused the end of a large transaction")]
    Apart(Vec<TableName>),
}

impl LocalError {
    pub fn fate(&self) -> Fate {
        match self {
            LocalError::Apply(error) => error.fate(),
            LocalError::Target(error) => error.fate(),
            LocalError::Store(error) => error.fate(),
            LocalError::Apart(_) => Fate::Retry,
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
    /// The target transaction that is open: between two bundles with a part of a large source transaction in it.
    pub open: Option<Open>,
    /// How far the checkpoint is durable.
    pub durable: EndLsn,
    /// Copies read while we write nothing.
    pub turns: Turns,
    /// Ours, while a target transaction is open.
    pub turn: Option<StreamTurn>,
    pub window: Window,
    /// Tells that a statement of ours runs, for whoever looks what holds it up.
    pub busy: Arc<Busy>,
}

/// An open target transaction: what ends with it if it is rolled back, and is told only once it is committed.
pub struct Open {
    /// As they were before it.
    gates: Gates,
    /// When its first part was handed to us.
    started: Instant,
    /// Changes by table: inserts, updates, deletes, truncates.
    counts: Vec<[u64; 4]>,
    /// Each table's first change in it.
    first: BTreeMap<usize, Position>,
    /// Tables that halt in it, with the change that halted them.
    halts: Vec<(Halt, Option<Item>)>,
    /// Tables that caught up a bit.
    resumed: Vec<usize>,
    /// Rows are to be read again.
    asks: Vec<Reread>,
}

impl LocalWriter {
    /// Writes a bundle. Gives how far the slot may be confirmed now, if the target committed something.
    ///
    /// # Errors
    /// The session is to be thrown away: nothing after the last commit is in the target.
    pub async fn write(&mut self, mut bundle: Bundle) -> Result<Option<EndLsn>, LocalError> {
        bundle.items.retain(|item| self.gates.wants(item.plan, item.change.position));
        if bundle.items.is_empty() && self.open.is_none() {
            return self.pass_over(&bundle).await;
        }
        let turn = match self.turn.take() {
            Some(turn) => turn,
            None => self.turns.stream().await,
        };
        self.turns.emits(&turn, &bundle.xids);
        let plans = &self.applier.plans;
        let key = |item: &Item, row: &Row| {
            let plan = &plans[item.plan];
            let binding = item.binding.as_ref().ok().filter(|_| plan.key_text == KeyText::Exact)?;
            apply::key(plan, binding, row)
        };
        self.window.mark(&mut bundle.items, key);
        let written = self.write_bundle(&bundle).await?;
        if self.open.is_some() {
            self.turn = Some(turn);
        }
        Ok(written)
    }

    /// In the stream's turn.
    async fn write_bundle(&mut self, bundle: &Bundle) -> Result<Option<EndLsn>, LocalError> {
        let busy = Arc::clone(&self.busy);
        let _busy = busy.begin();
        let started = self.open.as_ref().map_or_else(Instant::now, |open| open.started);
        let (mut items, mut ends) = (&bundle.items[..], &bundle.ends[..]);
        if self.open.is_some() || ends.is_empty() {
            // a large source transaction has its target transaction to itself
            let (part, behind) = items.split_at(ends.first().map_or(items.len(), |end| end.count_in(items)));
            self.part(part, ends.first().copied()).await?;
            (items, ends) = (behind, ends.get(1..).unwrap_or_default());
        }
        self.transactions(items, ends).await?;
        let Some(last) = bundle.ends.last() else { return Ok(None) };
        let commits: Vec<UnixMicros> = bundle.ends.iter().map(|end| end.committed_at).collect();
        self.meter.settled(last.position.commit);
        self.meter.lag_since(Stage::EndToEnd, &commits);
        self.meter.lags(Stage::Apply, started.elapsed(), commits.len());
        let queued = bundle.received.map_or(Duration::ZERO, |received| started - received);
        self.meter.lags(Stage::Log, queued, commits.len());
        Ok(Some(self.gates.confirmable()))
    }

    /// A part of a large source transaction, perhaps its last.
    async fn part(&mut self, items: &[Item], end: Option<LocalMove>) -> Result<(), LocalError> {
        if self.open.is_none() {
            self.begin(None).await?;
        }
        self.apply(items).await?;
        if end.is_none() && broken!(PartsCommitted) {
            self.commit().await??;
        }
        let Some(end) = end else { return Ok(()) };
        let first = self.open.as_ref().map(|open| open.first.clone()).unwrap_or_default();
        match self.finish(end, false).await? {
            Ok(()) => Ok(()),
            Err(refused) => Err(Box::pin(self.set_apart(&first, refused)).await?),
        }
    }

    /// Whole source transactions as one target transaction, without what `halts` halts. Gives why the target refused its COMMIT:
    /// then nothing of it is left, here or there.
    async fn transact(&mut self, items: &[Item], end: LocalMove, halts: &[Halt]) -> Result<Result<(), TargetError>, LocalError> {
        let moved_already = self.begin(Some(&end)).await?;
        for halt in halts {
            self.halt(halt.clone(), items).await?;
        }
        let wanted = |item: &&Item| self.gates.wants(item.plan, item.change.position);
        if items.iter().all(|item| wanted(&item)) {
            self.apply(items).await?;
        } else {
            let rest: Vec<Item> = items.iter().filter(wanted).cloned().collect();
            self.apply(&rest).await?;
        }
        self.finish(end, moved_already).await
    }

    /// Into the open transaction.
    async fn apply(&mut self, items: &[Item]) -> Result<(), LocalError> {
        let applied = self.applier.apply_part(&mut self.session, items).await?;
        self.ask(applied.rereads).await?;
        for halt in applied.halts {
            self.halt(halt, items).await?;
        }
        self.count(items);
        Ok(())
    }

    /// Records which rows are to be read again.
    async fn ask(&mut self, rereads: Vec<Reread>) -> Result<(), LocalError> {
        for (number, plan) in self.applier.plans.iter().enumerate() {
            let keys: Vec<_> = rereads.iter().filter(|reread| reread.plan == number).map(|reread| &reread.key).collect();
            if !keys.is_empty() {
                reread::add(self.session.client(), &self.connector, &plan.target, &keys).await?;
            }
        }
        self.opened().asks.extend(rereads);
        Ok(())
    }

    /// Every table follows, and its rows are of one moment.
    pub fn consistent(&self) -> bool {
        self.gates.consistent() && self.window.is_closed_at(self.gates.end())
    }

    /// The source transactions are whole: moves the checkpoint, and commits. Gives why the target refused that.
    async fn finish(&mut self, end: LocalMove, moved_already: bool) -> Result<Result<(), TargetError>, LocalError> {
        self.advance(end, moved_already).await?;
        self.commit().await
    }

    /// Transactions without anything for us: noted at once where somebody waits, else with the next tick.
    async fn pass_over(&mut self, bundle: &Bundle) -> Result<Option<EndLsn>, LocalError> {
        let mut moved = Vec::new();
        if let Some(last) = bundle.ends.last() {
            moved.extend(self.gates.passed(last.position, last.end));
            self.meter.settled(last.position.commit);
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
        if self.open.is_some() || self.gates.end() <= self.durable { Ok(None) } else { self.record(Vec::new()).await }
    }

    async fn record(&mut self, moved: Vec<(usize, Option<Position>)>) -> Result<Option<EndLsn>, LocalError> {
        let busy = Arc::clone(&self.busy);
        let _busy = busy.begin();
        self.begin(None).await?;
        self.note(moved).await?;
        self.commit().await??;
        Ok(Some(self.gates.confirmable()))
    }

    /// Opens the target transaction and holds the checkpoint's row: nobody else can write until we commit. Gives whether the
    /// checkpoint has moved to where the transaction will end.
    async fn begin(&mut self, complete: Option<&LocalMove>) -> Result<bool, LocalError> {
        self.open = Some(Open {
            gates: self.gates.clone(),
            started: Instant::now(),
            counts: vec![[0; 4]; self.applier.plans.len()],
            first: BTreeMap::new(),
            halts: Vec::new(),
            resumed: Vec::new(),
            asks: Vec::new(),
        });
        let fresh = complete.filter(|moved| !self.gates.is_replay(moved.position));
        let (position, end) = fresh.map_or((self.gates.checkpoint(), self.gates.end()), |moved| (moved.position, moved.end));
        let at = fresh.map(|moved| moved.committed_at);
        // sent together: one round trip
        self.session.ahead("BEGIN");
        self.move_checkpoint(position, end, at).await?;
        Ok(fresh.is_some())
    }

    async fn move_checkpoint(&self, position: Position, end: EndLsn, committed_at: Option<i64>) -> Result<(), LocalError> {
        let (position, end) = (position.to_string(), end.to_string());
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&self.connector, &self.epoch, &position, &end, &committed_at];
        let sql = checkpoint::MOVE_LOCAL;
        let moved = self.session.control(sql, &params).await?;
        Ok(TargetError::fenced_unless(moved == 1)?)
    }

    /// The source transaction is whole: moves gates, and the checkpoint if the transaction began before its end was known.
    async fn advance(&mut self, moved: LocalMove, moved_already: bool) -> Result<(), LocalError> {
        let done = moved_already || self.gates.is_replay(moved.position);
        let changed = self.gates.passed(moved.position, moved.end);
        self.note(changed).await?;
        if !done {
            self.move_checkpoint(moved.position, moved.end, Some(moved.committed_at)).await?;
        }
        Ok(())
    }

    /// Records what tables that catch up lack now.
    async fn note(&mut self, moved: Vec<(usize, Option<Position>)>) -> Result<(), LocalError> {
        for (table, lacks) in moved {
            let target = &self.applier.plans[table].target;
            table_state::advance(self.session.client(), &self.connector, target, lacks).await?;
            self.opened().resumed.push(table);
        }
        Ok(())
    }

    fn opened(&mut self) -> &mut Open {
        self.open.as_mut().expect("only called between BEGIN and COMMIT")
    }

    /// Commits the open transaction. What is deferred to this moment can be refused in it: then the server has rolled back.
    async fn commit(&mut self) -> Result<Result<(), TargetError>, LocalError> {
        let begun = Instant::now();
        let committed = self.session.frame("COMMIT").await;
        let open = self.open.take().expect("only called after BEGIN");
        if let Err(error) = committed {
            if error.fate() == Fate::Retry || error.server().is_none() {
                return Err(error.into());
            }
            self.gates = open.gates;
            return Ok(Err(error));
        }
        self.durable = self.gates.end();
        for table in open.resumed {
            self.board.resumed(&self.applier.plans[table].target);
        }
        for (halt, failed) in open.halts {
            self.tell_halt(&halt, failed);
        }
        let rows = self.tell_counts(&open.counts);
        if rows > 0 {
            self.meter.batch(rows, begun.elapsed());
        }
        for (number, _) in self.applier.plans.iter().enumerate() {
            let keys: Vec<_> = open.asks.iter().filter(|one| one.plan == number).map(|one| one.key.clone()).collect();
            if !keys.is_empty() {
                self.window.asks(number, keys);
            }
        }
        self.board.applied(self.gates.checkpoint(), self.gates.end(), self.consistent());
        Ok(Ok(()))
    }

    /// Halts a table, in the open transaction.
    async fn halt(&mut self, halt: Halt, items: &[Item]) -> Result<(), LocalError> {
        let target = &self.applier.plans[halt.plan].target;
        let client = self.session.client();
        table_state::halt(client, &self.connector, target, Some(halt.position), &halted(&halt)).await?;
        self.gates.halt(halt.plan, halt.position);
        let mut failed = items.iter().find(|item| item.plan == halt.plan && item.change.position == halt.position).cloned();
        if let Some(item) = &mut failed {
            item.change.detach();
        }
        self.opened().halts.push((halt, failed));
        Ok(())
    }

    fn tell_halt(&self, halt: &Halt, failed: Option<Item>) {
        let table = &self.applier.plans[halt.plan].target;
        tracing::error!(table = %table, position = %halt.position, "table halted: {}\n  hint: {}", halt.because, halt.hint);
        self.board.halted(table, halted(halt), failed);
    }

    fn count(&mut self, items: &[Item]) {
        let open = self.open.as_mut().expect("only called between BEGIN and COMMIT");
        for item in items {
            let halted = matches!(self.gates.gate(item.plan), Gate::Halted(from) if item.change.position >= from);
            let op = match item.change.op {
                Op::Read | Op::Insert => 0,
                Op::Update => 1,
                Op::Delete => 2,
                Op::Truncate => 3,
            };
            open.counts[item.plan][op] += u64::from(!halted);
            open.first.entry(item.plan).or_insert(item.change.position);
        }
    }

    /// What was counted is in the target now. Gives how much that was.
    fn tell_counts(&self, counts: &[[u64; 4]]) -> usize {
        let mut rows = 0;
        for (table, counts) in counts.iter().enumerate() {
            for (op, &count) in [Op::Insert, Op::Update, Op::Delete, Op::Truncate].into_iter().zip(counts) {
                if count > 0 {
                    self.meter.changes(Stage::Apply, table, op, count);
                    rows += usize::try_from(count).unwrap_or(usize::MAX);
                }
            }
        }
        rows
    }
}

fn halted(halt: &Halt) -> table_state::Halted {
    table_state::Halted { because: halt.because.clone(), hint: halt.hint.clone() }
}
