//! How the copies get on: their rates, and the time left, from one look at the status to the next. The amounts come from what is recorded in
//! the target, so that they outlive whoever looks.

use crate::chunk::Headway;
use crate::status::{Copies, Pace, Phase, Status, Table};
use std::collections::BTreeMap;
use std::time::Duration;

/// What one process has seen of the copies.
#[derive(Debug, Default)]
pub struct Headways {
    /// Tables that are copied together, those that are done with among them. By target.
    tables: BTreeMap<String, OfTable>,
    all: Three,
    /// There was a look before this one, and it found tables.
    looked: bool,
}

#[derive(Debug, Default)]
struct OfTable {
    three: Three,
    now: Amounts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Amounts {
    /// Of the source's bytes: what is read, and what there is.
    read: u64,
    whole: u64,
    rows: u64,
    bytes: u64,
    done: bool,
}

#[derive(Debug, Default)]
struct Three {
    read: Headway,
    rows: Headway,
    bytes: Headway,
}

impl Headways {
    /// Notes where the copies are, and adds to the status what follows. `now`: since any fixed moment, and it only grows.
    pub fn note(&mut self, now: Duration, status: &mut Status) {
        status.eta.copy_s = None;
        let Some(copies) = status.copies.as_mut() else {
            self.looked |= !status.tables.is_empty();
            (self.tables, self.all) = Default::default();
            return;
        };
        // What was copied before we came belongs to the first copy as well; where only copies are repeated it does not.
        let first = !self.looked && status.tables.iter().any(|table| table.copy.is_some_and(|copy| !copy.repeats));
        self.looked = true;
        if copies.paused {
            self.pause();
        }
        self.tables.retain(|target, _| status.tables.iter().any(|table| &table.target == target));
        for table in &mut status.tables {
            self.table(now, table, first);
        }
        *copies = Copies { pace: Pace::default(), ..*copies };
        let known: Vec<Amounts> = self.tables.values().map(|table| table.now).collect();
        let sum = |of: fn(&Amounts) -> u64| known.iter().map(of).sum::<u64>();
        let (read, whole) = (sum(|table| table.read), sum(|table| table.whole));
        copies.tables = known.len() as u64;
        copies.tables_copied = sum(|table| table.done.into());
        (copies.rows, copies.bytes) = (sum(|table| table.rows), sum(|table| table.bytes));
        self.all.note(now, read, copies.rows, copies.bytes);
        copies.pace = self.all.pace(now, read, whole);
        status.eta.copy_s = self.all.left(now, read, whole);
    }

    fn table(&mut self, now: Duration, table: &mut Table, first: bool) {
        let target = &table.target;
        match &mut table.copy {
            Some(copy) => {
                let mine = self.tables.entry(target.clone()).or_default();
                let (read, whole) = (copy.source_bytes_read.unwrap_or(0), table.source_bytes.unwrap_or(0));
                mine.now = Amounts { read, whole, rows: table.rows_copied, bytes: table.bytes_copied, done: false };
                mine.three.note(now, read, table.rows_copied, table.bytes_copied);
                copy.pace = mine.three.pace(now, read, whole);
                copy.eta_s = mine.three.left(now, read, whole);
            }
            None if table.state == Some(Phase::Follow) => {
                let known = self.tables.contains_key(target) || first && table.rows_copied > 0;
                let mine = known.then(|| self.tables.entry(target.clone()).or_default());
                if let Some(mine) = mine {
                    // as large as it was when it was copied: what it has grown by since is no progress
                    let whole = if mine.now.whole > 0 { mine.now.whole } else { table.source_bytes.unwrap_or(0) };
                    let (rows, bytes) = (table.rows_copied.max(mine.now.rows), table.bytes_copied.max(mine.now.bytes));
                    mine.now = Amounts { read: whole, whole, rows, bytes, done: true };
                }
            }
            // halted, and nobody knows for how long
            None => drop(self.tables.remove(target)),
        }
    }

    fn pause(&mut self) {
        self.all.pause();
        self.tables.values_mut().for_each(|table| table.three.pause());
    }
}

impl Three {
    fn note(&mut self, now: Duration, read: u64, rows: u64, bytes: u64) {
        self.read.note(now, read);
        self.rows.note(now, rows);
        self.bytes.note(now, bytes);
    }

    fn pause(&mut self) {
        [&mut self.read, &mut self.rows, &mut self.bytes].into_iter().for_each(Headway::pause);
    }

    fn pace(&self, now: Duration, read: u64, whole: u64) -> Pace {
        Pace {
            percent: percent(read, whole),
            rows_per_s: self.rows.per_second(now).map(f64::round),
            bytes_per_s: self.bytes.per_second(now).map(f64::round),
        }
    }

    fn left(&self, now: Duration, read: u64, whole: u64) -> Option<u64> {
        self.read.left(now, whole.saturating_sub(read)).map(|left| left.as_secs_f64().round() as u64)
    }
}

/// What was copied so far of a table whose progress nobody records. How much of the source that is follows from the estimate of its rows, or else
/// from the bytes; and as neither is exact, it is not all of it before the copy says so.
pub fn copied_whole(table: &mut Table, rows: u64, bytes: u64) {
    (table.rows_copied, table.bytes_copied) = (rows, bytes);
    let (Some(copy), Some(whole)) = (&mut table.copy, table.source_bytes) else { return };
    let (done, of) = match table.rows_estimated {
        Some(estimated) if estimated > 0 => (rows, estimated),
        _ => (bytes, whole),
    };
    let part = (u128::from(whole) * u128::from(done)).checked_div(u128::from(of)).unwrap_or(0);
    let most = u128::from(whole) * 99 / 100;
    copy.source_bytes_read = u64::try_from(part.min(most)).ok();
}

/// With one decimal; 100 is said only of what is done. `None`: there is nothing to copy, or it is not known.
#[allow(clippy::cast_precision_loss, reason = "for display")]
fn percent(read: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (read as f64 / whole as f64 * 1000.0).floor().min(1000.0) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::TableCopy;

    fn copying(target: &str, read: u64, whole: u64) -> Table {
        let copy = TableCopy { source_bytes_read: Some(read), ..TableCopy::default() };
        Table {
            target: target.into(),
            state: Some(Phase::Copy),
            rows_copied: read / 100,
            bytes_copied: read / 2,
            source_bytes: Some(whole),
            copy: Some(copy),
            ..Table::default()
        }
    }

    fn followed(target: &str, whole: u64) -> Table {
        let (rows_copied, bytes_copied) = (whole / 100, whole / 2);
        let state = Some(Phase::Follow);
        Table { target: target.into(), state, rows_copied, bytes_copied, source_bytes: Some(whole), ..Table::default() }
    }

    fn look(headways: &mut Headways, second: u64, tables: Vec<Table>) -> Status {
        let copies = tables.iter().any(|table| table.copy.is_some()).then(Copies::default);
        let mut status = Status { tables, copies, ..Status::default() };
        headways.note(Duration::from_secs(second), &mut status);
        status
    }

    #[test]
    fn tables_and_all_of_them_have_a_rate_and_an_end() {
        let mut headways = Headways::default();
        look(&mut headways, 0, vec![]);
        let mut status = Status::default();
        for second in 1..=10 {
            status = look(&mut headways, second, vec![copying("a", second * 1000, 20_000), copying("b", 0, 30_000)]);
        }
        let (copies, a, b) = (status.copies.unwrap(), status.tables[0].copy.unwrap(), status.tables[1].copy.unwrap());
        assert_eq!(
            (a.pace.percent, a.pace.rows_per_s, a.pace.bytes_per_s, a.eta_s),
            (Some(50.0), Some(10.0), Some(500.0), Some(10))
        );
        assert_eq!((b.pace.percent, b.pace.rows_per_s, b.eta_s), (Some(0.0), None, None));
        assert_eq!((copies.pace.percent, status.eta.copy_s), (Some(20.0), Some(40)));
        // `a` is done, and has grown since
        let status = look(&mut headways, 20, vec![followed("a", 50_000), copying("b", 1000, 30_000)]);
        let copies = status.copies.unwrap();
        assert_eq!((copies.tables, copies.tables_copied, copies.pace.percent), (2, 1, Some(42.0)));
        let left = look(&mut headways, 20, vec![copying("b", 1000, 30_000)]);
        assert_eq!(left.copies.map(|copies| copies.tables), Some(1), "`a` has left the file");
        assert_eq!(look(&mut headways, 21, vec![followed("a", 50_000), followed("b", 30_000)]).copies, None);
        let status = look(&mut headways, 22, vec![followed("a", 50_000), copying("b", 0, 30_000)]);
        assert_eq!(status.copies.unwrap().tables, 1, "what was copied with it before is history");
    }

    #[test]
    fn who_comes_late_counts_what_was_copied_before() {
        let late = look(&mut Headways::default(), 0, vec![followed("a", 50_000), copying("b", 0, 50_000)]);
        assert_eq!(late.copies.map(|copies| (copies.tables, copies.pace.percent)), Some((2, Some(50.0))));
        let mut again = copying("b", 0, 50_000);
        again.copy.as_mut().unwrap().repeats = true;
        let late = look(&mut Headways::default(), 0, vec![followed("a", 50_000), again]);
        assert_eq!(late.copies.map(|copies| (copies.tables, copies.pace.percent)), Some((1, Some(0.0))), "only `b` is repeated");
    }

    #[test]
    fn a_copy_that_is_not_recorded_is_estimated() {
        let mut table = copying("a", 0, 1000);
        let mut read = |estimated, rows, bytes| {
            table.rows_estimated = estimated;
            copied_whole(&mut table, rows, bytes);
            table.copy.unwrap().source_bytes_read.unwrap()
        };
        assert_eq!((read(Some(50), 20, 7), read(Some(50), 60, 7), read(None, 60, 250), read(Some(0), 60, 7)), (400, 990, 250, 7));
    }

    #[test]
    fn a_pause_has_no_end() {
        let mut headways = Headways::default();
        (0..5).for_each(|second| drop(look(&mut headways, second, vec![copying("a", second * 1000, 20_000)])));
        let mut status = look(&mut headways, 5, vec![copying("a", 5000, 20_000)]);
        assert_eq!(status.eta.copy_s, Some(15));
        status.copies.as_mut().unwrap().paused = true;
        headways.note(Duration::from_secs(6), &mut status);
        assert_eq!((status.eta.copy_s, status.tables[0].copy.unwrap().eta_s), (None, None));
        assert_eq!(status.tables[0].copy.unwrap().pace.percent, Some(25.0));
    }
}
