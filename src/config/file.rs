//! The connector file, section by section.

use super::connector::{Connector, Create, Kafka, LogKind, SourceConfig, TargetConfig, Triggers};
use super::copy::copy;
use super::mistake::{Complaint, ConfigErrors, Place};
use super::section::{Reader, Section, Text};
use super::substitute::Environment;
use super::tables::Tables;
use super::{libpq, names};
use crate::pg::Endpoint;
use std::net::SocketAddr;
use std::path::Path;

const DEFAULT_LISTEN: &str = "127.0.0.1:7411";
const DEFAULT_PARTITIONS: i32 = 8;
const DEFAULT_REPLICATION_FACTOR: i32 = 3;
/// Kafka's limit for a topic's name is 249; a table's name, escaped, must fit behind the prefix.
const MAX_TOPIC_PREFIX: usize = 100;

/// What tablelift itself sets, since its promises hang on it, and why.
const OWN_SETTINGS: &[(&str, &str)] = &[
    ("bootstrap.servers", "it is `brokers` in `[log]`"),
    ("metadata.broker.list", "it is `brokers` in `[log]`"),
    ("group.id", "the consumer group is named after the connector"),
    ("acks", "the slot is confirmed only when all in-sync replicas have an event"),
    ("request.required.acks", "the slot is confirmed only when all in-sync replicas have an event"),
    ("enable.idempotence", "a retry must not write an event twice"),
    ("enable.auto.commit", "the target's checkpoint rules, not the group's offset"),
    ("enable.auto.offset.store", "the target's checkpoint rules, not the group's offset"),
    ("auto.offset.reset", "an offset that is gone halts its table, nothing is skipped"),
];

impl Connector {
    /// Reads a connector file, with the process's environment.
    ///
    /// # Errors
    /// Every mistake of the file at once.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let read = std::fs::read_to_string(path);
        let text = read.map_err(|source| ConfigErrors::Unreadable { file: path.to_owned(), source })?;
        Self::parse(&text, path, &|name| std::env::var(name).ok())
    }

    /// Reads the text of a connector file. `file` is only named in mistakes.
    ///
    /// # Errors
    /// Every mistake of the text at once.
    pub fn parse(text: &str, file: &Path, env: Environment<'_>) -> Result<Self, ConfigErrors> {
        let mut reader = Reader::new(text, env);
        let table = reader.parse();
        let found = read(&mut reader, &table, file);
        let mistakes = reader.finish();
        match found {
            Some(connector) if mistakes.is_empty() => Ok(connector),
            _ => Err(ConfigErrors::Mistakes { file: file.to_owned(), mistakes }),
        }
    }
}

fn read(reader: &mut Reader<'_>, table: &toml::de::DeTable<'_>, file: &Path) -> Option<Connector> {
    let mut top = reader.top(table);
    let name = reader.required_text(&mut top, "name").and_then(|text| connector_name(reader, &text));
    let source = required_section(reader, &mut top, "source").and_then(|section| source(reader, section));
    let target = required_section(reader, &mut top, "target").and_then(|section| target(reader, section));
    let log = match reader.section(&mut top, "log") {
        Some(section) => log(reader, section, name.as_deref()),
        None => Some(LogKind::Local),
    };
    let http = http(reader, &mut top);
    let copy = copy(reader, &mut top);
    let tables = Tables::read(reader, &mut top);
    reader.close(&top);
    Some(Connector {
        file: file.to_owned(),
        name: name?,
        source: source?,
        target: target?,
        log: log?,
        http: http?,
        copy,
        tables: tables.rules,
        patterns: tables.patterns,
    })
}

fn required_section<'t>(reader: &mut Reader<'_>, top: &mut Section<'t>, key: &'static str) -> Option<Section<'t>> {
    if !top.has(key) {
        reader.missing(Place::START, Complaint::new(format!("the file lacks the section `[{key}]`")));
    }
    reader.section(top, key)
}

fn connector_name(reader: &mut Reader<'_>, text: &Text) -> Option<String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=40).contains(&text.value.len()) && text.value.chars().all(fits) {
        return Some(text.value.clone());
    }
    let what = format!("the name `{}` is not 1 to 40 of the characters a-z, 0-9 and `-`", text.written);
    reader.complain(text.place, Complaint::new(what).hint("slot, publication and consumer group are named after it"));
    None
}

fn url(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<Endpoint> {
    let text = reader.required_text(section, "url")?;
    match libpq::endpoint(&text.value, reader.env()) {
        Ok(endpoint) => Some(endpoint),
        Err(complaints) => {
            complaints.into_iter().for_each(|complaint| reader.complain(text.place, complaint));
            None
        }
    }
}

fn source(reader: &mut Reader<'_>, mut section: Section<'_>) -> Option<SourceConfig> {
    let endpoint = url(reader, &mut section);
    let slot = reader.text(&mut section, "slot").and_then(|text| slot_name(reader, &text));
    let publication = reader.text(&mut section, "publication");
    let publication = publication.and_then(|text| reader.check(text.place, names::exact(&text.value, &text.written)));
    reader.close(&section);
    Some(SourceConfig { endpoint: endpoint?, slot, publication })
}

fn slot_name(reader: &mut Reader<'_>, text: &Text) -> Option<String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if (1..=63).contains(&text.value.len()) && text.value.chars().all(fits) {
        return Some(text.value.clone());
    }
    let what = format!("the slot `{}` is not 1 to 63 of the characters a-z, 0-9 and `_`", text.written);
    reader.complain(text.place, Complaint::new(what));
    None
}

fn target(reader: &mut Reader<'_>, mut section: Section<'_>) -> Option<TargetConfig> {
    let endpoint = url(reader, &mut section);
    let create = reader.word(&mut section, "create", &[("never", Create::Never), ("missing", Create::Missing)]);
    let triggers = reader.word(&mut section, "triggers", &[("off", Triggers::Off), ("fire", Triggers::Fire)]);
    reader.close(&section);
    Some(TargetConfig {
        endpoint: endpoint?,
        create: create.unwrap_or(Create::Never),
        triggers: triggers.unwrap_or(Triggers::Off),
    })
}

fn log(reader: &mut Reader<'_>, mut section: Section<'_>, name: Option<&str>) -> Option<LogKind> {
    let has_kind = section.has("kind");
    let kafka = reader.word(&mut section, "kind", &[("local", false), ("kafka", true)]);
    // A kind that is misspelt says nothing about the other keys.
    let local = kafka == Some(false) || !has_kind;
    for key in ["brokers", "topic_prefix", "partitions", "replication_factor", "kafka"].into_iter().filter(|_| local) {
        if let Some(place) = section.place_of(key) {
            let complaint = Complaint::new(format!("`{key}` makes no sense with the local log"));
            reader.complain(place, complaint.hint("`kind = \"kafka\"`, or leave it out"));
        }
    }
    let brokers = match kafka {
        Some(true) => reader.required_text(&mut section, "brokers"),
        _ => reader.text(&mut section, "brokers"),
    };
    let brokers = brokers.and_then(|text| brokers_list(reader, &text));
    let prefix = match reader.text(&mut section, "topic_prefix") {
        Some(text) => topic_prefix(reader, &text),
        None => name.map(str::to_owned),
    };
    let partitions = reader.integer(&mut section, "partitions", 1..=1000).unwrap_or(DEFAULT_PARTITIONS);
    let replication_factor =
        reader.integer(&mut section, "replication_factor", 1..=i32::from(i16::MAX)).unwrap_or(DEFAULT_REPLICATION_FACTOR);
    let settings = match reader.section(&mut section, "kafka") {
        Some(section) => kafka_settings(reader, section),
        None => Vec::new(),
    };
    reader.close(&section);
    if local {
        return Some(LogKind::Local);
    }
    Some(LogKind::Kafka(Kafka { brokers: brokers?, topic_prefix: prefix?, partitions, replication_factor, settings }))
}

fn brokers_list(reader: &mut Reader<'_>, text: &Text) -> Option<String> {
    let brokers: Vec<_> = text.value.split(',').map(str::trim).collect();
    let whole = |broker: &&str| {
        let (host, port) = broker.rsplit_once(':').unwrap_or((broker, "9092"));
        !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    if brokers.iter().all(whole) {
        return Some(brokers.join(","));
    }
    let what = format!("`{}` is not a list of brokers", text.written);
    reader.complain(text.place, Complaint::new(what).hint("brokers = \"kafka-1:9092,kafka-2:9092\""));
    None
}

fn topic_prefix(reader: &mut Reader<'_>, text: &Text) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=MAX_TOPIC_PREFIX).contains(&text.value.len()) && text.value.chars().all(fits) {
        return Some(text.value.clone());
    }
    let what = format!(
        "the prefix `{}` is not 1 to {MAX_TOPIC_PREFIX} of the characters that Kafka has in a topic's name: a-z, A-Z, 0-9, `.`, `_`, `-`",
        text.written
    );
    reader.complain(text.place, Complaint::new(what));
    None
}

fn kafka_settings(reader: &mut Reader<'_>, mut section: Section<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (key, place, value) in reader.free_scalars(&mut section) {
        match OWN_SETTINGS.iter().find(|(own, _)| *own == key) {
            Some((_, why)) => reader.complain(place, Complaint::new(format!("tablelift sets `{key}` itself")).hint(*why)),
            None => found.push((key, value)),
        }
    }
    found
}

/// The outer `None`: a mistake; the inner one: `off`.
fn http(reader: &mut Reader<'_>, top: &mut Section<'_>) -> Option<Option<SocketAddr>> {
    let default = || Some(DEFAULT_LISTEN.parse().ok());
    let Some(mut section) = reader.section(top, "http") else { return default() };
    let text = reader.text(&mut section, "listen");
    reader.close(&section);
    let Some(text) = text else { return default() };
    if text.value == "off" {
        return Some(None);
    }
    let address = text.value.parse::<SocketAddr>();
    if address.is_err() {
        let complaint = Complaint::new(format!("`{}` is neither an address with a port nor `off`", text.written));
        reader.complain(text.place, complaint.hint("listen = \"127.0.0.1:7411\", or \"0.0.0.0:7411\" for every network"));
    }
    Some(Some(address.ok()?))
}
