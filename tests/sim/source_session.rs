//! A session on the source.

use super::source::{SHAPES, Snapshot};
use super::stream::oid;
use super::target_session::{keys_in, line, table_in};
use super::wire::{Answer, BOOL, Backend, INT4, INT8, OID, Params, Refusal, TEXT, TEXTS, Value};
use super::world::Shared;
use crate::change::Lsn;
use std::time::Duration;

pub struct SourceSession {
    world: Shared,
    life: u64,
    id: u64,
    open: bool,
    failed: bool,
    snapshot: Option<Snapshot>,
    timeout: Duration,
}

impl SourceSession {
    pub fn new(world: Shared) -> Self {
        let (life, id) = {
            let mut world = world.lock();
            (world.source.life, world.target.serial())
        };
        Self { world, life, id, open: false, failed: false, snapshot: None, timeout: Duration::from_secs(30) }
    }

    fn close(&mut self) {
        (self.open, self.failed, self.snapshot) = (false, false, None);
        let mut world = self.world.lock();
        world.source.tables.iter_mut().for_each(|table| _ = table.readers.remove(&self.id));
    }

    /// The transaction's snapshot, taken when it is first wanted.
    fn snapshot(&mut self) -> Snapshot {
        let fresh = || self.world.lock().source.snapshot();
        if !self.open {
            return fresh();
        }
        self.snapshot.get_or_insert_with(fresh).clone()
    }

    fn parts(&self) -> Vec<Vec<Value>> {
        let world = self.world.lock();
        let row = |(number, table): (usize, &super::source::Table)| {
            vec![
                Value::Text("public".to_owned()),
                Value::Text(SHAPES[number].name.to_owned()),
                Value::Oid(oid(number)),
                Value::Oid(table.file),
                Value::Int8(i64::from(table.blocks)),
                Value::Int8(0),
                Value::Int8(8192),
            ]
        };
        world.source.tables.iter().enumerate().map(row).collect()
    }

    fn copy(&mut self, sql: &str) -> Answer {
        let (table, snapshot) = (table_in(sql), self.snapshot());
        let world = self.world.lock();
        let bound = |word: &str| {
            let rest = &sql[sql.find(word).expect("a bound") + word.len()..];
            rest[..rest.find(',').expect("a block")].parse::<u32>().expect("a block")
        };
        if sql.contains("ctid >= ") {
            let blocks = (bound("ctid >= '("), bound("ctid < '("));
            return Answer::CopyOut(world.source.read(table, &snapshot, Some(blocks)).iter().map(line).collect());
        }
        let shape = &SHAPES[table];
        let keys = keys_in(sql, shape.key.len());
        let mut rows = world.source.read(table, &snapshot, None);
        let nth =
            |row: &super::source::Cells| keys.iter().position(|key| super::target::key_of(table, row).as_ref() == Some(key));
        if sql.contains("SELECT k.nth, ") {
            let numbered = rows.iter().filter_map(|row| Some(format!("{}\t{}", nth(row)?, line(row))));
            return Answer::CopyOut(numbered.collect());
        }
        rows.retain(|row| nth(row).is_some());
        Answer::CopyOut(rows.iter().map(line).collect())
    }
}

impl Backend for SourceSession {
    fn describe(&self, sql: &str) -> (Vec<u32>, Vec<u32>) {
        let known: &[(&str, &[u32], &[u32])] = &[
            ("SELECT pg_backend_pid()", &[], &[INT4]),
            ("SELECT ARRAY[", &[], &[TEXTS]),
            ("SELECT s.active_pid, a.application_name", &[TEXT], &[INT4, TEXT, TEXT]),
            ("SELECT (SELECT system_identifier", &[], &[TEXT; 11]),
            ("SELECT pg_catalog.quote_ident(n.nspname)", &[OID], &[TEXT]),
            ("SELECT pg_catalog.pg_relation_filenode($1::oid)", &[OID, TEXT], &[OID, INT8, OID]),
            ("SELECT pg_catalog.pg_current_snapshot()::text, pg", &[], &[TEXT, TEXT]),
            ("SELECT pg_catalog.pg_current_snapshot()::text", &[], &[TEXT]),
            ("SELECT pg_catalog.to_regclass($1) IS NOT NULL", &[TEXT], &[BOOL]),
            ("WITH locked AS MATERIALIZED", &[TEXTS, TEXTS], &[TEXT, TEXT, OID, OID, INT8, INT8, INT8]),
            ("SELECT pg_catalog.pg_current_wal_insert_lsn()::text, pg_catalog.pg_logical_emit", &[TEXT], &[TEXT, TEXT, TEXT]),
        ];
        let known = known.iter().find(|(start, _, _)| sql.trim_start().starts_with(start));
        known.map_or_else(Default::default, |(_, params, columns)| (params.to_vec(), columns.to_vec()))
    }

    fn run(&mut self, sql: &str, params: &Params, _copied: Option<&[u8]>) -> Result<Answer, Refusal> {
        let sql = sql.trim_start();
        let text = |text: &str| Value::Text(text.to_owned());
        let one = |row: Vec<Value>| Ok(Answer::Rows(vec![row]));
        if sql == "ROLLBACK" {
            self.close();
            return Ok(Answer::Done(0));
        }
        if self.failed {
            return Err(Refusal::new("25P02", "current transaction is aborted"));
        }
        if sql.starts_with("BEGIN") {
            self.open = true;
            return Ok(Answer::Done(0));
        }
        if let Some(limit) = sql.strip_prefix("SET LOCAL lock_timeout = '") {
            self.timeout = Duration::from_secs(limit.trim_end_matches("s'").parse().expect("seconds"));
            return Ok(Answer::Done(0));
        }
        if sql.starts_with("SET ") || sql.starts_with("SELECT pg_catalog.set_config") {
            return Ok(Answer::Done(0));
        }
        if sql.starts_with("LOCK TABLE ") {
            let table = table_in(sql);
            let mut world = self.world.lock();
            if !world.source.may_read(table) {
                return Ok(Answer::Wait);
            }
            world.source.tables[table].readers.insert(self.id);
            return Ok(Answer::Done(0));
        }
        if sql.starts_with("SELECT ARRAY[") {
            // `absent_keys`: its first literals are the format's
            let (table, values) = (table_in(sql), sql.find("(VALUES ").expect("values"));
            let snapshot = self.snapshot();
            let there: Vec<_> = self.world.lock().source.read(table, &snapshot, None);
            let there: Vec<_> = there.iter().filter_map(|row| super::target::key_of(table, row)).collect();
            let keys = keys_in(&sql[values..], SHAPES[table].key.len()).into_iter().filter(|key| !there.contains(key));
            return Ok(Answer::Rows(keys.map(|key| vec![Value::Texts(key)]).collect()));
        }
        if sql.starts_with("COPY (") {
            return Ok(self.copy(sql));
        }
        if sql.starts_with("SELECT pg_catalog.pg_is_in_recovery()") {
            return one(vec![text("f"), text("off")]);
        }
        if sql.starts_with("SELECT s.active_pid, a.application_name") {
            let holder = self.world.lock().source.reader;
            let row = |pid| vec![Value::Int4(i32::try_from(pid).expect("few")), Value::Null, Value::Null];
            return Ok(Answer::Rows(holder.map(row).into_iter().collect()));
        }
        if sql.starts_with("SELECT plugin, database, (database") {
            let confirmed = Lsn(self.world.lock().source.confirmed).to_string();
            let facts = ["pgoutput", "source", "true", "false", "", "0/1", &confirmed, "reserved", "", "0", "false"];
            return one(facts.into_iter().map(|fact| if fact.is_empty() { Value::Null } else { text(fact) }).collect());
        }
        if sql.starts_with("SELECT pg_backend_pid()") {
            return one(vec![Value::Int4(i32::try_from(self.id).expect("few"))]);
        }
        if sql.starts_with("SELECT (SELECT system_identifier") {
            let end = Lsn(self.world.lock().source.wal).to_string();
            let facts = ["7", "1", "150009", "false", &end, "logical", "10", "1", "10", "1", "60000"];
            return one(facts.into_iter().map(text).collect());
        }
        if sql.starts_with("SELECT pg_catalog.quote_ident(n.nspname)") {
            let asked = u32::from_be_bytes(params[0].as_ref().expect("an oid")[..].try_into().expect("four bytes"));
            let number = (0..SHAPES.len()).find(|&number| oid(number) == asked).expect("a table");
            return one(vec![Value::Text(format!("public.\"{}\"", SHAPES[number].name))]);
        }
        if sql.starts_with("SELECT pg_catalog.pg_relation_filenode($1::oid)") {
            self.snapshot();
            let asked = u32::from_be_bytes(params[0].as_ref().expect("an oid")[..].try_into().expect("four bytes"));
            let number = (0..SHAPES.len()).find(|&number| oid(number) == asked).expect("a table");
            let world = self.world.lock();
            let table = &world.source.tables[number];
            return one(vec![Value::Oid(table.file), Value::Int8(i64::from(table.blocks)), Value::Oid(asked)]);
        }
        if sql.starts_with("SELECT pg_catalog.pg_current_snapshot()::text") {
            let snapshot = Value::Text(self.snapshot().text());
            let lsn = Value::Text(Lsn(self.world.lock().source.wal).to_string());
            return one(if sql.contains("insert_lsn") { vec![snapshot, lsn] } else { vec![snapshot] });
        }
        if sql.starts_with("SELECT pg_catalog.pg_current_xact_id()") {
            self.world.lock().source.draw_and_abort();
            return one(vec![text("1")]);
        }
        if sql.starts_with("SELECT pg_catalog.to_regclass($1) IS NOT NULL") {
            return one(vec![Value::Bool(true)]);
        }
        if sql.starts_with("WITH locked AS MATERIALIZED") {
            let wanted = super::wire::texts_param(params, 1);
            let mut rows = self.parts();
            rows.retain(|row| matches!(&row[1], Value::Text(name) if wanted.contains(name)));
            return Ok(Answer::Rows(rows));
        }
        if sql.starts_with("SELECT pg_catalog.pg_current_wal_insert_lsn()::text, pg_catalog.pg_logical_emit") {
            let before = self.world.lock().source.mark();
            return one(vec![Value::Text(Lsn(before).to_string()), text(""), text("")]);
        }
        if sql.contains("pg_stat_activity") {
            return Err(Refusal::new("42501", "permission denied"));
        }
        panic!("the model's source does not know `{sql}`")
    }

    fn status(&self) -> u8 {
        match (self.open, self.failed) {
            (false, _) => b'I',
            (true, false) => b'T',
            (true, true) => b'E',
        }
    }

    fn fail(&mut self) {
        self.failed = self.open;
    }

    fn lock_timeout(&self) -> Duration {
        self.timeout
    }

    fn is_cut(&self) -> bool {
        self.world.lock().source.life != self.life
    }

    fn name(&self) -> String {
        format!("source {}", self.id)
    }

    fn end(&mut self) {
        self.close();
    }
}
