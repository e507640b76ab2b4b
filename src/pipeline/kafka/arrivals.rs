//! Messages to work: decoded, replays and late writers' events left out, cut at markers.

use super::partition::{Marker, Share, Work};
use super::specs::TableSpec;
use crate::apply::{Base, Item};
use crate::change::{Column, Op, Position, Table};
use crate::event::{Decoder, Event, Kind};
use crate::log::kafka::Batch;
use crate::mapping::{Binding, SourceShape, TablePlan};
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

/// The columns that came, if all that there were are still there, and the new ones were NULL in all rows.
fn added(then: &Table, now: &Table, shape: &SourceShape) -> Option<Vec<usize>> {
    let is_kept = |column: &Column| now.columns.iter().any(|one| one.name == column.name && one.type_oid == column.type_oid);
    let has_default =
        |name: &str| shape.columns.iter().any(|column| column.name == name && (column.has_default || column.not_null));
    let is_new = |column: &Column| !then.columns.iter().any(|one| one.name == column.name);
    let added: Vec<usize> = (0..now.columns.len()).filter(|&at| is_new(&now.columns[at])).collect();
    let were_null = added.iter().all(|&at| !has_default(&now.columns[at].name));
    (then.columns.iter().all(is_kept) && were_null).then_some(added)
}

impl TableReader {
    /// For a spec whose plans are these. An event of a shape that a plan no longer fits is unreadable, unless the table only has more columns now.
    pub fn new(spec: &TableSpec, plans: &[TablePlan]) -> Self {
        let mine: Vec<usize> = (0..plans.len()).filter(|&at| plans[at].source == spec.shape.name).collect();
        let shape = |shape: &SourceShape| {
            let of = |shape: &SourceShape| TableSpec { shape: shape.clone(), former: Vec::new(), ..spec.clone() }.table();
            let bind = |table: &Arc<Table>| -> Option<Vec<_>> {
                mine.iter().map(|&at| Some((at, Arc::new(plans[at].bind(table).ok()?)))).collect()
            };
            let (then, now) = (of(shape), of(&spec.shape));
            if let Some(plans) = bind(&then) {
                return Some(Shape { decoder: Decoder::new(then), plans });
            }
            let added = added(&then, &now, &spec.shape)?;
            Some(Shape { plans: bind(&now)?, decoder: Decoder::before(now, added) })
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
                        work.places.push((message.offset, work.position));
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
