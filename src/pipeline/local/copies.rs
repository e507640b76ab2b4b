//! The copies of a life: what of them is recorded, and their workers.

use crate::change::TableName;
use crate::config::Connector;
use crate::mapping::TablePlan;
use crate::pipeline::board::Board;
use crate::pipeline::copy::{self, Copier, CopyTable, Copying, Limits, Rereader, Targets, Work};
use crate::pipeline::turn::Turns;
use crate::pipeline::window::{Marks, Window};
use crate::pipeline::{PipelineError, Tasks};
use crate::store::table_state::TableState;
use crate::store::{copy_range, reread};
use crate::telemetry::Meter;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::{Notify, mpsc};
use tokio_postgres::Client;

/// Copies that are under way, by the numbers of the plans.
pub struct Copies {
    /// Tables that are copied whole.
    whole: Vec<usize>,
    chunked: Work,
    /// Plans whose tables are copied once more.
    repeats: BTreeSet<usize>,
    /// Those whose copy looks for rows that the source does not have.
    sweeps: BTreeSet<usize>,
    /// Those of whose partitions only some are read.
    partial: BTreeSet<usize>,
    /// Tables whose changes wait for their key.
    loads: BTreeSet<TableName>,
    /// A person has paused them.
    paused: bool,
    pub window: Window,
}

/// What the copies have in common with the stream of their life.
pub struct Common {
    pub connector: Arc<Connector>,
    /// The source's system identifier and timeline.
    pub system: (String, u32),
    pub incarnation: u32,
    pub epoch: i64,
    pub plans: Arc<Vec<TablePlan>>,
    pub meter: Arc<Meter>,
    pub board: Arc<Board>,
    pub turns: Turns,
}

impl Copies {
    /// What is recorded of copies.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn take_up(
        target: &Client,
        connector: &str,
        plans: &[TablePlan],
        states: &[TableState],
    ) -> Result<Self, PipelineError> {
        let loads: BTreeSet<TableName> = states.iter().filter(|state| state.loading).map(|state| state.target.clone()).collect();
        let (mut whole, mut chunked, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        let (mut repeats, mut sweeps, mut partial) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (number, plan) in plans.iter().enumerate() {
            let Some(state) = states.iter().find(|state| state.target == plan.target) else { continue };
            if state.copying {
                chunked.push((number, state.target.clone(), state.repeats));
                repeats.extend(state.repeats.then_some(number));
                sweeps.extend((state.repeats && state.sweeps).then_some(number));
                partial.extend((state.repeats && state.partial).then_some(number));
            } else if !state.copied && !copy::in_chunks(plan) {
                whole.push(number);
            }
            marks.push(Marks::new(state.copying, state.window.unwrap_or_default()).repeated(state.repeats));
        }
        // the source keeps WAL for them
        chunked.sort_by_key(|(_, target, _)| !loads.contains(target));
        let one_moment = states.iter().all(|state| state.copied);
        let until = states.iter().filter_map(|state| state.window).max().unwrap_or_default();
        let window = Window::new(!one_moment, until, marks);
        for asked in reread::oldest(target, connector, &[], i64::MAX).await? {
            if let Some(number) = plans.iter().position(|plan| plan.target == asked.target) {
                window.asks(number, [asked.key]);
            }
        }
        let paused = copy_range::orders(target, connector).await?.paused;
        let chunked = Work::new(chunked, &copy_range::read(target, connector).await?);
        Ok(Self { whole, chunked, repeats, sweeps, partial, loads, paused, window })
    }

    /// The tables that take no change of the stream before their copy has ended.
    pub fn beside_the_stream(&self, plans: &[TablePlan]) -> Vec<TableName> {
        let whole = self.whole.iter().map(|&number| plans[number].target.clone());
        whole.chain(self.loads.iter().cloned()).collect()
    }

    /// Starts the workers, and the re-reads. `again`: what to say to end the life.
    pub fn start(self, common: Common, tasks: &Tasks, again: mpsc::Sender<()>) {
        let Common { connector, system, incarnation, epoch, plans, meter, board, turns } = common;
        let copier = Copier {
            connector: Arc::clone(&connector),
            incarnation,
            plans: Arc::clone(&plans),
            meter: Arc::clone(&meter),
            board: Arc::clone(&board),
        };
        let sinks = Arc::new(Targets {
            connector: Arc::clone(&connector),
            epoch,
            plans: Arc::clone(&plans),
            window: self.window.clone(),
            board: Arc::clone(&board),
        });
        let tables = plans.iter().enumerate().map(|(number, plan)| CopyTable {
            source: plan.source.clone(),
            targets: vec![plan.target.clone()],
            copying: vec![plan.target.clone()],
            repeats: self.repeats.contains(&number),
            sweeps: self.sweeps.contains(&number),
            partial: self.partial.contains(&number),
            loads: self.loads.contains(&plan.target),
            meters: vec![number],
        });
        let shared = Arc::new(Copying {
            system,
            epoch,
            work: self.chunked,
            turns,
            window: self.window,
            meter,
            board,
            limits: Limits::new(&connector),
            tables: tables.collect(),
            plans,
            paused: AtomicBool::new(self.paused),
            changed: Notify::new(),
            connector,
        });
        let (copying, changed) = (Arc::clone(&shared), again.clone());
        tasks.start(async move {
            copying.changed.notified().await;
            changed.send(()).await.ok();
        });
        tasks.start(Rereader::new(Arc::clone(&shared), Arc::clone(&sinks)).run());
        let whole = self.whole;
        tasks.start(async move {
            let any_whole = !whole.is_empty();
            tokio::join!(copier.copy_all(whole), copy::all(shared, sinks));
            if any_whole {
                // their tables are to catch up
                again.send(()).await.ok();
            }
        });
    }
}
