//! The log, where it is Kafka: is it there, and does it keep what apply still needs?

use super::Survey;
use super::broker::{Behind, Broker, needs_one_partition};
use super::survey::told;
use crate::change::ReplicaIdentity;
use crate::config::Kafka;
use crate::event::{TopicError, control_topic};
use crate::finding::Finding;
use crate::log::kafka::{LARGEST_MESSAGE, TopicState};
use crate::mapping::{Kind, SourceShape, TablePlan};
use crate::pg::quote;
use std::time::Duration;

fn both<'a>(survey: &'a Survey<'_>) -> Option<(&'a Kafka, &'a Broker)> {
    survey.connector.kafka().zip(survey.broker.as_ref())
}

pub(super) fn settings(survey: &Survey<'_>) -> Vec<Finding> {
    let Some((_, broker)) = both(survey) else { return Vec::new() };
    let wrong = broker.wrong_settings.iter();
    wrong
        .map(|(name, why)| {
            Finding::error("log.setting", "log", format!("the setting `{name}` cannot be: {why}"))
                .hint("correct it, or remove it from `[log.kafka]`")
        })
        .collect()
}

pub(super) fn reachable(survey: &Survey<'_>) -> Vec<Finding> {
    let Some((kafka, broker)) = both(survey) else { return Vec::new() };
    match &broker.brokers {
        Err(error) if broker.wrong_settings.is_empty() => {
            vec![told("log.unreachable", "log", error)]
        }
        Ok(brokers) if i32::try_from(*brokers).unwrap_or(i32::MAX) < kafka.replication_factor => {
            let what =
                format!("{} replicas of each topic are asked for, and there are {brokers} brokers", kafka.replication_factor);
            vec![Finding::error("log.replicas", "log", what).config(format!("[log]\nreplication_factor = {brokers}"))]
        }
        _ => Vec::new(),
    }
}

pub(super) fn names(survey: &Survey<'_>) -> Vec<Finding> {
    let Some((_, Broker { names: Err(wrong), .. })) = both(survey) else { return Vec::new() };
    wrong.iter().map(topic_name).collect()
}

fn topic_name(error: &TopicError) -> Finding {
    let subject = match error {
        TopicError::TooLong { table, .. } | TopicError::Clash { second: table, .. } => table.to_string(),
        TopicError::Prefix { .. } => "log".to_owned(),
    };
    told("log.topic_name", &subject, error)
}

/// Topics that are there already, and what is to be read from them.
pub(super) fn topics(survey: &Survey<'_>) -> Vec<Finding> {
    let Some((kafka, broker)) = both(survey) else { return Vec::new() };
    let control = control_topic(&kafka.topic_prefix);
    let mut findings = Vec::new();
    for topic in &broker.topics {
        if topic.name == control {
            findings.extend(control_topic_settings(topic));
        } else {
            let behind: Vec<&Behind> = broker.behind.iter().filter(|behind| behind.topic == topic.name).collect();
            findings.extend(spread(topic).filter(|_| is_to_be_one(survey, broker, &topic.name)));
            findings.extend(gap(topic, &behind));
            findings.extend(message_size(topic));
            findings.extend(retention(topic, behind.iter().filter_map(|behind| behind.age).max()));
        }
        findings.extend(durability(topic));
    }
    findings
}

/// Not once the count is pinned, for then each start holds it against the pinned one.
fn is_to_be_one(survey: &Survey<'_>, broker: &Broker, topic: &str) -> bool {
    let table = broker.names.iter().flatten().find(|(_, name)| *name == topic).map(|(table, _)| table);
    let pinned = |plan: &TablePlan| survey.target.as_ref().is_some_and(|target| target.recorded.contains(&plan.target));
    let plans = survey.compiled.iter().filter_map(|one| one.plan.as_ref().ok()).filter(|plan| Some(&plan.source) == table);
    plans.filter(|plan| !pinned(plan)).any(needs_one_partition)
}

/// What one partition costs is said once.
pub(super) fn one_partition(survey: &Survey<'_>) -> Vec<Finding> {
    let Some((kafka, _)) = both(survey) else { return Vec::new() };
    let plans = survey.compiled.iter().filter_map(|one| one.plan.as_ref().ok());
    let single = plans.filter(|plan| kafka.partitions > 1 && needs_one_partition(plan));
    single
        .map(|plan| {
            let why = if plan.secondary_uniques {
                "the target has unique or exclusion constraints besides its key"
            } else if plan.key.is_empty() {
                "it has no key"
            } else {
                "equal keys can have different texts"
            };
            Finding::note("log.one_partition", plan.source.to_string(), format!("its topic gets one partition, for {why}"))
        })
        .collect()
}

/// A key change is a delete in one partition and an insert in another: what the stream leaves out of the new row is nowhere to be had.
pub(super) fn key_changes(survey: &Survey<'_>) -> Vec<Finding> {
    if both(survey).is_none() {
        return Vec::new();
    }
    let large = |shape: &SourceShape| {
        let others = shape.columns.iter().filter(|column| !shape.primary_key.contains(&column.name));
        others.filter(|column| matches!(column.type_category, 'S' | 'U' | 'A' | 'C')).map(|column| column.name.clone()).next()
    };
    let keyed = survey.compiled.iter().filter(|one| one.plan.as_ref().is_ok_and(|plan| plan.kind == Kind::Keyed));
    let shapes = keyed.filter_map(|one| one.source.as_ref()).filter(|shape| shape.identity != ReplicaIdentity::Full);
    shapes
        .filter_map(|shape| {
            let what = format!(
                "a row whose key changes while a large value (of `{}`, say) stays as it was halts it: the stream does not carry that value",
                large(shape)?
            );
            let hint = format!(
                "if its keys change: ALTER TABLE {} REPLICA IDENTITY FULL on the source, or the local log",
                quote::table(&shape.name)
            );
            Some(Finding::note("log.key_changes", shape.name.to_string(), what).hint(hint))
        })
        .collect()
}

fn control_topic_settings(topic: &TopicState) -> Vec<Finding> {
    let mut findings = Vec::new();
    if topic.partitions != 1 {
        let what = format!("the control topic has {} partitions, and its order needs exactly one", topic.partitions);
        let hint = "delete it while nothing runs: `tablelift prepare` makes it";
        findings.push(Finding::error("log.control_partitions", &*topic.name, what).hint(hint));
    }
    if has_policy(topic, "delete") && (topic.retention_ms >= 0 || topic.retention_bytes >= 0) {
        let what = "the control topic forgets, and its newest record of each key must stay";
        findings.push(Finding::error("log.control_retention", &*topic.name, what).hint(alter(topic, "cleanup.policy=compact")));
    }
    findings
}

fn has_policy(topic: &TopicState, policy: &str) -> bool {
    topic.cleanup_policy.split(',').any(|has| has.trim() == policy)
}

/// What is there of a table whose changes have to be in one partition, and is not of one.
pub fn spread(topic: &TopicState) -> Option<Finding> {
    let what = format!("the topic has {} partitions, and the changes of its table have to be in one", topic.partitions);
    let hint = "delete the topic, which nothing of this connector reads, and it is made anew; or, before the first start, another \
                `topic_prefix` in `[log]`";
    (topic.partitions > 1).then(|| Finding::error("log.partitions", &*topic.name, what).hint(hint))
}

/// The log has let go of what comes next.
fn gap(topic: &TopicState, behind: &[&Behind]) -> Vec<Finding> {
    let gone = behind.iter().filter(|behind| behind.low > behind.next);
    gone.map(|behind| {
        let what = format!(
            "partition {} begins at offset {}, and {} comes next: the events between are gone",
            behind.partition, behind.low, behind.next
        );
        Finding::error("log.gap", &*topic.name, what).hint("its table has to be copied again")
    })
    .collect()
}

const DAY: i64 = 24 * 3_600_000;
const WEEK: &str = "retention.ms=604800000";

/// A row of PostgreSQL can be larger than any limit; one that is larger than Kafka's own default is to be expected.
fn message_size(topic: &TopicState) -> Option<Finding> {
    const DEFAULT: i64 = 1_000_000;
    let what = format!("it takes events of up to {} bytes: a larger row halts its table", topic.max_message_bytes);
    let hint = alter(topic, &format!("max.message.bytes={LARGEST_MESSAGE}"));
    (topic.max_message_bytes < DEFAULT).then(|| Finding::warning("log.message_size", &*topic.name, what).hint(hint))
}

fn retention(topic: &TopicState, age: Option<Duration>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if has_policy(topic, "compact") {
        let what = "it is compacted: changes that apply has not yet taken would vanish";
        findings.push(Finding::error("log.compaction", &*topic.name, what).hint(alter(topic, "cleanup.policy=delete")));
    }
    let age = age.map_or(0, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    if topic.retention_ms >= 0 && topic.retention_ms <= age {
        let what = format!("it keeps events for {} s, and apply is {} s behind", topic.retention_ms / 1000, age / 1000);
        findings.push(Finding::error("log.retention", &*topic.name, what).hint(alter(topic, WEEK)));
    } else if (0..DAY).contains(&topic.retention_ms) {
        let what =
            format!("it keeps events for {} min only: if apply is away for longer, they are lost", topic.retention_ms / 60_000);
        findings.push(Finding::warning("log.retention", &*topic.name, what).hint(alter(topic, WEEK)));
    }
    if topic.retention_bytes >= 0 {
        let what = "it keeps a number of bytes: a burst of changes pushes out what apply has not yet taken";
        findings.push(Finding::warning("log.retention_bytes", &*topic.name, what).hint(alter(topic, "retention.bytes=-1")));
    }
    findings
}

fn durability(topic: &TopicState) -> Vec<Finding> {
    let mut findings = Vec::new();
    if topic.unclean_leader_election {
        let what = "an unclean leader election may drop events that were acknowledged";
        let hint = alter(topic, "unclean.leader.election.enable=false");
        findings.push(Finding::error("log.unclean_election", &*topic.name, what).hint(hint));
    }
    if topic.leaderless > 0 {
        let what = format!("{} of its partitions have no leader: they can be neither written nor read", topic.leaderless);
        findings
            .push(Finding::error("log.leaderless", &*topic.name, what).hint("bring back the brokers that hold their replicas"));
    }
    if topic.replication_factor <= 1 {
        let what = "it has one replica: its events are lost with that broker's disk";
        findings
            .push(Finding::warning("log.one_replica", &*topic.name, what).hint("reassign its partitions with three replicas"));
    } else if topic.min_insync_replicas < 2 {
        let what = "one replica in sync is enough to acknowledge an event, which is then lost with that broker";
        findings.push(Finding::error("log.in_sync", &*topic.name, what).hint(alter(topic, "min.insync.replicas=2")));
    } else if topic.min_insync_replicas > topic.replication_factor {
        let what = format!("{} replicas must be in sync, and it has {}", topic.min_insync_replicas, topic.replication_factor);
        findings.push(Finding::error("log.in_sync", &*topic.name, what).hint(alter(topic, "min.insync.replicas=2")));
    }
    findings
}

fn alter(topic: &TopicState, setting: &str) -> String {
    let name = &topic.name;
    format!(
        "kafka-configs.sh --bootstrap-server HOST:9092 --alter --entity-type topics --entity-name {name} --add-config {setting}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(change: impl FnOnce(&mut TopicState)) -> TopicState {
        let mut topic = TopicState {
            name: "p.public.t".into(),
            partitions: 1,
            replication_factor: 3,
            leaderless: 0,
            unclean_leader_election: false,
            cleanup_policy: "delete".into(),
            retention_ms: 604_800_000,
            retention_bytes: -1,
            min_insync_replicas: 2,
            max_message_bytes: 1 << 20,
        };
        change(&mut topic);
        topic
    }

    fn codes(topic: &TopicState, age: u64) -> Vec<&'static str> {
        let mut findings = Vec::from_iter(spread(topic));
        findings.extend(message_size(topic));
        findings.extend(retention(topic, Some(Duration::from_secs(age))));
        findings.extend(durability(topic));
        findings.iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn each_setting_that_loses_events_is_found() {
        assert_eq!(codes(&topic(|_| ()), 100), [""; 0]);
        assert_eq!(codes(&topic(|_| ()), 700_000), ["log.retention"]);
        type Spoil = fn(&mut TopicState);
        let cases: [(Spoil, &str); 10] = [
            (|topic| topic.max_message_bytes = 4096, "log.message_size"),
            (|topic| topic.partitions = 4, "log.partitions"),
            (|topic| topic.cleanup_policy = "compact, delete".into(), "log.compaction"),
            (|topic| topic.retention_ms = 60_000, "log.retention"),
            (|topic| topic.retention_bytes = 1, "log.retention_bytes"),
            (|topic| topic.unclean_leader_election = true, "log.unclean_election"),
            (|topic| topic.leaderless = 1, "log.leaderless"),
            (|topic| topic.replication_factor = 1, "log.one_replica"),
            (|topic| topic.min_insync_replicas = 1, "log.in_sync"),
            (|topic| topic.min_insync_replicas = 4, "log.in_sync"),
        ];
        for (change, code) in cases {
            assert_eq!(codes(&topic(change), 0), [code]);
        }
        let behind = Behind { topic: "p.public.t".into(), partition: 3, next: 5, low: 7, age: None };
        assert_eq!(gap(&topic(|_| ()), &[&behind]).len(), 1);
        assert!(gap(&topic(|_| ()), &[&Behind { low: 5, ..behind }]).is_empty());
    }

    #[test]
    fn the_control_topic_keeps_for_ever() {
        let count = |change: fn(&mut TopicState)| control_topic_settings(&topic(change)).len();
        assert_eq!(count(|topic| (topic.partitions, topic.cleanup_policy) = (1, "compact".into())), 0);
        assert_eq!(count(|topic| (topic.partitions, topic.retention_ms) = (1, -1)), 0);
        assert_eq!(count(|topic| topic.partitions = 1), 1);
        assert_eq!(count(|topic| topic.partitions = 8), 2);
    }
}
