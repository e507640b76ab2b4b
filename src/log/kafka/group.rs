//! What librdkafka calls for a member of the consumer group, always from within `poll`.

use super::consumer::Partition;
use super::context::Trouble;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use std::sync::{Arc, Mutex, PoisonError};

pub(super) enum Rebalance {
    Assigned(Vec<Partition>),
    Revoked(Vec<Partition>),
}

#[derive(Default)]
pub(super) struct Context {
    rebalances: Mutex<Vec<Rebalance>>,
    pub trouble: Trouble,
}

impl Context {
    /// The rebalances since the last call, in order.
    pub fn rebalances(&self) -> Vec<Rebalance> {
        std::mem::take(&mut *self.rebalances.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.trouble.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.trouble.error(error, reason);
    }
}

impl ConsumerContext for Context {
    /// An assignment is only noted: the owner is asked for the offsets first. A revocation is done at once, so that the group never waits for us;
    /// a transaction that is under way then fails by its epoch.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let list = list.elements();
        let partitions = list.iter().map(|one| Partition { topic: Arc::from(one.topic()), partition: one.partition() }).collect();
        let rebalance = if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            Rebalance::Assigned(partitions)
        } else {
            if let Err(error) = consumer.unassign() {
                tracing::debug!(target: "librdkafka", "unassign: {error}");
            }
            Rebalance::Revoked(partitions)
        };
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push(rebalance);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(target: "librdkafka", "offsets for the group's lag: {error}");
        }
    }
}
