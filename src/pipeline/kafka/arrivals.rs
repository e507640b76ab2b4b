//! Messages to work: decoded, replays and late writers' events left out, cut at markers.

use super::partition::{Marker, Share, Work};
use super::specs::TableSpec;
use crate::apply::{Base, Item};
use crate::change::{Lsn, Op, Position};
use crate::event::{Decoder, Event, Kind};
use crate::log::kafka::Batch;
use crate::mapping::{Binding, SourceColumn, SourceShape, TablePlan};
use std::sync::Arc;

/// How one table's events are read: by its present shape, or one that it had before.
pub struct TableReader {
    shapes: Vec<Shape>,
    /// The shape that fitted last.
    likely: usize,
}

struct Shape {
    decoder: Decoder,
    /// The plans' numbers, with where their inputs stand.
    plans: Vec<(usize, Arc<Binding>)>,
}

/// The plan for events of an earlier shape: what its columns were called, and which of them it had not yet. None where a name is now another
/// column's.
fn as_of(plan: &TablePlan, then: &SourceShape, now: &SourceShape) -> Option<TablePlan> {
    // a shape that was noted from the stream alone has no numbers for columns that it did not find
    let same = |one: &SourceColumn, other: &SourceColumn| match (one.number, other.number) {
        (0, _) | (_, 0) => one.name == other.name,
        (one, other) => one == other,
    };
    let mut plan = plan.clone();
    plan.former.clear();
    for column in &then.columns {
        let is = now.columns.iter().find(|other| same(column, other)).map(|is| &is.name);
        if is == Some(&column.name) {
            continue;
        }
        if now.columns.iter().any(|other| other.name == column.name) {
            return None;
        }
        plan.former.insert(column.name.clone(), is.cloned());
    }
    for input in &mut plan.inputs {
        let column = now.columns.iter().find(|column| column.name == input.name)?;
        let is_new = !column.has_default && !then.columns.iter().any(|other| same(column, other));
        // capture has seen to it that no event lacks what it must have
        input.came = is_new.then_some(Lsn(u64::MAX));
    }
    Some(plan)
}

impl TableReader {
    /// For a spec whose plans are these. An event of a shape that a plan does not fit, even as it would have been then, is unreadable.
    pub fn new(spec: &TableSpec, plans: &[TablePlan]) -> Self {
        let mine: Vec<usize> = (0..plans.len()).filter(|&at| plans[at].source == spec.shape.name).collect();
        let shape = |shape: &SourceShape| {
            let table = TableSpec { shape: shape.clone(), former: Vec::new(), ..spec.clone() }.table();
            let bind = |&at: &usize| Some((at, Arc::new(as_of(&plans[at], shape, &spec.shape)?.bind(&table).ok()?)));
            Some(Shape { plans: mine.iter().map(bind).collect::<Option<_>>()?, decoder: Decoder::new(table) })
        };
        Self { shapes: std::iter::once(&spec.shape).chain(&spec.former).filter_map(shape).collect(), likely: 0 }
    }

    /// Adds a delivery to a partition's work.
    pub fn read(&mut self, share: &Share, batch: &Batch, work: &mut Work) {
        for message in batch.messages() {
            if work.marker.is_some() || work.unreadable.is_some() {
                return;
            }
            if message.offset < work.next_offset {
                continue;
            }
            let (event, shape) = match self.decode(message.value, || message.headers()) {
                Ok(read) => read,
                Err(because) => {
                    work.unreadable = Some(format!("{because} ({} at offset {})", share.partition, message.offset));
                    return;
                }
            };
            let epoch = i64::try_from(event.epoch).unwrap_or(i64::MAX);
            let mut seen = event.position.is_some_and(|position| work.position.is_some_and(|last| position <= last));
            let ours = !matches!(event.kind, Kind::Foreign);
            let late = ours && epoch < work.capture_epoch && !broken!(LateCaptureTaken);
            let truncates = |kind: &Kind| matches!(kind, Kind::Change { change, .. } if change.op == Op::Truncate);
            if broken!(LogReplaysApplied) {
                seen = false;
            }
            if truncates(&event.kind) && broken!(TruncateReplayed) {
                seen = false;
            }
            // rows of a copy have no place in the stream
            if event.position.is_none() && event.requests.is_empty() && work.position.is_some() && broken!(ReadsHavePlaces) {
                seen = true;
            }
            if late || seen || matches!(event.kind, Kind::Foreign | Kind::Tombstone) {
                work.next_offset = message.offset + 1;
                continue;
            }
            if !matches!(event.kind, Kind::Reset) {
                work.capture_epoch = epoch;
            }
            match event.kind {
                Kind::Reset => {
                    let attempt = event.attempt.unwrap_or_default().to_owned();
                    work.marker = Some((Marker::Reset { attempt, epoch }, message.offset));
                }
                Kind::Change { change, .. } if change.op == Op::Truncate && !broken!(TruncateNoMarker) => {
                    work.marker = Some((Marker::Truncate(change.position), message.offset));
                }
                Kind::Change { mut change, at } => {
                    if event.position.is_none() {
                        // reads have no place in the stream: their offset tells them apart
                        change.position = Position { ordinal: u64::try_from(message.offset).unwrap_or(0), ..Position::default() };
                    }
                    if change.op != Op::Read && work.times.last() != Some(&at) {
                        work.sent.push(message.timestamp * 1000);
                    }
                    let base = match event.base {
                        Some("doubtful") => Base::Doubtful,
                        Some(_) => Base::Mixed,
                        // a row that is read again mostly is there
                        None if !event.requests.is_empty() => Base::Mixed,
                        None => Base::Exact,
                    };
                    work.answered.extend(event.requests.iter().map(|&request| (message.offset, request)));
                    let absent = change.op == Op::Delete && event.position.is_none();
                    for (plan, binding) in self.shapes[shape].plans.iter().filter(|_| !(absent && broken!(AbsentPassedOver))) {
                        work.items.push(Item { plan: *plan, change: change.clone(), binding: Ok(Arc::clone(binding)), base });
                        work.places.push((message.offset, work.position, work.capture_epoch));
                        work.times.push(at);
                    }
                    work.position = event.position.or(work.position);
                    work.next_offset = message.offset + 1;
                }
                Kind::Foreign | Kind::Tombstone => {}
            }
        }
    }

    fn decode<'m, H>(&mut self, value: Option<&[u8]>, headers: impl Fn() -> H) -> Result<(Event<'m>, usize), String>
    where
        H: IntoIterator<Item = (&'m [u8], Option<&'m [u8]>)>,
    {
        let mut because = String::from("no shape of the table is known that the entry still fits");
        let likely = self.likely;
        let order = std::iter::once(likely).chain((0..self.shapes.len()).filter(move |&at| at != likely));
        for at in order {
            let Some(shape) = self.shapes.get_mut(at) else { continue };
            match shape.decoder.event(value, headers()) {
                Ok(event) => {
                    self.likely = at;
                    return Ok((event, at));
                }
                Err(error) => because = error.to_string(),
            }
        }
        Err(because)
    }
}
