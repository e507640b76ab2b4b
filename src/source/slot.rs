//! A replication slot as the source's catalog shows it, and what can be done with it from an ordinary session.

use super::SourceError;
use crate::change::{EndLsn, Lsn};
use serde::{Deserialize, Serialize};
use std::fmt;
use tokio_postgres::{Client, SimpleQueryMessage};

/// The name of a slot: a to z, 0 to 9 and `_`, at most 63, as the server has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SlotName(String);

impl SlotName {
    /// # Errors
    /// [`SourceError::SlotName`].
    pub fn new(name: impl Into<String>) -> Result<Self, SourceError> {
        let name = name.into();
        let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if plain && (1..=63).contains(&name.len()) { Ok(Self(name)) } else { Err(SourceError::SlotName(name)) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SlotName {
    type Error = SourceError;

    fn try_from(name: String) -> Result<Self, SourceError> {
        Self::new(name)
    }
}

impl From<SlotName> for String {
    fn from(name: SlotName) -> Self {
        name.0
    }
}

/// What the server has left of the WAL that the slot needs (`pg_replication_slots.wal_status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalStatus {
    /// Within `max_wal_size`.
    Reserved,
    /// Beyond it, but kept.
    Extended,
    /// Some of it goes at the next checkpoint.
    Unreserved,
    /// Some of it is gone, or the slot was invalidated.
    Lost,
}

/// A slot, now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotFacts {
    /// `None`: a physical slot.
    pub plugin: Option<String>,
    pub database: Option<String>,
    /// The session's own database is the slot's.
    pub database_is_ours: bool,
    pub temporary: bool,
    pub active_pid: Option<i32>,
    pub restart_lsn: Option<Lsn>,
    /// What its reader has confirmed; a new reader starts here.
    pub confirmed: Option<EndLsn>,
    pub wal_status: WalStatus,
    /// How much more WAL can be written until the slot is lost; `None`: no limit is set.
    pub safe_wal_bytes: Option<u64>,
    /// WAL kept because of it.
    pub retained_bytes: Option<u64>,
    pub two_phase: bool,
}

/// Columns that came later than 13 are read by way of JSON.
fn facts_sql(name: &SlotName) -> String {
    format!(
        "SELECT plugin, database, (database = pg_catalog.current_database())::text, temporary::text, active_pid, restart_lsn, \
            confirmed_flush_lsn, CASE WHEN pg_catalog.to_jsonb(s) ->> 'invalidation_reason' IS NULL THEN wal_status ELSE 'lost' END, \
            safe_wal_size, pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery() \
              THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, restart_lsn), \
            pg_catalog.to_jsonb(s) ->> 'two_phase' \
          FROM pg_catalog.pg_replication_slots s WHERE slot_name = '{name}'"
    )
}

impl SlotFacts {
    fn read<'a>(text: impl Fn(usize) -> Option<&'a str>) -> Self {
        let size = |column| text(column).and_then(|text| text.parse::<i64>().ok()).map(|bytes| u64::try_from(bytes).unwrap_or(0));
        let wal_status = match text(7) {
            Some("reserved") => WalStatus::Reserved,
            Some("extended") => WalStatus::Extended,
            Some("unreserved") => WalStatus::Unreserved,
            _ => WalStatus::Lost,
        };
        Self {
            plugin: text(0).map(str::to_owned),
            database: text(1).map(str::to_owned),
            database_is_ours: text(2) == Some("true"),
            temporary: text(3) == Some("true"),
            active_pid: text(4).and_then(|pid| pid.parse().ok()),
            restart_lsn: text(5).and_then(|lsn| lsn.parse().ok()),
            confirmed: text(6).and_then(|lsn| lsn.parse().ok()).map(EndLsn),
            wal_status,
            safe_wal_bytes: size(8),
            retained_bytes: size(9),
            two_phase: text(10) == Some("true"),
        }
    }

    /// Whether its stream is what we can read. Returns the confirmed position.
    ///
    /// # Errors
    /// [`SourceError::SlotUnfit`], [`SourceError::SlotLost`].
    pub fn fits(&self, name: &SlotName) -> Result<EndLsn, SourceError> {
        let unfit = |what, found: Option<&str>, wanted: &str| {
            let found = found.unwrap_or("none").to_owned();
            Err(SourceError::SlotUnfit { slot: name.clone(), what, found, wanted: wanted.to_owned() })
        };
        if self.plugin.as_deref() != Some("pgoutput") {
            return unfit("plugin", self.plugin.as_deref(), "pgoutput");
        }
        if !self.database_is_ours {
            return unfit("database", self.database.as_deref(), "the one of the session");
        }
        if self.two_phase {
            return unfit("two_phase", Some("on"), "off");
        }
        match self.confirmed {
            Some(confirmed) if self.wal_status != WalStatus::Lost => Ok(confirmed),
            _ => Err(SourceError::SlotLost(name.clone())),
        }
    }
}

/// Looks at a slot; `None`: there is none of that name.
///
/// # Errors
/// [`SourceError::Query`].
pub async fn slot_facts(client: &Client, name: &SlotName) -> Result<Option<SlotFacts>, SourceError> {
    let answer = client.simple_query(&facts_sql(name)).await.map_err(SourceError::query("read the slot"))?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(row.map(|row| SlotFacts::read(|column| row.get(column))))
}

impl super::Connection {
    /// As [`slot_facts`], over a replication connection.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub async fn slot_facts(&mut self, name: &SlotName) -> Result<Option<SlotFacts>, SourceError> {
        let rows = self.query("tell of the slot", &facts_sql(name)).await?;
        Ok(rows.first().map(|row| SlotFacts::read(|column| row.text(column))))
    }
}

/// Drops a slot that nobody uses.
///
/// # Errors
/// [`SourceError::SlotActive`], [`SourceError::SlotMissing`], [`SourceError::Query`].
pub async fn drop_slot(client: &Client, name: &SlotName) -> Result<(), SourceError> {
    let sql = "SELECT pg_catalog.pg_drop_replication_slot($1::text::name)";
    let dropped = client.execute(sql, &[&name.as_str()]).await.map_err(SourceError::query("drop the slot"));
    dropped.map(drop).map_err(|error| match error.sqlstate() {
        Some("55006") => SourceError::SlotActive(name.clone()),
        Some("42704") => SourceError::SlotMissing(name.clone()),
        _ => error,
    })
}

/// The session that reads a slot. What the role may not see is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotHolder {
    pub pid: i32,
    pub application: Option<String>,
    pub client_address: Option<String>,
}

/// Who reads the slot; `None`: nobody, just now.
///
/// # Errors
/// [`SourceError::Query`].
pub async fn slot_holder(client: &Client, name: &SlotName) -> Result<Option<SlotHolder>, SourceError> {
    let sql = "SELECT s.active_pid, a.application_name, a.client_addr::text FROM pg_catalog.pg_replication_slots s \
               LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid \
               WHERE s.slot_name = $1::text AND s.active_pid IS NOT NULL";
    let row = client.query_opt(sql, &[&name.as_str()]).await.map_err(SourceError::query("see who reads the slot"))?;
    Ok(row.map(|row| SlotHolder { pid: row.get(0), application: row.get(1), client_address: row.get(2) }))
}

/// Commits a mark in the source's WAL. Everything that was committed before the call ends at or before the returned position,
/// and the mark ends behind it: whoever waits for the position waits no longer than for the mark, however idle the source is.
///
/// # Errors
/// [`SourceError::Query`].
pub async fn emit_mark(client: &Client) -> Result<EndLsn, SourceError> {
    // All in one statement, whose commit comes after either; and it waits for no standby, which may be away.
    let sql = "SELECT pg_catalog.pg_current_wal_insert_lsn()::text, pg_catalog.pg_logical_emit_message(true, $1, '')::text,
               pg_catalog.set_config('synchronous_commit', 'local', true)";
    let doing = "commit a mark";
    let row = client.query_one(sql, &[&super::MARK_PREFIX]).await.map_err(SourceError::query(doing))?;
    row.get::<_, &str>(0).parse().map(EndLsn).map_err(|_| SourceError::Answer { doing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_servers() {
        for good in ["a", "tablelift_shop_orders", &"x".repeat(63)] {
            assert!(SlotName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "a-b", "a b", "é", "a'", &"x".repeat(64)] {
            assert!(SlotName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_slot_must_fit() {
        let name = SlotName::new("a").unwrap();
        let row = |plugin, ours, confirmed, status, two_phase| {
            let cells = [plugin, "db", ours, "false", "", "0/1", confirmed, status, "-5", "100", two_phase];
            SlotFacts::read(move |column| Some(cells[column]).filter(|cell| !cell.is_empty()))
        };
        let good = row("pgoutput", "true", "0/2", "extended", "false");
        assert_eq!(good.fits(&name).unwrap(), EndLsn(Lsn(2)));
        assert_eq!((good.safe_wal_bytes, good.retained_bytes, good.active_pid), (Some(0), Some(100), None));
        assert!(matches!(row("", "", "", "reserved", "").fits(&name), Err(SourceError::SlotUnfit { what: "plugin", .. })));
        assert!(row("pgoutput", "false", "0/2", "reserved", "").fits(&name).is_err());
        assert!(row("pgoutput", "true", "0/2", "reserved", "true").fits(&name).is_err());
        assert!(matches!(row("pgoutput", "true", "0/2", "lost", "").fits(&name), Err(SourceError::SlotLost(_))));
    }
}
