//! A reader on a test's own database, and its feed as text.

use crate::support::{Db, World};
use std::fmt::Write;
use std::time::Duration;
use tablelift::change::{Before, Cell, Change, EndLsn, Feed, Lsn, Row};
use tablelift::pg::{Endpoint, Host};
use tablelift::source::{Connection, Reader, ReaderConfig, SlotKind, SlotName, SnapshotUse, SourceError};
use tokio::time::timeout;

/// A database with publication `p` for all its tables, and slot.
pub struct Tap {
    pub world: World,
    pub slot: SlotName,
}

pub fn endpoint(db: &Db, port: u16) -> Endpoint {
    Endpoint::new(Host::tcp("127.0.0.1", port), "postgres", &db.name)
}

pub async fn connection(db: &Db) -> Connection {
    Connection::open(&endpoint(db, db.port), "test").await.unwrap()
}

impl Tap {
    /// In the shared cluster.
    pub async fn new(name: &str, ddl: &str) -> Self {
        Self::within(World::new(name).await, ddl).await
    }

    pub async fn within(world: World, ddl: &str) -> Self {
        world.source.batch(ddl).await;
        world.source.batch("create publication p for all tables with (publish_via_partition_root = true)").await;
        let slot = SlotName::new(&world.source.name).unwrap();
        connection(&world.source).await.create_slot(&slot, SlotKind::Permanent, SnapshotUse::None).await.unwrap();
        Self { world, slot }
    }

    pub fn db(&self) -> &Db {
        &self.world.source
    }

    pub fn config(&self) -> ReaderConfig {
        self.config_through(self.db().port)
    }

    pub fn config_through(&self, port: u16) -> ReaderConfig {
        ReaderConfig::new(endpoint(self.db(), port), "test", self.slot.clone(), vec!["p".into()])
    }

    pub async fn read(&self) -> Reader {
        start(self.config()).await.unwrap()
    }

    /// Commits a mark, and reads up to it: the feed as text, without the mark's transaction and keepalives.
    pub async fn told(&self, reader: &mut Reader) -> String {
        self.db().batch("select pg_logical_emit_message(true, 'tablelift', 'here')").await;
        let (mut out, mut begun, mut marked) = (String::new(), 0, false);
        loop {
            for feed in next(reader).await {
                match feed {
                    Feed::Mark => marked = true,
                    // the mark's transaction may come in two pieces
                    Feed::Commit { .. } if marked => {
                        out.truncate(begun);
                        return out.trim_end().to_owned();
                    }
                    Feed::Begin { .. } => begun = out.len(),
                    Feed::Keepalive { .. } => continue,
                    _ => {}
                }
                say(&feed, &mut out);
            }
        }
    }

    /// The slot's confirmed position.
    pub async fn confirmed(&self) -> EndLsn {
        let sql = format!("select confirmed_flush_lsn from pg_replication_slots where slot_name = '{}'", self.slot);
        EndLsn(self.db().text(&sql).await.parse::<Lsn>().unwrap())
    }

    pub async fn active(&self) -> bool {
        self.db().text(&format!("select active from pg_replication_slots where slot_name = '{}'", self.slot)).await == "t"
    }
}

pub async fn start(config: ReaderConfig) -> Result<Reader, SourceError> {
    Reader::start(config, &|task| drop(tokio::spawn(task))).await
}

pub async fn next(reader: &mut Reader) -> Vec<Feed> {
    timeout(Duration::from_secs(60), reader.next()).await.expect("something comes").unwrap()
}

/// Reads until the stream ends, and says why.
pub async fn end_of(reader: &mut Reader) -> SourceError {
    let end = async {
        loop {
            if let Err(error) = reader.next().await {
                return error;
            }
        }
    };
    timeout(Duration::from_secs(60), end).await.expect("it ends")
}

/// Reads up to the next mark: how many changes there were, and where the mark's transaction ended.
pub async fn count(reader: &mut Reader) -> (u64, EndLsn) {
    let (mut changes, mut marked) = (0, false);
    loop {
        for feed in next(reader).await {
            match feed {
                Feed::Change(_) => changes += 1,
                Feed::Mark => marked = true,
                Feed::Commit { end, .. } if marked => return (changes, end),
                _ => {}
            }
        }
    }
}

fn say(feed: &Feed, out: &mut String) {
    match feed {
        Feed::Begin { .. } => out.push_str("begin"),
        Feed::Commit { .. } => out.push_str("commit"),
        Feed::Shape(table) => {
            write!(out, "shape {} {:?}", table.name.name, table.identity).unwrap();
            table.columns.iter().for_each(|c| write!(out, " {}{}", c.name, if c.identity { "*" } else { "" }).unwrap());
        }
        Feed::Change(change) => out.push_str(&change_text(change)),
        Feed::Mark => out.push_str("mark"),
        Feed::Keepalive { .. } => out.push_str("keepalive"),
    }
    out.push('\n');
}

fn change_text(change: &Change) -> String {
    let before = match &change.before {
        Before::Absent => String::new(),
        Before::Key(row) => format!(" key {}", cells(row)),
        Before::Full(row) => format!(" full {}", cells(row)),
    };
    let after = change.after.as_ref().map_or(String::new(), |row| format!(" -> {}", cells(row)));
    format!("{} {:?} {}{before}{after}", change.position.ordinal, change.op, change.table.name.name)
}

/// `~` is unchanged, `-` null; long values by their length.
fn cells(row: &Row) -> String {
    let text = |cell| match cell {
        Cell::Null => "-".to_owned(),
        Cell::Unchanged => "~".to_owned(),
        Cell::Text(text) if text.len() > 100 => format!("<{}>", text.len()),
        Cell::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
    };
    row.cells().map(text).collect::<Vec<_>>().join(",")
}
