//! The control topic: what is read is what was written last by the newest capture.

use crate::{Broker, PATIENCE, kafka};
use std::time::Duration;
use tablelift::config::Kafka;
use tablelift::log::LogError;
use tablelift::log::kafka::{Admin, Contents, Control, ControlTail, Ends, Producer, Tail, TopicSpec};

async fn made(prefix: &str) -> (Kafka, String) {
    let kafka = kafka(&Broker::shared(), prefix);
    let spec = TopicSpec::control(&kafka);
    Admin::new(&kafka).unwrap().ensure(std::slice::from_ref(&spec), PATIENCE).await.unwrap();
    (kafka, spec.name)
}

fn writer(kafka: &Kafka, topic: &str, epoch: u64) -> Control {
    Control::new(Producer::new(kafka, &Ends::default()).unwrap(), topic.to_owned(), epoch)
}

async fn contents(kafka: &Kafka, topic: &str) -> Contents {
    ControlTail::open(kafka, "g", topic).unwrap().read_all(PATIENCE).await.unwrap()
}

fn told(contents: &Contents) -> Vec<(&str, u64, &str)> {
    contents
        .entries
        .values()
        .map(|entry| (entry.name.as_str(), entry.epoch, std::str::from_utf8(&entry.value).unwrap()))
        .collect()
}

#[tokio::test]
async fn the_newest_of_each_name_is_read() {
    let (kafka, topic) = made("newest").await;
    assert_eq!(contents(&kafka, &topic).await, Contents::default());
    let first = writer(&kafka, &topic, 1);
    for (name, value) in [("slot", "a"), ("table@x", "t"), ("slot", "b")] {
        first.write(name, value.as_bytes()).await.unwrap();
    }
    assert_eq!(told(&contents(&kafka, &topic).await), [("slot", 1, "b"), ("table@x", 1, "t")]);
}

#[tokio::test]
async fn a_late_writer_of_an_earlier_epoch_changes_nothing() {
    let (kafka, topic) = made("late").await;
    let (old, new) = (writer(&kafka, &topic, 1), writer(&kafka, &topic, 2));
    old.write("slot", b"old").await.unwrap();
    new.write("slot", b"new").await.unwrap();
    old.write("slot", b"late").await.unwrap();
    let found = contents(&kafka, &topic).await;
    assert_eq!(told(&found), [("slot", 2, "new")]);
    new.sweep(&found).await.unwrap();
    let swept = contents(&kafka, &topic).await;
    assert_eq!(told(&swept), [("slot", 2, "new")]);
    // nothing is left to sweep
    assert_eq!(format!("{swept:?}").matches("superseded: []").count(), 1, "{swept:?}");
}

#[tokio::test]
async fn the_tail_goes_on() {
    let (kafka, topic) = made("tail").await;
    let writer = writer(&kafka, &topic, 1);
    writer.write("a", b"1").await.unwrap();
    let mut tail = ControlTail::open(&kafka, "g", &topic).unwrap();
    let mut next = async || tokio::time::timeout(PATIENCE, tail.next()).await.unwrap();
    assert!(matches!(next().await, Ok(Tail::Entry(entry)) if entry.value == b"1"));
    assert_eq!(next().await, Ok(Tail::CaughtUp));
    writer.write("a", b"2").await.unwrap();
    assert!(matches!(next().await, Ok(Tail::Entry(entry)) if entry.value == b"2"));
    // deleted behind our back, and made again
    let admin = Admin::new(&kafka).unwrap();
    admin.delete(std::slice::from_ref(&topic), PATIENCE).await.unwrap();
    let end = loop {
        match next().await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(end, LogError::NoTopic { .. } | LogError::Gap { .. }), "{end}");
}

#[tokio::test]
async fn much_is_read_to_its_end() {
    let (kafka, topic) = made("much").await;
    let producer = Producer::new(&kafka, &Ends::default()).unwrap();
    let control = Control::new(producer.clone(), topic.clone(), 7);
    let mut acks = producer.acks();
    let group = acks.open();
    for n in 0..20_000 {
        control.send(&group, &format!("k{}", n % 100), n.to_string().as_bytes()).await.unwrap();
    }
    acks.seal(group, ());
    acks.front().await.unwrap();
    let found = contents(&kafka, &topic).await;
    let sum: u64 = told(&found).iter().map(|(_, _, value)| value.parse::<u64>().unwrap()).sum();
    assert_eq!((found.entries.len(), sum), (100, (19_900..20_000).sum()));
}

#[tokio::test]
async fn a_broker_that_is_away_or_a_missing_topic_is_an_error_in_time() {
    let away = ControlTail::open(&kafka("127.0.0.1:9", "p"), "g", "p.tablelift").unwrap().read_all(Duration::from_secs(3)).await;
    assert!(matches!(away, Err(LogError::Away { reason: Some(_), .. })), "{away:?}");
    let kafka = kafka(&Broker::shared(), "missing");
    let missing = ControlTail::open(&kafka, "g", "missing.tablelift").unwrap().read_all(PATIENCE).await;
    assert_eq!(missing, Err(LogError::NoTopic { topic: "missing.tablelift".to_owned() }));
}
