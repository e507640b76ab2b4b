//! Kafka's side of a chunk: its rows as `r` events in the one order, while the stream stands still; its progress in the target, once they are
//! acknowledged.

use super::copy::parse_line;
use super::specs::TableSpec;
use crate::change::{Before, Cell, Change, EndLsn, Op, Position, Row, RowBuilder, Table};
use crate::config::Connector;
use crate::event::{About, Encoder, Frame, LARGE, Origin};
use crate::log::kafka::{AckGroup, Acks, Ends, Producer};
use crate::mapping::TablePlan;
use crate::pg::quote;
use crate::pipeline::copy::{ChunkError, ChunkSource, Piped, Reading, Rereads, Sink, Sinks, Task, at_source};
use crate::pipeline::turn::ChunkTurn;
use crate::pipeline::{PipelineError, Tasks, session};
use crate::store::copy_range::{self, CopyRange};
use crate::store::{checkpoint, reread};
use crate::target::TargetError;
use crate::telemetry;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_postgres::Client;

/// A chunk that the stream waits for is given up after so long: what was sent of it is right, and is sent again.
const PATIENCE: Duration = Duration::from_secs(1);
/// Rows between two looks at whether the stream waits, and at what is acknowledged.
const GROUP: u64 = 5000;
/// So many events of a worker may be before apply when its next chunk begins: changes of the stream queue behind them.
const MOST_AHEAD: i64 = 20_000;
/// An apply that has not moved for so long does not run.
const STANDS_STILL: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What capture is told.
#[derive(Debug)]
pub enum Copied {
    /// Rows reach up to here in the log.
    Chunk(Ends),
    /// All rows of the table with this number are in the log.
    Table(usize),
    /// A person wants other tables to be copied.
    Other,
}

/// Opens the log's end of the copy.
pub struct Topics {
    pub connector: Arc<Connector>,
    /// The capture's, in each event.
    pub capture_epoch: u64,
    /// The target's, which tells whether we are still the ones who copy.
    pub epoch: i64,
    pub specs: Arc<Vec<TableSpec>>,
    pub plans: Arc<Vec<TablePlan>>,
    pub producer: Producer,
    pub database: String,
    pub copied: mpsc::UnboundedSender<Copied>,
    /// Specs whose tables are copied once more.
    pub repeats: Vec<bool>,
    /// One large row at a time, whichever worker's: each is there several times until librdkafka has it.
    pub large: Arc<Mutex<()>>,
}

impl Sinks for Topics {
    type Sink = TopicSink;

    async fn open(&self) -> Result<TopicSink, PipelineError> {
        let tasks = Tasks::default();
        let (endpoint, name) = (&self.connector.target.endpoint, self.connector.object_name());
        let client = session::open(&tasks, endpoint, &name).await.map_err(PipelineError::Target)?;
        let encoder = |spec: &TableSpec| Encoder::new(spec.table(), &spec.key, &self.database, &self.connector.name);
        let encoders = self.specs.iter().map(encoder).collect::<Result<Vec<_>, _>>().map_err(|error| unfit(&error))?;
        Ok(TopicSink {
            client,
            connector: self.connector.name.clone(),
            capture_epoch: self.capture_epoch,
            epoch: self.epoch,
            specs: Arc::clone(&self.specs),
            plans: Arc::clone(&self.plans),
            encoders,
            acks: self.producer.acks(),
            ends: Ends::default(),
            producer: self.producer.clone(),
            frame: Frame::default(),
            copied: self.copied.clone(),
            repeats: self.repeats.clone(),
            large: Arc::clone(&self.large),
            moved: None,
            _tasks: tasks,
        })
    }
}

/// One worker's end.
pub struct TopicSink {
    /// On the target: progress and requests.
    client: Client,
    connector: String,
    capture_epoch: u64,
    epoch: i64,
    specs: Arc<Vec<TableSpec>>,
    plans: Arc<Vec<TablePlan>>,
    encoders: Vec<Encoder>,
    producer: Producer,
    acks: Acks<()>,
    /// How far our events reach.
    ends: Ends,
    frame: Frame,
    copied: mpsc::UnboundedSender<Copied>,
    repeats: Vec<bool>,
    large: Arc<Mutex<()>>,
    /// To be recorded once the rows are acknowledged.
    moved: Option<CopyRange>,
    _tasks: Tasks,
}

impl TopicSink {
    /// Sends one row's event, or that of its absence.
    async fn send(
        &mut self,
        number: usize,
        group: &Arc<AckGroup>,
        change: &Change,
        origin: Origin<'_>,
    ) -> Result<(), PipelineError> {
        let (spec, encoder) = (&self.specs[number], &self.encoders[number]);
        let about = About { epoch: self.capture_epoch, now: telemetry::now(), origin };
        encoder.change(&mut self.frame, change, spec.event_key(encoder, change), &about).map_err(|error| unfit(&error))?;
        let partition = spec.partitions().of(self.frame.key());
        Ok(self.producer.send(group, &spec.topic, partition, &self.frame).await?)
    }

    async fn rows(
        &mut self,
        task: &Task,
        source: &ChunkSource,
        reading: &Reading,
        turn: &ChunkTurn,
    ) -> Result<Option<Piped>, PipelineError> {
        let table = Arc::clone(self.encoders[task.number].table());
        let sql = format!(
            "COPY (SELECT {} FROM ONLY {} AS t WHERE {}) TO STDOUT",
            columns(&table),
            reading.relation,
            reading.condition
        );
        let lines = source.client.copy_out(&sql).await.map_err(at_source)?;
        tokio::pin!(lines);
        let id = format!("{:012}-{:06}-{}", self.capture_epoch, task.nth, reading.chunk.from);
        // rows that are copied once more mostly are there
        let base = self.repeats.get(task.number).is_some_and(|repeats| *repeats).then_some("mixed");
        let origin = Origin::Copy { attempt: &id, lsn: reading.until.0, read_at: telemetry::now(), base };
        let (mut piped, mut text, begun) = (Piped::default(), Vec::new(), Instant::now());
        let mut change = read(&table);
        let mut group = self.acks.open();
        let large = Arc::clone(&self.large);
        while let Some(line) = lines.next().await {
            let line = line.map_err(at_source)?;
            piped.rows += 1;
            piped.bytes += line.len() as u64;
            let alone = if line.len() > LARGE { Some(large.lock().await) } else { None };
            change.after = Some(parse_line(&line, table.columns.len(), &mut text));
            drop(line);
            self.send(task.number, &group, &change, origin).await?;
            if alone.is_some() {
                (change.after, text) = (None, Vec::new());
                self.frame.slim();
            }
            if piped.rows % GROUP == 0 {
                let open = self.acks.open();
                self.acks.seal(std::mem::replace(&mut group, open), ());
                if task.units > 1 && turn.is_waited_for() && begun.elapsed() > PATIENCE {
                    self.acks.seal(group, ());
                    return Ok(None);
                }
            }
        }
        self.acks.seal(group, ());
        Ok(Some(piped))
    }

    /// Everything that was sent is acknowledged.
    async fn acknowledged(&mut self) -> Result<(), PipelineError> {
        let mut ends = Ends::default();
        while !self.acks.is_empty() && !broken!(ProgressUnacknowledged) {
            ends.raise_all(&self.acks.front().await?.1);
        }
        self.ends.raise_all(&ends);
        self.copied.send(Copied::Chunk(ends)).ok();
        Ok(())
    }

    /// How many events of ours apply has still before it, about.
    async fn ahead(&self) -> Result<i64, PipelineError> {
        let applied = checkpoint::read(&self.client, &self.connector).await?;
        let ahead = self.ends.iter().map(|(topic, partition, end)| {
            let of = |found: &&checkpoint::Checkpoint| found.topic == topic && found.partition == partition;
            end - applied.iter().find(of).and_then(|found| found.log_offset).unwrap_or(0).min(end)
        });
        Ok(ahead.sum())
    }
}

impl Sink for TopicSink {
    /// Nobody waits for an apply that does not run.
    async fn ready(&mut self) -> Result<(), PipelineError> {
        let (mut least, mut moved) = (self.ahead().await?, Instant::now());
        while least > MOST_AHEAD && moved.elapsed() < STANDS_STILL {
            tokio::time::sleep(LOOK_AGAIN).await;
            let ahead = self.ahead().await?;
            if ahead < least {
                (least, moved) = (ahead, Instant::now());
            }
        }
        Ok(())
    }

    async fn bring(
        &mut self,
        task: &Task,
        source: &ChunkSource,
        reading: &Reading,
        turn: &ChunkTurn,
    ) -> Result<Piped, ChunkError> {
        let Some(piped) = self.rows(task, source, reading, turn).await? else {
            self.acknowledged().await?;
            return Err(ChunkError::TooLong);
        };
        self.moved = Some(task.moved(&reading.chunk, piped));
        Ok(piped)
    }

    /// A row that is not there travels as a delete without a place in the stream.
    async fn reread(&mut self, rereads: &Rereads<'_>, source: &ChunkSource, until: EndLsn) -> Result<Vec<i64>, ChunkError> {
        let table = Arc::clone(self.encoders[rereads.number].table());
        let of_source = |plan: &&TablePlan| plan.source == table.name;
        let targets: Vec<_> = self.plans.iter().filter(of_source).map(|plan| plan.target.clone()).collect();
        for target in &targets {
            reread::open_window(&self.client, &self.connector, target, until).await.map_err(PipelineError::from)?;
        }
        let plans = Arc::clone(&self.plans);
        let Some(plan) = plans.iter().find(|plan| plan.target == *rereads.target) else { return Ok(Vec::new()) };
        let sql = plan.copy_keys_numbered(&columns(&table), &rereads.keys);
        let lines = source.client.copy_out(&sql).await.map_err(at_source)?;
        tokio::pin!(lines);
        let (mut text, mut present) = (Vec::new(), vec![None; rereads.keys.len()]);
        while let Some(line) = lines.next().await {
            let line = line.map_err(at_source)?;
            let at = memchr::memchr(b'\t', &line).unwrap_or(0);
            let nth = std::str::from_utf8(&line[..at]).ok().and_then(|nth| nth.parse::<usize>().ok());
            if let Some(row) = nth.and_then(|nth| present.get_mut(nth)) {
                *row = Some(parse_line(&line[at + 1..], table.columns.len(), &mut text));
            }
        }
        let group = self.acks.open();
        for (nth, row) in present.into_iter().enumerate() {
            let mut change = read(&table);
            match row {
                Some(row) => change.after = Some(row),
                None => (change.op, change.before) = (Op::Delete, Before::Key(key_row(&table, plan, rereads.keys[nth]))),
            }
            let requests = rereads.ids[nth].to_string();
            let origin = Origin::Reread { requests: &requests, lsn: until.0, read_at: telemetry::now() };
            self.send(rereads.number, &group, &change, origin).await?;
        }
        self.acks.seal(group, ());
        if broken!(AnsweredWhenSent) {
            reread::answered(&self.client, &self.connector, &rereads.ids).await.map_err(PipelineError::from)?;
        }
        Ok(Vec::new())
    }

    async fn settle(&mut self) -> Result<(), PipelineError> {
        self.acknowledged().await?;
        let Some(moved) = self.moved.take() else { return Ok(()) };
        let ours = copy_range::advance(&self.client, &self.connector, self.epoch, &moved).await?;
        Ok(TargetError::fenced_unless(ours)?)
    }

    async fn give_back(&mut self) -> Result<(), PipelineError> {
        self.moved = None;
        Ok(())
    }

    fn client(&self) -> &Client {
        &self.client
    }

    fn finished(&self, number: usize) {
        self.copied.send(Copied::Table(number)).ok();
    }
}

fn columns(table: &Table) -> String {
    table.columns.iter().map(|column| format!("t.{}", quote::ident(&column.name))).collect::<Vec<_>>().join(", ")
}

fn read(table: &Arc<Table>) -> Change {
    Change { position: Position::default(), table: Arc::clone(table), op: Op::Read, before: Before::Absent, after: None }
}

/// A row of which only the key is known.
fn key_row(table: &Table, plan: &TablePlan, key: &[String]) -> Row {
    let mut out = RowBuilder::new(table.columns.len());
    for column in &table.columns {
        let nth = plan.key.iter().position(|&input| plan.inputs[input].name == column.name);
        out.push(nth.and_then(|nth| key.get(nth)).map_or(Cell::Null, |text| Cell::Text(text.as_bytes())));
    }
    out.finish()
}

fn unfit(error: &crate::event::EncodeError) -> PipelineError {
    PipelineError::Belief {
        what: error.to_string(),
        hint: "the log cannot carry this table; with the local log it can be carried".to_owned(),
    }
}
