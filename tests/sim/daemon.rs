//! Our process: a life of the local pipeline, between what `prepare` makes and the attendants that look for what people do.

use super::source::SHAPES;
use super::source_session::SourceSession;
use super::stream::{Walsender, keepalive};
use super::target_plans::Book;
use super::target_session::TargetSession;
use super::wire::{Backend, serve};
use super::world::{INCARNATION, Shared};
use crate::change::{EndLsn, Lsn, ReplicaIdentity, TableName};
use crate::config::{Connector, CopyConfig, Create, LogKind, SourceConfig, TargetConfig, Triggers};
use crate::mapping::{self, Facts, Rule, SourceColumn, SourceShape, TablePlan, TargetColumn, TargetShape, UniqueKey};
use crate::pg::{self, Endpoint, Host};
use crate::pipeline::{Board, Busy, End, FirstCopy, Life, PipelineError, Prepared, RunOptions, Side, Tasks, open_session};
use crate::preflight::Compiled;
use crate::source::{KnownLeaves, Reader, ServerFacts, SlotName};
use crate::store::connector::{ConnectorRecord, Made};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// What stays the same from life to life.
pub struct Daemon {
    pub world: Shared,
    pub connector: Arc<Connector>,
    pub compiled: Vec<Compiled>,
}

/// What a process has for all its lives.
#[derive(Default)]
pub struct Process {
    pub board: Arc<Board>,
    /// It is asked to stop.
    pub stop: watch::Sender<bool>,
}

fn host(side: &str) -> Host {
    Host::unix(side, 1)
}

impl Daemon {
    pub fn new(world: &Shared, workers: usize, log: LogKind) -> Self {
        let plans: Vec<TablePlan> = (0..SHAPES.len()).map(plan).collect();
        let book = Arc::new(Book::of(&plans));
        let shared = world.clone();
        post("source", world, move || SourceSession::new(shared.clone()));
        let shared = world.clone();
        post("target", world, move || TargetSession::new(shared.clone(), Arc::clone(&book)));
        let endpoint = |side: &str| Endpoint::new(host(side), "us", side);
        let connector = Connector {
            file: "sim.toml".into(),
            name: "sim".to_owned(),
            source: SourceConfig { endpoint: endpoint("source"), slot: None, publication: None },
            target: TargetConfig { endpoint: endpoint("target"), create: Create::Never, triggers: Triggers::Off },
            log,
            http: None,
            // lags are told by the clock of the machine, which is not the model's
            copy: CopyConfig { workers, pause_when_lag_over: Duration::from_secs(u64::from(u32::MAX)), ..CopyConfig::default() },
            tables: plans.iter().map(|plan| plan.rule.clone()).collect(),
            patterns: Vec::new(),
        };
        let compile = |(number, plan): (usize, TablePlan)| {
            let source = Some(source_shape(number));
            Compiled { rule: plan.rule.clone(), source, target: None, design: None, plan: Ok(plan) }
        };
        Self {
            world: world.clone(),
            connector: Arc::new(connector),
            compiled: plans.into_iter().enumerate().map(compile).collect(),
        }
    }

    /// One life, until something ends it; or for ever.
    pub fn life(&self, process: &Process) -> impl Future<Output = Result<End, PipelineError>> + use<> {
        let (world, compiled, connector) = (self.world.clone(), self.compiled.clone(), Arc::clone(&self.connector));
        let board = Arc::clone(&process.board);
        let mut life = Life {
            connector: Arc::clone(&connector),
            options: RunOptions { endpos: None, copy: FirstCopy::Make, log_only: false },
            stop: process.stop.subscribe(),
            board: Arc::clone(&board),
            publish: Arc::new(|_| {}),
            apart: Vec::new(),
            fits: true,
        };
        async move {
            let tasks = Tasks::default();
            let source = open_session(&tasks, &connector.source.endpoint, "us").await.map_err(PipelineError::Source)?;
            let target = open_session(&tasks, &connector.target.endpoint, "us").await.map_err(PipelineError::Target)?;
            let busy = Busy::of(&target, Side::Target, None, &board).await?;
            let reader = stream(&world, &tasks, None);
            life.live(&tasks, (source, target, busy), prepared(compiled), reader, false).await
        }
    }
}

fn post<B: Backend>(side: &'static str, world: &Shared, session: impl Fn() -> B + 'static) {
    let world = world.clone();
    pg::memory::post(&host(side), move || {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let served = tokio::spawn(serve(session(), world.clone(), theirs));
        let world = world.clone();
        tokio::spawn(async move {
            if let Err(panic) = served.await {
                world.lock().fail(format!("the model's {side} panicked: {panic}"));
            }
        });
        Ok(ours)
    });
}

/// Opens the slot's stream: from where it is confirmed, in pieces, as the WAL grows.
/// `holder`: who it is, where nobody else may read the slot.
pub fn stream(world: &Shared, tasks: &Tasks, holder: Option<u64>) -> Reader {
    let (sender, chunks) = mpsc::unbounded_channel();
    let (life, confirmed) = {
        let mut world = world.lock();
        world.source.reader = holder;
        (world.source.life, world.source.confirmed)
    };
    let start = (INCARNATION, EndLsn(Lsn(confirmed)));
    let (reader, mut confirms) = Reader::simulated(start, chunks, |task| tasks.start(task));
    let world = world.clone();
    tasks.start(async move {
        let _held = Held { world: world.clone(), holder };
        let mut walsender = Walsender::default();
        let mut sent = confirmed;
        let mut waiting: Vec<Bytes> = Vec::new();
        loop {
            {
                let mut world = world.lock();
                let world = &mut *world;
                if world.source.life != life {
                    return;
                }
                if world.source.reader != holder {
                    break;
                }
                let confirmed = confirms.borrow_and_update().0.0;
                if confirmed > world.source.confirmed {
                    world.source.confirmed = confirmed;
                    if world.rng.percent(30) {
                        world.source.confirmed_on_disk = confirmed;
                    }
                }
                for commit in world.source.commits.iter().filter(|commit| commit.lsn >= sent) {
                    waiting.extend(walsender.transaction(commit, &mut world.rng));
                }
                sent = sent.max(world.source.wal);
                if waiting.is_empty() && world.rng.percent(40) {
                    waiting.push(keepalive(sent));
                }
                let some = if world.rng.percent(50) { waiting.len() } else { world.rng.index(waiting.len() + 1) };
                let piece: Vec<u8> = waiting.drain(..some).flatten().collect();
                if !piece.is_empty() && sender.send(Ok(Bytes::from(piece))).is_err() {
                    return;
                }
            }
            let pause = {
                let world = &mut *world.lock();
                let lag = world.lag;
                if waiting.is_empty() { 2 + world.rng.below(30) } else { world.rng.below(lag) }
            };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        // the server has given it up, and we do not know
        let late = world.lock().rng.below(4000);
        tokio::time::sleep(Duration::from_millis(late)).await;
        drop(sender);
    });
    reader
}

/// A walsender that holds its slot.
struct Held {
    world: Shared,
    holder: Option<u64>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let source = &mut self.world.lock().source;
        source.reader = source.reader.filter(|&holder| Some(holder) != self.holder);
    }
}

pub fn prepared(compiled: Vec<Compiled>) -> Prepared {
    let record = ConnectorRecord {
        name: "sim".to_owned(),
        source_system: "7".to_owned(),
        source_database: "source".to_owned(),
        source_timeline: 1,
        log_kind: "local".to_owned(),
        topic_prefix: None,
        partitions: None,
        slot: "tablelift_sim".to_owned(),
        publication: "tablelift_sim".to_owned(),
        incarnation: i32::try_from(INCARNATION).expect("one"),
        made: Made::default(),
    };
    let facts = ServerFacts {
        system_id: "7".to_owned(),
        timeline: 1,
        version: 150_009,
        in_recovery: false,
        insert_lsn: Lsn(0),
        wal_level: "logical".to_owned(),
        max_replication_slots: 10,
        replication_slots_used: 1,
        max_wal_senders: 10,
        wal_senders_used: 1,
        wal_sender_timeout: Duration::from_secs(60),
    };
    let slot = SlotName::new("tablelift_sim").expect("a name");
    let (misfits, left_out, leaving, findings) = (Vec::new(), BTreeSet::new(), Vec::new(), Vec::new());
    let publications = vec!["tablelift_sim".to_owned()];
    Prepared {
        record,
        first: false,
        facts,
        slot,
        publications,
        compiled,
        misfits,
        left_out,
        leaving,
        findings,
        partitions: KnownLeaves::default(),
    }
}

/// A table as the source's catalog has it.
fn source_shape(number: usize) -> SourceShape {
    let shape = &SHAPES[number];
    let key: Vec<String> = shape.key.iter().map(|&column| shape.columns[column].to_owned()).collect();
    let column = |(at, name): (usize, &&str)| SourceColumn {
        name: (*name).to_owned(),
        type_name: "text".to_owned(),
        type_base: "text".to_owned(),
        type_oid: 25,
        type_kind: 'b',
        type_category: 'S',
        not_null: shape.key.contains(&at),
        generated: None,
        collation_deterministic: true,
        number: i32::try_from(at).expect("few columns") + 1,
        has_default: false,
    };
    SourceShape {
        name: TableName::new("public", shape.name),
        oid: super::stream::oid(number),
        kind: 'r',
        identity: if shape.full { ReplicaIdentity::Full } else { ReplicaIdentity::Default },
        identity_columns: key.clone(),
        primary_key: key,
        unique_index: None,
        columns: shape.columns.iter().enumerate().map(column).collect(),
        rows_estimated: 0,
        bytes: 0,
    }
}

/// A table's plan, compiled as ever.
fn plan(number: usize) -> TablePlan {
    let shape = &SHAPES[number];
    let key: Vec<String> = shape.key.iter().map(|&column| shape.columns[column].to_owned()).collect();
    let target_column = |(at, name): (usize, &&str)| TargetColumn {
        name: (*name).to_owned(),
        type_name: "text".to_owned(),
        type_base: "text".to_owned(),
        type_oid: 25,
        type_kind: 'b',
        type_category: 'S',
        not_null: shape.key.contains(&at),
        has_default: false,
        generated: false,
        identity_always: false,
        identity: false,
    };
    let unique = |name: &str, columns: Vec<String>, primary| UniqueKey {
        name: name.to_owned(),
        columns,
        primary,
        deferrable: false,
        partial_or_expression: false,
        exclusion: false,
    };
    let mut uniques = Vec::new();
    if !key.is_empty() {
        uniques.push(unique("key", key, true));
    }
    uniques.extend(shape.unique.map(|column| unique("unique", vec![shape.columns[column].to_owned()], false)));
    let source = source_shape(number);
    let target = TargetShape {
        name: TableName::new("shop", shape.name),
        oid: 1,
        kind: 'r',
        columns: shape.columns.iter().enumerate().map(target_column).collect(),
        uniques,
        foreign_keys_out: Vec::new(),
        foreign_keys_in: Vec::new(),
        cascades: Vec::new(),
        unlogged: Vec::new(),
        actions: Vec::new(),
    };
    let rule = Rule::plain(source.name.clone(), target.name.clone());
    let input_types = vec!["text".to_owned(); shape.columns.len()];
    let facts = Facts { columns: Vec::new(), filter: None, input_types };
    mapping::compile(&rule, &source, &target, &facts).expect("a plain plan")
}
