//! The control topic: one partition, compacted, read whole at each start. What its records mean is for others to say.
//!
//! A capture that was cut off may write late, behind its successor, and compaction keeps what was written last. So each epoch has
//! keys of its own, `NAME@EPOCH`, and of one name's records the highest epoch counts, wherever it stands.

use super::acks::AckGroup;
use super::context::Trouble;
use super::producer::Producer;
use super::reader::{Reader, Told};
use super::settings::{Role, client, settings_error};
use crate::config::Kafka;
use crate::log::{Doing, LogError};
use rdkafka::message::OwnedHeaders;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Records that the reader may be ahead of its owner.
const AHEAD: usize = 256;

/// One record: the newest value of its name.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    /// Of the capture that wrote it.
    pub epoch: u64,
    pub value: Vec<u8>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} ({} bytes)", self.name, self.epoch, self.value.len())
    }
}

/// What the topic held when its end was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub entries: BTreeMap<String, Entry>,
    /// Keys of entries that a higher epoch has superseded: see [`Control::sweep`].
    superseded: Vec<(String, u64)>,
}

/// What the tail of the topic tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    Entry(Entry),
    /// The end is reached: everything that was acknowledged before the tail was opened has been told.
    CaughtUp,
}

/// The capture's writing side.
#[derive(Clone)]
pub struct Control {
    producer: Producer,
    topic: String,
    epoch: u64,
}

impl Control {
    pub fn new(producer: Producer, topic: String, epoch: u64) -> Self {
        Self { producer, topic, epoch }
    }

    /// Queues a record; it is in the log when `group` is acknowledged.
    pub async fn send(&self, group: &Arc<AckGroup>, name: &str, value: &[u8]) -> Result<(), LogError> {
        self.put(group, &key(name, self.epoch), Some(value)).await
    }

    /// Writes a record, and returns when it is in the log.
    pub async fn write(&self, name: &str, value: &[u8]) -> Result<(), LogError> {
        let mut acks = self.producer.acks();
        let group = acks.open();
        self.send(&group, name, value).await?;
        acks.seal(group, ());
        acks.front().await.map(drop)
    }

    /// Deletes what was superseded when `contents` was read, so that the topic does not grow by each start.
    pub async fn sweep(&self, contents: &Contents) -> Result<(), LogError> {
        let mut acks = self.producer.acks();
        let group = acks.open();
        for (name, epoch) in &contents.superseded {
            self.put(&group, &key(name, *epoch), None).await?;
        }
        acks.seal(group, ());
        acks.front().await.map(drop)
    }

    async fn put(&self, group: &Arc<AckGroup>, key: &str, value: Option<&[u8]>) -> Result<(), LogError> {
        self.producer.produce(group, &self.topic, 0, (Some(key.as_bytes()), value), OwnedHeaders::new).await
    }
}

fn key(name: &str, epoch: u64) -> String {
    format!("{name}@{epoch}")
}

/// Reads the control topic from its start, and goes on as it grows.
pub struct ControlTail {
    told: mpsc::Receiver<Result<Told, LogError>>,
    trouble: Trouble,
    /// The highest epoch of each name so far.
    epochs: BTreeMap<String, u64>,
    superseded: Vec<(String, u64)>,
}

impl ControlTail {
    /// `group` is the consumer group's name: it is not joined, but a broker's access lists may look at it.
    pub fn open(kafka: &Kafka, group: &str, topic: &str) -> Result<Self, LogError> {
        let trouble = Trouble::default();
        let (tell, told) = mpsc::channel(AHEAD);
        #[cfg(test)]
        if let Some(broker) = super::memory::posted() {
            broker.reads(topic, tell);
            return Ok(Self { told, trouble, epochs: BTreeMap::new(), superseded: Vec::new() });
        }
        let made = client(kafka, Role::Reader { group }).create_with_context(trouble.clone());
        let consumer = made.map_err(|error| settings_error(kafka, &error))?;
        let reader = Reader::new(consumer, topic.to_owned(), tell);
        let spawned = std::thread::Builder::new().name("kafka-control".to_owned()).spawn(move || reader.run());
        spawned.map_err(|_| LogError::Stopped)?;
        Ok(Self { told, trouble, epochs: BTreeMap::new(), superseded: Vec::new() })
    }

    /// The next entry that is the newest of its name so far. An error ends the tail. Can be dropped at any await and called again.
    pub async fn next(&mut self) -> Result<Tail, LogError> {
        loop {
            match self.told.recv().await.ok_or(LogError::Stopped)?? {
                Told::End => return Ok(Tail::CaughtUp),
                Told::Record { key, value } => {
                    if let Some(entry) = self.newest(key, value) {
                        return Ok(Tail::Entry(entry));
                    }
                }
            }
        }
    }

    /// Reads to the end, and goes no further.
    pub async fn read_all(mut self, limit: Duration) -> Result<Contents, LogError> {
        let trouble = self.trouble.clone();
        let all = async {
            let mut entries = BTreeMap::new();
            while let Tail::Entry(entry) = self.next().await? {
                entries.insert(entry.name.clone(), entry);
            }
            Ok(Contents { entries, superseded: self.superseded })
        };
        tokio::time::timeout(limit, all).await.unwrap_or_else(|_| {
            Err(match trouble.last() {
                Some((code, words)) => LogError::of_code(Doing::Consume, None, code).because_of(words),
                None => LogError::of_code(Doing::Consume, None, Code::OperationTimedOut),
            })
        })
    }

    /// `None`: a deletion, a late record of an earlier epoch, or not ours.
    fn newest(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Option<Entry> {
        let key = String::from_utf8(key).ok()?;
        let (name, epoch) = key.rsplit_once('@')?;
        let epoch: u64 = epoch.parse().ok()?;
        let Some(value) = value else {
            self.superseded.retain(|(of, old)| (of.as_str(), *old) != (name, epoch));
            return None;
        };
        match self.epochs.insert(name.to_owned(), epoch) {
            Some(higher) if higher > epoch && !broken!(LastRecordWins) => {
                self.epochs.insert(name.to_owned(), higher);
                self.supersede(name, epoch);
                return None;
            }
            Some(lower) if lower < epoch => self.supersede(name, lower),
            _ => {}
        }
        Some(Entry { name: name.to_owned(), epoch, value })
    }

    fn supersede(&mut self, name: &str, epoch: u64) {
        if !self.superseded.iter().any(|(of, old)| (of.as_str(), *old) == (name, epoch)) {
            self.superseded.push((name.to_owned(), epoch));
        }
    }
}
