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
    pub rows_copied: i64,
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
}
