//! What apply must know of the source without reaching it: each table's rule, shape and topic, as capture last compiled them.

use crate::change::{Cell, Change, Column, ReplicaIdentity, Table};
use crate::config::Kafka;
use crate::event::{Encoder, Partitions, TopicError, table_topics};
use crate::mapping::{KeyText, Rule, SourceColumn, SourceShape, TablePlan};
use crate::preflight::{self, Compiled};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A source table on its way through a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSpec {
    pub shape: SourceShape,
    /// Shapes that it had before, the newest first: of events that may still be in the topic.
    pub former: Vec<SourceShape>,
    /// All entries of the connector file for this source.
    pub rules: Vec<Rule>,
    pub topic: String,
    pub partitions: i32,
    /// Source key columns; empty for keyless tables.
    pub key: Vec<String>,
    /// Key values of type numeric are written in one form.
    pub numeric_key: bool,
}

impl TableSpec {
    /// The pinned number of partitions.
    pub fn partitions(&self) -> Partitions {
        Partitions::new(self.partitions).expect("it was a count of partitions when it was written")
    }

    /// The stream brings the table in another shape than the one known. `former`: what its columns that had other names are called now.
    pub fn note_shape(&mut self, table: &Table, former: &BTreeMap<&str, Option<&str>>) {
        let column = |column: &Column| {
            let now = former.get(column.name.as_str()).copied().unwrap_or(Some(&column.name));
            let known = self.shape.columns.iter().find(|known| Some(known.name.as_str()) == now);
            SourceColumn {
                name: column.name.clone(),
                type_oid: column.type_oid,
                type_name: known.map_or_else(String::new, |known| known.type_name.clone()),
                type_base: known.map_or_else(String::new, |known| known.type_base.clone()),
                type_kind: known.map_or('b', |known| known.type_kind),
                type_category: known.map_or('X', |known| known.type_category),
                not_null: false,
                generated: None,
                collation_deterministic: true,
                number: known.map_or(0, |known| known.number),
                has_default: false,
            }
        };
        let columns = table.columns.iter().map(column).collect();
        let shape = SourceShape { columns, ..self.shape.clone() };
        self.former.insert(0, shape);
    }

    /// The cells of an event's key: those of the new row, or of the old one where there is no new; equal keys in one form.
    pub fn event_key<'r>(&self, encoder: &'r Encoder, change: &'r Change) -> impl Iterator<Item = Cell<'r>> + use<'r> {
        let numeric = self.numeric_key;
        let row = change.after.as_ref().or_else(|| change.before.row());
        row.into_iter().flat_map(|row| encoder.key_cells(row)).map(move |cell| match cell {
            Cell::Text(text) if numeric => Cell::Text(canonical_numeric(text)),
            other => other,
        })
    }

    /// The table as its events have it: generated columns are not in the stream.
    pub fn table(&self) -> Arc<Table> {
        let shape = &self.shape;
        let identity = match shape.identity {
            ReplicaIdentity::Index => &shape.identity_columns,
            _ => &shape.primary_key,
        };
        let carried = shape.columns.iter().filter(|column| column.generated.is_none());
        Arc::new(Table {
            relation_id: shape.oid,
            name: shape.name.clone(),
            identity: shape.identity,
            columns: carried
                .map(|column| Column {
                    name: column.name.clone(),
                    type_oid: column.type_oid,
                    type_modifier: -1,
                    identity: shape.identity == ReplicaIdentity::Full || identity.contains(&column.name),
                })
                .collect(),
        })
    }
}

/// One spec per source table, from compiled rules. `old`: those of the last start, whose partition counts are pinned; a table that does
/// not fit now keeps its own, for its events are still to be applied and its place to be held.
///
/// # Errors
/// All tables that can have no topic.
pub fn specs(kafka: &Kafka, compiled: &[Compiled], old: &[TableSpec]) -> Result<Vec<TableSpec>, Vec<TopicError>> {
    let mut sources: Vec<&Compiled> = Vec::new();
    for one in compiled.iter().filter(|one| one.plan.is_ok()) {
        if !sources.iter().any(|other| other.rule.source == one.rule.source) {
            sources.push(one);
        }
    }
    let topics = table_topics(&kafka.topic_prefix, sources.iter().map(|one| &one.rule.source))?;
    let spec = |(one, topic): (&&Compiled, String)| {
        let of_source = compiled.iter().filter(|other| other.rule.source == one.rule.source);
        let plans: Vec<&TablePlan> = of_source.clone().filter_map(|other| other.plan.as_ref().ok()).collect();
        let first = plans.first()?;
        let wanted = preflight::partitions(plans.iter().copied(), kafka, None);
        let before = old.iter().find(|old| old.topic == topic);
        Some(TableSpec {
            shape: one.source.clone()?,
            // an entry that does not fit: its events are applied as they were meant, and its place is held
            rules: of_source
                .map(|other| before.and_then(|before| unfit_rule(other, before)).unwrap_or(&other.rule).clone())
                .collect(),
            partitions: before.map_or(wanted, |before| before.partitions),
            former: before.map_or_else(Vec::new, |before| former(before, one.source.as_ref())),
            topic,
            key: first.key.iter().map(|&input| first.inputs[input].name.clone()).collect(),
            numeric_key: first.key_text == KeyText::Numeric,
        })
    };
    let mut specs: Vec<TableSpec> = sources.iter().zip(topics).filter_map(spec).collect();
    let wanted = |old: &&TableSpec| compiled.iter().any(|one| one.rule.source == old.shape.name);
    for old in old.iter().filter(wanted) {
        if !specs.iter().any(|spec| spec.shape.name == old.shape.name) {
            specs.push(old.clone());
        }
    }
    Ok(specs)
}

fn unfit_rule<'s>(one: &Compiled, before: &'s TableSpec) -> Option<&'s Rule> {
    before.rules.iter().find(|rule| one.plan.is_err() && rule.target == one.rule.target)
}

/// Shapes that older events may have.
fn former(before: &TableSpec, now: Option<&SourceShape>) -> Vec<SourceShape> {
    const KEPT: usize = 16;
    let columns =
        |shape: &SourceShape| shape.columns.iter().map(|column| (column.name.clone(), column.type_oid)).collect::<Vec<_>>();
    let changed = now.is_some_and(|now| columns(now) != columns(&before.shape));
    let newest = changed.then(|| before.shape.clone());
    newest.into_iter().chain(before.former.iter().cloned()).take(KEPT).collect()
}

/// `1.00` and `1.0` are one numeric key, and belong into one partition.
fn canonical_numeric(text: &[u8]) -> &[u8] {
    if !text.contains(&b'.') {
        return text;
    }
    let digits = text.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
    text[..digits].strip_suffix(b".").unwrap_or(&text[..digits])
}
