//! A connector file for two databases that somebody names: drafted, judged by the checks, and drafted again, until what is left is not
//! the file's to cure.
//!
//! So `init` knows nothing about tables by itself. What the checks have against one becomes a line of its entry where their remedy is
//! such a line, else the table is left out, with the reason and the remedy beside its name.

use super::{Survey, survey};
use crate::catalog::{LeftOut, Relation};
use crate::change::{ReplicaIdentity, TableName};
use crate::config::{ConfigErrors, Draft, DraftEntry, DraftPattern, DraftTable, GivenUrl, Named, Reason, Refusal, written_part};
use crate::finding::{Finding, Remedy};
use crate::mapping::{SourceShape, TargetShape};
use std::collections::BTreeMap;

/// What came of it.
pub struct Proposal {
    pub draft: Draft,
    /// What the checks say of it.
    pub findings: Vec<Finding>,
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum NoProposal {
    #[error("one of the databases could not be looked at")]
    Unseen(Vec<Finding>),
    #[error("the source has no table that `{0}` names")]
    NoTable(String),
    #[error("the source has no table that could be taken")]
    Empty,
    #[error("what was drafted cannot be read back")]
    Unreadable(#[from] ConfigErrors),
}

/// Each round cures something, or is the last; more than these no schema has needed.
const ROUNDS: usize = 12;
/// A right is granted, and the table comes along: that is told, and no reason to leave it out.
const GRANTS: [&str; 6] = [
    "table.source_right",
    "table.source_row_security",
    "table.partition_select",
    "table.target_right",
    "table.target_row_security",
    "table.target_not_makeable",
];

/// Drafts a file. `wanted`: the tables, all if there are none.
///
/// # Errors
/// See [`NoProposal`].
pub async fn propose(source: GivenUrl, target: GivenUrl, wanted: &[Named]) -> Result<Proposal, NoProposal> {
    let name = connector_name(&source.database);
    // takes no table: the first look is at what there is
    let (patterns, refused, apart) = (vec![pattern("tablelift.*")], Vec::new(), Vec::new());
    let mut draft =
        Draft { name, source, target, missing: 1, no_triggers_off: None, patterns, entries: Vec::new(), refused, apart };
    let mut arranged = false;
    for round in 0.. {
        let connector = draft.connector()?;
        let survey = Box::pin(survey(&connector)).await;
        let findings = survey.findings();
        let (Some(source), Some(_)) = (&survey.source, &survey.target) else { return Err(NoProposal::Unseen(findings)) };
        if !arranged {
            arrange(&mut draft, &source.relations, wanted)?;
            arranged = true;
            continue;
        }
        describe(&mut draft, &survey);
        let learned = learn(&mut draft, &survey, &findings);
        if !learned || round > ROUNDS {
            return Ok(Proposal { draft, findings });
        }
        if draft.entries.is_empty() && draft.patterns.iter().all(|pattern| pattern.source.is_empty()) {
            return Ok(Proposal { draft, findings });
        }
    }
    unreachable!("the last round returns")
}

fn pattern(source: &str) -> DraftPattern {
    DraftPattern { source: source.to_owned(), tables: Vec::new(), exclude: Vec::new() }
}

/// `[a-z0-9-]`, at most 40.
fn connector_name(database: &str) -> String {
    let dashed: String = database.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let parts: Vec<&str> = dashed.split('-').filter(|part| !part.is_empty()).collect();
    let name: String = parts.join("-").chars().take(36).collect();
    if name.is_empty() { "tablelift".to_owned() } else { name }
}

/// Another name, where the source has a slot of this one: `shop`, `shop-2`, `shop-3`.
fn next_name(name: &str) -> String {
    match name.rsplit_once('-').and_then(|(base, number)| Some((base, number.parse::<u32>().ok()?))) {
        Some((base, number)) => format!("{base}-{}", number + 1),
        None => format!("{name}-2"),
    }
}

/// One pattern for each schema, or the patterns and tables that were asked for.
fn arrange(draft: &mut Draft, relations: &[Relation], wanted: &[Named]) -> Result<(), NoProposal> {
    let takes = |relation: &&Relation| relation.left_out.is_none();
    draft.patterns.clear();
    if wanted.is_empty() {
        let mut schemas: Vec<&str> = relations.iter().filter(takes).map(|relation| relation.name.schema.as_str()).collect();
        schemas.dedup();
        draft.patterns = schemas.iter().map(|schema| pattern(&format!("{}.*", written_part(schema)))).collect();
    }
    for named in wanted {
        let found: Vec<&Relation> = relations.iter().filter(|relation| named.means(&relation.name)).collect();
        if found.iter().all(|relation| matches!(relation.left_out, Some(LeftOut::System | LeftOut::Ours))) {
            return Err(NoProposal::NoTable(named.to_string()));
        }
        match named.table() {
            // a partition may have an entry of its own
            Some(table) if found.iter().all(|one| matches!(one.left_out, None | Some(LeftOut::Partition { .. }))) => {
                draft.entries.push(DraftEntry { table: about(table), keys: Vec::new(), columns: Vec::new() });
            }
            Some(_) => {}
            None if found.iter().any(takes) => draft.patterns.push(pattern(&named.to_string())),
            None => {}
        }
    }
    draft.apart = apart(relations, wanted);
    if draft.patterns.is_empty() && draft.entries.is_empty() { Err(NoProposal::Empty) } else { Ok(()) }
}

fn about(name: TableName) -> DraftTable {
    DraftTable { name, about: String::new() }
}

/// What no pattern takes, by its reason.
fn apart(relations: &[Relation], wanted: &[Named]) -> Vec<(String, Vec<TableName>)> {
    let mut found: BTreeMap<String, Vec<TableName>> = BTreeMap::new();
    for relation in relations.iter().filter(|one| wanted.is_empty() || wanted.iter().any(|named| named.means(&one.name))) {
        match &relation.left_out {
            None | Some(LeftOut::System | LeftOut::Ours | LeftOut::Partition { .. }) => {}
            Some(reason) => found.entry(reason.to_string()).or_default().push(relation.name.clone()),
        }
    }
    found.into_iter().collect()
}

/// Takes over what the file can cure. Gives whether there was something.
fn learn(draft: &mut Draft, survey: &Survey<'_>, findings: &[Finding]) -> bool {
    let slot = survey.source.as_ref().is_some_and(|source| source.slot.is_some());
    if slot || survey.target.as_ref().is_some_and(|target| target.record.is_some()) {
        draft.name = next_name(&draft.name);
        return true;
    }
    let triggers = findings.iter().find(|finding| finding.code == "target.triggers");
    if let Some(finding) = triggers {
        draft.no_triggers_off = Some(finding.remedy_text().to_owned());
    }
    let mut learned = triggers.is_some();
    for (name, against) in by_table(survey, findings) {
        learned = true;
        let known =
            draft.entries.iter().any(|entry| entry.table.name == name && !(entry.keys.is_empty() && entry.columns.is_empty()));
        match against.iter().map(|finding| lines(finding)).collect::<Option<Vec<_>>>().filter(|_| !known) {
            Some(lines) => give_entry(draft, name, lines),
            None => refuse(draft, name, &against),
        }
    }
    learned
}

/// What is wrong with each table, of what is not a right to be granted.
fn by_table<'a>(survey: &Survey<'_>, findings: &'a [Finding]) -> BTreeMap<TableName, Vec<&'a Finding>> {
    let mut found: BTreeMap<TableName, Vec<&Finding>> = BTreeMap::new();
    let wrong = findings.iter().filter(|finding| finding.is_error() && finding.code.starts_with("table."));
    for finding in wrong.filter(|finding| !GRANTS.contains(&finding.code)) {
        if let Some(name) = table_of(survey, finding) {
            found.entry(name).or_default().push(finding);
        }
    }
    // what needs a type that a person has to make
    let lacking = findings.iter().filter(|finding| finding.code == "target.type_missing");
    for finding in lacking {
        for one in survey
            .compiled
            .iter()
            .filter(|one| one.design.as_ref().is_some_and(|design| design.columns.iter().any(|column| column.lacks.is_some())))
        {
            if finding.what.contains(&format!("`{}.", one.rule.target)) {
                found.entry(one.rule.source.clone()).or_default().push(finding);
            }
        }
    }
    found
}

/// The source table that a finding is about: named by itself, by its target, or by a partition of it.
fn table_of(survey: &Survey<'_>, finding: &Finding) -> Option<TableName> {
    let named = |name: &TableName| name.to_string() == finding.subject;
    let rule =
        survey.rules.iter().find(|rule| named(&rule.source)).or_else(|| survey.rules.iter().find(|rule| named(&rule.target)));
    let leaves = survey.source.iter().flat_map(|source| &source.leaves);
    let of_leaf =
        || leaves.into_iter().find(|(_, leaves)| leaves.iter().any(|leaf| named(&leaf.name))).map(|(root, _)| root.clone());
    rule.map(|rule| rule.source.clone()).or_else(of_leaf)
}

/// A remedy that is lines for the entry.
enum Line {
    Key(String, String),
    Column(String, String),
}

fn lines(finding: &Finding) -> Option<Vec<Line>> {
    let Some(Remedy::Config(text)) = &finding.remedy else { return None };
    // what it proposes must be TOML, and not a blank to be filled in
    toml::from_str::<toml::Table>(text).ok()?;
    let why = match finding.code {
        "table.column_unused" => "the target's table has no such column, so its values stay behind".to_owned(),
        "table.target_type" => finding.what.clone(),
        _ => return None,
    };
    let mut in_columns = false;
    let mut found = Vec::new();
    for line in text.lines() {
        match line.trim() {
            "[table.columns]" => in_columns = true,
            line if in_columns => found.push(Line::Column(line.to_owned(), why.clone())),
            line => found.push(Line::Key(line.to_owned(), why.clone())),
        }
    }
    Some(found)
}

fn give_entry(draft: &mut Draft, name: TableName, lines: Vec<Vec<Line>>) {
    let (mut keys, mut columns) = (Vec::new(), Vec::new());
    for line in lines.into_iter().flatten() {
        match line {
            Line::Key(line, why) => keys.push((line, why)),
            Line::Column(line, why) => columns.push((line, why)),
        }
    }
    match draft.entries.iter_mut().find(|entry| entry.table.name == name) {
        Some(entry) => (entry.keys, entry.columns) = (keys, columns),
        None => draft.entries.push(DraftEntry { table: about(name), keys, columns }),
    }
}

/// Leaves a table out: of the pattern that would take it, or altogether.
fn refuse(draft: &mut Draft, name: TableName, against: &[&Finding]) {
    draft.entries.retain(|entry| entry.table.name != name);
    // a target's or a partition's is not the table's own
    let of = |subject: &String| if *subject == name.to_string() { String::new() } else { format!("{subject}: ") };
    let reason = |finding: &&Finding| Reason { what: format!("{}{}", of(&finding.subject), finding.what), cure: cure(finding) };
    let refusal = Refusal { reasons: against.iter().map(reason).collect(), name };
    let meant = |pattern: &&mut DraftPattern| Named::read(&pattern.source).is_ok_and(|named| named.means(&refusal.name));
    match draft.patterns.iter_mut().find(meant) {
        Some(pattern) => {
            pattern.tables.retain(|table| table.name != refusal.name);
            pattern.exclude.push(refusal);
            if pattern.tables.is_empty() {
                // of all that it meant nothing is left
                pattern.source.clear();
            }
        }
        None => draft.refused.push(refusal),
    }
}

fn cure(finding: &Finding) -> String {
    let side = if finding.code.starts_with("table.target") || finding.code.starts_with("target.") { "target" } else { "source" };
    match &finding.remedy {
        None => String::new(),
        Some(Remedy::Sql(sql)) => format!("to take it along, on the {side}:\n{sql}"),
        Some(Remedy::Config(lines)) => format!("to take it along, in an entry of its own:\n{lines}"),
        Some(Remedy::Do(what)) => format!("to take it along: {what}"),
    }
}

/// What is known of each table, now that it was looked at.
fn describe(draft: &mut Draft, survey: &Survey<'_>) {
    let known = |name: &TableName| survey.compiled.iter().find(|one| &one.rule.source == name);
    let told = |name: &TableName| {
        let Some(one) = known(name) else { return String::new() };
        let mut words: Vec<String> = one.source.iter().flat_map(|shape| shape_in_words(shape, one.target.as_ref())).collect();
        words.extend(one.design.is_some().then(|| "made in the target".to_owned()));
        words.join("; ")
    };
    draft.missing = survey.compiled.iter().filter(|one| one.design.is_some()).count();
    for entry in &mut draft.entries {
        entry.table.about = told(&entry.table.name);
    }
    let explicit: Vec<TableName> = draft.entries.iter().map(|entry| entry.table.name.clone()).collect();
    let mut named = explicit;
    for pattern in draft.patterns.iter_mut().filter(|pattern| !pattern.source.is_empty()) {
        let Ok(meant) = Named::read(&pattern.source) else { continue };
        let left_out = |name: &TableName| pattern.exclude.iter().any(|one| &one.name == name);
        let rules = survey.rules.iter().map(|rule| &rule.source);
        let taken: Vec<TableName> =
            rules.filter(|name| meant.means(name) && !left_out(name) && !named.contains(name)).cloned().collect();
        named.extend(taken.iter().cloned());
        pattern.tables = taken.into_iter().map(|name| DraftTable { about: told(&name), name }).collect();
    }
}

fn shape_in_words(shape: &SourceShape, target: Option<&TargetShape>) -> Vec<String> {
    let rows = match shape.rows_estimated {
        0 => "no rows counted".to_owned(),
        1 => "about 1 row".to_owned(),
        count => format!("about {count} rows"),
    };
    let key = match (&shape.primary_key[..], &shape.identity) {
        ([], ReplicaIdentity::Full) => "no key: compared as whole rows".to_owned(),
        ([], _) => format!("key {}", shape.identity_columns.join(", ")),
        (key, _) => format!("key {}", key.join(", ")),
    };
    let mut words = vec![rows, key];
    words.extend((shape.kind == 'p').then(|| "partitioned: its partitions come as this one table".to_owned()));
    let computes = |name: &str| target.is_some_and(|to| to.columns.iter().any(|column| column.name == name && column.generated));
    let generated = shape.columns.iter().filter(|column| column.generated.is_some()).map(|column| column.name.as_str());
    let (there, lost): (Vec<&str>, Vec<&str>) = generated.partition(|name| computes(name));
    let list = |names: &[&str], what: &str| (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")));
    words.extend(list(&there, "the target computes").into_iter().chain(list(&lost, "generated, and not carried:")));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connector_is_named_after_its_database() {
        for (database, name) in
            [("shop", "shop"), ("Shop_2 (old)", "shop-2-old"), ("бд", "tablelift"), (&"x".repeat(60), &"x".repeat(36))]
        {
            assert_eq!(connector_name(database), name);
        }
        assert_eq!(
            (next_name("shop"), next_name("shop-2"), next_name("a-b")),
            ("shop-2".into(), "shop-3".into(), "a-b-2".into())
        );
    }

    #[test]
    fn only_lines_that_stand_as_they_are_are_taken_over() {
        let of = |code, text: &str| lines(&Finding::error(code, "t", "w").config(text)).map(|lines| lines.len());
        assert_eq!(of("table.column_unused", "ignore = [\"a\"]"), Some(1));
        assert_eq!(of("table.target_type", "[table.columns]\na = 'b'"), Some(1));
        assert_eq!(of("table.not_null_unmapped", "[table.columns]\na = \"...\""), None);
        assert_eq!(of("table.column_unused", "ignore = [\"\\u{1}\"]"), None);
        assert!(lines(&Finding::error("table.column_unused", "t", "w").sql("x")).is_none());
    }
}
