//! The producer: idempotent, acknowledged by all replicas, without a gap.
//!
//! A failure ends it. librdkafka would otherwise go on behind an event that the broker refused, and the cured table would come back to a place that
//! apply has already passed. So one failed event fails everything that was not acknowledged, and the owner starts again from its record.

use super::board::Board;
use super::context::Trouble;
use super::settings::{Role, client, settings_error};
use super::{AckGroup, Acks, Ends};
use crate::config::Kafka;
use crate::event::Frame;
use crate::log::{Doing, LogError};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{ClientContext, client::Client};
use std::sync::Arc;
use std::time::Duration;

/// How long a full queue is left to drain before the next try.
const FULL: Duration = Duration::from_millis(1);
/// How often and how long the cause of a failure is waited for.
const CAUSE_LOOKS: u32 = 50;
const CAUSE_LOOK: Duration = Duration::from_millis(20);
/// A partition's ends are asked for by whoever waits for nothing else.
const ASK: Duration = Duration::from_secs(10);

/// A handle; clones share the connection, the queue and the fate.
#[derive(Clone)]
pub struct Producer {
    link: Link,
    board: Arc<Board>,
}

/// Where events go.
#[derive(Clone)]
enum Link {
    Broker(Arc<ThreadedProducer<Context>>),
    #[cfg(test)]
    Memory(tokio::sync::mpsc::UnboundedSender<super::memory::Sent>),
}

impl Producer {
    /// `acknowledged` is how far each partition had been acknowledged when it was last recorded: an event that lands below it lands in another log
    /// than ours ([`LogError::Rewound`]).
    pub fn new(kafka: &Kafka, acknowledged: &Ends) -> Result<Self, LogError> {
        let board = Arc::new(Board::new(acknowledged));
        #[cfg(test)]
        if let Some(broker) = super::memory::posted() {
            let (link, sent) = tokio::sync::mpsc::unbounded_channel();
            broker.produces(sent);
            return Ok(Self { link: Link::Memory(link), board });
        }
        let context = Context { board: Arc::clone(&board), trouble: Trouble::default() };
        let made = client(kafka, Role::Producer).create_with_context(context);
        Ok(Self { link: Link::Broker(Arc::new(made.map_err(|error| settings_error(kafka, &error))?)), board })
    }

    /// A queue of groups to be acknowledged.
    pub fn acks<T>(&self) -> Acks<T> {
        Acks::new(self.clone())
    }

    /// Queues one event. Waits while the queue is full, and for nothing else. An error means that it was not queued.
    pub async fn send(&self, group: &Arc<AckGroup>, topic: &str, partition: i32, frame: &Frame) -> Result<(), LogError> {
        self.produce(group, topic, partition, (frame.key(), frame.value()), || headers(frame)).await
    }

    pub(super) async fn produce(
        &self,
        group: &Arc<AckGroup>,
        topic: &str,
        partition: i32,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        headers: impl FnOnce() -> OwnedHeaders,
    ) -> Result<(), LogError> {
        if let Some(failure) = self.death().await {
            return Err(failure);
        }
        #[allow(clippy::infallible_destructuring_match, reason = "the simulation has another")]
        let inner = match &self.link {
            Link::Broker(inner) => inner,
            #[cfg(test)]
            Link::Memory(link) => {
                use rdkafka::message::Headers as _;
                let headers = headers();
                let header = |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.unwrap_or_default().to_vec());
                let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
                let record = super::memory::Record { key, value, headers: headers.as_borrowed().iter().map(header).collect() };
                let receipt = super::memory::Receipt { group: Arc::clone(group), board: Arc::clone(&self.board) };
                group.sent();
                let sent = super::memory::Sent { topic: topic.to_owned(), partition, record, receipt };
                return link.send(sent).map_err(|_| LogError::Stopped);
            }
        };
        let mut record =
            BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, Arc::clone(group)).partition(partition).headers(headers());
        (record.key, record.payload) = (key, value);
        group.sent();
        loop {
            match inner.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    record = back;
                    tokio::time::sleep(FULL).await;
                }
                Err((error, _)) => {
                    group.settle();
                    return Err(self.death().await.unwrap_or_else(|| refusal(&error, topic, partition)));
                }
            }
        }
    }

    /// Why this producer is dead. Stays what it is.
    pub fn failure(&self) -> Option<LogError> {
        self.board.failure()
    }

    /// The same, for one who can wait for the cause: the events that die of it may be heard of before the one that caused it.
    pub(super) async fn death(&self) -> Option<LogError> {
        let code = self.board.dying()?;
        for _ in 0..CAUSE_LOOKS {
            if let Some(failure) = self.failure() {
                return Some(failure);
            }
            tokio::time::sleep(CAUSE_LOOK).await;
        }
        self.board.fail(LogError::Producer { code });
        self.failure()
    }

    /// Events that are not yet acknowledged.
    pub fn in_flight(&self) -> usize {
        match &self.link {
            Link::Broker(inner) => usize::try_from(inner.in_flight_count()).unwrap_or(0),
            #[cfg(test)]
            Link::Memory(_) => 0,
        }
    }

    /// Why the broker is not reached, where librdkafka has said something since the last acknowledgement.
    pub fn trouble(&self) -> Option<LogError> {
        match &self.link {
            Link::Broker(inner) => {
                let client: &Client<Context> = inner.client();
                let (code, reason) = client.context().trouble.last()?;
                Some(LogError::of_code(Doing::Produce, None, code).because_of(reason))
            }
            #[cfg(test)]
            Link::Memory(_) => None,
        }
    }

    /// The first and the next offset of a partition.
    pub async fn ends_of(&self, topic: &str, partition: i32) -> Result<(i64, i64), LogError> {
        let (inner, topic) = match &self.link {
            Link::Broker(inner) => (Arc::clone(inner), topic.to_owned()),
            #[cfg(test)]
            Link::Memory(_) => return super::memory::posted().ok_or(LogError::Stopped)?.ends(topic, partition),
        };
        let asked = tokio::task::spawn_blocking(move || {
            let found = inner.client().fetch_watermarks(&topic, partition, ASK);
            found.map_err(|error| refused(Doing::ReadEnds, &error, &topic, partition))
        });
        asked.await.map_err(|_| LogError::Stopped)?
    }

    /// Gives up what is not acknowledged, and leaves. Without it the last handle's drop does so, and blocks for a moment.
    pub async fn close(self) {
        // a panic in there has been reported by then
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    pub(super) fn board(&self) -> &Board {
        &self.board
    }
}

fn headers(frame: &Frame) -> OwnedHeaders {
    let empty = OwnedHeaders::new_with_capacity(3);
    frame.headers().fold(empty, |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
}

fn refusal(error: &KafkaError, topic: &str, partition: i32) -> LogError {
    refused(Doing::Produce, error, topic, partition)
}

fn refused(doing: Doing, error: &KafkaError, topic: &str, partition: i32) -> LogError {
    match error.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => LogError::TooLarge { topic: topic.to_owned() },
        Some(Code::UnknownPartition) => LogError::NoPartition { topic: topic.to_owned(), partition },
        Some(code @ (Code::Fatal | Code::GaplessGuarantee | Code::PurgeQueue | Code::PurgeInflight)) => {
            LogError::Producer { code }
        }
        Some(code) => LogError::of_code(doing, Some(topic), code),
        None => LogError::Stopped,
    }
}

/// What librdkafka calls.
struct Context {
    board: Arc<Board>,
    trouble: Trouble,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.trouble.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.trouble.error(error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = Arc<AckGroup>;

    fn delivery(&self, result: &DeliveryResult<'_>, group: Arc<AckGroup>) {
        match result {
            Ok(message) => {
                self.trouble.clear();
                self.board.landed(&group, message.topic(), message.partition(), message.offset());
            }
            Err((error, message)) => {
                self.board.lost(error.rdkafka_error_code(), refusal(error, message.topic(), message.partition()));
            }
        }
    }
}
