//! What a plan cannot know of a column that it has no place for: what was recorded when the table was copied tells whether it only has another
//! name now, or values that are not in the stream.

use super::Structure;
use super::look::Found;
use crate::finding::Finding;
use crate::mapping::Rule;
use crate::pg::quote;

/// In the way where a column has another name: what adding one would cure.
const OF_A_NAME: [&str; 3] = ["table.column_unused", "table.not_null_unmapped", "table.key_unmapped"];

/// Puts the cure into the findings that keep a table from its plan.
pub(super) fn tell(findings: &mut Vec<Finding>, rule: &Rule, recorded: &Structure, (from, into): (&Found, &Found)) {
    if !findings.iter().any(|finding| OF_A_NAME.contains(&finding.code)) {
        return;
    }
    let renamed = renamed(rule, recorded, from, into);
    if renamed.is_empty() {
        findings.extend(filled(rule, recorded, from));
    } else {
        // what is left of them, a new look tells
        findings.retain(|finding| !OF_A_NAME.contains(&finding.code));
        findings.splice(0..0, renamed);
    }
}

fn renamed(rule: &Rule, recorded: &Structure, from: &Found, into: &Found) -> Vec<Finding> {
    let table = quote::table(rule.table());
    let gone = recorded.inputs.iter().filter(|(name, _)| !from.columns.contains_key(*name) && into.columns.contains_key(*name));
    gone.filter_map(|(was, column)| {
        let (is, _) = from.columns.iter().find(|(is, now)| now.number == column.number && !into.columns.contains_key(*is))?;
        let what = format!("column `{was}` is called `{is}` now, and in the target it is not");
        let sql = format!("ALTER TABLE {table} RENAME COLUMN {} TO {};", quote::ident(was), quote::ident(is));
        Some(Finding::error("table.column_renamed", rule.source.to_string(), what).sql(sql))
    })
    .collect()
}

/// New columns with a default: the rows that were there have it, and no event says so.
fn filled(rule: &Rule, recorded: &Structure, from: &Found) -> Option<Finding> {
    let new = from.columns.iter().filter(|(name, column)| {
        !recorded.past.knew(column.number) && !recorded.inputs.contains_key(*name) && !recorded.passed_over.has(name)
    });
    let names: Vec<&str> = new.map(|(name, _)| name.as_str()).filter(|name| !from.bare.contains(*name)).collect();
    if names.is_empty() {
        return None;
    }
    let what = format!("column `{}` has a default, which rows that were there got without an event", names.join("`, `"));
    let hint = "once it has its place in the target, copy the table again (deploy/runbooks/copy-a-table-again.md)";
    Some(Finding::error("table.column_filled", rule.source.to_string(), what).hint(hint))
}
