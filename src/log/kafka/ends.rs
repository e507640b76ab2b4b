//! How far each partition of each topic was acknowledged.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Per topic and partition the offset behind the last acknowledged event; 0 where there is none. As JSON: `{"TOPIC":[OFFSET,...]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ends(BTreeMap<String, Vec<i64>>);

impl Ends {
    /// Moves an end up, never down.
    pub fn raise(&mut self, topic: &str, partition: i32, end: i64) {
        let at = usize::try_from(partition).expect("a partition is not negative");
        let ends = match self.0.get_mut(topic) {
            Some(ends) => ends,
            None => self.0.entry(topic.to_owned()).or_default(),
        };
        if ends.len() <= at {
            ends.resize(at + 1, 0);
        }
        ends[at] = ends[at].max(end);
    }

    /// Moves all ends up to those of `other`.
    pub fn raise_all(&mut self, other: &Ends) {
        for (topic, partition, end) in other.iter() {
            self.raise(topic, partition, end);
        }
    }

    pub fn get(&self, topic: &str, partition: i32) -> i64 {
        let ends = self.0.get(topic);
        usize::try_from(partition).ok().and_then(|at| ends?.get(at).copied()).unwrap_or(0)
    }

    /// Forgets the topics that nothing more is said of.
    pub fn keep(&mut self, mut wanted: impl FnMut(&str) -> bool) {
        self.0.retain(|topic, _| wanted(topic));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, i32, i64)> {
        self.0.iter().flat_map(|(topic, ends)| (0..).zip(ends).map(|(partition, end)| (topic.as_str(), partition, *end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_only_rise() {
        let mut ends = Ends::default();
        ends.raise("a", 2, 5);
        ends.raise("a", 2, 3);
        let mut other = Ends::default();
        other.raise("a", 0, 1);
        other.raise("b", 0, 9);
        ends.raise_all(&other);
        assert_eq!(serde_json::to_string(&ends).unwrap(), r#"{"a":[1,0,5],"b":[9]}"#);
        assert_eq!((ends.get("a", 2), ends.get("a", 7), ends.get("x", 0)), (5, 0, 0));
    }
}
