//! Everything that the checks read, looked at once.

use super::broker::{self, Broker};
use super::rules::{self, Compiled, expand};
use super::{missing, pooler, session, statement};
use crate::catalog::{
    Access, Blocker, CatalogError, Inventory, Leaf, Relation, Server, SqlError, Standing, access, blockers, heirs, inventory,
    leaves, may_act_as, mute, relations, server, standing_indexes,
};
use crate::change::TableName;
use crate::config::{Connector, Triggers};
use crate::finding::Finding;
use crate::mapping::Rule;
use crate::pg::{self, ConnectError, Connected, chain};
use crate::source::{
    Connection, Publication, ServerFacts, SlotFacts, SlotName, SourceError, publication, server_facts, slot_facts,
};
use crate::store::checkpoint::Waiting;
use crate::store::connector::ConnectorRecord;
use crate::store::table_state::{self, TableState};
use crate::store::{self, StoreError, after_load};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use tokio_postgres::Client;

/// What there is.
pub struct Survey<'a> {
    pub connector: &'a Connector,
    /// `None`: it could not be looked at, and a finding says why.
    pub source: Option<Source>,
    pub target: Option<Target>,
    /// Patterns expanded, where the source could be looked at.
    pub rules: Vec<Rule>,
    /// Where the log is Kafka.
    pub broker: Option<Broker>,
    /// One per rule, where both sides could be looked at.
    pub compiled: Vec<Compiled>,
    /// What is already known to be wrong.
    pub(super) seen: Vec<Finding>,
}

/// The source.
pub struct Source {
    pub server: Server,
    pub wal: ServerFacts,
    pub slot: Option<SlotFacts>,
    /// Opening a replication connection, as the daemon will.
    pub replication: Result<(), ConnectError>,
    pub relations: Vec<Relation>,
    /// Tables whose updates the application could no longer make once they are published.
    pub mute: BTreeSet<TableName>,
    pub access: BTreeMap<TableName, Access>,
    pub leaves: BTreeMap<TableName, Vec<Leaf>>,
    /// Tables that inherit from ours.
    pub heirs: BTreeMap<TableName, Vec<TableName>>,
    /// The main publication and the one for inserts, each with whether we may alter it.
    pub main: Option<(Publication, bool)>,
    pub inserts: Option<(Publication, bool)>,
    pub blockers: Vec<Blocker>,
    pub inventory: Inventory,
}

impl Source {
    /// A daemon reads from our slot.
    pub(super) fn is_read(&self) -> bool {
        self.slot.as_ref().is_some_and(|slot| slot.active_pid.is_some())
    }
}

/// The target.
pub struct Target {
    pub server: Server,
    pub access: BTreeMap<TableName, Access>,
    pub own_schema: OwnSchema,
    /// Tables that hold rows.
    pub filled: BTreeSet<TableName>,
    /// Setting `session_replication_role`, where the connector asks for it.
    pub triggers_off: Result<(), SqlError>,
    /// What this connector recorded when it first started.
    pub record: Option<ConnectorRecord>,
    /// It has a checkpoint: its slot was made, and is to be there.
    pub started: bool,
    /// Target tables that this connector has taken on.
    pub recorded: BTreeSet<TableName>,
    /// Target tables that another connector writes to.
    pub others: BTreeMap<TableName, String>,
    /// Indexes of the tables that are there, beside their keys.
    pub standing: BTreeMap<TableName, Vec<Standing>>,
    /// What is still to be built on tables that we made.
    pub after_load: Vec<after_load::Open>,
    /// What is recorded of Kafka's partitions.
    pub waiting: Vec<Waiting>,
}

/// Schema `tablelift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnSchema {
    Missing,
    /// It is there; are USAGE and CREATE granted?
    There {
        usable: bool,
    },
}

/// Looking failed. What it says goes into a finding: nothing is decided by it.
#[derive(Debug, thiserror::Error)]
enum Blind {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a query failed")]
    Query(#[from] tokio_postgres::Error),
}

/// Looks at both sides.
pub async fn survey(connector: &Connector) -> Survey<'_> {
    let name = connector.object_name();
    let mut survey = Survey {
        connector,
        source: None,
        target: None,
        broker: None,
        rules: connector.tables.clone(),
        compiled: Vec::new(),
        seen: Vec::new(),
    };
    let opened = tokio::join!(
        pg::connect(&connector.source.endpoint, &name),
        pg::connect(&connector.target.endpoint, &name),
        pooler::by_transaction(&connector.source.endpoint, &name),
        pooler::by_transaction(&connector.target.endpoint, &name),
    );
    let (source, target) = (take(opened.0, "source", &mut survey.seen), take(opened.1, "target", &mut survey.seen));
    survey.seen.extend([(opened.2, "source"), (opened.3, "target")].into_iter().filter_map(|(found, side)| pooled(found, side)));
    let mut drivers = Vec::new();
    let mut client = |connected: Option<Connected>| {
        connected.map(|connected| {
            drivers.push(connected.driver);
            connected.client
        })
    };
    let (source, target) = (client(source), client(target));
    Box::pin(session::beside(drivers, look(&mut survey, source, target))).await;
    if let Some(kafka) = connector.kafka() {
        let mut tables: Vec<TableName> = survey.rules.iter().map(|rule| rule.source.clone()).collect();
        tables.sort();
        tables.dedup();
        let waiting = survey.target.as_ref().map(|target| target.waiting.as_slice()).unwrap_or_default();
        survey.broker = Some(Box::pin(broker::look(kafka, &tables, waiting)).await);
    }
    survey
}

fn take(opened: Result<Connected, ConnectError>, side: &'static str, seen: &mut Vec<Finding>) -> Option<Connected> {
    let code = if side == "source" { "source.unreachable" } else { "target.unreachable" };
    opened.map_err(|error| seen.push(unreachable(code, side, &error))).ok()
}

/// An error of ours as a finding; its message ends with its hint, where it has one.
pub(super) fn told(code: &'static str, subject: &str, error: &dyn Error) -> Finding {
    let text = chain(error);
    match text.split_once("\n  hint: ") {
        Some((what, hint)) => Finding::error(code, subject, what).hint(hint),
        None => Finding::error(code, subject, text),
    }
}

pub(super) fn unreachable(code: &'static str, side: &str, error: &ConnectError) -> Finding {
    let finding = Finding::error(code, side, chain(error));
    match error.hint() {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}

fn pooled(found: Result<bool, ConnectError>, side: &'static str) -> Option<Finding> {
    let code = if side == "source" { "source.pooler" } else { "target.pooler" };
    let what = "a pooler stands before this server and changes the session with each transaction: settings, prepared statements and \
                temporary tables are lost there";
    let hint = format!("let `[{side}] url` name the server itself, or a pool in session mode");
    found.unwrap_or(false).then(|| Finding::error(code, side, what).hint(hint))
}

async fn look(survey: &mut Survey<'_>, source: Option<Client>, target: Option<Client>) {
    if let Some(client) = &source {
        let (rules, connector) = (&mut survey.rules, survey.connector);
        match Box::pin(look_at_source(connector, client, rules, &mut survey.seen)).await {
            Ok(found) => survey.source = Some(found),
            Err(error) => survey.seen.push(told("source.unreadable", "source", &error)),
        }
    }
    let Some(mut target) = target else { return };
    match Box::pin(look_at_target(survey.connector, &mut target, &survey.rules)).await {
        Ok(found) => survey.target = Some(found),
        Err(error) => survey.seen.push(told("target.unreadable", "target", &error)),
    }
    let (Some(source), Some(_), Some(found)) = (source, &survey.source, &survey.target) else { return };
    // Expressions are tried on a temporary table; that there can be none is a finding of its own.
    if !found.server.may_make_temporary || found.server.in_recovery {
        return;
    }
    if let Err(error) = Box::pin(compile(survey, &source, &mut target)).await {
        survey.seen.push(told("target.unreadable", "target", &error));
    }
}

/// A table that somebody holds in ACCESS EXCLUSIVE mode is a finding, no reason to wait.
const PATIENCE: &str = "SET lock_timeout = '5s'";

async fn look_at_source(
    connector: &Connector,
    client: &Client,
    rules: &mut Vec<Rule>,
    seen: &mut Vec<Finding>,
) -> Result<Source, Blind> {
    client.batch_execute(PATIENCE).await?;
    let relations = relations(client).await?;
    let (expanded, findings) = expand(connector, &relations);
    *rules = expanded;
    seen.extend(findings);
    let names: Vec<TableName> = rules.iter().map(|rule| rule.source.clone()).collect();
    let slot = SlotName::new(connector.slot())?;
    let replication = Connection::open(&connector.source.endpoint, &connector.object_name()).await;
    Ok(Source {
        server: server(client).await?,
        wal: server_facts(client).await?,
        slot: slot_facts(client, &slot).await?,
        replication: replication.map(drop),
        access: access(client, &names).await?,
        leaves: leaves(client, &names).await?,
        heirs: heirs(client, &names).await?,
        main: published(client, &connector.publication()).await?,
        inserts: published(client, &connector.inserts_publication()).await?,
        blockers: blockers(client).await?,
        inventory: inventory(client, &names).await?,
        mute: mute(client).await?,
        relations,
    })
}

async fn published(client: &Client, name: &str) -> Result<Option<(Publication, bool)>, Blind> {
    let Some(found) = publication::publication(client, name).await? else { return Ok(None) };
    let ours = may_act_as(client, &found.owner).await?;
    Ok(Some((found, ours)))
}

async fn look_at_target(connector: &Connector, client: &mut Client, rules: &[Rule]) -> Result<Target, Blind> {
    client.batch_execute(PATIENCE).await?;
    let names: Vec<TableName> = rules.iter().map(|rule| rule.table().clone()).collect();
    let access = access(&*client, &names).await?;
    let mut filled = BTreeSet::new();
    for (name, access) in &access {
        if access.schema && access.select && !access.row_security && holds_rows(client, name, access).await? {
            filled.insert(name.clone());
        }
    }
    let mut target = Target {
        server: server(&*client).await?,
        own_schema: own_schema(client).await?,
        filled,
        triggers_off: triggers_off(connector, client).await?,
        access,
        record: None,
        started: false,
        recorded: BTreeSet::new(),
        others: BTreeMap::new(),
        standing: standing_indexes(&*client, &names).await?,
        after_load: Vec::new(),
        waiting: Vec::new(),
    };
    if target.own_schema == (OwnSchema::There { usable: true }) && store::schema::exists(client).await? {
        target.record = store::connector::read(client, &connector.name).await?;
        target.started = !store::checkpoint::read(client, &connector.name).await?.is_empty();
        target.after_load = after_load::open(client, &connector.name).await?;
        target.waiting = store::checkpoint::waiting(client, &connector.name).await?;
        target.recorded = table_state::read(client, &connector.name)
            .await?
            .into_iter()
            .filter(TableState::was_taken_on)
            .map(|state| state.target)
            .collect();
        for name in names {
            if let Some(owner) = table_state::owner(client, &name).await?.filter(|owner| owner != &connector.name) {
                target.others.insert(name, owner);
            }
        }
    }
    Ok(target)
}

/// What inherits from it has rows of its own.
async fn holds_rows(client: &Client, name: &TableName, access: &Access) -> Result<bool, Blind> {
    let sql = format!("SELECT EXISTS (SELECT FROM {})", pg::quote::only(name, access.partitioned));
    Ok(client.query_one(&sql, &[]).await?.try_get(0)?)
}

async fn own_schema(client: &Client) -> Result<OwnSchema, Blind> {
    let sql = "SELECT has_schema_privilege(oid, 'USAGE') AND has_schema_privilege(oid, 'CREATE')
                 FROM pg_namespace WHERE nspname = 'tablelift'";
    let row = client.query_opt(sql, &[]).await?;
    row.map_or(Ok(OwnSchema::Missing), |row| Ok(OwnSchema::There { usable: row.try_get(0)? }))
}

async fn triggers_off(connector: &Connector, client: &mut Client) -> Result<Result<(), SqlError>, Blind> {
    if connector.target.triggers == Triggers::Fire {
        return Ok(Ok(()));
    }
    let transaction = client.transaction().await?;
    let set = transaction.batch_execute("SET LOCAL session_replication_role = replica").await;
    transaction.rollback().await?;
    Ok(crate::catalog::verdict_on(set)?)
}

async fn compile(survey: &mut Survey<'_>, source: &Client, target: &mut Client) -> Result<(), Blind> {
    let mut compiled = rules::compile(source, target, &survey.rules, |_| true).await?;
    for one in &compiled {
        survey.seen.extend(statement::refused(target, one).await?);
    }
    let recorded = survey.target.as_ref().map(|target| target.recorded.clone()).unwrap_or_default();
    survey.seen.extend(missing::design_missing(survey.connector, source, target, &mut compiled, &recorded).await?);
    for one in &mut compiled {
        // The source's relations tell more of it.
        if let Err(findings) = &mut one.plan {
            findings.retain(|finding| finding.code != super::MISSING);
        }
    }
    survey.compiled = compiled;
    Ok(())
}
