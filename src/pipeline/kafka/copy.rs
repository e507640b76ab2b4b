//! The first copy of one table, Kafka log: its rows as `r` events under the snapshot of a temporary slot, behind a reset that voids
//! what an earlier attempt brought. What commits at or behind the slot's consistent point follows from the stream.

use super::specs::TableSpec;
use crate::change::{Before, Cell, Change, CommitLsn, Op, Position, RowBuilder, TableName};
use crate::config::Connector;
use crate::event::{About, Encoder, Frame, Origin};
use crate::fate::Fate;
use crate::log::kafka::{Acks, Ends, Producer};
use crate::mapping::TablePlan;
use crate::pg::quote;
use crate::pipeline::board::Board;
use crate::pipeline::copy::{Piped, at_source, open_snapshot, temporary_name};
use crate::pipeline::{PipelineError, Tasks, halted_by, session};
use crate::telemetry::{self, Meter};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// Rows between two looks at what is acknowledged.
const GROUP: u64 = 5000;

/// A copy in the log: where its table's stream begins, what it took, how far its rows reach.
pub type Copied = (Position, Piped, Ends);

/// Copies tables into their topics.
pub struct TopicCopier {
    pub connector: Arc<Connector>,
    pub incarnation: u32,
    pub epoch: u64,
    pub specs: Arc<Vec<TableSpec>>,
    pub plans: Arc<Vec<TablePlan>>,
    pub producer: Producer,
    pub meter: Arc<Meter>,
    pub board: Arc<Board>,
    pub database: String,
}

impl TopicCopier {
    /// Copies one table, whatever it takes. Gives where its stream begins, its rows, and how far they reach in the log.
    pub async fn copy(&self, table: usize) -> Copied {
        let name = self.specs[table].shape.name.clone();
        let mut pause = Duration::from_millis(200);
        for attempt in 1_u32.. {
            let id = format!("{:012}-{attempt:06}", self.epoch);
            match self.attempt(table, &id).await {
                Ok(done) => {
                    self.board.resumed(&name);
                    tracing::info!(table = %name, rows = done.1.rows, "copied into the log");
                    return done;
                }
                Err(error) => {
                    let text = crate::pipeline::chain(&error);
                    if error.fate() == Fate::Retry {
                        tracing::warn!(table = %name, error = %text, "the copy is tried again");
                        pause = (pause * 2).min(Duration::from_secs(10));
                    } else {
                        let halted = halted_by(&error, "cure that, and the copy is tried again within 30 s");
                        tracing::error!(table = %name, "the first copy halted: {}\n  hint: {}", halted.because, halted.hint);
                        self.board.halted(&name, halted, None);
                        pause = Duration::from_secs(30);
                    }
                }
            }
            self.meter.retry("copy");
            self.of(&name).into_iter().for_each(|plan| self.meter.reset_copied(plan));
            tokio::time::sleep(pause).await;
        }
        unreachable!("attempts do not end")
    }

    async fn attempt(&self, table: usize, id: &str) -> Result<Copied, PipelineError> {
        let spec = &self.specs[table];
        let tasks = Tasks::default();
        let name = self.connector.object_name();
        let source = session::open(&tasks, &self.connector.source.endpoint, &name).await.map_err(PipelineError::Source)?;
        let slot = temporary_name(&name)?;
        let snapshot = {
            let who = (&*self.board, &spec.shape.name);
            open_snapshot(&self.connector.source.endpoint, &name, &source, &spec.shape.name, &slot, who).await?
        };
        let lsn = snapshot.made.consistent_point.0;
        let stream_table = spec.table();
        let failed = |what: String| PipelineError::Belief { what, hint: "the log cannot carry this table".to_owned() };
        let encoder = Encoder::new(Arc::clone(&stream_table), &spec.key, &self.database, &self.connector.name)
            .map_err(|error| failed(error.to_string()))?;
        let mut acks: Acks<()> = self.producer.acks();
        let mut frame = Frame::default();
        let mut group = acks.open();
        encoder.reset(&mut frame, id, lsn, self.epoch, telemetry::now());
        for partition in spec.partitions().all() {
            self.producer.send(&group, &spec.topic, partition, &frame).await?;
        }
        let columns: Vec<String> = stream_table.columns.iter().map(|column| quote::ident(&column.name)).collect();
        let from = quote::only(&spec.shape.name, spec.shape.kind == 'p');
        let sql = format!("COPY (SELECT {} FROM {from}) TO STDOUT", columns.join(", "));
        let rows = source.copy_out(&sql).await.map_err(at_source)?;
        tokio::pin!(rows);
        let (mut count, mut counted, mut text) = (Piped::default(), Piped::default(), Vec::new());
        let mut change = Change {
            position: Position::default(),
            table: Arc::clone(&stream_table),
            op: Op::Read,
            before: Before::Absent,
            after: None,
        };
        let origin = Origin::Copy { attempt: id, lsn, read_at: telemetry::now(), base: None };
        let about = About { epoch: self.epoch, now: telemetry::now(), origin };
        let plans = self.of(&spec.shape.name);
        let mut ends = Ends::default();
        while let Some(line) = rows.next().await {
            let line = line.map_err(at_source)?;
            let row = parse_line(&line, stream_table.columns.len(), &mut text);
            change.after = Some(row);
            encoder
                .change(&mut frame, &change, spec.event_key(&encoder, &change), &about)
                .map_err(|error| failed(error.to_string()))?;
            let partition = spec.partitions().of(frame.key());
            self.producer.send(&group, &spec.topic, partition, &frame).await?;
            count.rows += 1;
            count.bytes += line.len() as u64;
            frame.slim();
            if count.rows % GROUP == 0 {
                acks.seal(std::mem::replace(&mut group, acks.open()), ());
                self.count(&plans, std::mem::replace(&mut counted, count), count);
                while acks.len() > 8 {
                    ends.raise_all(&acks.front().await?.1);
                }
            }
        }
        acks.seal(group, ());
        while !acks.is_empty() {
            ends.raise_all(&acks.front().await?.1);
        }
        self.count(&plans, counted, count);
        let from = Position::start_of(self.incarnation, CommitLsn(lsn));
        Ok((from, count, ends))
    }

    /// The plans that take a table's rows.
    fn of(&self, source: &TableName) -> Vec<usize> {
        (0..self.plans.len()).filter(|&at| &self.plans[at].source == source).collect()
    }

    fn count(&self, plans: &[usize], from: Piped, to: Piped) {
        plans.iter().for_each(|&plan| self.meter.copied(plan, to.rows - from.rows, to.bytes - from.bytes));
    }
}

/// One line of COPY's text form as a row.
pub fn parse_line(line: &[u8], columns: usize, text: &mut Vec<u8>) -> crate::change::Row {
    let mut out = RowBuilder::new(columns);
    if columns == 0 {
        return out.finish();
    }
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    for field in line.split(|&byte| byte == b'\t') {
        if field == b"\\N" {
            out.push(Cell::Null);
        } else if memchr::memchr(b'\\', field).is_none() {
            out.push(Cell::Text(field));
        } else {
            unescape(field, text);
            out.push(Cell::Text(text));
        }
    }
    out.finish()
}

/// COPY's escapes, of which PostgreSQL writes these (PostgreSQL's manual, COPY, "Text Format").
fn unescape(field: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut bytes = field.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'b') => out.push(8),
            Some(b'f') => out.push(12),
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'v') => out.push(11),
            Some(&other) => out.push(other),
            None => out.push(b'\\'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_rows() {
        let row = parse_line(b"1\t\\N\ta\\tb\\\\N\\n\t\n", 4, &mut Vec::new());
        let cells: Vec<Cell<'_>> = row.cells().collect();
        assert_eq!(cells, [Cell::Text(b"1"), Cell::Null, Cell::Text(b"a\tb\\N\n"), Cell::Text(b"")]);
    }
}
