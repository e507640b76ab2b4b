//! The running half: deliveries to work, work to target transactions, many partitions to one where nothing is refused.

use super::{MAX_MESSAGES, MAX_WEIGHT};
use crate::apply::{Applier, Halt};
use crate::change::{Op, Position, TableName, UnixMicros};
use crate::fate::Fate;
use crate::log::LogError;
use crate::log::kafka::{Assignment, Batch, Consumer, Delivery, Start};
use crate::pipeline::PipelineError;
use crate::pipeline::board::{Board, Streaming};
use crate::pipeline::holdup::Busy;
use crate::pipeline::kafka::arrivals::TableReader;
use crate::pipeline::kafka::partition::{Doing, Share, Work};
use crate::pipeline::kafka::specs::TableSpec;
use crate::pipeline::local::LocalError;
use crate::store::table_state::Halted;
use crate::store::{checkpoint, reread};
use crate::target::{Session, TargetError};
use crate::telemetry::{Meter, Stage};
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

pub struct Half {
    pub connector: String,
    pub applier: Applier,
    /// Target tables whose rule does not fit: their topics are held.
    pub broken: Vec<TableName>,
    pub specs: Vec<TableSpec>,
    pub readers: Vec<TableReader>,
    pub shares: Vec<Share>,
    pub session: Session,
    pub consumer: Consumer,
    pub meter: Arc<Meter>,
    pub board: Arc<Board>,
    /// Tells that a statement of ours runs, for whoever looks what holds it up.
    pub busy: Arc<Busy>,
    /// While partitions are ours: the log is read.
    pub streaming: Option<Streaming>,
}

impl Half {
    /// # Errors
    /// See [`PipelineError`].
    pub async fn deliver(&mut self, delivery: Delivery) -> Result<(), PipelineError> {
        match delivery {
            Delivery::Assigned(assignment) => self.assigned(assignment).await,
            Delivery::Revoked(partitions) => {
                self.shares.retain(|share| !partitions.contains(&share.partition));
                // until the group has shared out anew, nobody may read them
                self.streaming = None;
                self.tell_oldest();
                Ok(())
            }
            Delivery::Fault(error) => self.fault(error).await,
            Delivery::Batch(batch) => self.batches(batch).await,
        }
    }

    async fn assigned(&mut self, assignment: Assignment) -> Result<(), PipelineError> {
        self.shares.clear();
        let mut starts = Vec::new();
        for partition in &assignment.partitions {
            let Some(spec) = self.specs.iter().position(|spec| *spec.topic == *partition.topic) else { continue };
            let client = self.session.client();
            let taken = checkpoint::take(client, &self.connector, &partition.topic, partition.partition).await?;
            let held = self.is_broken(spec);
            let next_offset = if broken!(OffsetIgnored) { 0 } else { taken.log_offset.unwrap_or(0) };
            let doing = if held { Doing::Broken } else { Doing::Running };
            starts.push((partition.clone(), if held { Start::Held } else { Start::At(next_offset) }));
            self.shares.push(Share {
                partition: partition.clone(),
                spec,
                epoch: taken.epoch,
                capture_epoch: if broken!(CaptureEpochForgotten) { 0 } else { taken.capture_epoch },
                position: taken.position.filter(|_| !broken!(PositionForgotten)),
                next_offset,
                doing,
                stuck_since: None,
                halted: false,
                waiting: None,
            });
        }
        self.anew().await?;
        self.consumer.start(assignment, starts);
        self.streaming = Some(self.board.streams());
        self.tell_oldest();
        Ok(())
    }

    /// Its rule does not fit the target: this life takes nothing of it.
    pub fn is_broken(&self, spec: usize) -> bool {
        self.specs[spec].rules.iter().any(|rule| self.broken.contains(&rule.target))
    }

    async fn fault(&mut self, error: LogError) -> Result<(), PipelineError> {
        let Some(spec) = error.topic().and_then(|topic| self.specs.iter().position(|spec| spec.topic == topic)) else {
            return Err(error.into());
        };
        if error.fate() == Fate::Retry {
            tracing::warn!(error = %error, "a topic cannot be read now");
            return Ok(());
        }
        let Halted { because, hint } = Halted::saying(&error.to_string(), "the table must be copied again");
        self.halt(spec, None, because, hint).await
    }

    /// Takes what is there, up to a limit, and applies it.
    async fn batches(&mut self, first: Batch) -> Result<(), PipelineError> {
        let received = Instant::now();
        let mut works: BTreeMap<usize, Work> = BTreeMap::new();
        let (mut messages, mut weight) = (0, 0);
        let mut batch = Some(first);
        let mut other = None;
        while let Some(next) = batch.take() {
            messages += next.len();
            weight += next.weight();
            self.read(&next, &mut works);
            if messages < MAX_MESSAGES && weight < MAX_WEIGHT {
                match self.consumer.next().now_or_never() {
                    Some(Ok(Delivery::Batch(more))) => batch = Some(more),
                    Some(delivery) => other = Some(delivery?),
                    None => {}
                }
            }
        }
        for work in works.values() {
            self.meter.lag_since(Stage::Log, &work.sent);
        }
        self.tell_oldest();
        self.apply(works, received).await?;
        self.tell_oldest();
        match other {
            Some(delivery) => Box::pin(self.deliver(delivery)).await,
            None => Ok(()),
        }
    }

    fn read(&mut self, batch: &Batch, works: &mut BTreeMap<usize, Work>) {
        let of = |share: &Share| share.partition.topic == *batch.topic() && share.partition.partition == batch.partition();
        let Some(at) = self.shares.iter().position(of) else { return };
        let share = &self.shares[at];
        if share.doing != Doing::Running {
            return;
        }
        let work = works.entry(at).or_insert_with(|| Work {
            next_offset: share.next_offset,
            position: share.position,
            capture_epoch: share.capture_epoch,
            ..Work::default()
        });
        self.readers[share.spec].read(share, batch, work);
        let share = &mut self.shares[at];
        share.waiting = share.waiting.or(work.times.first().copied());
    }

    /// Since when the oldest change waits that came to us and is not applied. What a halted table waits for is no lag.
    pub fn tell_oldest(&self) {
        let running = self.shares.iter().filter(|share| !matches!(share.doing, Doing::Broken | Doing::Halted { .. }));
        self.meter.waits_since(running.filter_map(|share| share.waiting).min());
    }

    async fn apply(&mut self, mut works: BTreeMap<usize, Work>, received: Instant) -> Result<(), PipelineError> {
        let refused = self.commit(&works, received).await?;
        if !refused.is_empty() {
            // again, partition by partition: each up to what is refused
            for (&at, work) in &mut works {
                let single = std::mem::take(work);
                *work = self.alone(at, single, received).await?;
            }
        }
        for (at, work) in works {
            if let Some((marker, offset)) = work.marker {
                self.stand(at, &marker, offset).await?;
            } else if let Some(because) = work.unreadable {
                // capture announces a new shape before its first event: we may not have heard yet
                let hint = "the topic holds what this tablelift cannot read: use the one that wrote it, or copy the table again";
                let halt = Halt { plan: 0, position: Position::default(), because, hint: hint.to_owned(), may_pass: true };
                self.refused(at, halt).await?;
            }
        }
        Ok(())
    }

    /// One target transaction for several partitions. Gives what the target refused; then nothing was committed.
    async fn commit(&mut self, works: &BTreeMap<usize, Work>, received: Instant) -> Result<Vec<Halt>, PipelineError> {
        let moving: Vec<(usize, &Work)> =
            works.iter().filter(|(at, work)| !work.is_idle(&self.shares[**at])).map(|(at, work)| (*at, work)).collect();
        if moving.is_empty() {
            return Ok(Vec::new());
        }
        let items: Vec<_> = moving.iter().flat_map(|(_, work)| work.items.iter().cloned()).collect();
        let busy = Arc::clone(&self.busy);
        let _busy = busy.begin();
        // sent together: one round trip
        self.session.ahead("BEGIN");
        try_join_all(moving.iter().map(|(at, work)| self.move_checkpoint(&self.shares[*at], work))).await?;
        let applied = self.applier.apply(&mut self.session, &items).await.map_err(LocalError::from)?;
        if !applied.halts.is_empty() {
            self.session.frame("ROLLBACK").await?;
            return Ok(applied.halts);
        }
        let answered: Vec<i64> = moving.iter().flat_map(|(_, work)| work.answered.iter().map(|(_, id)| *id)).collect();
        for (number, plan) in self.applier.plans.iter().enumerate() {
            let keys: Vec<_> = applied.rereads.iter().filter(|one| one.plan == number).map(|one| &one.key).collect();
            if !keys.is_empty() && !broken!(LogRereadForgotten) {
                reread::add(self.session.client(), &self.connector, &plan.target, &keys).await?;
            }
            let refused = applied.rereads.iter().find_map(|one| one.refused.as_ref().filter(|_| one.plan == number));
            let what = refused.map(|because| format!("rows that are refused are read again: {because}"));
            if what.is_some() || !answered.is_empty() && items.iter().any(|item| item.plan == number) {
                self.board.waits(&plan.target.to_string(), what);
            }
        }
        if !answered.is_empty() && !broken!(AnswersForgotten) {
            reread::answered(self.session.client(), &self.connector, &answered).await?;
        }
        let started = Instant::now();
        match self.session.frame("COMMIT").await {
            // a trigger that fires even for us was deferred to here; the server has rolled back
            Err(error) if error.fate() != Fate::Retry && error.server().is_some() && !self.applier.deferred => {
                self.applier.deferred = true;
                return Box::pin(self.commit(works, received)).await;
            }
            committed => committed?,
        }
        self.meter.batch(items.len(), started.elapsed());
        for (at, work) in moving {
            self.settled(at, work, received).await?;
        }
        Ok(Vec::new())
    }

    async fn move_checkpoint(&self, share: &Share, work: &Work) -> Result<(), PipelineError> {
        let position = work.position.map(|position| position.to_string());
        let committed_at = work.times.last().copied();
        let topic = &*share.partition.topic;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 8] = [
            &self.connector,
            &topic,
            &share.partition.partition,
            &share.epoch,
            &position,
            &work.next_offset,
            &work.capture_epoch,
            &committed_at,
        ];
        let moved = self.session.control(checkpoint::MOVE_PARTITION, &params).await?;
        Ok(TargetError::fenced_unless(moved == 1)?)
    }

    async fn settled(&mut self, at: usize, work: &Work, received: Instant) -> Result<(), PipelineError> {
        let share = &mut self.shares[at];
        let moved = work.next_offset > share.next_offset;
        share.next_offset = work.next_offset;
        share.position = work.position;
        share.capture_epoch = work.capture_epoch;
        share.waiting = None;
        self.consumer.applied(&share.partition, work.next_offset);
        let mut commits: Vec<UnixMicros> = work.times.clone();
        commits.dedup();
        self.meter.lag_since(Stage::EndToEnd, &commits);
        self.meter.lags(Stage::Apply, received.elapsed(), commits.len());
        for item in work.items.iter().filter(|item| item.change.op != Op::Read) {
            self.meter.changes(Stage::Apply, item.plan, item.change.op, 1);
        }
        if !moved {
            return Ok(());
        }
        let share = &mut self.shares[at];
        let (spec, stuck, halted) = (share.spec, share.stuck_since.take(), std::mem::take(&mut share.halted));
        if stuck.is_some() {
            self.waits(spec, None);
        }
        if halted { self.lift(spec).await } else { Ok(()) }
    }

    /// One partition: up to the change that the target refuses.
    async fn alone(&mut self, at: usize, mut work: Work, received: Instant) -> Result<Work, PipelineError> {
        loop {
            let single = BTreeMap::from([(at, work)]);
            let refused = self.commit(&single, received).await?;
            work = single.into_values().next().expect("one was put in");
            let of =
                |halt: &Halt| work.items.iter().position(|item| item.plan == halt.plan && item.change.position == halt.position);
            let Some((index, halt)) = refused.iter().filter_map(|halt| Some((of(halt)?, halt))).min_by_key(|(index, _)| *index)
            else {
                self.shares[at].stuck_since = None;
                return Ok(work);
            };
            let halt = halt.clone();
            work.before(index);
            work.unreadable = None;
            let prefix = BTreeMap::from([(at, work)]);
            let again = self.commit(&prefix, received).await?;
            work = prefix.into_values().next().expect("one was put in");
            if !again.is_empty() {
                continue;
            }
            self.refused(at, halt).await?;
            return Ok(work);
        }
    }
}
