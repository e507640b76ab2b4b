//! Apply out of Kafka: one member of the consumer group, its partitions' changes to the target, many to one transaction, each
//! partition's checkpoint in it. The target's checkpoint rules, not the group's offset.

use super::arrivals::TableReader;
use super::barrier::{self, Opened};
use super::partition::{Doing, Marker, Share, Work};
use super::record::TABLES;
use super::specs::TableSpec;
use crate::apply::{Applier, Halt};
use crate::catalog;
use crate::change::{Op, Position, TableName};
use crate::config::{Connector, Kafka, Triggers};
use crate::event::control_topic;
use crate::fate::Fate;
use crate::log::LogError;
use crate::log::kafka::{Assignment, Batch, Consumer, ControlTail, Delivery, Start, Tail};
use crate::mapping::{self, TablePlan};
use crate::pipeline::board::Board;
use crate::pipeline::local::LocalError;
use crate::pipeline::run::{End, Retry, stopped};
use crate::pipeline::{PipelineError, Tasks, session};
use crate::store::table_state::{self, Halted};
use crate::store::{self, checkpoint};
use crate::target::{Session, TargetError};
use crate::telemetry::{self, Meter, Stage};
use futures_util::FutureExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, watch};
use tokio_postgres::Client;

const BROKER_LIMIT: Duration = Duration::from_secs(20);
/// Messages and bytes that go to the target at once.
const MAX_MESSAGES: usize = 20_000;
const MAX_WEIGHT: usize = 8 << 20;
/// A conflict that may pass by itself is tried again so often, and so long before the table halts.
const CONFLICT_PAUSE: Duration = Duration::from_millis(200);
const CONFLICT_LIMIT: Duration = Duration::from_secs(60);
const HALT_PAUSE: Duration = Duration::from_secs(30);

/// One life of the applying half.
pub struct ApplyLife {
    pub connector: Arc<Connector>,
    pub stop: watch::Receiver<bool>,
    pub board: Arc<Board>,
    pub publish: Arc<dyn Fn(Arc<Meter>) + Send + Sync>,
}

impl ApplyLife {
    /// # Errors
    /// See [`PipelineError`].
    pub async fn run(&mut self) -> Result<End, PipelineError> {
        let tasks = Tasks::default();
        let connector = Arc::clone(&self.connector);
        let kafka = connector.kafka().cloned().expect("apply is started for a Kafka log only");
        let name = connector.object_name();
        let mut target = session::open(&tasks, &connector.target.endpoint, &name).await.map_err(PipelineError::Target)?;
        let Some((specs, seen)) = self.await_capture(&target, &kafka).await? else { return Ok(End::Stopped) };
        let (plans, broken) = compile(&mut target, &specs).await?;
        let plans = Arc::new(plans);
        let meter = Arc::new(Meter::new(&connector.name, plans.iter().map(|plan| (plan.source.clone(), plan.target.clone()))));
        (self.publish)(Arc::clone(&meter));
        // every life tries every table anew
        for plan in plans.iter() {
            table_state::lift(&target, &connector.name, &plan.target).await?;
            self.board.resumed(&plan.target);
        }
        for (table, halted) in &broken {
            tracing::error!(table = %table, "table halted: {}\n  hint: {}", halted.because, halted.hint);
            table_state::halt(&target, &connector.name, table, None, halted).await?;
            self.board.halted(table, halted.clone(), None);
        }
        let triggers_fire = connector.target.triggers == Triggers::Fire;
        let mut session = Session::new(target);
        session.prepare_control(checkpoint::MOVE_PARTITION).await?;
        session.frame("SET lock_timeout = '10s'").await?;
        if !triggers_fire {
            session.frame("SET session_replication_role = replica").await?;
        }
        let topics: Vec<String> = specs.iter().map(|spec| spec.topic.clone()).collect();
        let total = specs.iter().map(|spec| usize::try_from(spec.partitions).unwrap_or(1)).sum();
        let consumer = Consumer::join(&kafka, &name, &topics, total)?;
        let _streaming = self.board.streams();
        let readers = specs.iter().map(|spec| TableReader::new(spec, &plans)).collect();
        let mut half = Half {
            connector: connector.name.clone(),
            applier: Applier { plans, triggers_fire },
            broken: broken.into_keys().collect(),
            specs,
            readers,
            shares: Vec::new(),
            session,
            consumer,
            meter,
            board: Arc::clone(&self.board),
        };
        let changed = watch_tables(kafka, name, seen);
        tokio::pin!(changed);
        let mut tick = tokio::time::interval(CONFLICT_PAUSE);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => {
                    half.consumer.close().await;
                    return Ok(End::Stopped);
                }
                changed = &mut changed => {
                    changed?;
                    half.consumer.close().await;
                    return Ok(End::Again);
                }
                _ = tick.tick() => half.tick().await?,
                delivery = half.consumer.next() => half.deliver(delivery?).await?,
            }
        }
    }

    /// Waits until capture has said what there is; gives it, and the words it used.
    async fn await_capture(
        &mut self,
        target: &Client,
        kafka: &Kafka,
    ) -> Result<Option<(Vec<TableSpec>, Vec<u8>)>, PipelineError> {
        let name = self.connector.object_name();
        loop {
            let made =
                store::schema::exists(target).await? && store::connector::read(target, &self.connector.name).await?.is_some();
            if made {
                let contents = match ControlTail::open(kafka, &name, &control_topic(&kafka.topic_prefix)) {
                    Ok(tail) => tail.read_all(BROKER_LIMIT).await,
                    Err(error) => Err(error),
                };
                match contents {
                    Ok(contents) => {
                        if let Some(entry) = contents.entries.get(TABLES) {
                            let specs = serde_json::from_slice(&entry.value).map_err(|_| PipelineError::Belief {
                                what: "the control topic's list of tables cannot be read".to_owned(),
                                hint: "use the same tablelift for capture and apply".to_owned(),
                            })?;
                            self.board.waits("apply", None);
                            return Ok(Some((specs, entry.value.clone())));
                        }
                    }
                    // capture has not made it yet
                    Err(LogError::NoTopic { .. } | LogError::NoPartition { .. } | LogError::Refused { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            self.board.waits("apply", Some("capture to start and say which tables there are".to_owned()));
            tokio::select! {
                () = stopped(&mut self.stop) => return Ok(None),
                () = tokio::time::sleep(Duration::from_millis(300)) => {}
            }
        }
    }
}

/// Ends when capture says something else about the tables than what was seen.
async fn watch_tables(kafka: Kafka, group: String, seen: Vec<u8>) -> Result<(), PipelineError> {
    let mut tail = ControlTail::open(&kafka, &group, &control_topic(&kafka.topic_prefix))?;
    let mut newest = seen.clone();
    let mut caught_up = false;
    loop {
        match tail.next().await? {
            Tail::Entry(entry) if entry.name == TABLES => newest = entry.value,
            Tail::Entry(_) => {}
            Tail::CaughtUp => caught_up = true,
        }
        if caught_up && newest != seen {
            return Ok(());
        }
    }
}

/// All rules against the target; those that do not fit, with the reason.
async fn compile(
    target: &mut Client,
    specs: &[TableSpec],
) -> Result<(Vec<TablePlan>, BTreeMap<TableName, Halted>), PipelineError> {
    let names: Vec<TableName> = specs.iter().flat_map(|spec| &spec.rules).map(|rule| rule.target.clone()).collect();
    let shapes = catalog::target_shapes(&*target, &names).await?;
    let (mut plans, mut broken) = (Vec::new(), BTreeMap::new());
    for spec in specs {
        for rule in &spec.rules {
            let because = match shapes.get(&rule.target) {
                None => "the target has no such table".to_owned(),
                Some(shape) => {
                    let (facts, refused) = catalog::rule_facts(target, rule, &spec.shape).await?;
                    match mapping::compile(rule, &spec.shape, shape, &facts) {
                        Ok(plan) if refused.is_empty() => {
                            plans.push(plan);
                            continue;
                        }
                        Ok(_) => "an expression cannot be prepared".to_owned(),
                        Err(findings) => findings.iter().map(|finding| finding.what.clone()).collect::<Vec<_>>().join("; "),
                    }
                }
            };
            let hint =
                "`tablelift check` says more; cure the target, and it is tried again at SIGHUP and at a restart".to_owned();
            broken.insert(rule.target.clone(), Halted { because, hint });
        }
    }
    Ok((plans, broken))
}

/// The running half.
struct Half {
    connector: String,
    applier: Applier,
    /// Target tables whose rule does not fit: their topics are held.
    broken: Vec<TableName>,
    specs: Vec<TableSpec>,
    readers: Vec<TableReader>,
    shares: Vec<Share>,
    session: Session,
    consumer: Consumer,
    meter: Arc<Meter>,
    board: Arc<Board>,
}

impl Half {
    async fn deliver(&mut self, delivery: Delivery) -> Result<(), PipelineError> {
        match delivery {
            Delivery::Assigned(assignment) => self.assigned(assignment).await,
            Delivery::Revoked(partitions) => {
                self.shares.retain(|share| !partitions.contains(&share.partition));
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
            let held = self.specs[spec].rules.iter().any(|rule| self.broken.contains(&rule.target));
            let next_offset = taken.log_offset.unwrap_or(0);
            let doing = if held { Doing::Halted { again: Instant::now() + HALT_PAUSE } } else { Doing::Running };
            starts.push((partition.clone(), if held { Start::Held } else { Start::At(next_offset) }));
            self.shares.push(Share {
                partition: partition.clone(),
                spec,
                epoch: taken.epoch,
                capture_epoch: taken.capture_epoch,
                position: taken.position,
                next_offset,
                doing,
                stuck_since: None,
            });
        }
        self.consumer.start(assignment, starts);
        Ok(())
    }

    async fn fault(&mut self, error: LogError) -> Result<(), PipelineError> {
        let Some(spec) = error.topic().and_then(|topic| self.specs.iter().position(|spec| spec.topic == topic)) else {
            return Err(error.into());
        };
        if error.fate() == Fate::Retry {
            tracing::warn!(error = %error, "a topic cannot be read now");
            return Ok(());
        }
        let text = error.to_string();
        let (because, hint) = text.split_once("\n  hint: ").unwrap_or((&text, "the table must be copied again"));
        self.halt(spec, because.to_owned(), hint.to_owned()).await
    }

    /// Takes what is there, up to a limit, and applies it.
    async fn batches(&mut self, first: Batch) -> Result<(), PipelineError> {
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
        self.apply(works).await?;
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
    }

    async fn apply(&mut self, mut works: BTreeMap<usize, Work>) -> Result<(), PipelineError> {
        let refused = self.commit(&works).await?;
        if !refused.is_empty() {
            // again, partition by partition: each up to what is refused
            for (&at, work) in &mut works {
                let single = std::mem::take(work);
                *work = self.alone(at, single).await?;
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
    async fn commit(&mut self, works: &BTreeMap<usize, Work>) -> Result<Vec<Halt>, PipelineError> {
        let moving: Vec<(usize, &Work)> =
            works.iter().filter(|(at, work)| !work.is_idle(&self.shares[**at])).map(|(at, work)| (*at, work)).collect();
        if moving.is_empty() {
            return Ok(Vec::new());
        }
        let items: Vec<_> = moving.iter().flat_map(|(_, work)| work.items.iter().cloned()).collect();
        self.session.frame("BEGIN").await?;
        for (at, work) in &moving {
            self.move_checkpoint(&self.shares[*at], work).await?;
        }
        let applied = self.applier.apply(&mut self.session, &items).await.map_err(LocalError::from)?;
        if !applied.halts.is_empty() {
            self.session.frame("ROLLBACK").await?;
            return Ok(applied.halts);
        }
        let started = Instant::now();
        self.session.frame("COMMIT").await?;
        self.meter.batch(items.len(), started.elapsed());
        for (at, work) in moving {
            self.settled(at, work);
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
        match self.session.control(checkpoint::MOVE_PARTITION, &params).await? {
            1 => Ok(()),
            _ => Err(TargetError::Fenced.into()),
        }
    }

    fn settled(&mut self, at: usize, work: &Work) {
        let share = &mut self.shares[at];
        share.next_offset = work.next_offset;
        share.position = work.position;
        share.capture_epoch = work.capture_epoch;
        self.consumer.applied(&share.partition, work.next_offset);
        let mut last = None;
        for &time in &work.times {
            if last != Some(time) {
                self.meter.lag(Stage::EndToEnd, telemetry::since(time));
                last = Some(time);
            }
        }
        for item in work.items.iter().filter(|item| item.change.op != Op::Read) {
            self.meter.changes(Stage::Apply, item.plan, item.change.op, 1);
        }
    }

    /// One partition: up to the change that the target refuses.
    async fn alone(&mut self, at: usize, mut work: Work) -> Result<Work, PipelineError> {
        loop {
            let single = BTreeMap::from([(at, work)]);
            let refused = self.commit(&single).await?;
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
            let again = self.commit(&prefix).await?;
            work = prefix.into_values().next().expect("one was put in");
            if !again.is_empty() {
                continue;
            }
            self.refused(at, halt).await?;
            return Ok(work);
        }
    }

    /// The next change of a partition is refused.
    async fn refused(&mut self, at: usize, halt: Halt) -> Result<(), PipelineError> {
        let share = &mut self.shares[at];
        let since = *share.stuck_since.get_or_insert_with(Instant::now);
        if halt.may_pass && since.elapsed() < CONFLICT_LIMIT {
            share.doing = Doing::Stuck { since, again: Instant::now() + CONFLICT_PAUSE };
            self.consumer.seek(&share.partition, Start::Held);
            let table = self.specs[share.spec].shape.name.to_string();
            self.board.waits(&table, Some(format!("another partition or table: {}", halt.because)));
            return Ok(());
        }
        let spec = share.spec;
        self.halt(spec, halt.because, halt.hint).await
    }

    /// The whole table stands still; it is tried again after a while.
    async fn halt(&mut self, spec: usize, because: String, hint: String) -> Result<(), PipelineError> {
        let halted = Halted { because, hint };
        for rule in &self.specs[spec].rules {
            tracing::error!(table = %rule.target, "table halted: {}\n  hint: {}", halted.because, halted.hint);
            table_state::halt(self.session.client(), &self.connector, &rule.target, None, &halted).await?;
            self.board.halted(&rule.target, halted.clone(), None);
        }
        for share in self.shares.iter_mut().filter(|share| share.spec == spec) {
            share.doing = Doing::Halted { again: Instant::now() + HALT_PAUSE };
            self.consumer.seek(&share.partition, Start::Held);
        }
        Ok(())
    }

    async fn stand(&mut self, at: usize, marker: &Marker, offset: i64) -> Result<(), PipelineError> {
        let spec = self.shares[at].spec;
        barrier::arrive(&self.session, &self.connector, &self.shares[at], marker, offset).await?;
        let share = &mut self.shares[at];
        share.doing = Doing::Barrier { marker: marker.name(), offset };
        self.consumer.seek(&share.partition, Start::Held);
        let opened = barrier::open(&mut self.session, &self.applier, &self.connector, &self.specs[spec], marker).await?;
        match opened {
            Opened::NotYet => Ok(()),
            Opened::Yes => self.pass_barriers().await,
            Opened::Refused { because, hint } => self.halt(spec, because, hint).await,
        }
    }

    /// Partitions whose marker was opened, here or elsewhere, go on.
    async fn pass_barriers(&mut self) -> Result<(), PipelineError> {
        for at in 0..self.shares.len() {
            let share = &self.shares[at];
            let Doing::Barrier { marker, offset } = share.doing.clone() else { continue };
            let Some(next) = barrier::passed(&self.session, &self.connector, share, &marker, offset).await? else { continue };
            let found = checkpoint::read(self.session.client(), &self.connector).await?;
            let partition = share.partition.clone();
            let found =
                found.into_iter().find(|found| *found.topic == *partition.topic && found.partition == partition.partition);
            let share = &mut self.shares[at];
            share.position = found.and_then(|found| found.position).or(share.position);
            share.next_offset = next;
            share.doing = Doing::Running;
            self.consumer.seek(&partition, Start::At(next));
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), PipelineError> {
        let now = Instant::now();
        if self.shares.iter().any(|share| matches!(share.doing, Doing::Barrier { .. })) {
            self.pass_barriers().await?;
        }
        for at in 0..self.shares.len() {
            let share = &mut self.shares[at];
            let spec = share.spec;
            let again = match share.doing {
                Doing::Stuck { again, .. } | Doing::Halted { again } => again,
                _ => continue,
            };
            if again > now || self.specs[spec].rules.iter().any(|rule| self.broken.contains(&rule.target)) {
                continue;
            }
            let halted = matches!(share.doing, Doing::Halted { .. });
            share.doing = Doing::Running;
            self.consumer.seek(&share.partition, Start::At(share.next_offset));
            self.board.waits(&self.specs[spec].shape.name.to_string(), None);
            if halted {
                self.session.forget();
                share.stuck_since = None;
                for rule in &self.specs[spec].rules {
                    table_state::lift(self.session.client(), &self.connector, &rule.target).await?;
                    self.board.resumed(&rule.target);
                }
            }
        }
        Ok(())
    }
}

/// Lives after lives.
///
/// # Errors
/// What cannot be tried again.
pub async fn run_apply(mut life: ApplyLife, mut reload: broadcast::Receiver<Arc<Connector>>) -> Result<End, PipelineError> {
    let mut retry = Retry::default();
    loop {
        let begun = Instant::now();
        let ended = tokio::select! {
            ended = life.run() => ended,
            Ok(connector) = reload.recv() => {
                tracing::info!("reloaded the connector file");
                life.connector = connector;
                continue;
            }
        };
        match ended {
            Ok(End::Again) => {}
            Ok(end) => return Ok(end),
            Err(error) if error.fate() == Fate::Retry => {
                crate::telemetry::retried(&life.connector.name, error.reason());
                if retry.pause(&error, begun, &life.board, &mut life.stop).await {
                    return Ok(End::Stopped);
                }
            }
            Err(error) => return Err(error),
        }
    }
}
