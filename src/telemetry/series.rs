//! The metrics by name: handles for hot paths, looked up once. The names and labels are an interface.

use super::Stage;
use crate::change::{Op, TableName};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::sync::OnceLock;

pub(super) const LAG: &str = "tablelift_lag_seconds";
pub(super) const BATCH_ROWS: &str = "tablelift_batch_rows";
pub(super) const TARGET_COMMIT: &str = "tablelift_target_commit_seconds";

/// What they mean; also the list of all that there is.
pub(super) fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_histogram!(LAG, "From the source's commit to the end of the stage, by source transaction");
    describe_gauge!(
        "tablelift_lag_now_seconds",
        "Age of the oldest known transaction that is not yet in the target; while no stream is read, at least the time since then"
    );
    describe_counter!("tablelift_changes_total", "Changes of a target table that reached the end of the stage");
    describe_counter!("tablelift_rows_copied_total", "Rows of copies that were read and sent");
    describe_counter!("tablelift_bytes_copied_total", "Bytes of copies that were read and sent, as the source sent them");
    describe_gauge!(
        "tablelift_copy_ratio",
        "How much of the table is copied, by what lies in the source's files; NaN: not known"
    );
    describe_gauge!("tablelift_copy_eta_seconds", "Until all copies are done; 0: they are; NaN: not known");
    describe_gauge!(
        "tablelift_after_load_open",
        "Indexes, constraints and the like that are still to be built on tables that we made"
    );
    describe_counter!("tablelift_retries_total", "What was tried again");
    describe_gauge!("tablelift_halted", "Tables that stand still");
    describe_gauge!("tablelift_rereads_open", "Rows that wait to be read again from the source");
    describe_gauge!("tablelift_consistent", "1: the target equals the source at one commit");
    describe_gauge!("tablelift_slot_retained_bytes", "WAL that the source keeps because of our slot");
    describe_gauge!("tablelift_slot_safe_bytes", "WAL that may be written until the slot is lost; +Inf: no limit is set");
    describe_histogram!(BATCH_ROWS, "Changes in a target transaction");
    describe_histogram!(TARGET_COMMIT, "Time that the target took for a commit");
    describe_gauge!("tablelift_up", "1: the daemon reads the source's stream");
}

fn op_label(op: Op) -> &'static str {
    match op {
        Op::Read => "read",
        Op::Insert => "insert",
        Op::Update => "update",
        Op::Delete => "delete",
        Op::Truncate => "truncate",
    }
}

/// One connector's histograms.
pub(super) struct Series {
    /// By stage.
    pub lag: [Histogram; 4],
    pub batch_rows: Histogram,
    pub target_commit: Histogram,
}

impl std::fmt::Debug for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Series")
    }
}

impl Series {
    pub fn new(connector: &str) -> Self {
        let connector = connector.to_owned();
        let lag = Stage::ALL.map(|stage| histogram!(LAG, "connector" => connector.clone(), "stage" => stage.label()));
        let batch_rows = histogram!(BATCH_ROWS, "connector" => connector.clone());
        Self { lag, batch_rows, target_commit: histogram!(TARGET_COMMIT, "connector" => connector) }
    }
}

/// One table's counters. The label `table` is the target table: no other entry has it.
pub(super) struct Table {
    pub rows_copied: Counter,
    pub bytes_copied: Counter,
    /// By stage and operation; made when first counted, for most tables see few of them.
    changes: [[OnceLock<Counter>; 5]; 4],
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Table")
    }
}

impl Table {
    pub fn new(connector: &str, table: &TableName) -> Self {
        let counter = |name: &'static str| counter!(name, "connector" => connector.to_owned(), "table" => table.to_string());
        Self {
            rows_copied: counter("tablelift_rows_copied_total"),
            bytes_copied: counter("tablelift_bytes_copied_total"),
            changes: Default::default(),
        }
    }

    pub fn changes(&self, connector: &str, table: &TableName, stage: Stage, op: Op) -> &Counter {
        self.changes[stage as usize][op as usize].get_or_init(|| {
            counter!("tablelift_changes_total", "connector" => connector.to_owned(), "table" => table.to_string(),
                     "stage" => stage.label(), "op" => op_label(op))
        })
    }
}

/// Counts that something is tried again.
pub fn retried(connector: &str, reason: &'static str) {
    counter!("tablelift_retries_total", "connector" => connector.to_owned(), "reason" => reason).increment(1);
}

/// How one connector stands.
pub struct Vitals {
    pub up: Gauge,
    pub halted: Gauge,
    pub consistent: Gauge,
    pub rereads_open: Gauge,
    pub slot_retained_bytes: Gauge,
    pub slot_safe_bytes: Gauge,
    pub lag_now_seconds: Gauge,
    pub copy_eta_seconds: Gauge,
    pub after_load_open: Gauge,
    connector: String,
}

impl Vitals {
    pub fn new(connector: &str) -> Self {
        let gauge = |name: &'static str| gauge!(name, "connector" => connector.to_owned());
        Self {
            up: gauge("tablelift_up"),
            halted: gauge("tablelift_halted"),
            consistent: gauge("tablelift_consistent"),
            rereads_open: gauge("tablelift_rereads_open"),
            slot_retained_bytes: gauge("tablelift_slot_retained_bytes"),
            slot_safe_bytes: gauge("tablelift_slot_safe_bytes"),
            lag_now_seconds: gauge("tablelift_lag_now_seconds"),
            copy_eta_seconds: gauge("tablelift_copy_eta_seconds"),
            after_load_open: gauge("tablelift_after_load_open"),
            connector: connector.to_owned(),
        }
    }

    /// Of one target table.
    pub fn copy_ratio(&self, table: &str) -> Gauge {
        gauge!("tablelift_copy_ratio", "connector" => self.connector.clone(), "table" => table.to_owned())
    }
}
