//! Apply's plans: capture's word on the tables, compiled against the target as it is now.

use crate::catalog;
use crate::change::TableName;
use crate::config::Connector;
use crate::mapping::{self, TablePlan};
use crate::pipeline::kafka::specs::TableSpec;
use crate::pipeline::{PipelineError, structure};
use crate::preflight;
use crate::store::after_load;
use crate::store::table_state::Halted;
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// What is to be applied.
#[derive(Default)]
pub struct Plans {
    pub fit: Vec<TablePlan>,
    /// Tables whose rule does not fit, and those that are not judged.
    pub broken: BTreeMap<TableName, Halted>,
    /// Plans that wait for capture's judgement.
    pub unjudged: Vec<TablePlan>,
}

/// All rules against the target; those that do not fit, with the reason.
///
/// # Errors
/// The target could not be asked.
pub async fn compile(target: &mut Client, connector: &Connector, specs: &[TableSpec]) -> Result<Plans, PipelineError> {
    let names: Vec<TableName> = specs.iter().flat_map(|spec| &spec.rules).map(|rule| rule.table().clone()).collect();
    let changed = structure::changed(None, target, connector).await?;
    let mut shapes = catalog::target_shapes(&*target, &names).await?;
    after_load::expect(&*target, &mut shapes).await.map_err(|source| PipelineError::Query { side: "target", source })?;
    let overlaps = preflight::overlaps(target, &names).await?;
    let (mut plans, mut broken) = (Vec::new(), BTreeMap::new());
    for spec in specs {
        for rule in &spec.rules {
            if let Some(finding) = changed.get(&rule.target).map(|(_, finding)| finding).or(overlaps.get(rule.table())) {
                broken.insert(rule.target.clone(), Halted::by(std::slice::from_ref(finding)));
                continue;
            }
            let because = match shapes.get(rule.table()) {
                None => "the target has no such table".to_owned(),
                Some(shape) => {
                    let (facts, refused) = catalog::rule_facts(target, rule, &spec.shape).await?;
                    match mapping::compile(rule, &spec.shape, shape, &facts) {
                        Ok(plan) if refused.is_empty() => {
                            plans.push(plan);
                            continue;
                        }
                        Ok(_) => "an expression cannot be prepared".to_owned(),
                        Err(findings) => findings.iter().map(|finding| finding.what.clone()).collect::<Vec<_>>().join("; "),
                    }
                }
            };
            let hint =
                "`tablelift check` says more; cure the target, and it is tried again at SIGHUP and at a restart".to_owned();
            broken.insert(rule.target.clone(), Halted { because, hint });
        }
    }
    let mixed = preflight::mixed(target, plans.iter().map(Some)).await?;
    for (at, finding) in mixed.into_iter().rev() {
        broken.insert(plans.remove(at).target, Halted::by(&[finding]));
    }
    let mut unjudged = Vec::new();
    for (plan, finding) in structure::take_unjudged(target, connector, &mut plans).await? {
        broken.insert(plan.target.clone(), Halted::by(&[finding]));
        unjudged.push(plan);
    }
    Ok(Plans { fit: plans, broken, unjudged })
}
