//! How far it is, while it runs: lines at the bottom of a terminal, else a plain line in the log now and then.

use super::{amount, terminal};
use crate::status::{Phase, Status, Table};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Between two plain lines.
const PLAIN: Duration = Duration::from_secs(5);
const BAR: usize = 20;
/// Tables of which a copy is shown at once.
const SHOWN: usize = 3;

/// Shows what the daemon sees of itself, until the process ends.
pub(super) async fn show(mut seen: watch::Receiver<Status>) {
    let mut rates = Rates::default();
    let mut said = Instant::now();
    while seen.changed().await.is_ok() {
        let status = seen.borrow_and_update().clone();
        rates.note(Instant::now(), &status);
        if terminal::is_there() {
            terminal::stand(lines(&status, &rates));
        } else if status.phase != Some(Phase::Copy) {
            said = Instant::now(); // a copy that is over soon needs no line
        } else if said.elapsed() >= PLAIN {
            said = Instant::now();
            tracing::info!("copying: {}", sum(&status, &rates));
        }
    }
}

/// Takes the lines off the terminal, however the work ends.
pub(super) struct Tidy;

impl Drop for Tidy {
    fn drop(&mut self) {
        if terminal::is_there() {
            terminal::end();
        }
    }
}

/// Per second, between the last two looks.
#[derive(Default)]
struct Rates {
    last: Option<(Instant, u64, u64)>,
    rows: f64,
    changes: f64,
}

impl Rates {
    fn note(&mut self, now: Instant, status: &Status) {
        let rows = copying(status).map(|table| table.rows_copied).sum();
        let changes = status.tables.iter().map(changes).sum();
        if let Some((then, rows_then, changes_then)) = self.last {
            let seconds = now.duration_since(then).as_secs_f64().max(0.001);
            let rate = |to: u64, from: u64| amount::float(to.saturating_sub(from)) / seconds;
            self.rows = smooth(self.rows, rate(rows, rows_then));
            self.changes = rate(changes, changes_then);
        }
        self.last = Some((now, rows, changes));
    }
}

/// A figure that jumps each second cannot be read.
fn smooth(old: f64, new: f64) -> f64 {
    if old > 0.0 { 0.7 * old + 0.3 * new } else { new }
}

fn changes(table: &Table) -> u64 {
    [table.inserts, table.updates, table.deletes, table.truncates].into_iter().flatten().sum()
}

fn copying(status: &Status) -> impl Iterator<Item = &Table> {
    status.tables.iter().filter(|table| table.state == Some(Phase::Copy))
}

/// Rows copied and estimated, of all tables: what is done, and what is under way.
fn rows(status: &Status) -> (u64, u64) {
    let estimated = |table: &Table| match table.state {
        Some(Phase::Copy) => table.rows_estimated.unwrap_or(0).max(table.rows_copied),
        _ => table.rows_copied,
    };
    (status.tables.iter().map(|table| table.rows_copied).sum(), status.tables.iter().map(estimated).sum())
}

/// `1.2 M of about 2.8 M rows, 43 %, 98 k rows/s, 16 s left`
fn sum(status: &Status, rates: &Rates) -> String {
    let (done, all) = rows(status);
    let left = status.eta.copy_s.map(|seconds| format!(", {} left", amount::time(seconds))).unwrap_or_default();
    format!(
        "{} of about {} rows, {} %, {} rows/s{left}",
        amount::count(done),
        amount::count(all),
        percent(done, all),
        amount::count(amount::whole(rates.rows)),
    )
}

fn percent(done: u64, all: u64) -> u64 {
    (done * 100).checked_div(all).unwrap_or(0).min(100)
}

fn bar(done: u64, all: u64) -> String {
    let full = usize::try_from(percent(done, all)).unwrap_or(0) * BAR / 100;
    format!("[{}{}]", "=".repeat(full), " ".repeat(BAR - full))
}

/// At most 79 columns each.
fn lines(status: &Status, rates: &Rates) -> Vec<String> {
    let waiting = status.waiting_for.iter().map(|what| cut(&format!("waiting: {what}"), 79));
    if status.streaming != Some(true) {
        return waiting.collect();
    }
    if status.phase != Some(Phase::Copy) {
        let now = status.lag.end_to_end_ms.now.map_or_else(|| "?".to_owned(), amount::millis);
        let p99 = status.lag.end_to_end_ms.p99.map_or_else(|| "?".to_owned(), amount::millis);
        let halted = match status.halted() {
            0 => String::new(),
            count => format!(", {count} halted"),
        };
        let changes = amount::count(amount::whole(rates.changes));
        let line = format!("following: {changes} changes/s, lag now {now}, p99 of the last minute {p99}{halted}");
        return std::iter::once(cut(&line, 79)).chain(waiting).collect();
    }
    let (done, all) = rows(status);
    let whole = format!("{} {}", bar(done, all), sum(status, rates));
    let begun = copying(status).filter(|table| table.rows_copied > 0 || table.waiting_for.is_some()).take(SHOWN);
    let tables = begun.map(|table| {
        let (done, all) = (table.rows_copied, table.rows_estimated.unwrap_or(0).max(table.rows_copied));
        let facts = match &table.waiting_for {
            Some(what) => format!("waits: {what}"),
            None => format!("{} of about {} rows", amount::count(done), amount::count(all)),
        };
        cut(&format!("  {} {:<26} {facts}", bar(done, all), cut(&table.target, 26)), 79)
    });
    std::iter::once(cut(&whole, 79)).chain(tables).chain(waiting).collect()
}

/// The text, or its beginning.
pub(super) fn cut(text: &str, columns: usize) -> String {
    let text = text.replace(['\n', '\r', '\x1b'], " ");
    if text.chars().count() <= columns {
        return text;
    }
    text.chars().take(columns - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Eta;

    fn table(target: &str, state: Phase, rows_copied: u64, rows_estimated: u64) -> Table {
        Table { target: target.into(), state: Some(state), rows_copied, rows_estimated: Some(rows_estimated), ..Table::default() }
    }

    #[test]
    fn a_copy_shows_all_tables_together_and_those_under_way() {
        let mut status = Status { streaming: Some(true), phase: Some(Phase::Copy), ..Status::default() };
        status.eta = Eta { copy_s: Some(75), ..Eta::default() };
        status.tables = vec![
            table("public.done", Phase::Follow, 1_000_000, 900_000),
            table("public.a_table_with_a_very_long_name_indeed", Phase::Copy, 500_000, 2_000_000),
            table("public.later", Phase::Copy, 0, 1_000_000),
        ];
        let rates = Rates { rows: 123_456.0, ..Rates::default() };
        let lines = lines(&status, &rates);
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(
            lines[0].starts_with("[=======             ] 1.5 M of about 4.0 M rows, 37 %, 123 k rows/s, 1:15 left"),
            "{lines:#?}"
        );
        assert!(lines[1].contains("public.a_table_with_a_ver…"), "{lines:#?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 79), "{lines:#?}");
    }

    #[test]
    fn following_is_one_line() {
        let mut status = Status { streaming: Some(true), phase: Some(Phase::Follow), ..Status::default() };
        status.lag.end_to_end_ms.now = Some(0.0);
        status.lag.end_to_end_ms.p99 = Some(4.3);
        let lines = lines(&status, &Rates { changes: 1500.0, ..Rates::default() });
        assert_eq!(lines, ["following: 1.5 k changes/s, lag now 0 ms, p99 of the last minute 4.3 ms"]);
    }

    #[test]
    fn a_rate_is_between_two_looks() {
        let mut rates = Rates::default();
        let begin = Instant::now();
        let mut status = Status { tables: vec![table("a", Phase::Copy, 100, 0)], ..Status::default() };
        rates.note(begin, &status);
        status.tables[0].rows_copied = 300;
        rates.note(begin + Duration::from_secs(2), &status);
        assert!((rates.rows - 100.0).abs() < 0.01);
    }
}
