//! Capture: the source's stream into the topics. The slot is confirmed only up to what the log has acknowledged, events and record.

mod again;
mod copies;
mod find;
mod half;
mod ledger;
mod topics;

use super::chunk::Copied;
use super::copy::TopicCopier;
use super::mirror::mirror;
use super::record::SlotRecord;
use super::specs::TableSpec;
use crate::change::{Feed, TableName};
use crate::config::Connector;
use crate::event::{Encoder, Frame};
use crate::fate::Fate;
use crate::log::LogError;
use crate::log::kafka::{BROKER_LIMIT, Control, Producer};
use crate::mapping::TablePlan;
use crate::pipeline::board::Board;
use crate::pipeline::gate::{Gate, Gates};
use crate::pipeline::lives::{End, Lives, if_attended, stopped};
use crate::pipeline::prepare::{FirstCopy, Prepared, prepare};
use crate::pipeline::run::{RunOptions, ended, stands_by};
use crate::pipeline::structure::{Unfit, until_one_changes};
use crate::pipeline::take_on::{self, Misfit};
use crate::pipeline::turn::Turns;
use crate::pipeline::{PipelineError, Tasks, session};
use crate::preflight::Compiled;
use crate::source::{self, Reader, SlotName, SourceError};
use crate::store::table_state::Halted;
use crate::telemetry::Meter;
use again::Misfits;
use copies::Copies;
use find::Found;
use futures_util::FutureExt;
use half::{Half, Standing};
use hashbrown::HashMap;
use ledger::{Channels, Ledger};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Bytes of read buffers on their way.
const READ_BUDGET: usize = 6 << 20;

/// One life of the capturing half.
pub struct CaptureLife {
    pub connector: Arc<Connector>,
    pub options: RunOptions,
    pub stop: watch::Receiver<bool>,
    pub board: Arc<Board>,
    pub publish: Arc<dyn Fn(Arc<Meter>) + Send + Sync>,
    /// Tables that the log refuses, with the reason: they stand still until the connector file is read anew, whatever the others need.
    pub refused: BTreeMap<TableName, Halted>,
    /// Tables whose entry does not fit as this life began, or whose structure is another: they stand still in it.
    pub unfit: BTreeMap<TableName, Halted>,
    /// New source tables whose entry does not fit: they have no topic yet.
    pub apart: Vec<Misfit>,
    /// Source tables that a pattern takes, and that are left alone.
    pub left_out: BTreeSet<TableName>,
    /// The tables' topics, as far as known.
    pub topics: BTreeMap<String, TableName>,
    /// A life has got past what may be wrong with the file, since it was read.
    pub fits: bool,
}

impl CaptureLife {
    /// One that only prepares.
    pub fn new(connector: Arc<Connector>, board: Arc<Board>) -> Self {
        Self {
            connector,
            options: RunOptions { endpos: None, copy: FirstCopy::Make, log_only: true },
            stop: watch::channel(false).1,
            board,
            publish: Arc::new(|_| {}),
            refused: BTreeMap::new(),
            unfit: BTreeMap::new(),
            apart: Vec::new(),
            left_out: BTreeSet::new(),
            topics: BTreeMap::new(),
            fits: false,
        }
    }

    /// # Errors
    /// See [`PipelineError`].
    pub async fn run(&mut self) -> Result<End, PipelineError> {
        match Box::pin(self.live()).await {
            Err(PipelineError::Log(error)) if error.fate() == Fate::Halt && self.refuses(&error) => Ok(End::Again),
            other => other,
        }
    }

    /// Why a table takes nothing in this life.
    pub(super) fn halted(&self, table: &TableName) -> Option<&Halted> {
        self.refused.get(table).or_else(|| self.unfit.get(table))
    }

    fn note_unfit(&mut self, compiled: &[Compiled]) {
        self.unfit.clear();
        for one in compiled {
            if let Err(findings) = &one.plan {
                let halted = Halted::by(findings);
                tracing::error!(table = %one.rule.source, "table halted: {}\n  hint: {}", halted.because, halted.hint);
                self.board.halted(&one.rule.source, halted.clone(), None);
                self.unfit.insert(one.rule.source.clone(), halted);
            }
        }
    }

    /// The log does not take one table's events: that table is to stand still. False: it is not about one table, or nothing new.
    fn refuses(&mut self, error: &LogError) -> bool {
        let Some(table) = error.topic().and_then(|topic| self.topics.get(topic)) else { return false };
        if self.refused.contains_key(table) {
            return false;
        }
        let said = Halted::saying(&error.to_string(), "look at the broker's log");
        let halted = Halted { hint: format!("{}. Then SIGHUP, or restart", said.hint), ..said };
        tracing::error!(table = %table, "table halted: {}\n  hint: {}", halted.because, halted.hint);
        self.board.halted(table, halted.clone(), None);
        self.refused.insert(table.clone(), halted);
        true
    }

    async fn live(&mut self) -> Result<End, PipelineError> {
        let tasks = Tasks::default();
        let connector = Arc::clone(&self.connector);
        let name = connector.object_name();
        let source = session::open(&tasks, &connector.source.endpoint, &name).await.map_err(PipelineError::Source)?;
        if stands_by(&connector, &source, &self.board, &mut self.stop).await? {
            return Ok(End::Stopped);
        }
        let mut stop = self.stop.clone();
        let found = tokio::select! {
            found = self.look(&source) => found?,
            () = stopped(&mut stop) => return Ok(End::Stopped),
        };
        self.fits = true;
        let reader = match found.prepared.open_stream(&connector, &tasks, READ_BUDGET).await {
            Err(PipelineError::Stream(SourceError::SlotActive(_))) => return Ok(End::Again),
            other => other?,
        };
        Box::pin(self.go(tasks, &source, found, reader, true)).await
    }

    /// A life whose stream is open. `attended`: beside it somebody looks for what other sessions do to its tables.
    pub(crate) async fn go(
        &mut self,
        tasks: Tasks,
        source: &tokio_postgres::Client,
        found: Found,
        reader: Reader,
        attended: bool,
    ) -> Result<End, PipelineError> {
        if reader.confirmed_at_start() > found.record.end() {
            // another has had the slot since we looked, and is gone: what we would say is older than what he said
            return Ok(End::Again);
        }
        let (producer, control) = found.announce(&self.connector).await?;
        self.leave(&found.prepared.leaving).await?;
        let Found { prepared, specs, mut record, epoch, .. } = found;
        let (incarnation, database) = (prepared.incarnation(), prepared.record.source_database.clone());
        let system = (prepared.facts.system_id.clone(), prepared.facts.timeline);
        let plans = Arc::new(prepared.compiled.into_iter().filter_map(|one| one.plan.ok()).collect::<Vec<_>>());
        let copies = copies::take_up(self, source, (&specs, &plans), &mut record, &producer, epoch).await?;
        let setup = Setup { specs, plans, record, database, incarnation, copies, system, attended };
        self.follow(tasks, setup, reader, producer, control).await
    }

    /// Makes what capture needs, also in the log, and starts nothing. Where a capture runs already, the log is its own.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn prepare(&mut self) -> Result<Prepared, PipelineError> {
        let tasks = Tasks::default();
        let connector = Arc::clone(&self.connector);
        let name = connector.object_name();
        let source = session::open(&tasks, &connector.source.endpoint, &name).await.map_err(PipelineError::Source)?;
        let slot = SlotName::new(connector.slot())?;
        if source::slot_holder(&source, &slot).await?.is_some() {
            let mut target = session::open(&tasks, &connector.target.endpoint, &name).await.map_err(PipelineError::Target)?;
            return prepare(&connector, &source, &mut target, self.options.copy, &self.board).await;
        }
        let found = self.look(&source).await?;
        found.announce(&connector).await?;
        self.leave(&found.prepared.leaving).await?;
        Ok(found.prepared)
    }

    async fn leave(&self, leaving: &[TableName]) -> Result<(), PipelineError> {
        if leaving.is_empty() {
            return Ok(());
        }
        let (tasks, connector) = (Tasks::default(), &self.connector);
        let target = session::open(&tasks, &connector.target.endpoint, &connector.object_name()).await;
        take_on::leave(&target.map_err(PipelineError::Target)?, connector, leaving, &self.board).await
    }

    /// What is there, made where it is missing: in the databases, and the topics.
    async fn look(&mut self, source: &tokio_postgres::Client) -> Result<Found, PipelineError> {
        let tasks = Tasks::default();
        let connector = Arc::clone(&self.connector);
        let name = connector.object_name();
        let mut target = session::open(&tasks, &connector.target.endpoint, &name).await.map_err(PipelineError::Target)?;
        let prepared = Box::pin(prepare(&connector, source, &mut target, self.options.copy, &self.board)).await?;
        self.find((source, &target), prepared).await
    }

    /// Where a table stands at the start of this life.
    fn gate(&self, record: &SlotRecord, spec: &TableSpec) -> Result<Gate, PipelineError> {
        let Some(table) = record.tables.get(&spec.shape.name.to_string()) else { return Ok(Gate::Waiting) };
        let from = table.lacks_from.as_ref().map(|text| text.parse().map_err(|_| damaged())).transpose()?;
        let refused = self.halted(&spec.shape.name).is_some();
        Ok(match (table.copied || table.copying, from) {
            (false, _) => Gate::Waiting,
            (true, None) => Gate::Follow,
            (true, Some(from)) if refused => Gate::Halted(from),
            (true, Some(from)) => Gate::Behind(from),
        })
    }

    async fn follow(
        &mut self,
        tasks: Tasks,
        setup: Setup,
        mut reader: Reader,
        producer: Producer,
        control: Control,
    ) -> Result<End, PipelineError> {
        let tables = setup.plans.iter().map(|plan: &TablePlan| (plan.source.clone(), plan.target.clone()));
        let meter = Arc::new(Meter::new(&self.connector.name, tables));
        (self.publish)(Arc::clone(&meter));
        let _streaming = self.board.streams();
        let (records, recorded) = watch::channel(Some(setup.record.clone()));
        tasks.start(mirror(Arc::clone(&self.connector), recorded));
        // an earlier life may have told of a halt that it did not live to record
        for spec in &setup.specs {
            if setup.record.tables.get(&spec.shape.name.to_string()).is_some_and(|table| table.halted.is_none()) {
                self.board.resumed(&spec.shape.name);
            }
        }
        let gates: Vec<Gate> = setup.specs.iter().map(|spec| self.gate(&setup.record, spec)).collect::<Result<_, _>>()?;
        let is_refused = |table: &usize| self.halted(&setup.specs[*table].shape.name).is_some();
        let to_copy: Vec<usize> =
            (0..gates.len()).filter(|&table| gates[table] == Gate::Waiting).filter(|table| !is_refused(table)).collect();
        let mut half = self.half(&setup, gates, &reader, producer, control, records, meter)?;
        let mut waiting = to_copy.len();
        let mut copies = copy(&half, &self.connector, &setup, to_copy, &tasks);
        let turns = Turns::default();
        let mut in_chunks = setup.copies.start(&self.connector, &half, turns.clone(), (setup.system, &setup.plans), &tasks);
        // what the stream has brought, and waits for its turn
        let mut brought: Option<Vec<Feed>> = None;
        let turn = futures_util::future::Fuse::terminated();
        tokio::pin!(turn);
        let misfits = half.misfits.clone();
        let connector = Arc::clone(&self.connector);
        let fits = misfits.until_one_fits(&connector);
        tokio::pin!(fits);
        let unfit = Unfit {
            sources: self.unfit.keys().chain(&self.left_out).cloned().collect(),
            targets: self.apart.iter().map(|misfit| misfit.target.clone()).collect(),
        };
        let changes = if_attended(setup.attended, until_one_changes(&connector, true, &unfit));
        tokio::pin!(changes);
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => {
                    half.ledger.last_words().await;
                    return Ok(End::Stopped);
                }
                Some((table, (from, piped, ends))) = copies.recv() => {
                    half.ledger.copied(table, from, piped, &ends);
                    waiting -= 1;
                    if waiting == 0 {
                        half.ledger.flush().await?;
                        return Ok(End::Again);
                    }
                }
                Some(copied) = in_chunks.recv() => match copied {
                    Copied::Chunk(ends) => half.ledger.reaches(&ends),
                    Copied::Other => return Ok(End::Again),
                    Copied::Table(table) => {
                        half.ledger.copied_in_chunks(table);
                        half.ledger.flush().await?;
                    }
                },
                settled = half.ledger.next() => settled?,
                _ = tick.tick() => half.tick(),
                turn = &mut turn => {
                    let feeds = brought.take().unwrap_or_default();
                    turns.emits(&turn, &half.xids(&feeds));
                    half.take(feeds).await?;
                }
                feeds = reader.next(), if brought.is_none() && !half.ledger.is_full() => {
                    let feeds = match feeds {
                        Ok(feeds) => feeds,
                        Err(error) => return ended(&self.board, error),
                    };
                    if feeds.iter().any(|feed| matches!(feed, Feed::Change(_))) {
                        let turns = turns.clone();
                        turn.set(async move { turns.stream().await }.fuse());
                        brought = Some(feeds);
                    } else {
                        half.take(feeds).await?;
                    }
                }
                () = &mut fits => return Ok(End::Again),
                () = &mut changes => return Ok(End::Again),
            }
            half.ledger.record_if_due(false).await?;
            let wanted = self.options.endpos.filter(|_| self.options.log_only);
            if wanted.is_some_and(|wanted| half.ledger.holds(wanted)) {
                if half.gates.consistent() {
                    return Ok(End::Reached);
                }
                if half.halted() {
                    return Ok(End::HaltedBefore);
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "it only joins what was made")]
    fn half(
        &self,
        setup: &Setup,
        gates: Vec<Gate>,
        reader: &Reader,
        producer: Producer,
        control: Control,
        records: watch::Sender<Option<SlotRecord>>,
        meter: Arc<Meter>,
    ) -> Result<Half, PipelineError> {
        let Setup { specs, plans, record, database, incarnation, copies, .. } = setup;
        let floor = reader.confirmed_at_start();
        let encoder = |spec: &TableSpec| Encoder::new(spec.table(), &spec.key, database, &self.connector.name);
        let encoders: Vec<Encoder> = specs
            .iter()
            .map(encoder)
            .collect::<Result<_, _>>()
            .map_err(|error| PipelineError::Belief { what: error.to_string(), hint: "correct the table's key".to_owned() })?;
        let gates = Gates::new(gates, record.position().map_err(|_| damaged())?, record.end(), floor);
        let names = specs.iter().map(|spec| spec.shape.name.clone()).collect();
        let channels = Channels {
            control: control.clone(),
            feedback: reader.feedback(),
            records,
            meter: Arc::clone(&meter),
            board: Arc::clone(&self.board),
        };
        Ok(Half {
            specs: specs.clone(),
            database: database.clone(),
            plans: Arc::clone(plans),
            encoders,
            by_relation: HashMap::new(),
            gates,
            ledger: Ledger::new(record.clone(), names, floor, &producer, channels),
            producer,
            control,
            frame: Frame::default(),
            meter,
            board: Arc::clone(&self.board),
            incarnation: *incarnation,
            misfits: Misfits::of(self.unfit.keys().chain(self.apart.iter().map(|misfit| &misfit.source)).cloned()),
            window: copies.window.clone(),
            at: Standing::default(),
        })
    }
}

struct Setup {
    specs: Vec<TableSpec>,
    plans: Arc<Vec<TablePlan>>,
    record: SlotRecord,
    database: String,
    incarnation: u32,
    copies: Copies,
    /// The source's system identifier and timeline.
    system: (String, u32),
    attended: bool,
}

/// Starts the first copies. What comes back: the table, where its stream begins, what it took, how far its rows reach in the log.
fn copy(
    half: &Half,
    connector: &Arc<Connector>,
    setup: &Setup,
    tables: Vec<usize>,
    tasks: &Tasks,
) -> mpsc::UnboundedReceiver<(usize, super::copy::Copied)> {
    let (copied, copies) = mpsc::unbounded_channel();
    let specs = Arc::new(setup.specs.clone());
    for table in tables {
        let copier = TopicCopier {
            connector: Arc::clone(connector),
            incarnation: setup.incarnation,
            epoch: setup.record.epoch,
            specs: Arc::clone(&specs),
            plans: Arc::clone(&setup.plans),
            producer: half.producer.clone(),
            meter: Arc::clone(&half.meter),
            board: Arc::clone(&half.board),
            database: setup.database.clone(),
        };
        let copied = copied.clone();
        tasks.start(async move {
            copied.send((table, copier.copy(table).await)).ok();
        });
    }
    copies
}

fn damaged() -> PipelineError {
    PipelineError::Belief {
        what: "the control topic's record cannot be read".to_owned(),
        hint: "nobody but tablelift may write to `PREFIX.tablelift`; use the program that wrote it".to_owned(),
    }
}

impl Lives for CaptureLife {
    async fn live(&mut self) -> Result<End, PipelineError> {
        self.run().await
    }

    fn renew(&mut self, connector: Arc<Connector>) -> Arc<Connector> {
        self.refused.clear();
        self.fits = false;
        std::mem::replace(&mut self.connector, connector)
    }

    fn fits(&self) -> bool {
        self.fits
    }
}
