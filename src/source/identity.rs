//! Which server the source is, where its WAL stands, and what it has room for.

use super::SourceError;
use crate::change::Lsn;
use std::time::Duration;
use tokio_postgres::Client;

/// What an ordinary session can tell of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// Made by initdb, kept by every physical copy.
    pub system_id: String,
    /// Of the WAL that is written now; on a standby, of its last restart point.
    pub timeline: u32,
    /// `server_version_num`, such as 150018.
    pub version: u32,
    pub in_recovery: bool,
    /// Where the next WAL goes; on a standby, what was replayed.
    pub insert_lsn: Lsn,
    pub wal_level: String,
    pub max_replication_slots: u32,
    pub replication_slots_used: u32,
    pub max_wal_senders: u32,
    pub wal_senders_used: u32,
    /// Zero: the server never gives up on a silent reader.
    pub wal_sender_timeout: Duration,
}

const FACTS: &str = "
SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
       CASE WHEN r THEN (SELECT timeline_id::text FROM pg_catalog.pg_control_checkpoint())
            ELSE ('x' || substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int::text END,
       pg_catalog.current_setting('server_version_num'), r::text,
       CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn() END::text,
       pg_catalog.current_setting('wal_level'),
       pg_catalog.current_setting('max_replication_slots'), (SELECT count(*)::text FROM pg_catalog.pg_replication_slots),
       pg_catalog.current_setting('max_wal_senders'),
       (SELECT count(*)::text FROM pg_catalog.pg_stat_get_wal_senders()),
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout')
  FROM pg_catalog.pg_is_in_recovery() AS r";

/// Reads them.
///
/// # Errors
/// [`SourceError::Query`], [`SourceError::Answer`].
pub async fn server_facts(client: &Client) -> Result<ServerFacts, SourceError> {
    let doing = "read the source's settings";
    let row = client.query_one(FACTS, &[]).await.map_err(SourceError::query(doing))?;
    let text = |column: usize| row.get::<_, Option<&str>>(column);
    let number = |column| text(column)?.parse().ok();
    let read = || {
        Some(ServerFacts {
            system_id: text(0)?.to_owned(),
            timeline: number(1)?,
            version: number(2)?,
            in_recovery: text(3)? == "true",
            insert_lsn: text(4)?.parse().ok()?,
            wal_level: text(5)?.to_owned(),
            max_replication_slots: number(6)?,
            replication_slots_used: number(7)?,
            max_wal_senders: number(8)?,
            wal_senders_used: number(9)?,
            wal_sender_timeout: Duration::from_millis(text(10)?.parse().ok()?),
        })
    };
    read().ok_or(SourceError::Answer { doing })
}

/// Where each timeline before the present one was left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimelineHistory(Vec<(u32, Lsn)>);

/// A line of a history file is not a timeline, an LSN and a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line of the timeline's history cannot be read")]
pub struct ParseHistoryError;

impl TimelineHistory {
    /// Reads a history file: per line a timeline, where it was left, and why; `#` starts a comment.
    ///
    /// # Errors
    /// See [`ParseHistoryError`].
    pub fn parse(content: &str) -> Result<Self, ParseHistoryError> {
        let lines = content.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        };
        lines.map(|text| line(text).ok_or(ParseHistoryError)).collect::<Result<_, _>>().map(Self)
    }

    /// Where `timeline` was left for the next one; what lies behind it there is not in our history. `None`: not an ancestor.
    pub fn left_at(&self, timeline: u32) -> Option<Lsn> {
        self.0.iter().find(|(of, _)| *of == timeline).map(|(_, lsn)| *lsn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_says_where_a_timeline_was_left() {
        let text = "1\t0/3000158\tno recovery target specified\n\n# by hand\n2\t0/5000000\tbefore 2000-01-01 01:00:00+01\n";
        let history = TimelineHistory::parse(text).unwrap();
        assert_eq!(history.left_at(1), Some(Lsn(0x0300_0158)));
        assert_eq!(history.left_at(2), Some(Lsn(0x0500_0000)));
        assert_eq!(history.left_at(3), None);
        assert_eq!(TimelineHistory::parse("1 x"), Err(ParseHistoryError));
    }
}
