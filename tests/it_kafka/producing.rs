//! What the producer promises, under attack.

use crate::{Broker, PATIENCE, Writer, kafka, produce, read, since, topics};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tablelift::fate::Fate;
use tablelift::log::LogError;
use tablelift::log::kafka::{Admin, Ends, Producer};

#[tokio::test]
async fn groups_are_acknowledged_in_their_order_with_their_ends() {
    let kafka = kafka(&Broker::shared(), "groups");
    let topics = topics(&kafka, &["a", "b"], 2).await;
    let producer = Producer::new(&kafka, &Ends::default()).unwrap();
    let (mut writer, mut acks) = (Writer::new("x"), producer.acks());
    for group_number in 0..50 {
        let group = acks.open();
        for number in 0..group_number {
            let topic = &topics[(number % 2) as usize];
            producer.send(&group, topic, (number / 2 % 2) as i32, writer.insert(number)).await.unwrap();
        }
        acks.seal(group, group_number);
    }
    let mut ends = Ends::default();
    for group_number in 0..50 {
        let (tag, reached) = acks.front().await.unwrap();
        assert_eq!(tag, group_number);
        // an event of the group is the last of its partition so far, or the group has none there
        for (topic, partition, end) in reached.iter().filter(|(_, _, end)| *end > 0) {
            assert!(end > ends.get(topic, partition));
        }
        ends.raise_all(&reached);
    }
    let sum: i64 = ends.iter().map(|(_, _, end)| end).sum();
    assert_eq!(sum, (0..50).sum::<i64>());
    assert!(tokio::time::timeout(Duration::from_millis(50), acks.front()).await.is_err());
}

/// The broker is killed again and again while events flow: each is there once, in order, without a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_in_mid_flight_loses_and_doubles_nothing() {
    let broker = Arc::new(Broker::start("killed"));
    let kafka = kafka(&broker.address(), "killed");
    let topic = topics(&kafka, &["t"], 3).await.remove(0);
    let producer = Producer::new(&kafka, &Ends::default()).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let killer = tokio::task::spawn_blocking({
        let (broker, over) = (Arc::clone(&broker), Arc::clone(&over));
        move || {
            for _ in 0..2 {
                std::thread::sleep(Duration::from_millis(700));
                broker.kill9();
                std::thread::sleep(Duration::from_millis(300));
                broker.start_again();
            }
            over.store(true, Ordering::SeqCst);
        }
    });
    let (start, mut number) = (Instant::now(), 0);
    while !over.load(Ordering::SeqCst) {
        produce(&producer, &topic, 3, number..number + 20_000).await;
        number += 20_000;
    }
    produce(&producer, &topic, 3, number..number + 1000).await;
    killer.await.unwrap();
    let found = read(&kafka, "killed", &topic, 3).await;
    for (partition, events) in found.iter().enumerate() {
        let wanted = (0..number + 1000).filter(|number| number % 3 == partition as u64);
        assert!(events.iter().map(|(_, number)| *number).eq(wanted), "partition {partition}");
    }
    println!("{} events through two kills in {}", number + 1000, since(start));
}

/// Nothing that was sent behind a refused event may get into the log: its cure sends it again, and those behind it are known by then.
#[tokio::test]
async fn nothing_passes_an_event_that_the_broker_refuses() {
    for round in 0..5 {
        let kafka = kafka(&Broker::shared(), &format!("refused{round}"));
        let topics = topics(&kafka, &["t", "other"], 1).await;
        let small = rdkafka_admin(&kafka.brokers);
        set_topic(&small, &topics[0], "max.message.bytes", "100000").await;
        let producer = Producer::new(&kafka, &Ends::default()).unwrap();
        produce(&producer, &topics[0], 1, 0..100).await;
        let (mut writer, mut acks) = (Writer::new("x"), producer.acks());
        let noise = noise(300_000);
        let mut large = Writer::new(&noise);
        let group = acks.open();
        for number in 100..20_000 {
            let frame = if number == 150 { large.insert(number) } else { writer.insert(number) };
            if producer.send(&group, &topics[0], 0, frame).await.is_err() {
                break;
            }
        }
        acks.seal(group, ());
        let error = tokio::time::timeout(PATIENCE, acks.front()).await.unwrap().unwrap_err();
        assert_eq!(error, LogError::TooLarge { topic: topics[0].clone() }, "round {round}");
        assert_eq!(error.fate(), Fate::Halt);
        // dead for all topics: the owner starts again without this one
        let group = acks.open();
        assert_eq!(producer.send(&group, &topics[1], 0, writer.insert(1)).await, Err(error));
        drop(acks);
        producer.close().await;
        let found = read(&kafka, "refused", &topics[0], 1).await.remove(0);
        assert!(found.len() >= 100 && found.len() <= 150, "{}", found.len());
        assert!(found.iter().map(|(_, number)| *number).eq(0..found.len() as u64));
    }
}

#[tokio::test]
async fn an_event_larger_than_the_client_takes_is_not_even_queued() {
    let kafka = kafka(&Broker::shared(), "large");
    let topic = topics(&kafka, &["t"], 1).await.remove(0);
    let producer = Producer::new(&kafka, &Ends::default()).unwrap();
    let acks = producer.acks::<()>();
    let sent = producer.send(&acks.open(), &topic, 0, Writer::new(&"x".repeat(17 << 20)).insert(1)).await;
    assert_eq!(sent, Err(LogError::TooLarge { topic: topic.clone() }));
    assert_eq!(producer.failure(), None);
    // one that is just small enough goes, and comes
    let (mut acks, mut writer) = (producer.acks(), Writer::new(&"x".repeat(15 << 20)));
    let group = acks.open();
    producer.send(&group, &topic, 0, writer.insert(2)).await.unwrap();
    acks.seal(group, ());
    acks.front().await.unwrap();
    assert_eq!(read(&kafka, "large", &topic, 1).await, [[(0, 2)]]);
}

#[tokio::test]
async fn a_topic_made_again_is_noticed() {
    let kafka = kafka(&Broker::shared(), "again");
    let topic = topics(&kafka, &["t"], 1).await.remove(0);
    let producer = Producer::new(&kafka, &Ends::default()).unwrap();
    produce(&producer, &topic, 1, 0..500).await;
    let admin = Admin::new(&kafka).unwrap();
    admin.delete(std::slice::from_ref(&topic), PATIENCE).await.unwrap();
    topics(&kafka, &["t"], 1).await;
    let (mut writer, mut acks) = (Writer::new("x"), producer.acks());
    let group = acks.open();
    let sent = producer.send(&group, &topic, 0, writer.insert(500)).await;
    acks.seal(group, ());
    let error = match sent {
        Err(error) => error,
        Ok(()) => tokio::time::timeout(PATIENCE, acks.front()).await.unwrap().unwrap_err(),
    };
    assert!(matches!(error, LogError::Rewound { offset: 0, end: 500, .. } | LogError::NoTopic { .. }), "{error}");
    assert_eq!((error.fate(), error.topic()), (Fate::Halt, Some(topic.as_str())));
    // a producer that starts with the record knows it too
    let mut ends = Ends::default();
    ends.raise(&topic, 0, 500);
    let producer = Producer::new(&kafka, &ends).unwrap();
    let mut acks = producer.acks();
    let group = acks.open();
    producer.send(&group, &topic, 0, writer.insert(501)).await.unwrap();
    acks.seal(group, ());
    assert!(matches!(acks.front().await, Err(LogError::Rewound { end: 500, .. })));
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_said() {
    let kafka = kafka(&Broker::shared(), "nowhere");
    let producer = Producer::new(&kafka, &Ends::default()).unwrap();
    let (mut writer, mut acks) = (Writer::new("x"), producer.acks());
    let group = acks.open();
    let start = Instant::now();
    let sent = producer.send(&group, "nowhere.public.t", 0, writer.insert(1)).await;
    acks.seal(group, ());
    let error = match sent {
        Err(error) => error,
        Ok(()) => tokio::time::timeout(PATIENCE, acks.front()).await.unwrap().unwrap_err(),
    };
    assert_eq!(error, LogError::NoTopic { topic: "nowhere.public.t".to_owned() }, "after {}", since(start));
}

/// A broker that is away for long costs nothing but time, and the queue is bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_away_at_the_start_is_waited_for() {
    let broker = Broker::start("away");
    let kafka = kafka(&broker.address(), "away");
    let topic = topics(&kafka, &["t"], 1).await.remove(0);
    broker.kill9();
    let producer = Producer::new(&kafka, &Ends::default()).unwrap();
    let writing = tokio::spawn({
        let (producer, topic) = (producer.clone(), topic.clone());
        async move { produce(&producer, &topic, 1, 0..100_000).await }
    });
    while producer.in_flight() < 5_000 || producer.trouble().is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // librdkafka counts what it has to say with what it has to send
    assert!(producer.in_flight() <= 5_100 && !writing.is_finished());
    let trouble = producer.trouble().unwrap();
    assert!(matches!(trouble, LogError::Away { reason: Some(_), .. }), "{trouble}");
    tokio::task::spawn_blocking(move || {
        broker.start_again();
        broker
    })
    .await
    .unwrap();
    writing.await.unwrap();
    assert_eq!(producer.trouble(), None);
    assert_eq!(read(&kafka, "away", &topic, 1).await[0].len(), 100_000);
}

type Client = rdkafka::admin::AdminClient<rdkafka::client::DefaultClientContext>;

fn rdkafka_admin(brokers: &str) -> Client {
    rdkafka::ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap()
}

async fn set_topic(client: &Client, topic: &str, key: &str, value: &str) {
    use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
    let alter = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
    client.alter_configs([&alter], &AdminOptions::new()).await.unwrap();
}

/// Text that does not compress well.
fn noise(length: usize) -> String {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + (state >> 33) as u8 % 75)
    };
    (0..length).map(|_| byte()).collect()
}
