//! Names of topics: `PREFIX.schema.table`, `PREFIX.letters`, `PREFIX.tablelift`.
//!
//! Kafka takes letters and digits of ASCII, `.`, `_` and `-`, up to 249. Every other character of a schema's or table's name becomes `_xHHHH_`
//! per UTF-16 code unit; a `_` that would read like the start of such an escape becomes `_x005F_`. So two names that differ never become one.

use crate::change::TableName;
use crate::fate::Fate;
use std::collections::HashMap;

/// `org.apache.kafka.common.internals.Topic.MAX_NAME_LENGTH`.
const LONGEST: usize = 249;

/// A table that has no topic of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    #[error("topic prefix `{prefix}` holds a character that Kafka refuses\n  hint: use letters, digits, `.`, `_` and `-`")]
    Prefix { prefix: String },
    #[error(
        "the topic of table `{table}` would have a name of {length} characters, where Kafka takes {LONGEST}\n  hint: use a shorter `log.topic_prefix`"
    )]
    TooLong { table: TableName, length: usize },
    #[error(
        "tables `{first}` and `{second}` would share a topic, for Kafka holds `.` and `_` in `{topic}` to be the same\n  hint: move one of them by a connector of its own, with another `log.topic_prefix`"
    )]
    Clash { first: TableName, second: TableName, topic: String },
}

impl TopicError {
    pub fn fate(&self) -> Fate {
        match self {
            Self::Prefix { .. } | Self::TooLong { .. } | Self::Clash { .. } => Fate::Halt,
        }
    }
}

/// The control topic: one partition, compacted.
pub fn control_topic(prefix: &str) -> String {
    format!("{prefix}.tablelift")
}

/// The topic of dead letters.
pub fn letters_topic(prefix: &str) -> String {
    format!("{prefix}.letters")
}

/// One table's topic. Whether it clashes with another's only [`table_topics`] can say.
pub fn table_topic(prefix: &str, table: &TableName) -> Result<String, TopicError> {
    if prefix.is_empty() || !prefix.chars().all(is_taken) {
        return Err(TopicError::Prefix { prefix: prefix.to_owned() });
    }
    let mut topic = format!("{prefix}.");
    escape(&table.schema, &mut topic);
    topic.push('.');
    escape(&table.name, &mut topic);
    if topic.len() > LONGEST {
        return Err(TopicError::TooLong { table: table.clone(), length: topic.len() });
    }
    Ok(topic)
}

/// The topics of all tables, in their order, or all that is wrong with them.
pub fn table_topics<'t>(prefix: &str, tables: impl IntoIterator<Item = &'t TableName>) -> Result<Vec<String>, Vec<TopicError>> {
    let (mut topics, mut wrong) = (Vec::new(), Vec::new());
    let mut seen: HashMap<String, &TableName> = HashMap::new();
    for table in tables {
        match table_topic(prefix, table) {
            Err(error) => wrong.push(error),
            Ok(topic) => match seen.insert(collapsed(&topic), table) {
                Some(first) => wrong.push(TopicError::Clash { first: first.clone(), second: table.clone(), topic }),
                None => topics.push(topic),
            },
        }
    }
    if wrong.is_empty() { Ok(topics) } else { Err(wrong) }
}

/// Brokers refuse a second topic whose name differs from another's only by `.` and `_` (their metrics cannot tell them apart).
fn collapsed(topic: &str) -> String {
    topic.replace('.', "_")
}

fn is_taken(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

fn escape(name: &str, out: &mut String) {
    for (at, c) in name.char_indices() {
        if is_taken(c) && !(c == '_' && reads_like_an_escape(&name.as_bytes()[at..])) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("_x{unit:04X}_"));
            }
        }
    }
}

/// `_x` and four hexadecimal digits. The closing `_` is not asked for: the next character's own escape may bring it.
fn reads_like_an_escape(rest: &[u8]) -> bool {
    rest.get(1) == Some(&b'x') && rest.get(2..6).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn topic(schema: &str, name: &str) -> String {
        table_topic("p", &TableName::new(schema, name)).unwrap()
    }

    #[test]
    fn what_kafka_refuses_is_escaped() {
        assert_eq!(topic("public", "orders"), "p.public.orders");
        assert_eq!(topic("public", "Größe \"x\""), "p.public.Gr_x00F6__x00DF_e_x0020__x0022_x_x0022_");
        assert_eq!(topic("s", "🦀"), "p.s._xD83E__xDD80_");
        assert_eq!(topic("s", "a_x0041_b"), "p.s.a_x005F_x0041_b");
        assert_eq!(topic("s", "_x"), "p.s._x");
    }

    #[test]
    fn names_that_differ_stay_different() {
        // every name of up to seven pieces that could be mistaken for one another
        let pieces = ["_", "x", "00E9", "é", "_x005F_"];
        let mut names = vec![String::new()];
        for _ in 0..5 {
            names = names
                .iter()
                .flat_map(|name| pieces.iter().map(move |piece| format!("{name}{piece}")))
                .chain([String::new()])
                .collect();
        }
        let names: HashSet<String> = names.into_iter().collect();
        let topics: HashSet<String> = names.iter().map(|name| topic("s", name)).collect();
        assert_eq!(topics.len(), names.len());
    }

    #[test]
    fn clashes_and_long_names_are_said() {
        let table = |schema: &str, name: &str| TableName::new(schema, name);
        let tables = [table("a.b", "c"), table("a", "b.c"), table("a", "b_c"), table("s", &"é".repeat(63)), table("a", "ok")];
        let wrong = table_topics("p", &tables).unwrap_err();
        assert!(
            matches!(&wrong[..], [TopicError::Clash { .. }, TopicError::Clash { .. }, TopicError::TooLong { length: 445, .. }]),
            "{wrong:?}"
        );
        assert_eq!(table_topics("p", &tables[4..]).unwrap(), ["p.a.ok"]);
        assert!(matches!(table_topic("p/q", &tables[4]), Err(TopicError::Prefix { .. })));
    }
}
