//! Tables without a key: their rows cannot be read once more, nor held against the source's. So their partitions may come as long as the stream has
//! brought all of their rows; whatever else is done to one of them halts the table.

use super::Record;
use super::found::Found;
use crate::change::TableName;
use crate::finding::Finding;
use crate::pg::quote;
use crate::pipeline::PipelineError;
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// Whether partitions only came, and the stream has brought what they hold: they were never a table of their own.
///
/// # Errors
/// The source could not be asked.
pub(super) async fn brought(source: &Client, record: &Record, found: &BTreeMap<u32, Found>) -> Result<bool, PipelineError> {
    if record.moved.is_some()
        || !record.doubted.is_empty()
        || record.known.iter().any(|(oid, mark)| found.get(oid).map(|found| found.mark) != Some(*mark))
    {
        return Ok(false);
    }
    for (oid, leaf) in found.iter().filter(|(oid, leaf)| !record.known.contains_key(oid) && leaf.to_read != Some(false)) {
        if leaf.to_read.is_none() || leaf.was_table || has_rows_of_its_first_transaction(source, *oid).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// They may have come before it was attached, in that very transaction.
async fn has_rows_of_its_first_transaction(source: &Client, oid: u32) -> Result<bool, PipelineError> {
    let failed = |source| PipelineError::Query { side: "source", source };
    let sql = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE c.oid = $1";
    let Some(row) = source.query_opt(sql, &[&oid]).await.map_err(failed)? else { return Ok(true) };
    let leaf = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
    let sql = format!(
        "SELECT EXISTS (SELECT FROM ONLY {} AS l WHERE l.xmin = (SELECT a.xmin FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = $1 AND a.attname = 'tableoid'))",
        quote::table(&leaf)
    );
    Ok(source.query_one(&sql, &[&oid]).await.map_err(failed)?.get(0))
}

/// What is to be said of the others.
pub(super) fn finding(connector: &str, target: &TableName) -> Finding {
    let what = "partitions of its source came with rows, went, or have other files (TRUNCATE, VACUUM FULL): the stream does not tell of rows \
                that came or went so, and without a key they cannot be held against the source's";
    let hint = format!(
        "copy the table again (deploy/runbooks/copy-a-table-again.md). If you know that both sides hold the same: UPDATE tablelift.table_state \
         SET leaves = NULL WHERE connector = {} AND target_schema = {} AND target_name = {}; then restart",
        quote::literal(connector),
        quote::literal(&target.schema),
        quote::literal(&target.name),
    );
    Finding::error("table.partitions", target.to_string(), what).hint(hint)
}
