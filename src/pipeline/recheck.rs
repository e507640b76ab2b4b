//! Halted tables are tried again: every 30 s their rule is compiled anew and the change that halted them is tried in a transaction
//! that is rolled back. Only when that goes through does the stream begin again for them.

use super::board::{Board, HaltedTable};
use super::{PipelineError, Tasks, entries, prepare, session, structure};
use crate::apply::{Applier, Base, Item};
use crate::change::TableName;
use crate::config::{Connector, Triggers};
use crate::mapping::TablePlan;
use crate::store::table_state::{self, Halted, TableState};
use crate::target::Session;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_postgres::Client;

const EVERY: Duration = Duration::from_secs(30);
/// How often the statistics of insert-only tables are looked at.
const WATCH: Duration = Duration::from_secs(10);

/// Tries halted tables again.
pub struct Recheck {
    pub connector: Arc<Connector>,
    pub board: Arc<Board>,
    pub source: Client,
    /// Asks for a new life.
    pub signal: mpsc::Sender<()>,
    /// Tables whose first copy this life makes.
    pub copying: Vec<TableName>,
}

impl Recheck {
    pub async fn run(self) {
        let mut rounds = 0_u64;
        loop {
            tokio::time::sleep(WATCH).await;
            rounds += 1;
            let halted = self.board.halted_tables();
            let due = !halted.is_empty() && (rounds * WATCH.as_secs()).is_multiple_of(EVERY.as_secs());
            match self.watch_inserts().await.and(if due { self.try_again(&halted).await } else { Ok(false) }) {
                Ok(true) => {
                    self.signal.send(()).await.ok();
                    return;
                }
                Ok(false) => {}
                Err(error) => tracing::debug!(error = %super::chain(&error), "halted tables could not be looked at"),
            }
        }
    }

    /// Whether a halted table would go on now.
    async fn try_again(&self, halted: &BTreeMap<TableName, HaltedTable>) -> Result<bool, PipelineError> {
        let tasks = Tasks::default();
        let endpoint = &self.connector.target.endpoint;
        let mut target = session::open(&tasks, endpoint, &self.connector.object_name()).await.map_err(PipelineError::Target)?;
        let spared = self.copies_under_way(&target, halted).await?;
        let is_due = |table: &TableName| halted.contains_key(table) && !(spared && self.copying.contains(table));
        let mut compiled =
            Box::pin(entries::compile(&self.connector, &self.source, &mut target, |rule| is_due(&rule.target))).await?.compiled;
        if halted.keys().any(|table| is_due(table) && !compiled.iter().any(|one| one.rule.target == *table)) {
            // nothing asks for it any more
            return Ok(true);
        }
        structure::hold(&self.source, &target, &self.connector, &mut compiled).await?;
        let mut session = Session::new(target);
        for one in compiled {
            let (Ok(plan), Some(table)) = (one.plan, halted.get(&one.rule.target)) else { continue };
            match &table.failed {
                Some(item) if !self.goes_through(&mut session, plan, item).await? => {}
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    /// A new life would cut other tables' first copies short. Meanwhile a table whose own halted is tried again by its copy alone.
    async fn copies_under_way(&self, target: &Client, halted: &BTreeMap<TableName, HaltedTable>) -> Result<bool, PipelineError> {
        let states = table_state::read(target, &self.connector.name).await?;
        let copies = |table: &&TableState| !table.copied && self.copying.contains(&table.target);
        Ok(states.iter().filter(copies).any(|table| !halted.contains_key(&table.target)))
    }

    async fn goes_through(&self, session: &mut Session, plan: TablePlan, item: &Item) -> Result<bool, PipelineError> {
        let Ok(binding) = plan.bind(&item.change.table) else { return Ok(false) };
        let item = Item { plan: 0, change: item.change.clone(), binding: Ok(Arc::new(binding)), base: Base::Exact };
        let triggers_fire = self.connector.target.triggers == Triggers::Fire;
        let applier = Applier { plans: Arc::new(vec![plan]), triggers_fire, shared: false, deferred: triggers_fire };
        session.forget();
        session.frame("BEGIN").await?;
        if !triggers_fire {
            session.frame("SET LOCAL session_replication_role = replica").await?;
        }
        session.frame("SET LOCAL lock_timeout = '5s'").await?;
        let outcome = applier.apply(session, std::slice::from_ref(&item)).await;
        session.frame("ROLLBACK").await?;
        Ok(outcome.is_ok_and(|applied| applied.halts.is_empty()))
    }

    /// Updates of an insert-only table are not in the stream: the source's statistics tell that there were some.
    async fn watch_inserts(&self) -> Result<bool, PipelineError> {
        let tasks = Tasks::default();
        let endpoint = &self.connector.target.endpoint;
        if !self.connector.tables.iter().any(|rule| rule.insert_only) {
            return Ok(false);
        }
        let target = session::open(&tasks, endpoint, &self.connector.object_name()).await.map_err(PipelineError::Target)?;
        for state in table_state::read(&target, &self.connector.name).await? {
            let Some(recorded) = state.writes_missed.filter(|_| state.halted.is_none()) else { continue };
            if prepare::writes(&self.source, &state.source).await? <= recorded {
                continue;
            }
            let halted = Halted {
                because: "the table is `insert_only`, and the source's statistics count UPDATEs or DELETEs on it: they are not in the stream".to_owned(),
                hint: format!(
                    "ALTER TABLE {} REPLICA IDENTITY FULL on the source, remove `insert_only`, and let the table be copied anew",
                    crate::pg::quote::table(&state.source)
                ),
            };
            tracing::error!(table = %state.target, "table halted: {}\n  hint: {}", halted.because, halted.hint);
            table_state::halt(&target, &self.connector.name, &state.target, None, &halted).await?;
            self.board.halted(&state.target, halted, None);
        }
        Ok(false)
    }
}
