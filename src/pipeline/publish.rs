//! The publications: made and kept as the connector file says; a person's own is only looked at.

use super::PipelineError;
use crate::catalog;
use crate::change::TableName;
use crate::config::Connector;
use crate::finding::Finding;
use crate::mapping::Rule;
use crate::preflight::{self, Compiled};
use crate::source::Published;
use crate::source::publication::{self, Publication, publication};
use crate::store::{self, connector::ConnectorRecord};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

/// Makes or alters the connector's publications, in transactions of their own, and gives their names. `strangers` are taken out, and what
/// the application could not write to any more; what else is in them stays: it may be one of ours whose entry does not fit now, under whatever
/// name.
///
/// # Errors
/// See [`PipelineError`].
pub async fn ensure(
    connector: &Connector,
    source: &Client,
    (compiled, strangers): (&[Compiled], &BTreeSet<TableName>),
    record: &mut ConnectorRecord,
) -> Result<Vec<String>, PipelineError> {
    let wanted = |insert_only: bool| -> Vec<TableName> {
        let mine = compiled.iter().filter(|one| one.rule.insert_only == insert_only && one.plan.is_ok());
        let mut tables: Vec<TableName> = mine.map(|one| one.rule.source.clone()).collect();
        tables.sort();
        tables.dedup();
        tables
    };
    let inserts = wanted(true);
    let mut names = vec![connector.publication()];
    let surplus = strangers.union(&catalog::mute_in(source, &connector.publication()).await?).cloned().collect();
    one(connector, source, &connector.publication(), (&wanted(false), &surplus), Published::ALL, record).await?;
    let second = connector.inserts_publication();
    if !inserts.is_empty() || record.made.publications.contains(&second) {
        one(connector, source, &second, (&inserts, strangers), Published::INSERTS, record).await?;
        names.push(second);
    }
    Ok(names)
}

/// New tables that we cannot publish, or not read.
///
/// # Errors
/// The source could not be asked.
pub async fn hidden(
    connector: &Connector,
    source: &Client,
    rules: &[&Rule],
) -> Result<BTreeMap<TableName, Vec<Finding>>, PipelineError> {
    let mut hidden: BTreeMap<TableName, Vec<Finding>> = BTreeMap::new();
    if rules.is_empty() {
        return Ok(hidden);
    }
    let failed = |error| PipelineError::Query { side: "source", source: error };
    let role: String = source.query_one("SELECT current_user::text", &[]).await.map_err(failed)?.get(0);
    let names: Vec<TableName> = rules.iter().map(|rule| rule.source.clone()).collect();
    let access = catalog::access(source, &names).await?;
    for (insert_only, publication_name) in [(false, connector.publication()), (true, connector.inserts_publication())] {
        let found = publication(source, &publication_name).await?;
        let may_alter = match &found {
            Some(found) => !found.all_tables && catalog::may_act_as(source, &found.owner).await?,
            None => true,
        };
        for rule in rules.iter().filter(|rule| rule.insert_only == insert_only) {
            let (name, Some(access)) = (&rule.source, access.get(&rule.source)) else { continue };
            let mut findings = preflight::unreadable(&role, [(name, access)]);
            let may_add = may_alter && access.owned && connector.source.publication.is_none();
            if !may_add && !found.as_ref().is_some_and(|found| found.carries(name)) {
                let what = format!(
                    "the publication `{publication_name}` does not carry it, and the role `{role}` cannot or must not add it"
                );
                let finding = Finding::error("publication.incomplete", name.to_string(), what);
                findings.push(finding.sql(format!("{};", publication::add_sql(&publication_name, std::slice::from_ref(name)))));
            }
            if !findings.is_empty() {
                hidden.insert(name.clone(), findings);
            }
        }
    }
    Ok(hidden)
}

async fn one(
    connector: &Connector,
    source: &Client,
    name: &str,
    (tables, strangers): (&[TableName], &BTreeSet<TableName>),
    published: Published,
    record: &mut ConnectorRecord,
) -> Result<(), PipelineError> {
    let made = record.made.publications.iter().any(|made| made == name);
    let found = publication(source, name).await?;
    if made {
        whole(name, found.as_ref(), published)?;
    }
    let Some(found) = found else {
        let sql = publication::create_sql(name, tables, published);
        note(record, name);
        return run(source, &sql).await;
    };
    let missing = found.missing(tables);
    let carried = found.tables.iter().map(|table| &table.name);
    let surplus: Vec<TableName> = carried.filter(|table| strangers.contains(table) && !tables.contains(table)).cloned().collect();
    let ours = made || (connector.source.publication.is_none() && !found.all_tables);
    if ours {
        note(record, name);
    } else {
        return if missing.is_empty() {
            Ok(())
        } else {
            let what = format!("your own publication `{name}` does not carry {} of the tables", missing.len());
            let finding = Finding::error("publication.incomplete", "source", what);
            Err(PipelineError::Findings(vec![finding.sql(format!("{};", publication::add_sql(name, &missing)))]))
        };
    }
    if !missing.is_empty() {
        let added = run(source, &publication::add_sql(name, &missing)).await;
        let there = catalog::access(source, &missing).await?;
        match missing.iter().find(|table| !there.contains_key(*table)) {
            Some(gone) if added.is_err() => return Err(PipelineError::Moved { table: gone.clone() }),
            _ => added?,
        }
    }
    if !surplus.is_empty() {
        run(source, &publication::remove_sql(name, &surplus)).await?;
    }
    Ok(())
}

/// Whether [`ensure`] has to see to those that were made for the connector, whatever tables they carry: one is not as it was made, or has the
/// source refuse its application's own UPDATEs and DELETEs, for a table has lost its key.
///
/// # Errors
/// A database could not be asked.
pub async fn is_due(connector: &Connector, source: &Client, target: &Client) -> Result<bool, PipelineError> {
    let Some(record) = store::connector::read(target, &connector.name).await? else { return Ok(false) };
    for name in &record.made.publications {
        let published = if *name == connector.inserts_publication() { Published::INSERTS } else { Published::ALL };
        let is_whole = whole(name, publication(source, name).await?.as_ref(), published).is_ok();
        if !is_whole || published.old_rows() && !catalog::mute_in(source, name).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn whole(name: &str, found: Option<&Publication>, published: Published) -> Result<(), PipelineError> {
    let Some(found) = found else {
        let what = format!("the publication `{name}`, which was made for this connector, is gone");
        return Err(lapsed("publication.gone", &what));
    };
    if found.published.has_all_of(published) && found.via_root {
        return Ok(());
    }
    Err(lapsed("publication.operations", &format!("the publication `{name}` no longer publishes everything")))
}

/// Somebody else's hand on what we made: nobody knows since when the stream has lacked something.
fn lapsed(code: &'static str, what: &str) -> PipelineError {
    let what = format!("{what}: what was committed since is not in the stream");
    let hint = "`tablelift drop` this connector and start a new one, which copies anew";
    PipelineError::Findings(vec![Finding::error(code, "source", what).hint(hint)])
}

fn note(record: &mut ConnectorRecord, name: &str) {
    if !record.made.publications.iter().any(|made| made == name) {
        record.made.publications.push(name.to_owned());
    }
}

async fn run(source: &Client, sql: &str) -> Result<(), PipelineError> {
    source.batch_execute(sql).await.map_err(|source| PipelineError::Query { side: "source", source })
}
