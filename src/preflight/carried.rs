//! What is not carried: said once, so that nobody finds out on the day of the switch.

use super::{Survey, listed};
use crate::change::TableName;
use crate::finding::Finding;
use std::collections::BTreeSet;

pub(super) fn left_behind(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(source) = &survey.source else { return Vec::new() };
    let found = &source.inventory;
    let mut findings = Vec::new();
    if !found.sequences.is_empty() {
        let names: BTreeSet<&TableName> = found.sequences.iter().map(|sequence| &sequence.name).collect();
        let what = format!("the values of sequences are not carried: {}", listed(&Vec::from_iter(names)));
        let hint = "advance the target's own before anything else writes there; `tablelift plan` prints the `setval`s";
        findings.push(Finding::note("source.sequences", "source", what).hint(hint));
    }
    if found.large_objects > 0 {
        let what = format!(
            "{} large objects are not carried: a column of type `oid` or `lo` holds only their numbers",
            found.large_objects
        );
        findings.push(
            Finding::warning("source.large_objects", "source", what).hint("move them by other means, or into a bytea column"),
        );
    }
    let counts = [
        (found.views, "view"),
        (found.materialized_views, "materialized view"),
        (found.functions, "function"),
        (found.triggers, "trigger"),
        (found.rules, "rule"),
        (found.policies, "row-level security policy"),
        (found.statistics, "statistics object"),
        (found.roles, "login role"),
    ];
    let counts: Vec<String> = counts.iter().filter(|(count, _)| *count > 0).map(|&(count, name)| several(count, name)).collect();
    if !counts.is_empty() {
        let what = format!("not carried, for only rows are: {}; nor grants, comments and settings", counts.join(", "));
        findings.push(Finding::note("source.not_carried", "source", what));
    }
    let partitions: usize = source.leaves.values().map(Vec::len).sum();
    if partitions > 0 {
        let what = format!(
            "{} of partitioned tables: their rows arrive under the partitioned table's name",
            several(i64::try_from(partitions).unwrap_or(i64::MAX), "partition")
        );
        findings.push(Finding::note("source.partitions", "source", what));
    }
    findings.extend(generated(survey));
    findings
}

fn several(count: i64, name: &str) -> String {
    match name.strip_suffix('y') {
        _ if count == 1 => format!("1 {name}"),
        Some(stem) => format!("{count} {stem}ies"),
        None => format!("{count} {name}s"),
    }
}

/// Up to 17 the stream does not carry what a generated column holds; from 18 on it can (`publish_generated_columns`), and we leave it there: the
/// copy and the target's own expression say the same.
fn generated(survey: &Survey<'_>) -> Vec<Finding> {
    let shapes = survey.compiled.iter().filter_map(|one| one.source.as_ref());
    let mut findings = Vec::new();
    for shape in shapes {
        let names: Vec<String> =
            shape.columns.iter().filter(|column| column.generated.is_some()).map(|column| format!("`{}`", column.name)).collect();
        if !names.is_empty() {
            let what = format!("generated columns are not carried: {}; the target can generate its own", names.join(", "));
            findings.push(Finding::note("table.generated", shape.name.to_string(), what));
        }
    }
    findings
}
