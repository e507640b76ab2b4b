//! What follows a table's load, on target tables that we made: indexes and checks side by side, then what stands on them, then foreign
//! keys. What is to be done is recorded in the target; each statement is first looked for in the catalog, so that a crash between any
//! two, or in the middle of one, is cured by doing it again.

mod build;
mod keeper;
mod key;
mod loaded;
mod standing;

use super::board::Board;
use super::{PipelineError, Tasks, held, session};
use crate::change::TableName;
use crate::config::Connector;
use crate::ddl::Kind;
use crate::store::after_load::{self, Open};
use crate::store::table_state::TableState;
use build::{Builder, Outcome};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio_postgres::Client;

pub use keeper::{finish_all, keep};
pub(super) use key::key;

/// So many statements at a time, where nobody says otherwise.
pub const SESSIONS: usize = 2;
/// What failed is tried again after so long.
const AGAIN: Duration = Duration::from_secs(30);

/// What else goes on at the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Nobody writes to them yet: an index is built in one go.
    Still,
    /// Their stream flows, and must not be held up.
    Flowing,
}

/// What became of the statements whose time had come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    pub done: usize,
    /// Refused by the target; each has its reason in its record.
    pub failed: usize,
    /// Another builder is at them.
    pub elsewhere: usize,
}

/// Builds what can be built now on the tables `loaded`, whose rows are all in the target, over up to `sessions` sessions. A foreign key
/// waits until both its tables are loaded and lack nothing of the stream. What was tried in vain less than 30 s ago waits too.
///
/// # Errors
/// The target is away, or its control tables are damaged. What it refuses is no error: it is recorded, and tried again.
pub async fn finish(
    connector: &Connector,
    board: &Board,
    loaded: &[TableName],
    sessions: usize,
    traffic: Traffic,
) -> Result<Finished, PipelineError> {
    let tasks = Tasks::default();
    let client =
        session::open(&tasks, &connector.target.endpoint, &connector.object_name()).await.map_err(PipelineError::Target)?;
    let open = after_load::open(&client, &connector.name).await?;
    let states = states(&client, connector).await?;
    drop(client);
    let due: Vec<Open> = open.iter().filter(|one| is_due(one, loaded, &states)).cloned().collect();
    let undone: BTreeSet<(TableName, i32)> = open.iter().map(|one| (one.table.clone(), one.place)).collect();
    let work = Work { open, undone: Mutex::new(undone), finished: Mutex::default() };
    for phase in 0..=Kind::Validate.phase() {
        let queue: Vec<Open> =
            due.iter().filter(|one| one.step.kind.phase() == phase && !work.is_blocked(one)).cloned().collect();
        if queue.is_empty() {
            continue;
        }
        // each locks two tables: one at a time cannot wait in a circle
        let sessions = if phase == Kind::ForeignKey.phase() { 1 } else { sessions.clamp(1, queue.len()) };
        let queue = Mutex::new(queue.into_iter().rev().collect());
        let workers = (0..sessions).map(|_| work.take(connector, board, &queue, traffic));
        futures_util::future::try_join_all(workers).await?;
    }
    let finished = *lock(&work.finished);
    Ok(finished)
}

/// The same at the end of one table's copy, while nobody writes to it. What cannot be done now is the keeper's.
pub async fn at_copy_end(connector: &Connector, board: &Board, table: &TableName) {
    if let Err(error) = finish(connector, board, std::slice::from_ref(table), SESSIONS, Traffic::Still).await {
        tracing::debug!(table = %table, error = %super::chain(&error), "what follows the load waits");
    }
}

/// The tables' states; those whose rows are not of one moment yet count as being copied.
async fn states(client: &Client, connector: &Connector) -> Result<Vec<TableState>, PipelineError> {
    let Some(held) = held(client, &connector.name).await? else { return Ok(Vec::new()) };
    let end = held.end_of_others.unwrap_or_default();
    let of_one_moment = |state: &TableState| held.rereads == 0 && state.window.is_none_or(|window| window <= end);
    Ok(held.tables.iter().cloned().map(|state| TableState { copied: state.copied && of_one_moment(&state), ..state }).collect())
}

/// Whether a statement's time has come.
fn is_due(open: &Open, loaded: &[TableName], states: &[TableState]) -> bool {
    let settled = |table: &TableName| {
        let state = states.iter().find(|state| &state.target == table);
        loaded.contains(table) && state.is_some_and(|state| state.copied && state.lacks_from.is_none() && state.halted.is_none())
    };
    let rested = open.tried.is_none_or(|since| since >= AGAIN);
    rested
        && loaded.contains(&open.table)
        && open.step.refers.as_ref().is_none_or(|refers| settled(&open.table) && settled(refers))
}

/// Shared by the workers of one call.
struct Work {
    /// All that was open as it began.
    open: Vec<Open>,
    undone: Mutex<BTreeSet<(TableName, i32)>>,
    finished: Mutex<Finished>,
}

impl Work {
    /// What it stands on is not there.
    fn is_blocked(&self, one: &Open) -> bool {
        let undone = lock(&self.undone);
        let of_table = self.open.iter().filter(|other| other.table == one.table && other.place != one.place);
        of_table.filter(|other| undone.contains(&(other.table.clone(), other.place))).any(|other| one.step.needs(&other.step))
    }

    /// One worker: takes statements until there are none.
    async fn take(
        &self,
        connector: &Connector,
        board: &Board,
        queue: &Mutex<Vec<Open>>,
        traffic: Traffic,
    ) -> Result<(), PipelineError> {
        let mut builder = None;
        loop {
            let Some(one) = lock(queue).pop() else { return Ok(()) };
            if builder.is_none() {
                builder = Some(Builder::open(connector, board, traffic).await?);
            }
            let Some(builder) = &builder else { return Ok(()) };
            let outcome = builder.build(&one).await?;
            let mut finished = lock(&self.finished);
            match outcome {
                Outcome::Done => {
                    finished.done += 1;
                    lock(&self.undone).remove(&(one.table.clone(), one.place));
                }
                Outcome::Failed => finished.failed += 1,
                Outcome::Elsewhere => finished.elsewhere += 1,
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds the lock")
}
