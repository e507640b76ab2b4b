//! Which of the tables that are made get their key behind their load. That is faster; but the source keeps the WAL of the load's time for
//! it, as the table's changes wait for the key. So only what is loaded in a moment gets it then.

use crate::config::{Connector, CopyConfig};
use crate::ddl::KeyTime;
use crate::mapping::{Kind, SourceShape, TablePlan};
use std::time::Duration;

/// The WAL of so long is no burden: a source that is checkpointed every five minutes, PostgreSQL's default, keeps more by itself.
const MOMENT: Duration = Duration::from_secs(60);
/// What a small machine copies at the least, in bytes a second.
const RATE: u64 = 64 << 20;

/// What is left of the moment: tables that are made together are loaded one after the other.
pub(super) struct Moment<'a> {
    left: Duration,
    copy: &'a CopyConfig,
    /// Not with Kafka: rows come as upserts.
    may: bool,
}

impl<'a> Moment<'a> {
    pub(super) fn new(connector: &'a Connector) -> Self {
        Self { left: MOMENT, copy: &connector.copy, may: connector.kafka().is_none() }
    }

    /// When a table gets its key.
    pub(super) fn key_time(&mut self, shape: &SourceShape, plan: &TablePlan) -> KeyTime {
        let takes = takes(shape.rows_estimated, shape.bytes, self.copy);
        if !self.may || plan.kind != Kind::Keyed || plan.outputs.is_empty() || takes > self.left {
            return KeyTime::AtOnce;
        }
        self.left -= takes;
        KeyTime::AfterLoad
    }
}

/// How long its load takes, by what the source's statistics say.
fn takes(rows: i64, bytes: i64, copy: &CopyConfig) -> Duration {
    let (rows, bytes) = [rows, bytes].map(|estimate| u64::try_from(estimate).unwrap_or(0)).into();
    let slowest = copy.max_bytes_per_second.map_or(RATE, |limit| limit.clamp(1, RATE));
    let by_rows = copy.max_rows_per_second.map_or(0, |limit| rows / limit.max(1));
    Duration::from_secs((bytes / slowest).max(by_rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_a_minute_is_told_by_sizes_and_limits() {
        let minute = |copy: &CopyConfig, rows, bytes| takes(rows, bytes, copy) <= MOMENT;
        let free = CopyConfig::default();
        assert!(minute(&free, i64::MAX, 3840 << 20) && !minute(&free, 1, 4000 << 20));
        let rows = CopyConfig { max_rows_per_second: Some(100), ..CopyConfig::default() };
        assert!(minute(&rows, 6000, 0) && !minute(&rows, 6100, 0));
        let bytes = CopyConfig { max_bytes_per_second: Some(1 << 20), ..CopyConfig::default() };
        assert!(minute(&bytes, 0, 60 << 20) && !minute(&bytes, 0, 61 << 20));
        assert!(minute(&free, -1, -1));
    }
}
