//! Replication commands (PostgreSQL's manual, 55.4) and what they answer.

use super::{Connection, TextRow};
use crate::{
    change::{EndLsn, Lsn},
    pg::quote,
    source::{ParseHistoryError, SlotName, SourceError, TimelineHistory},
};

/// Who the server is, and where its WAL ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Made by initdb, kept by every physical copy.
    pub system_id: String,
    pub timeline: u32,
    /// What is flushed; on a standby, replayed.
    pub current: Lsn,
}

/// How long a slot lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    Permanent,
    /// Until its connection ends.
    Temporary,
}

/// Whether a new slot's snapshot shall be given out. It is good until the connection's next command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotUse {
    Export,
    None,
}

/// A slot that was just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedSlot {
    /// Transactions that committed after this are in the stream, those before are in the snapshot.
    pub consistent_point: EndLsn,
    /// For `SET TRANSACTION SNAPSHOT`.
    pub snapshot: Option<String>,
}

impl Connection {
    /// # Errors
    /// See [`SourceError`].
    pub async fn identify(&mut self) -> Result<Identity, SourceError> {
        let doing = "tell its identity";
        let rows = self.query(doing, "IDENTIFY_SYSTEM").await?;
        let read = |row: &TextRow| {
            let (system_id, timeline) = (row.text(0)?.to_owned(), row.text(1)?.parse().ok()?);
            Some(Identity { system_id, timeline, current: row.text(2)?.parse().ok()? })
        };
        rows.first().and_then(read).ok_or(SourceError::Answer { doing })
    }

    /// The history of a timeline: where each older one was left. Timeline 1 has none, and the server says so.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub async fn timeline_history(&mut self, timeline: u32) -> Result<TimelineHistory, SourceError> {
        let doing = "tell a timeline's history";
        let rows = self.query(doing, &format!("TIMELINE_HISTORY {timeline}")).await?;
        let content = rows.first().and_then(|row| row.text(1)).ok_or(SourceError::Answer { doing })?;
        TimelineHistory::parse(content).map_err(|ParseHistoryError| SourceError::Answer { doing })
    }

    /// Makes a logical slot for pgoutput. Waits for every transaction that is open now.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub async fn create_slot(
        &mut self,
        name: &SlotName,
        kind: SlotKind,
        snapshot: SnapshotUse,
    ) -> Result<CreatedSlot, SourceError> {
        let doing = "make a slot";
        let temporary = if kind == SlotKind::Temporary { " TEMPORARY" } else { "" };
        let export = if snapshot == SnapshotUse::Export { "EXPORT_SNAPSHOT" } else { "NOEXPORT_SNAPSHOT" };
        let name = quote::ident(name.as_str());
        let rows = self.query(doing, &format!("CREATE_REPLICATION_SLOT {name}{temporary} LOGICAL pgoutput {export}")).await?;
        let read = |row: &TextRow| {
            Some(CreatedSlot { consistent_point: EndLsn(row.text(1)?.parse().ok()?), snapshot: row.text(2).map(str::to_owned) })
        };
        rows.first().and_then(read).ok_or(SourceError::Answer { doing })
    }

    /// Drops a slot that nobody uses.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub async fn drop_slot(&mut self, name: &SlotName) -> Result<(), SourceError> {
        let result = self.query("drop a slot", &format!("DROP_REPLICATION_SLOT {}", quote::ident(name.as_str()))).await;
        result.map(drop).map_err(|error| of_slot(error, name))
    }

    /// Starts the stream of a slot, from `start` or the slot's confirmed position, whichever is later.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub(crate) async fn start_stream(
        &mut self,
        slot: &SlotName,
        publications: &[String],
        start: EndLsn,
    ) -> Result<(), SourceError> {
        let command = start_command(slot, publications, start, self.server_major());
        self.stream("stream the slot", &command).await.map_err(|error| of_slot(error, slot))
    }
}

/// Logical messages reach pgoutput from 14 on.
fn start_command(slot: &SlotName, publications: &[String], start: EndLsn, server_major: u32) -> String {
    let names: Vec<_> = publications.iter().map(|name| quote::ident(name)).collect();
    let names = names.join(",").replace('\'', "''"); // the grammar of replication commands knows no backslash
    let messages = if server_major >= 14 { ", messages 'true'" } else { "" };
    let slot = quote::ident(slot.as_str());
    format!("START_REPLICATION SLOT {slot} LOGICAL {start} (proto_version '1', publication_names '{names}'{messages})")
}

/// What the server's no means where it is about a slot (`object_in_use`, `undefined_object`).
fn of_slot(error: SourceError, slot: &SlotName) -> SourceError {
    match error.sqlstate() {
        Some("55006") => SourceError::SlotActive(slot.clone()),
        Some("42704") => SourceError::SlotMissing(slot.clone()),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_publication_names_stay_names() {
        let slot = SlotName::new("tablelift_a").expect("a name");
        let command = start_command(&slot, &["a\"b".into(), "it's\\".into()], EndLsn(Lsn(0x1_0000_0010)), 13);
        assert_eq!(
            command,
            r#"START_REPLICATION SLOT "tablelift_a" LOGICAL 1/10 (proto_version '1', publication_names '"a""b","it''s\"')"#
        );
        assert!(start_command(&slot, &[], EndLsn::default(), 14).ends_with("publication_names '', messages 'true')"));
    }
}
