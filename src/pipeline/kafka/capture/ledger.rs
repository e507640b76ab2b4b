//! The order of receipts: events acknowledged, then their record in the control topic acknowledged, then the slot. What the slot is confirmed
//! by is always read off an acknowledged record, never off what the stream has reached since.

use super::damaged;
use crate::change::{EndLsn, Op, Position, TableName, UnixMicros};
use crate::log::kafka::{AckGroup, Acks, Control, Ends, Producer};
use crate::pipeline::PipelineError;
use crate::pipeline::board::Board;
use crate::pipeline::copy::Piped;
use crate::pipeline::kafka::record::{EndLsnText, SLOT, SlotRecord, TableRecord};
use crate::source::Feedback;
use crate::store::table_state::Halted;
use crate::telemetry::{Meter, Stage};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Between two records, unless somebody waits.
const RECORD_EVERY: Duration = Duration::from_millis(100);
/// Groups of events on their way.
const MOST_GROUPS: usize = 64;

/// Where a group of events ends.
#[derive(Clone, Debug)]
pub struct Sealed {
    pub position: Position,
    pub end: EndLsn,
    /// Somebody waits for its record.
    pub marked: bool,
    /// What becomes true of tables once everything before is in the log.
    pub news: Vec<(usize, News)>,
    /// When its transactions were committed.
    pub commits: Vec<UnixMicros>,
    pub counts: Counts,
}

/// Changes of a group, by table and kind.
#[derive(Clone, Debug, Default)]
pub struct Counts(Vec<(usize, Op, u64)>);

impl Counts {
    pub fn add(&mut self, table: usize, op: Op) {
        match self.0.iter_mut().find(|(of, kind, _)| *of == table && *kind == op) {
            Some((_, _, count)) => *count += 1,
            None => self.0.push((table, op, 1)),
        }
    }
}

/// What becomes of a table at a place of the stream.
#[derive(Clone, Debug)]
pub enum News {
    /// It lacks what comes from here on, or nothing behind the record.
    Lacks(Option<Position>),
    Halted(Position, Halted),
}

/// What is on its way, and what is recorded.
pub struct Ledger {
    pub record: SlotRecord,
    /// The source tables' names, by their numbers.
    names: Vec<TableName>,
    acks: Acks<Sealed>,
    record_acks: Acks<SlotRecord>,
    /// Acknowledged, but not yet recorded.
    due: Option<Sealed>,
    /// A record is on its way.
    recording: bool,
    last_record: Instant,
    /// While a first copy is to be made, the slot stays where it stood at the start.
    floor: EndLsn,
    control: Control,
    feedback: Feedback,
    records: watch::Sender<Option<SlotRecord>>,
    meter: Arc<Meter>,
    board: Arc<Board>,
}

/// What a ledger tells, and through what.
pub struct Channels {
    pub control: Control,
    pub feedback: Feedback,
    pub records: watch::Sender<Option<SlotRecord>>,
    pub meter: Arc<Meter>,
    pub board: Arc<Board>,
}

impl Ledger {
    pub fn new(record: SlotRecord, names: Vec<TableName>, floor: EndLsn, producer: &Producer, to: Channels) -> Self {
        let Channels { control, feedback, records, meter, board } = to;
        Self {
            record,
            names,
            acks: producer.acks(),
            record_acks: producer.acks(),
            due: None,
            recording: false,
            last_record: Instant::now(),
            floor,
            control,
            feedback,
            records,
            meter,
            board,
        }
    }

    pub fn open(&self) -> Arc<AckGroup> {
        self.acks.open()
    }

    pub fn seal(&mut self, group: Option<Arc<AckGroup>>, sealed: Sealed) {
        let group = group.unwrap_or_else(|| self.acks.open());
        if broken!(ConfirmsUnacknowledged) {
            self.feedback.confirm(sealed.end);
        }
        self.acks.seal(group, sealed);
    }

    /// Nothing is on its way or waits for its record.
    pub fn is_idle(&self) -> bool {
        self.acks.is_empty() && self.due.is_none()
    }

    pub fn is_empty(&self) -> bool {
        self.acks.is_empty()
    }

    /// As much is on its way as may be.
    pub fn is_full(&self) -> bool {
        self.acks.len() >= MOST_GROUPS
    }

    /// This much is recorded, and nothing newer is on its way to be.
    pub fn holds(&self, wanted: EndLsn) -> bool {
        self.record.end() >= wanted && !self.recording
    }

    /// Waits for the next acknowledgement and takes note. Can be dropped at any await and called again.
    ///
    /// # Errors
    /// An event was not taken: the producer is dead, and what is not acknowledged is to be sent again.
    pub async fn next(&mut self) -> Result<(), PipelineError> {
        tokio::select! {
            biased;
            sealed = self.acks.front() => {
                let (sealed, ends) = sealed?;
                self.settle(sealed, &ends);
            }
            recorded = self.record_acks.front() => self.recorded(recorded?.0),
        }
        Ok(())
    }

    /// Everything up to here is in the log.
    fn settle(&mut self, sealed: Sealed, ends: &Ends) {
        self.meter.lag_since(Stage::Capture, &sealed.commits);
        self.meter.settled(sealed.position.commit);
        for &(table, op, count) in &sealed.counts.0 {
            let plans = (0..self.meter.tables.len()).filter(|&plan| self.meter.tables[plan].source == self.names[table]);
            plans.for_each(|plan| self.meter.changes(Stage::Capture, plan, op, count));
        }
        if !broken!(EventEndsForgotten) {
            self.record.ends.raise_all(ends);
        }
        for (table, news) in &sealed.news {
            let name = &self.names[*table];
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

    /// Sends the record of what is acknowledged, if it is time.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn record_if_due(&mut self, now: bool) -> Result<(), PipelineError> {
        let wanted = |due: &Sealed| now || due.marked || self.last_record.elapsed() >= RECORD_EVERY;
        if self.recording || !self.due.as_ref().is_some_and(wanted) {
            return Ok(());
        }
        let due = self.due.take().expect("seen above");
        self.record.position = due.position.to_string();
        self.record.end = EndLsnText(due.end.0.max(self.record.end.0));
        let value = serde_json::to_vec(&self.record).expect("plain data is always JSON");
        let group = self.record_acks.open();
        self.control.send(&group, SLOT, &value).await?;
        self.record_acks.seal(group, self.record.clone());
        self.recording = true;
        self.last_record = Instant::now();
        Ok(())
    }

    /// The record is in the log: now the source may forget what it covers.
    fn recorded(&mut self, record: SlotRecord) {
        self.recording = false;
        if let Ok(end) = record.confirmable(self.floor) {
            self.feedback.confirm(end);
        }
        self.records.send_replace(Some(record));
    }

    /// A first copy is in the log.
    pub fn copied(&mut self, table: usize, from: Position, piped: Piped, ends: &Ends) {
        self.record.ends.raise_all(ends);
        let record = self.record.tables.entry(self.names[table].to_string()).or_default();
        let (rows_copied, bytes_copied) = piped.recorded();
        let lacks_from = Some(from.to_string());
        *record = TableRecord { copied: true, rows_copied, bytes_copied, lacks_from, ..TableRecord::default() };
    }

    /// Rows of a copy, or rows that were read again, reach up to here.
    pub fn reaches(&mut self, ends: &Ends) {
        if broken!(ChunkEndsForgotten) {
            return;
        }
        self.record.ends.raise_all(ends);
    }

    /// All chunks of a table are in the log, and recorded.
    pub fn copied_in_chunks(&mut self, table: usize) {
        let record = self.record.tables.entry(self.names[table].to_string()).or_default();
        (record.copied, record.copying) = (true, false);
    }

    /// Records what is acknowledged, whatever the time, and waits for it.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn flush(&mut self) -> Result<(), PipelineError> {
        if self.recording {
            let (record, _) = self.record_acks.front().await?;
            self.recorded(record);
        }
        if self.due.is_none() {
            let position = self.record.position().map_err(|_| damaged())?;
            self.due = Some(Sealed {
                position,
                end: self.record.end(),
                marked: true,
                news: Vec::new(),
                commits: Vec::new(),
                counts: Counts::default(),
            });
        }
        self.record_if_due(true).await?;
        let (record, _) = self.record_acks.front().await?;
        self.recorded(record);
        Ok(())
    }

    /// An orderly stop: what is acknowledged within a moment is still recorded.
    pub async fn last_words(&mut self) {
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
    }
}
