//! The broker and our topics, looked at.

use crate::change::TableName;
use crate::config::Kafka;
use crate::event::{TopicError, control_topic, table_topics};
use crate::log::LogError;
use crate::log::kafka::{Admin, TopicState, refused_settings, unknown_settings};
use crate::mapping::{KeyText, Kind, TablePlan};
use crate::store::checkpoint::Waiting;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long each answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What the broker says of itself and of our topics.
pub struct Broker {
    /// Settings of `[log.kafka]` that cannot be, each with the reason.
    pub wrong_settings: Vec<(String, String)>,
    /// How many brokers there are.
    pub brokers: Result<usize, LogError>,
    /// The topics of the tables, or what stands against their names.
    pub names: Result<BTreeMap<TableName, String>, Vec<TopicError>>,
    /// Those that exist, the control topic too.
    pub topics: Vec<TopicState>,
    /// What apply has still to take.
    pub behind: Vec<Behind>,
}

/// A partition that holds events which the target lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    pub topic: String,
    pub partition: i32,
    /// The offset that comes next.
    pub next: i64,
    /// The first that the partition still holds.
    pub low: i64,
    /// How long ago what was last applied was committed on the source; `None`: nothing was yet.
    pub age: Option<Duration>,
}

/// Looks at the broker. `waiting`: the checkpoints in the target.
pub(super) async fn look(kafka: &Kafka, tables: &[TableName], waiting: &[Waiting]) -> Broker {
    let mut wrong_settings: Vec<(String, String)> =
        refused_settings(kafka).into_iter().map(|(name, why)| (name, why.to_owned())).collect();
    wrong_settings.extend(unknown_settings(kafka));
    let names = table_topics(&kafka.topic_prefix, tables);
    let names = names.map(|topics| tables.iter().cloned().zip(topics).collect::<BTreeMap<_, _>>());
    let mut broker = Broker { wrong_settings, brokers: Err(LogError::Stopped), names, topics: Vec::new(), behind: Vec::new() };
    if broker.wrong_settings.is_empty() {
        broker.brokers = ask(kafka, waiting, &mut broker.topics, &mut broker.behind, broker.names.as_ref().ok()).await;
    }
    broker
}

async fn ask(
    kafka: &Kafka,
    waiting: &[Waiting],
    topics: &mut Vec<TopicState>,
    behind: &mut Vec<Behind>,
    names: Option<&BTreeMap<TableName, String>>,
) -> Result<usize, LogError> {
    let admin = Admin::new(kafka)?;
    let brokers = admin.brokers(LIMIT).await?;
    let mut wanted = vec![control_topic(&kafka.topic_prefix)];
    wanted.extend(names.into_iter().flat_map(BTreeMap::values).cloned());
    *topics = admin.describe(&wanted, LIMIT).await?.into_iter().flatten().collect();
    for Waiting { topic, partition, next, age } in waiting {
        if !topics.iter().any(|known| &known.name == topic && *partition < known.partitions) {
            continue;
        }
        let (low, high) = admin.ends_of(topic, *partition, LIMIT).await?;
        if *next < high {
            behind.push(Behind { topic: topic.clone(), partition: *partition, next: *next, low, age: *age });
        }
    }
    Ok(brokers)
}

/// Whether a table's topic must have one partition: the order of changes of different keys matters, or equal keys can differ in their
/// text and so would lie in different partitions.
pub fn needs_one_partition(plan: &TablePlan) -> bool {
    plan.kind != Kind::Keyed || plan.secondary_uniques || plan.key_text == KeyText::Unsafe
}

/// How many partitions the topic of a table has, by all its plans. `there`: it exists, and has so many.
pub fn partitions<'p>(plans: impl IntoIterator<Item = &'p TablePlan>, kafka: &Kafka, there: Option<i32>) -> i32 {
    if plans.into_iter().any(needs_one_partition) { 1 } else { there.unwrap_or(kafka.partitions) }
}
