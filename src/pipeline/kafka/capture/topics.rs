//! The tables' topics at a start: what is there, held against what was pinned.

use crate::config::Kafka;
use crate::finding::Finding;
use crate::log::LogError;
use crate::log::kafka::{Admin, Entry, TopicSpec, TopicState};
use crate::pipeline::PipelineError;
use crate::pipeline::kafka::record::TABLES;
use crate::pipeline::kafka::specs::{TableSpec, specs};
use crate::preflight::Compiled;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a start found.
pub struct Topics {
    pub specs: Vec<TableSpec>,
    /// Topics that are to be made: they have no history.
    pub fresh: Vec<TopicSpec>,
    /// Topics that are there, of tables that are taken on now: what they hold is of an earlier life.
    pub inherited: Vec<TableSpec>,
    /// Topics that had been made, and are gone with what was in them.
    pub gone: Vec<String>,
}

/// `first`: the connector is new, whatever the control topic says.
///
/// # Errors
/// See [`PipelineError`].
pub async fn topics(
    kafka: &Kafka,
    admin: &Admin,
    compiled: &[Compiled],
    entries: &BTreeMap<String, Entry>,
    first: bool,
    limit: Duration,
) -> Result<Topics, PipelineError> {
    let old: Vec<TableSpec> = entries.get(TABLES).and_then(|entry| serde_json::from_slice(&entry.value).ok()).unwrap_or_default();
    let specs = specs(kafka, compiled, &old).map_err(|errors| {
        let findings = errors.iter().map(|error| Finding::error("log.topic_name", kafka.topic_prefix.clone(), error.to_string()));
        PipelineError::Findings(findings.collect())
    })?;
    let names: Vec<String> = specs.iter().map(|spec| spec.topic.clone()).collect();
    let states = admin.describe(&names, limit).await?;
    let (mut gone, mut fresh, mut inherited) = (Vec::new(), Vec::new(), Vec::new());
    for (spec, state) in specs.iter().zip(&states) {
        let known = !first && old.iter().any(|old| old.topic == spec.topic);
        match (known, state) {
            (true, Some(_)) => {}
            // never made anew: whoever reads it would take an empty topic for a quiet table
            (true, None) => gone.push(spec.topic.clone()),
            (false, None) => fresh.push(TopicSpec::table(&spec.topic, kafka, spec.partitions)),
            (false, Some(_)) => inherited.push(spec.clone()),
        }
    }
    let findings: Vec<Finding> =
        specs.iter().zip(&states).filter_map(|(spec, state)| Some((spec, state.as_ref()?))).flat_map(unfit).collect();
    if findings.is_empty() { Ok(Topics { specs, fresh, inherited, gone }) } else { Err(PipelineError::Findings(findings)) }
}

fn unfit((spec, state): (&TableSpec, &TopicState)) -> Vec<Finding> {
    let mut findings = Vec::new();
    if state.partitions != spec.partitions {
        let what = format!("it has {} partitions, and {} were pinned", state.partitions, spec.partitions);
        findings.push(
            Finding::error("log.partitions", spec.topic.clone(), what).hint("make the topic anew and copy its table again"),
        );
    }
    if state.cleanup_policy.contains("compact") {
        let what = "cleanup.policy is `compact`: it would remove events that apply still needs";
        findings.push(Finding::error("log.compact", spec.topic.clone(), what).hint("set cleanup.policy=delete on the topic"));
    }
    findings
}

/// Why a table whose topic is gone stands still.
pub fn gone(topic: &str) -> LogError {
    LogError::NoTopic { topic: topic.to_owned() }
}
