//! The log, where it is Kafka: is it there, and does it keep what apply still needs?

use super::broker::{Broker, Topic};
use crate::config::Kafka;
use crate::finding::Finding;
use std::collections::BTreeMap;

/// What is wrong with the broker and the topics. `control`: the control topic's name, which is meant to be compacted; `wanted`: how many
/// partitions each table's topic shall have, by its name.
pub fn topics(kafka: &Kafka, broker: &Broker, control: &str, wanted: &BTreeMap<String, i32>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = broker.refused_settings.iter().map(|(name, why)| refused(name, why)).collect();
    if let Some(why) = &broker.away {
        let what = format!("no broker of `{}` answers: {why}", kafka.brokers);
        findings.push(Finding::error("log.unreachable", "log", what).config("[log]\nbrokers = \"host:9092,...\""));
        return findings;
    }
    if let Some(brokers) = broker.brokers.filter(|&brokers| i32::try_from(brokers).unwrap_or(i32::MAX) < kafka.replication_factor)
    {
        let what = format!("{} replicas of each topic are asked for, and {brokers} brokers are there", kafka.replication_factor);
        findings.push(Finding::error("log.replicas", "log", what).config(format!("replication_factor = {brokers}")));
    }
    for (table, why) in &broker.unfit_names {
        findings.push(Finding::error("log.topic_name", table.clone(), why.clone()).hint("move it by a connector of its own"));
    }
    for (name, topic) in &broker.topics {
        findings.extend(match name == control {
            true => control_topic(name, topic),
            false => table_topic(name, topic, wanted.get(name).copied(), broker.waiting_ms),
        });
        findings.extend(durability(name, topic));
    }
    findings
}

/// librdkafka's words name the setting, and could repeat its value.
fn refused(name: &str, why: &str) -> Finding {
    Finding::error("log.setting", "log", format!("librdkafka does not take the setting `{name}`: {why}"))
        .hint("correct it, or remove it from `[log.kafka]`")
}

fn control_topic(name: &str, topic: &Topic) -> Vec<Finding> {
    let mut findings = Vec::new();
    if topic.partitions != 1 {
        let what = format!("the control topic has {} partitions, and its order needs exactly one", topic.partitions);
        findings
            .push(Finding::error("log.control_partitions", name, what).hint("delete it while nothing runs: `prepare` makes it"));
    }
    if topic.cleanup_policy.split(',').any(|policy| policy.trim() == "delete") && topic.retention_ms >= 0 {
        let what = "the control topic forgets: its newest record per key must stay for ever";
        findings.push(Finding::error("log.control_retention", name, what).hint(alter(name, "cleanup.policy=compact")));
    }
    findings
}

fn table_topic(name: &str, topic: &Topic, wanted: Option<i32>, waiting_ms: Option<i64>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(wanted) = wanted.filter(|&wanted| topic.partitions != wanted) {
        let what = format!(
            "it has {} partitions instead of {wanted}: which partition a key is in would not be the same",
            topic.partitions
        );
        let hint = format!("`partitions = {}` in `[log]` before the first start, or another topic_prefix", topic.partitions);
        findings.push(Finding::error("log.partitions", name, what).hint(hint));
    }
    if topic.cleanup_policy.split(',').any(|policy| policy.trim() == "compact") {
        let what = "it is compacted: changes that apply has not yet taken would vanish";
        findings.push(Finding::error("log.compaction", name, what).hint(alter(name, "cleanup.policy=delete")));
    }
    let waiting = waiting_ms.unwrap_or(0);
    if (0..=waiting).contains(&topic.retention_ms) {
        let what = format!("it keeps events for {} s, and some have waited {} s", topic.retention_ms / 1000, waiting / 1000);
        findings.push(Finding::error("log.retention", name, what).hint(alter(name, "retention.ms=604800000")));
    } else if (0..DAY_MS).contains(&topic.retention_ms) {
        let what =
            format!("it keeps events for {} min only: if apply is away for longer, they are lost", topic.retention_ms / 60_000);
        findings.push(Finding::warning("log.retention", name, what).hint(alter(name, "retention.ms=604800000")));
    }
    if topic.retention_bytes >= 0 {
        let what = "it keeps no more than a number of bytes: a burst of changes would push out what apply has not yet taken";
        findings.push(Finding::warning("log.retention_bytes", name, what).hint(alter(name, "retention.bytes=-1")));
    }
    findings
}

const DAY_MS: i64 = 24 * 3_600_000;

fn durability(name: &str, topic: &Topic) -> Vec<Finding> {
    let mut findings = Vec::new();
    if topic.unclean_leader_election {
        let what = "an unclean leader election may drop events that were acknowledged";
        findings
            .push(Finding::error("log.unclean_election", name, what).hint(alter(name, "unclean.leader.election.enable=false")));
    }
    if topic.leaderless > 0 {
        let what = format!("{} of its partitions have no leader: they can be neither written nor read", topic.leaderless);
        findings.push(Finding::error("log.leaderless", name, what).hint("bring back the brokers that hold their replicas"));
    }
    if topic.replication_factor == 1 {
        let what = "it has one replica: its events are lost with that broker's disk";
        findings.push(Finding::warning("log.one_replica", name, what).hint("reassign its partitions with three replicas"));
    } else if topic.min_insync_replicas < 2 {
        let what = "one in-sync replica is enough to acknowledge an event, which is then lost with that broker";
        findings.push(Finding::error("log.in_sync", name, what).hint(alter(name, "min.insync.replicas=2")));
    } else if topic.min_insync_replicas > topic.replication_factor {
        let what = format!("{} replicas must be in sync, and it has {}", topic.min_insync_replicas, topic.replication_factor);
        findings.push(Finding::error("log.in_sync", name, what).hint(alter(name, "min.insync.replicas=2")));
    }
    findings
}

fn alter(topic: &str, setting: &str) -> String {
    format!("kafka-configs.sh --bootstrap-server ... --alter --entity-type topics --entity-name {topic} --add-config {setting}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Topic {
        Topic {
            partitions: 8,
            replication_factor: 3,
            leaderless: 0,
            unclean_leader_election: false,
            cleanup_policy: "delete".into(),
            retention_ms: 604_800_000,
            retention_bytes: -1,
            min_insync_replicas: 2,
        }
    }

    fn codes(change: impl FnOnce(&mut Broker)) -> Vec<&'static str> {
        let kafka = Kafka {
            brokers: "k:9092".into(),
            topic_prefix: "p".into(),
            partitions: 8,
            replication_factor: 3,
            settings: Vec::new(),
        };
        let mut broker = Broker { brokers: Some(3), ..Broker::default() };
        broker.topics.insert("p.public.t".into(), topic());
        let control = Topic { partitions: 1, cleanup_policy: "compact".into(), ..topic() };
        broker.topics.insert("p.tablelift".into(), control);
        change(&mut broker);
        topics(&kafka, &broker, "p.tablelift", &BTreeMap::from([("p.public.t".to_owned(), 8)]))
            .iter()
            .map(|finding| finding.code)
            .collect()
    }

    fn with(change: impl FnOnce(&mut Topic)) -> Vec<&'static str> {
        codes(|broker| change(broker.topics.get_mut("p.public.t").unwrap()))
    }

    #[test]
    fn each_setting_that_loses_events_is_found() {
        assert_eq!(codes(|_| ()), [""; 0]);
        assert_eq!(codes(|broker| broker.away = Some("no".into())), ["log.unreachable"]);
        assert_eq!(codes(|broker| broker.brokers = Some(1)), ["log.replicas"]);
        assert_eq!(codes(|broker| drop(broker.refused_settings.insert("x".into(), "unknown".into()))), ["log.setting"]);
        assert_eq!(with(|topic| topic.partitions = 4), ["log.partitions"]);
        assert_eq!(with(|topic| topic.cleanup_policy = "compact,delete".into()), ["log.compaction"]);
        assert_eq!(with(|topic| topic.retention_ms = 1000), ["log.retention"]);
        assert_eq!(with(|topic| topic.retention_ms = -1), [""; 0]);
        assert_eq!(with(|topic| topic.retention_bytes = 1), ["log.retention_bytes"]);
        assert_eq!(with(|topic| topic.unclean_leader_election = true), ["log.unclean_election"]);
        assert_eq!(with(|topic| topic.leaderless = 1), ["log.leaderless"]);
        assert_eq!(with(|topic| topic.replication_factor = 1), ["log.one_replica"]);
        assert_eq!(with(|topic| topic.min_insync_replicas = 1), ["log.in_sync"]);
        assert_eq!(codes(|broker| broker.waiting_ms = Some(700_000_000)), ["log.retention"]);
        let control = |change: fn(&mut Topic)| codes(|broker| change(broker.topics.get_mut("p.tablelift").unwrap()));
        assert_eq!(control(|topic| topic.partitions = 2), ["log.control_partitions"]);
        assert_eq!(control(|topic| topic.cleanup_policy = "delete".into()), ["log.control_retention"]);
    }
}
