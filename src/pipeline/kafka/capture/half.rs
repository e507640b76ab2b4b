//! The running half: each change of the stream as an event in its topic's partition.

use super::again::Misfits;
use super::ledger::{Counts, Ledger, News, Sealed};
use crate::apply::Base;
use crate::change::{Before, Change, EndLsn, Feed, Op, Position, Table, UnixMicros};
use crate::event::{About, Encoder, Frame, Origin};
use crate::log::LogError;
use crate::log::kafka::{AckGroup, Control, Producer};
use crate::mapping::{Binding, TablePlan};
use crate::pipeline::PipelineError;
use crate::pipeline::board::Board;
use crate::pipeline::gate::{Gate, Gates};
use crate::pipeline::kafka::record::TABLES;
use crate::pipeline::kafka::specs::TableSpec;
use crate::pipeline::window::Window;
use crate::store::table_state::Halted;
use crate::telemetry::{self, Meter};
use hashbrown::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A group of events is closed at the first commit after so many, or so long.
const GROUP_EVENTS: usize = 5000;
const GROUP_TIME: Duration = Duration::from_millis(20);

/// How all plans of a table find their inputs; or why one does not, and the cure.
type Fits = Result<Vec<Binding>, (String, String)>;

pub struct Half {
    pub specs: Vec<TableSpec>,
    pub database: String,
    pub plans: Arc<Vec<TablePlan>>,
    pub encoders: Vec<Encoder>,
    /// By relation id: which table it is, and whether the plans fit the shape that the stream brings.
    pub by_relation: HashMap<u32, (usize, Fits)>,
    pub gates: Gates,
    pub ledger: Ledger,
    pub producer: Producer,
    pub control: Control,
    pub frame: Frame,
    pub meter: Arc<Meter>,
    pub board: Arc<Board>,
    pub incarnation: u32,
    pub misfits: Misfits,
    pub window: Window,
    pub at: Standing,
}

/// What is between two commits, or two groups.
pub struct Standing {
    group: Option<Arc<AckGroup>>,
    events: usize,
    grouped_at: Instant,
    open: Option<(u32, UnixMicros)>,
    marked: bool,
    news: Vec<(usize, News)>,
    commits: Vec<UnixMicros>,
    /// Changes by table and kind.
    counts: Counts,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            group: None,
            events: 0,
            grouped_at: Instant::now(),
            open: None,
            marked: false,
            news: Vec::new(),
            commits: Vec::new(),
            counts: Counts::default(),
        }
    }
}

impl Half {
    /// # Errors
    /// The life is over: the log or the control topic refuses.
    pub async fn take(&mut self, feeds: Vec<Feed>) -> Result<(), PipelineError> {
        for feed in feeds {
            match feed {
                Feed::Begin { xid, committed_at, .. } => self.at.open = Some((xid, committed_at)),
                Feed::Shape(table) => self.shape(&table).await?,
                Feed::Change(change) => self.change(change).await?,
                Feed::Mark => self.at.marked = true,
                Feed::Commit { commit, end, committed_at } => {
                    self.at.open = None;
                    self.committed(Position::new(self.incarnation, commit, u64::MAX), end, committed_at);
                }
                Feed::Keepalive { end } => {
                    if self.at.open.is_none() {
                        let moved = self.gates.idle(end);
                        self.note(moved);
                    }
                }
            }
        }
        Ok(())
    }

    /// The transactions of which these feeds hand something on.
    pub fn xids(&self, feeds: &[Feed]) -> Vec<u32> {
        let begun = feeds.iter().filter_map(|feed| if let Feed::Begin { xid, .. } = feed { Some(*xid) } else { None });
        self.at.open.map(|(xid, _)| xid).into_iter().chain(begun).collect()
    }

    /// A table stands still.
    pub fn halted(&self) -> bool {
        (0..self.specs.len()).any(|table| matches!(self.gates.gate(table), Gate::Halted(_)))
    }

    fn note(&mut self, moved: Vec<(usize, Option<Position>)>) {
        self.at.marked |= !moved.is_empty();
        self.at.news.extend(moved.into_iter().map(|(table, lacks)| (table, News::Lacks(lacks))));
    }

    /// Takes note of a relation: which table it is, and whether the plans still fit it. A shape that they fit, but that is not the one
    /// known so far, is announced before its first event.
    async fn shape(&mut self, table: &Arc<Table>) -> Result<(), PipelineError> {
        // under a name that it had for a while, too
        let known = self.specs.iter().position(|spec| spec.shape.oid == table.relation_id);
        let found = known.or_else(|| self.specs.iter().position(|spec| spec.shape.name == table.name));
        let Some(at) = found else { return Ok(()) };
        let name = self.specs[at].shape.name.clone();
        let table = &Arc::new(Table { name: name.clone(), ..Table::clone(table) });
        let of_table = self.plans.iter().filter(|plan| plan.source == name);
        let (mut bound, mut misfits, mut cures) = (Vec::new(), Vec::new(), Vec::new());
        for plan in of_table.clone() {
            match plan.bind(table) {
                Ok(binding) => bound.push(binding),
                Err(found) => {
                    misfits.extend(found.iter().map(ToString::to_string));
                    cures.push(plan.cure(&found));
                }
            }
        }
        let fits = if misfits.is_empty() { Ok(bound) } else { Err((misfits.join("; "), cures.join("; "))) };
        let names = |table: &Table| table.columns.iter().map(|column| (column.name.clone(), column.type_oid)).collect::<Vec<_>>();
        if fits.is_ok() && names(self.encoders[at].table()) != names(table) {
            let encoder = Encoder::new(Arc::clone(table), &self.specs[at].key, &self.database, &self.ledger.record.connector);
            self.encoders[at] = encoder.map_err(|error| PipelineError::Belief {
                what: error.to_string(),
                hint: "bring the table's key in line with its entry in the connector file".to_owned(),
            })?;
            let former = of_table.flat_map(|plan| &plan.former).map(|(name, now)| (name.as_str(), now.as_deref())).collect();
            self.specs[at].note_shape(table, &former);
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
        let lacks = |bound: &Vec<Binding>| bound.iter().find_map(|binding| binding.lacks(change.position.commit));
        let told = match fits {
            Ok(bound) => lacks(bound).map(|misfit| (misfit.to_string(), "bring the entry and the target in line".to_owned())),
            Err(told) => Some(told.clone()),
        };
        if let Some((because, hint)) = told {
            self.misfits.add(&change.table);
            self.halt(table, change.position, because, format!("{hint}; it is tried again every 30 s too"));
            return Ok(());
        }
        let (first, second) = split(&self.encoders[table], change);
        let op = if second.is_some() { Op::Update } else { first.op };
        for part in std::iter::once(first).chain(second) {
            if let Err((because, hint)) = self.emit(table, &part).await? {
                self.halt(table, part.position, because, hint);
                return Ok(());
            }
        }
        self.at.counts.add(table, op);
        Ok(())
    }

    /// Sends one change's event, and its tombstone. The inner error halts the table.
    async fn emit(&mut self, table: usize, change: &Change) -> Result<Result<(), (String, String)>, PipelineError> {
        let (xid, committed_at) = self.at.open.unwrap_or_default();
        let base = match self.window.base(table, change.position) {
            Base::Exact | Base::Beside => None,
            Base::Mixed => Some("mixed"),
            Base::Doubtful => Some("doubtful"),
        };
        let spec = &self.specs[table];
        let encoder = &self.encoders[table];
        let about =
            About { epoch: self.ledger.record.epoch, now: telemetry::now(), origin: Origin::Stream { xid, committed_at, base } };
        if let Err(error) = encoder.change(&mut self.frame, change, spec.event_key(encoder, change), &about) {
            let hint = "the log cannot carry this value; with the local log it can be carried".to_owned();
            return Ok(Err((error.to_string(), hint)));
        }
        if self.at.group.is_none() {
            self.at.group = Some(self.ledger.open());
            self.at.grouped_at = Instant::now();
        }
        let group = self.at.group.as_ref().expect("it was opened a moment ago");
        let partitions = spec.partitions();
        let sent = if change.op == Op::Truncate {
            let mut sent = Ok(());
            for partition in partitions.all().take(if broken!(TruncateToOne) { 1 } else { usize::MAX }) {
                sent = sent.and(self.producer.send(group, &spec.topic, partition, &self.frame).await);
            }
            sent
        } else {
            let partition = partitions.of(self.frame.key());
            let sent = self.producer.send(group, &spec.topic, partition, &self.frame).await;
            if sent.is_ok() && change.op == Op::Delete && self.frame.into_tombstone() {
                self.producer.send(group, &spec.topic, partition, &self.frame).await
            } else {
                sent
            }
        };
        self.at.events += 1;
        match sent {
            Ok(()) => Ok(Ok(())),
            Err(error @ LogError::TooLarge { .. }) if self.producer.failure().is_none() => {
                let Halted { because, hint } = Halted::saying(&error.to_string(), "");
                Ok(Err((because, format!("{hint}; then SIGHUP, or restart"))))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn halt(&mut self, table: usize, position: Position, because: String, hint: String) {
        let name = &self.specs[table].shape.name;
        tracing::error!(table = %name, %position, "table halted: {because}\n  hint: {hint}");
        self.gates.halt(table, position);
        let halted = Halted { because, hint };
        self.board.halted(name, halted.clone(), None);
        self.at.news.push((table, News::Halted(position, halted)));
    }

    fn committed(&mut self, position: Position, end: EndLsn, committed_at: UnixMicros) {
        let moved = self.gates.passed(position, end);
        self.note(moved);
        self.at.commits.push(committed_at);
        self.meter.arrived(&[(position.commit, committed_at)]);
        let full = self.at.events >= GROUP_EVENTS || self.at.grouped_at.elapsed() >= GROUP_TIME;
        if self.at.marked || self.ledger.is_empty() || full && self.at.group.is_some() {
            self.seal();
        }
    }

    /// Closes the group of events at the last commit.
    fn seal(&mut self) {
        let sealed = Sealed {
            position: self.gates.checkpoint(),
            end: self.gates.end(),
            marked: std::mem::take(&mut self.at.marked),
            news: std::mem::take(&mut self.at.news),
            commits: std::mem::take(&mut self.at.commits),
            counts: std::mem::take(&mut self.at.counts),
        };
        self.ledger.seal(self.at.group.take(), sealed);
        self.at.events = 0;
    }

    /// About every 50 ms: closes what no commit has closed, and records that the source was idle.
    pub fn tick(&mut self) {
        let waits = self.at.group.is_some() || !self.at.commits.is_empty() || self.at.marked;
        let late = waits && self.at.grouped_at.elapsed() >= GROUP_TIME;
        let idle = self.at.group.is_none() && self.ledger.is_idle() && self.gates.end() > self.ledger.record.end();
        if self.at.open.is_none() && (late || idle) {
            self.seal();
        }
    }
}

/// A change as the topic has it: a key change, and every update of a keyless table, is delete(old) and insert(new) at neighbouring
/// ordinals.
fn split(encoder: &Encoder, change: Change) -> (Change, Option<Change>) {
    let moves = match (change.op, change.before.row(), &change.after) {
        (Op::Update, Some(old), Some(new)) => encoder.is_keyless() || !encoder.key_cells(old).eq(encoder.key_cells(new)),
        _ => false,
    };
    if moves && !broken!(MovesWhole) {
        let position = change.position;
        let next = Position { ordinal: position.ordinal + u64::from(!broken!(MovesAtOnePlace)), ..position };
        let delete = Change { op: Op::Delete, after: None, ..change.clone() };
        let insert = Change { op: Op::Insert, position: next, before: Before::Absent, ..change };
        (delete, Some(insert))
    } else {
        (change, None)
    }
}
