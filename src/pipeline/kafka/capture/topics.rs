//! The tables' topics at a start: what is there, held against what was pinned.

use crate::config::Kafka;
use crate::finding::Finding;
use crate::log::LogError;
use crate::log::kafka::{Admin, Entry, TopicSpec, TopicState};
use crate::pipeline::PipelineError;
use crate::pipeline::kafka::record::TABLES;
use crate::pipeline::kafka::specs::{TableSpec, specs};
use crate::preflight::{self, Compiled};
use crate::store::checkpoint;
use crate::target::TargetError;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::Client;

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

impl Topics {
    /// Makes what is new, and lets what is inherited begin at its end.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn begin(
        &self,
        admin: &Admin,
        target: &Client,
        (connector, epoch): (&str, i64),
        limit: Duration,
    ) -> Result<(), PipelineError> {
        // another capture that has begun since may have brought events already, which must not be passed over
        for topic in &self.fresh {
            TargetError::fenced_unless(checkpoint::begin_at(target, connector, epoch, &topic.name, &[]).await?)?;
        }
        for spec in &self.inherited {
            let mut offsets = Vec::new();
            for partition in spec.partitions().all() {
                offsets.push(admin.ends_of(&spec.topic, partition, limit).await?.1);
            }
            TargetError::fenced_unless(checkpoint::begin_at(target, connector, epoch, &spec.topic, &offsets).await?)?;
        }
        admin.ensure(&self.fresh, limit).await?;
        Ok(())
    }

    /// It has a history of this connector's.
    pub fn is_known(&self, topic: &str) -> bool {
        self.specs.iter().any(|spec| spec.topic == topic)
            && !self.fresh.iter().any(|spec| spec.name == topic)
            && !self.inherited.iter().any(|spec| spec.topic == topic)
    }
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
    let mut specs = specs(kafka, compiled, &old).map_err(|errors| {
        let findings = errors.iter().map(|error| Finding::error("log.topic_name", kafka.topic_prefix.clone(), error.to_string()));
        PipelineError::Findings(findings.collect())
    })?;
    let names: Vec<String> = specs.iter().map(|spec| spec.topic.clone()).collect();
    let states = admin.describe(&names, limit).await?;
    let (mut gone, mut fresh, mut inherited) = (Vec::new(), Vec::new(), Vec::new());
    for (spec, state) in specs.iter_mut().zip(&states) {
        let known = !first && old.iter().any(|old| old.topic == spec.topic);
        match (known, state) {
            (true, Some(_)) => {}
            // never made anew: whoever reads it would take an empty topic for a quiet table
            (true, None) => gone.push(spec.topic.clone()),
            (false, None) => fresh.push(TopicSpec::table(&spec.topic, kafka, spec.partitions)),
            (false, Some(state)) => {
                let of_source = compiled.iter().filter(|one| one.rule.source == spec.shape.name);
                let plans = of_source.filter_map(|one| one.plan.as_ref().ok());
                spec.partitions = preflight::partitions(plans, kafka, Some(state.partitions));
                inherited.push(spec.clone());
            }
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
