//! What a broker says of itself and of our topics: plain facts, whoever asked for them.

use std::collections::BTreeMap;

/// The broker, as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broker {
    /// How many brokers answered; an error: why none did.
    pub brokers: Option<usize>,
    /// Why nobody answered.
    pub away: Option<String>,
    /// Settings of `[log.kafka]` that librdkafka does not take, each with what it says.
    pub refused_settings: BTreeMap<String, String>,
    /// Topics that exist, by name.
    pub topics: BTreeMap<String, Topic>,
    /// Names that the tables' topics cannot have, each with why.
    pub unfit_names: Vec<(String, String)>,
    /// The oldest event that apply has not yet taken, in milliseconds; `None`: nothing waits, or nobody knows.
    pub waiting_ms: Option<i64>,
}

/// A topic as the broker has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub partitions: i32,
    /// The least of its partitions.
    pub replication_factor: i32,
    /// Partitions without a leader cannot be written to or read.
    pub leaderless: i32,
    pub unclean_leader_election: bool,
    /// `delete`, `compact`, or both with a comma.
    pub cleanup_policy: String,
    /// Milliseconds; -1 for ever.
    pub retention_ms: i64,
    /// Per partition; -1 without limit.
    pub retention_bytes: i64,
    pub min_insync_replicas: i32,
}
