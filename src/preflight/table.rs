//! The entries of the connector file against what the databases have.

use super::survey::Source;
use super::{Survey, listed};
use crate::catalog::{Leaf, LeftOut, Relation};
use crate::change::{ReplicaIdentity, TableName};
use crate::config::written;
use crate::finding::Finding;
use crate::mapping::{Ignore, Kind, Rule, SourceShape};
use crate::pg::quote;
use std::collections::{BTreeMap, BTreeSet};

/// Entries against each other: no target table of two patterns, and no table onto itself.
pub(super) fn entries(survey: &Survey<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if survey.rules.is_empty() && survey.source.is_some() {
        let what = "the connector file names no table that is there";
        findings.push(Finding::error("table.none", "source", what).config("[[table]]\nsource = \"schema.table\""));
    }
    let mut by_target: BTreeMap<&TableName, Vec<&TableName>> = BTreeMap::new();
    for rule in &survey.rules {
        by_target.entry(&rule.target).or_default().push(&rule.source);
    }
    for (target, sources) in by_target.into_iter().filter(|(_, sources)| sources.len() > 1) {
        let sources: Vec<String> = sources.iter().map(|name| format!("`{name}`")).collect();
        let what = format!("{} entries write to this table: of {}", sources.len(), sources.join(", "));
        let hint =
            "give all but one another `target`; or each an entry of its own, with a constant of its own in the target's key";
        findings.push(Finding::error("table.target_twice", target.to_string(), what).hint(hint));
    }
    findings.extend(onto_itself(survey));
    findings
}

fn onto_itself(survey: &Survey<'_>) -> Vec<Finding> {
    let (Some(source), Some(target)) = (&survey.source, &survey.target) else { return Vec::new() };
    let (from, to) = (&source.server, &target.server);
    if (&from.system_id, &from.database) != (&to.system_id, &to.database) {
        return Vec::new();
    }
    let same = survey.rules.iter().filter(|rule| &rule.source == rule.table());
    same.map(|rule| {
        let what = "source and target are the same database, and this the same table";
        Finding::error("table.same", rule.source.to_string(), what)
            .hint("correct one of the urls, or give the entry another `target`")
    })
    .collect()
}

/// Source tables: there, in the WAL, and telling enough of their old rows.
pub(super) fn sources(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(source) = &survey.source else { return Vec::new() };
    let mut findings = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for rule in survey.rules.iter().filter(|rule| seen.insert(&rule.source)) {
        findings.extend(unusable(source, &rule.source));
        let root = root_of(source, &rule.source);
        if let Some(root) = root.filter(|root| survey.rules.iter().any(|other| &other.source == *root)) {
            findings.push(partition_twice(&rule.source, root));
        }
    }
    for (schema, table) in survey.connector.patterns.iter().flat_map(|pattern| &pattern.exclude) {
        if !source.relations.iter().any(|found| schema.matches(&found.name.schema) && table.matches(&found.name.name)) {
            let what = format!("`exclude` names `{schema}.{table}`, and the source has nothing of that name");
            findings.push(Finding::note("table.exclude_unknown", "source", what));
        }
    }
    for (name, heirs) in &source.heirs {
        let named = |heir: &&TableName| !survey.rules.iter().any(|rule| &rule.source == *heir);
        findings.extend(inherited(name, &heirs.iter().filter(named).collect::<Vec<_>>(), &source.mute));
    }
    for one in &survey.compiled {
        let Some(shape) = &one.source else { continue };
        let leaves = source.leaves.get(&shape.name).map(Vec::as_slice).unwrap_or_default();
        findings.extend(unfit_leaves(shape, leaves, one.rule.insert_only));
        findings.extend(unreadable(shape, leaves, &source.server.role));
        findings.extend(traceless(shape, leaves, one.plan.as_ref().is_ok_and(|plan| plan.kind != Kind::Keyed)));
        findings.extend(ignored_unknown(&one.rule, shape));
        if one.plan.as_ref().is_ok_and(|plan| plan.kind == Kind::Keyless) {
            let what = "it has no key: each update and delete looks through the whole target table, and equal rows are one as good as another";
            let hint = "give it a primary key, or a unique index over NOT NULL columns and REPLICA IDENTITY USING INDEX";
            findings.push(Finding::warning("table.keyless", shape.name.to_string(), what).hint(hint));
        }
    }
    findings
}

/// Two entries would take the same changes.
pub fn partition_twice(table: &TableName, root: &TableName) -> Finding {
    let what = format!("it is a partition of `{root}`, which has an entry too and takes its changes");
    Finding::error("table.partition_twice", table.to_string(), what).hint("remove one of the two entries")
}

/// A slip of the pen would let a column through that nobody wanted to see there.
fn ignored_unknown(rule: &Rule, shape: &SourceShape) -> Option<Finding> {
    let Ignore::Columns(names) = &rule.ignore else { return None };
    let is_there = |name: &&String| shape.columns.iter().any(|column| &column.name == *name);
    let unknown: Vec<&str> = names.iter().filter(|name| !is_there(name)).map(String::as_str).collect();
    if unknown.is_empty() {
        return None;
    }
    let what = format!("`ignore` names `{}`, and it has no such column", unknown.join("`, `"));
    Some(Finding::note("table.ignore_unknown", shape.name.to_string(), what))
}

fn root_of<'a>(source: &'a Source, name: &TableName) -> Option<&'a TableName> {
    let relation = source.relations.iter().find(|relation| &relation.name == name)?;
    match &relation.left_out {
        Some(LeftOut::Partition { root }) => Some(root),
        _ => None,
    }
}

fn unusable(source: &Source, name: &TableName) -> Option<Finding> {
    let Some(relation) = source.relations.iter().find(|relation| &relation.name == name) else {
        return Some(missing(&source.relations, name));
    };
    let error = |code, reason: &LeftOut| Finding::error(code, name.to_string(), format!("it {reason}"));
    match &relation.left_out {
        None | Some(LeftOut::Extension(_) | LeftOut::Partition { .. }) => None,
        Some(reason @ LeftOut::Unlogged) => {
            Some(error("table.unlogged", reason).sql(format!("ALTER TABLE {} SET LOGGED;", quote::table(name))))
        }
        Some(reason @ (LeftOut::System | LeftOut::Ours | LeftOut::Temporary)) => {
            Some(error("table.not_carried", reason).hint("remove its entry"))
        }
        Some(reason @ LeftOut::Kind(_)) => {
            Some(error("table.not_a_table", reason).hint("only ordinary and partitioned tables have changes in the WAL"))
        }
    }
}

/// Not there; is it there by nearly that name?
fn missing(relations: &[Relation], name: &TableName) -> Finding {
    let finding = Finding::error(super::MISSING, name.to_string(), "the source has no such table");
    let alike = |relation: &&Relation| {
        let found = &relation.name;
        let same_name = found.name.to_lowercase() == name.name.to_lowercase();
        relation.left_out.is_none()
            && same_name
            && (found.schema.to_lowercase() == name.schema.to_lowercase() || found.name == name.name)
    };
    match relations.iter().find(alike) {
        Some(found) => finding.config(format!("source = '{}'", written(&found.name))),
        None => finding.hint("correct `source` in its entry; names are folded to lower case unless quoted, as in psql"),
    }
}

/// A parent whose children (`INHERITS`) have no entry of their own: the copy reads ONLY the parent, and the stream tells of each
/// table by itself.
fn inherited(name: &TableName, heirs: &[&TableName], mute: &BTreeSet<TableName>) -> Option<Finding> {
    if heirs.is_empty() {
        return None;
    }
    let what = format!(
        "{} inherit from it: a SELECT from it shows their rows, and neither its copy nor its stream has them",
        listed(heirs)
    );
    let entry = |heir: &&TableName| {
        let first = if mute.contains(*heir) { "# once it has a key: none is inherited\n" } else { "" };
        format!("{first}[[table]]\nsource = '{}'", written(heir))
    };
    let entries: Vec<String> = heirs.iter().map(entry).collect();
    Some(Finding::warning("table.inherited", name.to_string(), what).config(entries.join("\n")))
}

/// The copy reads partition by partition, and what is granted on the root is not granted on them.
fn unreadable(root: &SourceShape, leaves: &[Leaf], role: &str) -> Option<Finding> {
    let mine: Vec<String> = leaves.iter().filter(|leaf| !leaf.select).map(|leaf| quote::table(&leaf.name)).collect();
    let first = mine.first()?;
    let what = match mine.len() {
        1 => format!("its partition {first} may not be read by `{role}`, and the copy reads partition by partition"),
        count => format!(
            "{first} and {} more of its partitions may not be read by `{role}`, and the copy reads them one by one",
            count - 1
        ),
    };
    let sql = format!("GRANT SELECT ON {} TO {};", mine.join(", "), quote::ident(role));
    Some(Finding::error("table.partition_select", root.name.to_string(), what).sql(sql))
}

/// Leaves that cannot be followed.
pub fn unfit_leaves(root: &SourceShape, leaves: &[Leaf], insert_only: bool) -> Vec<Finding> {
    leaves.iter().filter_map(|leaf| unfit_leaf(root, leaf, insert_only)).collect()
}

/// A leaf whose rows are not in the WAL, or whose old rows are told otherwise than the root's.
fn unfit_leaf(root: &SourceShape, leaf: &Leaf, insert_only: bool) -> Option<Finding> {
    let subject = leaf.name.to_string();
    let table = quote::table(&leaf.name);
    if leaf.kind == 'f' {
        let what = format!("this partition of `{}` is a foreign table: its changes are in no WAL of the source", root.name);
        let sql = format!("ALTER TABLE {} DETACH PARTITION {table};", quote::table(&root.name));
        return Some(Finding::error("table.partition_foreign", subject, what).sql(sql));
    }
    if leaf.unlogged {
        let what = format!("this partition of `{}` is unlogged: its changes are not in the WAL", root.name);
        return Some(Finding::error("table.partition_unlogged", subject, what).sql(format!("ALTER TABLE {table} SET LOGGED;")));
    }
    if insert_only || leaf.identity == 'f' {
        return None;
    }
    let mut wanted = root.identity_columns.clone();
    wanted.sort();
    let full = root.identity == ReplicaIdentity::Full;
    if !full && (leaf.identity_columns == wanted || wanted.is_empty()) {
        return None;
    }
    let what = format!(
        "this partition's replica identity is not that of `{}`, and an update tells what the partition's says",
        root.name
    );
    let sql = match (full, root.identity) {
        (false, ReplicaIdentity::Default) => format!("ALTER TABLE {table} REPLICA IDENTITY DEFAULT;"),
        _ => format!("ALTER TABLE {table} REPLICA IDENTITY FULL;"),
    };
    Some(Finding::error("table.partition_identity", subject, what).sql(sql))
}

/// What is done to a partition as a whole is not in the stream of its root (PostgreSQL's manual, CREATE PUBLICATION,
/// `publish_via_partition_root`).
fn traceless(shape: &SourceShape, leaves: &[Leaf], keyless: bool) -> Option<Finding> {
    let first = leaves.first()?;
    if keyless {
        let what = "TRUNCATE, DETACH, DROP and ATTACH of one of its partitions leave no trace in the stream, and without a key its rows cannot be held against the source's: they are found in the catalog within seconds, and halt it";
        let hint = format!("give it a key; or each partition, such as `{}`, an entry of its own", first.name);
        return Some(Finding::warning("table.partitioned", shape.name.to_string(), what).hint(hint));
    }
    let what = "TRUNCATE, DETACH, DROP and ATTACH of one of its partitions leave no trace in the stream: they are found in the catalog within seconds, and then its rows are read, or removed";
    let hint = format!(
        "until then the target has (or lacks) those rows; give each partition, such as `{}`, an entry of its own, and its TRUNCATE is carried with the stream",
        first.name
    );
    Some(Finding::note("table.partitioned", shape.name.to_string(), what).hint(hint))
}

/// A target table that another connector fills.
pub fn owned(name: &TableName, owner: &str) -> Finding {
    let what = format!("the connector `{owner}` writes to this table");
    let hint = "give one of them another `target`, or drop the other connector";
    Finding::error("table.owned", name.to_string(), what).hint(hint)
}

/// Target tables: nobody else's, and empty where we are to fill them.
pub(super) fn targets(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(target) = &survey.target else { return Vec::new() };
    let mut findings = Vec::new();
    for (name, owner) in &target.others {
        findings.push(owned(name, owner));
    }
    for name in target.filled.difference(&target.recorded).filter(|name| !target.others.contains_key(name)) {
        let what = "it is not empty: the rows that it holds would mix with those of the copy";
        let hint =
            format!("empty it: TRUNCATE {}; or, if they are the source's own, `tablelift run --no-copy`", quote::table(name));
        findings.push(Finding::error("table.target_not_empty", name.to_string(), what).hint(hint));
    }
    findings
}
