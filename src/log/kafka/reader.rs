//! The thread that reads a topic of one partition from its start to its end and on, without a group.

use super::context::Trouble;
use crate::log::{Doing, LogError};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often the thread looks whether its owner is still there.
const LOOK: Duration = Duration::from_millis(100);
/// A question to the broker. Asked again when nobody answers, so it is short.
const ASK: Duration = Duration::from_secs(1);

/// What was read. Messages without a key are left out.
pub enum Told {
    Record {
        key: Vec<u8>,
        value: Option<Vec<u8>>,
    },
    /// The end is reached; told again each time it is reached again.
    End,
}

pub(super) struct Reader {
    consumer: BaseConsumer<Trouble>,
    topic: String,
    tell: mpsc::Sender<Result<Told, LogError>>,
    /// The offset behind what was read.
    next: i64,
    /// Where an end was reached that may be none.
    doubted: Option<i64>,
}

/// The owner is gone, or an error was told.
struct Over;

impl Reader {
    pub fn new(consumer: BaseConsumer<Trouble>, topic: String, tell: mpsc::Sender<Result<Told, LogError>>) -> Self {
        Self { consumer, topic, tell, next: 0, doubted: None }
    }

    pub fn run(mut self) {
        if let Ok(end) = self.start() {
            while self.step(end).is_ok() {}
        }
    }

    /// Assigns the partition; the end that must be reached at least.
    fn start(&mut self) -> Result<i64, Over> {
        let end = self.end()?;
        let mut list = TopicPartitionList::new();
        let added = list.add_partition_offset(&self.topic, 0, Offset::Beginning);
        match added.and_then(|()| self.consumer.assign(&list)) {
            Ok(()) => Ok(end),
            Err(_) => self.fail(LogError::Stopped),
        }
    }

    /// The offset behind the last record that was acknowledged so far. Waits while the broker is away.
    fn end(&mut self) -> Result<i64, Over> {
        loop {
            match self.consumer.fetch_watermarks(&self.topic, 0, ASK) {
                Ok((_, high)) => return Ok(high),
                Err(error) => self.passing(&error)?,
            }
            // the events say why the broker is away
            (0..8).for_each(|_| drop(self.consumer.poll(Duration::ZERO)));
            std::thread::sleep(LOOK);
        }
    }

    fn step(&mut self, end: i64) -> Result<(), Over> {
        if self.tell.is_closed() {
            return Err(Over);
        }
        let polled = self.consumer.poll(LOOK).map(|polled| {
            polled.map(|message| (message.offset(), message.key().map(<[u8]>::to_vec), message.payload().map(<[u8]>::to_vec)))
        });
        let told = match polled {
            None => return Ok(()),
            Some(Ok((offset, key, value))) => {
                self.next = offset + 1;
                let Some(key) = key else { return Ok(()) };
                Told::Record { key, value }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                if !self.is_end(end)? {
                    return Ok(());
                }
                Told::End
            }
            Some(Err(error)) => return self.passing(&error),
        };
        self.tell.blocking_send(Ok(told)).map_err(|_| Over)
    }

    /// Whether the end of what the broker serves is the end of what was acknowledged. A leader that was just elected may serve less than its
    /// predecessor acknowledged, until it has heard from its followers; it does not answer the question for its end either until then (KIP-207).
    /// And the last offsets of a compacted topic may hold no record. So: ask, and if the same end is reached once more, it is one.
    fn is_end(&mut self, end: i64) -> Result<bool, Over> {
        if self.next >= end || self.doubted == Some(self.next) {
            return Ok(true);
        }
        self.end()?;
        self.doubted = Some(self.next);
        match self.consumer.seek(&self.topic, 0, Offset::Offset(self.next), ASK) {
            Ok(()) => Ok(false),
            Err(_) => self.fail(LogError::Away { doing: Doing::Consume, code: Code::State, reason: None }),
        }
    }

    /// An error that time cures is none.
    fn passing(&mut self, error: &KafkaError) -> Result<(), Over> {
        let Some(code) = error.rdkafka_error_code() else { return self.fail(LogError::Stopped) };
        if matches!(code, Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation) {
            let (low, high) = self.consumer.fetch_watermarks(&self.topic, 0, ASK).unwrap_or((-1, -1));
            let (topic, wanted) = (self.topic.clone(), self.next);
            return self.fail(LogError::Gap { topic, partition: 0, wanted, low, high });
        }
        match LogError::of_code(Doing::Consume, Some(&self.topic), code) {
            LogError::Away { .. } => Ok(()),
            error => self.fail(error),
        }
    }

    fn fail<T>(&mut self, error: LogError) -> Result<T, Over> {
        // an owner that is gone does not ask why
        let _ = self.tell.blocking_send(Err(error));
        Err(Over)
    }
}
