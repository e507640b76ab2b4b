//! Text to checked values, and (`draft`) values to a first text. The only room that reads files or the environment.
//!
//! Promises: every mistake of a file at once, each with line and column and what was meant; secrets never in a message.
//! Will not: connect to anything. Whether a table exists is for `preflight`.
//!
//! How names are read. `source`, `target` and `exclude` as psql reads them: folded to lower case unless quoted, a missing schema is
//! `public`, `*` outside quotes stands for any characters. Names of columns (`key`, `ignore`, the keys of `[table.columns]`), of the
//! slot and of the publication are taken exactly as written, upper case and spaces and all; only where the whole of one stands in
//! double quotes, as in `'"Weird Col"'`, they are taken off.
//!
//! To add a key: ask for it in `file` or `tables` (what nobody asks for is unknown), carry it in `connector`, name its home in
//! `HOMES` below, and show its mistakes in `tests/config/`.

mod connector;
mod copy;
mod draft;
mod file;
mod given_url;
mod libpq;
mod mistake;
mod named;
mod names;
mod nearest;
mod pattern;
mod section;
mod substitute;
mod tables;

pub use connector::{Connector, Create, Kafka, LogKind, SourceConfig, TargetConfig, Triggers};
pub use copy::CopyConfig;
pub use draft::{Draft, DraftEntry, DraftPattern, DraftTable, Reason, Refusal};
pub use given_url::GivenUrl;
pub use mistake::{ConfigErrors, Mistake, Place};
pub use named::{Named, written, written_part};
pub use names::{Glob, table_name};
pub use pattern::Pattern;
pub use substitute::Environment;

/// Where a key lives that was written elsewhere.
const HOMES: &[(&str, &[&str])] = &[
    ("[source]", &["slot", "publication"]),
    ("[source]` and `[target]", &["url"]),
    ("[target]", &["create", "triggers"]),
    ("[log]", &["kind", "brokers", "topic_prefix", "partitions", "replication_factor"]),
    ("[http]", &["listen"]),
    ("[copy]", &["workers", "max_rows_per_second", "max_bytes_per_second", "pause_when_lag_over"]),
    ("[[table]]", &["where", "key", "ignore", "insert_only", "on_new_column", "exclude", "columns"]),
];

fn home_of(key: &str) -> Option<&'static str> {
    HOMES.iter().find(|(_, keys)| keys.contains(&key)).map(|(home, _)| *home)
}
