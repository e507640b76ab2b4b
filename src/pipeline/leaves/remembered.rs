//! Up to version 14 the source's stream remembers of each table how it was published when its first change came, and forgets that only when a
//! publication is altered ([`NOTICES_PARTITIONS`]). So changes of a table
//! that became a partition may be left out, and those of a partition that became a table may come as its root's, in every stream that begins
//! before that. We alter the publication, to what it is, once the catalog has told of such a table: a place in the WAL from which on every stream
//! is right. What was left out until then is read; what came may have been laid over other rows, and then all of these are.

use super::found::Leaves;
use crate::catalog;
use crate::change::TableName;
use crate::finding::Finding;
use crate::pg::quote;
use crate::pipeline::PipelineError;
use crate::preflight;
use crate::source::publication::{NOTICES_PARTITIONS, again_sql, publication};
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// Whether the source does.
///
/// # Errors
/// It could not be asked.
pub(super) async fn remembers(source: &Client) -> Result<bool, PipelineError> {
    let sql = "SELECT pg_catalog.current_setting('server_version_num')::integer < $1";
    Ok(source.query_one(sql, &[&NOTICES_PARTITIONS]).await.map_err(failed)?.get(0))
}

/// Has the stream ask the catalog again, from here on. Gives what is in the way.
///
/// # Errors
/// The source could not be asked.
pub(super) async fn forget(source: &Client, name: &str, table: &TableName) -> Result<Option<Finding>, PipelineError> {
    if !remembers(source).await? {
        return Ok(None);
    }
    // without one there is no stream
    let Some(found) = publication(source, name).await? else { return Ok(None) };
    if !catalog::may_act_as(source, &found.owner).await? {
        let role: String = source.query_one("SELECT current_user::text", &[]).await.map_err(failed)?.get(0);
        return Ok(Some(preflight::not_alterable(&found, &table.to_string(), &role)));
    }
    // one transaction: two connectors may have one publication
    let alone = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('tablelift publication'))";
    source.batch_execute(&format!("{alone}; {}", again_sql(&found))).await.map_err(failed)?;
    Ok(None)
}

/// Whether partitions have been tables since they were `known`, as far as that can be told: they are still there.
///
/// # Errors
/// The source could not be asked.
pub(super) async fn came_as_rows_of_the_root(source: &Client, known: &Leaves, now: &Leaves) -> Result<bool, PipelineError> {
    if !remembers(source).await? {
        return Ok(false);
    }
    let others = known.iter().filter(|(oid, mark)| now.get(oid).is_none_or(|now| now.attached != mark.attached));
    let others: Vec<u32> = others.map(|(&oid, _)| oid).collect();
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = ANY ($1))";
    Ok(source.query_one(sql, &[&others]).await.map_err(failed)?.get(0))
}

/// The partitions that take rows which have no other: what a partition that went could still change, under its old keys, lies there.
///
/// # Errors
/// The source could not be asked.
pub(super) async fn defaults(source: &Client, table: &TableName) -> Result<BTreeSet<u32>, PipelineError> {
    if !remembers(source).await? {
        return Ok(BTreeSet::new());
    }
    let (tree, below) = (catalog::partition_tree("$1::text::regclass"), catalog::partition_tree("p.partdefid"));
    let sql = format!(
        "SELECT leaf.relid FROM {tree} AS part
         JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = part.relid AND p.partdefid <> 0
         CROSS JOIN LATERAL {below} AS leaf WHERE leaf.isleaf"
    );
    let rows = source.query(&sql, &[&quote::table(table)]).await.map_err(failed)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn failed(source: tokio_postgres::Error) -> PipelineError {
    PipelineError::Query { side: "source", source }
}
