//! The metrics as Prometheus reads them.

use super::series::{BATCH_ROWS, LAG, TARGET_COMMIT, describe};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Seconds; fit for a p99 from 0.5 ms to hours.
const LAGS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
    30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0,
];
const COMMITS: &[f64] =
    &[0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
const ROWS: &[f64] = &[1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0, 20_000.0, 50_000.0];

/// Collects what this process counts from now on.
#[derive(Clone, Debug)]
pub struct Exporter(PrometheusHandle);

impl Exporter {
    /// Installs it, once in a process: what was counted before is lost, so before anything else.
    pub fn install() -> Option<Self> {
        let with = |builder: PrometheusBuilder, name: &str, buckets: &[f64]| {
            builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets).expect("no list of buckets is empty")
        };
        let builder = with(PrometheusBuilder::new(), LAG, LAGS);
        let builder = with(builder, TARGET_COMMIT, COMMITS);
        let recorder = with(builder, BATCH_ROWS, ROWS).build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).ok()?;
        describe();
        Some(Self(handle))
    }

    /// Prometheus' text form.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Sorts what histograms have gathered into their buckets. Call it about once a second: until then every value is kept.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}
