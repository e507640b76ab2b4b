//! Both databases, the traffic, and what happens to them and to us.

use super::Log;
use super::broker::Broker;
use super::promises::Checkpoints;
use super::rng::Rng;
use super::source::{Cells, Fold, SHAPES, Source};
use super::target::{Key, Range, Reread, State, Stop, Target, Tx, Val};
use crate::change::{CommitLsn, EndLsn, Lsn, Position};
use crate::chunk::Part;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The one incarnation of the slot.
pub const INCARNATION: u32 = 1;

#[derive(Clone)]
pub struct Shared(Arc<Mutex<World>>);

pub struct World {
    pub rng: Rng,
    pub log: Log,
    pub source: Source,
    pub broker: Broker,
    pub target: Target,
    /// The farthest that the partitions' checkpoints have been.
    pub checkpoints: Checkpoints,
    /// How much slower statements are than they could be, in the thick of it.
    pub slowness: u64,
    /// The walsender's pauses, in milliseconds at the most.
    pub lag: u64,
    /// Somebody has written into one of the target's tables, and has asked for a copy that cures it.
    pub tampered: Option<usize>,
    pub failure: Option<String>,
    /// What was seen, to judge whether schedules go where they should.
    pub seen: Seen,
    begun: tokio::time::Instant,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub commits: u64,
    /// Target commits at which the target had to be the source at one commit.
    pub consistent: u64,
    pub rereads: u64,
    pub crashes: u64,
}

impl Shared {
    pub fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What befalls a schedule of either log from outside of the daemon.
#[derive(Clone, Copy, Debug)]
pub enum Blow {
    Source,
    Target,
    /// A person asks for a table to be copied once more.
    Resync,
    /// The same, with a reason.
    Tamper,
    /// A person asks for rows to be read again.
    Rows,
    /// Somebody adds a constraint to a table of the target that no row fits, and takes it back.
    Bar,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let source = Source::new(&mut rng);
        let slowness = *rng.pick(&[0, 1, 5, 20]);
        let lag = *rng.pick(&[8, 8, 60, 250]);
        Self {
            rng,
            log: Log::Local,
            source,
            broker: Broker::default(),
            target: Target::default(),
            checkpoints: Checkpoints::new(),
            slowness,
            lag,
            tampered: None,
            failure: None,
            seen: Seen::default(),
            begun: tokio::time::Instant::now(),
        }
    }

    /// A statement's time. What takes long in the world does so here.
    pub fn delay(&mut self, sql: &str) -> Duration {
        // the settings of a session come at once
        if sql.starts_with("SET ") || sql.starts_with("SELECT pg_catalog.set_config('search_path'") {
            return Duration::ZERO;
        }
        let long = if sql == "COMMIT" || sql.starts_with("COPY (") { 12 } else { 3 };
        let most = if self.rng.percent(long) { 40 * self.slowness } else { self.slowness };
        if self.rng.percent(30) { Duration::ZERO } else { Duration::from_millis(self.rng.below(most + 1)) }
    }

    /// With TRACE set.
    pub fn tell(&self, what: &str) {
        if super::traces() {
            let at = tokio::time::Instant::now() - self.begun;
            eprintln!("{:9.3} {what}", at.as_secs_f64());
        }
    }

    pub fn fail(&mut self, what: impl Into<String>) {
        if self.failure.is_none() {
            self.failure = Some(what.into());
        }
    }

    /// How late a commit is visible: mostly at once.
    pub fn lateness(&mut self) -> Duration {
        match self.rng.below(100) {
            0..70 => Duration::ZERO,
            70..90 => Duration::from_millis(self.rng.below(20)),
            90..98 => Duration::from_millis(self.rng.below(400)),
            _ => Duration::from_millis(self.rng.below(9000)),
        }
    }

    /// How far the target says it is, and whether its rows are of one moment there.
    fn standing(&self) -> (u64, bool) {
        let checkpoint = match self.target.committed.get(&Key::Checkpoint(String::new(), 0)) {
            Some(Val::Checkpoint(found)) => found.end.unwrap_or(0),
            _ => 0,
        };
        let quiet = self.target.committed.iter().all(|(key, value)| match (key, value) {
            (Key::State(_), Val::State(state)) => {
                state.state == "follow" && state.lacks.is_none() && state.window.is_none_or(|window| window <= checkpoint)
            }
            (Key::Reread(..), _) => false,
            _ => true,
        });
        (checkpoint, quiet)
    }

    /// After each commit of the target: where nothing is open, it is the source at the checkpoint.
    pub fn committed(&mut self) {
        self.seen.commits += 1;
        self.seen.rereads += self.target.committed.keys().filter(|key| matches!(key, Key::Reread(..))).count() as u64;
        let repeats =
            |table| matches!(self.target.committed.get(&Key::State(table)), Some(Val::State(state)) if state.state == "copy");
        self.tampered = self.tampered.filter(|&table| repeats(table));
        if self.log.is_kafka() {
            if let Err(failure) = self.keeps_promises() {
                self.fail(failure);
            }
            return;
        }
        let (end, quiet) = self.standing();
        if !quiet || self.failure.is_some() {
            return;
        }
        self.seen.consistent += 1;
        let empty = Fold::new();
        let wanted = self.source.commits.iter().rev().find(|commit| commit.end <= end).map_or(&empty, |commit| &commit.fold);
        let found = self.target.fold();
        if found != *wanted {
            let what = difference(wanted, &found);
            self.fail(format!("the target is not the source at {}: {what}", Lsn(end)));
        }
    }

    pub fn suffers(&mut self, blow: Blow) {
        match blow {
            Blow::Source => self.source.restart(),
            Blow::Target => self.target.restart(),
            Blow::Resync => self.resync(false),
            Blow::Tamper => self.resync(true),
            Blow::Rows => self.resync_rows(),
            Blow::Bar => {
                let until = tokio::time::Instant::now() + Duration::from_secs(*self.rng.pick(&[2, 10, 40, 70]));
                self.target.barred = Some((self.rng.index(SHAPES.len()), until));
            }
        }
    }

    /// `resync --table`, perhaps after somebody has written where only we should.
    fn resync(&mut self, tamper: bool) {
        let table = self.rng.index(SHAPES.len() - 1);
        let mut tx = self.target.begin();
        if self.ask(&mut tx, table, tamper).is_err() {
            // what is held by others, or being copied, is left alone
            self.target.release(tx.id);
            return;
        }
        self.tampered = tamper.then_some(table).or(self.tampered);
        self.target.commit(tx);
        self.tell(&format!("==== resync of {}, tampered: {tamper}", SHAPES[table].name));
        self.committed();
    }

    /// `resync --key`, of some keys, which the source may have or not.
    fn resync_rows(&mut self) {
        let table = self.rng.index(SHAPES.len() - 1);
        let width = SHAPES[table].key.len();
        let mut tx = self.target.begin();
        for _ in 0..1 + self.rng.below(4) {
            let range = if width > 1 { 4 } else { 12 };
            let key = (0..width).map(|_| self.rng.below(range).to_string()).collect();
            let id = i64::try_from(self.target.serial()).expect("few");
            let reread = Reread { id, tries: 0, asked: tokio::time::Instant::now() };
            if self.target.put(&mut tx, Key::Reread(table, key), Some(Val::Reread(reread))).is_err() {
                self.target.release(tx.id);
                return;
            }
        }
        self.target.commit(tx);
        self.tell("==== resync of rows");
    }

    fn ask(&mut self, tx: &mut Tx, table: usize, tamper: bool) -> Result<(), Stop> {
        let key = Key::State(table);
        self.target.lock(tx, &key)?;
        let Some(Val::State(state)) = self.target.get(tx, &key).filter(|_| self.tampered.is_none()) else {
            return Err(Stop::Wait);
        };
        if state.state != "follow" || state.lacks.is_some() {
            return Err(Stop::Wait);
        }
        if tamper {
            // before its first copy begins, rows that are there are somebody's, and stay
            let begun = |(key, value): (&Key, &Val)| match (key, value) {
                (Key::Checkpoint(topic, _), Val::Checkpoint(found)) => {
                    topic.ends_with(&format!(".{}", SHAPES[table].name)) && found.capture_epoch > 0
                }
                _ => false,
            };
            if self.log.is_kafka() && !self.target.committed.iter().any(begun) {
                return Err(Stop::Wait);
            }
            for (key, mut row) in self.target.rows(tx, table) {
                match self.rng.below(4) {
                    0 => drop(self.target.remove(tx, table, &key)?),
                    1 => {
                        *row.last_mut().expect("it has columns") = Some("tampered".to_owned());
                        self.target.change(tx, table, &key, &row)?;
                    }
                    _ => {}
                }
            }
            let mut row: Cells = vec![None; SHAPES[table].columns.len()];
            for &column in SHAPES[table].key {
                row[column] = Some(format!("t{}", self.rng.below(3)));
            }
            self.target.add(tx, table, &row, true)?;
        }
        let state = State { state: "copy".to_owned(), repeats: true, ..state };
        self.target.put(tx, key, Some(Val::State(state)))?;
        let source = &self.source.tables[table];
        let part = Part { relation: super::stream::oid(table), file: source.file, blocks: source.blocks, bytes: 0 };
        for (nth, range) in (1..).zip(crate::chunk::plan(&[part])) {
            let text = serde_json::to_string(&range).expect("plain data");
            let range = Range { text, done: false, rows: 0, bytes: 0 };
            self.target.put(tx, Key::Range(table, nth), Some(Val::Range(range)))?;
        }
        Ok(())
    }

    /// What halted a table is cured, and waits for a person's word.
    pub fn goes_on_when_asked(&mut self) -> bool {
        let halted = |(_, value): (&Key, &Val)| matches!(value, Val::State(state) if state.halted.is_some());
        let cured = self.target.barred.is_some_and(|(_, until)| until <= tokio::time::Instant::now());
        let asked = cured && self.target.committed.iter().any(halted);
        if asked {
            self.target.barred = None;
        }
        asked
    }

    /// The target holds all of it.
    pub fn is_there(&self) -> bool {
        let (end, quiet) = self.standing();
        quiet && self.source.commits.last().is_none_or(|commit| commit.end <= end)
    }

    /// The same, through Kafka.
    pub fn has_come(&self) -> bool {
        let last = self.source.commits.last().map_or(0, |commit| commit.end);
        self.held().is_some_and(|end| end >= last && !self.is_open_at(end))
    }

    /// What stands still, for people.
    pub fn lacks(&self) -> String {
        let end = if self.log.is_kafka() { self.held().unwrap_or(0) } else { self.standing().0 };
        let open = self.target.committed.iter().filter(|(key, _)| {
            matches!(
                key,
                Key::State(_) | Key::Reread(..) | Key::Range(..) | Key::Barrier(..) | Key::Watermark | Key::Checkpoint(..)
            )
        });
        let open: Vec<String> = open.map(|(key, value)| format!("{key:?}: {value:?}")).collect();
        let last = self.source.commits.last().map_or(0, |commit| commit.end);
        format!("at {} of {}\n  {}", Lsn(end), Lsn(last), open.join("\n  "))
    }

    /// What `prepare` leaves behind: the slot, and tables that are new. The one without a key was empty.
    pub fn prepared(&mut self) {
        let slot = self.source.wal;
        (self.source.confirmed, self.source.confirmed_on_disk) = (slot, slot);
        let position = Position::start_of(INCARNATION, CommitLsn(EndLsn(Lsn(slot)).0)).to_string();
        if !self.log.is_kafka() {
            let checkpoint = super::target::Checkpoint { position: Some(position), end: Some(slot), ..Default::default() };
            self.target.committed.insert(Key::Checkpoint(String::new(), 0), Val::Checkpoint(checkpoint));
        } else {
            self.prepared_log();
        }
        for (number, shape) in SHAPES.iter().enumerate() {
            let state = if shape.key.is_empty() { "follow" } else { "new" };
            let state = super::target::State { state: state.to_owned(), ..Default::default() };
            self.target.committed.insert(Key::State(number), Val::State(state));
        }
    }
}

/// A few rows that only one side has.
fn difference(wanted: &Fold, found: &Fold) -> String {
    let only = |one: &Fold, other: &Fold| {
        let rows = one.iter().filter(|(row, count)| other.get(*row) != Some(count));
        rows.take(3)
            .map(|((table, row), count)| format!("{} {row:?} x{count}", SHAPES[*table].name))
            .collect::<Vec<_>>()
            .join("; ")
    };
    format!("the source has [{}], the target [{}]", only(wanted, found), only(found, wanted))
}
