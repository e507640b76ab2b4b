//! A life of the local pipeline: start from what is durable, run until something ends it. Nothing is remembered between two lives but the
//! connector file.

use super::board::Board;
use super::gate::{Gate, Gates};
use super::gather::{Bundle, Gatherer};
use super::holdup::{Busy, Side};
use super::lives::{End, LAST_WORDS, Lives, given_up, past, stopped};
use super::local::copies::{Common, Copies};
use super::local::{LocalError, LocalWriter};
use super::prepare::{FirstCopy, Prepared, prepare};
use super::structure::{self, Unfit};
use super::turn::Turns;
use super::{PipelineError, Tasks, after_load, copy, recheck, session};
use crate::apply::Applier;
use crate::change::{CommitLsn, EndLsn, Lsn, Position, TableName};
use crate::config::{Connector, Triggers};
use crate::mapping::TablePlan;
use crate::source::{self, AssemblyError, Feedback, Reader, SourceError};
use crate::store::table_state::TableState;
use crate::store::{checkpoint, table_state};
use crate::target::{Session, origin};
use crate::telemetry::Meter;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_postgres::Client;

/// Bytes of read buffers on their way: pending, queued and at work.
const READ_BUDGET: usize = 24 << 20;
/// A commit that the slot is confirmed by must be on the target's disk, whatever its default: else a crash of the target loses what
/// the source has already forgotten.
pub(super) const DURABLE: &str = "SELECT pg_catalog.set_config('synchronous_commit', 'on', false) WHERE pg_catalog.current_setting('synchronous_commit') = 'off'";
/// The last life's session, whose transaction we have waited for, ends in a moment.
const ORIGIN_PATIENCE: Duration = Duration::from_secs(1);
/// `ERRCODE_DATATYPE_MISMATCH`, as pgoutput has it of a row that does not fit the table that it is sent as.
const CANNOT_CONVERT: &str = "42804";
/// How `run` was asked to run.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    pub endpos: Option<EndLsn>,
    pub copy: FirstCopy,
    /// `--endpos` is of the log (`capture`), not of the target.
    pub log_only: bool,
}

/// One life of the local pipeline.
pub struct Life {
    pub connector: Arc<Connector>,
    pub options: RunOptions,
    pub stop: watch::Receiver<bool>,
    pub board: Arc<Board>,
    /// Shows the tables' counters to the outside, once there are some.
    pub publish: Arc<dyn Fn(Arc<Meter>) + Send + Sync>,
    /// The one thing that a life leaves to the next: halted tables that it is not to try anew, for its beginning could not end with
    /// them. Forgotten, they are tried, and found again.
    pub apart: Vec<TableName>,
    /// A life has got past what may be wrong with the file, since it was read.
    pub fits: bool,
}

impl Life {
    /// Runs until something ends it.
    ///
    /// # Errors
    /// See [`PipelineError`]; its fate says whether to try again.
    pub async fn run(&mut self) -> Result<End, PipelineError> {
        let tasks = Tasks::default();
        let connector = Arc::clone(&self.connector);
        let name = connector.object_name();
        let source = session::open(&tasks, &connector.source.endpoint, &name).await.map_err(PipelineError::Source)?;
        let mut target = session::open(&tasks, &connector.target.endpoint, &name).await.map_err(PipelineError::Target)?;
        let at_source = Busy::of(&source, Side::Source, None, &self.board).await?;
        let at_target = Busy::of(&target, Side::Target, None, &self.board).await?;
        if stands_by(&connector, &source, &self.board, &mut self.stop).await? {
            return Ok(End::Stopped);
        }
        let preparing = (at_source.begin(), at_target.begin());
        let prepared = tokio::select! {
            prepared = prepare(&connector, &source, &mut target, self.options.copy, &self.board) => prepared?,
            () = stopped(&mut self.stop) => return Ok(End::Stopped),
        };
        self.fits = true;
        prepared.findings.iter().for_each(|finding| tracing::info!("{finding}"));
        let reader = match prepared.open_stream(&connector, &tasks, READ_BUDGET).await {
            Err(PipelineError::Stream(SourceError::SlotActive(_))) => return Ok(End::Again),
            other => other?,
        };
        drop(preparing);
        self.live(&tasks, (source, target, at_target), prepared, reader, true).await
    }

    /// A life whose stream is open. `attended`: beside it somebody looks for what people, and other sessions, do to its tables.
    pub(crate) async fn live(
        &mut self,
        tasks: &Tasks,
        (source, target, at_target): (Client, Client, Arc<Busy>),
        prepared: Prepared,
        reader: Reader,
        attended: bool,
    ) -> Result<End, PipelineError> {
        let connector = Arc::clone(&self.connector);
        let preparing = at_target.begin();
        let taken = checkpoint::take(&target, &connector.name, checkpoint::LOCAL, 0).await?;
        let mut states = table_state::read(&target, &connector.name).await?;
        // a halt may have been lifted by a commit whose answer nobody heard
        for state in states.iter().filter(|state| state.halted.is_none()) {
            self.board.resumed(&state.target);
        }
        let plans = prepared.compiled.iter().filter_map(|one| one.plan.as_ref().ok());
        let brought = Position::start_of(prepared.incarnation(), CommitLsn(taken.end_lsn.unwrap_or_default().0));
        let sessions = (&source, &target, taken.epoch);
        copy::begin(sessions, &connector, plans, (&mut states, brought), &self.board).await?;
        let setup = self.set_up(&target, prepared, &states, &reader, &taken).await?;
        self.apart.clear();
        drop(preparing);
        let _streaming = self.board.streams();
        let (signal, again) = mpsc::channel(1);
        if attended {
            self.attend(tasks, &setup, source, signal.clone());
        }
        self.follow(tasks, setup, reader, (target, at_target, taken.epoch), (signal, again)).await
    }

    /// Looks after what else becomes of the tables.
    fn attend(&self, tasks: &Tasks, setup: &Setup, source: Client, signal: mpsc::Sender<()>) {
        let connector = Arc::clone(&self.connector);
        let copying = setup.copies.beside_the_stream(&setup.plans);
        tasks.start(after_load::keep(Arc::clone(&connector), Arc::clone(&self.board), copying.clone()));
        let (watched, changed, unfit) = (Arc::clone(&connector), signal.clone(), setup.unfit.clone());
        tasks.start(async move {
            structure::until_one_changes(&watched, true, &unfit).await;
            changed.send(()).await.ok();
        });
        let recheck = recheck::Recheck { connector, board: Arc::clone(&self.board), source, signal, copying };
        tasks.start(recheck.run());
    }

    /// Plans and gates from what is durable.
    async fn set_up(
        &self,
        target: &Client,
        prepared: Prepared,
        states: &[TableState],
        reader: &Reader,
        taken: &checkpoint::Checkpoint,
    ) -> Result<Setup, PipelineError> {
        let system = (prepared.facts.system_id.clone(), prepared.facts.timeline);
        let incarnation = prepared.incarnation();
        let Prepared { compiled, misfits, left_out, .. } = prepared;
        let end = taken.end_lsn.unwrap_or_default();
        let at = taken.position.unwrap_or(Position::start_of(incarnation, CommitLsn(end.0)));
        let next = Position::start_of(incarnation, CommitLsn(Lsn(at.commit.0.0 + 1)));
        let (mut plans, mut gates, mut held) = (Vec::new(), Vec::new(), Vec::new());
        let mut unfit = Unfit { sources: left_out, ..Unfit::default() };
        held.extend(misfits.iter().map(|_| Gate::Misfit));
        unfit.targets.extend(misfits.into_iter().map(|misfit| misfit.target));
        for one in compiled {
            let Some(state) = states.iter().find(|state| state.target == one.rule.target) else { continue };
            match one.plan {
                Ok(plan) => {
                    let gate = match (state.has_begun(), state.lacks_from) {
                        (false, _) => Gate::Waiting,
                        (true, None) => Gate::Follow,
                        (true, Some(from)) if state.loading || state.halted.is_some() && self.apart.contains(&state.target) => {
                            Gate::Halted(from)
                        }
                        (true, Some(from)) => Gate::Behind(from),
                    };
                    if (gate == Gate::Follow || state.loading) && state.halted.is_some() && state.writes_missed.is_none() {
                        // what stood against its copy, or its re-reads, is tried anew
                        table_state::lift(target, &self.connector.name, &state.target).await?;
                        self.board.resumed(&state.target);
                    }
                    plans.push(plan);
                    gates.push(gate);
                }
                Err(findings) => {
                    let halted = table_state::Halted::by(&findings);
                    unfit.targets.insert(state.target.clone());
                    tracing::error!(table = %state.target, "table halted: {}\n  hint: {}", halted.because, halted.hint);
                    let from = state.lacks_from.unwrap_or(next);
                    table_state::halt(target, &self.connector.name, &state.target, Some(from), &halted).await?;
                    self.board.halted(&state.target, halted, None);
                    held.push(if state.has_begun() { Gate::Halted(from) } else { Gate::Waiting });
                }
            }
        }
        // tables without a plan take nothing, and hold the slot
        gates.extend(held);
        let confirmed = reader.confirmed_at_start();
        let copies = Copies::take_up(target, &self.connector.name, &plans, states).await?;
        let gates = Gates::new(gates, at, end, confirmed);
        Ok(Setup { plans: Arc::new(plans), gates, copies, system, unfit, incarnation, durable: end })
    }

    async fn follow(
        &mut self,
        tasks: &Tasks,
        setup: Setup,
        reader: Reader,
        (target, busy, epoch): (Client, Arc<Busy>, i64),
        (signal, again): (mpsc::Sender<()>, mpsc::Receiver<()>),
    ) -> Result<End, PipelineError> {
        let Setup { plans, gates, copies, system, incarnation, durable, .. } = setup;
        let turns = Turns::default();
        let tables = plans.iter().map(|plan| (plan.source.clone(), plan.target.clone()));
        let meter = Arc::new(Meter::new(&self.connector.name, tables));
        (self.publish)(Arc::clone(&meter));
        let mut session = Session::new(target);
        session.prepare_control(checkpoint::MOVE_LOCAL).await?;
        let triggers_fire = self.connector.target.triggers == Triggers::Fire;
        session.frame(DURABLE).await?;
        origin::carry(session.client(), &self.connector.object_name(), ORIGIN_PATIENCE).await;
        session.frame("SET lock_timeout = '10s'").await?;
        if !triggers_fire {
            session.frame("SET session_replication_role = replica").await?;
        }
        let feedback = reader.feedback();
        let board = Arc::clone(&self.board);
        let writer = LocalWriter {
            connector: self.connector.name.clone(),
            session,
            epoch,
            applier: Applier { plans: Arc::clone(&plans), triggers_fire, shared: false, deferred: triggers_fire },
            gates,
            meter: Arc::clone(&meter),
            board: Arc::clone(&board),
            open: None,
            turns: turns.clone(),
            turn: None,
            window: copies.window.clone(),
            durable,
            busy,
        };
        let (bundles, from_stream) = mpsc::channel(1);
        let (failed, stream_end) = tokio::sync::oneshot::channel();
        let gatherer = Gatherer::new(Arc::clone(&plans), incarnation, Arc::clone(&meter));
        tasks.start(async move {
            failed.send(gather(reader, gatherer, bundles).await).ok();
        });
        let common = Common { connector: Arc::clone(&self.connector), system, incarnation, epoch, plans, meter, board, turns };
        copies.start(common, tasks, signal);
        self.write(writer, feedback, from_stream, stream_end, again).await
    }

    async fn write(
        &mut self,
        mut writer: LocalWriter,
        feedback: Feedback,
        mut bundles: mpsc::Receiver<Bundle>,
        mut stream_end: tokio::sync::oneshot::Receiver<SourceError>,
        mut again: mpsc::Receiver<()>,
    ) -> Result<End, PipelineError> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut deadline: Option<Instant> = None;
        loop {
            if *self.stop.borrow() && writer.open.is_none() {
                return Ok(End::Stopped);
            }
            // only this may be cut short: what has begun to be written is written, or given up with its whole target transaction
            let step = tokio::select! {
                biased;
                _ = again.recv(), if writer.open.is_none() => return Ok(End::Again),
                bundle = bundles.recv() => match bundle {
                    Some(bundle) => Step::Write(bundle),
                    None => return ended(&self.board, (&mut stream_end).await.unwrap_or(SourceError::Closed)),
                },
                _ = tick.tick() => Step::Tick,
                () = stopped(&mut self.stop), if deadline.is_none() => {
                    deadline = Some(Instant::now() + LAST_WORDS);
                    continue;
                }
                () = past(deadline), if deadline.is_some() => return Ok(End::Stopped),
            };
            let write = async {
                match step {
                    Step::Write(bundle) => {
                        if let Some(last) = bundle.ends.last().filter(|_| broken!(ConfirmsAhead)) {
                            feedback.confirm(last.end);
                        }
                        writer.write(bundle).await
                    }
                    Step::Tick => writer.tick().await,
                }
            };
            let written = tokio::select! {
                biased;
                written = write => written,
                () = given_up(&mut self.stop, &mut deadline) => return Ok(End::Stopped),
            };
            match written {
                Err(LocalError::Apart(tables)) => {
                    self.apart = tables;
                    return Ok(End::Again);
                }
                other => {
                    if let Some(end) = other? {
                        feedback.confirm(end);
                    }
                }
            }
            if let Some(end) = self.reached(&writer) {
                return Ok(end);
            }
        }
    }

    fn reached(&self, writer: &LocalWriter) -> Option<End> {
        let wanted = self.options.endpos?;
        if writer.durable < wanted {
            return None;
        }
        if writer.consistent() {
            return Some(End::Reached);
        }
        (!self.board.halted_tables().is_empty()).then_some(End::HaltedBefore)
    }
}

/// What the end of the source's stream means.
///
/// # Errors
/// It is one.
pub(super) fn ended(board: &Board, error: SourceError) -> Result<End, PipelineError> {
    match error {
        SourceError::Assembly(AssemblyError::PartitionCame { table, partition, xid }) => {
            board.partition_came(table, partition, xid);
            Ok(End::Again)
        }
        SourceError::Refused { source, .. } if source.sqlstate == CANNOT_CONVERT => Err(PipelineError::Belief {
            what: format!("the source's stream ended: {} (SQLSTATE {CANNOT_CONVERT})", source.message),
            hint: "PostgreSQL before 15 goes on to send the changes of a partition that was detached as its root's, and cannot once their columns \
                   differ. The slot does not get past that: `tablelift drop` this connector, empty its target tables, and run it again: it copies anew"
                .to_owned(),
        }),
        error => Err(error.into()),
    }
}

/// Waits while another daemon reads the slot; gives true if we were stopped meanwhile.
pub(crate) async fn stands_by(
    connector: &Connector,
    source: &Client,
    board: &Board,
    stop: &mut watch::Receiver<bool>,
) -> Result<bool, PipelineError> {
    let slot = source::SlotName::new(connector.slot())?;
    // our own last life's walsender is gone in a moment
    let (mut told, mut pause) = (None, Duration::from_millis(10));
    while let Some(holder) = source::slot_holder(source, &slot).await? {
        if told != Some(holder.pid) {
            let who = holder.application.as_deref().unwrap_or("a session that this role may not see");
            let place = holder.client_address.as_deref().unwrap_or("a local socket");
            let what = format!("slot `{slot}`: pid {} of the source holds it ({who} from {place})", holder.pid);
            tracing::info!("standing by for {what}");
            board.waits("source", Some(what));
            told = Some(holder.pid);
        }
        tokio::select! {
            () = stopped(stop) => return Ok(true),
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_millis(500)),
        }
    }
    board.waits("source", None);
    Ok(false)
}

struct Setup {
    plans: Arc<Vec<TablePlan>>,
    gates: Gates,
    copies: Copies,
    /// The source's system identifier and timeline.
    system: (String, u32),
    /// Tables whose entry does not fit, and source tables that are left out.
    unfit: Unfit,
    incarnation: u32,
    durable: EndLsn,
}

enum Step {
    Write(Bundle),
    Tick,
}

/// Feeds the gatherer, and hands bundles on whenever the writer is free.
async fn gather(mut reader: Reader, mut gatherer: Gatherer, bundles: mpsc::Sender<Bundle>) -> SourceError {
    /// So long after the last part of an unfinished transaction it is handed on: rows that wait pin the reader's memory.
    const PATIENCE: Duration = Duration::from_millis(20);
    loop {
        while !gatherer.is_full() {
            match reader.try_next() {
                Ok(Some(feeds)) => gatherer.take(feeds),
                Ok(None) => break,
                Err(error) => return error,
            }
        }
        let ready = gatherer.is_ready();
        tokio::select! {
            biased;
            permit = bundles.reserve(), if ready => match permit {
                Ok(permit) => permit.send(gatherer.cut()),
                Err(_) => return SourceError::Closed,
            },
            feeds = reader.next(), if !gatherer.is_full() => match feeds {
                Ok(feeds) => gatherer.take(feeds),
                Err(error) => return error,
            },
            () = tokio::time::sleep(PATIENCE), if !ready && gatherer.holds_items() => {
                if bundles.send(gatherer.cut()).await.is_err() {
                    return SourceError::Closed;
                }
            }
        }
    }
}

impl Lives for Life {
    async fn live(&mut self) -> Result<End, PipelineError> {
        self.run().await
    }

    fn renew(&mut self, connector: Arc<Connector>) -> Arc<Connector> {
        self.apart.clear();
        self.fits = false;
        std::mem::replace(&mut self.connector, connector)
    }

    fn fits(&self) -> bool {
        self.fits
    }
}
