//! A topic as an ordinary consumer sees it.

use super::{World, blocking};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Event {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<String>,
    /// `None`: a tombstone.
    pub value: Option<String>,
    pub headers: BTreeMap<String, String>,
}

impl Event {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.value.as_deref().expect("not a tombstone")).expect("an event is JSON")
    }
}

impl World {
    /// Everything that the topic holds now, partition by partition.
    pub async fn read_topic(&self, topic: &str) -> Vec<Event> {
        let (brokers, topic) = (self.brokers.lock().expect("nothing panics with it").clone(), topic.to_string());
        blocking(move || read(&brokers, &topic)).await
    }
}

fn read(brokers: &str, topic: &str) -> Vec<Event> {
    let wait = Duration::from_secs(20);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "tests-read-topic")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "false")
        .create()
        .expect("a consumer can be made");
    let metadata = consumer.fetch_metadata(Some(topic), wait).expect("the broker answers");
    let mut ends = BTreeMap::new();
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|t| t.partitions()).map(|p| p.id()) {
        let (low, high) = consumer.fetch_watermarks(topic, partition, wait).expect("the broker answers");
        if low < high {
            ends.insert(partition, high);
            list.add_partition_offset(topic, partition, Offset::Beginning).expect("the offset is a good one");
        }
    }
    consumer.assign(&list).expect("partitions can be assigned");
    let mut events = Vec::new();
    while !ends.is_empty() {
        let message =
            consumer.poll(wait).unwrap_or_else(|| panic!("`{topic}` gives no more, but should: {ends:?}")).expect("a message");
        let headers = message.headers().map(|headers| {
            headers
                .iter()
                .map(|h| (h.key.to_string(), String::from_utf8_lossy(h.value.unwrap_or_default()).into_owned()))
                .collect()
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        events.push(Event {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(text),
            value: message.payload().map(text),
            headers: headers.unwrap_or_default(),
        });
        if ends.get(&message.partition()).is_some_and(|end| message.offset() + 1 >= *end) {
            ends.remove(&message.partition());
        }
    }
    events.sort_by_key(|e| (e.partition, e.offset));
    events
}
