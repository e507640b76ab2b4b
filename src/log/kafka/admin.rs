//! Topics: made, described, deleted. Every call has a time limit.

use super::context::Trouble;
#[cfg(test)]
use super::memory;
use super::settings::{LARGEST_MESSAGE, Role, client, settings_error};
use crate::config::Kafka;
use crate::log::{Doing, LogError};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the reason of a failed connection is waited for, behind its failure.
const WHY: Duration = Duration::from_secs(2);
/// Seven days, in milliseconds.
const RETENTION: &str = "604800000";
/// What a batch adds to its only event, in bytes, at most: headers and framing.
const FRAMING: usize = 64 << 10;

/// A topic as we make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    pub replication_factor: i32,
    /// Keep the newest record of each key for ever, instead of everything for a week.
    pub compacted: bool,
}

impl TopicSpec {
    /// A table's topic.
    pub fn table(name: impl Into<String>, kafka: &Kafka, partitions: i32) -> Self {
        Self { name: name.into(), partitions, replication_factor: kafka.replication_factor, compacted: false }
    }

    /// The connector's control topic.
    pub fn control(kafka: &Kafka) -> Self {
        let name = crate::event::control_topic(&kafka.topic_prefix);
        Self { name, partitions: 1, replication_factor: kafka.replication_factor, compacted: true }
    }

    /// The settings that the topic is made with.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let in_sync = if self.replication_factor >= 2 { "2" } else { "1" };
        let mut settings = vec![
            ("min.insync.replicas", in_sync.to_owned()),
            ("unclean.leader.election.enable", "false".to_owned()),
            ("compression.type", "producer".to_owned()),
            ("max.message.bytes", (LARGEST_MESSAGE + FRAMING).to_string()),
        ];
        settings.extend(if self.compacted {
            // small segments, for the one that is written to is never compacted and all of it is read at each start
            [("cleanup.policy", "compact"), ("segment.bytes", "8388608"), ("min.cleanable.dirty.ratio", "0.2")]
                .map(|(key, value)| (key, value.to_owned()))
                .to_vec()
        } else {
            [("cleanup.policy", "delete"), ("retention.ms", RETENTION), ("retention.bytes", "-1")]
                .map(|(key, value)| (key, value.to_owned()))
                .to_vec()
        });
        settings
    }
}

/// A topic as the broker has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicState {
    pub name: String,
    pub partitions: i32,
    /// The least of its partitions.
    pub replication_factor: i32,
    /// Partitions without a leader cannot be written to or read.
    pub leaderless: i32,
    pub unclean_leader_election: bool,
    /// `delete`, `compact`, or both with a comma.
    pub cleanup_policy: String,
    /// Milliseconds; -1 for ever.
    pub retention_ms: i64,
    /// Per partition; -1 without limit.
    pub retention_bytes: i64,
    pub min_insync_replicas: i32,
    /// The largest batch, compressed.
    pub max_message_bytes: i64,
}

/// The administrator's connection.
pub struct Admin {
    link: Link,
    kafka: Kafka,
}

/// Who is asked.
enum Link {
    Broker(Arc<AdminClient<Trouble>>),
    #[cfg(test)]
    Memory,
}

impl Admin {
    pub fn new(kafka: &Kafka) -> Result<Self, LogError> {
        #[cfg(test)]
        if memory::posted().is_some() {
            return Ok(Self { link: Link::Memory, kafka: kafka.clone() });
        }
        let made = client(kafka, Role::Admin).create_with_context(Trouble::default());
        let made = Arc::new(made.map_err(|error| settings_error(kafka, &error))?);
        Ok(Self { link: Link::Broker(made), kafka: kafka.clone() })
    }

    fn client(&self) -> &Arc<AdminClient<Trouble>> {
        match &self.link {
            Link::Broker(client) => client,
            #[cfg(test)]
            Link::Memory => unreachable!("the simulation's broker is not asked for this"),
        }
    }

    /// How many brokers the cluster has: the proof that one answers. An error says why none does.
    pub async fn brokers(&self, limit: Duration) -> Result<usize, LogError> {
        #[cfg(test)]
        if let Some(broker) = memory::posted() {
            return broker.partitions("").map(|_| 1);
        }
        let trouble = Trouble::default();
        // a client of its own, since only a consumer or producer passes on why a connection failed
        let probe = client(&self.kafka, Role::Admin).create_with_context::<_, BaseConsumer<Trouble>>(trouble.clone());
        let probe = probe.map_err(|error| settings_error(&self.kafka, &error))?;
        let noted = trouble.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let found = probe.fetch_metadata(None, limit).map(|found| found.brokers().len());
            // why, may come a moment after that
            let until = Instant::now() + WHY;
            while found.is_err() && noted.last().is_none() && Instant::now() < until {
                drop(probe.poll(Duration::from_millis(50)));
            }
            (0..16).for_each(|_| drop(probe.poll(Duration::ZERO)));
            found
        });
        match (asked.await.map_err(|_| LogError::Stopped)?, trouble.last()) {
            (Ok(brokers), _) => Ok(brokers),
            (Err(_), Some((code, reason))) => Err(LogError::of_code(Doing::Connect, None, code).because_of(reason)),
            (Err(error), None) => Err(failed(Doing::Connect, None, &error)),
        }
    }

    /// Makes those of `topics` that do not exist, and waits until they can be used. Returns the names of those it made. What exists is left as
    /// it is: see [`Admin::describe`].
    pub async fn ensure(&self, topics: &[TopicSpec], limit: Duration) -> Result<Vec<String>, LogError> {
        #[cfg(test)]
        if let Some(broker) = memory::posted() {
            let made =
                |topic: &TopicSpec| broker.makes(&topic.name, topic.partitions).map(|made| made.then(|| topic.name.clone()));
            return topics.iter().filter_map(|topic| made(topic).transpose()).collect();
        }
        let until = Instant::now() + limit;
        let settings: Vec<_> = topics.iter().map(TopicSpec::settings).collect();
        let new = topics.iter().zip(&settings).map(|(topic, settings)| {
            let new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(topic.replication_factor));
            settings.iter().fold(new, |new, (key, value)| new.set(key, value))
        });
        let new: Vec<NewTopic<'_>> = new.collect();
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.client().create_topics(&new, &options(limit)).await;
        let mut made = Vec::new();
        for answer in answers.map_err(|error| failed(Doing::CreateTopics, None, &error))? {
            match answer {
                Ok(name) => made.push(name),
                Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, code)) => return Err(LogError::of_code(Doing::CreateTopics, Some(&name), code)),
            }
        }
        for topic in topics {
            self.wait_for(topic, until).await?;
        }
        Ok(made)
    }

    /// A new topic reaches the brokers one after the other.
    async fn wait_for(&self, topic: &TopicSpec, until: Instant) -> Result<(), LogError> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let ready = self.metadata(&topic.name, left.max(Duration::from_millis(100)), |found| {
                !found.partitions().is_empty() && found.partitions().iter().all(|partition| partition.leader() >= 0)
            });
            let ready = match ready.await {
                Ok(true) => self.answers(topic, left.max(Duration::from_millis(100))).await,
                other => other,
            };
            match ready {
                Ok(true) => return Ok(()),
                Ok(false) | Err(LogError::NoTopic { .. } | LogError::Away { .. }) if !left.is_zero() => {}
                Ok(false) => return Err(LogError::of_code(Doing::CreateTopics, Some(&topic.name), Code::LeaderNotAvailable)),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The metadata names a leader before that one knows of it.
    async fn answers(&self, topic: &TopicSpec, limit: Duration) -> Result<bool, LogError> {
        for partition in 0..topic.partitions {
            self.ends_of(&topic.name, partition, limit).await?;
        }
        Ok(true)
    }

    /// The topics as the broker has them, in the order asked; `None`: there is no such topic.
    pub async fn describe(&self, topics: &[String], limit: Duration) -> Result<Vec<Option<TopicState>>, LogError> {
        #[cfg(test)]
        if let Some(broker) = memory::posted() {
            let state = |name: &str, partitions| {
                let cleanup_policy = "delete".to_owned();
                TopicState { name: name.to_owned(), partitions, cleanup_policy, ..TopicState::default() }
            };
            let ask = |name: &String| broker.partitions(name).map(|found| found.map(|partitions| state(name, partitions)));
            return topics.iter().map(ask).collect();
        }
        let mut states = Vec::with_capacity(topics.len());
        for name in topics {
            let shape = self.metadata(name, limit, shape).await;
            states.push(match shape {
                Err(LogError::NoTopic { .. }) => None,
                Err(error) => return Err(error),
                Ok(shape) => Some(self.configured(shape, limit).await?),
            });
        }
        Ok(states)
    }

    async fn configured(&self, mut state: TopicState, limit: Duration) -> Result<TopicState, LogError> {
        let asked = [ResourceSpecifier::Topic(&state.name)];
        let answers = self.client().describe_configs(&asked, &options(limit)).await;
        let answers = answers.map_err(|error| failed(Doing::Describe, Some(&state.name), &error))?;
        for answer in answers {
            let found = answer.map_err(|code| LogError::of_code(Doing::Describe, Some(&state.name), code))?;
            let text = |key| found.get(key).and_then(|entry| entry.value.as_deref());
            let number = |key| text(key).and_then(|text| text.parse::<i64>().ok());
            state.unclean_leader_election = text("unclean.leader.election.enable") == Some("true");
            state.cleanup_policy = text("cleanup.policy").unwrap_or_default().to_owned();
            state.retention_ms = number("retention.ms").unwrap_or(-1);
            state.retention_bytes = number("retention.bytes").unwrap_or(-1);
            state.min_insync_replicas = number("min.insync.replicas").and_then(|count| i32::try_from(count).ok()).unwrap_or(1);
            state.max_message_bytes = number("max.message.bytes").unwrap_or(-1);
        }
        Ok(state)
    }

    /// Deletes topics. Those that do not exist are no error. Returns the names of those it deleted.
    pub async fn delete(&self, topics: &[String], limit: Duration) -> Result<Vec<String>, LogError> {
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.client().delete_topics(&names, &options(limit)).await;
        let mut deleted = Vec::new();
        for answer in answers.map_err(|error| failed(Doing::DeleteTopics, None, &error))? {
            match answer {
                Ok(name) => deleted.push(name),
                Err((_, Code::UnknownTopicOrPartition)) => {}
                Err((name, code)) => return Err(LogError::of_code(Doing::DeleteTopics, Some(&name), code)),
            }
        }
        Ok(deleted)
    }

    /// How many members the consumer group has: none, and no apply runs.
    pub async fn members(&self, group: &str, limit: Duration) -> Result<usize, LogError> {
        let group = group.to_owned();
        self.blocking(Doing::Describe, None, move |client| {
            let found = client.inner().fetch_group_list(Some(&group), limit)?;
            Ok(found.groups().iter().map(|group| group.members().len()).sum())
        })
        .await
    }

    /// The first and the next offset of a partition.
    pub async fn ends_of(&self, topic: &str, partition: i32, limit: Duration) -> Result<(i64, i64), LogError> {
        #[cfg(test)]
        if let Some(broker) = memory::posted() {
            return broker.ends(topic, partition);
        }
        let name = topic.to_owned();
        self.blocking(Doing::ReadEnds, Some(topic), move |client| client.inner().fetch_watermarks(&name, partition, limit)).await
    }

    async fn metadata<T: Send + 'static>(
        &self,
        topic: &str,
        limit: Duration,
        read: impl FnOnce(&MetadataTopic) -> T + Send + 'static,
    ) -> Result<T, LogError> {
        let name = topic.to_owned();
        let found = self.blocking(Doing::Describe, Some(topic), move |client| {
            let found: Metadata = client.inner().fetch_metadata(Some(&name), limit)?;
            let Some(topic) = found.topics().first() else { return Ok(Err(Code::UnknownTopicOrPartition)) };
            Ok(match topic.error() {
                Some(code) => Err(Code::from(code)),
                None => Ok(read(topic)),
            })
        });
        found.await?.map_err(|code| LogError::of_code(Doing::Describe, Some(topic), code))
    }

    /// librdkafka has no other form for these.
    async fn blocking<T: Send + 'static>(
        &self,
        doing: Doing,
        topic: Option<&str>,
        ask: impl FnOnce(&AdminClient<Trouble>) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, LogError> {
        let client = Arc::clone(self.client());
        let answer = tokio::task::spawn_blocking(move || ask(&client)).await.map_err(|_| LogError::Stopped)?;
        answer.map_err(|error| failed(doing, topic, &error))
    }
}

fn failed(doing: Doing, topic: Option<&str>, error: &KafkaError) -> LogError {
    let code = match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    };
    code.map_or(LogError::Stopped, |code| LogError::of_code(doing, topic, code))
}

fn options(limit: Duration) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(limit)).operation_timeout(Some(limit))
}

fn shape(topic: &MetadataTopic) -> TopicState {
    let partitions = topic.partitions();
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    TopicState {
        name: topic.name().to_owned(),
        partitions: count(partitions.len()),
        replication_factor: partitions.iter().map(|partition| count(partition.replicas().len())).min().unwrap_or(0),
        leaderless: count(partitions.iter().filter(|partition| partition.leader() < 0).count()),
        unclean_leader_election: false,
        cleanup_policy: String::new(),
        retention_ms: -1,
        retention_bytes: -1,
        min_insync_replicas: 1,
        max_message_bytes: -1,
    }
}
