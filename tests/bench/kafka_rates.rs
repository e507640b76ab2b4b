//! What an event costs on its way through Kafka: encoded and produced, consumed and decoded, and how long it takes.
//!
//! `cargo run --release --example kafka_rates -- BROKERS [EVENTS] [PARTITIONS] [KEY=VALUE ...]`: the last are librdkafka's settings.
//! In the environment: `BROKER_PID` counts that process's CPU too, `PER_MS` is how many events a millisecond the latency is taken at, `NO_LATENCY`
//! leaves that out.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for people")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tablelift::change::*;
use tablelift::config::Kafka;
use tablelift::event::{About, Decoder, Encoder, Frame, Kind, Origin, Partitions};
use tablelift::log::kafka::{Admin, Batch, Consumer, Delivery, Ends, Producer, Start, TopicSpec};

const LIMIT: Duration = Duration::from_secs(30);

fn table() -> Arc<Table> {
    let columns =
        [("id", 20), ("customer", 20), ("state", 25), ("total", 1700), ("note", 25), ("paid", 16), ("created_at", 1184)];
    let column =
        |(name, type_oid): (&str, u32)| Column { name: name.into(), type_oid, type_modifier: -1, identity: name == "id" };
    let columns = columns.into_iter().map(column).collect();
    Arc::new(Table { relation_id: 1, name: TableName::new("public", "orders"), identity: ReplicaIdentity::Default, columns })
}

struct Source {
    encoder: Encoder,
    frame: Frame,
    partitions: Partitions,
}

impl Source {
    fn event(&mut self, id: u64) -> (i32, &Frame) {
        let (id_text, customer) = (id.to_string(), (id * 7919 % 100_003).to_string());
        let note = format!("a note for order {id}, left at {}", id.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let texts = [&id_text, &customer, "open", "1234.50", &note, "t", "2026-11-21 10:20:30.123456+00"];
        let mut row = RowBuilder::new(texts.len());
        texts.iter().for_each(|text| row.push(Cell::Text(text.as_bytes())));
        let row = row.finish();
        let change = Change {
            position: Position::new(1, CommitLsn(Lsn(0x16_B374_D848 + id)), 0),
            table: Arc::clone(self.encoder.table()),
            op: Op::Insert,
            before: Before::Absent,
            after: Some(row.clone()),
        };
        let about = About { epoch: 7, now: now(), origin: Origin::Stream { xid: 4711, committed_at: now(), base: None } };
        self.encoder.change(&mut self.frame, &change, self.encoder.key_cells(&row), &about).unwrap();
        (self.partitions.of(self.frame.key()), &self.frame)
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as i64
}

/// CPU seconds of a process, all threads.
fn cpu(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    fields.get(11..13).map_or(0.0, |times| times.iter().map(|time| time.parse::<f64>().unwrap()).sum::<f64>() / 100.0)
}

fn memory_mib(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

struct Clock(Instant, f64, f64, Option<String>);

impl Clock {
    fn start(what: &'static str) -> Self {
        let broker = std::env::var("BROKER_PID").ok();
        // the peak starts anew
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        println!("{what}, from {} MiB:", memory_mib("VmRSS"));
        Self(Instant::now(), cpu("self"), broker.as_deref().map_or(0.0, cpu), broker)
    }

    fn stop(self, events: u64) {
        let Self(start, ours, theirs, broker) = self;
        let (wall, events) = (start.elapsed().as_secs_f64(), events as f64);
        let ours = (cpu("self") - ours) * 1e6 / events;
        let theirs = (broker.as_deref().map_or(0.0, cpu) - theirs) * 1e6 / events;
        let peak = memory_mib("VmHWM");
        println!("  {:.0} events/s, {ours:.2} us CPU an event, the broker {theirs:.2}, peak {peak} MiB", events / wall);
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let skip_latency = std::env::var("NO_LATENCY").is_ok();
    let mut args = std::env::args().skip(1);
    let brokers = args.next().expect("the brokers' addresses");
    let events: u64 = args.next().map_or(1_000_000, |text| text.parse().unwrap());
    let partitions: i32 = args.next().map_or(1, |text| text.parse().unwrap());
    let settings =
        args.map(|pair| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap()).collect();
    let kafka = Kafka { brokers, topic_prefix: format!("rates-{}", now()), partitions, replication_factor: 1, settings };
    let topic = format!("{}.public.orders", kafka.topic_prefix);
    Admin::new(&kafka).unwrap().ensure(&[TopicSpec::table(&topic, &kafka, partitions)], LIMIT).await.unwrap();
    let encoder = Encoder::new(table(), &["id".to_owned()], "shop", "shop-orders").unwrap();
    let mut source = Source { encoder, frame: Frame::default(), partitions: Partitions::new(partitions).unwrap() };
    encode_only(&mut source, events);
    produce(&kafka, &topic, &mut source, events).await;
    consume(&kafka, &topic, partitions, events).await;
    if !skip_latency {
        latency(&kafka, &topic, &mut source, partitions).await;
    }
    Admin::new(&kafka).unwrap().delete(&[topic], LIMIT).await.unwrap();
}

fn encode_only(source: &mut Source, events: u64) {
    let clock = Clock::start("encode alone");
    let bytes: usize = (0..events).map(|id| source.event(id).1.weight()).sum();
    clock.stop(events);
    println!("  {} bytes an event", bytes as u64 / events);
}

async fn produce(kafka: &Kafka, topic: &str, source: &mut Source, events: u64) {
    let producer = Producer::new(kafka, &Ends::default()).unwrap();
    let mut acks = producer.acks();
    let clock = Clock::start("encode and produce");
    for first in (0..events).step_by(1000) {
        let group = acks.open();
        for id in first..(first + 1000).min(events) {
            let (partition, frame) = source.event(id);
            producer.send(&group, topic, partition, frame).await.unwrap();
        }
        acks.seal(group, ());
    }
    while !acks.is_empty() {
        acks.front().await.unwrap();
    }
    clock.stop(events);
    drop(acks);
    producer.close().await;
}

async fn join(kafka: &Kafka, group: &str, topic: &str, partitions: i32, start: impl Fn(i32) -> Start) -> Consumer {
    let mut consumer = Consumer::join(kafka, &format!("{topic}-{group}"), &[topic.to_owned()], partitions as usize).unwrap();
    let Delivery::Assigned(assignment) = consumer.next().await.unwrap() else { panic!("an assignment comes first") };
    let starts: Vec<_> = assignment.partitions.iter().map(|partition| (partition.clone(), start(partition.partition))).collect();
    consumer.start(assignment, starts);
    consumer
}

async fn batch(consumer: &mut Consumer) -> Batch {
    match consumer.next().await.unwrap() {
        Delivery::Batch(batch) => batch,
        other => panic!("{other:?}"),
    }
}

async fn consume(kafka: &Kafka, topic: &str, partitions: i32, events: u64) {
    let mut consumer = join(kafka, "consume", topic, partitions, |_| Start::Beginning).await;
    let mut decoder = Decoder::new(table());
    let clock = Clock::start("consume and decode");
    let (mut seen, mut cells, mut batches) = (0, 0, 0u64);
    while seen < events {
        let batch = batch(&mut consumer).await;
        batches += 1;
        for message in batch.messages() {
            let event = decoder.event(message.value, message.headers()).unwrap();
            let Kind::Change { change, .. } = event.kind else { panic!("only changes are here") };
            cells += change.after.unwrap().len();
            seen += 1;
        }
    }
    clock.stop(events);
    println!("  {} cells in {batches} batches", cells);
    consumer.close().await;
}

/// One event at a time, so many a millisecond.
async fn latency(kafka: &Kafka, topic: &str, source: &mut Source, partitions: i32) {
    let admin = Admin::new(kafka).unwrap();
    let mut ends = Vec::new();
    for partition in 0..partitions {
        ends.push(admin.ends_of(topic, partition, LIMIT).await.unwrap().1);
    }
    let mut consumer = join(kafka, "latency", topic, partitions, |partition| Start::At(ends[partition as usize])).await;
    let producer = Producer::new(kafka, &Ends::default()).unwrap();
    let reading = tokio::spawn(async move {
        let (mut decoder, mut delays) = (Decoder::new(table()), Vec::new());
        while delays.len() < 10_000 {
            let batch = batch(&mut consumer).await;
            for message in batch.messages() {
                let event = decoder.event(message.value, message.headers()).unwrap();
                let Kind::Change { at, .. } = event.kind else { panic!("only changes are here") };
                delays.push(now() - at);
            }
        }
        consumer.close().await;
        delays
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut acks = producer.acks();
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    let each: u64 = std::env::var("PER_MS").map_or(1, |text| text.parse().unwrap());
    let clock = Clock::start("some each millisecond");
    for id in 0..10_000 {
        if id % each == 0 {
            tick.tick().await;
        }
        let group = acks.open();
        let (partition, frame) = source.event(id);
        producer.send(&group, topic, partition, frame).await.unwrap();
        acks.seal(group, ());
    }
    while !acks.is_empty() {
        acks.front().await.unwrap();
    }
    let mut delays = reading.await.unwrap().split_off(1000);
    clock.stop(10_000);
    delays.sort_unstable();
    let at = |part: f64| delays[((delays.len() - 1) as f64 * part) as usize] as f64 / 1000.0;
    println!("  encoded to decoded: p50 {:.2}, p99 {:.2}, max {:.2} ms", at(0.5), at(0.99), at(1.0));
    drop(acks);
    producer.close().await;
}
