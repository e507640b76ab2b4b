//! Copies, drawn: one line for all of them, one for each table under way, one that sums up the rest; and what is being built.

use super::fit::{cut, middle, pad, pad_left};
use super::{amount, terminal::Size};
use crate::status::{AfterLoad, Building, Copies, Pace, Phase, Status, Table};

/// Statements under way that are shown at once.
const BUILDS: usize = 4;
/// Narrower than this a name says nothing.
const LEAST_NAME: usize = 16;

/// The lines of the copies; none, where there are none.
pub(super) fn copies(status: &Status, size: Size) -> Vec<String> {
    let Some(all) = &status.copies else { return Vec::new() };
    let layout = Layout::of(size.columns);
    let mut lines = vec![layout.header(), layout.all(all, status.eta.copy_s)];
    let under_way: Vec<&Table> = copying(status).filter(|table| is_under_way(table)).collect();
    let mut room = size.rows.saturating_sub(lines.len() + 1);
    let mut shown = 0;
    for table in &under_way {
        let drawn = layout.table(table, all.paused);
        if drawn.len() > room {
            break;
        }
        room -= drawn.len();
        shown += 1;
        lines.extend(drawn);
    }
    lines.extend(rest(status, all, under_way.len(), under_way.len() - shown).map(|text| cut(&format!("  {text}"), size.columns)));
    lines
}

fn copying(status: &Status) -> impl Iterator<Item = &Table> {
    status.tables.iter().filter(|table| table.copy.is_some())
}

/// Something of it is read, or it waits for something that has a name.
fn is_under_way(table: &Table) -> bool {
    let read = table.copy.and_then(|copy| copy.source_bytes_read).is_some_and(|bytes| bytes > 0);
    read || table.rows_copied > 0 || table.waiting_for.is_some()
}

/// `12 tables copied, 25 wait, 1 is halted`
fn rest(status: &Status, all: &Copies, under_way: usize, hidden: usize) -> Option<String> {
    let wait = copying(status).count() - under_way;
    let mut parts = Vec::new();
    if hidden > 0 {
        parts.push(format!("{hidden} more under way"));
    }
    match all.tables_copied {
        0 => {}
        1 => parts.push("1 table copied".to_owned()),
        many => parts.push(format!("{many} tables copied")),
    }
    match (wait, parts.is_empty()) {
        (0, _) => {}
        (1, true) => parts.push("1 table waits".to_owned()),
        (1, false) => parts.push("1 waits".to_owned()),
        (many, true) => parts.push(format!("{many} tables wait")),
        (many, false) => parts.push(format!("{many} wait")),
    }
    match status.halted() {
        0 => {}
        1 => parts.push("1 is halted: see `tablelift status`".to_owned()),
        many => parts.push(format!("{many} are halted: see `tablelift status`")),
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What stands in a line, from the left, at a terminal's width.
#[derive(Clone, Copy, Debug)]
struct Layout {
    columns: usize,
    name: usize,
    /// Without its ends; 0: none.
    bar: usize,
    /// So many of `FIGURES` are left out.
    without: usize,
}

/// The figures behind the bar, with their widths; where there is no room, the first are left out.
const FIGURES: [(&str, usize); 4] = [("bytes", 9), ("rows", 8), ("rows/s", 8), ("left", 12)];
const PERCENT: usize = 6;
const BAR: usize = 10;

impl Layout {
    fn of(columns: usize) -> Self {
        let figures = |without: usize| FIGURES[without..].iter().map(|(_, width)| width).sum::<usize>() + PERCENT;
        let with_bar = LEAST_NAME + BAR + 3;
        if figures(0) + with_bar <= columns {
            // what is there beyond that, name and bar share
            let more = columns - figures(0) - with_bar;
            return Self { columns, name: LEAST_NAME + more.div_ceil(2), bar: BAR + more / 2, without: 0 };
        }
        let fits = |without: &usize| figures(*without) + LEAST_NAME <= columns;
        let without = (0..FIGURES.len()).find(fits).unwrap_or(FIGURES.len());
        Self { columns, name: columns.saturating_sub(figures(without)), bar: 0, without }
    }

    fn line(self, name: &str, percent: Option<f64>, percent_text: &str, figures: &[String; 4]) -> String {
        let mut line = pad(name, self.name);
        if self.bar > 0 {
            let bar = percent.map_or_else(|| " ".repeat(self.bar + 2), |percent| bar(percent, self.bar));
            line.push_str(&format!(" {bar}"));
        }
        line.push_str(&pad_left(percent_text, PERCENT));
        for (figure, (_, width)) in figures.iter().zip(FIGURES).skip(self.without) {
            line.push_str(&pad_left(figure, width));
        }
        cut(line.trim_end(), self.columns)
    }

    fn header(self) -> String {
        self.line("copying", None, "", &FIGURES.map(|(title, _)| title.to_owned()))
    }

    fn figures(rows: u64, bytes: u64, pace: &Pace, left: &str) -> [String; 4] {
        let rate = pace.rows_per_s.map_or_else(|| "-".to_owned(), |rate| amount::count(amount::whole(rate)));
        [amount::bytes(bytes), amount::count(rows), rate, left.to_owned()]
    }

    fn all(self, all: &Copies, eta: Option<u64>) -> String {
        let left = if all.paused { "paused".to_owned() } else { left(eta) };
        let name = if all.tables == 1 { "1 table".to_owned() } else { format!("all {} tables", all.tables) };
        let figures = Self::figures(all.rows, all.bytes, &all.pace, &left);
        self.line(&name, all.pace.percent, &percent(all.pace.percent), &figures)
    }

    /// A table's line, and below it what it waits for.
    fn table(self, table: &Table, paused: bool) -> Vec<String> {
        let Some(copy) = &table.copy else { return Vec::new() };
        let left = if paused { "-".to_owned() } else { left(copy.eta_s) };
        let figures = Self::figures(table.rows_copied, table.bytes_copied, &copy.pace, &left);
        let name = format!("  {}", middle(&table.target, self.name.saturating_sub(2)));
        let line = self.line(&name, copy.pace.percent, &percent(copy.pace.percent), &figures);
        let waits = table.waiting_for.iter().filter(|_| !paused).map(|what| cut(&format!("    waits: {what}"), self.columns));
        std::iter::once(line).chain(waits).collect()
    }
}

fn bar(percent: f64, columns: usize) -> String {
    let full = (amount::whole((percent * 10.0).floor()) as usize * columns / 1000).min(columns);
    format!("[{}{}]", "=".repeat(full), " ".repeat(columns - full))
}

/// `43 %`; `?` where it is not known.
pub(super) fn percent(percent: Option<f64>) -> String {
    percent.map_or_else(|| "?".to_owned(), |percent| format!("{} %", amount::whole(percent.floor())))
}

fn left(seconds: Option<u64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), amount::left)
}

/// `43 %, 1.2 M rows, 345 MB, 98.1 k rows/s, 2 min 10 s left`
pub(super) fn sentence(rows: u64, bytes: u64, pace: &Pace, eta: Option<u64>) -> String {
    let mut text = format!("{}, {} rows, {}", percent(pace.percent), amount::count(rows), amount::bytes(bytes));
    if let Some(rate) = pace.rows_per_s {
        text.push_str(&format!(", {} rows/s", amount::count(amount::whole(rate))));
    }
    if let Some(seconds) = eta {
        text.push_str(&format!(", {} left", amount::left(seconds)));
    }
    text
}

/// All copies, in a sentence; and the tables under way.
pub(super) fn plain(status: &Status) -> Option<String> {
    let all = status.copies.as_ref()?;
    let mut text = sentence(all.rows, all.bytes, &all.pace, status.eta.copy_s);
    if all.paused {
        text.push_str(", paused");
    }
    if all.tables > 1 {
        text.push_str(&format!("; {} of {} tables copied", all.tables_copied, all.tables));
    }
    let under_way: Vec<&Table> = copying(status).filter(|table| is_under_way(table)).collect();
    let one = |table: &&Table| {
        let pace = table.copy.map(|copy| copy.pace).unwrap_or_default();
        format!("{} {}", table.target, percent(pace.percent))
    };
    let names: Vec<String> = under_way.iter().take(BUILDS).map(one).collect();
    if !names.is_empty() {
        text.push_str(&format!("; under way: {}", names.join(", ")));
    }
    if under_way.len() > names.len() {
        text.push_str(&format!(" and {} more", under_way.len() - names.len()));
    }
    Some(text)
}

/// What is being built, a line each, and what is left.
pub(super) fn builds(status: &Status) -> Vec<String> {
    let parts = status.tables.iter().filter_map(|table| Some((table, table.after_load.as_ref()?)));
    let under_way = parts.clone().flat_map(|(table, left)| left.building.iter().map(move |one| (table, one)));
    let line = |(table, one): (&Table, &Building)| {
        // what moves comes first, where no long name pushes it out
        let percent = one.percent.map_or_else(|| "-".to_owned(), |known| percent(Some(known)));
        let phase = phase(one).map(|phase| format!(" ({phase})")).unwrap_or_default();
        format!("building{} {} of {}{phase}", pad_left(&percent, PERCENT), one.what, table.target)
    };
    let mut lines: Vec<String> = under_way.take(BUILDS).map(line).collect();
    if lines.is_empty() || parts.clone().any(|(table, _)| table.state == Some(Phase::Copy)) {
        return lines; // what is left is not all that is left to come
    }
    let sum = |of: fn(&AfterLoad) -> u64| parts.clone().map(|(_, left)| of(left)).sum::<u64>();
    let (open, failed) = (sum(|left| left.open), sum(|left| left.failed));
    let more = open.saturating_sub(failed + lines.len() as u64);
    match (more, failed) {
        (0, 0) => {}
        (more, 0) => lines.push(format!("  {more} more to be built")),
        (more, failed) => lines.push(format!("  {more} more to be built, {failed} cannot be: see `tablelift status`")),
    }
    lines
}

/// Without what PostgreSQL says of all of them.
fn phase(one: &Building) -> Option<&str> {
    one.phase.as_ref().and_then(|phase| phase.rsplit(": ").next())
}

/// `index orders_placed_at (scanning table, 45 %)`
pub(super) fn building(one: &Building) -> String {
    let details: Vec<String> =
        phase(one).map(str::to_owned).into_iter().chain(one.percent.map(|known| percent(Some(known)))).collect();
    if details.is_empty() { one.what.clone() } else { format!("{} ({})", one.what, details.join(", ")) }
}

#[cfg(test)]
mod tests;
