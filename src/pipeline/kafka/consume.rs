//! Apply out of Kafka: one member of the consumer group, its partitions' changes to the target, many to one transaction, each
//! partition's checkpoint in it. The target's checkpoint rules, not the group's offset.

mod compile;
mod half;
mod standing;

use super::arrivals::TableReader;
use super::record::TABLES;
use super::specs::TableSpec;
use crate::apply::Applier;
use crate::config::{Connector, Kafka, Triggers};
use crate::event::control_topic;
use crate::log::LogError;
use crate::log::kafka::{BROKER_LIMIT, Consumer, ControlTail, Tail};
use crate::pipeline::board::Board;
use crate::pipeline::holdup::{Busy, Side};
use crate::pipeline::lives::{End, Lives, given_up, if_attended, stopped};
use crate::pipeline::structure::{self, Unfit};
use crate::pipeline::{PipelineError, Tasks, after_load, session};
use crate::store::{self, checkpoint, table_state};
use crate::target::{Session, origin};
use crate::telemetry::Meter;
pub use compile::Plans;
use compile::compile;
use half::Half;
use standing::CONFLICT_PAUSE;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_postgres::Client;

/// So long apply waits at its start for capture's word on columns that came late.
const JUDGEMENT_LIMIT: Duration = Duration::from_secs(5);
/// Messages and bytes that go to the target at once.
const MAX_MESSAGES: usize = 10_000;
const MAX_WEIGHT: usize = 4 << 20;

/// The tables as capture tells of them, and the words that it uses.
type Said = (Vec<TableSpec>, Vec<u8>);

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
        let busy = Busy::of(&target, Side::Target, None, &self.board).await?;
        let Some(said) = self.await_capture(&target, &kafka).await? else { return Ok(End::Stopped) };
        if said.0.is_empty() {
            // every entry is new, and none fits yet
            tokio::select! {
                () = stopped(&mut self.stop) => return Ok(End::Stopped),
                changed = watch_tables(kafka, name, said.1) => return changed.map(|()| End::Again),
            }
        }
        let mut plans = compile(&mut target, &connector, &said.0).await?;
        // beside us capture may be about to look
        let patience = tokio::time::sleep(JUDGEMENT_LIMIT);
        tokio::pin!(patience);
        while !plans.unjudged.is_empty() {
            tokio::select! {
                () = stopped(&mut self.stop) => return Ok(End::Stopped),
                () = &mut patience => break,
                () = structure::until_one_is_judged(&connector, &plans.unjudged) => {}
            }
            plans = compile(&mut target, &connector, &said.0).await?;
        }
        Box::pin(self.go(&tasks, (target, busy), said, plans, true)).await
    }

    /// A life that knows its tables. `attended`: beside it somebody looks for what other sessions do to them.
    pub(crate) async fn go(
        &mut self,
        tasks: &Tasks,
        (target, busy): (Client, Arc<Busy>),
        (specs, seen): Said,
        Plans { fit, broken, unjudged }: Plans,
        attended: bool,
    ) -> Result<End, PipelineError> {
        let connector = Arc::clone(&self.connector);
        let kafka = connector.kafka().cloned().expect("apply is started for a Kafka log only");
        let name = connector.object_name();
        let plans = Arc::new(fit);
        let meter = Arc::new(Meter::new(&connector.name, plans.iter().map(|plan| (plan.source.clone(), plan.target.clone()))));
        (self.publish)(Arc::clone(&meter));
        for (table, halted) in &broken {
            tracing::error!(table = %table, "table halted: {}\n  hint: {}", halted.because, halted.hint);
            table_state::halt(&target, &connector.name, table, None, halted).await?;
            self.board.halted(table, halted.clone(), None);
        }
        let triggers_fire = connector.target.triggers == Triggers::Fire;
        let mut session = Session::new(target);
        session.prepare_control(checkpoint::MOVE_PARTITION).await?;
        origin::carry(session.client(), &name, Duration::ZERO).await;
        session.frame("SET lock_timeout = '10s'").await?;
        if !triggers_fire {
            session.frame("SET session_replication_role = replica").await?;
        }
        let topics: Vec<String> = specs.iter().map(|spec| spec.topic.clone()).collect();
        let total = specs.iter().map(|spec| usize::try_from(spec.partitions).unwrap_or(1)).sum();
        let consumer = Consumer::join(&kafka, &name, &topics, total)?;
        let readers = specs.iter().map(|spec| TableReader::new(spec, &plans)).collect();
        let mut half = Half {
            connector: connector.name.clone(),
            applier: Applier { plans, triggers_fire, shared: true, deferred: triggers_fire },
            broken: broken.into_keys().collect(),
            specs,
            readers,
            shares: Vec::new(),
            session,
            consumer,
            meter,
            board: Arc::clone(&self.board),
            busy,
            streaming: None,
        };
        if attended {
            tasks.start(after_load::keep(Arc::clone(&connector), Arc::clone(&self.board), Vec::new()));
        }
        let changed = watch_tables(kafka, name, seen);
        tokio::pin!(changed);
        let unfit = Unfit { targets: half.broken.iter().cloned().collect(), ..Unfit::default() };
        let others = if_attended(attended, structure::until_one_changes(&connector, false, &unfit));
        tokio::pin!(others);
        let judged = if_attended(attended, structure::until_one_is_judged(&connector, &unjudged));
        tokio::pin!(judged);
        let mut tick = tokio::time::interval(CONFLICT_PAUSE);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut deadline = None;
        let end = loop {
            let delivery = tokio::select! {
                biased;
                () = stopped(&mut self.stop) => break End::Stopped,
                changed = &mut changed => {
                    changed?;
                    break End::Again;
                }
                () = &mut others => break End::Again,
                () = &mut judged => break End::Again,
                _ = tick.tick() => None,
                delivery = half.consumer.next() => Some(delivery?),
            };
            let work = async {
                match delivery {
                    Some(delivery) => half.deliver(delivery).await,
                    None => half.tick().await,
                }
            };
            tokio::select! {
                done = work => done?,
                () = given_up(&mut self.stop, &mut deadline) => break End::Stopped,
            }
        };
        half.consumer.close().await;
        Ok(end)
    }

    /// Waits until capture has said what there is; gives it, and the words it used.
    async fn await_capture(&mut self, target: &Client, kafka: &Kafka) -> Result<Option<Said>, PipelineError> {
        loop {
            let made =
                store::schema::exists(target).await? && store::connector::read(target, &self.connector.name).await?.is_some();
            if made && let Some(said) = self.said(kafka).await? {
                self.board.waits("apply", None);
                return Ok(Some(said));
            }
            self.board.waits("apply", Some("capture to start and say which tables there are".to_owned()));
            tokio::select! {
                () = stopped(&mut self.stop) => return Ok(None),
                () = tokio::time::sleep(Duration::from_millis(300)) => {}
            }
        }
    }

    /// What capture has said, if it has said anything.
    pub(crate) async fn said(&self, kafka: &Kafka) -> Result<Option<Said>, PipelineError> {
        let name = self.connector.object_name();
        let contents = match ControlTail::open(kafka, &name, &control_topic(&kafka.topic_prefix)) {
            Ok(tail) => tail.read_all(BROKER_LIMIT).await,
            Err(error) => Err(error),
        };
        match contents {
            Ok(contents) => {
                let Some(entry) = contents.entries.get(TABLES) else { return Ok(None) };
                let specs = serde_json::from_slice(&entry.value).map_err(|_| PipelineError::Belief {
                    what: "the control topic's list of tables cannot be read".to_owned(),
                    hint: "use the same tablelift for capture and apply".to_owned(),
                })?;
                Ok(Some((specs, entry.value.clone())))
            }
            // capture has not made it yet
            Err(LogError::NoTopic { .. } | LogError::NoPartition { .. } | LogError::Refused { .. }) => Ok(None),
            Err(error) => Err(error.into()),
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

impl Lives for ApplyLife {
    async fn live(&mut self) -> Result<End, PipelineError> {
        Box::pin(self.run()).await
    }

    fn renew(&mut self, connector: Arc<Connector>) -> Arc<Connector> {
        std::mem::replace(&mut self.connector, connector)
    }

    fn fits(&self) -> bool {
        true
    }
}
