//! What a table's columns were called before, and since when they are there: for a stream that is behind, and brings the table as it was.
//! Its Relation messages tell names only; the catalog's numbers tell which columns are meant (`pg_attribute.attnum`: never given twice).

use crate::change::Lsn;
use crate::config::Connector;
use crate::mapping::TablePlan;
use crate::pipeline::PipelineError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// Of one source table, as far as the stream may still need it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// All columns that the table had when it was last looked at, with their numbers.
    #[serde(default)]
    columns: BTreeMap<String, i32>,
    /// The highest number that had been given until then (`pg_class.relnatts`), also to columns that are gone.
    #[serde(default)]
    given: i32,
    /// Columns without a default, with where they were first seen: what was committed before may be of before their time.
    came: BTreeMap<String, Lsn>,
    former: BTreeMap<String, Former>,
}

/// A name that its column no longer has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Former {
    number: i32,
    /// Where it was seen to be gone.
    until: Lsn,
}

/// Where the source is, and how far the stream has come.
pub struct Place {
    now: Lsn,
    confirmed: Option<Lsn>,
}

impl Place {
    /// The stream may still bring what was committed before.
    fn is_before(&self, lsn: Lsn) -> bool {
        self.confirmed.is_none_or(|confirmed| confirmed < lsn)
    }
}

/// Call it after the catalog was read: what is seen there was committed before.
///
/// # Errors
/// The source could not be asked.
pub async fn place(source: &Client, connector: &Connector) -> Result<Place, PipelineError> {
    let sql = "SELECT (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
                 ELSE pg_catalog.pg_current_wal_insert_lsn() END)::text,
               (SELECT confirmed_flush_lsn::text FROM pg_catalog.pg_replication_slots WHERE slot_name = $1)";
    let row = source.query_one(sql, &[&connector.slot()]).await;
    let row = row.map_err(|source| PipelineError::Query { side: "source", source })?;
    let lsn = |text: Option<String>| text.and_then(|text| text.parse().ok());
    Ok(Place { now: lsn(row.get(0)).unwrap_or_default(), confirmed: lsn(row.get(1)) })
}

impl Past {
    /// What is to be known from now on. `found`: all columns there are, `bare` those without a default; so many numbers are `given`.
    pub fn renewed(
        &self,
        place: &Place,
        plan: &TablePlan,
        (found, given, bare): (&BTreeMap<String, i32>, i32, impl Fn(&str) -> bool),
    ) -> Self {
        let went = self.columns.iter().filter(|(name, _)| !found.contains_key(*name));
        let went = went.map(|(name, &number)| (name.clone(), Former { number, until: place.now }));
        let known = self.former.iter().map(|(name, former)| (name.clone(), former.clone()));
        let is_new = |name: &&String| found.get(*name).is_some_and(|&number| !self.knew(number)) && bare(name);
        let new = plan.inputs.iter().map(|input| &input.name).filter(is_new);
        let known_came = self.came.iter().filter(|(name, _)| found.contains_key(*name)).map(|(name, lsn)| (name.clone(), *lsn));
        Self {
            columns: found.clone(),
            given,
            came: new.map(|name| (name.clone(), place.now)).chain(known_came).filter(|(_, lsn)| place.is_before(*lsn)).collect(),
            former: went
                .chain(known)
                .filter(|(name, former)| place.is_before(former.until) && found.get(name) != Some(&former.number))
                .collect(),
        }
    }

    /// Whether the table had a column when it was last looked at.
    pub fn knew(&self, number: i32) -> bool {
        self.columns.values().any(|&known| known == number)
    }

    /// Columns of the plan under whose names the stream may bring what others held that are gone. Those that came and went unseen may have had any name.
    pub fn doubtful<'p>(
        &self,
        place: &Place,
        plan: &'p TablePlan,
        (found, given): (&BTreeMap<String, i32>, i32),
    ) -> Vec<&'p String> {
        let known = self.given;
        let unseen = known > 0 && (known + 1..=given).any(|number| !found.values().any(|&live| live == number));
        let doubtful = |name: &&String| {
            let Some(&number) = found.get(*name) else { return false };
            let other = |had: Option<&i32>| had.is_some_and(|&had| had != number);
            let former = self.former.get(*name).filter(|former| place.is_before(former.until)).map(|former| &former.number);
            other(former) || other(self.columns.get(*name)) || unseen && number > known
        };
        plan.inputs.iter().map(|input| &input.name).filter(doubtful).collect()
    }

    /// Lets a plan read what the stream brings of before.
    pub fn tell(&self, plan: &mut TablePlan, found: &BTreeMap<String, i32>) {
        for input in &mut plan.inputs {
            input.came = self.came.get(&input.name).copied();
        }
        let now = |former: &Former| found.iter().find(|(_, number)| **number == former.number).map(|(name, _)| name.clone());
        plan.former = self.former.iter().map(|(name, former)| (name.clone(), now(former))).collect();
    }
}
