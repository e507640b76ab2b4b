//! Where each table of a connector stands. `prepare` and the copy make it; apply halts and resumes it.

use super::{StoreError, doing, parse};
use crate::change::{EndLsn, Lsn, Position, TableName};
use crate::finding::Finding;
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// A table's state, derived from what is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableState {
    pub source: TableName,
    /// The entry's name (see [`crate::mapping::Rule`]).
    pub target: TableName,
    /// The target table.
    pub into: TableName,
    /// Of the entry as it was when the table was taken on; empty: it has never fitted.
    pub fingerprint: String,
    /// Its first copy is in the target.
    pub copied: bool,
    /// Its ranges are planned and recorded: it follows the stream while they are read.
    pub copying: bool,
    /// Its rows come without its key, and its changes wait: it lacks them from `lacks_from` on.
    pub loading: bool,
    /// Its copy, which is under way or was the last, is not its first: its rows are read once more, and those that the source does not have
    /// are removed.
    pub repeats: bool,
    /// That copy is of some of its partitions only.
    pub partial: bool,
    /// Rows may be in the target that the source does not have: that copy looks for them.
    pub sweeps: bool,
    /// Partitions of its source became others, and what that means for its rows is still to be done.
    pub moved: bool,
    /// Rows came from different moments of the source; from here on they are of one.
    pub window: Option<EndLsn>,
    /// The first change that the target lacks, where that is not simply what comes behind the checkpoint: after a copy whose
    /// snapshot lies behind the checkpoint, and while the table is halted.
    pub lacks_from: Option<Position>,
    pub halted: Option<Halted>,
    /// `n_tup_upd + n_tup_del` of an insert-only table when it was published.
    pub writes_missed: Option<i64>,
    pub rows_copied: i64,
    /// As the source sent them.
    pub bytes_copied: i64,
    /// What its rows hang on in both catalogs, as it was when it was copied (see `pipeline::structure`).
    pub structure: Option<String>,
}

impl TableState {
    /// A table of which nothing is known but its entry.
    pub fn new(source: TableName, target: TableName, into: TableName) -> Self {
        Self {
            source,
            target,
            into,
            fingerprint: String::new(),
            copied: false,
            copying: false,
            loading: false,
            repeats: false,
            partial: false,
            sweeps: true,
            moved: false,
            window: None,
            lacks_from: None,
            halted: None,
            writes_missed: None,
            rows_copied: 0,
            bytes_copied: 0,
            structure: None,
        }
    }

    /// Its first copy has begun, or all of it is there.
    pub fn has_begun(&self) -> bool {
        self.copied || self.copying
    }

    /// Its entry has fitted once, and what its table needs was made.
    pub fn was_taken_on(&self) -> bool {
        !self.fingerprint.is_empty()
    }
}

/// Why a table stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halted {
    pub because: String,
    pub hint: String,
}

impl Halted {
    /// An error's text, whose last line may be its hint.
    pub fn saying(text: &str, hint: &str) -> Self {
        let (because, hint) = text.split_once("\n  hint: ").unwrap_or((text, hint));
        Self { because: because.to_owned(), hint: hint.to_owned() }
    }

    /// A table that does not fit, with all that is in its way.
    pub fn by(findings: &[Finding]) -> Self {
        let join = |texts: Vec<&str>| {
            let texts = texts.into_iter().map(|text| text.trim_end_matches(';')).filter(|text| !text.is_empty());
            texts.collect::<Vec<_>>().join("; ")
        };
        Self {
            because: join(findings.iter().map(|finding| finding.what.as_str()).collect()),
            hint: join(findings.iter().map(Finding::remedy_text).collect()),
        }
    }
}

/// Another text after each change of what [`read`] gives of halts and lacks: the rows' versions.
///
/// # Errors
/// See [`StoreError`].
pub async fn version(client: &Client, connector: &str) -> Result<String, StoreError> {
    let sql = "SELECT coalesce(string_agg(xmin::text, ',' ORDER BY target_schema, target_name), '') FROM tablelift.table_state
               WHERE connector = $1";
    Ok(client.query_one(sql, &[&connector]).await.map_err(doing("read the tables' states"))?.get(0))
}

/// All tables of a connector.
///
/// # Errors
/// See [`StoreError`].
pub async fn read(client: &Client, connector: &str) -> Result<Vec<TableState>, StoreError> {
    let sql = "SELECT source_schema, source_name, target_schema, target_name, fingerprint, state = 'follow', lacks_from,
               halted_because, hint, writes_missed, rows_copied + coalesce(r.rows, 0)::bigint, structure,
               state IN ('copy', 'load'), repeats, bytes_copied + coalesce(r.bytes, 0)::bigint, window_until::text,
               state = 'load', partial, sweeps, coalesce(leaves::jsonb ? 'moved', false),
               coalesce(shared_schema, target_schema), coalesce(shared_name, target_name)
               FROM tablelift.table_state LEFT JOIN (SELECT target_schema, target_name, sum(rows) AS rows, sum(bytes) AS bytes
                   FROM tablelift.copy_range WHERE connector = $1 GROUP BY 1, 2) AS r USING (target_schema, target_name)
               WHERE connector = $1 ORDER BY 1, 2, 3, 4";
    let rows = client.query(sql, &[&connector]).await.map_err(doing("read the tables' states"))?;
    rows.iter()
        .map(|row| {
            let lacks: Option<&str> = row.get(6);
            let because: Option<String> = row.get(7);
            let hint: Option<String> = row.get(8);
            let window: Option<&str> = row.get(15);
            Ok(TableState {
                source: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
                target: TableName::new(row.get::<_, String>(2), row.get::<_, String>(3)),
                into: TableName::new(row.get::<_, String>(20), row.get::<_, String>(21)),
                fingerprint: row.get(4),
                copied: row.get(5),
                lacks_from: lacks.map(|text| parse("position", text)).transpose()?,
                halted: because.map(|because| Halted { because, hint: hint.unwrap_or_default() }),
                writes_missed: row.get(9),
                rows_copied: row.get(10),
                structure: row.get(11),
                copying: row.get(12),
                loading: row.get(16),
                repeats: row.get(13),
                partial: row.get(17),
                sweeps: row.get(18),
                moved: row.get(19),
                bytes_copied: row.get(14),
                window: window.map(|text| parse::<Lsn>("LSN", text).map(EndLsn)).transpose()?,
            })
        })
        .collect()
}

/// Records a table that the connector takes on. `copied`: it needs no copy of ours.
///
/// # Errors
/// A target table that another connector owns breaks `one_owner`.
pub async fn insert(client: &Client, connector: &str, state: &TableState) -> Result<(), StoreError> {
    let sql = "INSERT INTO tablelift.table_state (connector, source_schema, source_name, target_schema, target_name, fingerprint,
               state, writes_missed, shared_schema, shared_name)
               VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $7 THEN 'follow' ELSE 'new' END, $8, $9, $10)
               ON CONFLICT (connector, target_schema, target_name) DO NOTHING";
    let (source, target) = (&state.source, &state.target);
    let shared = Some(&state.into).filter(|into| *into != target);
    client
        .execute(
            sql,
            &[
                &connector,
                &source.schema,
                &source.name,
                &target.schema,
                &target.name,
                &state.fingerprint,
                &state.copied,
                &state.writes_missed,
                &shared.map(|into| &into.schema),
                &shared.map(|into| &into.name),
            ],
        )
        .await
        .map_err(doing("record a table"))?;
    Ok(())
}

/// Records what a table's rows hang on.
///
/// # Errors
/// See [`StoreError`].
pub async fn set_structure(client: &Client, connector: &str, target: &TableName, structure: &str) -> Result<(), StoreError> {
    let sql = "UPDATE tablelift.table_state SET structure = $4
               WHERE connector = $1 AND target_schema = $2 AND target_name = $3";
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&connector, &target.schema, &target.name, &structure];
    client.execute(sql, &params).await.map_err(doing("record a table's structure"))?;
    Ok(())
}

/// Records, beside the rest of its structure, what is watched of its source.
///
/// # Errors
/// See [`StoreError`].
pub async fn set_watched(client: &Client, connector: &str, target: &TableName, watched: &str) -> Result<(), StoreError> {
    let sql = "UPDATE tablelift.table_state
               SET structure = pg_catalog.jsonb_set(structure::jsonb, '{watched}', ($4::text)::jsonb)::text
               WHERE connector = $1 AND target_schema = $2 AND target_name = $3 AND structure IS NOT NULL";
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&connector, &target.schema, &target.name, &watched];
    client.execute(sql, &params).await.map_err(doing("record what is watched of a table"))?;
    Ok(())
}

/// The partitions of a table's source, as the copy found them, where any were recorded.
///
/// # Errors
/// See [`StoreError`].
pub async fn leaves(client: &Client, connector: &str) -> Result<BTreeMap<TableName, String>, StoreError> {
    let sql = "SELECT target_schema, target_name, leaves FROM tablelift.table_state WHERE connector = $1 AND leaves IS NOT NULL";
    let rows = client.query(sql, &[&connector]).await.map_err(doing("read the tables' partitions"))?;
    let name = |row: &tokio_postgres::Row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
    Ok(rows.iter().map(|row| (name(row), row.get(2))).collect())
}

/// Records them.
///
/// # Errors
/// See [`StoreError`].
pub async fn set_leaves(client: &Client, connector: &str, target: &TableName, leaves: &str) -> Result<(), StoreError> {
    let sql = "UPDATE tablelift.table_state SET leaves = $4 WHERE connector = $1 AND target_schema = $2 AND target_name = $3";
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&connector, &target.schema, &target.name, &leaves];
    client.execute(sql, &params).await.map_err(doing("record a table's partitions"))?;
    Ok(())
}

/// Forgets a table that left the connector file. Its rows in the target stay.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(client: &Client, connector: &str, target: &TableName) -> Result<(), StoreError> {
    let sql = "DELETE FROM tablelift.table_state WHERE connector = $1 AND target_schema = $2 AND target_name = $3";
    client.execute(sql, &[&connector, &target.schema, &target.name]).await.map_err(doing("forget a table"))?;
    Ok(())
}

/// Which connector owns a target table.
///
/// # Errors
/// See [`StoreError`].
pub async fn owner(client: &Client, target: &TableName) -> Result<Option<String>, StoreError> {
    let sql = "SELECT DISTINCT connector FROM tablelift.table_state
               WHERE coalesce(shared_schema, target_schema) = $1 AND coalesce(shared_name, target_name) = $2 LIMIT 1";
    let row = client.query_opt(sql, &[&target.schema, &target.name]).await.map_err(doing("look for a table's owner"))?;
    Ok(row.map(|row| row.get(0)))
}

/// The copy is in the target: `lacks_from` is its snapshot's place in the stream. Its rows and bytes, as the source sent them. In the copy's own
/// transaction.
///
/// # Errors
/// See [`StoreError`].
pub async fn copied(
    client: &Client,
    connector: &str,
    target: &TableName,
    from: Position,
    (rows, bytes): (i64, i64),
) -> Result<(), StoreError> {
    let sql =
        "UPDATE tablelift.table_state SET state = 'follow', lacks_from = $4, rows_copied = $5, bytes_copied = $6, copied_at = pg_catalog.now(),
               halted_because = NULL, hint = NULL, halted_at = NULL
               WHERE connector = $1 AND target_schema = $2 AND target_name = $3";
    let from = from.to_string();
    let done = client.execute(sql, &[&connector, &target.schema, &target.name, &from, &rows, &bytes]).await;
    done.map_err(doing("record a copy"))?;
    Ok(())
}

/// The table stands still at `lacks_from`, or stands still for another reason than before. In the checkpoint's transaction.
///
/// # Errors
/// See [`StoreError`].
pub async fn halt(
    client: &Client,
    connector: &str,
    target: &TableName,
    from: Option<Position>,
    halted: &Halted,
) -> Result<(), StoreError> {
    let sql = "UPDATE tablelift.table_state SET lacks_from = coalesce($4, lacks_from), halted_because = $5, hint = $6,
               halted_at = coalesce(halted_at, pg_catalog.now())
               WHERE connector = $1 AND target_schema = $2 AND target_name = $3";
    let from = from.map(|position| position.to_string());
    client
        .execute(sql, &[&connector, &target.schema, &target.name, &from, &halted.because, &halted.hint])
        .await
        .map_err(doing("record a halted table"))?;
    Ok(())
}

/// A table catches up: it lacks what comes from `from` on, or nothing behind the checkpoint. In the checkpoint's transaction.
///
/// # Errors
/// See [`StoreError`].
pub async fn advance(client: &Client, connector: &str, target: &TableName, from: Option<Position>) -> Result<(), StoreError> {
    let sql = "UPDATE tablelift.table_state SET lacks_from = $4, halted_because = NULL, hint = NULL, halted_at = NULL
               WHERE connector = $1 AND target_schema = $2 AND target_name = $3";
    let from = from.map(|position| position.to_string());
    client.execute(sql, &[&connector, &target.schema, &target.name, &from]).await.map_err(doing("record a table's progress"))?;
    Ok(())
}

/// A halted table is tried again (Kafka: its place is in its topic's checkpoints).
///
/// # Errors
/// See [`StoreError`].
pub async fn lift(client: &Client, connector: &str, target: &TableName) -> Result<(), StoreError> {
    let sql = "UPDATE tablelift.table_state SET halted_because = NULL, hint = NULL, halted_at = NULL
               WHERE connector = $1 AND target_schema = $2 AND target_name = $3 AND hint NOT LIKE 'capture: %'";
    client.execute(sql, &[&connector, &target.schema, &target.name]).await.map_err(doing("lift a halt"))?;
    Ok(())
}

/// A table's copy stands still: its hint begins with `copy: `, as capture's does with `capture: `. What the stream says comes first.
///
/// # Errors
/// See [`StoreError`].
pub async fn halt_copy(client: &Client, connector: &str, target: &TableName, halted: &Halted) -> Result<(), StoreError> {
    let sql = "UPDATE tablelift.table_state SET (halted_because, hint, halted_at) =
               ($4, 'copy: ' || $5::text, coalesce(halted_at, pg_catalog.now()))
               WHERE connector = $1 AND target_schema = $2 AND target_name = $3 AND (halted_because IS NULL OR hint LIKE 'copy: %')";
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
        [&connector, &target.schema, &target.name, &halted.because, &halted.hint];
    client.execute(sql, &params).await.map_err(doing("record a halted copy"))?;
    Ok(())
}

/// The table's copy goes on.
///
/// # Errors
/// See [`StoreError`].
pub async fn lift_copy(client: &Client, connector: &str, target: &TableName) -> Result<(), StoreError> {
    let sql = "UPDATE tablelift.table_state SET (halted_because, hint, halted_at) = (NULL, NULL, NULL)
               WHERE connector = $1 AND target_schema = $2 AND target_name = $3 AND hint LIKE 'copy: %'";
    client.execute(sql, &[&connector, &target.schema, &target.name]).await.map_err(doing("lift a copy's halt"))?;
    Ok(())
}
