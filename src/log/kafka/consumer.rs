//! The owner's side of a member of the consumer group. The member itself is a thread (`worker`): librdkafka wants to be polled, whatever the
//! owner is busy with.

use super::batch::Batch;
use super::group::Context;
use super::settings::{Role, client, settings_error};
use super::worker::{Order, Worker};
use crate::config::Kafka;
use crate::log::LogError;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long leaving the group may take.
const LEAVE: Duration = Duration::from_secs(5);

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// Where to read a partition from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The checkpoint's offset. If the log does not hold it, that is a gap.
    At(i64),
    /// There is no checkpoint: the log from its first offset on. For one whose head was cut off already that is no gap: record a checkpoint of 0 where
    /// the head matters.
    Beginning,
    /// Not at all for now: its table is halted.
    Held,
}

/// What comes from the group, in order: after `Revoked` nothing of those partitions comes, until they are assigned and started again.
#[derive(Debug)]
pub enum Delivery {
    /// These partitions are ours now, and no others. Nothing is read before [`Consumer::start`] has said from where.
    Assigned(Assignment),
    /// These partitions are no longer ours.
    Revoked(Vec<Partition>),
    Batch(Batch),
    /// One partition or topic cannot be read ([`LogError::topic`]). The others go on; a partition with a gap is held.
    Fault(LogError),
}

/// An assignment that waits to be started.
#[derive(Debug)]
pub struct Assignment {
    pub(crate) id: u64,
    pub partitions: Vec<Partition>,
}

/// A member of the consumer group.
pub struct Consumer {
    deliveries: mpsc::UnboundedReceiver<Result<Delivery, LogError>>,
    orders: std::sync::mpsc::Sender<Order>,
    /// Tells the member's thread that there are orders.
    wake: Box<dyn Fn() + Send + Sync>,
    left: oneshot::Receiver<()>,
    /// The number of each partition's present run. What comes from an older one was read before a start or seek, and is thrown away here.
    runs: HashMap<Partition, u64>,
    run: u64,
}

impl Consumer {
    /// Joins `group`, for `topics`. `partitions` is how many they have in all: memory is shared out by it. Returns at once; that no broker is there
    /// shows as silence, and in [`Consumer::trouble`].
    pub fn join(kafka: &Kafka, group: &str, topics: &[String], partitions: usize) -> Result<Self, LogError> {
        #[cfg(test)]
        if let Some(broker) = super::memory::posted() {
            return Ok(Self::at(&*broker, topics));
        }
        let context = Context::default();
        let made = client(kafka, Role::Member { group, partitions }).create_with_context::<_, BaseConsumer<Context>>(context);
        let consumer = made.map_err(|error| settings_error(kafka, &error))?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|error| settings_error(kafka, &error))?;
        let (tell, deliveries) = mpsc::unbounded_channel();
        let (orders, taken) = std::sync::mpsc::channel();
        let (gone, left) = oneshot::channel();
        let topics = topics.iter().map(|topic| Arc::from(topic.as_str())).collect();
        let spawned = std::thread::Builder::new().name("kafka-consumer".to_owned()).spawn(move || {
            Worker::new(consumer, topics, partitions, taken, tell).run();
            let _ = gone.send(());
        });
        let thread = spawned.map_err(|_| LogError::Stopped)?.thread().clone();
        Ok(Self { deliveries, orders, wake: Box::new(move || thread.unpark()), left, runs: HashMap::new(), run: 0 })
    }

    /// A member of the simulation's broker.
    #[cfg(test)]
    fn at(broker: &dyn super::memory::Broker, topics: &[String]) -> Self {
        let (tell, deliveries) = mpsc::unbounded_channel();
        let (sender, orders) = std::sync::mpsc::channel();
        let (_gone, left) = oneshot::channel();
        let woken = Arc::new(tokio::sync::Notify::new());
        let topics = topics.iter().map(|topic| Arc::from(topic.as_str())).collect();
        broker.joins(super::memory::Member { topics, orders, woken: Arc::clone(&woken), tell, _gone });
        let wake = Box::new(move || woken.notify_one());
        Self { deliveries, orders: sender, wake, left, runs: HashMap::new(), run: 0 }
    }

    /// The next delivery. An error ends the consumer. Can be dropped at any await and called again.
    pub async fn next(&mut self) -> Result<Delivery, LogError> {
        loop {
            match self.deliveries.recv().await.ok_or(LogError::Stopped)?? {
                Delivery::Batch(batch) if !self.is_current(&batch) => {}
                Delivery::Revoked(partitions) => {
                    self.runs.retain(|partition, _| !partitions.contains(partition));
                    return Ok(Delivery::Revoked(partitions));
                }
                delivery => return Ok(delivery),
            }
        }
    }

    fn is_current(&self, batch: &Batch) -> bool {
        let partition = Partition { topic: Arc::clone(batch.topic()), partition: batch.partition() };
        self.runs.get(&partition) == Some(&batch.run) || broken!(OldRunTaken)
    }

    /// Starts an assignment. Partitions of it that `starts` does not name are held. Offsets that the log does not hold come back as
    /// [`Delivery::Fault`].
    pub fn start(&mut self, assignment: Assignment, starts: impl IntoIterator<Item = (Partition, Start)>) {
        self.run += 1;
        let starts: HashMap<Partition, Start> = starts.into_iter().collect();
        self.runs = assignment.partitions.iter().map(|partition| (partition.clone(), self.run)).collect();
        self.order(Order::Start { assignment, starts, run: self.run });
    }

    /// Reads a partition again from `start`, or no more ([`Start::Held`]). One that is not ours is left alone.
    pub fn seek(&mut self, partition: &Partition, start: Start) {
        let Some(current) = self.runs.get_mut(partition) else { return };
        self.run += 1;
        *current = self.run;
        self.order(Order::Seek { partition: partition.clone(), start, run: self.run });
    }

    /// Stops polling a partition, in its place: what was delivered stays delivered, and little more than one batch may still come.
    pub fn pause(&self, partition: &Partition) {
        self.order(Order::Pause(partition.clone()));
    }

    pub fn resume(&self, partition: &Partition) {
        self.order(Order::Resume(partition.clone()));
    }

    /// Tells the group how far a partition was applied, for Kafka's own tools. Sent at most once a second.
    pub fn applied(&self, partition: &Partition, next_offset: i64) {
        self.order(Order::Applied(partition.clone(), next_offset));
    }

    /// Why the broker is not reached, where librdkafka has said something since the last message.
    pub async fn trouble(&self) -> Option<LogError> {
        let (tell, told) = oneshot::channel();
        self.order(Order::Trouble(tell));
        told.await.ok().flatten()
    }

    /// Leaves the group, so that others take over at once.
    pub async fn close(mut self) {
        self.order(Order::Stop);
        self.deliveries.close();
        // a broker that is away cannot be told; the thread ends when librdkafka has given up
        let _ = tokio::time::timeout(LEAVE, &mut self.left).await;
    }

    fn order(&self, order: Order) {
        // a worker that is gone has said why in the deliveries
        let _ = self.orders.send(order);
        (self.wake)();
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.order(Order::Stop);
    }
}
