//! What is still to be built on tables that we made, as the target tells it: what is open, what failed, and what somebody is at.

use crate::change::TableName;
use crate::status::{AfterLoad, Building};
use crate::store::StoreError;
use crate::store::after_load::{self, Open, UnderWay};
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// By target table, each with what it waits for, if for anything.
pub type LeftToBuild = BTreeMap<TableName, (AfterLoad, Option<String>)>;

/// Asks for it.
///
/// # Errors
/// See [`StoreError`].
pub async fn read(client: &Client, connector: &str) -> Result<LeftToBuild, StoreError> {
    let open = after_load::open(client, connector).await?;
    let under_way = if open.is_empty() { Vec::new() } else { after_load::under_way(client, connector, &open).await? };
    Ok(sorted(&open, &under_way))
}

fn sorted(open: &[Open], under_way: &[UnderWay]) -> LeftToBuild {
    let mut tables: BTreeMap<TableName, Vec<&Open>> = BTreeMap::new();
    for one in open {
        tables.entry(one.table.clone()).or_default().push(one);
    }
    let of_table = |(table, open): (TableName, Vec<&Open>)| {
        let building = under_way.iter().filter(|found| found.table == table);
        let building: Vec<Building> =
            building.filter_map(|found| Some(text(found, open.iter().find(|one| one.place == found.place)?))).collect();
        let failed: Vec<String> =
            open.iter().filter_map(|one| one.failed.as_ref()).map(|(why, hint)| format!("{why}; hint: {hint}")).collect();
        let waits = match (failed.is_empty(), building.is_empty()) {
            (false, _) => Some(failed.join("; ")),
            (true, false) => None,
            (true, true) => {
                let names: Vec<String> = open.iter().map(|one| one.step.to_string()).collect();
                Some(format!("to be built: {}", names.join(", ")))
            }
        };
        let left = AfterLoad { open: open.len() as u64, failed: failed.len() as u64, building };
        (table, (left, waits))
    };
    tables.into_iter().map(of_table).collect()
}

fn text(found: &UnderWay, one: &Open) -> Building {
    let percent = |done: i64, of: i64| {
        let (done, of) = (u64::try_from(done).ok()?, u64::try_from(of).ok()?);
        (u128::from(done) * 100).checked_div(u128::from(of)).map(|percent| percent.min(100) as f64)
    };
    let phase = found.phase.as_ref();
    // in the phases between, the amounts are those of an earlier one
    let counts = |phase: &str| phase.contains("scanning") || phase.contains("loading");
    Building {
        what: one.step.to_string(),
        phase: phase.map(|(phase, ..)| phase.clone()),
        percent: phase.filter(|(phase, ..)| counts(phase)).and_then(|(_, done, of)| percent(*done, *of)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ddl::{Kind, Step};

    fn open(place: i32, name: &str, failed: Option<&str>) -> Open {
        let step = Step { kind: Kind::Index, name: name.into(), sql: String::new(), unique: None, refers: None };
        let failed = failed.map(|why| (why.to_owned(), "help".to_owned()));
        Open { table: TableName::new("public", "t"), place, step, tried: None, failed }
    }

    #[test]
    fn what_is_built_waits_for_nothing_and_what_failed_says_why() {
        let table = TableName::new("public", "t");
        const SCAN: &str = "building index: scanning table";
        let in_phase = |phase: &str, done, of| UnderWay { table: table.clone(), place: 1, phase: Some((phase.into(), done, of)) };
        let under_way = |done, of| in_phase(SCAN, done, of);
        let of = |open: &[Open], under_way: &[UnderWay]| sorted(open, under_way).remove(&table).unwrap();
        let (left, waits) = of(&[open(1, "a", None), open(2, "b", None)], &[under_way(45, 99)]);
        assert_eq!((left.open, left.failed, waits), (2, 0, None));
        assert_eq!(left.building, [Building { what: "index `a`".into(), phase: Some(SCAN.into()), percent: Some(45.0) }]);
        let (left, waits) = of(&[open(1, "a", None), open(2, "b", Some("it does not"))], &[under_way(0, 0)]);
        assert_eq!((left.failed, waits.as_deref(), left.building[0].percent), (1, Some("it does not; hint: help"), None));
        let (left, _) = of(&[open(1, "a", None)], &[in_phase("building index: sorting live tuples", 99, 99)]);
        assert_eq!(left.building[0].percent, None, "that was the scan's");
        let (left, waits) = of(&[open(1, "a", None), open(2, "b", None)], &[]);
        assert_eq!((left.building.len(), waits.as_deref()), (0, Some("to be built: index `a`, index `b`")));
    }
}
