//! The thread of a member of the consumer group: polls, follows the group's rebalances, obeys its owner.

use super::consumer::{Assignment, Delivery, Partition, Start};
use super::feeds::{Feeds, Polled};
use super::group::{Context, Rebalance};
use super::place::{failed, place};
use crate::fate::Fate;
use crate::log::{Doing, LogError};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How long the thread sleeps when nobody wakes it: librdkafka has chores that make no noise.
const IDLE: Duration = Duration::from_millis(100);
/// A question to the broker that the thread waits for.
const ASK: Duration = Duration::from_secs(10);
/// Between two commits of offsets to the group.
const REPORT: Duration = Duration::from_secs(1);

/// What the owner asks for.
pub enum Order {
    Start { assignment: Assignment, starts: HashMap<Partition, Start>, run: u64 },
    Seek { partition: Partition, start: Start, run: u64 },
    Pause(Partition),
    Resume(Partition),
    Applied(Partition, i64),
    Trouble(oneshot::Sender<Option<LogError>>),
    Stop,
}

pub(super) struct Worker {
    // before the consumer: its queues must go first
    feeds: Feeds,
    consumer: Arc<BaseConsumer<Context>>,
    topics: Vec<Arc<str>>,
    orders: Receiver<Order>,
    tell: mpsc::UnboundedSender<Result<Delivery, LogError>>,
    /// The assignment that waits for its start.
    waiting: Option<u64>,
    assignments: u64,
    /// Topics that were told missing.
    missing: HashSet<Arc<str>>,
    applied: HashMap<Partition, i64>,
    reported: Instant,
}

impl Worker {
    /// To be called on the worker's own thread.
    pub fn new(
        mut consumer: BaseConsumer<Context>,
        topics: Vec<Arc<str>>,
        partitions: usize,
        orders: Receiver<Order>,
        tell: mpsc::UnboundedSender<Result<Delivery, LogError>>,
    ) -> Self {
        let thread = std::thread::current();
        consumer.set_nonempty_callback({
            let thread = thread.clone();
            move || thread.unpark()
        });
        Self {
            feeds: Feeds::new(partitions, thread),
            consumer: Arc::new(consumer),
            topics,
            orders,
            tell,
            waiting: None,
            assignments: 0,
            missing: HashSet::new(),
            applied: HashMap::new(),
            reported: Instant::now(),
        }
    }

    /// Until the owner says stop or something fails for good. Leaving the group is librdkafka's part, when the consumer is dropped.
    pub fn run(mut self) {
        if let Err(error) = self.serve() {
            // an owner that is gone does not ask why
            let _ = self.tell.send(Err(error));
        }
        self.feeds.clear();
        self.report();
    }

    fn serve(&mut self) -> Result<(), LogError> {
        loop {
            loop {
                match self.orders.try_recv() {
                    Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return Ok(()),
                    Err(TryRecvError::Empty) => break,
                    Ok(order) => self.obey(order)?,
                }
            }
            self.poll_group()?;
            let delivered = self.deliver()?;
            if self.reported.elapsed() >= REPORT {
                self.report();
            }
            if !delivered {
                std::thread::park_timeout(IDLE);
            }
        }
    }

    /// The group's own queue: rebalances and errors. Messages have queues of their own.
    fn poll_group(&mut self) -> Result<(), LogError> {
        // one call may consume an event without saying so
        for _ in 0..8 {
            match self.consumer.poll(Duration::ZERO) {
                None => {}
                // it would be missing from its partition's queue
                Some(Ok(_)) => return Err(LogError::Stopped),
                Some(Err(error)) => self.group_error(&error)?,
            }
            for rebalance in self.context().rebalances() {
                self.feeds.clear();
                let delivery = match rebalance {
                    Rebalance::Assigned(partitions) => {
                        self.assignments += 1;
                        self.waiting = Some(self.assignments);
                        Delivery::Assigned(Assignment { id: self.assignments, partitions })
                    }
                    Rebalance::Revoked(partitions) => {
                        self.waiting = None;
                        Delivery::Revoked(partitions)
                    }
                };
                self.tell(delivery)?;
            }
        }
        Ok(())
    }

    fn group_error(&mut self, error: &KafkaError) -> Result<(), LogError> {
        let Some(code) = error.rdkafka_error_code() else { return Ok(()) };
        match (error, code) {
            (KafkaError::MessageConsumptionFatal(_), _) | (_, Code::GroupAuthorizationFailed | Code::Fatal) => {
                Err(LogError::of_code(Doing::Consume, None, code))
            }
            // it names no topic
            (_, Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::TopicAuthorizationFailed) => {
                self.look_for_topics()
            }
            // a broker that is away: librdkafka sees to it, and `Trouble` has noted it
            _ => Ok(()),
        }
    }

    fn look_for_topics(&mut self) -> Result<(), LogError> {
        for topic in self.topics.clone() {
            let found = self.consumer.fetch_metadata(Some(&topic), ASK);
            let code = match found.as_ref().map(|found| found.topics().first().and_then(|topic| topic.error())) {
                Ok(Some(code)) => Code::from(code),
                Ok(None) => {
                    self.missing.remove(&topic);
                    continue;
                }
                Err(_) => continue,
            };
            let fault = LogError::of_code(Doing::Consume, Some(&topic), code);
            if fault.fate() == Fate::Halt && self.missing.insert(topic) {
                self.tell(Delivery::Fault(fault))?;
            }
        }
        Ok(())
    }

    fn obey(&mut self, order: Order) -> Result<(), LogError> {
        match order {
            Order::Start { assignment, starts, run } if self.waiting == Some(assignment.id) => {
                self.start(&assignment, &starts, run)?
            }
            // the group has moved on
            Order::Start { .. } => {}
            Order::Seek { partition, start, run } => self.seek(&partition, start, run)?,
            Order::Pause(partition) => self.feeds.pause(&partition, true),
            Order::Resume(partition) => self.feeds.pause(&partition, false),
            Order::Applied(partition, next) => drop(self.applied.insert(partition, next)),
            Order::Trouble(asked) => {
                let trouble = self.context().trouble.last();
                let _ = asked.send(trouble.map(|(code, words)| LogError::of_code(Doing::Consume, None, code).because_of(words)));
            }
            Order::Stop => {}
        }
        Ok(())
    }

    fn start(&mut self, assignment: &Assignment, starts: &HashMap<Partition, Start>, run: u64) -> Result<(), LogError> {
        self.waiting = None;
        let wanted: Vec<(&Partition, Start)> = assignment
            .partitions
            .iter()
            .map(|partition| (partition, starts.get(partition).copied().unwrap_or(Start::Held)))
            .collect();
        let mut list = TopicPartitionList::new();
        let mut faults = Vec::new();
        for ((partition, _), place) in wanted.iter().zip(place(&self.consumer, &wanted)?) {
            let next = place.unwrap_or_else(|fault| {
                faults.push(fault);
                None
            });
            if !self.feeds.add(&self.consumer, (*partition).clone(), run, next.unwrap_or(0), next.is_none()) {
                return Err(LogError::Stopped);
            }
            // where a held one lies does not matter: it is not polled
            let offset = next.map_or(Offset::End, Offset::Offset);
            list.add_partition_offset(&partition.topic, partition.partition, offset)
                .map_err(|error| failed(&error, &partition.topic))?;
        }
        self.consumer.assign(&list).map_err(|_| LogError::Stopped)?;
        faults.into_iter().try_for_each(|fault| self.tell(Delivery::Fault(fault)))
    }

    fn seek(&mut self, partition: &Partition, start: Start, run: u64) -> Result<(), LogError> {
        if !self.feeds.has(partition) {
            return Ok(());
        }
        // whatever comes of it, what is on its way was read for another run
        self.feeds.hold(partition);
        match place(&self.consumer, &[(partition, start)])?.remove(0) {
            Ok(None) => Ok(()),
            Err(fault) => self.tell(Delivery::Fault(fault)),
            Ok(Some(next)) => {
                self.move_to(partition, next)?;
                self.feeds.restart(partition, run, next);
                Ok(())
            }
        }
    }

    fn move_to(&self, partition: &Partition, next: i64) -> Result<(), LogError> {
        let sought = self.consumer.seek(&partition.topic, partition.partition, Offset::Offset(next), ASK);
        sought.map_err(|_| LogError::Away { doing: Doing::Consume, code: Code::State, reason: None })
    }

    /// Hands on what the partitions have; `true`: there may be more.
    fn deliver(&mut self) -> Result<bool, LogError> {
        let Some(polled) = self.feeds.poll() else { return Ok(false) };
        match polled {
            Polled::Batch(batch) => {
                self.context().trouble.clear();
                self.tell(Delivery::Batch(batch))?;
            }
            Polled::Fault(fault) => self.tell(Delivery::Fault(fault))?,
            Polled::OutOfRange(partition) => self.out_of_range(&partition)?,
        }
        Ok(true)
    }

    /// The broker says that the next offset is not in its log. A new leader may say so for a moment; then the ends say otherwise.
    fn out_of_range(&mut self, partition: &Partition) -> Result<(), LogError> {
        let Some(next) = self.feeds.next_offset(partition) else { return Ok(()) };
        match place(&self.consumer, &[(partition, Start::At(next))])?.remove(0) {
            Ok(_) => self.move_to(partition, next),
            Err(fault) => {
                self.feeds.hold(partition);
                self.tell(Delivery::Fault(fault))
            }
        }
    }

    /// Commits to the group what the owner has applied, for others to see. Nothing depends on it.
    fn report(&mut self) {
        self.reported = Instant::now();
        if self.applied.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for (partition, next) in self.applied.drain() {
            let _ = list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(next));
        }
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(target: "librdkafka", "offsets for the group's lag: {error}");
        }
    }

    /// An owner that is gone is the end.
    fn tell(&self, delivery: Delivery) -> Result<(), LogError> {
        self.tell.send(Ok(delivery)).map_err(|_| LogError::Stopped)
    }

    fn context(&self) -> &Context {
        self.consumer.context()
    }
}
