//! The Kafka room against real brokers: one for all tests, and own ones for tests that take theirs away.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, reason = "figures of an attack, shown by --nocapture")]

mod broker;
mod consuming;
mod control;
mod producing;
#[allow(dead_code, reason = "the harness of the other integration tests, whose clusters are not needed here")]
#[path = "../it/support/servers.rs"]
mod servers;
mod topics;

use broker::Broker;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tablelift::change::{
    Before, Cell, Change, Column, CommitLsn, Lsn, Op, Position, ReplicaIdentity, RowBuilder, Table, TableName,
};
use tablelift::config::Kafka;
use tablelift::event::{About, Encoder, Frame, Origin};
use tablelift::log::kafka::{Admin, Assignment, Batch, Consumer, Delivery, Partition, Producer, Start, TopicSpec};

/// Long enough for a loaded box.
const PATIENCE: Duration = Duration::from_secs(60);

fn kafka(brokers: &str, prefix: &str) -> Kafka {
    let settings = Vec::new();
    Kafka { brokers: brokers.to_owned(), topic_prefix: prefix.to_owned(), partitions: 2, replication_factor: 1, settings }
}

/// Makes `PREFIX.public.NAME` for each name, and returns the topics.
async fn topics(kafka: &Kafka, names: &[&str], partitions: i32) -> Vec<String> {
    let topics: Vec<String> = names.iter().map(|name| format!("{}.public.{name}", kafka.topic_prefix)).collect();
    let specs: Vec<TopicSpec> = topics.iter().map(|topic| TopicSpec::table(topic, kafka, partitions)).collect();
    Admin::new(kafka).unwrap().ensure(&specs, PATIENCE).await.unwrap();
    topics
}

/// `t (id int8 primary key, note text)`.
fn table() -> Arc<Table> {
    let column = |name: &str, type_oid, identity| Column { name: name.to_owned(), type_oid, type_modifier: -1, identity };
    let columns = vec![column("id", 20, true), column("note", 25, false)];
    Arc::new(Table { relation_id: 1, name: TableName::new("public", "t"), identity: ReplicaIdentity::Default, columns })
}

/// Writes inserts of rows that are numbered.
struct Writer {
    encoder: Encoder,
    frame: Frame,
    note: String,
}

impl Writer {
    fn new(note: &str) -> Self {
        let encoder = Encoder::new(table(), &["id".to_owned()], "db", "c").unwrap();
        Self { encoder, frame: Frame::default(), note: note.to_owned() }
    }

    fn insert(&mut self, id: u64) -> &Frame {
        let id_text = id.to_string();
        let mut row = RowBuilder::new(2);
        row.push(Cell::Text(id_text.as_bytes()));
        row.push(Cell::Text(self.note.as_bytes()));
        let change = Change {
            position: Position::new(1, CommitLsn(Lsn(id)), 0),
            table: Arc::clone(self.encoder.table()),
            op: Op::Insert,
            before: Before::Absent,
            after: Some(row.finish()),
        };
        let about = About { epoch: 1, now: 0, origin: Origin::Stream { xid: 1, committed_at: 0, base: None } };
        self.encoder.change(&mut self.frame, &change, [Cell::Text(id_text.as_bytes())], &about).unwrap();
        &self.frame
    }
}

/// The number in a message's key.
fn id(key: Option<&[u8]>) -> u64 {
    let key: serde_json::Value = serde_json::from_slice(key.unwrap()).unwrap();
    key["id"].as_u64().unwrap()
}

fn ids(batch: &Batch) -> Vec<u64> {
    batch.messages().map(|message| id(message.key)).collect()
}

async fn assigned(consumer: &mut Consumer) -> Assignment {
    match next(consumer).await {
        Delivery::Assigned(assignment) => assignment,
        other => panic!("{other:?}"),
    }
}

async fn next(consumer: &mut Consumer) -> Delivery {
    tokio::time::timeout(PATIENCE, consumer.next()).await.expect("something comes").unwrap()
}

/// Starts all partitions of the next assignment from their beginning.
async fn start_all(consumer: &mut Consumer) -> Vec<Partition> {
    let assignment = assigned(consumer).await;
    let partitions = assignment.partitions.clone();
    consumer.start(assignment, partitions.iter().cloned().map(|partition| (partition, Start::Beginning)));
    partitions
}

/// Sends numbered events, one group for each hundred, and waits until all are acknowledged.
async fn produce(producer: &Producer, topic: &str, partitions: u64, numbers: std::ops::Range<u64>) {
    let (mut writer, mut acks) = (Writer::new("x"), producer.acks());
    let mut group = acks.open();
    for number in numbers.clone() {
        let partition = (number % partitions) as i32;
        producer.send(&group, topic, partition, writer.insert(number)).await.unwrap();
        if number % 100 == 99 || number + 1 == numbers.end {
            acks.seal(std::mem::replace(&mut group, acks.open()), ());
        }
    }
    while !acks.is_empty() {
        tokio::time::timeout(PATIENCE, acks.front()).await.expect("acknowledged in time").unwrap();
    }
}

/// Everything that the topic holds, read as our consumer reads: offsets and numbers per partition.
async fn read(kafka: &Kafka, group: &str, topic: &str, partitions: i32) -> Vec<Vec<(i64, u64)>> {
    let admin = Admin::new(kafka).unwrap();
    let mut wanted = 0;
    for partition in 0..partitions {
        let (low, high) = admin.ends_of(topic, partition, PATIENCE).await.unwrap();
        wanted += (high - low) as usize;
    }
    let mut consumer = Consumer::join(kafka, group, &[topic.to_owned()], partitions as usize).unwrap();
    start_all(&mut consumer).await;
    let mut found = vec![Vec::new(); partitions as usize];
    while found.iter().map(Vec::len).sum::<usize>() < wanted {
        match next(&mut consumer).await {
            Delivery::Batch(batch) => {
                let of = &mut found[batch.partition() as usize];
                of.extend(batch.messages().map(|message| (message.offset, id(message.key))));
            }
            other => panic!("{other:?}"),
        }
    }
    consumer.close().await;
    found
}

fn since(start: Instant) -> String {
    format!("{:.1} s", start.elapsed().as_secs_f64())
}
