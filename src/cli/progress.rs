//! How far it is, while it runs: lines at the bottom of a terminal, else a plain line in the log now and then.

use super::fit::cut;
use super::terminal::{self, Size};
use super::{amount, bars};
use crate::status::{Status, Table};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Between two plain lines.
const PLAIN: Duration = Duration::from_secs(5);

/// Shows what the daemon sees of itself, until the process ends.
pub(super) async fn show(mut seen: watch::Receiver<Status>) {
    let mut stream = Stream::default();
    let mut said = Instant::now();
    while seen.changed().await.is_ok() {
        let status = seen.borrow_and_update().clone();
        stream.note(Instant::now(), &status);
        if terminal::is_there() {
            terminal::stand(lines(&status, &stream, terminal::size()));
            continue;
        }
        let told = plain(&status);
        if told.is_empty() {
            said = Instant::now(); // what is over soon needs no line
        } else if said.elapsed() >= PLAIN {
            said = Instant::now();
            told.iter().for_each(|line| tracing::info!("{line}"));
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

/// Changes per second, between the last two looks.
#[derive(Default)]
struct Stream {
    last: Option<(Instant, u64)>,
    rate: f64,
}

impl Stream {
    fn note(&mut self, now: Instant, status: &Status) {
        let changes: u64 = status.tables.iter().map(changes).sum();
        if let Some((then, changes_then)) = self.last {
            let seconds = now.duration_since(then).as_secs_f64().max(0.001);
            self.rate = amount::float(changes.saturating_sub(changes_then)) / seconds;
        }
        self.last = Some((now, changes));
    }

    fn line(&self, status: &Status) -> String {
        let lag = &status.lag.end_to_end_ms;
        let now = lag.now.map_or_else(|| "?".to_owned(), amount::millis);
        let p99 = lag.p99.map(|p99| format!(", p99 of the last minute {}", amount::millis(p99))).unwrap_or_default();
        // the copies' own lines say so too
        let halted = match status.halted() {
            0 => String::new(),
            _ if status.copies.is_some() => String::new(),
            count => format!(", {count} halted"),
        };
        let changes = amount::count(amount::whole(self.rate));
        format!("following: {changes} changes/s, lag now {now}{p99}{halted}")
    }
}

fn changes(table: &Table) -> u64 {
    [table.inserts, table.updates, table.deletes, table.truncates].into_iter().flatten().sum()
}

/// The lines, each within the terminal's width, and all of them within two thirds of its height: the log wants some too.
fn lines(status: &Status, stream: &Stream, size: Size) -> Vec<String> {
    let mut below: Vec<String> = Vec::new();
    if status.streaming == Some(true) {
        below.extend(bars::builds(status));
        below.push(stream.line(status));
    }
    below.extend(status.waiting_for.iter().map(|what| format!("waiting: {what}")));
    let rows = (size.rows * 2 / 3).max(3).min(size.rows);
    let copies = match status.streaming {
        Some(true) => bars::copies(status, Size { rows: rows.saturating_sub(below.len()), ..size }),
        _ => Vec::new(),
    };
    let lines = copies.into_iter().chain(below.iter().map(|line| cut(line, size.columns)));
    lines.take(rows).collect()
}

fn plain(status: &Status) -> Vec<String> {
    let copies = bars::plain(status).map(|text| format!("copying: {text}"));
    copies.into_iter().chain(bars::builds(status).into_iter().map(|line| line.trim_start().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{AfterLoad, Building, Copies, Phase, TableCopy};

    const SIZE: Size = Size { columns: 79, rows: 24 };

    #[test]
    fn following_is_one_line() {
        let mut status = Status { streaming: Some(true), phase: Some(Phase::Follow), ..Status::default() };
        status.lag.end_to_end_ms.now = Some(0.0);
        status.lag.end_to_end_ms.p99 = Some(4.3);
        let stream = Stream { rate: 1500.0, ..Stream::default() };
        assert_eq!(lines(&status, &stream, SIZE), ["following: 1.5 k changes/s, lag now 0 ms, p99 of the last minute 4.3 ms"]);
        assert!(plain(&status).is_empty());
    }

    #[test]
    fn everything_at_once_fits_into_two_thirds() {
        let table = |nth: usize| Table {
            target: format!("public.table_{nth}"),
            state: Some(Phase::Copy),
            rows_copied: 7,
            copy: Some(TableCopy::default()),
            waiting_for: Some("a lock ".repeat(30)),
            ..Table::default()
        };
        let building = Building { what: "index ".to_owned() + &"x".repeat(90), ..Building::default() };
        let built = AfterLoad { open: 1, failed: 0, building: vec![building] };
        let mut tables: Vec<Table> = (0..40).map(table).collect();
        tables.push(Table { state: Some(Phase::Follow), after_load: Some(built), ..Table::default() });
        let copies = Some(Copies { tables: 41, ..Copies::default() });
        let waiting_for = Some("another try ".repeat(20));
        let status = Status { streaming: Some(true), copies, tables, waiting_for, ..Status::default() };
        for (rows, most) in [(24, 16), (40, 26), (10, 6), (3, 3), (2, 2)] {
            let lines = lines(&status, &Stream::default(), Size { rows, ..SIZE });
            assert!(lines.len() <= most && lines.len() + 1 >= most, "{rows}: {lines:#?}");
            assert!(lines.iter().all(|line| super::super::fit::width(line) <= 79), "{lines:#?}");
        }
        assert_eq!(plain(&status).len(), 2);
    }

    #[test]
    fn a_rate_is_between_two_looks() {
        let mut stream = Stream::default();
        let begin = Instant::now();
        let mut status = Status { tables: vec![Table { inserts: Some(100), ..Table::default() }], ..Status::default() };
        stream.note(begin, &status);
        status.tables[0].inserts = Some(300);
        stream.note(begin + Duration::from_secs(2), &status);
        assert!((stream.rate - 100.0).abs() < 0.01);
    }
}
