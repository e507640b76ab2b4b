//! The copies in chunks of a capture's life: what of them is recorded, and their workers.

use super::{CaptureLife, Half};
use crate::catalog;
use crate::change::{EndLsn, TableName};
use crate::chunk::Part;
use crate::config::Connector;
use crate::event::{Encoder, Frame};
use crate::log::kafka::Producer;
use crate::mapping::TablePlan;
use crate::pipeline::copy::{self, CopyTable, Copying, Limits, Rereader, Work};
use crate::pipeline::kafka::chunk::{Copied, Topics};
use crate::pipeline::kafka::record::SlotRecord;
use crate::pipeline::kafka::specs::TableSpec;
use crate::pipeline::turn::Turns;
use crate::pipeline::window::{Marks, Window};
use crate::pipeline::{PipelineError, Tasks, session};
use crate::store::table_state::TableState;
use crate::store::{checkpoint, copy_range, table_state};
use crate::target::TargetError;
use crate::telemetry;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::{Notify, mpsc};
use tokio_postgres::Client;

/// Copies that are under way, by the numbers of the specs.
pub struct Copies {
    work: Work,
    tables: Vec<CopyTable>,
    /// The target's, which tells whether we are still the ones who copy.
    epoch: i64,
    /// A person has paused them.
    paused: bool,
    pub window: Window,
}

/// Takes up what is under way, and begins with tables that are new.
///
/// # Errors
/// See [`PipelineError`].
pub async fn take_up(
    life: &CaptureLife,
    source: &Client,
    (specs, plans): (&[TableSpec], &[TablePlan]),
    record: &mut SlotRecord,
    producer: &Producer,
    epoch: i64,
) -> Result<Copies, PipelineError> {
    let (tasks, name) = (Tasks::default(), &life.connector.name);
    let endpoint = &life.connector.target.endpoint;
    let target = session::open(&tasks, endpoint, &life.connector.object_name()).await.map_err(PipelineError::Target)?;
    // Whoever copied before us can record nothing any more. And nobody has come since we drew: he might not know of us.
    let epoch = if broken!(EpochsApart) { checkpoint::take(&target, name, checkpoint::LOCAL, 0).await?.epoch } else { epoch };
    TargetError::fenced_unless(checkpoint::is_ours(&target, name, epoch).await?)?;
    let states = table_state::read(&target, name).await?;
    let mut tables: Vec<CopyTable> = specs.iter().map(|spec| copy_table(spec, plans)).collect();
    let mut copying = Vec::new();
    for (number, (spec, table)) in specs.iter().zip(&mut tables).enumerate() {
        let known = record.tables.entry(spec.shape.name.to_string()).or_default();
        let of_table = || states.iter().filter(|state| table.targets.contains(&state.target));
        let mine = plans.iter().filter(|plan| plan.source == spec.shape.name);
        let in_chunks = mine.clone().all(copy::in_chunks) && mine.count() == spec.rules.len();
        let repeats = of_table().any(|state| state.copying && state.repeats);
        if known.copied && !repeats || table.targets.is_empty() || life.halted(&spec.shape.name).is_some() || !in_chunks {
            continue;
        }
        if of_table().all(|state| state.copied) {
            // all of it is in the log, and only this was not recorded any more
            known.copied = true;
            continue;
        }
        if of_table().any(|state| !state.copying && !state.copied) {
            reset(life, spec, record.epoch, producer).await?;
            begin(life, source, (&target, epoch), spec, table).await?;
        }
        let known = record.tables.entry(spec.shape.name.to_string()).or_default();
        known.copying = true;
        let fresh = of_table().any(|state| !state.copied && !state.copying);
        let under_way = |target: &&TableName| fresh || of_table().any(|state| state.target == **target && state.copying);
        table.copying = table.targets.iter().filter(under_way).cloned().collect();
        let again = || of_table().filter(|state| repeats && state.copying);
        (table.repeats, table.sweeps) = (repeats, again().any(|state| state.sweeps));
        table.partial = repeats && again().all(|state| state.partial);
        if let Some(first) = table.copying.first() {
            copying.push((number, first.clone(), repeats));
        }
    }
    for table in tables.iter().filter(|table| table.copying.len() > 1) {
        join(source, (&target, name, epoch), table).await?;
    }
    let ranges = copy_range::read(&target, name).await?;
    let until = window_of(states.iter());
    let under_way = !copying.is_empty() || record.tables.values().any(|table| !table.copied);
    let work = Work::new(copying, &ranges);
    let marks = tables.iter().map(|table| {
        let mine = || states.iter().filter(|state| table.targets.contains(&state.target));
        Marks::new(!table.copying.is_empty(), window_of(mine())).repeated(mine().any(|state| state.repeats))
    });
    let window = Window::new(under_way, until, marks.collect());
    let paused = copy_range::orders(&target, name).await?.paused;
    Ok(Copies { work, tables, epoch, window, paused })
}

fn copy_table(spec: &TableSpec, plans: &[TablePlan]) -> CopyTable {
    let mine = plans.iter().enumerate().filter(|(_, plan)| plan.source == spec.shape.name);
    let (meters, targets) = mine.map(|(number, plan)| (number, plan.target.clone())).unzip();
    let (copying, source) = (Vec::new(), spec.shape.name.clone());
    CopyTable { source, targets, copying, repeats: false, sweeps: false, partial: false, loads: false, meters }
}

/// Copies of one topic for several targets that were asked for one by one: one reads for all of them, from the beginning.
async fn join(source: &Client, (target, name, epoch): (&Client, &str, i64), table: &CopyTable) -> Result<(), PipelineError> {
    let mut asked = copy_range::read(target, name).await?;
    asked.retain(|range| table.copying.contains(&range.target));
    let (first, others) = table.copying.split_first().expect("several");
    if asked.iter().all(|range| &range.target == first) {
        return Ok(());
    }
    let found = catalog::parts(source, std::slice::from_ref(&table.source)).await?;
    let mut parts = found.get(&table.source).cloned().unwrap_or_default();
    if table.partial {
        let of = |part: &Part| asked.iter().any(|asked| asked.range.relation() == part.relation);
        parts.retain(of);
    }
    for other in others {
        TargetError::fenced_unless(copy_range::plan(target, name, epoch, other, &[]).await?)?;
    }
    Ok(TargetError::fenced_unless(copy_range::plan(target, name, epoch, first, &crate::chunk::plan(&parts)).await?)?)
}

fn window_of<'s>(states: impl Iterator<Item = &'s TableState>) -> EndLsn {
    states.filter_map(|state| state.window).max().unwrap_or_default()
}

/// What an earlier life brought of a copy that was never recorded is void; and rows that are not ours are found.
async fn reset(life: &CaptureLife, spec: &TableSpec, epoch: u64, producer: &Producer) -> Result<(), PipelineError> {
    let failed = |error: crate::event::EncodeError| PipelineError::Belief {
        what: error.to_string(),
        hint: "correct the table's key".to_owned(),
    };
    let encoder = Encoder::new(spec.table(), &spec.key, "", &life.connector.name).map_err(failed)?;
    let (mut frame, mut acks) = (Frame::default(), producer.acks::<()>());
    let group = acks.open();
    encoder.reset(&mut frame, &format!("{epoch:012}-000000"), crate::change::Lsn(0), epoch, telemetry::now());
    for partition in spec.partitions().all() {
        producer.send(&group, &spec.topic, partition, &frame).await?;
    }
    acks.seal(group, ());
    acks.front().await?;
    Ok(())
}

async fn begin(
    life: &CaptureLife,
    source: &Client,
    (target, epoch): (&Client, i64),
    spec: &TableSpec,
    table: &CopyTable,
) -> Result<(), PipelineError> {
    let parts = catalog::parts(source, std::slice::from_ref(&spec.shape.name)).await?;
    let ranges = crate::chunk::plan(parts.get(&spec.shape.name).map_or(&[][..], Vec::as_slice));
    let (first, others) = table.targets.split_first().expect("a table without targets is not copied");
    for other in others {
        TargetError::fenced_unless(copy_range::plan(target, &life.connector.name, epoch, other, &[]).await?)?;
    }
    Ok(TargetError::fenced_unless(copy_range::plan(target, &life.connector.name, epoch, first, &ranges).await?)?)
}

impl Copies {
    /// Starts the workers, and the re-reads.
    pub fn start(
        self,
        connector: &Arc<Connector>,
        half: &Half,
        turns: Turns,
        (system, plans): ((String, u32), &Arc<Vec<TablePlan>>),
        tasks: &Tasks,
    ) -> mpsc::UnboundedReceiver<Copied> {
        let (sender, copied) = mpsc::unbounded_channel();
        let sinks = Arc::new(Topics {
            connector: Arc::clone(connector),
            capture_epoch: half.ledger.record.epoch,
            epoch: self.epoch,
            specs: Arc::new(half.specs.clone()),
            plans: Arc::clone(plans),
            producer: half.producer.clone(),
            database: half.database.clone(),
            copied: sender,
            repeats: self.tables.iter().map(|table| table.repeats).collect(),
            large: Arc::default(),
        });
        let shared = Arc::new(Copying {
            connector: Arc::clone(connector),
            system,
            epoch: self.epoch,
            work: self.work,
            turns,
            window: self.window,
            meter: Arc::clone(&half.meter),
            board: Arc::clone(&half.board),
            limits: Limits::new(connector),
            tables: self.tables,
            plans: Arc::clone(plans),
            paused: AtomicBool::new(self.paused),
            changed: Notify::new(),
        });
        let (copying, to) = (Arc::clone(&shared), sinks.copied.clone());
        tasks.start(async move {
            copying.changed.notified().await;
            to.send(Copied::Other).ok();
        });
        tasks.start(Rereader::new(Arc::clone(&shared), Arc::clone(&sinks)).run());
        tasks.start(copy::all(shared, sinks));
        copied
    }
}
