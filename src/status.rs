//! One plain struct: what is known of a connector, now. Its JSON form is an interface (`status --json`, `GET /status`); what is not
//! known, or not built yet, is null. Durable facts come from the databases, live ones (lags, counters, what is waited for) from
//! the daemon alone.

use crate::change::{CommitLsn, EndLsn, Lsn};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Where a connector, or a table, is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Prepare,
    Copy,
    Follow,
    /// Of a table only.
    Halted,
    /// Of the connector only: nobody follows.
    Stopped,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Prepare => "prepare",
            Phase::Copy => "copy",
            Phase::Follow => "follow",
            Phase::Halted => "halted",
            Phase::Stopped => "stopped",
        })
    }
}

/// One connector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    pub connector: String,
    /// Local log: the slot is active. Kafka: the consumer group has members; null where the broker does not say.
    pub running: Option<bool>,
    /// The daemon reads the stream itself: false while it stands by or tries again, null where no daemon answered.
    pub streaming: Option<bool>,
    pub phase: Option<Phase>,
    /// What the daemon as a whole waits for.
    pub waiting_for: Option<String>,
    pub source: Source,
    pub target: Target,
    pub lag: Lag,
    pub slo: Option<Value>,
    pub eta: Eta,
    /// All that is being copied, and what was copied along with it. Null: nothing is.
    pub copies: Option<Copies>,
    pub letters: Option<Value>,
    pub rereads: Option<Rereads>,
    pub tables: Vec<Table>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    pub system_id: Option<String>,
    pub slot: Option<String>,
    pub slot_active: Option<bool>,
    pub retained_wal_bytes: Option<u64>,
    /// Null: no limit is set.
    pub safe_wal_bytes: Option<u64>,
    pub current_lsn: Option<Lsn>,
    pub confirmed_lsn: Option<EndLsn>,
    /// Why it could not be asked.
    pub error: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    pub position: Option<Place>,
    pub applied_end_lsn: Option<EndLsn>,
    pub consistent: Option<bool>,
    /// Why it could not be asked. What else stands here and of the tables is then what was seen last.
    pub error: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub commit_lsn: CommitLsn,
    /// Null: all of that transaction.
    pub ordinal: Option<u64>,
}

/// Milliseconds from the source's commit, over about the last minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lag {
    pub end_to_end_ms: Spread,
    pub capture_ms: Spread,
    pub log_ms: Spread,
    pub apply_ms: Spread,
    /// WAL between what the target holds and the source's end.
    pub wal_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spread {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
    /// End to end only: age of the oldest known transaction that is not applied yet, or the time since the stream was last read.
    pub now: Option<f64>,
}

/// Rows that wait to be read again from the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rereads {
    pub open: u64,
}

/// Seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Eta {
    pub copy_s: Option<u64>,
    pub caught_up_s: Option<u64>,
    pub slot_invalidation_s: Option<u64>,
}

/// The copies together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Copies {
    /// A person has paused them.
    pub paused: bool,
    /// How many tables, and how many of them are copied.
    pub tables: u64,
    pub tables_copied: u64,
    /// Copied so far; bytes as the source sent them.
    pub rows: u64,
    pub bytes: u64,
    /// How far they are, and how fast. The time left is `eta.copy_s`.
    #[serde(flatten)]
    pub pace: Pace,
}

/// How far a copy is, and how fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pace {
    /// Of what lies in the source's files, TOAST included. Null: not known.
    pub percent: Option<f64>,
    /// Over the last half minute, from here on. Null: not known, or it stands still.
    pub rows_per_s: Option<f64>,
    pub bytes_per_s: Option<f64>,
}

/// A table's copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableCopy {
    /// It was copied before, and is read once more.
    pub repeats: bool,
    /// Of the table's `source_bytes`. Null: not known.
    pub source_bytes_read: Option<u64>,
    #[serde(flatten)]
    pub pace: Pace,
    /// Seconds. Null: not known.
    pub eta_s: Option<u64>,
}

/// What follows the load of a table that we made: indexes, constraints, ANALYZE.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AfterLoad {
    /// Statements that are not done, those under way and those that failed among them.
    pub open: u64,
    pub failed: u64,
    pub building: Vec<Building>,
}

/// A statement that is under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Building {
    /// Such as `index orders_placed_at`.
    pub what: String,
    /// As PostgreSQL says it, of an index: `building index: scanning table`.
    pub phase: Option<String>,
    /// Of the phase.
    pub percent: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Table {
    pub source: String,
    pub target: String,
    pub state: Option<Phase>,
    pub halted_because: Option<String>,
    pub hint: Option<String>,
    pub waiting_for: Option<String>,
    pub rows_copied: u64,
    /// As the source sent them: rows of COPY.
    pub bytes_copied: u64,
    pub rows_estimated: Option<u64>,
    /// On the source's disk, TOAST included; null where nothing is being copied, or it is not known.
    pub source_bytes: Option<u64>,
    /// Null: it is not being copied, or halted.
    pub copy: Option<TableCopy>,
    /// Null: nothing is still to be built.
    pub after_load: Option<AfterLoad>,
    /// Since the daemon started, as the three below.
    pub inserts: Option<u64>,
    pub updates: Option<u64>,
    pub deletes: Option<u64>,
    pub truncates: Option<u64>,
    pub letters: Option<u64>,
}

impl Table {
    fn take_live(&mut self, live: &Table) {
        self.waiting_for = live.waiting_for.clone().or(self.waiting_for.take());
        if self.state == Some(Phase::Copy) {
            (self.rows_copied, self.bytes_copied) = (live.rows_copied, live.bytes_copied);
            self.copy = live.copy.or(self.copy);
        }
        if self.state != Some(Phase::Halted) && live.state == Some(Phase::Halted) {
            (self.state, self.copy) = (live.state, None);
            self.halted_because.clone_from(&live.halted_because);
            self.hint.clone_from(&live.hint);
        }
        self.rows_estimated = self.rows_estimated.or(live.rows_estimated);
        (self.inserts, self.updates, self.deletes, self.truncates) = (live.inserts, live.updates, live.deletes, live.truncates);
    }
}

impl Status {
    /// Takes over what only a daemon knows, from its answer, if it is of this connector.
    pub fn take_live(&mut self, live: Status) -> bool {
        let differ = |a: &Option<String>, b: &Option<String>| matches!((a, b), (Some(a), Some(b)) if a != b);
        if live.connector != self.connector
            || differ(&live.source.system_id, &self.source.system_id)
            || differ(&live.source.slot, &self.source.slot)
        {
            return false;
        }
        if self.target.error.is_some() && self.tables.is_empty() {
            let error = self.target.error.take();
            self.target = Target { error, ..live.target };
            self.tables.clone_from(&live.tables);
        }
        for table in &mut self.tables {
            if let Some(live) = live.tables.iter().find(|live| live.target == table.target) {
                table.take_live(live);
            }
        }
        self.lag = Lag { wal_bytes: self.lag.wal_bytes.or(live.lag.wal_bytes), ..live.lag };
        self.eta = live.eta;
        self.copies = live.copies.or(self.copies);
        self.streaming = live.streaming;
        self.waiting_for = live.waiting_for;
        if matches!(self.phase, None | Some(Phase::Stopped)) {
            self.phase = live.phase;
        }
        true
    }

    /// What keeps it from being ready; empty: it copies or follows, and both databases answer.
    pub fn unready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        reasons.extend(self.source.error.iter().map(|error| format!("source: {error}")));
        reasons.extend(self.target.error.iter().map(|error| format!("target: {error}")));
        if self.streaming != Some(true) {
            reasons.push("the source's stream is not read".to_owned());
        }
        if !matches!(self.phase, Some(Phase::Copy | Phase::Follow)) {
            let phase = self.phase.map_or_else(|| "not known".to_owned(), |phase| format!("`{phase}`"));
            reasons.push(format!("the phase is {phase}"));
        }
        if !reasons.is_empty() {
            reasons.extend(self.waiting_for.iter().map(|what| format!("waiting: {what}")));
        }
        reasons
    }

    /// Tables that stand still.
    pub fn halted(&self) -> usize {
        self.tables.iter().filter(|table| table.state == Some(Phase::Halted)).count()
    }
}

/// What the phase is derived from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The target has a record of the connector, and its log has a beginning; `None`: the target was never seen.
    pub prepared: Option<bool>,
    /// Somebody reads the slot, or the log.
    pub active: Option<bool>,
    /// A daemon runs, if only to try again.
    pub daemon: bool,
    pub tables: &'a [Table],
}

/// The phase, from durable facts.
pub fn phase(facts: Facts<'_>) -> Option<Phase> {
    if !facts.prepared? {
        return Some(Phase::Prepare);
    }
    if !facts.daemon && !facts.active? {
        return Some(Phase::Stopped);
    }
    let copying = facts.tables.iter().any(|table| table.state == Some(Phase::Copy));
    Some(if copying { Phase::Copy } else { Phase::Follow })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(state: Phase) -> Table {
        Table { source: "public.a".into(), target: "public.b".into(), state: Some(state), ..Table::default() }
    }

    #[test]
    fn every_key_is_there_and_null_where_nothing_is_known() {
        let json = serde_json::to_value(Status { tables: vec![table(Phase::Follow)], ..Status::default() }).unwrap();
        for key in ["running", "phase", "copies", "slo", "letters", "rereads"] {
            assert_eq!(json.get(key), Some(&Value::Null), "{key}");
        }
        for path in ["/lag/end_to_end_ms/p99", "/lag/log_ms/now", "/eta/copy_s", "/source/safe_wal_bytes", "/target/position"] {
            assert_eq!(json.pointer(path), Some(&Value::Null), "{path}");
        }
        assert_eq!((&json["tables"][0]["state"], &json["tables"][0]["letters"]), (&Value::from("follow"), &Value::Null));
        assert_eq!(serde_json::from_value::<Status>(json).unwrap().tables, [table(Phase::Follow)]);
    }

    #[test]
    fn the_phase_comes_from_facts() {
        let (copied, copying) = ([table(Phase::Follow), table(Phase::Halted)], [table(Phase::Follow), table(Phase::Copy)]);
        let of = |prepared, active, daemon, tables| phase(Facts { prepared, active, daemon, tables });
        assert_eq!(of(None, Some(true), true, &copied), None);
        assert_eq!(of(Some(false), Some(true), true, &[]), Some(Phase::Prepare));
        assert_eq!(of(Some(true), Some(false), false, &copied), Some(Phase::Stopped));
        assert_eq!(of(Some(true), None, false, &copied), None);
        assert_eq!(of(Some(true), None, true, &copied), Some(Phase::Follow));
        assert_eq!(of(Some(true), Some(true), false, &copying), Some(Phase::Copy));
    }

    #[test]
    fn only_the_own_daemon_is_believed() {
        let of = |connector: &str, system: Option<&str>| Status {
            connector: connector.into(),
            source: Source { system_id: system.map(str::to_owned), ..Source::default() },
            ..Status::default()
        };
        let mut mine = of("shop", Some("1"));
        mine.tables = vec![table(Phase::Follow)];
        assert!(!mine.take_live(of("other", Some("1"))) && !mine.take_live(of("shop", Some("2"))));
        let mut live = of("shop", None);
        live.tables = vec![Table { inserts: Some(4), rows_copied: 7, ..table(Phase::Follow) }];
        live.streaming = Some(true);
        assert!(mine.take_live(live));
        assert_eq!((mine.tables[0].inserts, mine.tables[0].rows_copied, mine.streaming), (Some(4), 0, Some(true)));
    }

    #[test]
    fn ready_is_following_with_both_databases() {
        let ready = Status { streaming: Some(true), phase: Some(Phase::Follow), ..Status::default() };
        assert_eq!(ready.unready(), Vec::<String>::new());
        let mut away = Status { streaming: Some(false), waiting_for: Some("another try".into()), ..ready };
        away.target.error = Some("away".into());
        assert_eq!(away.unready(), ["target: away", "the source's stream is not read", "waiting: another try"]);
    }
}
