//! COPY from database to database, the rows passed through unread.

use crate::pipeline::PipelineError;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, SinkExt, StreamExt};
use std::time::Duration;
use tokio_postgres::Client;

/// COPY data handed on at once, in bytes.
const CHUNK: usize = 128 * 1024;

/// `go_on` is asked at least so often.
const SILENCE: Duration = Duration::from_secs(10);

/// What went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piped {
    pub rows: u64,
    pub bytes: u64,
}

impl Piped {
    /// Rows and bytes, as the control tables have them.
    pub fn recorded(self) -> (i64, i64) {
        (i64::try_from(self.rows).unwrap_or(i64::MAX), i64::try_from(self.bytes).unwrap_or(i64::MAX))
    }
}

/// Pours what `copy_out` sends into what `copy_in` takes. `go_on` is told what has gone through, now and then; `None`: it said no, and both
/// sessions are in the middle of it.
///
/// # Errors
/// Of either side, by `at_source` and `at_target`.
pub async fn pipe(
    (source, copy_out): (&Client, &str),
    (target, copy_in): (&Client, &str),
    at_source: impl Fn(tokio_postgres::Error) -> PipelineError,
    at_target: impl Fn(tokio_postgres::Error) -> PipelineError,
    mut go_on: impl FnMut(Piped) -> bool,
) -> Result<Option<Piped>, PipelineError> {
    let rows = source.copy_out(copy_out).await.map_err(&at_source)?;
    let sink = target.copy_in::<_, Bytes>(copy_in).await.map_err(&at_target)?;
    tokio::pin!(rows, sink);
    let (mut chunk, mut messages, mut bytes) = (BytesMut::with_capacity(CHUNK * 2), 0_u64, 0_u64);
    loop {
        // mostly there is one, and no clock is to be asked
        let next = match rows.next().now_or_never() {
            Some(next) => Ok(next),
            None => tokio::time::timeout(SILENCE, rows.next()).await,
        };
        let row = match next {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(_) if !go_on(Piped { rows: messages, bytes }) => return Ok(None),
            Err(_) => continue,
        };
        chunk.extend_from_slice(&row.map_err(&at_source)?);
        messages += 1;
        if chunk.len() >= CHUNK {
            bytes += chunk.len() as u64;
            if sink.send(chunk.split().freeze()).await.is_err() {
                break; // the reason comes with `finish`
            }
            if !go_on(Piped { rows: messages, bytes }) {
                return Ok(None);
            }
            chunk.reserve(CHUNK * 2);
        }
    }
    if !chunk.is_empty() {
        bytes += chunk.len() as u64;
        sink.send(chunk.freeze()).await.ok();
    }
    let rows = sink.finish().await.map_err(&at_target)?;
    Ok(Some(Piped { rows, bytes }))
}
