//! What capture records in the control topic before it confirms the slot. The truth about capture; the target has a copy.

use crate::change::{EndLsn, Lsn, ParsePositionError, Position};
use crate::log::kafka::Ends;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The record's name in the control topic.
pub const SLOT: &str = "slot";
/// The tables' shapes and topics.
pub const TABLES: &str = "tables";

/// How far capture is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRecord {
    pub connector: String,
    pub source_system: String,
    pub timeline: u32,
    pub incarnation: u32,
    /// Drawn anew by each start of capture, always higher.
    pub epoch: u64,
    /// The last transaction whose events are all in the log.
    pub position: String,
    /// Everything that ends at or before it is in the log.
    pub end: EndLsnText,
    /// Per partition the offset behind the last event that counts.
    pub ends: Ends,
    /// By the source table's name.
    pub tables: BTreeMap<String, TableRecord>,
}

/// An end LSN as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndLsnText(pub Lsn);

/// One table in capture's view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    pub copied: bool,
    /// It follows the stream while its rows are read.
    #[serde(default)]
    pub copying: bool,
    pub rows_copied: i64,
    #[serde(default)]
    pub bytes_copied: i64,
    /// The first change that the log lacks, where that is not what comes behind `position`.
    pub lacks_from: Option<String>,
    pub halted: Option<(String, String)>,
}

impl SlotRecord {
    /// # Errors
    /// The text is not a position.
    pub fn position(&self) -> Result<Position, ParsePositionError> {
        self.position.parse()
    }

    pub fn end(&self) -> EndLsn {
        EndLsn(self.end.0)
    }

    /// How far the slot may be confirmed once this record is in the log. `floor`: where it stood when this capture started.
    ///
    /// # Errors
    /// A text is not a position.
    pub fn confirmable(&self, floor: EndLsn) -> Result<EndLsn, ParsePositionError> {
        self.tables.values().try_fold(self.end(), |least, table| {
            let hold = match (&table.lacks_from, table.copied || table.copying) {
                (_, false) => floor,
                (Some(from), true) => EndLsn(from.parse::<Position>()?.commit.0),
                (None, true) => least,
            };
            Ok(least.min(hold))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::CommitLsn;

    #[test]
    fn the_slot_stays_before_what_a_record_says_is_lacking() {
        let lsn = |lsn| EndLsn(Lsn(lsn));
        let table = |copied, lacks: Option<u64>| TableRecord {
            copied,
            lacks_from: lacks.map(|lsn| Position::start_of(1, CommitLsn(Lsn(lsn))).to_string()),
            ..TableRecord::default()
        };
        let of = |tables: Vec<TableRecord>| SlotRecord {
            connector: String::new(),
            source_system: String::new(),
            timeline: 1,
            incarnation: 1,
            epoch: 1,
            position: String::new(),
            end: EndLsnText(Lsn(500)),
            ends: Ends::default(),
            tables: tables.into_iter().enumerate().map(|(at, table)| (at.to_string(), table)).collect(),
        };
        let follows = table(true, None);
        let copied_in_chunks = TableRecord { copying: true, ..table(false, None) };
        assert_eq!(of(vec![copied_in_chunks]).confirmable(lsn(7)), Ok(lsn(500)));
        assert_eq!(of(vec![follows.clone()]).confirmable(lsn(7)), Ok(lsn(500)));
        assert_eq!(of(vec![follows.clone(), table(true, Some(100))]).confirmable(lsn(7)), Ok(lsn(100)));
        assert_eq!(of(vec![follows.clone(), table(true, Some(900))]).confirmable(lsn(7)), Ok(lsn(500)));
        assert_eq!(of(vec![follows, table(false, None), table(true, Some(100))]).confirmable(lsn(7)), Ok(lsn(7)));
    }
}
