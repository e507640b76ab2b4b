//! What a daemon knows of itself for as long as it lives, across the lives of the pipeline.

use super::board::{Board, Stream};
use super::headway::{self, Headways};
use super::trend::Trend;
use crate::config::Connector;
use crate::status::{Phase, Spread, Status};
use crate::telemetry::{Meter, Stage};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// One daemon.
pub struct Live {
    connector: Mutex<Arc<Connector>>,
    pub board: Arc<Board>,
    /// Apply's, or both halves'.
    meter: Mutex<Option<Arc<Meter>>>,
    /// Capture's own, where the log is Kafka.
    captures: Mutex<Option<Arc<Meter>>>,
    trend: Mutex<Trend>,
    headways: Mutex<Headways>,
    begun: Instant,
}

impl Live {
    pub fn new(connector: Arc<Connector>) -> Self {
        Self {
            connector: Mutex::new(connector),
            board: Arc::default(),
            meter: Mutex::default(),
            captures: Mutex::default(),
            trend: Mutex::default(),
            headways: Mutex::default(),
            begun: Instant::now(),
        }
    }

    pub fn connector(&self) -> Arc<Connector> {
        Arc::clone(&lock(&self.connector))
    }

    /// The connector file was read anew.
    pub fn reloaded(&self, connector: Arc<Connector>) {
        *lock(&self.connector) = connector;
    }

    /// A life of the pipeline begins to count.
    pub fn counts(&self, meter: Arc<Meter>) {
        renew(&self.meter, meter);
    }

    /// The same, of capture to Kafka.
    pub fn captures(&self, meter: Arc<Meter>) {
        renew(&self.captures, meter);
    }

    /// Age of the oldest known transaction that is not applied yet, or, where the stream is not read, the time since then if that is
    /// more: there may be transactions as old that we do not know of. `None`: nothing ran yet.
    pub fn lag_now(&self) -> Option<Duration> {
        let of = |meter: &Mutex<Option<Arc<Meter>>>| lock(meter).as_ref().map(|meter| meter.lag_now());
        let known = of(&self.meter).max(of(&self.captures))?;
        match self.board.stream() {
            Stream::NotYet => Some(known.max(self.begun.elapsed())),
            Stream::EndedAt(then) => Some(known.max(then.elapsed())),
            Stream::Read => Some(known),
        }
    }

    /// Notes where things stand, for rates. Call it about once a second.
    pub fn note(&self, status: &Status) {
        let second = self.begun.elapsed().as_secs();
        let place = (status.source.current_lsn, status.target.applied_end_lsn);
        lock(&self.trend).note(second, place, status.source.safe_wal_bytes);
    }

    /// Adds what the databases do not know.
    pub fn fill(&self, status: &mut Status) {
        status.streaming = Some(self.board.stream() == Stream::Read);
        let mut waiting = self.board.waiting();
        let halted = self.board.halted_tables();
        let (meter, captures) = (lock(&self.meter).clone(), lock(&self.captures).clone());
        for table in &mut status.tables {
            table.waiting_for = waiting.remove(&table.target).or(table.waiting_for.take());
            let found = halted.iter().find(|(name, _)| name.to_string() == table.target);
            if let Some((_, halted)) = found.filter(|_| table.state != Some(Phase::Halted)) {
                (table.state, table.copy) = (Some(Phase::Halted), None);
                table.halted_because = Some(halted.halted.because.clone());
                table.hint = Some(halted.halted.hint.clone());
            }
            let of_table = |meter: &&Arc<Meter>| meter.tables.iter().position(|count| count.target.to_string() == table.target);
            let found =
                |meter: &Option<Arc<Meter>>| meter.as_ref().and_then(|meter| Some((Arc::clone(meter), of_table(&meter)?)));
            let (counted, copying) = (found(&meter), found(&captures).or_else(|| found(&meter)));
            // a table that is copied whole is recorded at the end only
            let unrecorded = table.rows_copied == 0 && table.copy.is_some_and(|copy| copy.source_bytes_read.is_none());
            if let Some((meter, at)) = copying.filter(|_| unrecorded) {
                let count = &meter.tables[at];
                headway::copied_whole(table, count.rows_copied.load(Relaxed), count.bytes_copied.load(Relaxed));
            }
            let Some((meter, at)) = counted else { continue };
            let count = &meter.tables[at];
            table.inserts = Some(count.inserts.load(Relaxed));
            table.updates = Some(count.updates.load(Relaxed));
            table.deletes = Some(count.deletes.load(Relaxed));
            table.truncates = Some(count.truncates.load(Relaxed));
        }
        // the rest is nobody's in particular
        let rest: Vec<String> = waiting.into_values().collect();
        status.waiting_for = (!rest.is_empty()).then(|| rest.join("; "));
        let meters: Vec<&Meter> = captures.iter().chain(&meter).map(|meter| &**meter).collect();
        if !meters.is_empty() {
            let spread = |stage| meters.iter().find_map(|meter| spread(meter, stage)).unwrap_or_default();
            status.lag.end_to_end_ms =
                Spread { now: self.lag_now().map(|lag| millis(lag.as_micros())), ..spread(Stage::EndToEnd) };
            status.lag.capture_ms = spread(Stage::Capture);
            status.lag.log_ms = spread(Stage::Log);
            status.lag.apply_ms = spread(Stage::Apply);
        }
        let trend = lock(&self.trend);
        status.eta.caught_up_s = status.lag.wal_bytes.and_then(|bytes| trend.caught_up_in(bytes));
        status.eta.slot_invalidation_s = trend.lost_in();
        lock(&self.headways).note(self.begun.elapsed(), status);
    }
}

fn renew(slot: &Mutex<Option<Arc<Meter>>>, meter: Arc<Meter>) {
    let mut slot = lock(slot);
    if let Some(earlier) = slot.take() {
        meter.follow_on(&earlier);
    }
    *slot = Some(meter);
}

fn spread(meter: &Meter, stage: Stage) -> Option<Spread> {
    meter.spread(stage).map(|spread| Spread {
        p50: Some(millis(spread.p50.into())),
        p99: Some(millis(spread.p99.into())),
        max: Some(millis(spread.max.into())),
        now: None,
    })
}

/// Exact up to centuries.
#[allow(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
fn millis(micros: u128) -> f64 {
    micros as f64 / 1000.0
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds the lock")
}
