//! Checks before start: all findings, never the first only; nothing is changed.
//!
//! First everything is looked at ([`Survey`], the only part with I/O), then each check reads that and says what is wrong. So a check
//! is a pure function, and all of them together cost each database a few queries.
//!
//! Promises: a finding has a stable code, and a remedy that can be run or written as it stands. What must be tried (a statement, a
//! table to be made, a setting) is tried in a transaction that is rolled back; the right to replicate by opening a replication
//! connection. `source.*` and `publication.*` are cured on the source, `target.*` and `table.target_*` on the target.
//! Will not: make anything, nor decide whether to go on. (`propose` drafts a connector file that these checks let through, for `init`.)
//!
//! To add a check: a function `fn(&Survey) -> Vec<Finding>` in its theme's file, a line in `CHECKS`; if it needs a fact that is
//! not there, a field in `survey` and its query in `catalog`; a test that breaks it in `tests/it/preflight.rs`.

mod access;
mod broker;
mod carried;
mod log;
mod missing;
mod plan;
mod pooler;
mod propose;
mod publication;
mod room;
mod rules;
mod sample;
mod session;
mod shared;
mod source;
mod statement;
mod survey;
mod table;
mod target;
mod transaction;

pub use access::unreadable;
pub use broker::{Broker, needs_one_partition, partitions};
pub use log::spread;
pub use missing::design_missing;
pub use plan::{Object, Plan, PlannedStatement, PlannedTable, plan};
pub use propose::{NoProposal, Proposal, propose};
pub use publication::not_alterable;
pub use rules::{Compiled, MISSING, OVERLAP, compile, expand, overlaps};
pub use sample::{Failure, Outcome, Sample, SampledRow, SampledTable, SampledValue, Values, sample};
pub use shared::mixed;
pub use survey::{Survey, survey};
pub use table::{owned, partition_twice, unfit_leaves};
pub use target::actions;

use crate::config::Connector;
use crate::finding::Finding;

/// Every check, in the order of reading: a later one often follows from an earlier one.
const CHECKS: [fn(&Survey<'_>) -> Vec<Finding>; 34] = [
    source::version,
    source::standby,
    source::identity,
    source::wal_level,
    source::right_to_replicate,
    source::slot,
    source::room,
    source::encoding,
    source::counts,
    transaction::open,
    room::sessions,
    target::version,
    target::standby,
    target::schema,
    target::temporary,
    target::triggers,
    target::origin,
    target::acting,
    target::unchecked,
    target::encoding,
    target::made,
    publication::ours,
    publication::theirs,
    access::source,
    access::target,
    table::entries,
    table::sources,
    log::settings,
    log::reachable,
    log::names,
    log::topics,
    log::one_partition,
    log::key_changes,
    carried::left_behind,
];

/// Looks at everything and returns all findings, those of a server before those of its tables.
pub async fn check(connector: &Connector) -> Vec<Finding> {
    Box::pin(survey(connector)).await.findings()
}

impl Survey<'_> {
    /// Everything that is wrong, and what came up while looking.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.seen.clone();
        findings.extend(CHECKS.iter().flat_map(|check| check(self)));
        findings.extend(table::targets(self));
        findings.extend(self.compiled.iter().filter_map(|one| one.plan.as_ref().err()).flatten().cloned());
        findings
    }
}

/// `a`, `b` and 3 more: what a person still reads.
fn listed(names: &[impl std::fmt::Display]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
