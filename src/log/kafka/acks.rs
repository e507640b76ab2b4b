//! Acknowledgements, counted in groups. One small object per group, none per event.

use super::Ends;
use super::producer::Producer;
use crate::log::LogError;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Events that count together, such as those of a source transaction. It is done when it is sealed and all of them are acknowledged.
pub struct AckGroup {
    /// Events under way, and one more until it is sealed.
    pending: AtomicUsize,
    news: Arc<Notify>,
    landed: Mutex<Landed>,
}

#[derive(Default)]
struct Landed {
    /// The last entry is nearly always the one asked for: acknowledgements come in runs of one partition.
    ends: Vec<(Arc<str>, i32, i64)>,
    /// Partitions where an event is in the log at an offset that the broker did not say: the acknowledgement was lost on its way.
    unknown: Vec<(Arc<str>, i32)>,
}

impl AckGroup {
    pub(super) fn sent(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// One event less is under way.
    pub(super) fn settle(&self) {
        if self.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.news.notify_one();
        }
    }

    /// An event of the group is in the log. `offset` `None`: nobody knows where.
    pub(super) fn landed(&self, topic: &Arc<str>, partition: i32, offset: Option<i64>) {
        let mut landed = self.landed.lock().unwrap_or_else(PoisonError::into_inner);
        match offset {
            Some(offset) => match landed.ends.iter_mut().rev().find(|(of, at, _)| *at == partition && of == topic) {
                Some((_, _, end)) => *end = offset + 1,
                None => landed.ends.push((Arc::clone(topic), partition, offset + 1)),
            },
            None => {
                if !landed.unknown.iter().any(|(of, at)| *at == partition && of == topic) {
                    landed.unknown.push((Arc::clone(topic), partition));
                }
            }
        }
    }

    /// The known ends, and the partitions whose end must be asked for.
    fn reached(&self) -> (Ends, Vec<(Arc<str>, i32)>) {
        let landed = self.landed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ends = Ends::default();
        for (topic, partition, end) in &landed.ends {
            ends.raise(topic, *partition, *end);
        }
        (ends, landed.unknown.clone())
    }

    fn is_done(&self) -> bool {
        self.pending.load(Ordering::Acquire) == 0 || broken!(AcksUnawaited)
    }
}

/// A queue of groups, in the order in which they were sealed; `T` is what the caller wants to know when one's turn comes.
pub struct Acks<T> {
    producer: Producer,
    news: Arc<Notify>,
    queue: VecDeque<(Arc<AckGroup>, T)>,
}

impl<T> Acks<T> {
    pub(super) fn new(producer: Producer) -> Self {
        let news = Arc::new(Notify::new());
        producer.board().tell(&news);
        Self { producer, news, queue: VecDeque::new() }
    }

    /// A new group, to be given with each send.
    pub fn open(&self) -> Arc<AckGroup> {
        Arc::new(AckGroup { pending: AtomicUsize::new(1), news: Arc::clone(&self.news), landed: Mutex::default() })
    }

    /// Nothing more is sent with `group`; it takes its place at the end of the queue.
    pub fn seal(&mut self, group: Arc<AckGroup>, tag: T) {
        group.settle();
        self.queue.push_back((group, tag));
    }

    /// How many sealed groups wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Waits until the group at the front is acknowledged, all of it, and takes it out: its tag, and how far it reached in each partition.
    /// With no group queued it waits for ever, unless the producer dies. Can be dropped at any await and called again.
    pub async fn front(&mut self) -> Result<(T, Ends), LogError> {
        loop {
            if self.queue.front().is_some_and(|(group, _)| group.is_done()) {
                break;
            }
            // looked at after the front: what was acknowledged before the failure counts
            if let Some(failure) = self.producer.death().await {
                return Err(failure);
            }
            self.news.notified().await;
        }
        let (group, _) = self.queue.front().expect("seen above");
        let (mut ends, unknown) = group.reached();
        for (topic, partition) in unknown {
            let (_, high) = self.producer.ends_of(&topic, partition).await?;
            ends.raise(&topic, partition, high);
        }
        let (_, tag) = self.queue.pop_front().expect("seen above");
        Ok((tag, ends))
    }
}
