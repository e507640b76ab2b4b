//! Tables that halted because their entry no longer fits what the stream brings are tried again: every 30 s their entries are compiled anew,
//! and only when one fits does the stream begin again for it.

use crate::change::{Table, TableName};
use crate::config::Connector;
use crate::mapping::{Rule, TablePlan};
use crate::pipeline::{PipelineError, Tasks, entries, session, structure};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(30);

/// The shapes at which tables halted; none where it was so from the beginning.
#[derive(Clone, Default)]
pub struct Misfits(Arc<Mutex<BTreeMap<TableName, Option<Arc<Table>>>>>);

impl Misfits {
    pub fn of(tables: impl Iterator<Item = TableName>) -> Self {
        Self(Arc::new(Mutex::new(tables.map(|table| (table, None)).collect())))
    }

    pub fn add(&self, table: &Arc<Table>) {
        self.0.lock().expect("nothing panics while it holds the lock").insert(table.name.clone(), Some(Arc::clone(table)));
    }

    fn all(&self) -> BTreeMap<TableName, Option<Arc<Table>>> {
        self.0.lock().expect("nothing panics while it holds the lock").clone()
    }

    /// Ends when one of them fits.
    pub async fn until_one_fits(&self, connector: &Connector) {
        loop {
            tokio::time::sleep(EVERY).await;
            let tables = self.all();
            if tables.is_empty() {
                continue;
            }
            match one_fits(connector, &tables).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(error = %crate::pipeline::chain(&error), "halted tables could not be looked at");
                }
            }
        }
    }
}

async fn one_fits(connector: &Connector, tables: &BTreeMap<TableName, Option<Arc<Table>>>) -> Result<bool, PipelineError> {
    let tasks = Tasks::default();
    let name = connector.object_name();
    let source = session::open(&tasks, &connector.source.endpoint, &name).await.map_err(PipelineError::Source)?;
    let mut target = session::open(&tasks, &connector.target.endpoint, &name).await.map_err(PipelineError::Target)?;
    let due = |rule: &Rule| tables.contains_key(&rule.source);
    let mut compiled = Box::pin(entries::compile(connector, &source, &mut target, due)).await?.compiled;
    structure::hold(&source, &target, connector, &mut compiled).await?;
    Ok(tables.iter().any(|(name, table)| {
        let mut of_table = compiled.iter().filter(|one| one.rule.source == *name).peekable();
        let fits = |plan: &TablePlan| table.as_ref().is_none_or(|table| plan.bind(table).is_ok());
        // nothing asks for it any more, or it fits
        of_table.peek().is_none() || of_table.all(|one| one.plan.as_ref().is_ok_and(fits))
    }))
}
