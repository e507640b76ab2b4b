//! Which column of the source holds text that a session in UTF-8 cannot be sent: the server names none, so each is asked for by itself.

use super::source::failed;
use super::{ChunkSource, Reading};
use crate::pg::quote;
use crate::pipeline::PipelineError;
use tokio_postgres::Error;

impl ChunkSource {
    /// Names the columns, of those that the copy reads, where that is why a chunk could not be read. Else the error is what it was.
    pub async fn unreadable(&self, reading: &Reading, is_read: impl Fn(&str) -> bool, error: PipelineError) -> PipelineError {
        let PipelineError::Query { side: "source", source } = &error else { return error };
        let Some(code) = no_utf8(source) else { return error };
        match self.not_in_utf8(reading, is_read).await {
            Ok(columns) if !columns.is_empty() => PipelineError::Belief {
                what: format!(
                    "column {} of `{}` holds text that cannot be read as UTF-8 (SQLSTATE {code})",
                    columns.join(", "),
                    reading.relation
                ),
                hint: "correct the values at the source; with `log.kind = \"local\"` their columns may be named under `ignore`"
                    .to_owned(),
            },
            _ => error,
        }
    }

    /// In the range of a chunk only.
    async fn not_in_utf8(&self, reading: &Reading, is_read: impl Fn(&str) -> bool) -> Result<Vec<String>, PipelineError> {
        // the transaction that failed
        self.end().await?;
        let sql = "SELECT attname::text FROM pg_catalog.pg_attribute
                    WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
        let rows = self.client.query(sql, &[&reading.relation]).await.map_err(failed)?;
        let mut columns = Vec::new();
        for name in rows.iter().map(|row| row.get::<_, String>(0)).filter(|name| is_read(name)) {
            let sql = format!(
                "SELECT pg_catalog.count(pg_catalog.convert_to({}::text, 'UTF8')) FROM ONLY {} WHERE {}",
                quote::ident(&name),
                reading.relation,
                reading.condition
            );
            if self.client.batch_execute(&sql).await.is_err_and(|error| no_utf8(&error).is_some()) {
                columns.push(format!("`{name}`"));
            }
        }
        Ok(columns)
    }
}

/// Bytes that are no text in the server's encoding, or a character that UTF-8 lacks.
fn no_utf8(error: &Error) -> Option<&'static str> {
    let code = error.as_db_error()?.code().code();
    ["22021", "22P05"].into_iter().find(|known| *known == code)
}
