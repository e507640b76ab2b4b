//! `drop`: removes what the record says `prepare` made, and names what it leaves.

use super::PipelineError;
use crate::config::Connector;
use crate::log::kafka::{Admin, BROKER_LIMIT};
use crate::pg::quote;
use crate::source::{self, SlotName};
use crate::store::connector::ConnectorRecord;
use crate::store::{self, after_load, table_state};
use crate::target::origin;
use tokio_postgres::Client;

/// What `drop` will do.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Removal {
    pub removes: Vec<String>,
    pub leaves: Vec<String>,
    #[serde(skip)]
    slot: Option<String>,
    #[serde(skip)]
    publications: Vec<String>,
    #[serde(skip)]
    origin: Option<String>,
    /// Topics to delete, if that was asked for.
    #[serde(skip)]
    pub topics: Vec<String>,
}

/// Finds out what there is to remove. `topics`: those too.
///
/// # Errors
/// A connector that runs is not dropped.
pub async fn plan(connector: &Connector, source: &Client, target: &Client, topics: bool) -> Result<Removal, PipelineError> {
    let mut removal = Removal::default();
    let record = if store::schema::exists(target).await? { store::connector::read(target, &connector.name).await? } else { None };
    let Some(record) = record else {
        removal.leaves.push("nothing was recorded of this connector: there is nothing of ours".to_owned());
        return Ok(removal);
    };
    let slot = SlotName::new(record.slot.clone())?;
    if let Some(holder) = source::slot_holder(source, &slot).await? {
        return Err(PipelineError::Belief {
            what: format!("the connector runs: pid {} of the source reads slot `{slot}`", holder.pid),
            hint: "stop the daemon first".to_owned(),
        });
    }
    if applies(connector).await {
        return Err(PipelineError::Belief {
            what: format!("the connector runs: an apply is a member of the consumer group `{}`", connector.object_name()),
            hint: "stop it first (one that was killed counts for some seconds more)".to_owned(),
        });
    }
    let exists = source::slot_facts(source, &slot).await?.is_some();
    match (exists, record.made.slot) {
        (true, true) => {
            removal.removes.push(format!("slot `{slot}` on the source"));
            removal.slot = Some(slot.to_string());
        }
        (true, false) => removal.leaves.push(format!("slot `{slot}` on the source: it was there before us")),
        (false, _) => {}
    }
    publications(&record, &mut removal);
    origin_of(connector, target, &mut removal).await?;
    removal
        .removes
        .push(format!("the record, checkpoints and table states of `{}` in schema `tablelift` of the target", record.name));
    for state in table_state::read(target, &record.name).await? {
        removal.leaves.push(format!("table `{}` in the target, with its rows", state.into));
    }
    removal
        .leaves
        .extend(record.made.types.iter().map(|name| format!("type {name} in the target, which was made for its tables")));
    for open in after_load::open(target, &record.name).await? {
        removal.leaves.push(format!("the {} of `{}`, which is not made yet: {};", open.step, open.table, open.step.sql));
    }
    if topics {
        removal.topics.clone_from(&record.made.topics);
        removal.removes.extend(record.made.topics.iter().map(|topic| format!("topic `{topic}`")));
    } else {
        removal.leaves.extend(record.made.topics.iter().map(|topic| format!("topic `{topic}` (`--topics` removes it)")));
    }
    Ok(removal)
}

/// Whether an apply runs, as far as the broker says.
async fn applies(connector: &Connector) -> bool {
    let Some(kafka) = connector.kafka() else { return false };
    let Ok(admin) = Admin::new(kafka) else { return false };
    admin.members(&connector.object_name(), BROKER_LIMIT).await.is_ok_and(|members| members > 0)
}

fn publications(record: &ConnectorRecord, removal: &mut Removal) {
    removal.publications.clone_from(&record.made.publications);
    removal.removes.extend(record.made.publications.iter().map(|name| format!("publication `{name}` on the source")));
    if !record.made.publications.contains(&record.publication) {
        removal.leaves.push(format!("publication `{}` on the source: it was there before us", record.publication));
    }
}

/// The replication origin has a name of ours, and only apply makes it.
async fn origin_of(connector: &Connector, target: &Client, removal: &mut Removal) -> Result<(), PipelineError> {
    let name = connector.object_name();
    match origin::find(target, &name).await.map_err(at_target)? {
        None => {}
        Some(true) => {
            removal.removes.push(format!("replication origin `{name}` on the target"));
            removal.origin = Some(name);
        }
        Some(false) => removal.leaves.push(format!(
            "replication origin `{name}` on the target: this role may not drop it (SELECT pg_replication_origin_drop({}))",
            quote::literal(&name)
        )),
    }
    Ok(())
}

fn at_target(source: tokio_postgres::Error) -> PipelineError {
    PipelineError::Query { side: "target", source }
}

/// Does it. The record goes last, so that a second try finds what is left.
///
/// # Errors
/// See [`PipelineError`].
pub async fn remove(connector: &Connector, source: &Client, target: &Client, removal: &Removal) -> Result<(), PipelineError> {
    if let Some(slot) = &removal.slot {
        source::drop_slot(source, &SlotName::new(slot.clone())?).await?;
    }
    for name in &removal.publications {
        let dropped = source.batch_execute(&source::publication::drop_sql(name)).await;
        dropped.map_err(|source| PipelineError::Query { side: "source", source })?;
    }
    if let Some(name) = &removal.origin {
        origin::remove(target, name).await.map_err(at_target)?;
    }
    if let Some(kafka) = connector.kafka().filter(|_| !removal.topics.is_empty()) {
        Admin::new(kafka)?.delete(&removal.topics, BROKER_LIMIT).await?;
    }
    if store::schema::exists(target).await? {
        store::connector::delete(target, &connector.name).await?;
    }
    Ok(())
}
