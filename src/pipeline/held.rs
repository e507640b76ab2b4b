//! Whether the target holds a place of the source's WAL, told from the databases alone.

use super::{PipelineError, Tasks, session};
use crate::change::{EndLsn, TableName};
use crate::config::Connector;
use crate::event::table_topic;
use crate::source;
use crate::store::connector::ConnectorRecord;
use crate::store::table_state::{Halted, TableState};
use crate::store::watermark::Watermark;
use crate::store::{self, checkpoint, reread, table_state, watermark};
use tokio_postgres::Client;

/// So often it is looked at while tables halt and go on meanwhile; then nothing is said of places.
const LOOKS: u32 = 5;

/// How far the target is.
#[derive(Clone, Debug)]
pub struct Held {
    /// Everything that ends at or before it is in the target, of the tables that follow. `None`: nothing was recorded yet.
    pub end: Option<EndLsn>,
    /// The same, of the tables that are not halted: what has come as far as it can.
    pub end_of_others: Option<EndLsn>,
    pub tables: Vec<TableState>,
    /// Rows that are to be read again.
    pub rereads: i64,
}

impl Held {
    /// Tables that stand still.
    pub fn halted(&self) -> impl Iterator<Item = (&TableName, &Halted)> {
        self.tables.iter().filter_map(|table| table.halted.as_ref().map(|halted| (&table.target, halted)))
    }

    /// Every commit that ends at or before `wanted` is in the target, and no copy is open.
    pub fn holds(&self, wanted: EndLsn) -> bool {
        self.rereads == 0
            && self.end.is_some_and(|end| end >= wanted)
            && self.tables.iter().all(|table| {
                let one_moment = table.window.is_none_or(|window| self.end.is_some_and(|end| end >= window));
                table.copied && one_moment && !table.moved && table.lacks_from.is_none() && table.halted.is_none()
            })
    }

    /// What keeps it from holding `wanted`, in words.
    pub fn lacks(&self, wanted: EndLsn) -> Vec<String> {
        let mut lacks = Vec::new();
        match self.end {
            Some(end) if end >= wanted => {}
            Some(end) => lacks.push(format!("it is at {end}")),
            None => lacks.push("it holds nothing yet".to_owned()),
        }
        for table in &self.tables {
            let window = table.window.filter(|window| self.end.is_none_or(|end| end < *window));
            match (table.copied, window, &table.lacks_from) {
                (false, _, _) if table.halted.is_some() => lacks.push(format!("`{}` is halted", table.target)),
                (false, _, _) => lacks.push(format!("`{}` is being copied", table.target)),
                (true, Some(window), _) => lacks.push(format!("`{}` is of one moment from {window} on", table.target)),
                (true, None, Some(from)) => lacks.push(format!("`{}` lacks what comes from {from} on", table.target)),
                (true, None, None) if table.moved => {
                    lacks.push(format!("partitions of `{}` became others, and its rows are to be compared", table.source));
                }
                (true, None, None) => {}
            }
        }
        if self.rereads > 0 {
            lacks.push(format!("{} rows are to be read again", self.rereads));
        }
        lacks
    }

    /// It never will without help: everything else is there, and a table is halted.
    pub fn lacks_only_halted(&self, wanted: EndLsn) -> bool {
        self.end_of_others.is_some_and(|end| end >= wanted) && self.halted().next().is_some()
    }
}

/// A place of the source means something only if it is the source that was recorded. A target that is away, or has no record, says nothing.
///
/// # Errors
/// It is another one; or the source could not be asked.
pub async fn same_source(connector: &Connector) -> Result<(), PipelineError> {
    let tasks = Tasks::default();
    let name = connector.object_name();
    let source = session::open(&tasks, &connector.source.endpoint, &name).await.map_err(PipelineError::Source)?;
    let facts = source::server_facts(&source).await?;
    let Ok(target) = session::open(&tasks, &connector.target.endpoint, &name).await else { return Ok(()) };
    if !store::schema::exists(&target).await? {
        return Ok(());
    }
    match store::connector::read(&target, &connector.name).await? {
        Some(record) if record.source_system != facts.system_id => Err(PipelineError::Belief {
            what: format!(
                "the source's system identifier is {}, and `{}` follows {}",
                facts.system_id, connector.name, record.source_system
            ),
            hint: "look at `[source] url`: it leads to another server than when the connector first started".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Reads how far the target is. `None`: the connector has no record there.
///
/// # Errors
/// See [`PipelineError`].
pub async fn held(target: &Client, connector: &str) -> Result<Option<Held>, PipelineError> {
    if !store::schema::exists(target).await? {
        return Ok(None);
    }
    let Some(record) = store::connector::read(target, connector).await? else { return Ok(None) };
    let mut looks = 0;
    loop {
        // a halt is recorded together with a place that the others have reached and its table has not: no look may have but one of them
        let before = table_state::version(target, connector).await?;
        let held = Box::pin(look(target, connector, &record)).await?;
        looks += 1;
        if table_state::version(target, connector).await? == before {
            return Ok(Some(held));
        } else if looks == LOOKS {
            return Ok(Some(Held { end: None, end_of_others: None, ..held }));
        }
    }
}

async fn look(target: &Client, connector: &str, record: &ConnectorRecord) -> Result<Held, PipelineError> {
    let tables = table_state::read(target, connector).await?;
    let checkpoints = checkpoint::read(target, connector).await?;
    let (end, end_of_others) = if record.log_kind == "local" {
        let end = checkpoints.iter().find(|found| found.topic == checkpoint::LOCAL).and_then(|found| found.end_lsn);
        (end, end)
    } else {
        let mark = watermark::read(target, connector).await?;
        let end = mark.as_ref().filter(|mark| reached(mark, &checkpoints)).map(|mark| mark.end);
        let others = mark.map(|mark| without_halted(mark, record.topic_prefix.as_deref().unwrap_or_default(), &tables));
        (end, others.filter(|mark| reached(mark, &checkpoints)).map(|mark| mark.end))
    };
    let rereads = reread::count(target, connector).await?;
    Ok(Held { end, end_of_others, tables, rereads })
}

/// The watermark of the tables that are not halted.
fn without_halted(mut mark: Watermark, prefix: &str, tables: &[TableState]) -> Watermark {
    for table in tables.iter().filter(|table| table.halted.is_some()) {
        // a name that can be no topic has none
        if let Ok(topic) = table_topic(prefix, &table.source) {
            mark.ends.remove(&topic);
        }
    }
    mark
}

/// Every partition has been applied up to the watermark's offsets; an empty one needs no checkpoint.
pub fn reached(mark: &Watermark, checkpoints: &[checkpoint::Checkpoint]) -> bool {
    mark.ends.iter().all(|(topic, ends)| {
        ends.iter().enumerate().all(|(partition, &end)| {
            let of = |found: &&checkpoint::Checkpoint| &found.topic == topic && usize::try_from(found.partition) == Ok(partition);
            end <= 0 || checkpoints.iter().find(of).and_then(|found| found.log_offset).unwrap_or(0) >= end
        })
    })
}
