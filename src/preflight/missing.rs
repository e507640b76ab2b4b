//! Target tables that are missing: designed, and tried in a transaction that is rolled back, with the types that they need and the
//! rule's statements on them. With
//! `create = "missing"` the rest of the checks then see them as if they were there; else their DDL is the cure of the finding that they
//! are not.

mod ground;
mod key_time;
mod rehearsal;
mod type_making;

use super::rules::{Compiled, refusal};
use crate::catalog::{self, CatalogError};
use crate::change::TableName;
use crate::config::{Connector, Create, Triggers};
use crate::ddl::{self, Design, Given, Lifted, Pace};
use crate::finding::{Finding, Remedy};
use crate::mapping::{Facts, Output, Rule};
use std::collections::BTreeSet;
use tokio_postgres::Client;
use type_making::TypeMaking;

/// So many tables are tried in one transaction: each holds some locks.
const TOGETHER: usize = 200;

/// A table to be made.
struct Draft {
    /// Its place among the compiled rules.
    at: usize,
    facts: Facts,
    given: Given,
    design: Design,
}

/// Designs and tries the tables that the target lacks, but for those that are `recorded`: what was there once is not made anew. Gives
/// what is to be known of them.
///
/// # Errors
/// We could not ask one of the databases.
pub async fn design_missing(
    connector: &Connector,
    source: &Client,
    target: &mut Client,
    compiled: &mut [Compiled],
    recorded: &BTreeSet<TableName>,
) -> Result<Vec<Finding>, CatalogError> {
    let lacks = |one: &Compiled| {
        one.source.is_some() && one.target.is_none() && one.rule.shared.is_none() && !recorded.contains(&one.rule.target)
    };
    let wanted: Vec<usize> = (0..compiled.len()).filter(|&at| lacks(&compiled[at])).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let makes = connector.target.create == Create::Missing;
    let mut findings = Vec::new();
    let mut drafts = Vec::new();
    let names: Vec<TableName> = wanted.iter().map(|&at| compiled[at].rule.source.clone()).collect();
    let given = catalog::given(source, &names).await?;
    let mut transaction = target.transaction().await?;
    transaction.batch_execute("SET LOCAL lock_timeout = '60s'").await?;
    transaction.batch_execute(ddl::ALONE).await?;
    transaction.batch_execute("SET LOCAL lock_timeout = '5s'").await?;
    let mut ground = ground::Grounds::look(&transaction, wanted.iter().map(|&at| &compiled[at].rule.target)).await?;
    let mut types = TypeMaking::look(source, &mut transaction, wanted.iter().map(|&at| &compiled[at])).await?;
    types.rehearse(&transaction).await?;
    for at in wanted {
        let one = &mut compiled[at];
        let Some(shape) = one.source.clone() else { continue };
        let (facts, refused) = catalog::rule_facts(&mut transaction, &one.rule, &shape).await?;
        if !refused.is_empty() {
            if let Err(findings) = &mut one.plan {
                findings.retain(|finding| !makes || finding.code != "table.target_missing");
                findings.extend(refused.iter().map(|refused| refusal(&one.rule, refused)));
            }
            continue;
        }
        let given = given.get(&one.rule.source).cloned().unwrap_or_default();
        let (under, taken) = ground.under(&mut transaction, &one.rule.target, &shape, &given).await?;
        let mut design = ddl::design(&one.rule, &shape, &facts, &given, &under, taken);
        design.types = types.of(&design);
        drafts.push(Draft { at, facts, given, design });
    }
    if makes {
        let lifted = lifted(compiled, &drafts);
        for draft in &mut drafts {
            ddl::foreign_keys(&mut draft.design, &draft.given, &lifted, pace(connector));
            ddl::inheritance(&mut draft.design, &draft.given, &lifted);
        }
        let role: String = transaction.query_one("SELECT current_user::text", &[]).await?.try_get(0)?;
        for draft in &mut drafts {
            let told = types.findings(std::iter::once(&draft.design), &role);
            draft.design.lacking = told.into_iter().filter(Finding::is_error).collect();
        }
        findings.extend(types.findings(drafts.iter().map(|draft| &draft.design), &role));
    } else {
        for draft in &mut drafts {
            draft.design.after_load.clear();
        }
    }
    let mut moment = key_time::Moment::new(connector);
    let mut drafts = drafts.into_iter().peekable();
    while drafts.peek().is_some() {
        let together: Vec<Draft> = drafts.by_ref().take(TOGETHER).collect();
        for tried in rehearsal::rehearse(&mut transaction, compiled, together).await? {
            let one = &mut compiled[tried.draft.at];
            if makes { take_over(one, tried, &mut moment, &mut findings) } else { propose(one, tried) }
        }
    }
    transaction.rollback().await?;
    Ok(findings)
}

/// `create = "missing"`: as if it were there.
fn take_over(one: &mut Compiled, tried: rehearsal::Tried, moment: &mut key_time::Moment<'_>, findings: &mut Vec<Finding>) {
    let mut design = tried.draft.design;
    findings.append(&mut design.left_out);
    findings.extend(tried.findings.iter().filter(|finding| !finding.is_error()).cloned());
    let errors: Vec<Finding> = tried.findings.into_iter().filter(Finding::is_error).collect();
    one.plan = match (errors.is_empty(), tried.compiled) {
        (true, Some(compiled)) => {
            one.target = compiled.target;
            compiled.plan
        }
        (_, compiled) => {
            let of_plan = compiled.and_then(|compiled| compiled.plan.err()).unwrap_or_default();
            Err(errors.into_iter().chain(of_plan).collect())
        }
    };
    if let (Some(shape), Ok(plan)) = (&one.source, &one.plan) {
        design.key_time = moment.key_time(shape, plan);
    }
    one.design = Some(design);
}

/// `create = "never"`: its DDL, and what would be wrong even then.
fn propose(one: &mut Compiled, tried: rehearsal::Tried) {
    let Err(findings) = &mut one.plan else { return };
    let design = &tried.draft.design;
    let statements = design.create().into_iter().chain(design.key.as_ref().map(|key| key.sql.clone()));
    let sql: Vec<String> = statements.map(|sql| format!("{sql};")).collect();
    if let Some(missing) = findings.iter_mut().find(|finding| finding.code == "table.target_missing") {
        missing.remedy = Some(Remedy::Sql(sql.join("\n")));
    }
    // refused where the role may not make it: then its DDL is all we can say
    if let Some(compiled) = tried.compiled {
        findings.extend(compiled.plan.err().into_iter().flatten());
        findings.extend(tried.findings);
    }
}

/// All tables that a foreign key could refer to.
fn lifted(compiled: &[Compiled], drafts: &[Draft]) -> Vec<Lifted> {
    let one = |rule: &Rule, plain| Lifted {
        source: rule.source.clone(),
        target: rule.target.clone(),
        plain,
        filter: rule.filter.clone(),
        uniques: None,
    };
    let new = drafts.iter().map(|draft| one(&compiled[draft.at].rule, draft.design.plain.clone()));
    let there = compiled.iter().filter_map(|found| {
        let (plan, shape) = (found.plan.as_ref().ok()?, found.target.as_ref()?);
        let plain = |output: &Output| Some((plan.inputs[output.plain?].name.clone(), output.column.clone()));
        let usable = shape.uniques.iter().filter(|key| !key.deferrable && !key.partial_or_expression && !key.exclusion);
        let uniques = Some(usable.map(|key| key.columns.clone()).collect());
        Some(Lifted { uniques, ..one(&found.rule, plan.outputs.iter().filter_map(plain).collect()) })
    });
    new.chain(there).collect()
}

fn pace(connector: &Connector) -> Pace {
    match (connector.target.triggers, connector.kafka()) {
        (Triggers::Off, _) => Pace::Unchecked,
        (Triggers::Fire, None) => Pace::InOrder,
        (Triggers::Fire, Some(_)) => Pace::EachByItself,
    }
}
