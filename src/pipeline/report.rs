//! The status as the databases tell it.

use super::held::{self, Held};
use super::left_to_build::{self, LeftToBuild};
use super::sizes::Sizes;
use super::{PipelineError, Tasks, session};
use crate::change::{EndLsn, TableName};
use crate::chunk::{Range, bytes_read};
use crate::config::Connector;
use crate::log::kafka::Admin;
use crate::pg::{ConnectError, Endpoint};
use crate::source::{self, ServerFacts, SlotFacts, SlotName};
use crate::status::{self, Copies, Phase, Place, Rereads, Source, Status, Table, TableCopy, Target};
use crate::store::copy_range::{self, CopyRange};
use crate::store::{self, checkpoint, table_state::TableState, watermark};
use std::time::Duration;
use tokio_postgres::Client;

/// A database that does not answer for so long counts as away.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks both databases, again and again over the same sessions.
#[derive(Default)]
pub struct Reporter {
    source: Asked,
    target: Asked,
    /// What the target said last: nobody but us changes it, so it stays true while the target is away.
    last: Option<InTarget>,
    broker: Option<Admin>,
    sizes: Sizes,
}

/// What the target's control tables say.
#[derive(Clone, Default)]
struct InTarget {
    recorded: bool,
    held: Option<Held>,
    place: Option<Place>,
    consistent: bool,
    /// How far the copies are.
    ranges: Vec<CopyRange>,
    paused: bool,
    after_load: LeftToBuild,
}

struct AtSource {
    facts: ServerFacts,
    slot: Option<SlotFacts>,
}

impl Reporter {
    /// The target was asked, and has never heard of the connector.
    pub fn never_prepared(&self) -> bool {
        self.last.as_ref().is_some_and(|last| !last.recorded)
    }

    /// Asks both at once. What cannot be asked is null, with the reason beside it. `daemon`: one runs, if only to try again.
    pub async fn status(&mut self, connector: &Connector, daemon: bool) -> Status {
        let (members, source, target) = tokio::join!(
            members(&mut self.broker, connector),
            self.source.ask(&connector.source.endpoint, connector, PipelineError::Source, async |client| {
                at_source(client, connector).await
            }),
            self.target.ask(&connector.target.endpoint, connector, PipelineError::Target, async |client| {
                in_target(client, connector).await
            }),
        );
        let (in_target, target_error) = match target {
            Ok(found) => (Some(self.last.insert(found).clone()), None),
            Err(error) => (self.last.clone(), Some(error)),
        };
        let states = in_target.iter().filter_map(|found| found.held.as_ref()).flat_map(|held| &held.tables);
        let states: Vec<TableState> = states.cloned().collect();
        let copying = states.iter().any(|state| !state.copied);
        let names: Vec<TableName> = states.iter().map(|state| state.source.clone()).collect();
        self.sizes.refresh(self.source.client.as_ref(), &names, copying).await;
        let ranges = in_target.as_ref().map_or(&[][..], |found| &found.ranges);
        let mut tables: Vec<Table> = states.iter().map(|state| self.table(state, &of_table(state, &states, ranges))).collect();
        for (table, state) in tables.iter_mut().zip(&states) {
            let left = in_target.as_ref().and_then(|found| found.after_load.get(&state.target));
            table.after_load = left.map(|(left, _)| left.clone());
            table.waiting_for = left.and_then(|(_, why)| why.clone()).filter(|_| state.copied);
        }
        let slot = source.as_ref().ok().and_then(|found| found.slot.as_ref());
        let captures = source.is_ok().then(|| slot.is_some_and(|slot| slot.active_pid.is_some()));
        let applies = members.map_or(captures, |members| members.map(|members| members > 0));
        // one half is enough to be more than stopped
        let active = match (captures, applies) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
        let begun = in_target.as_ref().map(|found| found.recorded && (found.place.is_some() || connector.kafka().is_some()));
        let phase = status::phase(status::Facts { prepared: begun, active, daemon, tables: &tables });
        let held = in_target.as_ref().and_then(|found| found.held.as_ref());
        // of the tables that are not halted, as with the local log
        let end = held.and_then(|held| held.end.or(held.end_of_others));
        let mut status = Status { connector: connector.name.clone(), running: applies, phase, tables, ..Status::default() };
        if status.tables.iter().any(|table| table.copy.is_some()) {
            status.copies = Some(Copies { paused: in_target.as_ref().is_some_and(|found| found.paused), ..Copies::default() });
        }
        status.rereads = held.map(|held| Rereads { open: u64::try_from(held.rereads).unwrap_or(0) });
        status.lag.wal_bytes = wal_bytes(source.as_ref().ok(), end);
        status.source = source_part(connector, &source);
        status.target = Target {
            position: in_target.as_ref().and_then(|found| found.place.clone()),
            applied_end_lsn: end,
            consistent: in_target.as_ref().filter(|found| found.recorded).map(|found| found.consistent),
            error: target_error,
        };
        status
    }

    fn table(&self, state: &TableState, ranges: &[&CopyRange]) -> Table {
        let phase = match (&state.halted, state.copied) {
            (Some(_), _) => Phase::Halted,
            (None, false) => Phase::Copy,
            (None, true) => Phase::Follow,
        };
        let files = self.sizes.files(&state.source);
        let sum = |of: fn(&CopyRange) -> i64| ranges.iter().map(|range| of(range)).sum::<i64>();
        let (rows, bytes) = (state.rows_copied.max(sum(|range| range.rows)), state.bytes_copied.max(sum(|range| range.bytes)));
        let known = !files.is_empty();
        let read: Vec<(Range, bool)> = ranges.iter().map(|found| (found.range.clone(), found.done)).collect();
        let source_bytes_read = (known && !read.is_empty()).then(|| bytes_read(files, &read));
        let copy =
            (phase == Phase::Copy).then(|| TableCopy { repeats: state.repeats, source_bytes_read, ..TableCopy::default() });
        Table {
            source: state.source.to_string(),
            target: state.target.to_string(),
            state: Some(phase),
            halted_because: state.halted.as_ref().map(|halted| halted.because.clone()),
            hint: state.halted.as_ref().map(|halted| halted.hint.clone()),
            rows_copied: u64::try_from(rows).unwrap_or(0),
            bytes_copied: u64::try_from(bytes).unwrap_or(0),
            rows_estimated: self.sizes.rows(&state.source),
            source_bytes: known.then(|| files.iter().map(|file| file.bytes).sum()),
            copy,
            ..Table::default()
        }
    }
}

/// A table's recorded ranges. Of several that take their rows from one topic, only one has them.
fn of_table<'a>(state: &TableState, states: &[TableState], ranges: &'a [CopyRange]) -> Vec<&'a CopyRange> {
    let of = |target: &TableName| ranges.iter().filter(|range| &range.target == target).collect::<Vec<_>>();
    let own = of(&state.target);
    if !own.is_empty() || !state.copying {
        return own;
    }
    let others = states.iter().filter(|other| other.source == state.source && other.copying);
    others.map(|other| of(&other.target)).find(|found| !found.is_empty()).unwrap_or_default()
}

/// One database, and the session that it is asked over.
#[derive(Default)]
struct Asked {
    tasks: Tasks,
    client: Option<Client>,
}

impl Asked {
    /// The answer, or why there is none. A session that failed is not used again.
    async fn ask<T>(
        &mut self,
        endpoint: &Endpoint,
        connector: &Connector,
        unreachable: fn(ConnectError) -> PipelineError,
        question: impl AsyncFnOnce(&Client) -> Result<T, PipelineError>,
    ) -> Result<T, String> {
        let asking = async {
            if self.client.as_ref().is_none_or(Client::is_closed) {
                self.tasks = Tasks::default();
                let name = connector.object_name();
                self.client = Some(session::open(&self.tasks, endpoint, &name).await.map_err(unreachable)?);
            }
            question(self.client.as_ref().expect("it was opened a moment ago")).await
        };
        let answer = match tokio::time::timeout(PATIENCE, asking).await {
            Ok(answer) => answer.map_err(|error| super::chain(&error)),
            Err(_) => Err(format!("it did not answer within {} s", PATIENCE.as_secs())),
        };
        if answer.is_err() {
            self.client = None;
        }
        answer
    }
}

/// How many members the consumer group has; inner `None`: the broker does not say. Outer `None`: the log is not Kafka.
async fn members(admin: &mut Option<Admin>, connector: &Connector) -> Option<Option<usize>> {
    let kafka = connector.kafka()?;
    if admin.is_none() {
        *admin = Admin::new(kafka).ok();
    }
    let Some(admin) = admin else { return Some(None) };
    Some(admin.members(&connector.object_name(), PATIENCE).await.ok())
}

async fn at_source(client: &Client, connector: &Connector) -> Result<AtSource, PipelineError> {
    let slot = SlotName::new(connector.slot())?;
    Ok(AtSource { facts: source::server_facts(client).await?, slot: source::slot_facts(client, &slot).await? })
}

async fn in_target(client: &Client, connector: &Connector) -> Result<InTarget, PipelineError> {
    let recorded = store::schema::exists(client).await? && store::connector::read(client, &connector.name).await?.is_some();
    if !recorded {
        return Ok(InTarget::default());
    }
    let held = held::held(client, &connector.name).await?;
    let checkpoints = checkpoint::read(client, &connector.name).await?;
    let newest = checkpoints.iter().filter_map(|found| found.position).max();
    let place = newest.map(|position| Place {
        commit_lsn: position.commit,
        ordinal: Some(position.ordinal).filter(|ordinal| *ordinal != u64::MAX),
    });
    let followed = held.as_ref().is_some_and(|held| held.end.is_some_and(|end| held.holds(end)));
    let consistent = followed
        && match connector.kafka() {
            None => true,
            Some(_) => watermark::read(client, &connector.name).await?.is_some_and(|mark| stands_at(&mark, &checkpoints)),
        };
    let copying = held.as_ref().is_some_and(|held| held.tables.iter().any(|table| !table.copied));
    let (ranges, paused) = match copying {
        true => {
            let paused = copy_range::orders(client, &connector.name).await?.paused;
            (copy_range::read(client, &connector.name).await?, paused)
        }
        false => (Vec::new(), false),
    };
    let after_load = left_to_build::read(client, &connector.name).await?;
    Ok(InTarget { recorded, held, place, consistent, ranges, paused, after_load })
}

/// Everything up to the watermark is applied, and nothing behind it.
fn stands_at(mark: &watermark::Watermark, checkpoints: &[checkpoint::Checkpoint]) -> bool {
    held::reached(mark, checkpoints)
        && checkpoints.iter().all(|found| {
            let ends = mark.ends.get(&found.topic);
            let end = ends.and_then(|ends| ends.get(usize::try_from(found.partition).ok()?));
            found.log_offset.unwrap_or(0) <= end.copied().unwrap_or(0)
        })
}

fn source_part(connector: &Connector, found: &Result<AtSource, String>) -> Source {
    let slot = Some(connector.slot());
    let AtSource { facts, slot: seen } = match found {
        Ok(found) => found,
        Err(error) => return Source { slot, error: Some(error.clone()), ..Source::default() },
    };
    let seen = seen.as_ref();
    Source {
        system_id: Some(facts.system_id.clone()),
        slot,
        slot_active: Some(seen.is_some_and(|seen| seen.active_pid.is_some())),
        retained_wal_bytes: seen.and_then(|seen| seen.retained_bytes),
        safe_wal_bytes: seen.and_then(|seen| seen.safe_wal_bytes),
        current_lsn: Some(facts.insert_lsn),
        confirmed_lsn: seen.and_then(|seen| seen.confirmed),
        error: None,
    }
}

fn wal_bytes(source: Option<&AtSource>, end: Option<EndLsn>) -> Option<u64> {
    Some(source?.facts.insert_lsn.0.saturating_sub(end?.0.0))
}
