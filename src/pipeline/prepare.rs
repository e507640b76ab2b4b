//! Makes what a connector needs, and holds what is there against what was recorded. Idempotent: each start goes through it, and a
//! crash between any two of its steps is cured by the next.

use super::board::Board;
use super::entries::{self, Entries};
use super::take_on::{Misfit, leave, take_on};
use super::{PipelineError, Tasks, holdup, leaves, publish, structure};
use crate::catalog;
use crate::change::{EndLsn, TableName};
use crate::config::Connector;
use crate::finding::Finding;
use crate::pg::Endpoint;
use crate::preflight::{self, Compiled};
use crate::source::{
    self, Connection, KnownLeaves, Reader, ReaderConfig, ServerFacts, SlotFacts, SlotKind, SlotName, SnapshotUse,
};
use crate::store::connector::{ConnectorRecord, Made};
use crate::store::{self, checkpoint};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

/// What a start found and made.
pub struct Prepared {
    pub record: ConnectorRecord,
    /// Nothing was recorded of this connector before.
    pub first: bool,
    pub facts: ServerFacts,
    pub slot: SlotName,
    pub publications: Vec<String>,
    /// The rules of all tables that were taken on, compiled or not.
    pub compiled: Vec<Compiled>,
    pub misfits: Vec<Misfit>,
    /// Source tables that a pattern takes, and that are left alone.
    pub left_out: BTreeSet<TableName>,
    /// Through Kafka: recorded tables to forget, once the log knows nothing of them.
    pub leaving: Vec<TableName>,
    /// What is not wrong enough to stop for.
    pub findings: Vec<Finding>,
    /// What the stream may bring without another look at the catalog.
    pub partitions: KnownLeaves,
}

impl Prepared {
    /// Goes into every position.
    pub fn incarnation(&self) -> u32 {
        u32::try_from(self.record.incarnation).unwrap_or(1)
    }

    /// Opens the slot's stream. `budget`: bytes of read buffers that may be on their way.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn open_stream(&self, connector: &Connector, tasks: &Tasks, budget: usize) -> Result<Reader, PipelineError> {
        let endpoint = connector.source.endpoint.clone();
        let (slot, publications) = (self.slot.clone(), self.publications.clone());
        let mut config = ReaderConfig::new(endpoint, connector.object_name(), slot, publications);
        (config.incarnation, config.budget) = (self.incarnation(), budget);
        config.partitions.clone_from(&self.partitions);
        let spawn = tasks.clone();
        Ok(Reader::start(config, &move |task| spawn.start(task)).await?)
    }
}

/// Whether tables that are new get a first copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstCopy {
    Make,
    /// `--no-copy`: the target has its rows already.
    Skip,
}

/// Prepares a connector.
///
/// # Errors
/// See [`PipelineError`]; on the first start any error finding is one.
pub async fn prepare(
    connector: &Connector,
    source: &Client,
    target: &mut Client,
    copy: FirstCopy,
    board: &Board,
) -> Result<Prepared, PipelineError> {
    let facts = source::server_facts(source).await?;
    let recorded = if store::schema::exists(target).await? {
        store::schema::ensure(target).await?;
        store::connector::read(target, &connector.name).await?
    } else {
        None
    };
    let slot = SlotName::new(connector.slot())?;
    let first = recorded.is_none();
    let Entries { mut compiled, mut findings, left_out, mut leaving, strangers } = match first {
        true => Box::pin(first_entries(connector, source, target, copy)).await?,
        false => Box::pin(entries::compile(connector, source, target, |_| true)).await?,
    };
    if let Some(record) = &recorded {
        findings.extend(differences(connector, record, &facts, source).await?);
    }
    if findings.iter().any(Finding::is_error) {
        return Err(PipelineError::Findings(findings));
    }
    for (table, why) in &left_out {
        tracing::error!(table = %table, "left out, although a pattern takes it: {why}");
    }
    store::schema::ensure(target).await?;
    let mut record = recorded.unwrap_or_else(|| fresh_record(connector, &facts, &slot));
    record.source_database = database(source).await?;
    store::connector::write(target, &record).await?;
    structure::note_lapses(source, target, connector).await?;
    let publications = publish::ensure(connector, source, (&compiled, &strangers), &mut record).await?;
    store::connector::write(target, &record).await?;
    if connector.kafka().is_none() {
        leave(target, connector, &std::mem::take(&mut leaving), board).await?;
    }
    // `--no-copy` is said of what there is: nobody has said it of a table that a pattern takes later, or that is made only then
    let begun = copy == FirstCopy::Skip && !checkpoint::read(target, &connector.name).await?.is_empty();
    let was_there = |one: &Compiled| connector.names(&one.rule.source) && one.design.is_none();
    let has_rows = |one: &Compiled| copy == FirstCopy::Skip && (!begun || was_there(one));
    let misfits = take_on((target, source), &mut record, &compiled, (board, has_rows)).await?;
    compiled.retain(|one| !misfits.iter().any(|misfit| misfit.target == one.rule.target));
    let came = board.partitions_that_came();
    structure::hold(source, target, connector, &mut compiled).await?;
    let partitions = leaves::known(source, target, connector, &compiled, &came).await?;
    board.partitions_are_recorded();
    let left_out = left_out.into_keys().collect();
    let mut prepared =
        Prepared { record, first, facts, slot, publications, compiled, misfits, left_out, leaving, findings, partitions };
    if connector.kafka().is_none() {
        ensure_slot(connector, (source, target), &mut prepared, board).await?;
    }
    Ok(prepared)
}

/// The first start: everything that stands in the way, before anything is made.
async fn first_entries(
    connector: &Connector,
    source: &Client,
    target: &mut Client,
    copy: FirstCopy,
) -> Result<Entries, PipelineError> {
    let skips = |finding: &Finding| copy == FirstCopy::Skip && finding.code == "table.target_not_empty";
    let mut findings = preflight::check(connector).await;
    findings.retain(|finding| !skips(finding));
    let (mut compiled, mut strangers) = (Vec::new(), BTreeSet::new());
    if !findings.iter().any(Finding::is_error) {
        let relations = catalog::relations(source).await?;
        let (rules, _) = preflight::expand(connector, &relations);
        strangers.extend(relations.into_iter().map(|relation| relation.name));
        rules.iter().for_each(|rule| _ = strangers.remove(&rule.source));
        compiled = preflight::compile(source, target, &rules, |_| true).await?;
        // what was found has been told by the checks; now it is sure that there is a place to try in
        preflight::design_missing(connector, source, target, &mut compiled, &BTreeSet::new()).await?;
        findings.extend(compiled.iter().filter_map(|one| one.plan.as_ref().err()).flatten().cloned());
    }
    Ok(Entries { compiled, findings, left_out: BTreeMap::new(), leaving: Vec::new(), strangers })
}

fn fresh_record(connector: &Connector, facts: &ServerFacts, slot: &SlotName) -> ConnectorRecord {
    let kafka = connector.kafka();
    ConnectorRecord {
        name: connector.name.clone(),
        source_system: facts.system_id.clone(),
        source_database: String::new(),
        source_timeline: i32::try_from(facts.timeline).unwrap_or(i32::MAX),
        log_kind: kafka.map_or("local", |_| "kafka").to_owned(),
        topic_prefix: kafka.map(|kafka| kafka.topic_prefix.clone()),
        partitions: kafka.map(|kafka| kafka.partitions),
        slot: slot.to_string(),
        publication: connector.publication(),
        incarnation: 1,
        made: Made::default(),
    }
}

async fn database(client: &Client) -> Result<String, PipelineError> {
    let row = client.query_one("SELECT pg_catalog.current_database()::text", &[]).await;
    Ok(row.map_err(|source| PipelineError::Query { side: "source", source })?.get(0))
}

/// What the record says and the file or the source no longer do. The way back is always the same: a new connector.
async fn differences(
    connector: &Connector,
    record: &ConnectorRecord,
    facts: &ServerFacts,
    source: &Client,
) -> Result<Vec<Finding>, PipelineError> {
    let none = || "none".to_owned();
    let pinned = [
        record.name.clone(),
        record.log_kind.clone(),
        record.topic_prefix.clone().unwrap_or_else(none),
        record.partitions.map_or_else(none, |count| count.to_string()),
        record.slot.clone(),
        record.publication.clone(),
    ];
    let of_source = [
        ("source.identity", "the source's system identifier", record.source_system.clone(), facts.system_id.clone()),
        ("source.database", "the source database", record.source_database.clone(), database(source).await?),
    ];
    let of_source = of_source.into_iter().filter(|(_, _, was, is)| was != is && !was.is_empty());
    let differing = of_source.chain(connector.unpinned(pinned));
    Ok(differing
        .map(|(code, what, was, is)| {
            Finding::error(
                code,
                connector.name.clone(),
                format!("{what} was `{was}` when this connector first started, and is `{is}` now"),
            )
            .hint("put it back; or `tablelift drop` this connector and start a new one, which copies anew")
        })
        .collect())
}

/// Updates and deletes that the source's statistics have counted on a table.
///
/// # Errors
/// The query failed.
pub async fn writes(source: &Client, table: &TableName) -> Result<i64, PipelineError> {
    let tree = catalog::partition_tree("$1::text::regclass");
    let sql = format!(
        "SELECT coalesce(sum(n_tup_upd + n_tup_del), 0)::bigint FROM pg_catalog.pg_stat_all_tables
         WHERE relid IN (SELECT relid FROM {tree} AS tree)"
    );
    let row = source.query_one(&sql, &[&crate::pg::quote::table(table)]).await;
    Ok(row.map_err(|source| PipelineError::Query { side: "source", source })?.get(0))
}

/// The slot, and the first checkpoint. Nothing here ever moves either.
async fn ensure_slot(
    connector: &Connector,
    (source, target): (&Client, &Client),
    prepared: &mut Prepared,
    board: &Board,
) -> Result<(), PipelineError> {
    // before the checkpoint: another may move both meanwhile, the checkpoint first
    let found = source::slot_facts(source, &prepared.slot).await?;
    let checkpoint = checkpoint::read(target, &connector.name).await?.into_iter().find(|found| found.topic == checkpoint::LOCAL);
    let end = checkpoint.and_then(|found| found.end_lsn);
    let confirmed = slot_at(connector, (source, target), prepared, (found, end), board).await?;
    checkpoint::start(target, &connector.name, prepared.incarnation(), confirmed).await?;
    Ok(())
}

/// The slot's confirmed position, the slot made if nothing was recorded of it yet, and held against what was. `found`: the slot, as it was before
/// the record `end` was read.
///
/// # Errors
/// A slot that is lost, ahead of the record `end`, or of a history that is not ours.
pub async fn slot_at(
    connector: &Connector,
    (source, target): (&Client, &Client),
    prepared: &mut Prepared,
    (found, end): (Option<SlotFacts>, Option<EndLsn>),
    board: &Board,
) -> Result<EndLsn, PipelineError> {
    let Prepared { record, facts, slot, .. } = prepared;
    let slot = &*slot;
    let confirmed = match (found, end) {
        (Some(found), _) => found.fits(slot)?,
        (None, None) => {
            record.made.slot = true;
            store::connector::write(target, record).await?;
            let making = make_slot(&connector.source.endpoint, slot);
            let made = holdup::slot_made(board, "source", source, making).await?;
            tracing::info!(slot = %slot, at = %made, "made the slot");
            made
        }
        (None, Some(end)) => return Err(slot_lost(slot, end)),
    };
    let Some(end) = end else { return Ok(confirmed) };
    if confirmed > end {
        return Err(slot_ahead(slot, confirmed, end));
    }
    // what was asked for before the record was read may be older than it
    if facts.insert_lsn < end.0 {
        *facts = source::server_facts(source).await?;
    }
    if facts.insert_lsn < end.0 {
        return Err(source_behind(facts, end));
    }
    follow_timeline(connector, target, record, facts, end).await?;
    Ok(confirmed)
}

/// After a failover the history that we have seen must be a part of the new one.
async fn follow_timeline(
    connector: &Connector,
    target: &Client,
    record: &mut ConnectorRecord,
    facts: &ServerFacts,
    end: EndLsn,
) -> Result<(), PipelineError> {
    let recorded = u32::try_from(record.source_timeline).unwrap_or(0);
    if recorded == facts.timeline {
        return Ok(());
    }
    let mut connection =
        Connection::open(&connector.source.endpoint, &connector.object_name()).await.map_err(PipelineError::Source)?;
    let history = connection.timeline_history(facts.timeline).await?;
    match history.left_at(recorded) {
        Some(left) if end.0 <= left => {
            tracing::info!(
                from = recorded,
                to = facts.timeline,
                "the source was promoted; what we hold is a part of its history"
            );
            record.source_timeline = i32::try_from(facts.timeline).unwrap_or(i32::MAX);
            store::connector::write(target, record).await?;
            Ok(())
        }
        _ => Err(PipelineError::Belief {
            what: format!(
                "the source is on timeline {}, which left ours ({recorded}) before {end}: the target holds transactions that the source lost",
                facts.timeline
            ),
            hint: WAY_OUT.to_owned(),
        }),
    }
}

/// Makes the permanent slot.
///
/// # Errors
/// See [`PipelineError`].
pub async fn make_slot(endpoint: &Endpoint, slot: &SlotName) -> Result<EndLsn, PipelineError> {
    let mut connection = Connection::open(endpoint, slot.as_str()).await.map_err(PipelineError::Source)?;
    Ok(connection.create_slot(slot, SlotKind::Permanent, SnapshotUse::None).await?.consistent_point)
}

pub const WAY_OUT: &str = "nothing was written after that. Compare both sides; then `tablelift drop` this connector, empty its target tables, \
     and run it again: it copies anew. The runbook `deploy/runbooks/slot-lost-or-ahead.md` has the steps";

fn slot_lost(slot: &SlotName, end: EndLsn) -> PipelineError {
    PipelineError::Belief {
        what: format!("slot `{slot}` is gone from the source, and with it the changes after {end}"),
        hint: WAY_OUT.to_owned(),
    }
}

fn slot_ahead(slot: &SlotName, confirmed: EndLsn, end: EndLsn) -> PipelineError {
    PipelineError::Belief {
        what: format!(
            "slot `{slot}` stands at {confirmed}, ahead of what the target holds ({end}): it was made anew, moved by somebody else, \
             or the target was restored from a backup; the changes between are gone"
        ),
        hint: WAY_OUT.to_owned(),
    }
}

fn source_behind(facts: &ServerFacts, end: EndLsn) -> PipelineError {
    PipelineError::Belief {
        what: format!(
            "the source ends at {}, before what the target holds ({end}): it was restored from a backup",
            facts.insert_lsn
        ),
        hint: WAY_OUT.to_owned(),
    }
}
