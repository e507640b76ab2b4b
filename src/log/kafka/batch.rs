//! Messages of one partition, copied once out of librdkafka's memory into one piece.

use super::credit::Lease;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use std::sync::Arc;

/// A run of messages of one partition, in order. Holding it holds the partition's allowance.
pub struct Batch {
    topic: Arc<str>,
    partition: i32,
    pub(super) run: u64,
    bytes: Vec<u8>,
    messages: Vec<Place>,
    pub(super) lease: Option<Lease>,
}

/// Where a message lies: key, value, headers, one behind the other.
struct Place {
    offset: i64,
    timestamp: i64,
    start: usize,
    key: u32,
    value: u32,
    headers: u32,
}

/// The length of what is not there.
const NONE: u32 = u32::MAX;

/// One message.
#[derive(Clone, Copy)]
pub struct Message<'b> {
    pub offset: i64,
    /// Milliseconds since 1970, by the producer's clock (or the broker's, where the topic is set so); -1 where there is none.
    pub timestamp: i64,
    pub key: Option<&'b [u8]>,
    pub value: Option<&'b [u8]>,
    headers: &'b [u8],
}

impl Batch {
    pub(super) fn new(topic: Arc<str>, partition: i32, run: u64) -> Self {
        Self { topic, partition, run, bytes: Vec::new(), messages: Vec::new(), lease: None }
    }

    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub fn partition(&self) -> i32 {
        self.partition
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Memory, in bytes.
    pub fn weight(&self) -> usize {
        self.bytes.len() + self.messages.len() * size_of::<Place>()
    }

    /// The offset behind the last message: what a checkpoint holds once the batch is applied.
    pub fn next_offset(&self) -> Option<i64> {
        self.messages.last().map(|last| last.offset + 1)
    }

    pub fn messages(&self) -> impl ExactSizeIterator<Item = Message<'_>> {
        self.messages.iter().map(|place| self.message(place))
    }

    fn message(&self, place: &Place) -> Message<'_> {
        let mut at = place.start;
        let mut part = |length: u32| {
            (length != NONE).then(|| {
                at += length as usize;
                &self.bytes[at - length as usize..at]
            })
        };
        let (key, value) = (part(place.key), part(place.value));
        let headers = part(place.headers).unwrap_or_default();
        Message { offset: place.offset, timestamp: place.timestamp, key, value, headers }
    }

    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        let place = (message.offset(), message.timestamp().to_millis().unwrap_or(-1));
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        self.add(place, (message.key(), message.payload()), headers.map(|header| (header.key, header.value)));
    }

    /// A run of records of the simulation's broker.
    #[cfg(test)]
    pub fn of<'r>(
        topic: &Arc<str>,
        partition: i32,
        run: u64,
        records: impl Iterator<Item = (i64, &'r super::memory::Record)>,
    ) -> Self {
        let mut batch = Self::new(Arc::clone(topic), partition, run);
        for (offset, record) in records {
            let headers = record.headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_slice())));
            batch.add((offset, 0), (record.key.as_deref(), record.value.as_deref()), headers);
        }
        batch
    }

    fn add<'m>(
        &mut self,
        (offset, timestamp): (i64, i64),
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        headers: impl Iterator<Item = (&'m str, Option<&'m [u8]>)>,
    ) {
        let start = self.bytes.len();
        let key = self.part(key);
        let value = self.part(value);
        let before = self.bytes.len();
        headers.for_each(|(name, value)| self.header(name.as_bytes(), value));
        let headers = length(self.bytes.len() - before);
        self.messages.push(Place { offset, timestamp, start, key, value, headers });
    }

    fn part(&mut self, bytes: Option<&[u8]>) -> u32 {
        bytes.map_or(NONE, |bytes| {
            self.bytes.extend_from_slice(bytes);
            length(bytes.len())
        })
    }

    fn header(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.bytes.extend_from_slice(&length(name.len()).to_ne_bytes());
        self.bytes.extend_from_slice(&value.map_or(NONE, |value| length(value.len())).to_ne_bytes());
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value.unwrap_or_default());
    }
}

fn length(length: usize) -> u32 {
    u32::try_from(length).ok().filter(|length| *length != NONE).expect("Kafka's lengths are 31 bits")
}

impl<'b> Message<'b> {
    /// Name and value of each header.
    pub fn headers(&self) -> impl Iterator<Item = (&'b [u8], Option<&'b [u8]>)> + use<'b> {
        let mut rest = self.headers;
        std::iter::from_fn(move || {
            let (name, after) = rest.split_first_chunk::<4>()?;
            let (value, after) = after.split_first_chunk::<4>()?;
            let (name, value) = (u32::from_ne_bytes(*name), u32::from_ne_bytes(*value));
            let (name, after) = after.split_at(name as usize);
            let (text, after) = after.split_at(if value == NONE { 0 } else { value as usize });
            rest = after;
            Some((name, (value != NONE).then_some(text)))
        })
    }
}

impl std::fmt::Debug for Batch {
    /// Sizes only: messages hold rows.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({}/{}, {} messages, {} bytes)", self.topic, self.partition, self.len(), self.bytes.len())
    }
}
