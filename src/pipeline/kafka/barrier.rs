//! Markers that all partitions of a topic must reach together: TRUNCATE, and a copy's new attempt. Each partition records that it
//! stands there; whoever comes last empties the table and moves all checkpoints past the marker, in one transaction.

use super::partition::{Marker, Share};
use super::specs::TableSpec;
use crate::apply::{Applier, Base, Item};
use crate::change::{Before, Change, Op, Position};
use crate::fate::Fate;
use crate::mapping::TablePlan;
use crate::pipeline::PipelineError;
use crate::target::{Session, TargetError};
use std::sync::Arc;

/// What came of an attempt to open a barrier.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// Some partition is not there yet.
    NotYet,
    Yes,
    /// The target refuses to be emptied, or must not be.
    Refused {
        because: String,
        hint: String,
    },
}

fn failed(source: tokio_postgres::Error) -> PipelineError {
    PipelineError::Query { side: "target", source }
}

/// Records that a partition stands before a marker. False: it was passed for it already, by what an earlier owner had recorded.
///
/// # Errors
/// See [`PipelineError`].
pub async fn arrive(
    session: &Session,
    connector: &str,
    share: &Share,
    marker: &Marker,
    offset: i64,
) -> Result<bool, PipelineError> {
    let sql = "WITH mine AS (SELECT coalesce(log_offset, 0) <= $5 AS stands FROM tablelift.checkpoint
               WHERE connector = $1 AND topic = $2 AND partition = $4 AND epoch = $6),
               arrived AS (INSERT INTO tablelift.barrier (connector, topic, marker, partition, log_offset)
               SELECT $1, $2, $3, $4, $5 FROM mine WHERE stands
               ON CONFLICT (connector, topic, marker, partition) DO UPDATE SET log_offset = excluded.log_offset)
               SELECT stands FROM mine";
    let (topic, partition) = (&*share.partition.topic, share.partition.partition);
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&connector, &topic, &marker.name(), &partition, &offset, &share.epoch];
    let mine = session.client().query_opt(sql, &params).await.map_err(failed)?;
    Ok(mine.ok_or(TargetError::Fenced)?.get(0))
}

/// Empties the table and moves all checkpoints, if every partition stands there.
///
/// # Errors
/// See [`PipelineError`]; the transaction is rolled back.
pub async fn open(
    session: &mut Session,
    applier: &Applier,
    connector: &str,
    spec: &TableSpec,
    marker: &Marker,
) -> Result<Opened, PipelineError> {
    session.frame("BEGIN").await?;
    let outcome = in_transaction(session, applier, connector, spec, marker).await;
    session.frame(if matches!(outcome, Ok(Opened::Yes)) { "COMMIT" } else { "ROLLBACK" }).await?;
    outcome
}

async fn in_transaction(
    session: &mut Session,
    applier: &Applier,
    connector: &str,
    spec: &TableSpec,
    marker: &Marker,
) -> Result<Opened, PipelineError> {
    let name = marker.name();
    // whoever stood still for a while may come with a marker that the others have passed long since
    let here = "SELECT b.partition FROM tablelift.barrier AS b JOIN tablelift.checkpoint AS c USING (connector, topic, partition)
                WHERE connector = $1 AND topic = $2 AND b.marker = $3 AND coalesce(c.log_offset, 0) <= b.log_offset
                ORDER BY partition FOR UPDATE";
    let arrived = session.client().query(here, &[&connector, &spec.topic, &name]).await.map_err(failed)?;
    if arrived.len() < usize::try_from(spec.partitions).unwrap_or(usize::MAX) && !broken!(MarkerAlone) {
        return Ok(Opened::NotYet);
    }
    let mine: Vec<usize> = (0..applier.plans.len()).filter(|&at| applier.plans[at].source == spec.shape.name).collect();
    if let Marker::Reset { .. } = marker
        && let Some(refused) = not_ours(session, connector, spec, mine.iter().map(|&at| &applier.plans[at])).await?
    {
        return Ok(refused);
    }
    if let Some(refused) = empty(session, applier, spec, &mine).await? {
        return Ok(refused);
    }
    let (position, capture_epoch) = match marker {
        Marker::Truncate(position) => (Some(position.to_string()), 0),
        Marker::Reset { epoch, .. } => (None, *epoch),
    };
    let sql = "WITH here AS (DELETE FROM tablelift.barrier WHERE connector = $1 AND topic = $2 AND marker = $3 RETURNING partition, log_offset)
               UPDATE tablelift.checkpoint AS c SET log_offset = here.log_offset + 1, position = coalesce($4, c.position),
               capture_epoch = greatest(c.capture_epoch, $5)
               FROM here WHERE c.connector = $1 AND c.topic = $2 AND c.partition = here.partition";
    session.client().execute(sql, &[&connector, &spec.topic, &name, &position, &capture_epoch]).await.map_err(failed)?;
    let older = "DELETE FROM tablelift.barrier WHERE connector = $1 AND topic = $2 AND marker < $3 AND marker LIKE 'r:%' AND $3 LIKE 'r:%'";
    session.client().execute(older, &[&connector, &spec.topic, &name]).await.map_err(failed)?;
    Ok(Opened::Yes)
}

/// Before the very first attempt no capture's event has been applied, and nothing of ours is in the target: rows there are somebody's, and
/// are never removed.
async fn not_ours<'p>(
    session: &Session,
    connector: &str,
    spec: &TableSpec,
    plans: impl Iterator<Item = &'p TablePlan>,
) -> Result<Option<Opened>, PipelineError> {
    let sql = "SELECT coalesce(bool_and(capture_epoch = 0), true) FROM tablelift.checkpoint WHERE connector = $1 AND topic = $2";
    let untouched: bool = session.client().query_one(sql, &[&connector, &spec.topic]).await.map_err(failed)?.get(0);
    if !untouched {
        return Ok(None);
    }
    for plan in plans {
        if session.client().query_one(&plan.filled(), &[]).await.map_err(failed)?.get(0) {
            return Ok(Some(Opened::Refused {
                because: format!("`{}` is not empty: the first copy would mix with the rows that are there", plan.target),
                hint: "empty it, or run with --no-copy if it holds the source's rows already".to_owned(),
            }));
        }
    }
    Ok(None)
}

async fn empty(
    session: &mut Session,
    applier: &Applier,
    spec: &TableSpec,
    plans: &[usize],
) -> Result<Option<Opened>, PipelineError> {
    let table = spec.table();
    let mut items = Vec::new();
    for &plan in plans {
        let Ok(binding) = applier.plans[plan].bind(&table) else { continue };
        let change = Change {
            position: Position::default(),
            table: Arc::clone(&table),
            op: Op::Truncate,
            before: Before::Absent,
            after: None,
        };
        items.push(Item { plan, change, binding: Ok(Arc::new(binding)), base: Base::Exact });
    }
    match applier.apply(session, &items).await {
        Ok(applied) => {
            Ok(applied.halts.into_iter().next().map(|halt| Opened::Refused { because: halt.because, hint: halt.hint }))
        }
        Err(error) if error.fate() == Fate::Retry => Err(crate::pipeline::local::LocalError::from(error).into()),
        Err(error) => Ok(Some(Opened::Refused { because: error.to_string(), hint: "cure the target table".to_owned() })),
    }
}

/// Whether a partition that waits before a marker may go on, and from which offset: the marker was opened, or a later attempt's reset
/// makes it void.
///
/// # Errors
/// See [`PipelineError`].
pub async fn passed(
    session: &Session,
    connector: &str,
    share: &Share,
    marker: &str,
    offset: i64,
) -> Result<Option<i64>, PipelineError> {
    let (topic, partition) = (&*share.partition.topic, share.partition.partition);
    let sql =
        "SELECT c.log_offset, EXISTS (SELECT FROM tablelift.barrier b WHERE b.connector = $1 AND b.topic = $2 AND b.marker > $4
               AND b.marker LIKE 'r:%' AND $4 LIKE 'r:%')
               FROM tablelift.checkpoint c WHERE c.connector = $1 AND c.topic = $2 AND c.partition = $3";
    let Some(row) = session.client().query_opt(sql, &[&connector, &topic, &partition, &marker]).await.map_err(failed)? else {
        return Ok(None);
    };
    let next: Option<i64> = row.get(0);
    Ok(match next {
        Some(next) if next > offset => Some(next),
        _ if row.get(1) => Some(offset + 1),
        _ => None,
    })
}
