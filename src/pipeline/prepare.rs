//! Makes what a connector needs, and holds what is there against what was recorded. Idempotent: each start goes through it, and a
//! crash between any two of its steps is cured by the next.

use super::board::Board;
use super::take_on::{leave, take_on};
use super::{PipelineError, Tasks, holdup, publish, structure};
use crate::catalog;
use crate::change::{EndLsn, TableName};
use crate::config::Connector;
use crate::finding::Finding;
use crate::pg::Endpoint;
use crate::preflight::{self, Compiled};
use crate::source::{self, Connection, Reader, ReaderConfig, ServerFacts, SlotFacts, SlotKind, SlotName, SnapshotUse};
use crate::store::connector::{ConnectorRecord, Made};
use crate::store::{self, checkpoint, table_state};
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// What a start found and made.
pub struct Prepared {
    pub record: ConnectorRecord,
    /// Nothing was recorded of this connector before.
    pub first: bool,
    pub facts: ServerFacts,
    pub slot: SlotName,
    pub publications: Vec<String>,
    /// Every rule of the connector file, compiled or not.
    pub compiled: Vec<Compiled>,
    /// What is not wrong enough to stop for.
    pub findings: Vec<Finding>,
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
    let relations = catalog::relations(source).await?;
    let (rules, mut findings) = preflight::expand(connector, &relations);
    let mut compiled = preflight::compile(source, target, &rules, |_| true).await?;
    let recorded = if store::schema::exists(target).await? {
        store::schema::ensure(target).await?;
        store::connector::read(target, &connector.name).await?
    } else {
        None
    };
    let slot = SlotName::new(connector.slot())?;
    let first = recorded.is_none();
    let known = match &recorded {
        Some(_) => table_state::read(target, &connector.name).await?.into_iter().map(|state| state.target).collect(),
        None => BTreeSet::new(),
    };
    match &recorded {
        Some(record) => {
            findings.extend(differences(connector, record, &facts, source).await?);
            findings.extend(preflight::design_missing(connector, source, target, &mut compiled, &known).await?);
        }
        None => {
            // the first start: everything that stands in the way, before anything is made
            let skips = |finding: &Finding| copy == FirstCopy::Skip && finding.code == "table.target_not_empty";
            findings = preflight::check(connector).await;
            findings.retain(|finding| !skips(finding));
        }
    }
    if !first {
        compiled.retain(|one| known.contains(&one.rule.target) || !comes_by_itself(connector, one));
        findings.extend(changed_rules(target, connector, &compiled).await?);
        findings.extend(owned_by_others(target, connector, &compiled).await?);
    }
    if findings.iter().any(Finding::is_error) {
        return Err(PipelineError::Findings(findings));
    }
    if first {
        // what was found has been told by the checks; now it is sure that there is a place to try in
        preflight::design_missing(connector, source, target, &mut compiled, &known).await?;
        let unfit: Vec<Finding> = compiled.iter().filter_map(|one| one.plan.as_ref().err()).flatten().cloned().collect();
        if !unfit.is_empty() {
            return Err(PipelineError::Findings(unfit));
        }
    }
    store::schema::ensure(target).await?;
    let mut record = recorded.unwrap_or_else(|| fresh_record(connector, &facts, &slot));
    record.source_database = database(source).await?;
    store::connector::write(target, &record).await?;
    structure::note_lapses(source, target, connector).await?;
    let publications = publish::ensure(connector, source, &compiled, &mut record).await?;
    store::connector::write(target, &record).await?;
    leave(target, connector, &compiled).await?;
    take_on(target, source, &mut record, &compiled, copy).await?;
    structure::hold(source, target, connector, &mut compiled).await?;
    let mut prepared = Prepared { record, first, facts, slot, publications, compiled, findings };
    if connector.kafka().is_none() {
        ensure_slot(connector, (source, target), &mut prepared, board).await?;
    }
    Ok(prepared)
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
    let kafka = connector.kafka();
    let kind = kafka.map_or("local", |_| "kafka");
    let show = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    let pairs = [
        ("source.identity", "the source's system identifier", record.source_system.clone(), facts.system_id.clone()),
        ("source.database", "the source database", record.source_database.clone(), database(source).await?),
        ("log.kind", "`log.kind`", record.log_kind.clone(), kind.to_owned()),
        ("log.prefix", "`topic_prefix`", show(record.topic_prefix.clone()), show(kafka.map(|kafka| kafka.topic_prefix.clone()))),
        (
            "log.partitions",
            "`partitions`",
            show(record.partitions.map(|count| count.to_string())),
            show(kafka.map(|kafka| kafka.partitions.to_string())),
        ),
        ("source.slot_name", "the slot", record.slot.clone(), connector.slot()),
        ("source.publication_name", "the publication", record.publication.clone(), connector.publication()),
    ];
    let differing = pairs.into_iter().filter(|(_, _, was, is)| was != is && !was.is_empty());
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

/// A pattern takes a table that nobody has added: it was a partition, and in the target its rows still are the partitioned table's. That is left to
/// the person, and stops nobody else.
fn comes_by_itself(connector: &Connector, one: &Compiled) -> bool {
    let Err(findings) = &one.plan else { return false };
    let named = connector.tables.iter().any(|rule| rule.source == one.rule.source);
    let overlap = findings.iter().find(|finding| finding.code == preflight::OVERLAP).filter(|_| !named);
    if let Some(finding) = overlap {
        tracing::error!("left out: {finding}");
    }
    overlap.is_some()
}

/// Rules that say something else than when their table was taken on.
async fn changed_rules(target: &Client, connector: &Connector, compiled: &[Compiled]) -> Result<Vec<Finding>, PipelineError> {
    let states = table_state::read(target, &connector.name).await?;
    let mut findings = Vec::new();
    for one in compiled {
        let Some(state) = states.iter().find(|state| state.target == one.rule.target) else {
            // a table that is added later must fit from its first moment, as on the first start
            findings.extend(one.plan.as_ref().err().into_iter().flatten().cloned());
            continue;
        };
        let same = one.plan.as_ref().map_or(true, |plan| plan.fingerprint == state.fingerprint);
        if !same || state.source != one.rule.source {
            let what = "its entry says other rows or values than when it was copied";
            findings.push(Finding::error("table.changed", one.rule.target.to_string(), what).hint(
                "put the entry back; or remove it, run once, empty the target table, and add it again: it is then copied anew",
            ));
        }
    }
    Ok(findings)
}

async fn owned_by_others(target: &Client, connector: &Connector, compiled: &[Compiled]) -> Result<Vec<Finding>, PipelineError> {
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for one in compiled {
        let name = one.rule.table();
        if !seen.insert(one.rule.target.clone()) {
            let what = "two entries write to this table";
            findings.push(Finding::error("table.target_twice", name.to_string(), what).hint("give one of them another target"));
        }
        if !store::schema::exists(target).await? {
            continue;
        }
        if let Some(owner) = table_state::owner(target, name).await?.filter(|owner| owner != &connector.name) {
            let what = format!("the connector `{owner}` writes to this table");
            findings.push(
                Finding::error("table.owned", name.to_string(), what).hint("give one of them another target, or drop the other"),
            );
        }
    }
    Ok(findings)
}

/// Updates and deletes that the source's statistics have counted on a table.
///
/// # Errors
/// The query failed.
pub async fn writes(source: &Client, table: &TableName) -> Result<i64, PipelineError> {
    let sql = "SELECT coalesce(sum(n_tup_upd + n_tup_del), 0)::bigint FROM pg_catalog.pg_stat_all_tables
               WHERE relid IN (SELECT relid FROM pg_catalog.pg_partition_tree($1::text::regclass)
                               UNION SELECT $1::text::regclass)";
    let row = source.query_one(sql, &[&crate::pg::quote::table(table)]).await;
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
