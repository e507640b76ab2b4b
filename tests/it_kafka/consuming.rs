//! What the consumer promises, under attack.

use crate::{Broker, PATIENCE, assigned, id, ids, kafka, next, produce, start_all, table, topics};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tablelift::change::{CommitLsn, Lsn, Op, Position};
use tablelift::config::Kafka;
use tablelift::event::{Decoder, Kind};
use tablelift::log::LogError;
use tablelift::log::kafka::{Admin, Consumer, Delivery, Ends, Partition, Producer, Start};

async fn filled(kafka: &Kafka, name: &str, partitions: i32, events: u64) -> String {
    let topic = topics(kafka, &[name], partitions).await.remove(0);
    produce(&Producer::new(kafka, &Ends::default()).unwrap(), &topic, partitions as u64, 0..events).await;
    topic
}

fn partition(topic: &str, partition: i32) -> Partition {
    Partition { topic: Arc::from(topic), partition }
}

/// The next batch that holds something.
async fn batch(consumer: &mut Consumer) -> tablelift::log::kafka::Batch {
    match next(consumer).await {
        Delivery::Batch(batch) => batch,
        other => panic!("{other:?}"),
    }
}

async fn delete_before(kafka: &Kafka, topic: &str, offset: i64) {
    let client: rdkafka::admin::AdminClient<rdkafka::client::DefaultClientContext> =
        rdkafka::ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset(topic, 0, rdkafka::Offset::Offset(offset)).unwrap();
    client.delete_records(&list, &rdkafka::admin::AdminOptions::new()).await.unwrap();
}

#[tokio::test]
async fn events_come_as_they_were_written() {
    let kafka = kafka(&Broker::shared(), "whole");
    let topic = filled(&kafka, "t", 1, 10).await;
    let mut consumer = Consumer::join(&kafka, "whole", &[topic], 1).unwrap();
    start_all(&mut consumer).await;
    let batch = batch(&mut consumer).await;
    assert_eq!((batch.len(), batch.next_offset()), (10, Some(10)));
    let mut decoder = Decoder::new(table());
    for (number, message) in (0..).zip(batch.messages()) {
        let event = decoder.event(message.value, message.headers()).unwrap();
        assert_eq!((event.epoch, event.position), (1, Some(Position::new(1, CommitLsn(Lsn(number)), 0))));
        assert!(matches!(event.kind, Kind::Change { change, .. } if change.op == Op::Insert));
        assert_eq!((message.offset, id(message.key)), (number as i64, number));
        assert!(message.timestamp > 1_700_000_000_000);
    }
    consumer.close().await;
}

#[tokio::test]
async fn a_gap_at_the_start_faults_its_partition_only() {
    let kafka = kafka(&Broker::shared(), "gap");
    let (cut, whole) = (filled(&kafka, "cut", 1, 100).await, filled(&kafka, "whole", 1, 5).await);
    delete_before(&kafka, &cut, 50).await;
    let mut consumer = Consumer::join(&kafka, "gap", &[cut.clone(), whole.clone()], 2).unwrap();
    let assignment = assigned(&mut consumer).await;
    consumer.start(assignment, [(partition(&cut, 0), Start::At(49)), (partition(&whole, 0), Start::At(2))]);
    let gap = LogError::Gap { topic: cut.clone(), partition: 0, wanted: 49, low: 50, high: 100 };
    match next(&mut consumer).await {
        Delivery::Fault(fault) => assert_eq!(fault, gap),
        other => panic!("{other:?}"),
    }
    assert_eq!(ids(&batch(&mut consumer).await), [2, 3, 4]);
    // beyond the end: the log is another one, or lost its tail
    consumer.seek(&partition(&cut, 0), Start::At(101));
    assert!(matches!(next(&mut consumer).await, Delivery::Fault(LogError::Gap { wanted: 101, high: 100, .. })));
    // cured
    consumer.seek(&partition(&cut, 0), Start::At(50));
    let batch = batch(&mut consumer).await;
    assert_eq!((batch.topic().as_ref(), batch.len()), (cut.as_str(), 50));
    consumer.close().await;
}

#[tokio::test]
async fn a_gap_in_mid_reading_is_noticed() {
    let kafka = kafka(&Broker::shared(), "cut");
    let topic = filled(&kafka, "t", 1, 50_000).await;
    let mut consumer = Consumer::join(&kafka, "cut", std::slice::from_ref(&topic), 200).unwrap();
    start_all(&mut consumer).await;
    // the allowance is small: what is not taken stays in the broker
    let first = batch(&mut consumer).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    delete_before(&kafka, &topic, 49_000).await;
    let mut expected = first.next_offset().unwrap();
    drop(first);
    let fault = loop {
        match next(&mut consumer).await {
            Delivery::Batch(batch) => {
                for message in batch.messages() {
                    assert_eq!(message.offset, expected);
                    expected += 1;
                }
            }
            Delivery::Fault(fault) => break fault,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fault, LogError::Gap { topic, partition: 0, wanted: expected, low: 49_000, high: 50_000 });
    assert!(expected < 49_000);
    consumer.close().await;
}

#[tokio::test]
async fn a_topic_made_again_is_a_gap_and_a_deleted_one_is_said() {
    let kafka = kafka(&Broker::shared(), "remade");
    let topic = filled(&kafka, "t", 1, 100).await;
    let mut consumer = Consumer::join(&kafka, "remade", std::slice::from_ref(&topic), 1).unwrap();
    start_all(&mut consumer).await;
    assert_eq!(batch(&mut consumer).await.next_offset(), Some(100));
    Admin::new(&kafka).unwrap().delete(std::slice::from_ref(&topic), PATIENCE).await.unwrap();
    let start = Instant::now();
    loop {
        match next(&mut consumer).await {
            Delivery::Fault(fault) => {
                assert_eq!(fault, LogError::NoTopic { topic: topic.clone() });
                break;
            }
            Delivery::Revoked(_) => {}
            Delivery::Assigned(assignment) => consumer.start(assignment, []),
            other => panic!("{other:?}"),
        }
    }
    println!("deletion noticed after {:?}", start.elapsed());
    consumer.close().await;
    filled(&kafka, "t", 1, 30).await;
    let mut consumer = Consumer::join(&kafka, "remade", std::slice::from_ref(&topic), 1).unwrap();
    let assignment = assigned(&mut consumer).await;
    consumer.start(assignment, [(partition(&topic, 0), Start::At(100))]);
    assert!(matches!(next(&mut consumer).await, Delivery::Fault(LogError::Gap { wanted: 100, low: 0, high: 30, .. })));
    consumer.close().await;
}

#[tokio::test]
async fn a_topic_made_again_in_mid_reading_gives_nothing_of_the_new_one() {
    let kafka = kafka(&Broker::shared(), "swapped");
    let topic = filled(&kafka, "t", 1, 100).await;
    let mut consumer = Consumer::join(&kafka, "swapped", std::slice::from_ref(&topic), 1).unwrap();
    start_all(&mut consumer).await;
    assert_eq!(batch(&mut consumer).await.next_offset(), Some(100));
    Admin::new(&kafka).unwrap().delete(std::slice::from_ref(&topic), PATIENCE).await.unwrap();
    // refilled past our place
    filled(&kafka, "t", 1, 300).await;
    let (start, mut faults) = (Instant::now(), Vec::new());
    while start.elapsed() < Duration::from_secs(5) {
        match tokio::time::timeout(Duration::from_secs(1), consumer.next()).await.map(Result::unwrap) {
            Err(_) | Ok(Delivery::Revoked(_)) => {}
            Ok(Delivery::Assigned(assignment)) => {
                let all = assignment.partitions.clone();
                consumer.start(assignment, all.into_iter().map(|partition| (partition, Start::At(100))));
            }
            Ok(Delivery::Fault(fault)) => faults.push(fault),
            Ok(Delivery::Batch(batch)) => panic!("{batch:?} is of another log"),
        }
    }
    assert!(matches!(faults[..], [LogError::Gap { wanted: 100, .. } | LogError::NoTopic { .. }, ..]), "{faults:?}");
    consumer.close().await;
}

/// Two members share a topic, one comes and goes; each event is applied once, by the checkpoints.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_move_between_members_without_loss() {
    let kafka = kafka(&Broker::shared(), "moves");
    let topic = topics(&kafka, &["t"], 4).await.remove(0);
    let producer = Producer::new(&kafka, &Ends::default()).unwrap();
    let checkpoints: Checkpoints = Arc::default();
    let first = tokio::spawn(member(kafka.clone(), topic.clone(), Arc::clone(&checkpoints), None));
    produce(&producer, &topic, 4, 0..2000).await;
    let mut wanted = 2000;
    for round in 1..4 {
        let second =
            tokio::spawn(member(kafka.clone(), topic.clone(), Arc::clone(&checkpoints), Some(Duration::from_millis(1500))));
        let mut from = round * 10_000_000;
        while !second.is_finished() {
            produce(&producer, &topic, 4, from..from + 1000).await;
            (from, wanted) = (from + 1000, wanted + 1000);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(second.await.unwrap() > 0, "the second member had its share in round {round}");
    }
    let start = Instant::now();
    while checkpoints.lock().unwrap().values().map(|(next, _)| *next as usize).sum::<usize>() < wanted {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (partition, (next, applied)) in checkpoints.lock().unwrap().iter() {
        assert_eq!(*next as usize, applied.len());
        assert!(applied.is_sorted() && applied.iter().all(|number| number % 4 == partition.partition as u64));
    }
    first.abort();
}

/// Per partition the next offset and what was applied, written together as a target's transaction would.
type Checkpoints = Arc<std::sync::Mutex<BTreeMap<Partition, (i64, Vec<u64>)>>>;

async fn member(kafka: Kafka, topic: String, checkpoints: Checkpoints, stay: Option<Duration>) -> usize {
    let mut consumer = Consumer::join(&kafka, "moves", &[topic], 4).unwrap();
    let (start, mut applied) = (Instant::now(), 0);
    // a busy machine may take its time to give a newcomer its share
    while stay.is_none_or(|stay| start.elapsed() < stay || applied == 0 && start.elapsed() < PATIENCE) {
        let delivery = tokio::time::timeout(Duration::from_millis(100), consumer.next()).await;
        match delivery.ok().map(Result::unwrap) {
            None | Some(Delivery::Revoked(_)) => {}
            Some(Delivery::Assigned(assignment)) => {
                let places = checkpoints.lock().unwrap();
                let starts = assignment.partitions.iter().cloned().map(|partition| {
                    let next = places.get(&partition).map_or(0, |(next, _)| *next);
                    (partition, Start::At(next))
                });
                let starts: Vec<_> = starts.collect();
                drop(places);
                consumer.start(assignment, starts);
            }
            Some(Delivery::Batch(batch)) => {
                let place = Partition { topic: Arc::clone(batch.topic()), partition: batch.partition() };
                let mut places = checkpoints.lock().unwrap();
                let (next, numbers) = places.entry(place.clone()).or_default();
                // the epoch's part: a member that lost the partition finds the checkpoint moved
                if batch.messages().next().unwrap().offset == *next {
                    numbers.extend(ids(&batch));
                    *next = batch.next_offset().unwrap();
                    applied += batch.len();
                    consumer.applied(&place, *next);
                }
            }
            Some(Delivery::Fault(fault)) => panic!("{fault}"),
        }
    }
    consumer.close().await;
    applied
}

#[tokio::test]
async fn leaving_hands_over_at_once() {
    let kafka = kafka(&Broker::shared(), "leaving");
    let topic = filled(&kafka, "t", 2, 10).await;
    let mut first = Consumer::join(&kafka, "leaving", std::slice::from_ref(&topic), 2).unwrap();
    assert_eq!(start_all(&mut first).await.len(), 2);
    let admin = Admin::new(&kafka).unwrap();
    assert_eq!(admin.members("leaving", PATIENCE).await, Ok(1));
    let start = Instant::now();
    first.close().await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(admin.members("leaving", PATIENCE).await, Ok(0));
    let mut second = Consumer::join(&kafka, "leaving", std::slice::from_ref(&topic), 2).unwrap();
    assert_eq!(start_all(&mut second).await.len(), 2);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    second.close().await;
}

#[tokio::test]
async fn a_partition_that_is_held_slow_or_paused_holds_up_no_other() {
    let kafka = kafka(&Broker::shared(), "slow");
    let topics = [filled(&kafka, "a", 1, 40_000).await, filled(&kafka, "b", 1, 40_000).await];
    // many partitions, so that each has little
    let mut consumer = Consumer::join(&kafka, "slow", &topics, 128).unwrap();
    start_all(&mut consumer).await;
    let (mut kept, mut other) = (Vec::new(), 0);
    while other < 40_000 {
        let batch = batch(&mut consumer).await;
        if **batch.topic() == *topics[0] {
            kept.push(batch);
        } else {
            other += batch.len();
        }
    }
    let held: usize = kept.iter().map(|batch| batch.weight()).sum();
    assert!(held < 600_000, "{held} bytes were handed out for a partition that is not taken");
    // taken again, it goes on where it stopped
    let mut expected = kept.iter().flat_map(ids).count() as u64;
    kept.clear();
    let place = partition(&topics[0], 0);
    let more = batch(&mut consumer).await;
    assert_eq!(ids(&more)[0], expected);
    expected += more.len() as u64;
    drop(more);
    consumer.pause(&place);
    let mut late = 0;
    while let Ok(delivery) = tokio::time::timeout(Duration::from_millis(500), consumer.next()).await {
        let Delivery::Batch(batch) = delivery.unwrap() else { panic!("only batches come") };
        assert_eq!(ids(&batch)[0], expected);
        (expected, late) = (expected + batch.len() as u64, late + 1);
    }
    assert!(late < 4, "{late} batches after a pause");
    consumer.resume(&place);
    assert_eq!(ids(&batch(&mut consumer).await)[0], expected);
    // nothing that was read before a seek comes after it
    for offset in [39_000, 7, 20_000] {
        consumer.seek(&place, Start::At(offset));
        assert_eq!(ids(&batch(&mut consumer).await)[0], offset as u64);
    }
    consumer.seek(&place, Start::Held);
    assert!(tokio::time::timeout(Duration::from_millis(500), consumer.next()).await.is_err());
    consumer.seek(&place, Start::Beginning);
    assert_eq!(ids(&batch(&mut consumer).await)[0], 0);
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_goes_and_comes_is_waited_for() {
    let broker = Broker::start("comes");
    let kafka = kafka(&broker.address(), "comes");
    let topic = filled(&kafka, "t", 1, 10).await;
    let mut consumer = Consumer::join(&kafka, "comes", std::slice::from_ref(&topic), 1).unwrap();
    start_all(&mut consumer).await;
    assert_eq!(batch(&mut consumer).await.len(), 10);
    broker.kill9();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(matches!(consumer.trouble().await, Some(LogError::Away { .. })));
    let broker = tokio::task::spawn_blocking(move || {
        broker.start_again();
        broker
    });
    let _broker = broker.await.unwrap();
    let producer = Producer::new(&kafka, &Ends::default()).unwrap();
    produce(&producer, &topic, 1, 10..20).await;
    let mut expected = 10;
    while expected < 20 {
        match next(&mut consumer).await {
            Delivery::Batch(batch) => {
                assert_eq!(ids(&batch)[0], expected);
                expected = batch.next_offset().unwrap() as u64;
            }
            Delivery::Assigned(assignment) => {
                consumer.start(assignment, [(partition(&topic, 0), Start::At(expected as i64))]);
            }
            Delivery::Revoked(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(consumer.trouble().await, None);
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_takes_its_time_starts_what_is_its_own_by_then() {
    let kafka = kafka(&Broker::shared(), "hesitant");
    let topic = filled(&kafka, "t", 4, 400).await;
    let mut first = Consumer::join(&kafka, "hesitant", std::slice::from_ref(&topic), 4).unwrap();
    let early = assigned(&mut first).await;
    assert_eq!(early.partitions.len(), 4);
    let mut second = Consumer::join(&kafka, "hesitant", std::slice::from_ref(&topic), 4).unwrap();
    // the group is of two now, and waits for the first to let go
    tokio::time::sleep(Duration::from_secs(3)).await;
    let partitions = early.partitions.clone();
    first.start(early, partitions.into_iter().map(|partition| (partition, Start::Beginning)));
    let (mut seen, start) = (BTreeMap::new(), Instant::now());
    while seen.values().sum::<usize>() < 400 {
        assert!(start.elapsed() < PATIENCE, "{seen:?}");
        let (member, delivery) = tokio::select! {
            delivery = first.next() => (&mut first, delivery.unwrap()),
            delivery = second.next() => (&mut second, delivery.unwrap()),
        };
        match delivery {
            Delivery::Assigned(assignment) => {
                assert_eq!(assignment.partitions.len(), 2);
                let all = assignment.partitions.clone();
                member.start(assignment, all.into_iter().map(|partition| (partition, Start::Beginning)));
            }
            // the second time counts: a worker starts from its checkpoint
            Delivery::Batch(batch) if batch.messages().next().unwrap().offset == 0 => {
                seen.insert(batch.partition(), batch.len());
            }
            Delivery::Batch(batch) => *seen.entry(batch.partition()).or_default() += batch.len(),
            Delivery::Revoked(_) => seen.clear(),
            Delivery::Fault(fault) => panic!("{fault}"),
        }
    }
    first.close().await;
    second.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_not_there_holds_up_neither_joining_nor_leaving() {
    let broker = Broker::reserved("later");
    let kafka = kafka(&broker.address(), "later");
    let mut consumer = Consumer::join(&kafka, "later", &["later.public.t".to_owned()], 1).unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(1), consumer.next()).await.is_err());
    assert!(matches!(consumer.trouble().await, Some(LogError::Away { reason: Some(_), .. })));
    let start = Instant::now();
    consumer.close().await;
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    let mut consumer = Consumer::join(&kafka, "later", &["later.public.t".to_owned()], 1).unwrap();
    let broker = tokio::task::spawn_blocking(move || {
        broker.start_again();
        broker
    });
    let _broker = broker.await.unwrap();
    // the topic comes last of all, and is told missing until then
    filled(&kafka, "t", 1, 3).await;
    loop {
        match next(&mut consumer).await {
            Delivery::Batch(batch) => break assert_eq!(batch.len(), 3),
            Delivery::Assigned(assignment) => {
                let all = assignment.partitions.clone();
                consumer.start(assignment, all.into_iter().map(|partition| (partition, Start::At(0))));
            }
            Delivery::Fault(LogError::NoTopic { .. }) | Delivery::Revoked(_) => {}
            other => panic!("{other:?}"),
        }
    }
    consumer.close().await;
}
