//! Whether both tables are still those that were copied. A type change, a column dropped and added again or a table made anew changes
//! rows, and the stream says nothing of that; once the mapping fits again, only this tells.

mod altered;
mod judged;
mod look;
mod watch;
mod watched;

use super::PipelineError;
use super::leaves;
use super::past::{self, Past, Place};
use crate::change::TableName;
use crate::config::Connector;
use crate::finding::Finding;
use crate::mapping::{Ignore, OnNewColumn, Output, Rule, TablePlan};
use crate::pg::quote;
use crate::preflight::Compiled;
use crate::store::table_state::{self, TableState};
pub use judged::{take_unjudged, until_one_is_judged};
use look::{Column, Found, keeps_values, look};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
pub use watch::{Unfit, until_one_changes};
use watched::Watched;

/// What a table's rows hang on, as it was when the table was taken on.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Structure {
    /// `pg_class.oid`.
    source: u32,
    target: u32,
    /// Of the source's files: another one where rows were rewritten.
    files: i64,
    /// The publication was seen without the table: what was committed meanwhile is not in the stream.
    #[serde(default)]
    lapsed: bool,
    /// Source columns that the mapping uses.
    inputs: BTreeMap<String, Column>,
    /// Target columns that it fills.
    outputs: BTreeMap<String, Column>,
    #[serde(default)]
    past: Past,
    /// Source columns that the rule passed over.
    #[serde(default)]
    passed_over: PassedOver,
    /// Numbers of target columns that a mapping filled, and a later one did not.
    #[serde(default)]
    unfilled: BTreeSet<i32>,
    /// Numbers that were given to columns of the target by then.
    #[serde(default)]
    given_in_target: i32,
    /// Of the source, as it was seen last.
    #[serde(default)]
    watched: Watched,
}

impl Structure {
    /// A target column that the mapping fills, and always did.
    fn fills(&self, number: i32) -> bool {
        self.outputs.values().any(|column| column.number == number) && !self.unfilled.contains(&number)
    }
}

/// What a rule says of columns that nothing uses.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PassedOver {
    all_new: bool,
    names: Vec<String>,
}

impl PassedOver {
    fn by(rule: &Rule) -> Self {
        let (rest, names) = match &rule.ignore {
            Ignore::Rest => (true, Vec::new()),
            Ignore::Columns(names) => (false, names.clone()),
        };
        Self { all_new: rest || rule.on_new_column == OnNewColumn::Ignore, names }
    }

    fn has(&self, name: &String) -> bool {
        self.all_new || self.names.contains(name)
    }
}

/// Takes the plan from every table whose structure is not the recorded one; records it where none is recorded yet. Plans learn what a stream
/// that is behind may bring.
///
/// # Errors
/// A database could not be asked.
pub async fn hold(
    source: &Client,
    target: &Client,
    connector: &Connector,
    compiled: &mut [Compiled],
) -> Result<(), PipelineError> {
    let states = table_state::read(target, &connector.name).await?;
    let at_source = look(source, "source", connector, states.iter().map(|state| &state.source)).await?;
    let at_target = look(target, "target", connector, states.iter().map(|state| &state.into)).await?;
    let place = past::place(source, connector).await?;
    for one in &mut *compiled {
        let plan = match &mut one.plan {
            Ok(plan) => plan,
            Err(findings) => {
                let state = states.iter().find(|state| state.target == one.rule.target);
                let sides = at_source.get(&one.rule.source).zip(at_target.get(one.rule.table()));
                if let Some((recorded, (from, into))) = state.and_then(recorded).zip(sides) {
                    altered::tell(findings, &one.rule, &recorded, (from, into));
                }
                continue;
            }
        };
        let Some(state) = states.iter().find(|state| state.target == plan.target) else { continue };
        let (Some(from), Some(into)) = (at_source.get(&plan.source), at_target.get(&plan.into)) else { continue };
        let recorded = recorded(state);
        let mut because = recorded.as_ref().map_or_else(Vec::new, |recorded| {
            let mut because = differences(recorded, Some(from), Some(into));
            because.extend(late_columns(recorded, plan, from, into));
            because.extend(lost_columns(recorded, plan, &one.rule, from, into));
            let doubtful = recorded.past.doubtful(&place, plan, (&from.numbers(), from.given));
            let doubtful: Vec<String> = doubtful.into_iter().map(|name| another(name)).collect();
            let new: Vec<String> = doubtful.into_iter().filter(|text| !because.contains(text)).collect();
            because.extend(new);
            because
        });
        if let Some(recorded) = recorded.as_ref().filter(|_| because.is_empty()) {
            because = somebody_elses(target, recorded, plan, into).await?;
        }
        if !because.is_empty() {
            one.plan = Err(vec![finding(connector, &plan.target, &because)]);
            continue;
        }
        let now = structure(plan, from, into, recorded.as_ref(), &place);
        now.past.tell(plan, &from.numbers());
        if recorded.as_ref() != Some(&now) {
            let text = serde_json::to_string(&now).expect("plain data is always JSON");
            table_state::set_structure(target, &connector.name, &plan.target, &text).await?;
        }
    }
    leaves::hold(source, target, connector, compiled).await
}

/// Notes which tables the publication does not carry, before it is made to carry them again: that must not be forgotten by it.
///
/// # Errors
/// A database could not be asked.
pub async fn note_lapses(source: &Client, target: &Client, connector: &Connector) -> Result<(), PipelineError> {
    let states = table_state::read(target, &connector.name).await?;
    let found = look(source, "source", connector, states.iter().map(|state| &state.source)).await?;
    for state in states.iter().filter(|state| state.has_begun()) {
        let recorded = state.structure.as_deref().and_then(parse).filter(|recorded| !recorded.lapsed);
        let (Some(recorded), Some(found)) = (recorded, found.get(&state.source)) else { continue };
        if !found.published {
            let text = serde_json::to_string(&Structure { lapsed: true, ..recorded }).expect("plain data is always JSON");
            table_state::set_structure(target, &connector.name, &state.target, &text).await?;
        }
    }
    Ok(())
}

/// What is to be recorded: what was, and columns that came since. A limit that is raised again is held against the first.
fn structure(plan: &TablePlan, from: &Found, into: &Found, recorded: Option<&Structure>, place: &Place) -> Structure {
    let named = |found: &Found, names: Vec<&String>, known: Option<&BTreeMap<String, Column>>| {
        let now = names.into_iter().filter_map(|name| Some((name.clone(), *found.columns.get(name)?)));
        now.chain(known.into_iter().flatten().map(|(name, column)| (name.clone(), *column))).collect::<BTreeMap<_, _>>()
    };
    Structure {
        source: from.oid,
        target: into.oid,
        files: recorded.map_or_else(|| from.files(), |recorded| recorded.files),
        lapsed: false,
        given_in_target: recorded.map_or(into.given, |recorded| recorded.given_in_target),
        watched: from.watched.clone(),
        inputs: named(from, plan.inputs.iter().map(|input| &input.name).collect(), recorded.map(|was| &was.inputs))
            .into_iter()
            .filter(|(name, _)| from.columns.contains_key(name))
            .collect(),
        outputs: named(into, plan.outputs.iter().map(|output| &output.column).collect(), recorded.map(|was| &was.outputs)),
        passed_over: PassedOver::by(&plan.rule),
        unfilled: recorded.map_or_else(BTreeSet::new, |was| {
            let number = |output: &Output| into.columns.get(&output.column).map(|column| column.number);
            let is_filled = |column: &Column| plan.outputs.iter().any(|output| number(output) == Some(column.number));
            let unfilled = was.outputs.values().filter(|column| !is_filled(column)).map(|column| column.number);
            unfilled.chain(was.unfilled.iter().copied()).collect()
        }),
        past: recorded.map_or(&Past::default(), |was| &was.past).renewed(
            place,
            plan,
            (&from.numbers(), from.given, |name| from.bare.contains(name)),
        ),
    }
}

/// A look at all rows of a large table takes its time, and everybody waits for it.
const A_LOOK: &str = "SET statement_timeout = '5s'";

/// Target columns that the mapping fills only now, and that have values already: the service's own.
async fn somebody_elses(
    target: &Client,
    recorded: &Structure,
    plan: &TablePlan,
    into: &Found,
) -> Result<Vec<String>, PipelineError> {
    let is_late = |output: &&Output| into.columns.get(&output.column).is_some_and(|column| !recorded.fills(column.number));
    let mut because = Vec::new();
    for output in plan.outputs.iter().filter(is_late) {
        let failed = |source| PipelineError::Query { side: "target", source };
        let name = &output.column;
        target.batch_execute(A_LOOK).await.map_err(failed)?;
        let has_values = target.query_one(&plan.has_values(name), &[]).await.map(|row| row.get::<_, bool>(0));
        target.batch_execute("SET statement_timeout = 0").await.map_err(failed)?;
        let since = recorded.given_in_target < into.columns[name].number;
        match has_values {
            Ok(false) => {}
            Ok(true) => because.push(format!("column `{name}` of the target has values already, which are not the source's")),
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) && since => {}
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
                because.push(format!(
                    "column `{name}` of the target was there when the table was copied, and may have values of its own"
                ));
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(because)
}

/// Target columns that the mapping fills only now: the rows that were there lack their values, unless both columns were added without a
/// default since then and no row was rewritten. Then all of them were NULL, and what came after is in the stream. Or both only have other names.
fn late_columns(recorded: &Structure, plan: &TablePlan, from: &Found, into: &Found) -> Vec<String> {
    let fine = |output: &Output| {
        let Some(name) = output.plain.map(|input| &plan.inputs[input].name) else { return false };
        let (Some(source), Some(target)) = (from.columns.get(name), into.columns.get(&output.column)) else { return false };
        if recorded.unfilled.contains(&target.number) {
            return false;
        }
        let used = recorded.inputs.values().any(|column| column.number == source.number);
        let renamed = used && recorded.fills(target.number);
        let new = !recorded.inputs.contains_key(name) && !recorded.past.knew(source.number) && !recorded.passed_over.has(name);
        let added_bare = new && from.bare.contains(name) && into.bare.contains(&output.column) && from.files() == recorded.files;
        renamed || added_bare
    };
    let was_filled =
        |output: &Output| recorded.outputs.get(&output.column).is_some_and(|column| !recorded.unfilled.contains(&column.number));
    let late = plan.outputs.iter().filter(|output| !was_filled(output) && !fine(output));
    late.map(|output| {
        format!(
            "column `{}` of the target was not filled when the table was copied: earlier rows may lack its values",
            output.column
        )
    })
    .collect()
}

/// Target columns that the mapping fills no more, since the columns of their names are gone from the source, while the target keeps them.
fn lost_columns(recorded: &Structure, plan: &TablePlan, rule: &Rule, from: &Found, into: &Found) -> Vec<String> {
    let gone = |name: &&String| recorded.inputs.contains_key(*name) && !from.columns.contains_key(*name);
    let filled = |name: &str| plan.outputs.iter().any(|output| output.column == name);
    let meant = |name: &String| matches!(&rule.ignore, Ignore::Columns(columns) if columns.contains(name));
    let lost =
        recorded.outputs.keys().filter(gone).filter(|name| into.columns.contains_key(*name) && !filled(name) && !meant(name));
    lost.map(|name| {
        format!(
            "column `{name}` is gone from the source, and rows that come now lack its value: drop it in the target too (ALTER TABLE {} \
             DROP COLUMN {})",
            quote::table(&plan.into),
            quote::ident(name)
        )
    })
    .collect()
}

/// Target tables whose structure, or whose source table's, is not the recorded one, each with its source table and the
/// reasons. `source` `None`: only the target is looked at.
///
/// # Errors
/// A database could not be asked.
pub async fn changed(
    source: Option<&Client>,
    target: &Client,
    connector: &Connector,
) -> Result<BTreeMap<TableName, (TableName, Finding)>, PipelineError> {
    let states = table_state::read(target, &connector.name).await?;
    let states: Vec<TableState> = states.into_iter().filter(|state| state.has_begun()).collect();
    let at_source = match source {
        Some(client) => look(client, "source", connector, states.iter().map(|state| &state.source)).await?,
        None => BTreeMap::new(),
    };
    let at_target = look(target, "target", connector, states.iter().map(|state| &state.into)).await?;
    let mut changed = BTreeMap::new();
    for state in &states {
        let Some(recorded) = state.structure.as_deref().and_then(parse) else { continue };
        let found = at_source.get(&state.source);
        let mut because = differences(&recorded, found, at_target.get(&state.into));
        if source.is_some() && found.is_none() {
            because.push("the source has no such table any more".to_owned());
        }
        because.extend(gone(&recorded, found).map(|name| format!("column `{name}` is gone from the source")));
        if !because.is_empty() {
            changed.insert(state.target.clone(), (state.source.clone(), finding(connector, &state.target, &because)));
        } else if let Some(now) = found.map(|found| &found.watched).filter(|now| **now != recorded.watched) {
            // what was seen apart is not taken for one statement's later
            let text = serde_json::to_string(now).expect("plain data is always JSON");
            table_state::set_watched(target, &connector.name, &state.target, &text).await?;
        }
    }
    Ok(changed)
}

/// The source tables that were recorded, by `pg_class.oid`.
pub fn oids(states: &[TableState]) -> BTreeMap<u32, TableName> {
    let recorded = |state: &TableState| Some((state.structure.as_deref().and_then(parse)?.source, state.source.clone()));
    states.iter().filter_map(recorded).collect()
}

/// What was recorded of a table that has rows.
fn recorded(state: &TableState) -> Option<Structure> {
    state.structure.as_deref().filter(|_| state.has_begun()).and_then(parse)
}

fn parse(text: &str) -> Option<Structure> {
    serde_json::from_str(text).ok()
}

fn finding(connector: &Connector, table: &TableName, because: &[String]) -> Finding {
    Finding::error("table.structure", table.to_string(), because.join("; ")).hint(format!(
        "rows may differ, and the stream does not say where: copy the table again (deploy/runbooks/copy-a-table-again.md). If you know that both sides hold the same: UPDATE tablelift.table_state SET structure = NULL WHERE connector = {} AND target_schema = {} AND target_name = {}; then restart",
        quote::literal(&connector.name),
        quote::literal(&table.schema),
        quote::literal(&table.name),
    ))
}

/// Source columns that the mapping used. Whether it goes without them is for a new life to say.
fn gone<'a>(recorded: &'a Structure, source: Option<&'a Found>) -> impl Iterator<Item = &'a String> {
    source.into_iter().flat_map(|found| recorded.inputs.keys().filter(|name| !found.columns.contains_key(*name)))
}

const REWRITTEN: &str = "rows of the source table were written anew while one of its columns was altered: values may be others (ALTER TYPE ... \
                         USING; or a TRUNCATE beside another ALTER, or VACUUM FULL after ADD COLUMN ... DEFAULT)";

fn another(name: &str) -> String {
    format!("column `{name}` of the source is another one: it was dropped and added again, or renamed")
}

/// A table that is not there is somebody else's finding.
fn differences(recorded: &Structure, source: Option<&Found>, target: Option<&Found>) -> Vec<String> {
    let mut because = Vec::new();
    if source.is_some_and(|found| found.oid != recorded.source) {
        because.push("the source table was made anew since it was copied".to_owned());
    } else if recorded.lapsed || source.is_some_and(|found| !found.published) {
        because.push(
            "the publication did not carry all of the table for a while: what was committed then is not in the stream".to_owned(),
        );
    } else if let Some(found) = source {
        for (name, was) in &recorded.inputs {
            match found.columns.get(name) {
                Some(is) if is.number != was.number => {
                    because.push(another(name));
                }
                Some(is) if !keeps_values(was, is) => {
                    because.push(format!("column `{name}` changed its type in the source, and its values with it"));
                }
                _ => {}
            }
        }
        let is_used = |number| recorded.inputs.values().any(|column| column.number == number);
        if because.is_empty() && found.watched.may_have_other_values(&recorded.watched, is_used) {
            because.push(REWRITTEN.to_owned());
        }
    }
    if target.is_some_and(|found| found.oid != recorded.target) {
        because.push("the target table was made anew since it was copied".to_owned());
    } else if let Some(found) = target {
        let other = |name: &&String| found.columns.get(*name).is_some_and(|is| is.number != recorded.outputs[*name].number);
        because.extend(
            recorded
                .outputs
                .keys()
                .filter(other)
                .map(|name| format!("column `{name}` of the target is another one: it was dropped and added again, or renamed")),
        );
    }
    because
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(number: i32, type_oid: u32, type_modifier: i32) -> Column {
        Column { number, type_oid, type_modifier }
    }

    #[test]
    fn what_came_in_its_place_is_told() {
        let columns = |number| BTreeMap::from([("v".to_owned(), column(number, 23, -1))]);
        let recorded = Structure {
            source: 1,
            target: 2,
            files: 3,
            lapsed: false,
            inputs: columns(2),
            outputs: columns(2),
            past: Past::default(),
            passed_over: PassedOver::default(),
            unfilled: BTreeSet::new(),
            given_in_target: 2,
            watched: Watched::default(),
        };
        let found = |oid, number| Found {
            oid,
            watched: Watched::default(),
            given: number,
            published: true,
            columns: columns(number),
            bare: BTreeSet::new(),
        };
        assert_eq!(differences(&recorded, Some(&found(1, 2)), Some(&found(2, 2))), Vec::<String>::new());
        assert_eq!(differences(&recorded, None, None), Vec::<String>::new());
        assert!(differences(&recorded, Some(&found(9, 2)), None)[0].contains("source table was made anew"));
        assert!(differences(&recorded, Some(&found(1, 3)), None)[0].contains("column `v` of the source"));
        assert!(differences(&recorded, None, Some(&found(9, 2)))[0].contains("target table was made anew"));
        assert!(differences(&recorded, None, Some(&found(2, 3)))[0].contains("column `v` of the target"));
    }
}
