//! One worker: a session on each side, chunk after chunk.

use super::sessions::{HALT_PAUSE, LONGEST_PAUSE, MOMENT, REFUSED_PAUSE, Sessions, tell};
use super::source::ChunkSource;
use super::work::{Next, Task, Work};
use super::{ChunkError, Reading, Sink, Sinks};
use super::{load, sift, sweep};
use crate::catalog;
use crate::change::{EndLsn, Lsn, TableName};
use crate::chunk::Allowance;
use crate::config::Connector;
use crate::fate::Fate;
use crate::mapping::TablePlan;
use crate::pg::quote;
use crate::pipeline::board::Board;
use crate::pipeline::holdup;
use crate::pipeline::turn::{ChunkTurn, Turns};
use crate::pipeline::window::Window;
use crate::pipeline::{PipelineError, halted_by};
use crate::source;
use crate::store::copy_range;
use crate::store::table_state;
use crate::target::TargetError;
use crate::telemetry::Meter;
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_postgres::Client;

/// How long a chunk should take: when nobody waits, and when changes flow.
const AIM: Duration = Duration::from_secs(1);
const AIM_IN_TRAFFIC: Duration = Duration::from_millis(200);
const PLAN_PAUSE: Duration = Duration::from_secs(1);
/// Rows in the way, or missing, are waited for as long as chunks of any table come, or came so lately.
const SIFT_AFTER: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(2) };
const FINISH_PAUSE: Duration = Duration::from_secs(1);
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// What the workers of a life have in common.
pub struct Copying {
    pub connector: Arc<Connector>,
    /// The source's system identifier and timeline.
    pub system: (String, u32),
    pub epoch: i64,
    pub work: Work,
    pub turns: Turns,
    pub window: Window,
    pub plans: Arc<Vec<TablePlan>>,
    pub meter: Arc<Meter>,
    pub board: Arc<Board>,
    pub limits: Limits,
    /// By the numbers of the work.
    pub tables: Vec<CopyTable>,
    /// A person wants no chunk to begin.
    pub paused: AtomicBool,
    /// A person wants other tables to be copied than those of this life.
    pub changed: Notify,
}

/// A table that is copied.
pub struct CopyTable {
    pub source: TableName,
    /// More than one only through Kafka, where a topic serves them all.
    pub targets: Vec<TableName>,
    /// Those that are being copied. The first one's record has the ranges.
    pub copying: Vec<TableName>,
    /// They were copied before.
    pub repeats: bool,
    /// What the source does not have is removed.
    pub sweeps: bool,
    /// Only some of its partitions are read.
    pub partial: bool,
    /// Its key comes behind its rows, and its changes behind its key.
    pub loads: bool,
    /// Where their rows are counted.
    pub meters: Vec<usize>,
}

/// Rates that all workers share.
pub struct Limits {
    begun: Instant,
    /// Rows, bytes.
    allowances: Mutex<[Allowance; 2]>,
}

impl Limits {
    pub fn new(connector: &Connector) -> Self {
        let copy = &connector.copy;
        let allowances = [copy.max_rows_per_second, copy.max_bytes_per_second].map(Allowance::new);
        Self { begun: Instant::now(), allowances: Mutex::new(allowances) }
    }

    /// Gives how long that much takes at the least.
    fn spent(&self, amounts: [u64; 2]) -> Duration {
        let mut allowances = self.allowances.lock().expect("nothing panics while it holds the lock");
        let spent = allowances.iter_mut().zip(amounts).map(|(allowance, amount)| allowance.spend(amount, self.begun.elapsed()));
        spent.max().unwrap_or_default()
    }

    fn wait(&self) -> Duration {
        let mut allowances = self.allowances.lock().expect("nothing panics while it holds the lock");
        allowances.iter_mut().map(|allowance| allowance.wait(self.begun.elapsed())).max().unwrap_or_default()
    }
}

impl Copying {
    /// Whether a table's rows are read with this column: into events they go whole.
    fn reads(&self, number: usize, column: &str) -> bool {
        let mut plans = self.plans.iter().filter(|plan| plan.source == self.tables[number].source);
        self.connector.kafka().is_some() || plans.any(|plan| plan.inputs.iter().any(|input| input.name == column))
    }
}

/// Copies all of it, by as many workers as are configured.
pub async fn all<S: Sinks>(copying: Arc<Copying>, sinks: Arc<S>) {
    let workers = (0..copying.connector.copy.workers).map(|_| Worker::new(Arc::clone(&copying), Arc::clone(&sinks)).run());
    join_all(workers).await;
}

struct Worker<S: Sinks> {
    copying: Arc<Copying>,
    sessions: Sessions<S>,
}

impl<S: Sinks> Worker<S> {
    fn new(copying: Arc<Copying>, sinks: Arc<S>) -> Self {
        Self { sessions: Sessions::new(Arc::clone(&copying), sinks), copying }
    }

    /// Works until nothing is left to be copied.
    async fn run(mut self) {
        let mut pause = MOMENT;
        loop {
            let worked = match self.copying.work.next() {
                Next::Nothing => return,
                Next::Wait(time) => {
                    tokio::time::sleep(time).await;
                    continue;
                }
                Next::Chunk(task) => self.chunk(task).await,
                Next::Plan(number) => self.plan(number).await,
                Next::Finish(number) => self.finish(number).await,
            };
            pause = match worked {
                Ok(()) => {
                    if pause > MOMENT {
                        self.copying.board.waits("copy", None);
                    }
                    MOMENT
                }
                Err(error) => {
                    if pause > AIM {
                        // not the first try
                        self.copying.board.waits("copy", Some(crate::pipeline::chain(&error)));
                    }
                    self.sessions.forget();
                    self.copying.heed(&error);
                    self.copying.meter.retry("copy");
                    tell(&error, "the copy is tried again");
                    tokio::time::sleep(pause).await;
                    (pause * 2).min(LONGEST_PAUSE)
                }
            };
        }
    }

    /// One chunk. What only concerns its table is dealt with here.
    async fn chunk(&mut self, task: Task) -> Result<(), PipelineError> {
        self.allowed(&task).await;
        let error = match self.try_chunk(&task).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let copying = Arc::clone(&self.copying);
        let (work, who) = (&copying.work, task.target.to_string());
        match error {
            ChunkError::Invisible(xid) => {
                // whatever becomes of the sessions, the range is given back
                let refused = work.later(&task, MOMENT, true);
                self.sessions.give_back().await?;
                if refused > AIM
                    && let Some(source) = self.sessions.source()
                {
                    copying.board.waits(&who, Some(holdup::invisible(&source.client, xid).await));
                    work.later(&task, LOOK_PAUSE, true);
                }
                return Ok(());
            }
            ChunkError::NoBarrier => drop(work.later(&task, Duration::ZERO, false)),
            ChunkError::Rewritten => work.rewritten(&task),
            ChunkError::TooLong => {
                // both sessions are in the middle of a COPY
                self.sessions.forget();
                work.halve(&task);
                return Ok(());
            }
            ChunkError::Failed(error) => {
                if error.fate() == Fate::Retry {
                    work.later(&task, MOMENT, false);
                    return Err(error);
                }
                self.refused(&task, error).await;
            }
        }
        self.sessions.give_back().await
    }

    async fn try_chunk(&mut self, task: &Task) -> Result<(), ChunkError> {
        let copying = Arc::clone(&self.copying);
        let (source, sink) = self.sessions.both().await?;
        sink.ready().await?;
        let busy = Arc::clone(&source.busy);
        let busy = busy.begin();
        sink.unlocked(task.number).await?;
        let (reading, mut turn) = see(&copying.turns, source, task).await?;
        if copying.tables[task.number].loads {
            turn.release();
        }
        let begun = Instant::now();
        let piped = match sink.bring(task, source, &reading, &turn).await {
            Err(ChunkError::Failed(error)) => {
                drop(turn);
                let is_read = |column: &str| copying.reads(task.number, column);
                return Err(source.unreadable(&reading, is_read, error).await.into());
            }
            brought => brought?,
        };
        let time = begun.elapsed();
        let aim = if turn.is_waited_for() { AIM_IN_TRAFFIC } else { AIM };
        tracing::debug!(table = %task.target, rows = piped.rows, ?time, merged = task.merge, "a chunk entered");
        copying.work.entered(task, &reading.chunk);
        copying.window.enters(task.number, reading.until);
        drop((turn, busy));
        source.end().await?;
        sink.settle().await?;
        copying.board.waits(&task.target.to_string(), None);
        goes_on(&copying, sink.client(), &task.target).await?;
        // no more at once than the limits allow in that time
        let time = copying.limits.spent([piped.rows, piped.bytes]).max(time);
        copying.work.settled(task, &reading.chunk, time, aim);
        copying.tables[task.number].meters.iter().for_each(|&meter| copying.meter.copied(meter, piped.rows, piped.bytes));
        Ok(())
    }

    /// Waits for whatever the copy is to give way to. A load holds up its table's changes, and with them the source's WAL: it is short, and
    /// goes on.
    async fn allowed(&self, task: &Task) {
        let (copying, target) = (&self.copying, &task.target);
        let loads = copying.tables[task.number].loads;
        let limit = copying.connector.copy.pause_when_lag_over;
        let begun = Instant::now();
        loop {
            let what = match (copying.paused.load(Relaxed), copying.meter.lag_now() > limit) {
                _ if loads => break,
                (true, _) => "`tablelift copy resume`: somebody has paused the copies",
                (false, true) => "the stream, which is later than `pause_when_lag_over`",
                (false, false) => break,
            };
            if begun.elapsed() > AIM {
                copying.board.waits(&target.to_string(), Some(what.to_owned()));
            }
            tokio::time::sleep(MOMENT).await;
        }
        if begun.elapsed() > AIM {
            copying.board.waits(&target.to_string(), None);
        }
        let wait = copying.limits.wait();
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// The target, or the source, does not do it for this table.
    async fn refused(&self, task: &Task, error: PipelineError) {
        let work = &self.copying.work;
        if let PipelineError::Session(refused) = &error {
            if refused.is_unique_conflict() && !task.merge {
                work.merge(task);
                return;
            }
            // the stream, or another chunk, mostly brings what is missing, or takes away what is in the way
            if sift::may_pass(&error) && !task.sift {
                let what = format!("a row of the stream, or of another table: {}", refused.without_values());
                self.copying.board.waits(&task.target.to_string(), Some(what));
                if work.later(task, REFUSED_PAUSE, true).min(work.stands_still()) > SIFT_AFTER {
                    work.sift(task);
                }
                return;
            }
        }
        halt(&self.copying, &task.target, &error).await;
        work.halted(task.number);
        work.later(task, HALT_PAUSE, false);
        load::catch_up(&self.copying);
    }

    /// Rows were moved, in the source, between what was read and what was not. The ranges are read again; rows that are there are merged.
    async fn plan(&mut self, number: usize) -> Result<(), PipelineError> {
        let copying = Arc::clone(&self.copying);
        let planned = async {
            let (source, sink) = self.sessions.both().await?;
            let name = copying.tables[number].source.clone();
            if !source.has(&name).await? {
                return Ok(None);
            }
            let parts = catalog::parts(&source.client, std::slice::from_ref(&name)).await?;
            let mut parts = parts.get(&name).cloned().unwrap_or_default();
            if copying.tables[number].partial {
                parts.retain(|part| copying.work.covers(number, std::slice::from_ref(part)));
            }
            let ranges = crate::chunk::plan(&parts);
            let target = copying.tables[number].copying[0].clone();
            tracing::info!(table = %target, "its files in the source are others than they were: its rows are read again");
            if copying.tables[number].loads {
                load::begin_anew(&copying, sink.client(), &target, &ranges).await?;
            } else {
                let name = &copying.connector.name;
                TargetError::fenced_unless(copy_range::plan(sink.client(), name, copying.epoch, &target, &ranges).await?)?;
            }
            Ok::<_, PipelineError>(Some(ranges))
        };
        let planned = planned.await;
        match planned {
            Ok(Some(ranges)) => {
                copying.work.planned(number, Ok(ranges));
                Ok(())
            }
            Ok(None) => {
                let gone = || PipelineError::Belief {
                    what: "the source table is gone".to_owned(),
                    hint: "rename it back, or correct `source` in its entry; if it is to go, remove the entry and send SIGHUP"
                        .to_owned(),
                };
                for target in &copying.tables[number].copying {
                    halt(&copying, target, &gone()).await;
                }
                copying.work.planned(number, Err(HALT_PAUSE));
                Ok(())
            }
            Err(error) => {
                copying.work.planned(number, Err(PLAN_PAUSE));
                Err(error)
            }
        }
    }

    /// All of a table's rows are read.
    async fn finish(&mut self, number: usize) -> Result<(), PipelineError> {
        let copying = Arc::clone(&self.copying);
        let finished = async {
            let (source, sink) = self.sessions.both().await?;
            let name = &copying.tables[number].source;
            let parts = catalog::parts(&source.client, std::slice::from_ref(name)).await?;
            if !copying.tables[number].partial && !copying.work.covers(number, parts.get(name).map_or(&[][..], Vec::as_slice)) {
                return Ok(Finished::Uncovered);
            }
            // Behind what was the end of the WAL: a watermark that is there already, of an idle source, says nothing of our rows. One that lies
            // behind it is drawn by a capture that knows how far they reach.
            let mark = source::emit_mark(&source.client).await?;
            let window = if broken!(WindowForgotten) { EndLsn::default() } else { EndLsn(Lsn(mark.0.0 + 1)) };
            let client = sink.client();
            if copying.tables[number].sweeps {
                sweep::sweep(&copying, number, source, client).await?;
            }
            if copying.tables[number].loads {
                match load::build_keys(&copying, number).await {
                    Err(error) if error.fate() != Fate::Retry => return Ok(Finished::Refused(error)),
                    built => built?,
                }
            }
            for target in &copying.tables[number].copying {
                let ours = copy_range::complete(client, &copying.connector.name, copying.epoch, target, window).await?;
                TargetError::fenced_unless(ours)?;
                if !copying.tables[number].loads {
                    client.batch_execute(&format!("ANALYZE {}", quote::table(target))).await.ok();
                }
                copying.board.waits(&target.to_string(), None);
                copying.board.copy_resumed(target);
                tracing::info!(table = %target, "copied");
            }
            copying.window.completes(number, window);
            sink.finished(number);
            Ok::<_, PipelineError>(Finished::Done)
        };
        let finished = finished.await;
        copying.work.finished(
            number,
            match finished {
                Ok(Finished::Done) => Ok(()),
                Ok(Finished::Refused(_)) => Err(HALT_PAUSE),
                Ok(Finished::Uncovered) | Err(_) => Err(FINISH_PAUSE),
            },
        );
        match finished? {
            Finished::Done => load::catch_up(&copying),
            Finished::Uncovered => {
                copying.work.void(number);
                return Ok(());
            }
            Finished::Refused(error) => {
                for target in &copying.tables[number].copying {
                    halt(&copying, target, &error).await;
                }
                copying.work.halted(number);
                load::catch_up(&copying);
                return Ok(());
            }
        }
        if copying.work.is_done() {
            copying.window.copied();
        }
        // whoever waits for the window to close waits for this to be passed
        let (source, _) = self.sessions.both().await?;
        source::emit_mark(&source.client).await?;
        Ok(())
    }
}

impl Copying {
    /// Somebody has drawn a newer epoch. Whoever it was may be gone already, and the stream may have nothing to write, which would tell its writer:
    /// so this life ends. The next one stands by, or draws its own.
    pub fn heed(&self, error: &PipelineError) {
        if matches!(error, PipelineError::Session(TargetError::Fenced)) {
            self.changed.notify_one();
        }
    }

    /// What a person wants. `unfinished`: the tables that were not finished before that was read.
    pub fn obey(&self, orders: &copy_range::Orders, unfinished: &BTreeSet<usize>) {
        self.paused.store(orders.paused, Relaxed);
        let wanted = |number: usize| self.tables[number].targets.iter().any(|target| orders.copying.contains(target));
        let more = (0..self.tables.len()).any(|number| wanted(number) && !unfinished.contains(&number));
        let less = self.work.unfinished(true).into_iter().any(|number| unfinished.contains(&number) && !wanted(number));
        if more || less {
            self.changed.notify_one();
        }
    }
}

/// What became of a table whose rows are all read.
enum Finished {
    Done,
    /// A partition came meanwhile, with rows that no change has brought.
    Uncovered,
    /// The target does not build its key.
    Refused(PipelineError),
}

/// Says why a table's rows stand still, on the board and in the table's record, as far as that can be reached.
pub async fn halt(copying: &Copying, target: &TableName, error: &PipelineError) {
    let halted = halted_by(error, "cure that, and it is tried again within 30 s; SIGHUP or a restart tries at once");
    let Copying { connector, board, .. } = copying;
    board.waits(&target.to_string(), None);
    let said = board.copy_halt(target);
    if !board.copy_halted(target, halted.clone()) {
        return;
    }
    if said.as_ref() != Some(&halted) {
        tracing::error!(table = %target, "the copy halted: {}\n  hint: {}", halted.because, halted.hint);
    }
    let tasks = crate::pipeline::Tasks::default();
    let opened = crate::pipeline::session::open(&tasks, &connector.target.endpoint, &connector.object_name()).await;
    if let Ok(client) = opened {
        table_state::halt_copy(&client, &connector.name, target, &halted).await.ok();
    }
}

/// Its rows come: takes back what was said of its copy, and nothing that the stream says.
async fn goes_on(copying: &Copying, client: &Client, target: &TableName) -> Result<(), PipelineError> {
    if copying.board.copy_halt(target).is_some() {
        table_state::lift_copy(client, &copying.connector.name, target).await?;
        copying.board.copy_resumed(target);
    }
    Ok(())
}

/// Takes the chunk's turn and its snapshot.
async fn see(turns: &Turns, source: &ChunkSource, task: &Task) -> Result<(Reading, ChunkTurn), ChunkError> {
    source.draw_barrier(turns).await?;
    let locked = source.lock(&task.range).await?;
    let turn = turns.chunk().await;
    match source.look(locked, task, &turn).await {
        // a commit that is not visible yet mostly is in a moment, and while the stream stands still there come no others
        Err(ChunkError::Invisible(xid)) if source.sees(&turn, MOMENT).await? => {
            let locked = source.lock(&task.range).await?;
            let reading = source.look(locked, task, &turn).await;
            tracing::debug!(table = %task.target, xid, "waited for a commit to become visible");
            Ok((reading?, turn))
        }
        reading => Ok((reading?, turn)),
    }
}
