//! One schedule through Kafka: lives of capture and of two applies, killed apart and together, with a broker between them.

use super::broker::Clients;
use super::daemon::{Daemon, Process, prepared, stream};
use super::rng::Rng;
use super::source::SHAPES;
use super::traffic::{Life, PATIENCE};
use super::world::{Blow, INCARNATION, Shared, World};
use crate::change::{CommitLsn, EndLsn, Lsn, Position};
use crate::config::{Kafka, LogKind};
use crate::event::control_topic;
use crate::fate::Fate;
use crate::log::kafka::memory;
use crate::pipeline::kafka::{ApplyLife, CaptureLife, Plans};
use crate::pipeline::{Busy, End, FirstCopy, PipelineError, RunOptions, Side, Tasks, open_session, stands_by};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const PREFIX: &str = "sim";
/// So long it is watched once all is there: what is still on its way must not matter.
const QUIET: Duration = Duration::from_secs(4);

/// Posts the broker, and gives the log's settings.
pub fn log(world: &Shared) -> LogKind {
    memory::post(Clients(world.clone()));
    let partitions = 1 + i32::try_from(world.lock().rng.below(4)).expect("few");
    LogKind::Kafka(Kafka {
        brokers: "memory".to_owned(),
        topic_prefix: PREFIX.to_owned(),
        partitions,
        replication_factor: 1,
        settings: Vec::new(),
    })
}

impl World {
    /// What an earlier capture left, which had followed the table without a key from its first row.
    pub fn prepared_log(&mut self) {
        let end = Lsn(self.source.confirmed);
        let table = |name: &str| {
            let copied = name == "clicks";
            (
                format!("public.{name}"),
                serde_json::json!({ "copied": copied, "rows_copied": 0, "lacks_from": null, "halted": null }),
            )
        };
        let tables: BTreeMap<String, serde_json::Value> = SHAPES.iter().map(|shape| table(shape.name)).collect();
        let record = serde_json::json!({
            "connector": "sim", "source_system": "7", "timeline": 1, "incarnation": INCARNATION, "epoch": 1,
            "position": Position::start_of(INCARNATION, CommitLsn(EndLsn(end).0)).to_string(),
            "end": end, "ends": {}, "tables": tables,
        });
        self.broker.begins_with(control_topic(PREFIX), "slot@1", record.to_string().into_bytes());
    }
}

impl Daemon {
    fn capture(&self, process: &Process) -> impl Future<Output = Result<End, PipelineError>> + use<> {
        let (world, compiled, connector) = (self.world.clone(), self.compiled.clone(), Arc::clone(&self.connector));
        let mut stop = process.stop.subscribe();
        let board = Arc::clone(&process.board);
        let mut life = CaptureLife::new(Arc::clone(&connector), Arc::clone(&board));
        life.options = RunOptions { endpos: None, copy: FirstCopy::Make, log_only: false };
        life.stop = stop.clone();
        async move {
            let tasks = Tasks::default();
            let source = open_session(&tasks, &connector.source.endpoint, "us").await.map_err(PipelineError::Source)?;
            stands_by(&connector, &source, &board, &mut stop).await?;
            let target = open_session(&tasks, &connector.target.endpoint, "us").await.map_err(PipelineError::Target)?;
            let mut prepared = prepared(compiled);
            prepared.record.log_kind = "kafka".to_owned();
            prepared.facts.insert_lsn = Lsn(world.lock().source.wal);
            let found = life.find((&source, &target), prepared).await?;
            let holder = {
                let world = &mut *world.lock();
                if world.source.reader.is_some() {
                    return Ok(End::Again);
                }
                world.target.serial()
            };
            let reader = stream(&world, &tasks, Some(holder));
            Box::pin(life.go(tasks, &source, found, reader, false)).await
        }
    }

    fn apply(&self, process: &Process) -> impl Future<Output = Result<End, PipelineError>> + use<> {
        let (connector, stop, compiled) = (Arc::clone(&self.connector), process.stop.subscribe(), self.compiled.clone());
        let board = Arc::clone(&process.board);
        let mut life =
            ApplyLife { connector: Arc::clone(&connector), stop, board: Arc::clone(&board), publish: Arc::new(|_| {}) };
        async move {
            let tasks = Tasks::default();
            let target = open_session(&tasks, &connector.target.endpoint, "us").await.map_err(PipelineError::Target)?;
            let busy = Busy::of(&target, Side::Target, None, &board).await?;
            let kafka = connector.kafka().cloned().expect("the log is Kafka");
            let said = loop {
                match life.said(&kafka).await? {
                    Some(said) => break said,
                    None => tokio::time::sleep(Duration::from_millis(300)).await,
                }
            };
            let plans = compiled.into_iter().filter_map(|one| one.plan.ok()).collect();
            Box::pin(life.go(&tasks, (target, busy), said, Plans { fit: plans, ..Plans::default() }, false)).await
        }
    }
}

/// What befalls us.
#[derive(Debug)]
enum Fault {
    KillCapture,
    KillApply,
    KillAll,
    /// The server gives its walsender up; it goes on with what it has, and another begins.
    ZombieCapture,
    /// It goes on beside another.
    ZombieApply,
    /// A process stands still, with all that it has open.
    Stall,
    /// The group takes a member to be dead, which hears of it late.
    ThrownOut,
    Rebalance,
    /// A second apply comes, or goes.
    Second,
    BrokerAway,
    Of(Blow),
}

const FAULTS: &[Fault] = &[
    Fault::KillCapture,
    Fault::KillCapture,
    Fault::KillApply,
    Fault::KillApply,
    Fault::KillAll,
    Fault::ZombieCapture,
    Fault::ZombieCapture,
    Fault::ZombieApply,
    Fault::Stall,
    Fault::Stall,
    Fault::ThrownOut,
    Fault::Rebalance,
    Fault::Second,
    Fault::BrokerAway,
    Fault::Of(Blow::Source),
    Fault::Of(Blow::Target),
    Fault::Of(Blow::Resync),
    Fault::Of(Blow::Tamper),
    Fault::Of(Blow::Rows),
    Fault::Of(Blow::Rows),
    Fault::Of(Blow::Bar),
    Fault::Of(Blow::Bar),
];

/// A process, or the place where one should be.
struct Role {
    life: Option<Life>,
    process: Process,
    wanted: bool,
    not_before: Instant,
    /// It stands still until then.
    still: Instant,
}

impl Role {
    fn new(wanted: bool) -> Self {
        Self { life: None, process: Process::default(), wanted, not_before: Instant::now(), still: Instant::now() }
    }

    async fn ended(&mut self) -> Result<End, PipelineError> {
        match &mut self.life {
            Some(life) => {
                tokio::time::sleep_until(self.still).await;
                life.await
            }
            None => std::future::pending().await,
        }
    }

    /// Another process comes in its place. Gives what it was doing.
    fn taken(&mut self) -> Option<Life> {
        self.process = Process::default();
        self.life.take()
    }

    /// Says of a table that it is halted.
    fn says_halted(&self) -> bool {
        self.wanted && !self.process.board.halted_tables().is_empty()
    }

    fn is_due(&self, now: Instant) -> bool {
        self.wanted && self.life.is_none() && self.not_before <= now
    }
}

/// Capture, and two applies.
struct Processes<'d> {
    daemon: &'d Daemon,
    world: Shared,
    rng: Rng,
    roles: [Role; 3],
    zombies: Vec<Life>,
}

/// Lives after lives, with faults between, until all is there and stays.
pub async fn lives(daemon: &Daemon, world: &Shared, traffic: &tokio::task::JoinHandle<()>) -> Result<(), String> {
    let (mut faults, rng) = {
        let world = &mut *world.lock();
        (world.rng.below(10), Rng::new(world.rng.next()))
    };
    let roles = [Role::new(true), Role::new(true), Role::new(false)];
    let mut all = Processes { daemon, world: world.clone(), rng, roles, zombies: Vec::new() };
    all.roles[2].wanted = all.rng.percent(30);
    let (mut until, mut quiet) = (None, None);
    let mut fault_at = Instant::now() + Duration::from_millis(all.rng.below(300));
    loop {
        let now = Instant::now();
        let is_over = traffic.is_finished() && world.lock().source.all_visible() && faults == 0;
        {
            let world = world.lock();
            if world.failure.is_some() {
                return Ok(());
            }
            if is_over && world.has_come() && !all.roles.iter().any(Role::says_halted) {
                if *quiet.get_or_insert(now + QUIET) <= now {
                    return Ok(());
                }
            } else {
                quiet = None;
            }
            if is_over && *until.get_or_insert(now + PATIENCE) <= now {
                return Err(format!("it does not get there: {}", world.lacks()));
            }
        }
        let next = if faults > 0 { fault_at } else { now + Duration::from_millis(100) };
        match all.step(next).await? {
            true => {}
            false if faults > 0 => {
                faults -= 1;
                world.lock().seen.crashes += 1;
                fault_at = Instant::now() + Duration::from_millis(all.rng.below(600));
                all.befall();
            }
            false => {}
        }
    }
}

impl Processes<'_> {
    /// Runs them until one ends, or for so long. Gives whether one ended.
    async fn step(&mut self, next: Instant) -> Result<bool, String> {
        let now = Instant::now();
        for (number, role) in self.roles.iter_mut().enumerate() {
            if role.is_due(now) {
                role.still = now;
                role.life = Some(if number == 0 {
                    Box::pin(self.daemon.capture(&role.process))
                } else {
                    Box::pin(self.daemon.apply(&role.process))
                });
            }
        }
        let waiting = self.roles.iter().filter(|role| role.wanted && role.life.is_none()).map(|role| role.not_before).min();
        let next = waiting.map_or(next, |waiting| waiting.min(next));
        let [capture, first, second] = &mut self.roles;
        let zombies = &mut self.zombies;
        let (number, ended) = tokio::select! {
            biased;
            () = one_ends(zombies) => return Ok(true),
            ended = capture.ended() => (0, ended),
            ended = first.ended() => (1, ended),
            ended = second.ended() => (2, ended),
            () = tokio::time::sleep_until(next) => return Ok(waiting == Some(next)),
        };
        let what = ["capture", "apply", "the second apply"][number];
        let role = &mut self.roles[number];
        role.life = None;
        match ended {
            Ok(End::Again) => self.world.lock().tell(&format!("==== {what} again")),
            Ok(end) => return Err(format!("{what} ended: {end:?}")),
            Err(error) if error.fate() == Fate::Retry => {
                self.world.lock().tell(&format!("==== {what}: {}", crate::pipeline::chain(&error)));
            }
            Err(error) => return Err(format!("{what} failed: {}", crate::pipeline::chain(&error))),
        }
        role.not_before = Instant::now() + Duration::from_millis(20);
        Ok(true)
    }

    fn befall(&mut self) {
        let fault = self.rng.pick(FAULTS);
        self.world.lock().tell(&format!("==== {fault:?}"));
        let apply = 1 + self.rng.index(2);
        match fault {
            Fault::KillCapture => drop(self.roles[0].taken()),
            Fault::KillApply => drop(self.roles[apply].taken()),
            Fault::KillAll => self.roles.iter_mut().for_each(|role| drop(role.taken())),
            Fault::ZombieCapture => {
                self.zombies.extend(self.roles[0].taken());
                self.world.lock().source.reader = None;
            }
            Fault::ZombieApply => self.zombies.extend(self.roles[apply].taken()),
            Fault::Stall => {
                let number = self.rng.index(3);
                self.roles[number].still = Instant::now() + Duration::from_millis(self.rng.below(3000));
                if self.rng.percent(50) {
                    let mut world = self.world.lock();
                    if number == 0 { world.source.reader = None } else { world.throw_out() }
                }
            }
            Fault::ThrownOut => self.world.lock().throw_out(),
            Fault::Rebalance => self.world.lock().rebalance(),
            Fault::Second => {
                self.roles[2].wanted = !self.roles[2].wanted;
                drop(self.roles[2].taken());
            }
            Fault::BrokerAway => {
                let until = Instant::now() + Duration::from_millis(self.rng.below(3000));
                self.world.lock().broker.away_until = Some(until);
            }
            Fault::Of(blow) => self.world.lock().suffers(*blow),
        }
    }
}

/// Ends when one of them does, which is then gone.
async fn one_ends(zombies: &mut Vec<Life>) {
    if zombies.is_empty() {
        return std::future::pending().await;
    }
    let (_, at, _) = futures_util::future::select_all(zombies.iter_mut()).await;
    drop(zombies.remove(at));
}
