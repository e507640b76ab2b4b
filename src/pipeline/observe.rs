//! A daemon's look at itself, once a second: for its metrics, its progress line and whoever asks over HTTP.

use super::live::Live;
use super::report::Reporter;
use crate::status::{Phase, Status};
use crate::telemetry::{Exporter, Vitals};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};

const EVERY: Duration = Duration::from_secs(1);

/// Answers what the daemon knows of itself.
#[derive(Clone)]
pub struct Answer {
    live: Arc<Live>,
    reporter: Arc<Mutex<Reporter>>,
    vitals: Arc<Vitals>,
    exporter: Option<Exporter>,
}

impl Answer {
    pub fn new(live: Arc<Live>, exporter: Option<Exporter>) -> Self {
        let vitals = Arc::new(Vitals::new(&live.connector().name));
        Self { live, reporter: Arc::default(), vitals, exporter }
    }

    /// The status, now.
    pub async fn status(&self) -> Status {
        let mut status = self.reporter.lock().await.status(&self.live.connector(), true).await;
        self.live.fill(&mut status);
        status
    }

    /// All metrics, in Prometheus' text form.
    pub fn metrics(&self) -> String {
        self.show_lag();
        self.exporter.as_ref().map(Exporter::render).unwrap_or_default()
    }

    fn show_lag(&self) {
        if let Some(lag) = self.live.lag_now() {
            self.vitals.lag_now_seconds.set(lag.as_secs_f64());
        }
    }

    fn show(&self, status: &Status) {
        let vitals = &self.vitals;
        vitals.up.set(f64::from(u8::from(status.streaming == Some(true))));
        vitals.halted.set(f64::from(u32::try_from(status.halted()).unwrap_or(u32::MAX)));
        if let Some(consistent) = status.target.consistent {
            vitals.consistent.set(f64::from(u8::from(consistent)));
        }
        if let Some(rereads) = status.rereads {
            vitals.rereads_open.set(float(rereads.open));
        }
        if let Some(bytes) = status.source.retained_wal_bytes {
            vitals.slot_retained_bytes.set(float(bytes));
            vitals.slot_safe_bytes.set(status.source.safe_wal_bytes.map_or(f64::INFINITY, float));
        }
        self.show_copies(status);
        self.show_lag();
    }

    fn show_copies(&self, status: &Status) {
        let vitals = &self.vitals;
        for table in &status.tables {
            let percent = match &table.copy {
                Some(copy) => copy.pace.percent.unwrap_or(f64::NAN),
                None if table.state == Some(Phase::Follow) => 100.0,
                None => continue,
            };
            vitals.copy_ratio(&table.target).set(percent / 100.0);
        }
        let seconds = match status.copies {
            Some(_) => status.eta.copy_s.map_or(f64::NAN, float),
            None => 0.0,
        };
        vitals.copy_eta_seconds.set(seconds);
        vitals.after_load_open.set(float(status.tables.iter().flat_map(|table| &table.after_load).map(|left| left.open).sum()));
    }
}

/// One more or less does not matter beyond 2^53.
#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

/// Looks once a second, until the process ends.
pub struct Observer {
    pub answer: Answer,
    pub seen: watch::Sender<Status>,
}

impl Observer {
    pub async fn run(self) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Some(exporter) = &self.answer.exporter {
                exporter.upkeep();
            }
            let status = self.answer.status().await;
            self.answer.live.note(&status);
            self.answer.show(&status);
            self.seen.send_replace(status);
        }
    }
}
