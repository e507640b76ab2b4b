//! Capture: the source's stream into the topics. The slot is confirmed only up to what the log has acknowledged, events and record.

use super::copy::TopicCopier;
use super::mirror::mirror;
use super::record::{EndLsnText, SLOT, SlotRecord, TABLES, TableRecord};
use super::specs::{TableSpec, canonical_numeric, specs};
use crate::change::{Before, Cell, Change, CommitLsn, EndLsn, Feed, Op, Position, Row, Table, UnixMicros};
use crate::config::{Connector, Kafka};
use crate::event::{About, Encoder, Frame, Origin, control_topic};
use crate::fate::Fate;
use crate::finding::Finding;
use crate::log::LogError;
use crate::log::kafka::{AckGroup, Acks, Admin, Control, ControlTail, Ends, Producer, TopicSpec};
use crate::mapping::TablePlan;
use crate::pipeline::board::Board;
use crate::pipeline::gate::{Gate, Gates};
use crate::pipeline::holdup::Watch;
use crate::pipeline::prepare::{self, FirstCopy, prepare};
use crate::pipeline::run::{End, RunOptions, stands_by, stopped};
use crate::pipeline::{PipelineError, Tasks, session};
use crate::source::{Feedback, Reader, ReaderConfig, SlotName, SourceError};
use crate::store;
use crate::store::table_state::Halted;
use crate::telemetry::{self, Meter, Stage};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, mpsc, watch};

const BROKER_LIMIT: Duration = Duration::from_secs(20);
/// Bytes of read buffers on their way.
const READ_BUDGET: usize = 8 << 20;
/// A group of events is closed at the first commit after so many, or so long.
const GROUP_EVENTS: usize = 5000;
const GROUP_TIME: Duration = Duration::from_millis(20);
/// A halted table is tried again after this.
const TRY_AGAIN: Duration = Duration::from_secs(30);
/// Between two records, unless somebody waits.
const RECORD_EVERY: Duration = Duration::from_millis(100);

/// One life of the capturing half.
pub struct CaptureLife {
    pub connector: Arc<Connector>,
    pub options: RunOptions,
    pub stop: watch::Receiver<bool>,
    pub board: Arc<Board>,
    pub publish: Arc<dyn Fn(Arc<Meter>) + Send + Sync>,
}

/// Where a group of events ends.
#[derive(Clone, Debug)]
struct Sealed {
    position: Position,
    end: EndLsn,
    marked: bool,
    /// What becomes true of tables once everything before is in the log.
    news: Vec<(usize, News)>,
}

/// What becomes of a table at a place of the stream.
#[derive(Clone, Debug)]
enum News {
    /// It lacks what comes from here on, or nothing behind the record.
    Lacks(Option<Position>),
    Halted(Position, Halted),
}

impl CaptureLife {
    /// # Errors
    /// See [`PipelineError`].
    pub async fn run(&mut self) -> Result<End, PipelineError> {
        let tasks = Tasks::default();
        let connector = Arc::clone(&self.connector);
        let kafka = connector.kafka().cloned().expect("capture is started for a Kafka log only");
        let name = connector.object_name();
        let source = session::open(&tasks, &connector.source.endpoint, &name).await.map_err(PipelineError::Source)?;
        tasks.start(Watch { connector: Arc::clone(&connector), board: Arc::clone(&self.board) }.run());
        if stands_by(&connector, &source, &self.board, &mut self.stop).await? {
            return Ok(End::Stopped);
        }
        let mut target = session::open(&tasks, &connector.target.endpoint, &name).await.map_err(PipelineError::Target)?;
        let mut prepared = prepare(&connector, &source, &mut target, self.options.copy, &self.board).await?;
        let admin = Admin::new(&kafka)?;
        admin.brokers(BROKER_LIMIT).await?;
        let control_name = control_topic(&kafka.topic_prefix);
        admin.ensure(&[TopicSpec::control(&kafka)], BROKER_LIMIT).await?;
        let contents = ControlTail::open(&kafka, &name, &control_name)?.read_all(BROKER_LIMIT).await?;
        let old: Option<SlotRecord> = contents.entries.get(SLOT).map(|entry| read_record(&entry.value)).transpose()?;
        if let Some(record) = old.as_ref().filter(|record| record.connector != connector.name) {
            return Err(owned(&kafka, &record.connector));
        }
        let specs = make_topics(&kafka, &admin, &prepared, &contents.entries).await?;
        prepared.record.made.topics = specs.iter().map(|spec| spec.topic.clone()).chain([control_name.clone()]).collect();
        store::connector::write(&target, &prepared.record).await?;
        let record = self.slot_record(&source, &target, &mut prepared, old, &specs).await?;
        let reader = match open_stream(&connector, &tasks, &prepared).await {
            Err(PipelineError::Stream(SourceError::SlotActive(_))) => return Ok(End::Again),
            other => other?,
        };
        let producer = Producer::new(&kafka, &record.ends)?;
        let control = Control::new(producer.clone(), control_name, record.epoch);
        control.write(SLOT, &serde_json::to_vec(&record).expect("plain data is always JSON")).await?;
        control.write(TABLES, &serde_json::to_vec(&specs).expect("plain data is always JSON")).await?;
        control.sweep(&contents).await?;
        let database = prepared.record.source_database.clone();
        let plans = prepared.compiled.into_iter().filter_map(|one| one.plan.ok()).collect();
        self.follow(
            tasks,
            Setup { specs, plans, record, database, incarnation: prepared_incarnation(&prepared.record) },
            reader,
            producer,
            control,
        )
        .await
    }

    /// The slot, made or held against the record; and the record of this start, with its new epoch.
    async fn slot_record(
        &self,
        source: &tokio_postgres::Client,
        target: &tokio_postgres::Client,
        prepared: &mut prepare::Prepared,
        old: Option<SlotRecord>,
        specs: &[TableSpec],
    ) -> Result<SlotRecord, PipelineError> {
        // a record that outlived its connector (`drop` without --topics) only keeps epochs and offsets rising
        let (outlived, old) = if prepared.first { (old, None) } else { (None, old) };
        let end = old.as_ref().map(SlotRecord::end);
        let confirmed = prepare::slot_at(&self.connector, (source, target), prepared, end, &self.board).await?;
        let incarnation = prepared_incarnation(&prepared.record);
        let fresh = SlotRecord {
            connector: self.connector.name.clone(),
            source_system: prepared.facts.system_id.clone(),
            timeline: prepared.facts.timeline,
            incarnation,
            epoch: outlived.as_ref().map_or(0, |record| record.epoch),
            position: Position::start_of(incarnation, CommitLsn(confirmed.0)).to_string(),
            end: EndLsnText(confirmed.0),
            ends: outlived.map(|record| record.ends).unwrap_or_default(),
            tables: BTreeMap::new(),
        };
        let mut record = old.unwrap_or(fresh);
        record.epoch += 1;
        record.timeline = prepared.facts.timeline;
        let copied = self.options.copy == FirstCopy::Skip;
        let mut tables = BTreeMap::new();
        for spec in specs {
            let name = spec.shape.name.to_string();
            let known = record.tables.remove(&name);
            tables.insert(name, known.unwrap_or(TableRecord { copied, ..TableRecord::default() }));
        }
        record.tables = tables;
        Ok(record)
    }

    async fn follow(
        &mut self,
        tasks: Tasks,
        setup: Setup,
        reader: Reader,
        producer: Producer,
        control: Control,
    ) -> Result<End, PipelineError> {
        let tables = setup.plans.iter().map(|plan: &TablePlan| (plan.source.clone(), plan.target.clone()));
        let meter = Arc::new(Meter::new(&self.connector.name, tables));
        (self.publish)(Arc::clone(&meter));
        let _streaming = self.board.streams();
        let (records, recorded) = watch::channel(Some(setup.record.clone()));
        let mirror = mirror(Arc::clone(&self.connector), recorded);
        tasks.start(mirror);
        let gates: Vec<Gate> = setup.specs.iter().map(|spec| gate(&setup.record, spec)).collect::<Result<_, _>>()?;
        let to_copy: Vec<usize> = (0..gates.len()).filter(|&table| gates[table] == Gate::Waiting).collect();
        let position = setup.record.position().map_err(|_| damaged())?;
        let gates = Gates::new(gates, position, setup.record.end(), reader.confirmed_at_start());
        let encoders: Vec<Encoder> = setup
            .specs
            .iter()
            .map(|spec| Encoder::new(spec.table(), &spec.key, &setup.database, &self.connector.name))
            .collect::<Result<_, _>>()
            .map_err(|error| PipelineError::Belief { what: error.to_string(), hint: "correct the table's key".to_owned() })?;
        let specs = Arc::new(setup.specs);
        let plans = Arc::new(setup.plans);
        let (copied, mut copies) = mpsc::unbounded_channel();
        for &table in &to_copy {
            let copier = TopicCopier {
                connector: Arc::clone(&self.connector),
                incarnation: setup.incarnation,
                epoch: setup.record.epoch,
                specs: Arc::clone(&specs),
                plans: Arc::clone(&plans),
                producer: producer.clone(),
                meter: Arc::clone(&meter),
                board: Arc::clone(&self.board),
                database: setup.database.clone(),
            };
            let copied = copied.clone();
            tasks.start(async move {
                copied.send((table, copier.copy(table).await)).ok();
            });
        }
        let mut waiting = to_copy.len();
        let feedback = reader.feedback();
        let mut half = Half {
            specs: specs.to_vec(),
            database: setup.database,
            plans,
            encoders,
            by_relation: HashMap::new(),
            gates,
            acks: producer.acks(),
            record_acks: producer.acks(),
            group: None,
            events: 0,
            grouped_at: Instant::now(),
            last_record: Instant::now(),
            due: None,
            open: None,
            marked: false,
            record: setup.record,
            recording: None,
            frame: Frame::default(),
            producer,
            control,
            feedback,
            records,
            meter,
            board: Arc::clone(&self.board),
            incarnation: setup.incarnation,
            news: Vec::new(),
            retry_at: None,
        };
        let mut reader = reader;
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return half.last_words().await,
                Some((table, done)) = copies.recv() => {
                    half.copied(table, done);
                    waiting -= 1;
                    if waiting == 0 {
                        half.flush().await?;
                        return Ok(End::Again);
                    }
                }
                sealed = half.acks.front() => half.acknowledged(sealed?).await?,
                recorded = half.record_acks.front() => half.recorded(recorded?.0),
                _ = tick.tick() => half.tick().await?,
                feeds = reader.next(), if half.acks.len() < 64 => half.take(feeds?).await?,
            }
            if half.retry_at.is_some_and(|at| Instant::now() >= at) {
                return Ok(End::Again);
            }
            let held = |wanted: EndLsn| half.record.end() >= wanted && half.recording.is_none() && half.gates.consistent();
            if self.options.log_only && self.options.endpos.is_some_and(held) {
                return Ok(End::Reached);
            }
        }
    }
}

struct Setup {
    specs: Vec<TableSpec>,
    plans: Vec<TablePlan>,
    record: SlotRecord,
    database: String,
    incarnation: u32,
}

fn prepared_incarnation(record: &store::connector::ConnectorRecord) -> u32 {
    u32::try_from(record.incarnation).unwrap_or(1)
}

fn read_record(value: &[u8]) -> Result<SlotRecord, PipelineError> {
    serde_json::from_slice(value).map_err(|_| damaged())
}

fn damaged() -> PipelineError {
    PipelineError::Belief {
        what: "the control topic's record cannot be read".to_owned(),
        hint: "nobody but tablelift may write to `PREFIX.tablelift`; use the program that wrote it".to_owned(),
    }
}

fn owned(kafka: &Kafka, other: &str) -> PipelineError {
    let what = format!("the topics with prefix `{}` belong to the connector `{other}`", kafka.topic_prefix);
    let finding = Finding::error("log.topic_owned", kafka.topic_prefix.clone(), what);
    PipelineError::Findings(vec![finding.config("[log]\ntopic_prefix = \"...\"")])
}

fn gate(record: &SlotRecord, spec: &TableSpec) -> Result<Gate, PipelineError> {
    let Some(table) = record.tables.get(&spec.shape.name.to_string()) else { return Ok(Gate::Waiting) };
    let from = table.lacks_from.as_ref().map(|text| text.parse().map_err(|_| damaged())).transpose()?;
    Ok(match (table.copied, from) {
        (false, _) => Gate::Waiting,
        (true, None) => Gate::Follow,
        (true, Some(from)) => Gate::Behind(from),
    })
}

/// Makes what is missing; pins what is there.
async fn make_topics(
    kafka: &Kafka,
    admin: &Admin,
    prepared: &prepare::Prepared,
    entries: &BTreeMap<String, crate::log::kafka::Entry>,
) -> Result<Vec<TableSpec>, PipelineError> {
    let old: Vec<TableSpec> = entries.get(TABLES).and_then(|entry| serde_json::from_slice(&entry.value).ok()).unwrap_or_default();
    let pinned: BTreeMap<String, i32> = old.iter().map(|spec| (spec.topic.clone(), spec.partitions)).collect();
    let specs = specs(kafka, &prepared.compiled, &old).map_err(|errors| {
        let findings = errors.iter().map(|error| Finding::error("log.topic_name", kafka.topic_prefix.clone(), error.to_string()));
        PipelineError::Findings(findings.collect())
    })?;
    let wanted: Vec<TopicSpec> = specs.iter().map(|spec| TopicSpec::table(&spec.topic, kafka, spec.partitions)).collect();
    let made = admin.ensure(&wanted, BROKER_LIMIT).await?;
    let names: Vec<String> = specs.iter().map(|spec| spec.topic.clone()).collect();
    let states = admin.describe(&names, BROKER_LIMIT).await?;
    let mut findings = Vec::new();
    for (spec, state) in specs.iter().zip(&states) {
        let Some(state) = state else { continue };
        if made.contains(&spec.topic) && pinned.contains_key(&spec.topic) {
            return Err(LogError::NoTopic { topic: spec.topic.clone() }.into());
        }
        if state.partitions != spec.partitions {
            let what = format!("it has {} partitions, and {} were pinned", state.partitions, spec.partitions);
            findings.push(
                Finding::error("log.partitions", spec.topic.clone(), what).hint("make the topic anew and copy its table again"),
            );
        }
        if state.cleanup_policy.contains("compact") {
            let what = "cleanup.policy is `compact`: it would remove events that apply still needs";
            findings.push(Finding::error("log.compact", spec.topic.clone(), what).hint("set cleanup.policy=delete on the topic"));
        }
    }
    if findings.is_empty() { Ok(specs) } else { Err(PipelineError::Findings(findings)) }
}

async fn open_stream(connector: &Connector, tasks: &Tasks, prepared: &prepare::Prepared) -> Result<Reader, PipelineError> {
    let endpoint = connector.source.endpoint.clone();
    let slot: SlotName = prepared.slot.clone();
    let mut config = ReaderConfig::new(endpoint, connector.object_name(), slot, prepared.publications.clone());
    config.incarnation = prepared_incarnation(&prepared.record);
    config.budget = READ_BUDGET;
    let spawn = tasks.clone();
    Ok(Reader::start(config, &move |task| spawn.start(task)).await?)
}

/// The running half.
struct Half {
    specs: Vec<TableSpec>,
    database: String,
    plans: Arc<Vec<TablePlan>>,
    encoders: Vec<Encoder>,
    by_relation: HashMap<u32, (usize, Result<(), String>)>,
    gates: Gates,
    acks: Acks<Sealed>,
    record_acks: Acks<SlotRecord>,
    group: Option<Arc<AckGroup>>,
    events: usize,
    grouped_at: Instant,
    last_record: Instant,
    /// Acknowledged, but not yet recorded.
    due: Option<Sealed>,
    open: Option<(u32, UnixMicros)>,
    marked: bool,
    record: SlotRecord,
    /// A record is on its way.
    recording: Option<EndLsn>,
    frame: Frame,
    producer: Producer,
    control: Control,
    feedback: Feedback,
    records: watch::Sender<Option<SlotRecord>>,
    meter: Arc<Meter>,
    board: Arc<Board>,
    incarnation: u32,
    /// Not yet part of a group.
    news: Vec<(usize, News)>,
    /// A table is halted: when it is tried again.
    retry_at: Option<Instant>,
}

impl Half {
    async fn take(&mut self, feeds: Vec<Feed>) -> Result<(), PipelineError> {
        for feed in feeds {
            match feed {
                Feed::Begin { xid, committed_at, .. } => self.open = Some((xid, committed_at)),
                Feed::Shape(table) => self.shape(&table).await?,
                Feed::Change(change) => self.change(change).await?,
                Feed::Mark => self.marked = true,
                Feed::Commit { commit, end, committed_at } => {
                    self.open = None;
                    let position = Position::new(self.incarnation, commit, u64::MAX);
                    self.committed(position, end, committed_at);
                }
                Feed::Keepalive { end } => {
                    if self.open.is_none() {
                        self.news.extend(self.gates.idle(end).into_iter().map(|(table, lacks)| (table, News::Lacks(lacks))));
                        self.marked |= !self.news.is_empty();
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes note of a relation: which table it is, and whether the plans still fit it. A shape that they fit, but that is not the one
    /// known so far, is announced before its first event.
    async fn shape(&mut self, table: &Arc<Table>) -> Result<(), PipelineError> {
        let Some(at) = self.specs.iter().position(|spec| spec.shape.name == table.name) else { return Ok(()) };
        let of_table = self.plans.iter().filter(|plan| plan.source == table.name);
        let misfits: Vec<String> =
            of_table.filter_map(|plan| plan.bind(table).err()).flatten().map(|misfit| misfit.to_string()).collect();
        let fits = if misfits.is_empty() { Ok(()) } else { Err(misfits.join("; ")) };
        let names = |table: &Table| table.columns.iter().map(|column| (column.name.clone(), column.type_oid)).collect::<Vec<_>>();
        if fits.is_ok() && names(self.encoders[at].table()) != names(table) {
            let encoder = Encoder::new(Arc::clone(table), &self.specs[at].key, &self.database, &self.record.connector);
            self.encoders[at] = encoder.map_err(|error| PipelineError::Belief {
                what: error.to_string(),
                hint: "bring the table's key in line with its entry in the connector file".to_owned(),
            })?;
            self.specs[at].note_shape(table);
            self.control.write(TABLES, &serde_json::to_vec(&self.specs).expect("plain data is always JSON")).await?;
        }
        self.by_relation.insert(table.relation_id, (at, fits));
        Ok(())
    }

    async fn change(&mut self, change: Change) -> Result<(), PipelineError> {
        let Some((table, fits)) = self.by_relation.get(&change.table.relation_id) else { return Ok(()) };
        let table = *table;
        if !self.gates.wants(table, change.position) {
            return Ok(());
        }
        if let Err(because) = fits {
            let because = because.clone();
            let hint = "bring the entry in the connector file (`ignore`) and the target in line; it is tried again every 30 s, at SIGHUP and at a restart";
            self.halt(table, change.position, because, hint.to_owned());
            return Ok(());
        }
        let (first, second) = split(&self.encoders[table], change);
        for part in std::iter::once(first).chain(second) {
            if let Err((because, hint)) = self.emit(table, &part).await? {
                self.halt(table, part.position, because, hint);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends one change's event, and its tombstone. The inner error halts the table.
    async fn emit(&mut self, table: usize, change: &Change) -> Result<Result<(), (String, String)>, PipelineError> {
        let (xid, committed_at) = self.open.unwrap_or_default();
        let spec = &self.specs[table];
        let encoder = &self.encoders[table];
        let about = About { epoch: self.record.epoch, now: telemetry::now(), origin: Origin::Stream { xid, committed_at } };
        let row = change.after.as_ref().or_else(|| change.before.row());
        let numeric = spec.numeric_key;
        let cells = row.into_iter().flat_map(|row: &Row| encoder.key_cells(row)).map(|cell| match cell {
            Cell::Text(text) if numeric => Cell::Text(canonical_numeric(text)),
            other => other,
        });
        if let Err(error) = encoder.change(&mut self.frame, change, cells, &about) {
            let hint = "the log cannot carry this value; correct it at the source, or use the local log".to_owned();
            return Ok(Err((error.to_string(), hint)));
        }
        let group = match &self.group {
            Some(group) => Arc::clone(group),
            None => {
                let group = self.acks.open();
                self.grouped_at = Instant::now();
                self.group = Some(Arc::clone(&group));
                group
            }
        };
        let partitions = spec.partitions();
        let sent = if change.op == Op::Truncate {
            let mut sent = Ok(());
            for partition in partitions.all() {
                sent = sent.and(self.producer.send(&group, &spec.topic, partition, &self.frame).await);
            }
            sent
        } else {
            let partition = partitions.of(self.frame.key());
            let sent = self.producer.send(&group, &spec.topic, partition, &self.frame).await;
            if sent.is_ok() && change.op == Op::Delete && self.frame.into_tombstone() {
                self.producer.send(&group, &spec.topic, partition, &self.frame).await
            } else {
                sent
            }
        };
        self.events += 1;
        match sent {
            Ok(()) => Ok(Ok(())),
            Err(error @ LogError::TooLarge { .. }) => Ok(Err((error.to_string(), "raise the limits, then SIGHUP".to_owned()))),
            Err(error) => Err(error.into()),
        }
    }

    fn halt(&mut self, table: usize, position: Position, because: String, hint: String) {
        let name = &self.specs[table].shape.name;
        tracing::error!(table = %name, %position, "table halted: {because}\n  hint: {hint}");
        self.gates.halt(table, position);
        let halted = Halted { because, hint };
        self.board.halted(name, halted.clone(), None);
        self.news.push((table, News::Halted(position, halted)));
        self.retry_at = Some(Instant::now() + TRY_AGAIN);
    }

    fn committed(&mut self, position: Position, end: EndLsn, committed_at: UnixMicros) {
        self.news.extend(self.gates.passed(position, end).into_iter().map(|(table, lacks)| (table, News::Lacks(lacks))));
        self.marked |= !self.news.is_empty();
        self.meter.lag(Stage::Capture, telemetry::since(committed_at));
        let full = self.events >= GROUP_EVENTS || self.grouped_at.elapsed() >= GROUP_TIME;
        if self.marked || self.acks.is_empty() || full && self.group.is_some() {
            self.seal();
        }
    }

    /// Closes the group of events at the last commit.
    fn seal(&mut self) {
        let group = self.group.take().unwrap_or_else(|| self.acks.open());
        let sealed = Sealed {
            position: self.gates.checkpoint(),
            end: self.gates.end(),
            marked: std::mem::take(&mut self.marked),
            news: std::mem::take(&mut self.news),
        };
        self.acks.seal(group, sealed);
        self.events = 0;
    }

    /// Everything up to here is in the log.
    async fn acknowledged(&mut self, (sealed, ends): (Sealed, Ends)) -> Result<(), PipelineError> {
        self.settle(sealed, &ends);
        self.record_if_due(false).await
    }

    fn settle(&mut self, sealed: Sealed, ends: &Ends) {
        self.record.ends.raise_all(ends);
        for (table, news) in &sealed.news {
            let name = &self.specs[*table].shape.name;
            let record = self.record.tables.entry(name.to_string()).or_default();
            match news {
                News::Lacks(lacks) => {
                    record.lacks_from = lacks.map(|position| position.to_string());
                    if record.halted.take().is_some() {
                        self.board.resumed(name);
                    }
                }
                News::Halted(position, halted) => {
                    record.lacks_from = Some(position.to_string());
                    record.halted = Some((halted.because.clone(), halted.hint.clone()));
                }
            }
        }
        let marked = sealed.marked || self.due.as_ref().is_some_and(|due| due.marked);
        self.due = Some(Sealed { marked, ..sealed });
    }

    async fn tick(&mut self) -> Result<(), PipelineError> {
        let late = self.group.is_some() && self.grouped_at.elapsed() >= GROUP_TIME;
        let idle = self.group.is_none() && self.acks.is_empty() && self.gates.end() > self.record.end() && self.due.is_none();
        if self.open.is_none() && (late || idle) {
            self.seal();
        }
        self.record_if_due(false).await
    }

    async fn record_if_due(&mut self, now: bool) -> Result<(), PipelineError> {
        let Some(due) = &self.due else { return Ok(()) };
        if self.recording.is_some() || !(now || due.marked || self.last_record.elapsed() >= RECORD_EVERY) {
            return Ok(());
        }
        let due = self.due.take().expect("seen above");
        self.record.position = due.position.to_string();
        self.record.end = EndLsnText(due.end.0.max(self.record.end.0));
        let value = serde_json::to_vec(&self.record).expect("plain data is always JSON");
        let group = self.record_acks.open();
        self.control.send(&group, SLOT, &value).await?;
        self.record_acks.seal(group, self.record.clone());
        self.recording = Some(due.end);
        self.last_record = Instant::now();
        Ok(())
    }

    /// The record is in the log: now the source may forget what it covers.
    fn recorded(&mut self, record: SlotRecord) {
        self.recording = None;
        self.feedback.confirm(self.gates.confirmable().min(record.end()));
        self.records.send_replace(Some(record));
    }

    fn copied(&mut self, table: usize, (from, rows, ends): (Position, i64, Ends)) {
        self.record.ends.raise_all(&ends);
        let name = self.specs[table].shape.name.to_string();
        let record = self.record.tables.entry(name).or_default();
        *record = TableRecord { copied: true, rows_copied: rows, lacks_from: Some(from.to_string()), halted: None };
    }

    /// Records what is acknowledged, whatever the time, and waits for it.
    async fn flush(&mut self) -> Result<(), PipelineError> {
        if self.recording.is_some() {
            let (record, _) = self.record_acks.front().await?;
            self.recorded(record);
        }
        let position = self.record.position().map_err(|_| damaged())?;
        let settled = Sealed { position, end: self.record.end(), marked: true, news: Vec::new() };
        self.due.get_or_insert(settled);
        self.record_if_due(true).await?;
        let (record, _) = self.record_acks.front().await?;
        self.recorded(record);
        Ok(())
    }

    /// An orderly stop: what is acknowledged within a moment is still recorded.
    async fn last_words(mut self) -> Result<End, PipelineError> {
        let words = async {
            while !self.acks.is_empty() {
                let (sealed, ends) = self.acks.front().await?;
                self.settle(sealed, &ends);
            }
            if self.due.is_some() { self.flush().await } else { Ok(()) }
        };
        if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(5), words).await {
            tracing::info!(error = %crate::pipeline::chain(&error), "stopped without a last record: nothing is lost by that");
        }
        Ok(End::Stopped)
    }
}

/// A change as the topic has it: a key change, and every update of a keyless table, is delete(old) and insert(new) at neighbouring
/// ordinals.
fn split(encoder: &Encoder, change: Change) -> (Change, Option<Change>) {
    let moves = match (change.op, change.before.row(), &change.after) {
        (Op::Update, Some(old), Some(new)) => encoder.is_keyless() || !encoder.key_cells(old).eq(encoder.key_cells(new)),
        _ => false,
    };
    if moves {
        let position = change.position;
        let next = Position { ordinal: position.ordinal + 1, ..position };
        let delete = Change { op: Op::Delete, after: None, ..change.clone() };
        let insert = Change { op: Op::Insert, position: next, before: Before::Absent, ..change };
        (delete, Some(insert))
    } else {
        (change, None)
    }
}

/// Lives after lives.
///
/// # Errors
/// What cannot be tried again.
pub async fn run_capture(mut life: CaptureLife, mut reload: broadcast::Receiver<Arc<Connector>>) -> Result<End, PipelineError> {
    let mut retry = crate::pipeline::run::Retry::default();
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
