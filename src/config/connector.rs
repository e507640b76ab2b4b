//! The connector file as run: every value checked.

use super::{CopyConfig, Pattern};
use crate::change::TableName;
use crate::mapping::Rule;
use crate::pg::Endpoint;
use std::{net::SocketAddr, path::PathBuf};

/// One connector: what moves from where to where.
#[derive(Clone, Debug)]
pub struct Connector {
    pub file: PathBuf,
    /// `[a-z0-9-]`, 1 to 40.
    pub name: String,
    pub source: SourceConfig,
    pub target: TargetConfig,
    pub log: LogKind,
    /// `None`: `listen = "off"`.
    pub http: Option<SocketAddr>,
    pub copy: CopyConfig,
    /// Explicit entries, as written, in their order.
    pub tables: Vec<Rule>,
    /// Pattern entries. They give way to explicit ones.
    pub patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
pub struct SourceConfig {
    pub endpoint: Endpoint,
    /// A person's own slot, to be adopted.
    pub slot: Option<String>,
    /// A person's own publication, never altered.
    pub publication: Option<String>,
}

#[derive(Clone, Debug)]
pub struct TargetConfig {
    pub endpoint: Endpoint,
    pub create: Create,
    pub triggers: Triggers,
}

/// Who makes target tables that do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    Never,
    /// We do: those that are missing when their table is taken on.
    Missing,
}

/// What becomes of the target's triggers and foreign keys while we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Triggers {
    /// `session_replication_role = replica`.
    Off,
    Fire,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogKind {
    Local,
    Kafka(Kafka),
}

#[derive(Clone, PartialEq, Eq)]
pub struct Kafka {
    pub brokers: String,
    pub topic_prefix: String,
    /// For topics that `prepare` makes; then pinned.
    pub partitions: i32,
    pub replication_factor: i32,
    /// Any librdkafka setting, passed through. May hold secrets.
    pub settings: Vec<(String, String)>,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kafka").field("brokers", &self.brokers).field("topic_prefix", &self.topic_prefix).finish_non_exhaustive()
    }
}

impl Connector {
    /// Slot, publication, consumer group and control rows: `tablelift_shop_orders`.
    pub fn object_name(&self) -> String {
        format!("tablelift_{}", self.name.replace('-', "_"))
    }

    pub fn slot(&self) -> String {
        self.source.slot.clone().unwrap_or_else(|| self.object_name())
    }

    pub fn publication(&self) -> String {
        self.source.publication.clone().unwrap_or_else(|| self.object_name())
    }

    /// The second publication: `publish = 'insert, truncate'`, for keyless tables.
    pub fn inserts_publication(&self) -> String {
        format!("{}_inserts", self.publication())
    }

    /// What stays as it was on the first start: a finding's code, the setting, its value.
    pub fn pinned(&self) -> [(&'static str, &'static str, String); 6] {
        let (kafka, none) = (self.kafka(), || "none".to_owned());
        [
            ("connector.name", "`name`", self.name.clone()),
            ("log.kind", "`log.kind`", kafka.map_or("local", |_| "kafka").to_owned()),
            ("log.prefix", "`topic_prefix`", kafka.map_or_else(none, |kafka| kafka.topic_prefix.clone())),
            ("log.partitions", "`partitions`", kafka.map_or_else(none, |kafka| kafka.partitions.to_string())),
            ("source.slot_name", "the slot", self.slot()),
            ("source.publication_name", "the publication", self.publication()),
        ]
    }

    /// What of it is not as it `was`: code, setting, then and now.
    pub fn unpinned(&self, was: [String; 6]) -> impl Iterator<Item = (&'static str, &'static str, String, String)> {
        let pairs = self.pinned().into_iter().zip(was).map(|((code, what, is), was)| (code, what, was, is));
        pairs.filter(|(_, _, was, is)| was != is)
    }

    /// An explicit entry is about this source table.
    pub fn names(&self, source: &TableName) -> bool {
        self.tables.iter().any(|rule| &rule.source == source)
    }

    pub fn kafka(&self) -> Option<&Kafka> {
        match &self.log {
            LogKind::Local => None,
            LogKind::Kafka(kafka) => Some(kafka),
        }
    }
}
