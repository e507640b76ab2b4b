//! librdkafka's settings: ours, and the person's over them, save those that would lose data.

use crate::config::Kafka;
use crate::log::LogError;
use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::producer::BaseProducer;
use std::time::Duration;

/// Settings that are not for a person to set, each with the reason.
pub const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", "`log.brokers` says it"),
    ("metadata.broker.list", "`log.brokers` says it"),
    ("enable.idempotence", "without it a retry can double or reorder events"),
    ("enable.gapless.guarantee", "without it events pass one that failed"),
    ("acks", "fewer acknowledgements lose events with a broker"),
    ("request.required.acks", "fewer acknowledgements lose events with a broker"),
    ("message.timeout.ms", "an event that times out is lost"),
    ("delivery.timeout.ms", "an event that times out is lost"),
    ("retries", "an event that is given up is lost"),
    ("message.send.max.retries", "an event that is given up is lost"),
    ("delivery.report.only.error", "the slot moves by the acknowledgements"),
    ("transactional.id", "the checkpoint in the target takes the place of transactions"),
    ("auto.offset.reset", "a gap must halt its table, never be skipped"),
    ("enable.auto.commit", "the checkpoint in the target rules"),
    ("auto.commit.enable", "the checkpoint in the target rules"),
    ("enable.auto.offset.store", "the checkpoint in the target rules"),
    ("group.id", "the connector's name says it"),
    ("group.instance.id", "two hosts with one file would throw each other out"),
    ("group.protocol", "partitions are taken over by the classic protocol"),
    ("partition.assignment.strategy", "partitions are taken over all at once"),
    ("enable.partition.eof", "it is used by the control topic's reader"),
    ("allow.auto.create.topics", "topics are made by `prepare`, with settings that keep what apply needs"),
    ("test.mock.num.brokers", "a mock broker keeps nothing"),
];

/// What a client is for.
#[derive(Clone, Copy)]
pub(super) enum Role<'a> {
    Admin,
    Producer,
    /// A member of the group, where there are so many partitions in all.
    Member {
        group: &'a str,
        partitions: usize,
    },
    /// Reads one partition from its start. It joins no group, but librdkafka asks for a name, and a broker's access lists may look at it.
    Reader {
        group: &'a str,
    },
}

/// The largest event in bytes, and what a topic of ours takes. Raising it costs memory on both sides.
pub const LARGEST_MESSAGE: usize = 16 << 20;
/// How long a broker may take for one answer of its administration.
pub const BROKER_LIMIT: Duration = Duration::from_secs(20);
/// How many messages the producer's queue holds. librdkafka keeps about 300 bytes beside each; its bytes are bounded by the largest message.
const PRODUCER_MESSAGES: usize = 5_000;
/// What librdkafka fetches ahead in one request, in bytes, compressed. Unpacked it is about five times that, and as much again beside the messages.
const PREFETCH: usize = 1 << 20;

/// The setting by which a person takes another one.
const LARGEST: &str = "message.max.bytes";
/// librdkafka's own `fetch.max.bytes`.
const FETCH: usize = 50 << 20;

const ALL: &[(&str, &str)] = &[
    ("client.id", "tablelift"),
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.max.ms", "2000"),
    ("retry.backoff.ms", "50"),
    ("allow.auto.create.topics", "false"),
    ("log.connection.close", "false"),
    // how long a topic that vanished may still come back
    ("topic.metadata.propagation.max.ms", "10000"),
];

const PRODUCER: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    // a batch that fails for good ends the producer; else the next one would be renumbered and take its place
    ("enable.gapless.guarantee", "true"),
    ("acks", "all"),
    ("message.timeout.ms", "0"),
    ("compression.codec", "lz4"),
    // natural batching: an idle producer sends at once, a busy one fills the next batch while one is under way. With a broker that is far away,
    // more than one under way (up to 5) moves more.
    ("linger.ms", "0"),
    ("max.in.flight", "1"),
];

/// Second names that librdkafka has for settings of ours: a person's must take the place of ours under either.
const ALIASES: &[(&str, &str)] = &[
    ("linger.ms", "queue.buffering.max.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("compression.codec", "compression.type"),
];

const READING: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.error.backoff.ms", "100"),
    // how soon a partition whose queue was full is fetched again
    ("fetch.queue.backoff.ms", "2"),
    ("isolation.level", "read_uncommitted"),
];

const MEMBER: &[(&str, &str)] = &[
    ("group.protocol", "classic"),
    // eager, and even over tables of one partition each
    ("partition.assignment.strategy", "roundrobin"),
    // how long the partitions of a worker that was killed lie idle
    ("session.timeout.ms", "6000"),
    ("heartbeat.interval.ms", "1500"),
];

/// The settings of a client: ours, then the person's. What a person must not set stays ours, whatever the file says.
pub(super) fn client(kafka: &Kafka, role: Role<'_>) -> ClientConfig {
    let mut config = ClientConfig::new();
    let set = |config: &mut ClientConfig, pairs: &[(&str, &str)]| {
        for (key, value) in pairs {
            config.set(*key, *value);
        }
    };
    set(&mut config, ALL);
    config.set("bootstrap.servers", &kafka.brokers).set(LARGEST, LARGEST_MESSAGE.to_string());
    match role {
        Role::Admin => {}
        Role::Producer => {
            set(&mut config, PRODUCER);
            // what does not fit even into an empty queue would wait for ever
            config.set("queue.buffering.max.kbytes", ((largest(kafka) >> 10) + 1024).to_string());
            config.set("queue.buffering.max.messages", PRODUCER_MESSAGES.to_string());
        }
        Role::Reader { group } => {
            set(&mut config, READING);
            config.set("group.id", group).set("enable.partition.eof", "true");
            // librdkafka wants no less
            config.set("fetch.max.bytes", largest(kafka).max(FETCH).to_string());
        }
        Role::Member { group, partitions } => {
            // each partition has a queue of its own, and fetches when that holds less than its share
            let share = (PREFETCH / partitions.max(1)).clamp(32 << 10, 256 << 10);
            set(&mut config, READING);
            set(&mut config, MEMBER);
            config.set("group.id", group).set("queued.max.messages.kbytes", (share >> 10).to_string());
            config.set("fetch.message.max.bytes", share.to_string()).set("fetch.max.bytes", PREFETCH.to_string());
            // librdkafka would raise `fetch.max.bytes` to it; a larger message comes all the same
            config.remove(LARGEST);
        }
    }
    let produced = |key: &str| key != LARGEST || !matches!(role, Role::Member { .. });
    for (key, value) in kafka.settings.iter().filter(|(key, _)| refusal(key).is_none() && produced(key)) {
        for (ours, _) in ALIASES.iter().filter(|(_, alias)| alias == key) {
            config.remove(ours);
        }
        config.set(key, value);
    }
    config
}

/// The largest message that is sent, in bytes.
fn largest(kafka: &Kafka) -> usize {
    let set = kafka.settings.iter().find(|(key, _)| key == LARGEST).and_then(|(_, value)| value.parse().ok());
    set.unwrap_or(LARGEST_MESSAGE)
}

fn refusal(key: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == key).map(|(_, why)| *why)
}

/// The person's settings that we refuse, each with the reason.
pub fn refused_settings(kafka: &Kafka) -> Vec<(String, &'static str)> {
    kafka.settings.iter().filter_map(|(key, _)| refusal(key).map(|why| (key.clone(), why))).collect()
}

/// The person's settings that librdkafka does not take, each with its reason; last, under the name of a role, what does not go together.
/// Connects to nothing.
pub fn unknown_settings(kafka: &Kafka) -> Vec<(String, String)> {
    let mut wrong: Vec<(String, String)> = Vec::new();
    for (key, value) in kafka.settings.iter().filter(|(key, _)| refusal(key).is_none()) {
        let mut one = ClientConfig::new();
        if let Err(error) = one.set(key, value).create_native_config() {
            wrong.push((key.clone(), without(reason(&error), value)));
        }
    }
    if wrong.is_empty() {
        let group = Role::Member { group: "tablelift", partitions: 1 };
        let producer = client(kafka, Role::Producer).create::<BaseProducer>().err().map(|error| ("producer", error));
        let consumer = client(kafka, group).create::<BaseConsumer>().err().map(|error| ("consumer", error));
        wrong.extend(producer.into_iter().chain(consumer).map(|(role, error)| (role.to_owned(), settings_reason(kafka, &error))));
    }
    wrong
}

/// As a [`LogError::Settings`], without any of the person's values: one may be a password.
pub(super) fn settings_error(kafka: &Kafka, error: &KafkaError) -> LogError {
    LogError::Settings { reason: settings_reason(kafka, error) }
}

fn settings_reason(kafka: &Kafka, error: &KafkaError) -> String {
    kafka.settings.iter().fold(reason(error), |text, (_, value)| without(text, value))
}

fn reason(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, reason, key, _) => format!("`{key}`: {reason}"),
        KafkaError::ClientCreation(reason) => reason.clone(),
        other => other.to_string(),
    }
}

/// Short values are words such as `true`; longer ones may be secrets.
fn without(text: String, value: &str) -> String {
    if value.len() < 4 { text } else { text.replace(value, "...") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka(settings: &[(&str, &str)]) -> Kafka {
        Kafka {
            brokers: "127.0.0.1:1".to_owned(),
            topic_prefix: "p".to_owned(),
            partitions: 1,
            replication_factor: 1,
            settings: settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        }
    }

    #[test]
    fn the_persons_settings_win_but_for_those_that_lose_data() {
        let kafka = kafka(&[("linger.ms", "7"), ("acks", "1"), ("auto.offset.reset", "latest"), ("security.protocol", "ssl")]);
        let config = client(&kafka, Role::Producer);
        assert_eq!((config.get("linger.ms"), config.get("acks")), (Some("7"), Some("all")));
        let aliased = client(&self::kafka(&[("queue.buffering.max.ms", "9")]), Role::Producer);
        assert_eq!((aliased.get("linger.ms"), aliased.get("queue.buffering.max.ms")), (None, Some("9")));
        assert_eq!(client(&kafka, Role::Reader { group: "g" }).get("auto.offset.reset"), Some("error"));
        let refused: Vec<String> = refused_settings(&kafka).into_iter().map(|(key, _)| key).collect();
        assert_eq!(refused, ["acks", "auto.offset.reset"]);
    }

    #[test]
    fn a_larger_message_fits_everywhere() {
        for bytes in ["17000000", "40000000", "500000000"] {
            let kafka = kafka(&[("message.max.bytes", bytes)]);
            assert_eq!(unknown_settings(&kafka), []);
            let producer = client(&kafka, Role::Producer);
            let queue: usize = producer.get("queue.buffering.max.kbytes").unwrap().parse().unwrap();
            assert!(queue << 10 > bytes.parse::<usize>().unwrap(), "{bytes} bytes, and a queue of {queue} kB");
            assert!(client(&kafka, Role::Reader { group: "g" }).create::<BaseConsumer>().is_ok(), "{bytes}");
        }
    }

    #[test]
    fn what_librdkafka_does_not_take_is_said_without_values() {
        assert_eq!(unknown_settings(&kafka(&[])), []);
        assert_eq!(unknown_settings(&kafka(&[("linger.ms", "7"), ("sasl.password", "hunter2!")])), []);
        let wrong = unknown_settings(&kafka(&[("lingerms", "7"), ("security.protocol", "hunter2!"), ("acks", "1")]));
        let keys: Vec<&str> = wrong.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["lingerms", "security.protocol"]);
        assert!(!format!("{wrong:?}").contains("hunter2!"), "{wrong:?}");
        let apart = unknown_settings(&kafka(&[("ssl.ca.location", "/nowhere/ca.pem"), ("security.protocol", "ssl")]));
        assert_eq!(apart.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["producer", "consumer"], "{apart:?}");
    }
}
