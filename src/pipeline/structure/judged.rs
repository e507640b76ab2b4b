//! For who sees the target only, as apply does through Kafka: whether earlier rows hold the values of a column that came late is capture's to
//! judge, with the source before its eyes. What it found good it records.

use super::look::look;
use super::recorded;
use super::watch::EVERY;
use crate::config::Connector;
use crate::finding::Finding;
use crate::mapping::{Output, TablePlan};
use crate::pipeline::{PipelineError, Tasks, chain, session};
use crate::store::table_state;
use std::time::Duration;
use tokio_postgres::Client;

/// Takes out the plans that fill target columns which capture has not recorded.
///
/// # Errors
/// The target could not be asked.
pub async fn take_unjudged(
    target: &Client,
    connector: &Connector,
    plans: &mut Vec<TablePlan>,
) -> Result<Vec<(TablePlan, Finding)>, PipelineError> {
    let states = table_state::read(target, &connector.name).await?;
    let found = look(target, "target", connector, plans.iter().map(|plan| &plan.into)).await?;
    let mut unjudged = Vec::new();
    for at in (0..plans.len()).rev() {
        let plan = &plans[at];
        let Some(state) = states.iter().find(|state| state.target == plan.target) else { continue };
        let (Some(recorded), Some(into)) = (recorded(state), found.get(&plan.into)) else { continue };
        let number = |output: &Output| into.columns.get(&output.column).map(|column| column.number);
        let late = plan.outputs.iter().filter(|output| number(output).is_some_and(|number| !recorded.fills(number)));
        let late: Vec<&str> = late.map(|output| output.column.as_str()).collect();
        if !late.is_empty() {
            let what = format!("columns of the target that were not filled until now: {}", late.join(", "));
            let finding = Finding::error("table.structure", plan.target.to_string(), what).hint(
                "capture says whether earlier rows hold their values: at its next start, or send it a SIGHUP. Where it finds no fault, apply \
                 goes on by itself",
            );
            unjudged.push((plans.remove(at), finding));
        }
    }
    Ok(unjudged)
}

/// Ends when capture has recorded what one of the plans fills. Never, where there is none.
pub async fn until_one_is_judged(connector: &Connector, unjudged: &[TablePlan]) {
    if unjudged.is_empty() {
        std::future::pending::<()>().await;
    }
    // beside us capture may be looking just now
    let mut pause = Duration::from_millis(500);
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(EVERY);
        match one_is_judged(connector, unjudged).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::debug!(error = %chain(&error), "what capture recorded could not be looked at"),
        }
    }
}

async fn one_is_judged(connector: &Connector, unjudged: &[TablePlan]) -> Result<bool, PipelineError> {
    let tasks = Tasks::default();
    let name = connector.object_name();
    let target = session::open(&tasks, &connector.target.endpoint, &name).await.map_err(PipelineError::Target)?;
    let mut plans = unjudged.to_vec();
    Ok(take_unjudged(&target, connector, &mut plans).await?.len() < unjudged.len())
}
