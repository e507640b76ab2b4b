//! Whether what a statement makes is there already.

use super::build::at_target;
use crate::change::TableName;
use crate::ddl::{Kind, Step};
use crate::pipeline::PipelineError;
use tokio_postgres::Client;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Missing,
    There,
    /// An index whose build came to no end.
    Invalid,
}

const TABLE: &str = "(SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2)";

pub(super) async fn standing(client: &Client, table: &TableName, step: &Step) -> Result<Standing, PipelineError> {
    let sql = match step.kind {
        Kind::Analyze => return Ok(Standing::Missing),
        Kind::Key => "SELECT true FROM pg_catalog.pg_index i WHERE i.indrelid = {} AND i.indisprimary AND $3 <> ''",
        Kind::Index => {
            "SELECT i.indisvalid FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
             WHERE i.indrelid = {} AND x.relname = $3"
        }
        Kind::Check | Kind::Unique | Kind::ForeignKey => {
            "SELECT true FROM pg_catalog.pg_constraint k WHERE k.conrelid = {} AND k.conname = $3"
        }
        Kind::Validate => {
            "SELECT true FROM pg_catalog.pg_constraint k WHERE k.conrelid = {} AND k.conname = $3 AND k.convalidated"
        }
    };
    let sql = sql.replace("{}", TABLE);
    let found = client.query_opt(&sql, &[&table.schema, &table.name, &step.name]).await.map_err(at_target)?;
    Ok(match found.map(|row| row.get::<_, bool>(0)) {
        None => Standing::Missing,
        Some(true) => Standing::There,
        Some(false) => Standing::Invalid,
    })
}
