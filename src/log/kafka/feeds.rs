//! The partitions that are assigned, each with a queue of its own: one whose reader is slow, halted or paused is simply not polled, and holds up
//! no other.

use super::batch::Batch;
use super::consumer::Partition;
use super::credit::Credit;
use super::group::Context;
use crate::fate::Fate;
use crate::log::{Doing, LogError};
use rdkafka::consumer::BaseConsumer;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;

/// What may lie between this thread and the owner, in bytes, all partitions together.
const DELIVERED: usize = 4 << 20;
/// The least of it that one partition has.
const LEAST: usize = 64 << 10;
/// A batch is closed behind the message that reaches this size, in bytes.
const BATCH: usize = 256 << 10;

/// What polling one partition came to.
pub(super) enum Polled {
    Batch(Batch),
    /// The log does not hold what comes next, or says so.
    OutOfRange(Partition),
    Fault(LogError),
}

struct Feed {
    partition: Partition,
    queue: PartitionQueue<Context>,
    run: u64,
    /// The offset that comes next, or a later one.
    next: i64,
    held: bool,
    paused: bool,
    credit: Arc<Credit>,
    /// Came behind the batch that was handed out last.
    behind: Option<Polled>,
    /// The last fault that was told, so that it is told once.
    told: Option<Code>,
    /// Its number stands in `ready`.
    queued: bool,
}

/// Feeds by number: a number is never used again, so a late call for one that is gone does nothing.
pub(super) struct Feeds {
    feeds: HashMap<u64, Feed>,
    numbers: HashMap<Partition, u64>,
    last: u64,
    allowance: usize,
    /// Numbers of feeds that may have something, in turn.
    ready: VecDeque<u64>,
    called: Arc<Called>,
}

/// Numbers called by librdkafka's threads and by those who give back credit.
struct Called {
    numbers: Mutex<Vec<u64>>,
    worker: Thread,
}

impl Called {
    fn call(&self, number: u64) {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        self.worker.unpark();
    }
}

impl Feeds {
    /// For so many partitions in all; `worker` polls them.
    pub fn new(partitions: usize, worker: Thread) -> Self {
        let allowance = (DELIVERED / partitions.max(1)).max(LEAST);
        let called = Arc::new(Called { numbers: Mutex::default(), worker });
        Self { feeds: HashMap::new(), numbers: HashMap::new(), last: 0, allowance, ready: VecDeque::new(), called }
    }

    pub fn clear(&mut self) {
        self.feeds.clear();
        self.numbers.clear();
        self.ready.clear();
    }

    /// Adds a partition before it is assigned, so that nothing of it goes to the common queue. `false`: librdkafka does not know it.
    pub fn add(&mut self, consumer: &Arc<BaseConsumer<Context>>, partition: Partition, run: u64, next: i64, held: bool) -> bool {
        let Some(mut queue) = consumer.split_partition_queue(&partition.topic, partition.partition) else { return false };
        self.last += 1;
        let number = self.last;
        queue.set_nonempty_callback({
            let called = Arc::clone(&self.called);
            move || called.call(number)
        });
        let called = Arc::clone(&self.called);
        let credit = Credit::new(self.allowance, move || called.call(number));
        self.numbers.insert(partition.clone(), number);
        self.feeds.insert(
            number,
            Feed { partition, queue, run, next, held, paused: false, credit, behind: None, told: None, queued: true },
        );
        self.ready.push_back(number);
        true
    }

    pub fn has(&self, partition: &Partition) -> bool {
        self.numbers.contains_key(partition)
    }

    pub fn next_offset(&self, partition: &Partition) -> Option<i64> {
        Some(self.feeds.get(self.numbers.get(partition)?)?.next)
    }

    /// Polls no more until it is restarted.
    pub fn hold(&mut self, partition: &Partition) {
        self.change(partition, |feed| feed.held = true);
    }

    pub fn restart(&mut self, partition: &Partition, run: u64, next: i64) {
        self.change(partition, |feed| {
            (feed.run, feed.next, feed.held, feed.paused) = (run, next, false, false);
            (feed.behind, feed.told) = (None, None);
        });
    }

    pub fn pause(&mut self, partition: &Partition, paused: bool) {
        self.change(partition, |feed| feed.paused = paused);
    }

    fn change(&mut self, partition: &Partition, change: impl FnOnce(&mut Feed)) {
        let Some(number) = self.numbers.get(partition).copied() else { return };
        if let Some(feed) = self.feeds.get_mut(&number) {
            change(feed);
        }
        self.queue(number);
    }

    fn queue(&mut self, number: u64) {
        if let Some(feed) = self.feeds.get_mut(&number).filter(|feed| !feed.queued) {
            feed.queued = true;
            self.ready.push_back(number);
        }
    }

    /// Polls the partitions in turn until one gives something. `None`: none has anything, or may be polled.
    pub fn poll(&mut self) -> Option<Polled> {
        let called = std::mem::take(&mut *self.called.numbers.lock().unwrap_or_else(PoisonError::into_inner));
        called.into_iter().for_each(|number| self.queue(number));
        while let Some(number) = self.ready.pop_front() {
            let Some(feed) = self.feeds.get_mut(&number) else { continue };
            feed.queued = false;
            if let Some(polled) = feed.poll() {
                self.queue(number);
                return Some(polled);
            }
        }
        None
    }
}

impl Feed {
    fn poll(&mut self) -> Option<Polled> {
        if self.held || self.paused || !self.credit.is_left() {
            return None;
        }
        if let Some(behind) = self.behind.take() {
            return Some(behind);
        }
        let mut batch = Batch::new(Arc::clone(&self.partition.topic), self.partition.partition, self.run);
        let trouble = self.fill(&mut batch);
        if batch.is_empty() {
            return trouble;
        }
        self.behind = trouble;
        self.told = None;
        batch.lease = Some(self.credit.take(batch.weight()));
        Some(Polled::Batch(batch))
    }

    fn fill(&mut self, batch: &mut Batch) -> Option<Polled> {
        while batch.weight() < BATCH {
            match self.queue.poll(Duration::ZERO)? {
                // read before a seek
                Ok(message) if message.offset() < self.next => {}
                Ok(message) => {
                    self.next = message.offset() + 1;
                    batch.push(&message);
                }
                Err(error) => {
                    let polled = self.trouble(&error);
                    if polled.is_some() {
                        return polled;
                    }
                }
            }
        }
        None
    }

    /// What an error in the partition's queue means. A broker that is away is librdkafka's own concern.
    fn trouble(&mut self, error: &KafkaError) -> Option<Polled> {
        let code = error.rdkafka_error_code()?;
        if matches!(code, Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation | Code::NoOffset) {
            return Some(Polled::OutOfRange(self.partition.clone()));
        }
        let fault = LogError::of_code(Doing::Consume, Some(&self.partition.topic), code);
        let news = fault.fate() == Fate::Halt && self.told.replace(code) != Some(code);
        news.then_some(Polled::Fault(fault))
    }
}
