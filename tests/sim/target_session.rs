//! A session on the target: the daemon's statements, known by their text. One that is new to the model is a failure of the model, and loud.

use super::source::{Cells, SHAPES};
use super::target::{Checkpoint, Key, State, Stop, Target, Tx, Val, key_of, settle};
use super::target_plans::{Book, lines};
use super::wire::{
    Answer, BOOL, Backend, INT4, INT8, Params, Refusal, TEXT, Value, int4_param, int8_param, optional_text, text_param,
};
use super::world::Shared;
use super::{target_copy, target_log};
use crate::change::Lsn;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub struct TargetSession {
    pub world: Shared,
    life: u64,
    book: Arc<Book>,
    tx: Option<Tx>,
    pub staging: BTreeMap<usize, Vec<Cells>>,
    timeout: Duration,
    pid: i32,
}

/// Statements on the control tables: how they begin, their parameters, their columns.
const KNOWN: &[(&str, &[u32], &[u32])] = &[
    ("SELECT pg_backend_pid()", &[], &[INT4]),
    ("SELECT pg_catalog.has_function_privilege", &[TEXT], &[BOOL, BOOL]),
    ("INSERT INTO tablelift.checkpoint AS c", &[TEXT, TEXT, INT4], &[TEXT, INT4, INT8, INT8, TEXT, TEXT, INT8]),
    ("UPDATE tablelift.checkpoint SET position = $3, end_lsn", &[TEXT, INT8, TEXT, TEXT, INT8], &[]),
    (
        "SELECT source_schema, source_name, target_schema",
        &[TEXT],
        &[
            TEXT, TEXT, TEXT, TEXT, TEXT, BOOL, TEXT, TEXT, TEXT, INT8, INT8, TEXT, BOOL, BOOL, INT8, TEXT, BOOL, BOOL, BOOL,
            BOOL, TEXT, TEXT,
        ],
    ),
    ("UPDATE tablelift.table_state SET lacks_from = coalesce", &[TEXT, TEXT, TEXT, TEXT, TEXT, TEXT], &[]),
    ("UPDATE tablelift.table_state SET lacks_from = $4", &[TEXT, TEXT, TEXT, TEXT], &[]),
    ("UPDATE tablelift.table_state SET halted_because = NULL", &[TEXT, TEXT, TEXT], &[]),
    ("UPDATE tablelift.table_state SET (halted_because, hint, halted_at) = (NULL", &[TEXT, TEXT, TEXT], &[]),
    ("UPDATE tablelift.table_state SET (halted_because", &[TEXT, TEXT, TEXT, TEXT, TEXT], &[]),
    ("SELECT EXISTS (SELECT FROM", &[], &[BOOL]),
    (
        "SELECT FROM tablelift.checkpoint WHERE connector = $1 AND topic = $3 AND partition = 0 AND epoch = $2",
        &[TEXT, INT8, TEXT],
        &[],
    ),
];

impl TargetSession {
    pub fn new(world: Shared, book: Arc<Book>) -> Self {
        let (life, pid) = {
            let mut world = world.lock();
            (world.target.life, i32::try_from(world.target.serial()).expect("few"))
        };
        Self { world, life, book, tx: None, staging: BTreeMap::new(), timeout: Duration::from_secs(30), pid }
    }

    /// A statement outside of a transaction is one.
    pub fn within(
        &mut self,
        work: impl FnOnce(&mut Target, &mut Tx, &mut BTreeMap<usize, Vec<Cells>>) -> Result<Answer, Stop>,
    ) -> Result<Answer, Stop> {
        let mut world = self.world.lock();
        let world = &mut *world;
        match &mut self.tx {
            Some(tx) => {
                let before = tx.overlay.clone();
                let done = work(&mut world.target, tx, &mut self.staging);
                if done.is_err() {
                    tx.overlay = before;
                }
                done
            }
            None => {
                let mut tx = world.target.begin();
                let done = work(&mut world.target, &mut tx, &mut self.staging);
                match &done {
                    Ok(_) => {
                        world.target.commit(tx);
                        world.committed();
                    }
                    Err(_) => world.target.release(tx.id),
                }
                done
            }
        }
    }

    fn frame(&mut self, sql: &str) -> Option<Result<Answer, Refusal>> {
        let word = |prefix: &str| sql.strip_prefix(prefix).map(str::to_owned);
        let done = Some(Ok(Answer::Done(0)));
        if sql.starts_with("BEGIN") {
            if self.tx.is_none() {
                self.tx = Some(self.world.lock().target.begin());
            }
            return done;
        }
        if sql == "COMMIT" {
            let Some(tx) = self.tx.take() else { return done };
            self.staging.clear();
            let mut world = self.world.lock();
            if tx.failed {
                world.target.release(tx.id);
            } else {
                world.target.commit(tx);
                world.committed();
            }
            return done;
        }
        if sql == "ROLLBACK" {
            if let Some(tx) = self.tx.take() {
                self.staging.clear();
                self.world.lock().target.release(tx.id);
            }
            return done;
        }
        if let Some(name) = word("ROLLBACK TO SAVEPOINT ") {
            let tx = self.tx.as_mut()?;
            let Some(at) = tx.savepoints.iter().rposition(|(known, _)| *known == name) else {
                return Some(Err(Refusal::new("3B001", format!("savepoint {name} does not exist"))));
            };
            tx.savepoints.truncate(at + 1);
            tx.overlay = tx.savepoints[at].1.clone();
            tx.failed = false;
            return done;
        }
        if self.tx.as_ref().is_some_and(|tx| tx.failed) {
            return Some(Err(Refusal::new("25P02", "current transaction is aborted")));
        }
        if let Some(name) = word("SAVEPOINT ") {
            let tx = self.tx.as_mut()?;
            tx.savepoints.push((name, tx.overlay.clone()));
            return done;
        }
        if let Some(name) = word("RELEASE SAVEPOINT ") {
            let tx = self.tx.as_mut()?;
            let Some(at) = tx.savepoints.iter().rposition(|(known, _)| *known == name) else {
                return Some(Err(Refusal::new("3B001", format!("savepoint {name} does not exist"))));
            };
            tx.savepoints.truncate(at);
            return done;
        }
        if let Some(text) = word("SET lock_timeout = ").or_else(|| word("SET LOCAL lock_timeout = ")) {
            let text = text.trim_matches('\'');
            self.timeout = match text.strip_suffix("ms") {
                Some(number) => Duration::from_millis(number.parse().expect("milliseconds")),
                None if text == "0" => Duration::from_secs(3600),
                None => Duration::from_secs(text.trim_end_matches('s').parse().expect("seconds")),
            };
            return done;
        }
        if sql.starts_with("SET ") || sql.starts_with("ANALYZE") || sql.starts_with("SELECT pg_catalog.set_config") {
            return done;
        }
        if sql.starts_with("SELECT pg_catalog.pg_is_in_recovery()") {
            let off = || Value::Text("off".to_owned());
            return Some(Ok(Answer::Rows(vec![vec![Value::Text("f".to_owned()), off()]])));
        }
        None
    }

    fn statement(&mut self, sql: &str, params: &Params, copied: Option<&[u8]>) -> Result<Answer, Stop> {
        let book = Arc::clone(&self.book);
        if let Some(op) = book.op(sql) {
            return self.planned(op, params, copied);
        }
        if let Some(rest) = sql.strip_prefix("COPY pg_temp.tablelift_staging_") {
            let Some(copied) = copied else { return Ok(Answer::CopyIn) };
            let number: usize = rest.split(' ').next().and_then(|word| word.parse().ok()).expect("a number");
            let rows = lines(copied);
            let count = rows.len() as u64;
            self.staging.entry(number).or_default().extend(rows);
            return Ok(Answer::Done(count));
        }
        if sql.starts_with("CREATE TEMP TABLE tablelift_staging_") {
            return Ok(Answer::Done(0));
        }
        if sql.starts_with("LOCK TABLE ") {
            let table = table_in(sql);
            return self.within(|target, tx, _| target.share(tx, &Key::Table(table)).map(|()| Answer::Done(0)));
        }
        if let Some(list) = sql.strip_prefix("TRUNCATE ") {
            let tables: Vec<usize> = list.split(", ").map(table_in).collect();
            return self.within(|target, tx, _| {
                tables.iter().try_for_each(|&table| target.empty(tx, table))?;
                Ok(Answer::Done(0))
            });
        }
        if sql.starts_with("DELETE FROM ONLY \"shop\"") && sql.contains(" AS t USING (SELECT ") {
            return self.delete_keys(sql);
        }
        self.control(sql, params)
    }

    /// `delete_keys`, and `delete_absent`.
    fn delete_keys(&mut self, sql: &str) -> Result<Answer, Stop> {
        let table = table_in(sql);
        let keys = keys_in(sql, SHAPES[table].key.len());
        let absent = sql.contains("WHERE NOT EXISTS (SELECT FROM pg_temp");
        self.within(|target, tx, staging| {
            let there: Vec<_> = staging.get(&table).into_iter().flatten().filter_map(|row| key_of(table, row)).collect();
            for key in keys.into_iter().filter(|key| !absent || !there.contains(key)) {
                target.remove(tx, table, &Key::Row(table, key))?;
            }
            Ok(Answer::Done(0))
        })
    }

    fn control(&mut self, sql: &str, params: &Params) -> Result<Answer, Stop> {
        let sql = flat(sql);
        let number = |at: usize| table_named(&text_param(params, at));
        if sql.starts_with("SELECT pg_backend_pid()") {
            return Ok(Answer::Rows(vec![vec![Value::Int4(self.pid)]]));
        }
        if sql.starts_with("SELECT pg_catalog.has_function_privilege") {
            return Ok(Answer::Rows(vec![vec![Value::Bool(false), Value::Bool(false)]]));
        }
        if let Some(done) = self.log(&sql, params) {
            return done;
        }
        if sql.starts_with("INSERT INTO tablelift.checkpoint AS c") {
            let key = Key::Checkpoint(text_param(params, 1), int4_param(params, 2));
            return self.within(|target, tx, _| take(target, tx, key));
        }
        if sql.starts_with("SELECT FROM tablelift.checkpoint WHERE connector = $1 AND topic = $3 AND partition = 0") {
            let epoch = int8_param(params, 1);
            return self.within(|target, tx, _| Ok(Answer::Rows(vec![Vec::new(); usize::from(mine(target, tx, epoch)?)])));
        }
        if sql.starts_with("UPDATE tablelift.checkpoint SET position = $3") {
            let (epoch, position, end) = (int8_param(params, 1), text_param(params, 2), lsn(&text_param(params, 3)));
            return self.within(|target, tx, _| {
                let key = Key::Checkpoint(String::new(), 0);
                target.lock(tx, &key)?;
                let Some(Val::Checkpoint(old)) = target.get(tx, &key) else { return Ok(Answer::Done(0)) };
                if old.epoch != epoch && !broken!(NoEpoch) {
                    return Ok(Answer::Done(0));
                }
                if broken!(CheckpointLost) {
                    return Ok(Answer::Done(1));
                }
                let new = Checkpoint { position: Some(position), end: Some(end), ..old };
                if broken!(CheckpointOutside) {
                    target.committed.insert(key.clone(), Val::Checkpoint(new.clone()));
                }
                target.put(tx, key, Some(Val::Checkpoint(new)))?;
                Ok(Answer::Done(1))
            });
        }
        if sql.starts_with("SELECT source_schema, source_name") {
            return self.within(|target, tx, _| Ok(Answer::Rows(states(target, tx))));
        }
        if sql.starts_with("UPDATE tablelift.table_state SET lacks_from = coalesce") {
            let (table, from) = (number(2), optional_text(params, 3));
            let halted = (text_param(params, 4), text_param(params, 5));
            return self.change_state(table, |state| {
                state.lacks = from.or_else(|| state.lacks.take());
                state.halted = Some(halted);
            });
        }
        if sql.starts_with("UPDATE tablelift.table_state SET lacks_from = $4") {
            let (table, from) = (number(2), optional_text(params, 3));
            return self.change_state(table, |state| (state.lacks, state.halted) = (from, None));
        }
        if sql.starts_with("UPDATE tablelift.table_state SET (halted_because") {
            let halted = (!sql.contains("= (NULL")).then(|| (text_param(params, 3), format!("copy: {}", text_param(params, 4))));
            return self.change_state(number(2), |state| {
                if state.halted.as_ref().is_none_or(|(_, hint)| hint.starts_with("copy: ")) {
                    state.halted = halted;
                }
            });
        }
        if sql.starts_with("UPDATE tablelift.table_state SET halted_because = NULL") {
            return self.change_state(number(2), |state| state.halted = None);
        }
        if sql.contains("c.relname = 'after_load'") {
            // nothing is left to build: the tables are there as they should be
            return Ok(Answer::Rows(vec![vec![Value::Bool(false)]]));
        }
        if sql.starts_with("SELECT EXISTS (SELECT FROM") {
            let table = table_in(&sql);
            return self.within(|target, tx, _| Ok(Answer::Rows(vec![vec![Value::Bool(!target.rows(tx, table).is_empty())]])));
        }
        if sql.starts_with("SELECT ARRAY[") {
            return self.keys(&sql);
        }
        if sql.contains("tablelift.reread") {
            return self.rereads(&sql, params);
        }
        self.ranges(&sql, params)
    }

    fn change_state(&mut self, table: usize, change: impl FnOnce(&mut State)) -> Result<Answer, Stop> {
        self.within(|target, tx, _| change_state(target, tx, table, change).map(Answer::Done))
    }
}

impl Backend for TargetSession {
    fn describe(&self, sql: &str) -> (Vec<u32>, Vec<u32>) {
        if let Some(described) = self.book.describe(sql) {
            return described;
        }
        let flat = flat(sql);
        let known =
            [KNOWN, target_copy::KNOWN, target_log::KNOWN].into_iter().flatten().find(|(start, _, _)| flat.starts_with(start));
        known.map_or_else(Default::default, |(_, params, columns)| (params.to_vec(), columns.to_vec()))
    }

    fn run(&mut self, sql: &str, params: &Params, copied: Option<&[u8]>) -> Result<Answer, Refusal> {
        match self.frame(sql) {
            Some(done) => done,
            None => settle(self.statement(sql, params, copied)),
        }
    }

    fn status(&self) -> u8 {
        self.tx.as_ref().map_or(b'I', |tx| if tx.failed { b'E' } else { b'T' })
    }

    fn fail(&mut self) {
        if let Some(tx) = &mut self.tx {
            tx.failed = true;
        }
    }

    fn lock_timeout(&self) -> Duration {
        self.timeout
    }

    fn is_cut(&self) -> bool {
        self.world.lock().target.life != self.life
    }

    fn name(&self) -> String {
        format!("target {}", self.pid)
    }

    fn end(&mut self) {
        if let Some(tx) = self.tx.take() {
            self.world.lock().target.release(tx.id);
        }
    }
}

fn take(target: &mut Target, tx: &mut Tx, key: Key) -> Result<Answer, Stop> {
    target.lock(tx, &key)?;
    let old = match target.get(tx, &key) {
        Some(Val::Checkpoint(old)) => old,
        _ => Checkpoint::default(),
    };
    target.epochs += 1;
    let new = Checkpoint { epoch: target.epochs, ..old };
    target.put(tx, key.clone(), Some(Val::Checkpoint(new.clone())))?;
    let Key::Checkpoint(topic, partition) = key else { unreachable!("it is a checkpoint's") };
    let text = |text: Option<String>| text.map_or(Value::Null, Value::Text);
    Ok(Answer::Rows(vec![vec![
        Value::Text(topic),
        Value::Int4(partition),
        Value::Int8(new.epoch),
        Value::Int8(new.capture_epoch),
        text(new.position),
        text(new.end.map(|end| Lsn(end).to_string())),
        new.offset.map_or(Value::Null, Value::Int8),
    ]]))
}

/// Whether the checkpoint is still of this epoch; it stays so until the transaction ends.
pub fn mine(target: &mut Target, tx: &Tx, epoch: i64) -> Result<bool, Stop> {
    let key = Key::Checkpoint(String::new(), 0);
    target.share(tx, &key)?;
    Ok(matches!(target.get(tx, &key), Some(Val::Checkpoint(found)) if found.epoch == epoch || broken!(NoEpochChunk)))
}

pub fn change_state(target: &mut Target, tx: &mut Tx, table: usize, change: impl FnOnce(&mut State)) -> Result<u64, Stop> {
    let key = Key::State(table);
    target.lock(tx, &key)?;
    let Some(Val::State(mut state)) = target.get(tx, &key) else { return Ok(0) };
    change(&mut state);
    target.put(tx, key, Some(Val::State(state)))?;
    Ok(1)
}

fn states(target: &Target, tx: &Tx) -> Vec<Vec<Value>> {
    let text = |text: Option<String>| text.map_or(Value::Null, Value::Text);
    let row = |(key, value)| {
        let (Key::State(table), Val::State(state)) = (key, value) else { return None };
        let (because, hint) = state.halted.unzip();
        let mut row = vec![Value::Text("public".to_owned()), Value::Text(SHAPES[table].name.to_owned())];
        row.extend(named(table));
        row.extend([Value::Text(String::new()), Value::Bool(state.state == "follow"), text(state.lacks)]);
        row.extend([text(because), text(hint), Value::Null, Value::Int8(0), Value::Null]);
        row.extend([Value::Bool(state.state == "copy"), Value::Bool(state.repeats), Value::Int8(0)]);
        row.extend([
            text(state.window.map(|end| Lsn(end).to_string())),
            Value::Bool(false),
            Value::Bool(false),
            Value::Bool(true),
        ]);
        row.push(Value::Bool(false));
        row.extend(named(table));
        Some(row)
    };
    target.all(tx).into_iter().filter_map(row).collect()
}

pub fn named(table: usize) -> Vec<Value> {
    vec![Value::Text("shop".to_owned()), Value::Text(SHAPES[table].name.to_owned())]
}

pub fn lsn(text: &str) -> u64 {
    text.parse::<Lsn>().expect("an LSN").0
}

pub fn table_named(name: &str) -> usize {
    SHAPES.iter().position(|shape| shape.name == name).expect("a table of the model")
}

/// The first table that a statement names.
pub fn table_in(sql: &str) -> usize {
    let at = |shape: &super::source::Shape| sql.find(&format!(".\"{}\"", shape.name));
    let first = SHAPES.iter().enumerate().filter_map(|(number, shape)| Some((at(shape)?, number))).min();
    first.unwrap_or_else(|| panic!("no table in `{sql}`")).1
}

/// The keys in a statement's text: its literals, so many a key.
pub fn keys_in(sql: &str, width: usize) -> Vec<Vec<String>> {
    let literals: Vec<String> = sql.split('\'').skip(1).step_by(2).map(str::to_owned).collect();
    literals.chunks(width).map(<[String]>::to_vec).collect()
}

/// One blank between words.
fn flat(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub fn line(row: &Cells) -> String {
    let cells: Vec<&str> = row.iter().map(|cell| cell.as_deref().unwrap_or("\\N")).collect();
    format!("{}\n", cells.join("\t"))
}
