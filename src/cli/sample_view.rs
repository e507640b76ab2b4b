//! `plan --sample` for people: each row before and after.

use super::fit::{pad, width};
use super::output::{findings, heading, plural};
use crate::preflight::{Failure, Outcome, Sample, SampledRow, SampledTable, SampledValue, Values};
use std::fmt::Write;

const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[33m";
const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";
/// Characters of a value that are shown.
const SHOWN: usize = 200;
/// What stands beside a value is aligned for values up to here.
const ALIGNED: usize = 32;

/// All of it.
pub(super) fn text(sample: &Sample, values: Values) -> String {
    let mut text = String::new();
    if values == Values::Hidden && sample.tables.iter().any(|table| !table.rows.is_empty()) {
        text.push_str(&format!("{DIM}values are hidden; --show-values shows them{PLAIN}\n\n"));
    }
    for table in &sample.tables {
        text.push_str(&heading(&format!("{} -> {}", table.source, table.target)));
        text.push_str(&of_table(table));
        text.push('\n');
    }
    text.push_str(&findings(&sample.findings));
    text.push_str(&total(sample));
    text
}

fn of_table(table: &SampledTable) -> String {
    if let Some(refused) = &table.refused {
        return format!("  {RED}cannot be sampled{PLAIN}: {}\n", plain(refused));
    }
    let order = match table.order.as_slice() {
        [] => "in no order, for it has no key".to_owned(),
        key => format!("in the order of {}", quoted(key)),
    };
    let mut text = match table.rows.len() {
        0 => "  no rows\n".to_owned(),
        1 => format!("  its first row, {order}\n"),
        count => format!("  its first {count} rows, {order}\n"),
    };
    if let Some(filter) = &table.filter {
        writeln!(text, "  where {}", one_line(filter)).ok();
    }
    for (at, row) in table.rows.iter().enumerate() {
        text.push_str(&of_row(at + 1, row, &table.order));
    }
    text
}

fn of_row(number: usize, row: &SampledRow, key: &[String]) -> String {
    let verdict = match &row.outcome {
        Outcome::Written { .. } => String::new(),
        Outcome::LeftOut => format!(": {YELLOW}left out by where{PLAIN}"),
        Outcome::Failed { .. } => format!(": {RED}the target refuses it{PLAIN}"),
    };
    let mut text = format!("\n  row {number}{verdict}\n");
    text.push_str(&side("source", &row.source, |value| (value.used == Some(false)).then(|| "not used".to_owned())));
    match &row.outcome {
        Outcome::Written { target } => text.push_str(&side("target", target, made_of)),
        Outcome::LeftOut => {}
        Outcome::Failed { failures } => {
            let key = key_of(row, key);
            failures.iter().for_each(|failure| text.push_str(&refusal(failure, &key)));
        }
    }
    text
}

/// What fills a column of the target, where that is not simply the source's column of its name.
fn made_of(value: &SampledValue) -> Option<String> {
    let expression = value.expression.as_ref()?;
    let same = format!("\"{}\"", value.column.replace('"', "\"\""));
    (*expression != same).then(|| format!("= {}", one_line(expression)))
}

/// One side's columns: name, value, and what there is to say of it.
fn side(word: &str, values: &[SampledValue], beside: impl Fn(&SampledValue) -> Option<String>) -> String {
    let names = values.iter().map(|value| width(&plain(&value.column))).max().unwrap_or(0);
    let cells: Vec<(String, Option<String>)> = values.iter().map(|value| (cell(value), beside(value))).collect();
    let aligned = cells.iter().map(|(cell, _)| width(cell)).filter(|&columns| columns <= ALIGNED).max().unwrap_or(0);
    let mut text = String::new();
    let mut word = word;
    for (value, (cell, beside)) in values.iter().zip(&cells) {
        let name = pad(&plain(&value.column), names);
        let shown = if value.null { format!("{DIM}{cell}{PLAIN}") } else { cell.clone() };
        let beside = beside.as_ref().map_or_else(String::new, |beside| {
            let gap = " ".repeat(aligned.saturating_sub(width(cell)) + 2);
            format!("{gap}{DIM}{beside}{PLAIN}")
        });
        writeln!(text, "    {word:<6}  {name}  {shown}{beside}").ok();
        word = "";
    }
    text
}

/// The value as far as it may be told. Between quotes where it could be taken for something else.
fn cell(value: &SampledValue) -> String {
    let Some(told) = &value.value else {
        return if value.null { "NULL".to_owned() } else { format!("<{}, {}>", value.type_name, counted(value.bytes, "byte")) };
    };
    let cut: String = told.chars().take(SHOWN).collect();
    let all = told.chars().count();
    if all > SHOWN {
        return format!("{}… (cut: {} more)", plain(&cut), counted(all - SHOWN, "character"));
    }
    let unclear = cut.is_empty() || cut == "NULL" || cut.trim() != cut;
    if unclear { format!("'{}'", plain(&cut)) } else { plain(&cut) }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// What would move the cursor, or turn the direction of writing, is written out.
fn plain(text: &str) -> String {
    let wild =
        |c: char| c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if wild(c) {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
        out
    })
}

fn one_line(sql: &str) -> String {
    plain(&sql.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn refusal(failure: &Failure, key: &str) -> String {
    let what = failure.expression.as_ref().map_or_else(String::new, |sql| format!(", which is filled by `{}`", one_line(sql)));
    format!("    {RED}error{PLAIN}   {}{what}: {}{key}\n", plain(&failure.place), plain(&failure.message))
}

/// The key's columns, with their values where these may be told.
fn key_of(row: &SampledRow, key: &[String]) -> String {
    let named = |name: &String| {
        let value = row.source.iter().find(|value| &value.column == name).filter(|value| value.value.is_some());
        value.map_or_else(|| format!("`{name}`"), |value| format!("`{name}` = {}", cell(value)))
    };
    match key {
        [] => String::new(),
        key => format!("; the row's key is {}", plain(&key.iter().map(named).collect::<Vec<_>>().join(", "))),
    }
}

fn quoted(names: &[String]) -> String {
    plain(&names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
}

fn total(sample: &Sample) -> String {
    let rows = || sample.tables.iter().flat_map(|table| &table.rows);
    let (mut written, mut left_out, mut failed) = (0, 0, 0);
    for row in rows() {
        match row.outcome {
            Outcome::Written { .. } => written += 1,
            Outcome::LeftOut => left_out += 1,
            Outcome::Failed { .. } => failed += 1,
        }
    }
    let color = if failed > 0 { RED } else { GREEN };
    let all = format!("{} of {}", plural(rows().count(), "row"), plural(sample.tables.len(), "table"));
    format!("{color}{all}: {written} as shown, {left_out} left out, {failed} refused{PLAIN}; nothing was written\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: Option<&str>, shown: bool) -> SampledValue {
        SampledValue {
            column: "v".into(),
            type_name: "text".into(),
            expression: None,
            used: None,
            null: text.is_none(),
            bytes: text.map_or(0, str::len),
            value: text.filter(|_| shown).map(str::to_owned),
        }
    }

    #[test]
    fn values_are_told_apart_and_keep_to_their_line() {
        for (text, told) in [(None, "NULL"), (Some("NULL"), "'NULL'"), (Some(""), "''"), (Some("a "), "'a '"), (Some("a"), "a")] {
            assert_eq!(cell(&value(text, true)), told);
        }
        assert_eq!(cell(&value(Some("a\nb\u{1b}[2J"), true)), "a\\nb\\u{1b}[2J");
        assert_eq!(cell(&value(Some(&"é".repeat(201)), true)), format!("{}… (cut: 1 character more)", "é".repeat(200)));
        for (text, told) in
            [(None, "NULL"), (Some(""), "<text, 0 bytes>"), (Some("é"), "<text, 2 bytes>"), (Some("a"), "<text, 1 byte>")]
        {
            assert_eq!(cell(&value(text, false)), told);
        }
    }

    #[test]
    fn only_what_is_not_the_column_itself_is_explained() {
        let of = |expression: &str| made_of(&SampledValue { expression: Some(expression.into()), ..value(None, true) });
        assert_eq!((of("\"v\""), of("upper(\n  v)").as_deref()), (None, Some("= upper( v)")));
    }
}
