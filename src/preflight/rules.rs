//! From the connector file's entries to compiled plans: patterns expanded over what the source has, shapes read, facts asked.

use super::{listed, shared};
use crate::catalog::{self, CatalogError, LeftOut, Refused, Relation};
use crate::change::TableName;
use crate::config::Connector;
use crate::ddl::Design;
use crate::finding::Finding;
use crate::mapping::{self, Rule, SourceShape, TablePlan, TargetShape};
use crate::pg::quote;
use crate::store::after_load;
use std::collections::{BTreeMap, HashSet};
use tokio_postgres::Client;

/// A rule and what came of it.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub rule: Rule,
    pub source: Option<SourceShape>,
    /// As it is, or as it will be made.
    pub target: Option<TargetShape>,
    /// The target lacks it, and it is to be made.
    pub design: Option<Design>,
    pub plan: Result<TablePlan, Vec<Finding>>,
}

/// The connector's rules: explicit entries as they stand, then a plain rule for each table that a pattern takes. Also what patterns
/// leave out, as notes; partitions go without saying, for their root is taken.
pub fn expand(connector: &Connector, relations: &[Relation]) -> (Vec<Rule>, Vec<Finding>) {
    let mut rules = connector.tables.clone();
    let mut findings = Vec::new();
    let mut named: HashSet<TableName> = rules.iter().map(|rule| rule.source.clone()).collect();
    let mut left_out: BTreeMap<String, Vec<&TableName>> = BTreeMap::new();
    for pattern in &connector.patterns {
        let mut taken = 0;
        for relation in relations {
            let name = &relation.name;
            let Some(rule) = pattern.rule_of(name) else { continue };
            match &relation.left_out {
                Some(LeftOut::System | LeftOut::Ours | LeftOut::Partition { .. }) => {}
                Some(_) if named.contains(name) => {}
                Some(reason) => left_out.entry(reason.to_string()).or_default().push(name),
                None => {
                    taken += 1;
                    if named.insert(name.clone()) {
                        rules.push(rule);
                    }
                }
            }
        }
        if taken == 0 {
            let what = "a pattern of the connector file takes no table";
            findings.push(Finding::error("table.pattern_empty", "source", what).hint("correct the pattern, or remove its entry"));
        }
    }
    let note = |(reason, names): (String, Vec<&TableName>)| {
        Finding::note("table.left_out", "source", format!("left out by the patterns, for each {reason}: {}", listed(&names)))
    };
    findings.extend(left_out.into_iter().map(note));
    (rules, findings)
}

/// Compiles those of the connector's rules that are `wanted`.
///
/// # Errors
/// We could not ask one of the databases.
pub async fn compile(
    source: &Client,
    target: &mut Client,
    rules: &[Rule],
    wanted: impl Fn(&Rule) -> bool,
) -> Result<Vec<Compiled>, CatalogError> {
    let all: Vec<TableName> = rules.iter().map(|rule| rule.table().clone()).collect();
    let overlaps = overlaps(&*target, &all).await?;
    let rules: Vec<&Rule> = rules.iter().filter(|rule| wanted(rule)).collect();
    let names: Vec<TableName> = rules.iter().map(|rule| rule.source.clone()).collect();
    let sources = catalog::source_shapes(source, &names).await?;
    let names: Vec<TableName> = rules.iter().map(|rule| rule.table().clone()).collect();
    let mut targets = catalog::target_shapes(&*target, &names).await?;
    after_load::expect(&*target, &mut targets).await?;
    let mut compiled = Vec::with_capacity(rules.len());
    for rule in rules {
        let (source, to) = (sources.get(&rule.source).cloned(), targets.get(rule.table()).cloned());
        let plan = match (overlaps.get(rule.table()), &source, &to) {
            (Some(overlap), _, _) => Err(vec![overlap.clone()]),
            (None, Some(source), Some(to)) => compile_one(target, rule, source, to).await?,
            (None, ..) => Err(missing(rule, source.is_none(), to.is_none())),
        };
        compiled.push(Compiled { rule: rule.clone(), source, target: to, design: None, plan });
    }
    for (at, finding) in shared::mixed(&*target, compiled.iter().map(|one| one.plan.as_ref().ok())).await? {
        compiled[at].plan = Err(vec![finding]);
    }
    Ok(compiled)
}

/// A target that is a partition of another entry's.
pub const OVERLAP: &str = "table.target_overlap";
/// No such table in the source.
pub const MISSING: &str = "table.source_missing";

/// Targets that lie in another one: their rows would be the other's, whose copies and deletes would take them away.
///
/// # Errors
/// We could not ask the target.
pub async fn overlaps(target: &Client, targets: &[TableName]) -> Result<BTreeMap<TableName, Finding>, CatalogError> {
    let mut found = BTreeMap::new();
    for (part, roots) in catalog::roots(target, targets).await? {
        let Some(root) = roots.iter().find(|root| targets.contains(root)) else { continue };
        let hint = format!(
            "ALTER TABLE {} DETACH PARTITION {}; where both are to be filled, else remove one of the two entries",
            quote::table(root),
            quote::table(&part)
        );
        let what = format!("in the target it is a partition of `{root}`, which another entry fills");
        let finding = Finding::error(OVERLAP, part.to_string(), what).hint(hint);
        found.insert(part, finding);
    }
    Ok(found)
}

async fn compile_one(
    target: &mut Client,
    rule: &Rule,
    source: &SourceShape,
    to: &TargetShape,
) -> Result<Result<TablePlan, Vec<Finding>>, CatalogError> {
    let (facts, refused) = catalog::rule_facts(target, rule, source).await?;
    if refused.is_empty() {
        return Ok(mapping::compile(rule, source, to, &facts));
    }
    let mut findings: Vec<Finding> = refused.iter().map(|refused| refusal(rule, refused)).collect();
    findings.extend(mapping::compile(rule, source, to, &facts).err().unwrap_or_default());
    Ok(Err(findings))
}

/// An expression that the target cannot prepare.
pub(super) fn refusal(rule: &Rule, refused: &Refused) -> Finding {
    let place = refused.column.as_ref().map_or_else(|| "`where`".to_owned(), |column| format!("the expression of `{column}`"));
    let what = format!("{place} cannot be prepared: {}", refused.error);
    let hint = refused.error.hint.as_deref().unwrap_or("correct it in the connector file");
    Finding::error("table.expression", rule.source.to_string(), what).hint(hint)
}

fn missing(rule: &Rule, source: bool, target: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    if source {
        let what = "the source has no such table";
        findings.push(Finding::error(MISSING, rule.source.to_string(), what).hint("correct `source` in its entry"));
    }
    if target {
        let finding = Finding::error("table.target_missing", rule.table().to_string(), "the target has no such table");
        findings.push(
            finding.hint("make it there; what several entries fill, or whose source is not there, is not made by `create`"),
        );
    }
    findings
}
