//! What is still to be copied, shared by the workers. Derived from the recorded ranges; nothing here outlives a life.

use super::Piped;
use crate::change::TableName;
use crate::chunk::{Chunk, Pace, Part, Range};
use crate::store::copy_range::CopyRange;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// Blocks of a table's first chunk.
const FIRST_UNITS: u32 = if cfg!(test) { 1 } else { 256 };
/// How long a worker that finds nothing waits before it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// After a chunk that met rows, so many more are expected to; doubled each time up to `MOST_MERGED`.
const FEWEST_MERGED: u32 = 1;
const MOST_MERGED: u32 = 64;

/// All chunked copies of a life.
pub struct Work(Mutex<Vec<TableWork>>);

struct TableWork {
    number: usize,
    target: TableName,
    ranges: Vec<RangeWork>,
    pace: Pace,
    /// Tried again then.
    not_before: Option<Instant>,
    /// Rows were moved under us: the ranges are void.
    void: bool,
    /// A worker plans its ranges anew, or finishes it.
    taken: bool,
    done: bool,
    /// So many chunks from here on are merged with the rows that are there.
    merge: u32,
    merged: u32,
    /// Rows that are refused for the sake of others are to be read again.
    sift: bool,
    /// When its last chunk came, or its life began.
    came: Instant,
    /// Since when rows in the way, or missing, refuse its chunks.
    refused: Option<Instant>,
    /// It was said to stand still.
    halted: bool,
}

struct RangeWork {
    nth: i32,
    range: Range,
    done: bool,
    taken: bool,
}

/// A worker's next step.
#[derive(Debug)]
pub enum Next {
    Chunk(Task),
    /// The ranges of this table are to be planned anew.
    Plan(usize),
    /// All ranges of this table are read.
    Finish(usize),
    Wait(Duration),
    Nothing,
}

/// A chunk to be read.
#[derive(Clone, Debug)]
pub struct Task {
    /// The table's place in the work.
    table: usize,
    /// Its plan's number, or its topic's.
    pub number: usize,
    pub target: TableName,
    pub nth: i32,
    pub range: Range,
    pub units: u32,
    /// Some of its rows are in the target already.
    pub merge: bool,
    /// Those of its rows that are refused for the sake of others are to be read again.
    pub sift: bool,
}

impl Task {
    /// What is to be recorded once a chunk of it is brought.
    pub fn moved(&self, chunk: &Chunk, piped: Piped) -> CopyRange {
        let (rows, bytes) = piped.recorded();
        let (target, range) = (self.target.clone(), self.range.behind(chunk));
        CopyRange { target, nth: self.nth, range, done: chunk.last, rows, bytes }
    }
}

impl Work {
    /// `tables`: the numbers of the plans, with their targets, and whether their rows are there already. `ranges`: all that are recorded.
    pub fn new(tables: impl IntoIterator<Item = (usize, TableName, bool)>, ranges: &[CopyRange]) -> Self {
        let work = tables.into_iter().map(|(number, target, repeats)| {
            let mine = ranges.iter().filter(|range| range.target == target);
            let ranges: Vec<RangeWork> = mine.map(RangeWork::of).collect();
            TableWork::new(number, target, ranges, repeats)
        });
        Self(Mutex::new(work.collect()))
    }

    fn tables(&self) -> MutexGuard<'_, Vec<TableWork>> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }

    /// Tables that are not finished; `idle`: and that nobody finishes just now.
    pub fn unfinished(&self, idle: bool) -> BTreeSet<usize> {
        let tables = self.tables();
        tables.iter().filter(|table| !(table.done || idle && table.taken)).map(|table| table.number).collect()
    }

    /// No table is left.
    pub fn is_done(&self) -> bool {
        self.tables().iter().all(|table| table.done)
    }

    /// Some of these tables are finished, and none of the others is on its way there.
    pub fn is_at_rest(&self, which: impl Fn(usize) -> bool) -> bool {
        let tables = self.tables();
        let mine = || tables.iter().filter(|table| which(table.number));
        mine().any(|table| table.done) && mine().all(|table| table.done || table.halted)
    }

    /// Takes a step: the first range that nobody reads, in the tables' order.
    pub fn next(&self) -> Next {
        let now = Instant::now();
        let mut tables = self.tables();
        let mut wait: Option<Duration> = None;
        for (at, table) in tables.iter_mut().enumerate().filter(|(_, table)| !table.done) {
            let later = table.not_before.map_or(Duration::ZERO, |time| time.saturating_duration_since(now));
            wait = Some(wait.map_or(later, |wait| wait.min(later)));
            if table.taken || !later.is_zero() {
                continue;
            }
            if table.void {
                if table.ranges.iter().any(|range| range.taken) {
                    continue;
                }
                table.taken = true;
                return Next::Plan(table.number);
            }
            if table.ranges.iter().all(|range| range.done && !range.taken) {
                table.taken = true;
                return Next::Finish(table.number);
            }
            let units = table.pace.units();
            let (number, target, merge, sift) = (table.number, table.target.clone(), table.merge > 0, table.sift);
            if let Some(range) = table.ranges.iter_mut().find(|range| !range.done && !range.taken) {
                range.taken = true;
                let (nth, range) = (range.nth, range.range.clone());
                return Next::Chunk(Task { table: at, number, target, nth, range, units, merge, sift });
            }
        }
        wait.map_or(Next::Nothing, |wait| Next::Wait(wait.max(LOOK_AGAIN)))
    }

    /// A chunk's rows stand where they belong in the order of things.
    pub fn entered(&self, task: &Task, chunk: &Chunk) {
        let table = &mut self.tables()[task.table];
        if let Some(range) = table.ranges.iter_mut().find(|range| range.nth == task.nth) {
            range.range = range.range.behind(chunk);
            range.done = chunk.last;
        }
    }

    /// A chunk that entered is durable, and recorded.
    pub fn settled(&self, task: &Task, chunk: &Chunk, time: Duration, aim: Duration) {
        self.with(task, |table| {
            table.pace.took(chunk.units(), time, aim);
            table.merge = table.merge.saturating_sub(u32::from(task.merge));
            if !task.merge {
                table.merged = 0;
            }
            (table.came, table.refused, table.halted) = (Instant::now(), None, false);
        });
    }

    /// A chunk met rows that are there: it is merged with them.
    pub fn merge(&self, task: &Task) {
        self.with(task, |table| {
            table.merged = (table.merged * 2).clamp(FEWEST_MERGED, MOST_MERGED);
            table.merge = table.merged;
        });
    }

    /// Rows in the way of a chunk, or missing, are not waited for.
    pub fn sift(&self, task: &Task) {
        self.with(task, |table| (table.sift, table.not_before) = (true, None));
    }

    /// How long ago the last chunk came, of any table.
    pub fn stands_still(&self) -> Duration {
        self.tables().iter().map(|table| table.came.elapsed()).min().unwrap_or_default()
    }

    /// A chunk took too long.
    pub fn halve(&self, task: &Task) {
        self.with(task, |table| table.pace.halve());
    }

    /// Not now. Gives for how long rows in the way have refused the table's chunks, where `refused`.
    pub fn later(&self, task: &Task, pause: Duration, refused: bool) -> Duration {
        self.with(task, |table| {
            table.not_before = Some(Instant::now() + pause);
            match refused {
                true => table.refused.get_or_insert_with(Instant::now).elapsed(),
                false => Duration::ZERO,
            }
        })
    }

    /// The table was said to stand still.
    pub fn halted(&self, number: usize) {
        self.of(number, |table| table.halted = true);
    }

    /// The file is another one.
    pub fn rewritten(&self, task: &Task) {
        self.with(task, |table| table.void = true);
    }

    /// Its ranges are to be planned anew.
    pub fn void(&self, number: usize) {
        self.of(number, |table| (table.void, table.not_before) = (true, None));
    }

    /// Whether a table's ranges are of all these parts.
    pub fn covers(&self, number: usize, parts: &[Part]) -> bool {
        let tables = self.tables();
        let Some(table) = tables.iter().find(|table| table.number == number) else { return true };
        let covered = |part: &Part| table.ranges.iter().any(|range| range.range.relation() == part.relation);
        parts.iter().all(covered)
    }

    /// A plan that was taken is made, and recorded; or not, and is tried again after a while.
    pub fn planned(&self, number: usize, ranges: Result<Vec<Range>, Duration>) {
        self.of(number, |table| {
            table.taken = false;
            let ranges = match ranges {
                Ok(ranges) => ranges,
                Err(pause) => {
                    table.not_before = Some(Instant::now() + pause);
                    return;
                }
            };
            let ranges = ranges.into_iter().zip(1..);
            table.ranges = ranges.map(|(range, nth)| RangeWork { nth, range, done: false, taken: false }).collect();
            table.void = false;
        });
    }

    /// A table that was taken to be finished is; or not, and is tried again after a while.
    pub fn finished(&self, number: usize, done: Result<(), Duration>) {
        self.of(number, |table| {
            (table.taken, table.done) = (false, done.is_ok());
            table.not_before = done.err().map(|pause| Instant::now() + pause);
        });
    }

    /// Gives a task back.
    fn with<T>(&self, task: &Task, change: impl FnOnce(&mut TableWork) -> T) -> T {
        let mut tables = self.tables();
        let table = &mut tables[task.table];
        if let Some(range) = table.ranges.iter_mut().find(|range| range.nth == task.nth) {
            range.taken = false;
        }
        change(table)
    }

    fn of(&self, number: usize, change: impl FnOnce(&mut TableWork)) {
        if let Some(table) = self.tables().iter_mut().find(|table| table.number == number) {
            change(table);
        }
    }
}

impl RangeWork {
    fn of(recorded: &CopyRange) -> Self {
        Self { nth: recorded.nth, range: recorded.range.clone(), done: recorded.done, taken: false }
    }
}

impl TableWork {
    fn new(number: usize, target: TableName, ranges: Vec<RangeWork>, repeats: bool) -> Self {
        Self {
            number,
            target,
            ranges,
            pace: Pace::new(FIRST_UNITS),
            not_before: None,
            void: false,
            taken: false,
            done: false,
            merge: if repeats { u32::MAX } else { 0 },
            merged: 0,
            sift: false,
            came: Instant::now(),
            refused: None,
            halted: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(ranges: usize) -> Work {
        let target = TableName::new("public", "t");
        let range = |nth| CopyRange {
            target: target.clone(),
            nth,
            range: Range::Blocks { relation: 1, file: 2, next: 0, end: Some(10) },
            done: false,
            rows: 0,
            bytes: 0,
        };
        let ranges: Vec<CopyRange> = (1..).take(ranges).map(range).collect();
        Work::new([(0, target, false)], &ranges)
    }

    fn task(work: &Work) -> Task {
        match work.next() {
            Next::Chunk(task) => task,
            other => panic!("no chunk, but {other:?}"),
        }
    }

    const WHOLE: Chunk = Chunk { from: 0, until: 10, last: true };

    #[test]
    fn a_table_is_finished_once_all_is_settled() {
        let work = work(2);
        let (one, other) = (task(&work), task(&work));
        assert!(one.nth != other.nth && matches!(work.next(), Next::Wait(_)));
        for task in [&one, &other] {
            work.entered(task, &WHOLE);
        }
        work.settled(&one, &WHOLE, Duration::ZERO, Duration::ZERO);
        assert!(matches!(work.next(), Next::Wait(_)), "the other's rows are not durable yet");
        work.settled(&other, &WHOLE, Duration::ZERO, Duration::ZERO);
        assert!(matches!(work.next(), Next::Finish(0)) && matches!(work.next(), Next::Wait(_)));
        work.finished(0, Ok(()));
        assert!(matches!(work.next(), Next::Nothing) && work.is_done());
    }

    #[test]
    fn a_rewritten_table_is_planned_anew_when_nobody_reads_it() {
        let work = work(2);
        let (one, other) = (task(&work), task(&work));
        work.rewritten(&one);
        assert!(matches!(work.next(), Next::Wait(_)));
        work.later(&other, Duration::ZERO, false);
        assert!(matches!(work.next(), Next::Plan(0)));
        work.planned(0, Ok(vec![one.range]));
        assert_eq!(task(&work).nth, 1);
    }

    #[test]
    fn rows_that_are_there_are_merged_for_a_while() {
        let work = work(1);
        let mut merged = 0;
        for _ in 0..20 {
            let task = task(&work);
            if task.merge {
                merged += 1;
                work.settled(&task, &WHOLE, Duration::ZERO, Duration::ZERO);
            } else {
                work.merge(&task);
            }
        }
        assert_eq!(merged, 15, "1, 2, 4 and 8 chunks behind each that met some");
    }
}
