//! Partitions that come, go, or change as a whole. TRUNCATE, DETACH, DROP and ATTACH of one of them leave no trace in the stream of its root
//! (PostgreSQL's manual, CREATE PUBLICATION, `publish_via_partition_root`): the catalog tells. What came is read, and where rows may be gone,
//! the target's keys are held against the source; both once the target has everything that was committed before, for what the stream brings
//! of a partition after that is newer than what was done to it.

mod found;
mod keyless;
mod remembered;

use super::held::{Held, held};
use super::structure::Unfit;
use super::{PipelineError, Tasks, copy, session};
use crate::catalog;
use crate::change::{EndLsn, Lsn, TableName};
use crate::config::Connector;
use crate::mapping::TablePlan;
use crate::preflight::{self, Compiled};
use crate::source;
use crate::source::{KnownLeaf, KnownLeaves};
use crate::store::copy_range::{self, Scope};
use crate::store::table_state::{self, TableState};
use found::{Found, Leaves, Mark, Seen, look, marks};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

/// Partitions that the stream has told of, by their tables, as relation ids, each with the transaction in which it did.
type Came = BTreeMap<u32, BTreeMap<u32, u32>>;

/// What is recorded of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// What the target's rows are of, apart from the stream.
    known: Leaves,
    /// They became others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved: Option<Moved>,
    /// Partitions that went, with the place up to which what the stream has brought of them was looked for: a [`Lsn`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    gone: BTreeMap<u32, u64>,
    /// Partitions whose rows the stream brings from the very transaction that made them: it may have emptied them, too.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    doubted: BTreeSet<u32>,
    /// Those that were once, and rows that they lost then have been looked for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    cleared: BTreeSet<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Moved {
    leaves: Leaves,
    /// What was committed before they were seen ends before it: a [`Lsn`].
    at: u64,
    /// Rows of any of them may be others than the source's.
    #[serde(default)]
    all: bool,
    /// As in the record.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    doubted: BTreeSet<u32>,
}

/// What is to be done about a table.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    /// Somebody has locked one that came: it cannot be told yet.
    Locked,
    /// Partitions came of which nothing is to be read, or none were recorded: they only are to be known.
    Know,
    /// They became others: what is to be read is known, and waits for the stream.
    Wait,
    /// The stream has come so far.
    Read,
}

fn step(record: Option<&Record>, found: &BTreeMap<u32, Found>, passed: impl Fn(EndLsn) -> bool) -> Step {
    let Some(record) = record else { return Step::Know };
    if let Some(moved) = &record.moved {
        return if passed(EndLsn(Lsn(moved.at))) { Step::Read } else { Step::Nothing };
    }
    let now = marks(found);
    let came = || now.keys().filter(|oid| !record.known.contains_key(oid)).map(|oid| found[oid].to_read);
    let others_stay = record.known.iter().all(|(oid, mark)| now.get(oid) == Some(mark));
    match (others_stay, came().all(|to_read| to_read == Some(false)), came().any(|to_read| to_read.is_none())) {
        (true, true, _) if now == record.known && record.doubted.is_empty() => Step::Nothing,
        (true, true, _) if record.doubted.is_empty() => Step::Know,
        (_, _, true) => Step::Locked,
        _ => Step::Wait,
    }
}

/// Partitions that are to be read, and whether rows may be gone.
fn differences(record: &Record, moved: &Moved) -> (BTreeSet<u32>, bool) {
    let read = moved.leaves.iter().filter(|(oid, mark)| moved.all || record.known.get(oid) != Some(mark)).map(|(&oid, _)| oid);
    // one that came with another file than its first may have been emptied since the stream began to bring its rows
    let emptied = |oid: &u32, mark: &Mark| !record.known.contains_key(oid) && mark.file != *oid;
    let sweeps = record.known.iter().any(|(oid, mark)| moved.leaves.get(oid) != Some(mark))
        || moved.leaves.iter().any(|(oid, mark)| emptied(oid, mark))
        || !moved.doubted.is_empty();
    (read.collect(), sweeps)
}

impl Record {
    /// `None`: there is none, or it cannot be read.
    fn of(records: &BTreeMap<TableName, String>, target: &TableName) -> Option<Self> {
        serde_json::from_str(records.get(target)?).ok()
    }

    fn has(&self, partition: u32) -> bool {
        self.known.contains_key(&partition) || self.moved.as_ref().is_some_and(|moved| moved.leaves.contains_key(&partition))
    }

    /// Rows that it lost in the transaction that made it are looked for, or will be.
    fn is_thought_of(&self, partition: u32) -> bool {
        let waits = self.moved.as_ref().is_some_and(|moved| moved.doubted.contains(&partition));
        waits || self.doubted.contains(&partition) || self.cleared.contains(&partition)
    }

    /// Every partition that it has, and those that went, up to where they were dealt with: a stream that is behind may tell of them.
    fn partitions(&self, made: &BTreeMap<u32, u32>) -> hashbrown::HashMap<u32, KnownLeaf> {
        let here = self.known.keys().chain(self.moved.iter().flat_map(|moved| moved.leaves.keys()));
        let gone = self.gone.iter().map(|(&partition, &until)| (partition, KnownLeaf { until: EndLsn(Lsn(until)), made: None }));
        let here = here.map(|&partition| {
            let made = made.get(&partition).copied().filter(|_| !self.is_thought_of(partition));
            (partition, KnownLeaf { until: EndLsn(Lsn(u64::MAX)), made })
        });
        gone.chain(here).collect()
    }
}

/// The partitions that the stream may bring, of the tables that are followed. What it has told of and the catalog no longer has, whatever it was
/// in between, is recorded as gone: its rows have to be looked for. So have those that one lost in the transaction that made it.
///
/// # Errors
/// A database could not be asked.
pub async fn known(
    source: &Client,
    target: &Client,
    connector: &Connector,
    compiled: &[Compiled],
    came: &Came,
) -> Result<KnownLeaves, PipelineError> {
    let mut known = KnownLeaves::default();
    let plans = compiled.iter().filter_map(|one| one.plan.as_ref().ok());
    let plans: Vec<&TablePlan> = plans.filter(|plan| plan.partitioned).collect();
    if plans.is_empty() {
        return Ok(known);
    }
    let records = table_state::leaves(target, &connector.name).await?;
    let records: Vec<(&TablePlan, Record)> =
        plans.into_iter().map(|plan| (plan, Record::of(&records, &plan.target).unwrap_or_default())).collect();
    let made =
        found::made_by(source, records.iter().flat_map(|(_, record)| record.partitions(&BTreeMap::new()).into_keys())).await?;
    for (plan, mut record) in records {
        let before = record.clone();
        for (&partition, &xid) in came.get(&plan.source_oid).into_iter().flatten() {
            let made = made.get(&partition).copied();
            if !record.has(partition) {
                let leaves = record.moved.as_mut().map_or(&mut record.known, |moved| &mut moved.leaves);
                leaves.insert(partition, Mark::default());
            } else if (KnownLeaf { until: EndLsn(Lsn(u64::MAX)), made }).was_made_in(xid) && !record.is_thought_of(partition) {
                record.doubted.insert(partition);
            }
        }
        if record != before {
            write(target, connector, &plan.target, &record).await?;
        }
        let mine = record.partitions(&made);
        match known.get_mut(&plan.source_oid) {
            // each of a source's targets has to know of it
            Some(others) => others.retain(|partition, leaf| {
                let here = mine.get(partition);
                here.map(|here| (leaf.until, leaf.made) = (leaf.until.min(here.until), leaf.made.or(here.made))).is_some()
            }),
            None => _ = known.insert(plan.source_oid, mine),
        }
    }
    Ok(known)
}

async fn write(target: &Client, connector: &Connector, table: &TableName, record: &Record) -> Result<(), PipelineError> {
    let text = serde_json::to_string(record).expect("plain data is always JSON");
    Ok(table_state::set_leaves(target, &connector.name, table, &text).await?)
}

/// Takes the plan from tables whose partitions cannot be followed, and does what is to be done about those that became others.
///
/// # Errors
/// A database could not be asked.
pub async fn hold(
    source: &Client,
    target: &Client,
    connector: &Connector,
    compiled: &mut [Compiled],
) -> Result<(), PipelineError> {
    let rooted = |one: &Compiled| one.plan.as_ref().is_ok_and(|plan| plan.partitioned).then(|| one.rule.source.clone());
    let roots: Vec<TableName> = compiled.iter().filter_map(rooted).collect();
    if roots.is_empty() {
        return Ok(());
    }
    let Some(held) = held(target, &connector.name).await? else { return Ok(()) };
    let unfit = catalog::leaves(source, &roots).await?;
    let Seen { found, detaching } = look(source, &roots).await?;
    for (root, finish) in &detaching {
        tracing::warn!(table = %root, "{}", being_detached(finish));
    }
    let records = table_state::leaves(target, &connector.name).await?;
    for one in compiled {
        let Ok(plan) = &one.plan else { continue };
        let (Some(shape), Some(found)) = (&one.source, found.get(&plan.source)) else { continue };
        let mut findings =
            preflight::unfit_leaves(shape, unfit.get(&plan.source).map_or(&[][..], Vec::as_slice), one.rule.insert_only);
        let Some(state) = held.tables.iter().find(|state| state.target == plan.target) else { continue };
        let write = async |record: &Record| write(target, connector, &plan.target, record).await;
        let record = Record::of(&records, &plan.target);
        let mut known = Record { known: marks(found), moved: None, ..record.clone().unwrap_or_default() };
        if record.is_none() && state.copied {
            // somebody says that both sides hold the same
            known.cleared = known.known.keys().copied().collect();
        }
        let mut step = match (state.copied, state.copying) {
            (true, _) => step(record.as_ref(), found, |at| has_passed(&held, state, at)),
            // what the first copy reads, or is about to read
            (false, true) => Step::Nothing,
            (false, false) if record.as_ref() == Some(&known) => Step::Nothing,
            (false, false) => Step::Know,
        };
        if let (Step::Wait | Step::Read, Some(record), false) = (&step, &record, copy::in_chunks(plan)) {
            if !keyless::brought(source, record, found).await? {
                findings.push(keyless::finding(&connector.name, &plan.target));
                one.plan = Err(findings);
                continue;
            }
            step = Step::Know;
        }
        if matches!(step, Step::Know | Step::Wait) {
            let publication = if one.rule.insert_only { connector.inserts_publication() } else { connector.publication() };
            if let Some(finding) = remembered::forget(source, &publication, &plan.source).await? {
                findings.push(finding);
                one.plan = Err(findings);
                continue;
            }
        }
        match (step, record) {
            (Step::Know, _) => write(&known).await?,
            (Step::Wait, Some(record)) => {
                let all = remembered::came_as_rows_of_the_root(source, &record.known, &known.known).await?;
                let at = source::emit_mark(source).await?.0.0;
                tracing::info!(table = %plan.source, "partitions came, went or have other files: their rows are read once the stream has come so far");
                let doubted = record.doubted;
                let moved = Some(Moved { leaves: known.known, at, all, doubted });
                write(&Record { moved, doubted: BTreeSet::new(), ..record }).await?;
            }
            (Step::Read, Some(mut record)) => {
                if let Some(moved) = record.moved.take() {
                    read(source, target, connector, state, (record, moved)).await?;
                }
            }
            _ => {}
        }
        if !findings.is_empty() {
            one.plan = Err(findings);
        }
    }
    Ok(())
}

/// The partitions that came are copied, and rows that went are looked for.
async fn read(
    source: &Client,
    target: &Client,
    connector: &Connector,
    state: &TableState,
    (record, moved): (Record, Moved),
) -> Result<(), PipelineError> {
    let (mut read, sweeps) = differences(&record, &moved);
    if sweeps {
        read.extend(remembered::defaults(source, &state.source).await?);
    }
    let mut parts = catalog::parts(source, std::slice::from_ref(&state.source)).await?.remove(&state.source).unwrap_or_default();
    parts.retain(|part| read.contains(&part.relation));
    let Record { known, mut gone, mut cleared, .. } = record;
    gone.extend(known.keys().filter(|oid| !moved.leaves.contains_key(oid)).map(|&oid| (oid, moved.at)));
    cleared.extend(moved.doubted);
    cleared.retain(|oid| moved.leaves.contains_key(oid));
    let record = Record { known: moved.leaves, moved: None, gone, doubted: record.doubted, cleared };
    let leaves = serde_json::to_string(&record).expect("plain data is always JSON");
    let scope = Scope::Partitions { leaves: &leaves, sweeps };
    if copy_range::resync(target, &connector.name, &state.target, &crate::chunk::plan(&parts), scope).await? {
        let gone = if sweeps { ", and rows that went are looked for" } else { "" };
        tracing::info!(table = %state.target, "{} of its partitions are read{gone}", parts.len());
    }
    Ok(())
}

/// Everything that ends before `at` is in the target, as far as it concerns the table.
fn has_passed(held: &Held, state: &TableState, at: EndLsn) -> bool {
    state.lacks_from.is_none() && state.halted.is_none() && held.end_of_others.is_some_and(|end| end >= at)
}

/// How it stands with the partitions of all tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stand {
    AsKnown,
    /// Some became others, and wait for the stream.
    Waits,
    /// Something is to be done.
    Due,
}

/// Looks at them, but for tables that are `known` not to fit.
///
/// # Errors
/// A database could not be asked.
pub async fn stand(source: &Client, target: &Client, connector: &Connector, unfit: &Unfit) -> Result<Stand, PipelineError> {
    let stands = stands(source, target, connector, unfit).await?;
    Ok(stands.into_iter().map(|(stand, _)| stand).max().unwrap_or(Stand::AsKnown))
}

/// How it stands with tables whose partitions are not as known, and what to say of it.
async fn stands(
    source: &Client,
    target: &Client,
    connector: &Connector,
    unfit: &Unfit,
) -> Result<Vec<(Stand, String)>, PipelineError> {
    let records = table_state::leaves(target, &connector.name).await?;
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let Some(held) = held(target, &connector.name).await? else { return Ok(Vec::new()) };
    let is_due =
        |state: &&TableState| state.copied && records.contains_key(&state.target) && !unfit.has(&state.source, &state.target);
    let due: Vec<&TableState> = held.tables.iter().filter(is_due).collect();
    let names: Vec<TableName> = due.iter().map(|state| state.source.clone()).collect();
    let Seen { found, detaching } = look(source, &names).await?;
    let stands = due.into_iter().filter_map(|state| {
        let record = Record::of(&records, &state.target);
        let waits = record.as_ref().is_some_and(|record| record.moved.is_some());
        let passed = |at| has_passed(&held, state, at);
        if let Some(finish) = detaching.get(&state.source) {
            return Some((Stand::Waits, format!("`{}`: {}", state.source, being_detached(finish))));
        }
        let stand = match step(record.as_ref(), found.get(&state.source)?, passed) {
            Step::Nothing if waits => Stand::Waits,
            Step::Nothing => return None,
            Step::Locked => {
                let what = format!(
                    "a partition of `{}` came, and is looked at once nobody has locked it (ACCESS EXCLUSIVE) any more",
                    state.source
                );
                return Some((Stand::Waits, what));
            }
            Step::Know | Step::Wait | Step::Read => Stand::Due,
        };
        Some((
            stand,
            format!("partitions of `{}` came, went or have other files, and their rows are not looked at yet", state.source),
        ))
    });
    Ok(stands.collect())
}

fn being_detached(finish: &str) -> String {
    format!(
        "a partition is being detached CONCURRENTLY, and is looked at once that is over. If it was broken off, this ends it: {finish}"
    )
}

/// What of the source's partitions is not in the target yet, by tables.
///
/// # Errors
/// A database could not be asked.
pub async fn unknown_partitions(connector: &Connector) -> Result<Vec<String>, PipelineError> {
    let (tasks, name) = (Tasks::default(), connector.object_name());
    let target = session::open(&tasks, &connector.target.endpoint, &name).await.map_err(PipelineError::Target)?;
    if table_state::leaves(&target, &connector.name).await?.is_empty() {
        // and the source, which may be away, need not be asked
        return Ok(Vec::new());
    }
    let source = session::open(&tasks, &connector.source.endpoint, &name).await.map_err(PipelineError::Source)?;
    let stands = stands(&source, &target, connector, &Unfit::default()).await?;
    Ok(stands.into_iter().map(|(_, what)| what).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(leaves: &[(u32, u32, Option<bool>)]) -> BTreeMap<u32, Found> {
        let found = |&(oid, file, to_read): &(u32, u32, Option<bool>)| {
            (oid, Found { mark: Mark { file, attached: 7 }, to_read, was_table: false })
        };
        leaves.iter().map(found).collect()
    }

    fn knows(leaves: &[(u32, u32, Option<bool>)]) -> Record {
        Record { known: marks(&found(leaves)), ..Record::default() }
    }

    #[test]
    fn what_is_to_be_done_follows_from_what_came_and_went() {
        let full = Some(true);
        let record = knows(&[(1, 10, full), (2, 20, full)]);
        let after = |leaves: &[(u32, u32, Option<bool>)]| step(Some(&record), &found(leaves), |_| true);
        assert_eq!(after(&[(1, 10, full), (2, 20, None)]), Step::Nothing, "as it was");
        assert_eq!(after(&[(1, 10, full), (2, 20, full), (3, 30, Some(false))]), Step::Know, "an empty one came");
        assert_eq!(after(&[(1, 10, full), (2, 20, full), (3, 30, full)]), Step::Wait, "one came with rows");
        assert_eq!(after(&[(1, 10, full), (2, 20, full), (3, 30, None)]), Step::Locked, "it cannot be told yet");
        assert_eq!(after(&[(1, 10, full), (2, 21, Some(false))]), Step::Wait, "one was emptied");
        assert_eq!(after(&[(1, 10, full)]), Step::Wait, "one went");
        assert_eq!(after(&[(1, 10, full), (3, 30, Some(false))]), Step::Wait, "one went, an empty one came");
        assert_eq!(step(None, &found(&[]), |_| true), Step::Know);
        let doubts = Record { doubted: BTreeSet::from([1]), ..record.clone() };
        assert_eq!(step(Some(&doubts), &found(&[(1, 10, full), (2, 20, full)]), |_| true), Step::Wait, "rows of it may be gone");
        let moved = Some(Moved { leaves: Leaves::new(), at: 5, all: false, doubted: BTreeSet::new() });
        let record = Record { moved, ..record };
        assert_eq!(step(Some(&record), &found(&[]), |_| false), Step::Nothing);
        assert_eq!(step(Some(&record), &found(&[]), |at| at == EndLsn(Lsn(5))), Step::Read);
    }

    #[test]
    fn only_what_is_another_is_read() {
        let now = |leaves: &[(u32, u32, Option<bool>)]| Moved {
            leaves: marks(&found(leaves)),
            at: 0,
            all: false,
            doubted: BTreeSet::new(),
        };
        let record = knows(&[(1, 10, None), (2, 20, None)]);
        assert_eq!(differences(&record, &now(&[(1, 10, None), (2, 20, None), (3, 3, None)])), (BTreeSet::from([3]), false));
        assert_eq!(
            differences(&record, &now(&[(1, 10, None), (2, 20, None), (3, 30, None)])),
            (BTreeSet::from([3]), true),
            "emptied"
        );
        assert_eq!(differences(&record, &now(&[(1, 11, None), (2, 20, None)])), (BTreeSet::from([1]), true));
        assert_eq!(differences(&record, &now(&[(2, 20, None)])), (BTreeSet::new(), true));
        let doubted = Moved { doubted: BTreeSet::from([1]), ..now(&[(1, 10, None), (2, 20, None)]) };
        assert_eq!(differences(&record, &doubted), (BTreeSet::new(), true), "it may have been emptied as it was made");
    }
}
