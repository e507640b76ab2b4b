//! What `prepare` and `run` will do: the objects, per table its SQL, and what is left to a person.

use super::broker::partitions;
use super::survey::OwnSchema;
use super::{Survey, statement, survey};
use crate::catalog::Sequence;
use crate::change::TableName;
use crate::config::Connector;
use crate::ddl::{self, Design, Rebuild, Step};
use crate::event::control_topic;
use crate::finding::{Finding, Remedy};
use crate::mapping::{Kind, TablePlan};
use crate::pg::quote;
use crate::source::Published;
use crate::source::publication::{add_sql, create_sql};
use serde::Serialize;
use std::collections::BTreeSet;

/// The whole of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    pub connector: String,
    pub slot: Object,
    pub publications: Vec<Object>,
    /// Schema `tablelift` of the target.
    pub schema: Object,
    pub topics: Vec<Object>,
    pub tables: Vec<PlannedTable>,
    /// To be run on the target when it takes over the writing.
    pub setval: Vec<String>,
    pub findings: Vec<Finding>,
}

/// Something that `prepare` makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Object {
    pub name: String,
    /// `make`, `alter` or `keep`.
    pub action: &'static str,
    pub sql: Option<String>,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedTable {
    pub source: String,
    pub target: String,
    /// `keyed`, `keyless`, `insert_only`; null where findings stand in the way.
    pub kind: Option<&'static str>,
    /// Columns of the target that tell its rows apart.
    pub key: Vec<String>,
    /// `copy`, `copied` already, or `refused` by its findings.
    pub first_copy: &'static str,
    pub rows_estimated: i64,
    pub bytes_estimated: i64,
    /// The DDL of a target table that is missing and is yours to make.
    pub ddl: Option<String>,
    /// What `prepare` runs to make it.
    pub create: Vec<PlannedStatement>,
    /// What is run once its rows are there.
    pub after_load: Vec<PlannedStatement>,
    /// Of a table that is there and has not been copied to: what could be dropped before and built again after. Nothing of it is done.
    pub rebuild: Option<Rebuild>,
    pub statements: Vec<PlannedStatement>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedStatement {
    pub name: &'static str,
    pub sql: String,
}

/// Looks at everything and says what would be done.
pub async fn plan(connector: &Connector) -> Plan {
    let survey = Box::pin(survey(connector)).await;
    let schema_there = survey.target.as_ref().is_some_and(|target| target.own_schema != OwnSchema::Missing);
    let slot_there = survey.source.as_ref().is_some_and(|source| source.slot.is_some());
    Plan {
        connector: connector.name.clone(),
        slot: Object {
            name: connector.slot(),
            action: if slot_there { "keep" } else { "make" },
            sql: (!slot_there).then(|| format!("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput", quote::ident(&connector.slot()))),
        },
        publications: publications(&survey),
        schema: Object {
            name: "tablelift".to_owned(),
            action: if schema_there { "keep" } else { "make" },
            sql: (!schema_there).then(|| "CREATE SCHEMA tablelift".to_owned()),
        },
        topics: topics(&survey),
        tables: tables(&survey),
        setval: setval(&survey),
        findings: survey.findings(),
    }
}

fn publications(survey: &Survey<'_>) -> Vec<Object> {
    let Some(source) = &survey.source else { return Vec::new() };
    let mut objects = Vec::new();
    let kinds = [
        (false, survey.connector.publication(), &source.main, Published::ALL),
        (true, survey.connector.inserts_publication(), &source.inserts, Published::INSERTS),
    ];
    for (insert_only, name, found, published) in kinds {
        let mut tables: Vec<_> =
            survey.rules.iter().filter(|rule| rule.insert_only == insert_only).map(|rule| rule.source.clone()).collect();
        tables.sort();
        tables.dedup();
        if insert_only && tables.is_empty() {
            continue;
        }
        let missing: Vec<_> = match found {
            Some((found, _)) if found.all_tables => Vec::new(),
            Some((found, _)) => {
                tables.iter().filter(|table| !found.tables.iter().any(|has| &has.name == *table)).cloned().collect()
            }
            None => tables.clone(),
        };
        let (action, sql) = match found {
            None => ("make", Some(create_sql(&name, &tables, published))),
            Some(_) if missing.is_empty() => ("keep", None),
            Some(_) => ("alter", Some(add_sql(&name, &missing))),
        };
        objects.push(Object { name, action, sql });
    }
    objects
}

/// The tables' topics and the control topic, each with its partitions.
fn topics(survey: &Survey<'_>) -> Vec<Object> {
    let (Some(kafka), Some(broker)) = (survey.connector.kafka(), &survey.broker) else { return Vec::new() };
    let object = |name: &str, count: i32| {
        let there = broker.topics.iter().any(|topic| topic.name == name);
        let what = format!("{name}, {count} partition{}", if count == 1 { "" } else { "s" });
        Object { name: what, action: if there { "keep" } else { "make" }, sql: None }
    };
    let mut objects = vec![object(&control_topic(&kafka.topic_prefix), 1)];
    for (table, name) in broker.names.as_ref().into_iter().flatten() {
        let plans = survey.compiled.iter().filter_map(|one| one.plan.as_ref().ok()).filter(|plan| &plan.source == table);
        let there = broker.topics.iter().find(|topic| topic.name == *name).map(|topic| topic.partitions);
        objects.push(object(name, partitions(plans, kafka, there)));
    }
    objects
}

fn tables(survey: &Survey<'_>) -> Vec<PlannedTable> {
    let recorded = |name: &TableName| survey.target.as_ref().is_some_and(|target| target.recorded.contains(name));
    let one = |one: &super::Compiled| PlannedTable {
        source: one.rule.source.to_string(),
        target: one.rule.table().to_string(),
        kind: one.plan.as_ref().ok().map(|plan| kind(plan)),
        key: one
            .plan
            .as_ref()
            .map_or_else(|_| Vec::new(), |plan| plan.key_outputs().map(|output| output.column.clone()).collect()),
        first_copy: match &one.plan {
            Err(_) => "refused",
            Ok(_) if recorded(&one.rule.target) => "recorded",
            Ok(_) => "copy",
        },
        rows_estimated: one.source.as_ref().map_or(0, |shape| shape.rows_estimated),
        bytes_estimated: one.source.as_ref().map_or(0, |shape| shape.bytes),
        ddl: one.plan.as_ref().err().and_then(|findings| ddl(findings)),
        create: one.design.as_ref().map_or_else(Vec::new, create),
        after_load: one.design.as_ref().map_or_else(Vec::new, |design| design.follows().map(step).collect()),
        rebuild: rebuild(survey, one).filter(|rebuild| !rebuild.before.is_empty()),
        statements: one.plan.as_ref().map_or_else(|_| Vec::new(), sql),
    };
    let mut tables: Vec<PlannedTable> = survey.compiled.iter().map(one).collect();
    // the first table that needs a type has it made
    let mut types = BTreeSet::new();
    for table in &mut tables {
        table.create.retain(|statement| statement.name != "type" || types.insert(statement.sql.clone()));
    }
    tables
}

fn kind(plan: &TablePlan) -> &'static str {
    match plan.kind {
        Kind::Keyed => "keyed",
        Kind::Keyless => "keyless",
        Kind::InsertOnly => "insert_only",
    }
}

fn create(design: &Design) -> Vec<PlannedStatement> {
    let made = design.create().into_iter().map(|sql| {
        let kinds = [("CREATE SCHEMA", "schema"), ("CREATE TYPE", "type"), ("CREATE DOMAIN", "type")];
        let name = kinds.iter().find(|(begins, _)| sql.starts_with(begins)).map_or("table", |(_, name)| name);
        PlannedStatement { name, sql }
    });
    made.chain(design.at_once().map(step)).collect()
}

fn step(step: &Step) -> PlannedStatement {
    PlannedStatement { name: step.kind.code(), sql: step.sql.clone() }
}

/// All but the index that tells the rows apart.
fn rebuild(survey: &Survey<'_>, one: &super::Compiled) -> Option<Rebuild> {
    let target = survey.target.as_ref().filter(|target| !target.recorded.contains(&one.rule.target))?;
    let (plan, standing) = (one.plan.as_ref().ok()?, target.standing.get(one.rule.table())?);
    let key: Vec<&String> = plan.key_outputs().map(|output| &output.column).collect();
    let is_key = |columns: &[String]| columns.len() == key.len() && columns.iter().all(|name| key.contains(&name));
    let others = standing.iter().filter(|index| !(index.unique && is_key(&index.columns)));
    let indexes = others.map(|index| (index.name.as_str(), index.definition.as_str(), index.constraint.as_deref()));
    Some(ddl::rebuild(one.rule.table(), indexes))
}

fn ddl(findings: &[Finding]) -> Option<String> {
    let missing = findings.iter().find(|finding| finding.code == "table.target_missing")?;
    match &missing.remedy {
        Some(Remedy::Sql(sql)) => Some(sql.clone()),
        _ => None,
    }
}

fn sql(plan: &TablePlan) -> Vec<PlannedStatement> {
    let mut statements = statement::statements(plan);
    if plan.straight() {
        statements.insert(0, ("copy", crate::mapping::Statement::CopyIn));
    }
    let text = |(name, statement)| plan.sql(&statement).ok().map(|sql| PlannedStatement { name, sql });
    statements.into_iter().filter_map(text).collect()
}

/// Advances each sequence of the target behind what the source has drawn and what is there. `pg_get_serial_sequence` gives null, and so
/// does nothing, where the target's column has none.
fn setval(survey: &Survey<'_>) -> Vec<String> {
    let Some(source) = &survey.source else { return Vec::new() };
    let plans: Vec<&TablePlan> = survey.compiled.iter().filter_map(|one| one.plan.as_ref().ok()).collect();
    source.inventory.sequences.iter().flat_map(|sequence| plans.iter().filter_map(|plan| advance(plan, sequence))).collect()
}

fn advance(plan: &TablePlan, sequence: &Sequence) -> Option<String> {
    if plan.source != sequence.table {
        return None;
    }
    let input = plan.inputs.iter().position(|input| input.name == sequence.column)?;
    let output = plan.outputs.iter().find(|output| output.plain == Some(input)).filter(|_| plan.inputs[input].integer)?;
    let (table, column) = (quote::table(&plan.into), quote::ident(&output.column));
    let (furthest, last) = if sequence.descends { ("least", "min") } else { ("greatest", "max") };
    // NULL where nothing was drawn and nothing is there: then the sequence stays at its start
    let drawn = sequence.last_value.map_or_else(|| "NULL".to_owned(), |value| value.to_string());
    Some(format!(
        "SELECT setval(pg_get_serial_sequence({}, {}), {furthest}((SELECT {last}({column}) FROM {table}), {drawn}));",
        quote::literal(&table).trim(),
        quote::literal(&output.column).trim(),
    ))
}
