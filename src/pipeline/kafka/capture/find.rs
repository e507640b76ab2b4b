//! What a start of capture finds in the log, made where it is missing: topics, the slot held against its record, and the epoch from here on.

use super::{BROKER_LIMIT, CaptureLife, damaged, topics};
use crate::change::{CommitLsn, Lsn, Position};
use crate::config::{Connector, Kafka};
use crate::event::control_topic;
use crate::finding::Finding;
use crate::log::kafka::{Admin, Contents, Control, ControlTail, Ends, Producer, TopicSpec};
use crate::pipeline::PipelineError;
use crate::pipeline::kafka::record::{EndLsnText, SLOT, SlotRecord, TABLES, TableRecord};
use crate::pipeline::kafka::specs::TableSpec;
use crate::pipeline::prepare::{self, FirstCopy, Prepared};
use crate::source::{self, SlotFacts};
use crate::store::{self, checkpoint, table_state};
use crate::target::TargetError;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a start found.
pub struct Found {
    pub prepared: Prepared,
    pub specs: Vec<TableSpec>,
    /// With the new epoch.
    pub record: SlotRecord,
    contents: Contents,
    control_name: String,
    /// The target's, drawn by this start.
    pub epoch: i64,
}

impl Found {
    /// Says in the control topic who captures now, and what.
    pub async fn announce(&self, connector: &Connector) -> Result<(Producer, Control), PipelineError> {
        let kafka = connector.kafka().expect("capture is started for a Kafka log only");
        let producer = Producer::new(kafka, &self.record.ends)?;
        let control = Control::new(producer.clone(), self.control_name.clone(), self.record.epoch);
        control.write(SLOT, &serde_json::to_vec(&self.record).expect("plain data is always JSON")).await?;
        control.write(TABLES, &serde_json::to_vec(&self.specs).expect("plain data is always JSON")).await?;
        control.sweep(&self.contents).await?;
        Ok((producer, control))
    }
}

impl CaptureLife {
    /// What is there in the log, made where it is missing, and how far the slot may begin.
    pub async fn find(
        &mut self,
        (source, target): (&tokio_postgres::Client, &tokio_postgres::Client),
        mut prepared: Prepared,
    ) -> Result<Found, PipelineError> {
        let connector = Arc::clone(&self.connector);
        let kafka = connector.kafka().cloned().expect("capture is started for a Kafka log only");
        let name = connector.object_name();
        self.note_unfit(&prepared.compiled);
        self.apart = prepared.misfits.clone();
        self.left_out.clone_from(&prepared.left_out);
        // Before anything of the log is looked at: so the captures' epochs follow one another as the target's do. Whoever draws after us sees
        // in the control topic what we have said, or we see that he has drawn, and bring nothing.
        let epoch = checkpoint::take(target, &connector.name, checkpoint::LOCAL, 0).await?.epoch;
        // it never stands behind a record that is read later
        let slot = source::slot_facts(source, &prepared.slot).await?;
        let admin = Admin::new(&kafka)?;
        admin.brokers(BROKER_LIMIT).await?;
        let control_name = control_topic(&kafka.topic_prefix);
        admin.ensure(&[TopicSpec::control(&kafka)], BROKER_LIMIT).await?;
        let contents = ControlTail::open(&kafka, &name, &control_name)?.read_all(BROKER_LIMIT).await?;
        let mut old: Option<SlotRecord> = contents.entries.get(SLOT).map(|entry| read_record(&entry.value)).transpose()?;
        if let Some(record) = old.as_ref().filter(|record| record.connector != connector.name) {
            return Err(owned(&kafka, &record.connector));
        }
        let entries = &contents.entries;
        let topics = topics::topics(&kafka, &admin, &prepared.compiled, entries, prepared.first, BROKER_LIMIT).await?;
        self.topics = topics.specs.iter().map(|spec| (spec.topic.clone(), spec.shape.name.clone())).collect();
        for topic in &topics.gone {
            self.refuses(&topics::gone(topic));
        }
        topics.begin(&admin, target, (&connector.name, epoch), BROKER_LIMIT).await?;
        if let Some(record) = &mut old {
            // nobody applies what left the connector file; what is new has no ends yet
            record.ends.keep(|topic| topic == control_name || topics.is_known(topic));
        }
        // What was brought of a copy is recorded in the target, and how far it reaches perhaps nowhere: whoever brought it may have been killed
        // between the two. It was in the log before we drew our epoch.
        let mut reached = Ends::default();
        for spec in topics.specs.iter().filter(|spec| !topics.gone.contains(&spec.topic)) {
            for partition in spec.partitions().all() {
                reached.raise(&spec.topic, partition, admin.ends_of(&spec.topic, partition, BROKER_LIMIT).await?.1);
            }
        }
        let specs = topics.specs;
        prepared.record.made.topics = specs.iter().map(|spec| spec.topic.clone()).chain([control_name.clone()]).collect();
        store::connector::write(target, &prepared.record).await?;
        let mut record = self.slot_record((source, slot), (target, epoch), &mut prepared, old, &specs).await?;
        record.ends.raise_all(&reached);
        Ok(Found { prepared, specs, record, contents, control_name, epoch })
    }

    /// The slot, made or held against the record; and the record of this start, with its new epoch.
    async fn slot_record(
        &self,
        (source, slot): (&tokio_postgres::Client, Option<SlotFacts>),
        (target, drawn): (&tokio_postgres::Client, i64),
        prepared: &mut Prepared,
        old: Option<SlotRecord>,
        specs: &[TableSpec],
    ) -> Result<SlotRecord, PipelineError> {
        // a record that outlived its connector (`drop` without --topics) only keeps epochs and offsets rising
        let (outlived, old) = if prepared.first { (old, None) } else { (None, old) };
        let end = old.as_ref().map(SlotRecord::end);
        let confirmed = prepare::slot_at(&self.connector, (source, target), prepared, (slot, end), &self.board).await?;
        let incarnation = prepared.incarnation();
        let fresh = SlotRecord {
            connector: self.connector.name.clone(),
            source_system: prepared.facts.system_id.clone(),
            timeline: prepared.facts.timeline,
            incarnation,
            epoch: outlived.as_ref().map_or(0, |record| record.epoch),
            position: Position::start_of(incarnation, CommitLsn(confirmed.0)).to_string(),
            end: EndLsnText(confirmed.0),
            ends: outlived.map(|record| record.ends).unwrap_or_default(),
            tables: BTreeMap::new(),
        };
        let mut record = old.unwrap_or(fresh);
        // not by the record alone: an earlier capture's may still be on its way to the log
        let known = i64::try_from(record.epoch).unwrap_or(i64::MAX);
        record.epoch = match checkpoint::number_capture(target, &self.connector.name, drawn, known).await? {
            _ if broken!(SameCaptureEpoch) => record.epoch + 1,
            Some(number) => u64::try_from(number).unwrap_or(record.epoch + 1),
            None => return Err(TargetError::Fenced.into()),
        };
        record.timeline = prepared.facts.timeline;
        let filled = match self.options.copy {
            FirstCopy::Skip => table_state::read(target, &self.connector.name).await?,
            FirstCopy::Make => Vec::new(),
        };
        let has_rows = |spec: &TableSpec| {
            let mut of_table = filled.iter().filter(|state| state.source == spec.shape.name).peekable();
            of_table.peek().is_some() && of_table.all(|state| state.copied)
        };
        let at = record.position().map_err(|_| damaged())?;
        let next = Position::start_of(at.incarnation, CommitLsn(Lsn(at.commit.0.0 + 1)));
        let mut tables = BTreeMap::new();
        for spec in specs {
            let name = spec.shape.name.to_string();
            let known = record.tables.remove(&name);
            let mut table = known.unwrap_or_else(|| TableRecord { copied: has_rows(spec), ..TableRecord::default() });
            // what stopped it in an earlier life is tried anew
            table.halted = self.halted(&spec.shape.name).map(|halted| (halted.because.clone(), halted.hint.clone()));
            if table.halted.is_some() {
                // what it lacks begins behind the record, or where it began to lack something before
                table.lacks_from.get_or_insert_with(|| next.to_string());
            }
            tables.insert(name, table);
        }
        record.tables = tables;
        Ok(record)
    }
}

fn read_record(value: &[u8]) -> Result<SlotRecord, PipelineError> {
    serde_json::from_slice(value).map_err(|_| damaged())
}

fn owned(kafka: &Kafka, other: &str) -> PipelineError {
    let what = format!("the topics with prefix `{}` belong to the connector `{other}`", kafka.topic_prefix);
    let finding = Finding::error("log.topic_owned", kafka.topic_prefix.clone(), what);
    PipelineError::Findings(vec![finding.config("[log]\ntopic_prefix = \"...\"")])
}
