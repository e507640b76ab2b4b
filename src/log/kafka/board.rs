//! What the acknowledgements have told the producer.

use super::{AckGroup, Ends};
use crate::log::LogError;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use tokio::sync::Notify;

/// Written by librdkafka's polling thread.
pub(super) struct Board {
    /// Why the producer is dead.
    failure: OnceLock<LogError>,
    /// It is: the first code that was heard, of a cause or of what died of it.
    dying: OnceLock<Code>,
    acknowledged: Mutex<Acknowledged>,
    listeners: Mutex<Vec<Weak<Notify>>>,
}

impl Board {
    pub fn new(ends: &Ends) -> Self {
        Self {
            failure: OnceLock::new(),
            dying: OnceLock::new(),
            acknowledged: Mutex::new(Acknowledged::new(ends)),
            listeners: Mutex::default(),
        }
    }

    /// `news` is told of a failure.
    pub fn tell(&self, news: &Arc<Notify>) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(news));
    }

    /// Why the producer is dead. Stays what it is.
    pub fn failure(&self) -> Option<LogError> {
        self.failure.get().cloned()
    }

    /// That it is dead, whether or not the cause is known.
    pub fn dying(&self) -> Option<Code> {
        self.dying.get().copied()
    }

    pub fn fail(&self, failure: LogError) {
        // the second of two failures is no news
        let _ = self.failure.set(failure);
        self.dies(Code::Fatal);
    }

    fn dies(&self, code: Code) {
        if self.dying.set(code).is_ok() {
            let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
            listeners.iter().filter_map(Weak::upgrade).for_each(|news| news.notify_one());
        }
    }

    /// An event did not get into the log: by its own fault, or with others that died of one.
    pub fn lost(&self, code: Option<Code>, failure: LogError) {
        match code {
            Some(code @ (Code::Fatal | Code::GaplessGuarantee | Code::PurgeQueue | Code::PurgeInflight)) => self.dies(code),
            _ => self.fail(failure),
        }
    }

    pub fn landed(&self, group: &AckGroup, topic: &str, partition: i32, offset: i64) {
        let known = (offset >= 0).then_some(offset);
        match self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).note(topic, partition, known) {
            Ok(topic) => {
                group.landed(&topic, partition, known);
                group.settle();
            }
            Err(end) => self.fail(LogError::Rewound { topic: topic.to_owned(), partition, offset, end }),
        }
    }
}

/// Per partition the offset behind the last acknowledgement.
struct Acknowledged {
    topics: Vec<(Arc<str>, Vec<i64>)>,
    index: HashMap<Arc<str>, usize>,
    /// Where the last one was: they come in runs.
    last: usize,
}

impl Acknowledged {
    fn new(ends: &Ends) -> Self {
        let mut new = Self { topics: Vec::new(), index: HashMap::new(), last: 0 };
        for (topic, partition, end) in ends.iter().filter(|(_, _, end)| *end > 0) {
            new.note(topic, partition, Some(end - 1)).expect("each partition comes once");
        }
        new
    }

    /// Notes an acknowledgement; the topic's shared name, or the end that it falls behind.
    fn note(&mut self, topic: &str, partition: i32, offset: Option<i64>) -> Result<Arc<str>, i64> {
        if self.topics.get(self.last).is_none_or(|(name, _)| **name != *topic) {
            self.last = match self.index.get(topic) {
                Some(at) => *at,
                None => {
                    let name: Arc<str> = Arc::from(topic);
                    self.index.insert(Arc::clone(&name), self.topics.len());
                    self.topics.push((name, Vec::new()));
                    self.topics.len() - 1
                }
            };
        }
        let (name, ends) = &mut self.topics[self.last];
        let at = usize::try_from(partition).expect("an acknowledged event has a partition");
        if ends.len() <= at {
            ends.resize(at + 1, 0);
        }
        if let Some(offset) = offset {
            if offset < ends[at] {
                return Err(ends[at]);
            }
            ends[at] = offset + 1;
        }
        Ok(Arc::clone(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_below_the_last_one_is_seen() {
        let mut ends = Ends::default();
        ends.raise("a", 1, 10);
        let mut acknowledged = Acknowledged::new(&ends);
        assert_eq!(acknowledged.note("a", 1, Some(9)), Err(10));
        assert_eq!(acknowledged.note("a", 0, Some(0)).as_deref(), Ok("a"));
        assert_eq!(acknowledged.note("b", 3, None).as_deref(), Ok("b"));
        assert_eq!(acknowledged.note("a", 1, Some(10)).as_deref(), Ok("a"));
        assert_eq!(acknowledged.note("a", 1, Some(10)), Err(11));
    }
}
