//! `plan`: what `prepare` and `run` will do; `--sample`: what becomes of some rows.

use super::output::{block, findings, heading, plural};
use super::{Exit, File, Output, sample_view};
use crate::config::Connector;
use crate::ddl::Rebuild;
use crate::finding::{Finding, Level};
use crate::preflight::{self, Plan, PlannedTable, Values};
use clap::Args;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub file: File,
    /// Instead take the first N rows of each table through its mapping, and show them before and after
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
    /// Show the sample's values, not only their types and lengths
    #[arg(long, requires = "sample")]
    show_values: bool,
}

pub(super) async fn run(connector: &Connector, options: &Options, output: &Output) -> anyhow::Result<Exit> {
    if let Some(rows) = options.sample {
        let values = if options.show_values { Values::Shown } else { Values::Hidden };
        return Box::pin(sample(connector, rows, values, output)).await;
    }
    let plan = Box::pin(preflight::plan(connector)).await;
    if output.json() {
        output.document(&plan)?;
    } else {
        output.text(&text(&plan));
    }
    Ok(if plan.findings.iter().any(Finding::is_error) { Exit::No } else { Exit::Yes })
}

async fn sample(connector: &Connector, rows: u32, values: Values, output: &Output) -> anyhow::Result<Exit> {
    let sample = Box::pin(preflight::sample(connector, rows, values)).await;
    if output.json() {
        output.document(&sample)?;
    } else {
        output.text(&sample_view::text(&sample, values));
    }
    Ok(if sample.ok { Exit::Yes } else { Exit::No })
}

fn text(plan: &Plan) -> String {
    let mut text = heading("On the source");
    for object in plan.publications.iter().map(|object| ("publication", object)).chain([("slot", &plan.slot)]) {
        text.push_str(&line(object.0, object.1));
    }
    text.push_str(&heading("On the target"));
    text.push_str(&line("schema", &plan.schema));
    if !plan.topics.is_empty() {
        text.push_str(&heading("On the broker"));
        plan.topics.iter().for_each(|topic| text.push_str(&line("topic", topic)));
    }
    for table in &plan.tables {
        text.push_str(&heading(&format!("\n{} -> {}", table.source, table.target)));
        text.push_str(&describe(table));
    }
    if !plan.setval.is_empty() {
        text.push_str(&heading("\nSequences, when the target takes over the writing"));
        text.push_str(&block(&plan.setval.join("\n")));
    }
    let rows: i64 = plan.tables.iter().map(|table| table.rows_estimated).sum();
    let bytes: i64 = plan.tables.iter().map(|table| table.bytes_estimated).sum();
    text.push_str(&format!("\n{}, about {rows} rows, {}\n\n", plural(plan.tables.len(), "table"), size(bytes)));
    let told: Vec<Finding> =
        plan.findings.iter().filter(|finding| finding.level != Level::Note || !is_noise(finding)).cloned().collect();
    text.push_str(&findings(&told));
    text
}

/// What a plan says by itself.
fn is_noise(finding: &Finding) -> bool {
    finding.code == "source.sequences"
}

fn line(kind: &str, object: &preflight::Object) -> String {
    let sql = object.sql.as_ref().map(|sql| block(&format!("{sql};"))).unwrap_or_default();
    format!("  {} {kind} `{}`\n{sql}", object.action, object.name)
}

fn describe(table: &PlannedTable) -> String {
    let key = if table.key.is_empty() { String::new() } else { format!(" by `{}`", table.key.join("`, `")) };
    let kind = table.kind.map_or_else(|| "not compiled: see its findings".to_owned(), |kind| format!("{kind}{key}"));
    let mut text =
        format!("  {kind}; {}; about {} rows, {}\n", table.first_copy, table.rows_estimated, size(table.bytes_estimated));
    if let Some(ddl) = &table.ddl {
        text.push_str("  to be made by you:\n");
        text.push_str(&block(ddl));
    }
    if !table.create.is_empty() {
        text.push_str("  made by `prepare`:\n");
        text.push_str(&statements(table.create.iter().map(|statement| &statement.sql)));
    }
    if !table.after_load.is_empty() {
        text.push_str("  once its rows are there (an index without CONCURRENTLY only while nobody else writes to it):\n");
        text.push_str(&statements(table.after_load.iter().map(|statement| &statement.sql)));
    }
    if let Some(Rebuild { before, after }) = &table.rebuild {
        text.push_str("  an offer, nothing of it is done: the copy is faster without these, if you drop them before it\n");
        text.push_str(&statements(before));
        text.push_str("  and build them again once it is copied:\n");
        text.push_str(&statements(after));
    }
    for statement in &table.statements {
        text.push_str(&format!("  {}:\n{}", statement.name, block(&statement.sql)));
    }
    text
}

/// Each with its semicolon.
fn statements<'a>(statements: impl IntoIterator<Item = &'a String>) -> String {
    statements.into_iter().map(|sql| block(&format!("{sql};"))).collect()
}

/// `512 B`, `3.4 MB`: powers of 1,000, as far as an estimate goes.
fn size(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut whole = bytes;
    let mut tenths = 0;
    let mut unit = 0;
    while whole >= 1000 && unit + 1 < UNITS.len() {
        tenths = whole % 1000 / 100;
        whole /= 1000;
        unit += 1;
    }
    if unit == 0 { format!("{whole} B") } else { format!("{whole}.{tenths} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes() {
        for (bytes, text) in [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (3_450_000, "3.4 MB"), (i64::MAX, "9223372.0 TB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
