//! The broker: partitions as lists of records; producers whose events arrive late, in order per partition, and whose receipts come later or
//! never; readers of the control topic. What a process that was killed has sent may still arrive, long after.

use super::world::{Shared, World};
use crate::log::Doing;
use crate::log::LogError;
use crate::log::kafka::memory::{self, Member, Record, Sent, Told, away};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// All topics, each partition's records in order.
#[derive(Default)]
pub struct Broker {
    pub topics: BTreeMap<String, Vec<Vec<Record>>>,
    pub away_until: Option<Instant>,
    pub group: super::group::Group,
}

impl Broker {
    pub fn is_away(&self) -> bool {
        self.away_until.is_some_and(|until| Instant::now() < until)
    }

    pub fn partition(&self, topic: &str, partition: i32) -> Option<&Vec<Record>> {
        self.topics.get(topic)?.get(usize::try_from(partition).ok()?)
    }

    fn append(&mut self, topic: &str, partition: i32, record: Record) -> i64 {
        let at = usize::try_from(partition).expect("not negative");
        let records = &mut self.topics.get_mut(topic).expect("topics are made before they are written to")[at];
        records.push(record);
        offset(records.len() - 1)
    }

    /// A topic of one partition with a record in it.
    pub fn begins_with(&mut self, topic: String, key: &str, value: Vec<u8>) {
        let record = Record { key: Some(key.as_bytes().to_vec()), value: Some(value), headers: Vec::new() };
        self.topics.insert(topic, vec![vec![record]]);
    }
}

pub fn offset(at: usize) -> i64 {
    i64::try_from(at).expect("few")
}

/// The world's broker, as the daemon's clients reach it.
pub struct Clients(pub Shared);

impl memory::Broker for Clients {
    fn produces(&self, sent: mpsc::UnboundedReceiver<Sent>) {
        tokio::spawn(produce(self.0.clone(), sent));
    }

    fn joins(&self, member: Member) {
        super::group::join(&self.0, member);
    }

    fn reads(&self, topic: &str, tell: mpsc::Sender<Result<Told, LogError>>) {
        tokio::spawn(read(self.0.clone(), topic.to_owned(), tell));
    }

    fn ends(&self, topic: &str, partition: i32) -> Result<(i64, i64), LogError> {
        let world = self.0.lock();
        let found = world.broker.partition(topic, partition).map(|records| (0, offset(records.len())));
        match world.broker.is_away() {
            true => Err(away(Doing::ReadEnds)),
            false => found.ok_or_else(|| LogError::NoTopic { topic: topic.to_owned() }),
        }
    }

    fn makes(&self, topic: &str, partitions: i32) -> Result<bool, LogError> {
        let broker = &mut self.0.lock().broker;
        if broker.is_away() {
            return Err(away(Doing::CreateTopics));
        }
        let is_new = !broker.topics.contains_key(topic);
        let count = usize::try_from(partitions).expect("not negative");
        broker.topics.entry(topic.to_owned()).or_insert_with(|| vec![Vec::new(); count]);
        Ok(is_new)
    }

    fn partitions(&self, topic: &str) -> Result<Option<i32>, LogError> {
        let broker = &self.0.lock().broker;
        if broker.is_away() {
            return Err(away(Doing::Describe));
        }
        Ok(broker.topics.get(topic).map(|partitions| i32::try_from(partitions.len()).expect("few")))
    }
}

/// Waits until the broker answers.
async fn back(world: &Shared) {
    loop {
        let until = world.lock().broker.away_until;
        match until.filter(|until| Instant::now() < *until) {
            Some(until) => tokio::time::sleep_until(until).await,
            None => return,
        }
    }
}

/// A producer: one line for each partition, none of which waits for another.
async fn produce(world: Shared, mut sent: mpsc::UnboundedReceiver<Sent>) {
    let mut lines: BTreeMap<(String, i32), mpsc::UnboundedSender<Sent>> = BTreeMap::new();
    let gone = watch::Sender::new(false);
    while let Some(one) = sent.recv().await {
        let line = lines.entry((one.topic.clone(), one.partition)).or_insert_with(|| {
            let (line, taken) = mpsc::unbounded_channel();
            tokio::spawn(deliver(world.clone(), taken, gone.clone()));
            line
        });
        line.send(one).ok();
    }
    gone.send_replace(true);
}

/// How long something takes between us and the broker.
fn way(world: &mut World) -> Duration {
    let most = match world.rng.below(100) {
        0..60 => 3,
        60..90 => 20,
        90..98 => 150,
        _ => 1500,
    };
    Duration::from_millis(world.rng.below(most))
}

async fn deliver(world: Shared, mut sent: mpsc::UnboundedReceiver<Sent>, gone: watch::Sender<bool>) {
    while let Some(first) = sent.recv().await {
        let (most, there, back_again) = {
            let world = &mut *world.lock();
            (1 + world.rng.below(8), way(world), way(world))
        };
        let mut batch = vec![first];
        while (batch.len() as u64) < most
            && let Ok(next) = sent.try_recv()
        {
            batch.push(next);
        }
        tokio::time::sleep(there).await;
        if *gone.borrow() {
            let late = {
                let rng = &mut world.lock().rng;
                rng.percent(50).then(|| Duration::from_millis(rng.below(3000)))
            };
            let Some(late) = late else { return };
            tokio::time::sleep(late).await;
        }
        back(&world).await;
        let offsets: Vec<i64> = {
            let mut world = world.lock();
            if super::traces() {
                let (topic, partition) = (&batch[0].topic, batch[0].partition);
                world.tell(&format!("log {topic}/{partition} takes {}", Shown(&batch)));
            }
            batch.iter().map(|one| world.broker.append(&one.topic, one.partition, one.record.clone())).collect()
        };
        tokio::time::sleep(back_again).await;
        back(&world).await;
        if *gone.borrow() {
            return;
        }
        let (fails, nobody_knows) = {
            let rng = &mut world.lock().rng;
            (rng.below(1500) == 0, rng.percent(2))
        };
        if fails {
            world.lock().tell("==== a producer fails");
            gone.send_replace(true);
            batch[0].receipt.lost();
            return;
        }
        for (one, offset) in batch.iter().zip(offsets) {
            one.receipt.landed(&one.topic, one.partition, (!nobody_knows).then_some(offset));
        }
    }
}

/// For traces.
struct Shown<'a>(&'a [Sent]);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for one in self.0 {
            let text =
                |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or("-".into(), |bytes| String::from_utf8_lossy(bytes).into_owned());
            let headers = one
                .record
                .headers
                .iter()
                .map(|(name, value)| format!("{}={}", &name[name.len().min(10)..], String::from_utf8_lossy(value)));
            let value = text(&one.record.value);
            let start = value.find("\"source\"").unwrap_or(value.len().min(200));
            write!(f, "[{} {} {:?}] ", text(&one.record.key), &value[..start], headers.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// The control topic, from its start to its end and on.
async fn read(world: Shared, topic: String, tell: mpsc::Sender<Result<Told, LogError>>) {
    let mut next = 0;
    while !tell.is_closed() {
        let pause = way(&mut world.lock());
        tokio::time::sleep(pause).await;
        back(&world).await;
        let Some(records) = world.lock().broker.partition(&topic, 0).map(|records| records[next..].to_vec()) else {
            tell.send(Err(LogError::NoTopic { topic })).await.ok();
            return;
        };
        if records.is_empty() && next > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        next += records.len();
        for record in records {
            let Some(key) = record.key else { continue };
            if tell.send(Ok(Told::Record { key, value: record.value })).await.is_err() {
                return;
            }
        }
        tell.send(Ok(Told::End)).await.ok();
    }
}
