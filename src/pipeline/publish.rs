//! The publications: made and kept as the connector file says; a person's own is only looked at.

use super::PipelineError;
use crate::change::TableName;
use crate::config::Connector;
use crate::finding::Finding;
use crate::preflight::Compiled;
use crate::source::Published;
use crate::source::publication::{self, publication};
use crate::store::connector::ConnectorRecord;
use tokio_postgres::Client;

/// Makes or alters the connector's publications, in transactions of their own, and gives their names.
///
/// # Errors
/// See [`PipelineError`].
pub async fn ensure(
    connector: &Connector,
    source: &Client,
    compiled: &[Compiled],
    record: &mut ConnectorRecord,
) -> Result<Vec<String>, PipelineError> {
    let wanted = |insert_only: bool| -> Vec<TableName> {
        let mine = compiled.iter().filter(|one| one.rule.insert_only == insert_only && one.source.is_some());
        let mut tables: Vec<TableName> = mine.map(|one| one.rule.source.clone()).collect();
        tables.sort();
        tables.dedup();
        tables
    };
    let inserts = wanted(true);
    let mut names = vec![connector.publication()];
    one(connector, source, &connector.publication(), &wanted(false), Published::ALL, record).await?;
    let second = connector.inserts_publication();
    if !inserts.is_empty() || record.made.publications.contains(&second) {
        one(connector, source, &second, &inserts, Published::INSERTS, record).await?;
        names.push(second);
    }
    Ok(names)
}

async fn one(
    connector: &Connector,
    source: &Client,
    name: &str,
    tables: &[TableName],
    published: Published,
    record: &mut ConnectorRecord,
) -> Result<(), PipelineError> {
    let made = record.made.publications.iter().any(|made| made == name);
    let Some(found) = publication(source, name).await? else {
        if made {
            return Err(lapsed(
                "publication.gone",
                &format!("the publication `{name}`, which was made for this connector, is gone"),
            ));
        }
        let sql = publication::create_sql(name, tables, published);
        note(record, name);
        return run(source, &sql).await;
    };
    let carried: Vec<&TableName> = found.tables.iter().map(|table| &table.name).collect();
    let missing: Vec<TableName> = tables.iter().filter(|table| !carried.contains(table)).cloned().collect();
    let surplus: Vec<TableName> = carried.into_iter().filter(|table| !tables.contains(table)).cloned().collect();
    if made && (!found.published.has_all_of(published) || !found.via_root) {
        return Err(lapsed("publication.operations", &format!("the publication `{name}` no longer publishes everything")));
    }
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
        run(source, &publication::add_sql(name, &missing)).await?;
    }
    if !surplus.is_empty() {
        run(source, &publication::remove_sql(name, &surplus)).await?;
    }
    Ok(())
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
