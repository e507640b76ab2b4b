//! A status for people, at 80 columns.

use super::fit::{middle, pad};
use super::{amount, bars, output};
use crate::status::{AfterLoad, Phase, Spread, Status, Table};
use std::fmt::Write;

const RED: &str = "\x1b[1;31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";
/// Of a table's name.
const NAME: usize = 34;

/// All of it.
pub(super) fn text(status: &Status) -> String {
    let mut text = head(status);
    text.push_str(&source(status));
    text.push_str(&target(status));
    text.push_str(&lag(status));
    text.push_str(&copies(status));
    if let Some(what) = &status.waiting_for {
        text.push_str(&labelled("waiting", what));
    }
    text.push_str(&tables(status));
    text
}

fn head(status: &Status) -> String {
    let phase = match status.phase {
        Some(phase) => format!("{}{phase}{PLAIN}", color(phase)),
        None => format!("{YELLOW}phase not known{PLAIN}"),
    };
    let daemon = match status.streaming {
        Some(false) => labelled("daemon", "it runs, and does not read the stream now"),
        None if status.running == Some(true) => labelled("daemon", "its own part is not known: it does not answer over HTTP"),
        Some(true) | None => String::new(),
    };
    let title = output::heading(&status.connector);
    format!("{} {phase}\n{daemon}", title.trim_end())
}

fn color(phase: Phase) -> &'static str {
    match phase {
        Phase::Follow => GREEN,
        Phase::Halted => RED,
        Phase::Prepare | Phase::Copy | Phase::Stopped => YELLOW,
    }
}

/// `  source   text`, broken at 79 columns and indented.
fn labelled(label: &str, what: &str) -> String {
    let mut text = String::new();
    let mut label = label;
    for paragraph in what.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 68 {
                writeln!(text, "  {label:<8} {line}").ok();
                (label, line) = ("", String::new());
            }
            let space = if line.is_empty() { "" } else { " " };
            write!(line, "{space}{word}").ok();
        }
        writeln!(text, "  {label:<8} {line}").ok();
        label = "";
    }
    text
}

fn source(status: &Status) -> String {
    let source = &status.source;
    if let Some(error) = &source.error {
        return labelled("source", error);
    }
    let mut parts = vec![format!("slot {}", source.slot.as_deref().unwrap_or("?"))];
    parts.push(if source.slot_active == Some(true) { "active".to_owned() } else { "not active".to_owned() });
    if let Some(bytes) = source.retained_wal_bytes {
        parts.push(format!("{} of WAL kept", amount::bytes(bytes)));
    } else if source.confirmed_lsn.is_some() {
        parts.push("lost: the server has removed WAL that it needed (`tablelift check` has the way out)".to_owned());
    } else {
        parts.push("not there".to_owned());
    }
    if let Some(bytes) = source.safe_wal_bytes {
        let when = status.eta.slot_invalidation_s.map(|seconds| format!(" (in {})", amount::time(seconds)));
        parts.push(format!("lost after {} more{}", amount::bytes(bytes), when.unwrap_or_default()));
    }
    let mut text = labelled("source", &parts.join(", "));
    if let (Some(current), Some(confirmed)) = (source.current_lsn, source.confirmed_lsn) {
        text.push_str(&labelled("", &format!("at {current}, slot confirmed up to {confirmed}")));
    }
    text
}

fn target(status: &Status) -> String {
    let target = &status.target;
    let mut text = target.error.as_ref().map(|error| labelled("target", error)).unwrap_or_default();
    let seen = if target.error.is_some() { "when last seen: " } else { "" };
    let label = if text.is_empty() { "target" } else { "" };
    let consistent = match target.consistent {
        Some(true) => "the source at one commit",
        Some(false) => "not yet the source at one commit",
        None => return text,
    };
    let held = target.applied_end_lsn.map_or_else(|| "holds nothing yet".to_owned(), |end| format!("holds all up to {end}"));
    text.push_str(&labelled(label, &format!("{seen}{held}; {consistent}")));
    if let Some(open) = status.rereads.map(|rereads| rereads.open).filter(|&open| open > 0) {
        text.push_str(&labelled("", &format!("{} rows wait to be read again", amount::count(open))));
    }
    text
}

fn lag(status: &Status) -> String {
    let mut parts = Vec::new();
    let Spread { p50, p99, max, now } = status.lag.end_to_end_ms;
    if let Some(now) = now {
        parts.push(format!("now {}", amount::millis(now)));
    }
    if let (Some(p50), Some(p99), Some(max)) = (p50, p99, max) {
        let [p50, p99, max] = [p50, p99, max].map(amount::millis);
        parts.push(format!("last minute p50 {p50}, p99 {p99}, max {max}"));
    }
    if let Some(bytes) = status.lag.wal_bytes {
        parts.push(format!("{} of WAL", amount::bytes(bytes)));
    }
    if let Some(seconds) = status.eta.caught_up_s.filter(|seconds| *seconds > 0) {
        parts.push(format!("caught up in {}", amount::time(seconds)));
    }
    if parts.is_empty() { String::new() } else { labelled("lag", &parts.join("; ")) }
}

fn copies(status: &Status) -> String {
    let Some(all) = &status.copies else { return String::new() };
    let mut text = bars::sentence(all.rows, all.bytes, &all.pace, status.eta.copy_s);
    if all.tables > 1 {
        write!(text, "; {} of {} tables copied", all.tables_copied, all.tables).ok();
    }
    if all.paused {
        text.push_str("; paused, until `tablelift copy resume`");
    }
    labelled("copy", &text)
}

fn tables(status: &Status) -> String {
    if status.tables.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n{DIM}{:<NAME$} {:<7} {:>8} {:>8} {:>8} {:>8}{PLAIN}\n",
        "TARGET TABLE", "STATE", "COPIED", "INSERTED", "UPDATED", "DELETED"
    );
    for table in &status.tables {
        text.push_str(&row(table));
        let details = [("because", &table.halted_because), ("hint", &table.hint), ("waits", &table.waiting_for)];
        for (label, what) in details {
            text.extend(what.iter().map(|what| labelled(label, what)));
        }
        if let Some(copy) = table.copy.filter(|_| table.rows_copied > 0) {
            text.push_str(&labelled("copy", &bars::sentence(table.rows_copied, table.bytes_copied, &copy.pace, copy.eta_s)));
        }
        text.extend(table.after_load.iter().filter(|left| !left.building.is_empty()).map(builds));
    }
    text
}

fn builds(left: &AfterLoad) -> String {
    let names: Vec<String> = left.building.iter().map(bars::building).collect();
    let more = match left.open.saturating_sub(names.len() as u64) {
        0 => String::new(),
        more => format!("; {more} more to be built"),
    };
    labelled("builds", &format!("{}{more}", names.join(", ")))
}

fn row(table: &Table) -> String {
    let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), amount::count);
    let copied = match &table.copy {
        Some(copy) => bars::percent(copy.pace.percent),
        None => amount::count(table.rows_copied),
    };
    let state =
        table.state.map_or_else(|| format!("{:<7}", "?"), |state| format!("{}{:<7}{PLAIN}", color(state), state.to_string()));
    let name = pad(&middle(&table.target, NAME), NAME);
    let (inserts, updates, deletes) = (count(table.inserts), count(table.updates), count(table.deletes));
    format!("{name} {state} {copied:>8} {inserts:>8} {updates:>8} {deletes:>8}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Building, Copies, Pace, TableCopy};

    #[test]
    fn it_fits_into_eighty_columns() {
        let mut status = Status { connector: "s".repeat(40), phase: Some(Phase::Follow), ..Status::default() };
        status.running = Some(true);
        status.waiting_for = Some("a word ".repeat(40));
        status.source.slot = Some("tablelift_".to_owned() + &"x".repeat(40));
        status.source.safe_wal_bytes = Some(1 << 33);
        status.source.retained_wal_bytes = Some(1 << 33);
        status.target.error = Some("cannot reach the target: ".to_owned() + &"no ".repeat(30));
        status.tables = vec![Table {
            target: "public.".to_owned() + &"é".repeat(63),
            state: Some(Phase::Halted),
            halted_because: Some("it does not fit ".repeat(9)),
            hint: Some("make it fit".into()),
            rows_copied: u64::MAX / 1000,
            inserts: Some(123_456_789),
            ..Table::default()
        }];
        let text = anstream::adapter::strip_str(&text(&status)).to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("\n  hint     make it fit\n") && text.contains("halted") && text.contains("123 M"), "{text}");
    }

    #[test]
    fn a_copy_and_what_follows_it_are_told() {
        let pace = Pace { percent: Some(51.9), rows_per_s: Some(61_234.0), bytes_per_s: None };
        let copy = TableCopy { pace, eta_s: Some(131), ..TableCopy::default() };
        let copies = Copies { tables: 2, tables_copied: 1, rows: 9_500_000, bytes: 3 << 30, pace, ..Copies::default() };
        let mut status = Status { connector: "shop".into(), phase: Some(Phase::Copy), copies: Some(copies), ..Status::default() };
        let building =
            Building { what: "index b_at".into(), phase: Some("building index: scanning table".into()), percent: Some(7.0) };
        let left = AfterLoad { open: 4, failed: 0, building: vec![building] };
        let state = Some(Phase::Copy);
        status.tables = vec![
            Table { target: "a".into(), state, rows_copied: 9, bytes_copied: 1024, copy: Some(copy), ..Table::default() },
            Table { target: "b".into(), state: Some(Phase::Follow), rows_copied: 77, after_load: Some(left), ..Table::default() },
            Table { target: "c".into(), state, copy: Some(TableCopy::default()), ..Table::default() },
        ];
        let text = anstream::adapter::strip_str(&text(&status)).to_string();
        for line in [
            "  copy     51 %, 9.5 M rows, 3.0 GB, 61.2 k rows/s; 1 of 2 tables copied",
            "a                                  copy        51 %        -        -        -",
            "  copy     51 %, 9 rows, 1.0 kB, 61.2 k rows/s, 2 min 10 s left",
            "b                                  follow        77        -        -        -",
            "  builds   index b_at (scanning table, 7 %); 3 more to be built",
            "c                                  copy           ?        -        -        -",
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
        }
    }

    #[test]
    fn nothing_known_is_said_in_a_line() {
        let status = Status { connector: "shop".into(), ..Status::default() };
        let text = anstream::adapter::strip_str(&text(&status)).to_string();
        assert_eq!(text, "shop phase not known\n  source   slot ?, not active, not there\n");
    }
}
