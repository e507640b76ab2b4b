//! A session on the target: the daemon's statements, known by their text. One that is new to the model is a failure of the model, and loud.

use super::source::{Cells, SHAPES};
use super::target::{Checkpoint, Key, Range, Reread, State, Stop, Target, Tx, Val, key_of, settle};
use super::wire::{
    Answer, BOOL, Backend, INT4, INT8, INT8S, Params, Refusal, TEXT, TEXTS, Value, bool_param, int4_param, int8_param,
    int8s_param, optional_text, text_param, texts_param,
};
use super::world::Shared;
use crate::change::Lsn;
use crate::mapping::{Statement, TablePlan};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What the plans' own statements are, by their text.
#[derive(Default)]
pub struct Book(BTreeMap<String, Op>);

#[derive(Clone, Debug)]
enum Op {
    Plan(usize, Statement, usize),
    FromStaging(usize, bool),
    Sift(usize),
    Staged(usize),
    CopyIn(usize),
}

/// Partial updates leave out one column at the most, for one is large.
impl Book {
    pub fn of(plans: &[TablePlan]) -> Self {
        let mut book = BTreeMap::new();
        for (number, plan) in plans.iter().enumerate() {
            let large: Vec<usize> = SHAPES[number].large.into_iter().collect();
            let mut all = vec![Statement::Insert, Statement::CopyIn];
            if plan.key.is_empty() {
                all.push(Statement::DeleteOne);
            } else {
                all.extend([Statement::Upsert, Statement::Delete, Statement::Update(large.clone()), Statement::Move(large)]);
            }
            for statement in all {
                let text = plan.sql(&statement).expect("plain columns");
                let moved = if matches!(statement, Statement::Move(_)) { plan.key.len() } else { 0 };
                let params = if statement == Statement::CopyIn { 0 } else { plan.carried(&statement).len() + moved };
                book.insert(text, Op::Plan(number, statement, params));
            }
            for form in [crate::mapping::CopyForm::Binary, crate::mapping::CopyForm::Text] {
                book.insert(plan.copy_in("", form), Op::CopyIn(number));
            }
            let staging = format!("pg_temp.tablelift_staging_{number}");
            book.insert(plan.insert_from(&staging), Op::FromStaging(number, false));
            if !plan.key.is_empty() {
                book.insert(plan.upsert_from(&staging), Op::FromStaging(number, true));
                book.insert(plan.sift_from(&staging), Op::Sift(number));
                book.insert(plan.staged_keys(&staging), Op::Staged(number));
            }
        }
        Self(book)
    }
}

pub struct TargetSession {
    pub world: Shared,
    life: u64,
    book: Arc<Book>,
    tx: Option<Tx>,
    staging: BTreeMap<usize, Vec<Cells>>,
    timeout: Duration,
    pid: i32,
}

/// Statements on the control tables: how they begin, their parameters, their columns.
const KNOWN: &[(&str, &[u32], &[u32])] = &[
    (
        "WITH mine AS (SELECT FROM tablelift.checkpoint WHERE connector = $1 AND topic = $7 AND partition = 0 AND epoch = coalesce",
        &[TEXT, TEXT, TEXT, TEXTS, INT4, INT8, TEXT, TEXT],
        &[BOOL],
    ),
    ("SELECT pg_backend_pid()", &[], &[INT4]),
    ("SELECT pg_catalog.has_function_privilege", &[TEXT], &[BOOL, BOOL]),
    ("INSERT INTO tablelift.checkpoint AS c", &[TEXT, TEXT, INT4], &[TEXT, INT4, INT8, INT8, TEXT, TEXT, INT8]),
    ("UPDATE tablelift.checkpoint SET position = $3, end_lsn", &[TEXT, INT8, TEXT, TEXT, INT8], &[]),
    (
        "SELECT source_schema, source_name, target_schema",
        &[TEXT],
        &[TEXT, TEXT, TEXT, TEXT, TEXT, BOOL, TEXT, TEXT, TEXT, INT8, INT8, TEXT, BOOL, BOOL, INT8, TEXT, BOOL],
    ),
    ("UPDATE tablelift.table_state SET lacks_from = coalesce", &[TEXT, TEXT, TEXT, TEXT, TEXT, TEXT], &[]),
    ("UPDATE tablelift.table_state SET lacks_from = $4", &[TEXT, TEXT, TEXT, TEXT], &[]),
    ("UPDATE tablelift.table_state SET halted_because = NULL", &[TEXT, TEXT, TEXT], &[]),
    ("SELECT target_schema, target_name, nth, range", &[TEXT], &[TEXT, TEXT, INT4, TEXT, BOOL, INT8, INT8]),
    ("SELECT c.copy_paused", &[TEXT], &[BOOL, TEXT, TEXT]),
    (
        "WITH mine AS (SELECT FROM tablelift.checkpoint WHERE connector = $1 AND topic = $9",
        &[TEXT, INT8, TEXT, TEXT, INT4, TEXT, BOOL, INT8, TEXT, INT8],
        &[],
    ),
    (
        "WITH mine AS (SELECT FROM tablelift.checkpoint WHERE connector = $1 AND topic = $5",
        &[TEXT, INT8, TEXT, TEXT, TEXT, TEXT],
        &[],
    ),
    (
        "WITH mine AS (SELECT FROM tablelift.checkpoint WHERE connector = $1 AND topic = $7",
        &[TEXT, INT8, TEXT, TEXT, INT8S, TEXT, TEXT],
        &[],
    ),
    ("INSERT INTO tablelift.reread AS r", &[TEXT, TEXT, TEXT, TEXTS, INT4], &[]),
    ("SELECT target_schema, target_name, key, id FROM tablelift.reread", &[TEXT, INT8S, INT8], &[TEXT, TEXT, TEXTS, INT8]),
    ("SELECT pg_catalog.count(*) FROM tablelift.reread", &[TEXT], &[INT8]),
    ("SELECT EXISTS (SELECT FROM", &[], &[BOOL]),
    ("SELECT ARRAY[", &[], &[TEXTS]),
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
        if let Some(op) = book.0.get(sql) {
            return match op {
                Op::CopyIn(_) | Op::Plan(_, Statement::CopyIn, _) if copied.is_none() => Ok(Answer::CopyIn),
                Op::CopyIn(number) | Op::Plan(number, Statement::CopyIn, _) => {
                    let rows = lines(copied.unwrap_or_default());
                    self.within(|target, tx, _| add_all(target, tx, *number, &rows, false))
                }
                Op::FromStaging(number, upsert) => self.within(|target, tx, staging| {
                    let rows = staging.get(number).cloned().unwrap_or_default();
                    add_all(target, tx, *number, &rows, *upsert)
                }),
                Op::Sift(number) => self.within(|target, tx, staging| {
                    let left = sift(target, tx, *number, staging.get(number).cloned().unwrap_or_default())?;
                    staging.insert(*number, left);
                    Ok(Answer::Done(0))
                }),
                Op::Staged(number) => {
                    let rows = self.staging.get(number).into_iter().flatten().filter_map(|row| key_of(*number, row));
                    Ok(Answer::Rows(rows.map(|key| vec![Value::Texts(key)]).collect()))
                }
                Op::Plan(number, statement, _) => {
                    let columns: Vec<Vec<Option<String>>> = (0..params.len()).map(|at| array(&text_param(params, at))).collect();
                    let rows: Vec<Cells> = (0..columns.first().map_or(0, Vec::len))
                        .map(|row| columns.iter().map(|column| column[row].clone()).collect())
                        .collect();
                    self.within(|target, tx, _| plan_statement(target, tx, *number, statement, &rows))
                }
            };
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
        if sql.starts_with("DELETE FROM \"shop\"") && sql.contains(" AS t USING (SELECT ") {
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

    /// `target_keys`.
    fn keys(&mut self, sql: &str) -> Result<Answer, Stop> {
        let (table, condition) = (table_in(sql), sql.find(" WHERE ").expect("a condition"));
        let behind = keys_in(&sql[condition..], SHAPES[table].key.len()).pop();
        self.within(|target, tx, _| {
            let keys = target.rows(tx, table).into_iter().filter_map(|(_, row)| key_of(table, &row));
            let mut keys: Vec<Vec<String>> = keys.filter(|key| behind.as_ref().is_none_or(|behind| key > behind)).collect();
            keys.sort();
            Ok(Answer::Rows(keys.into_iter().map(|key| vec![Value::Texts(key)]).collect()))
        })
    }

    fn change_state(&mut self, table: usize, change: impl FnOnce(&mut State)) -> Result<Answer, Stop> {
        self.within(|target, tx, _| change_state(target, tx, table, change).map(Answer::Done))
    }

    fn ranges(&mut self, sql: &str, params: &Params) -> Result<Answer, Stop> {
        if sql.contains("new AS (INSERT INTO tablelift.copy_range") {
            let (table, texts, epoch) = (table_named(&text_param(params, 2)), texts_param(params, 3), int8_param(params, 5));
            return self.within(|target, tx, _| {
                if !mine(target, tx, epoch)? {
                    return Ok(Answer::Rows(vec![vec![Value::Bool(false)]]));
                }
                let new = |state: &mut State| "copy".clone_into(&mut state.state);
                change_state(target, tx, table, new)?;
                for key in ranges_of(target, tx, table) {
                    target.put(tx, key, None)?;
                }
                for (nth, text) in (1..).zip(texts) {
                    let range = Range { text, done: false, rows: 0, bytes: 0 };
                    target.put(tx, Key::Range(table, nth), Some(Val::Range(range)))?;
                }
                Ok(Answer::Rows(vec![vec![Value::Bool(true)]]))
            });
        }
        if sql.starts_with("SELECT target_schema, target_name, nth, range") {
            return self.within(|target, tx, _| {
                let rows = target.all(tx).into_iter().filter_map(|(key, value)| match (key, value) {
                    (Key::Range(table, nth), Val::Range(range)) => {
                        let mut row = named(table);
                        row.extend([Value::Int4(nth), Value::Text(range.text), Value::Bool(range.done)]);
                        row.extend([Value::Int8(range.rows), Value::Int8(range.bytes)]);
                        Some(row)
                    }
                    _ => None,
                });
                Ok(Answer::Rows(rows.collect()))
            });
        }
        if sql.starts_with("SELECT c.copy_paused") {
            return self.within(|target, tx, _| {
                let copying = |(key, value): (&Key, &Val)| match (key, value) {
                    (Key::State(table), Val::State(state)) if state.state == "copy" => Some(*table),
                    _ => None,
                };
                let mut copying: Vec<usize> = target.each(tx).filter_map(copying).collect();
                copying.sort_unstable();
                let row = |table: &usize| {
                    let mut row = vec![Value::Bool(false)];
                    row.extend(named(*table));
                    row
                };
                let none = || vec![vec![Value::Bool(false), Value::Null, Value::Null]];
                Ok(Answer::Rows(if copying.is_empty() { none() } else { copying.iter().map(row).collect() }))
            });
        }
        let epoch = int8_param(params, 1);
        let table = table_named(&text_param(params, 3));
        if sql.contains("UPDATE tablelift.copy_range SET range = $6") {
            let (nth, text, done) = (int4_param(params, 4), text_param(params, 5), bool_param(params, 6));
            let (rows, bytes) = (int8_param(params, 7), int8_param(params, 9));
            return self.within(|target, tx, _| {
                if !mine(target, tx, epoch)? {
                    return Ok(Answer::Done(0));
                }
                let key = Key::Range(table, nth);
                target.lock(tx, &key)?;
                let Some(Val::Range(old)) = target.get(tx, &key) else { return Ok(Answer::Done(0)) };
                let new = Range { text, done, rows: old.rows + rows, bytes: old.bytes + bytes };
                if broken!(ProgressOutside) {
                    target.committed.insert(key.clone(), Val::Range(new.clone()));
                }
                target.put(tx, key, Some(Val::Range(new)))?;
                Ok(Answer::Done(1))
            });
        }
        if sql.contains("SET state = 'follow', copied_at") {
            let window = lsn(&text_param(params, 5));
            return self.within(|target, tx, _| {
                if !mine(target, tx, epoch)? {
                    return Ok(Answer::Done(0));
                }
                for key in ranges_of(target, tx, table) {
                    target.put(tx, key, None)?;
                }
                let done = change_state(target, tx, table, |state| {
                    "follow".clone_into(&mut state.state);
                    state.window = state.window.max(Some(window));
                    if state.lacks.is_none() {
                        state.halted = None;
                    }
                });
                done.map(Answer::Done)
            });
        }
        panic!("the model's target does not know `{sql}`")
    }

    fn rereads(&mut self, sql: &str, params: &Params) -> Result<Answer, Stop> {
        if sql.starts_with("INSERT INTO tablelift.reread AS r") {
            let (table, flat) = (table_named(&text_param(params, 2)), texts_param(params, 3));
            let width = usize::try_from(int4_param(params, 4)).expect("small");
            return self.within(|target, tx, _| {
                for key in flat.chunks(width).filter(|_| !broken!(RereadForgotten)) {
                    let at = Key::Reread(table, key.to_vec());
                    target.lock(tx, &at)?;
                    let tries = match target.get(tx, &at) {
                        Some(Val::Reread(old)) => old.tries + 1,
                        _ => 0,
                    };
                    let id = i64::try_from(target.serial()).expect("few");
                    target.put(tx, at, Some(Val::Reread(Reread { id, tries, asked: Instant::now() })))?;
                }
                Ok(Answer::Done(1))
            });
        }
        if sql.starts_with("SELECT target_schema, target_name, key, id") {
            let (not, limit) = (int8s_param(params, 1), int8_param(params, 2));
            return self.within(|target, tx, _| {
                let due = |reread: &Reread| {
                    reread.asked + Duration::from_millis(5) * reread.tries.min(78).pow(2) <= Instant::now()
                        && !not.contains(&reread.id)
                };
                let mut rows: Vec<(i64, Vec<Value>)> = Vec::new();
                for (key, value) in target.each(tx) {
                    if let (Key::Reread(table, key), Val::Reread(reread)) = (key, value)
                        && due(reread)
                    {
                        let mut row = named(*table);
                        row.extend([Value::Texts(key.clone()), Value::Int8(reread.id)]);
                        rows.push((reread.id, row));
                    }
                }
                rows.sort_by_key(|(id, _)| *id);
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                Ok(Answer::Rows(rows.into_iter().take(limit).map(|(_, row)| row).collect()))
            });
        }
        if sql.starts_with("SELECT pg_catalog.count(*)") {
            return self.within(|target, tx, _| {
                let count = target.each(tx).filter(|(key, _)| matches!(key, Key::Reread(..))).count();
                Ok(Answer::Rows(vec![vec![Value::Int8(i64::try_from(count).expect("few"))]]))
            });
        }
        let (epoch, table) = (int8_param(params, 1), table_named(&text_param(params, 3)));
        let (ids, window) = (int8s_param(params, 4), lsn(&text_param(params, 5)));
        assert!(sql.contains("gone AS (DELETE FROM tablelift.reread"), "the model's target does not know `{sql}`");
        self.within(|target, tx, _| {
            if !mine(target, tx, epoch)? {
                return Ok(Answer::Done(0));
            }
            for (key, value) in target.all(tx) {
                let of_table = matches!(&key, Key::Reread(of, _) if *of == table) && broken!(DoneByTable);
                if matches!(&value, Val::Reread(reread) if ids.contains(&reread.id) || of_table) {
                    target.put(tx, key, None)?;
                }
            }
            let done = change_state(target, tx, table, |state| state.window = state.window.max(Some(window)));
            done.map(Answer::Done)
        })
    }
}

impl Backend for TargetSession {
    fn describe(&self, sql: &str) -> (Vec<u32>, Vec<u32>) {
        if let Some(op) = self.book.0.get(sql) {
            let Op::Plan(_, statement, params) = op else {
                return (Vec::new(), if matches!(op, Op::Staged(_)) { vec![TEXTS] } else { Vec::new() });
            };
            let columns = match statement {
                Statement::Update(_) | Statement::Move(_) => vec![TEXTS],
                Statement::DeleteOne => vec![INT8],
                _ => Vec::new(),
            };
            return (vec![TEXTS; *params], columns);
        }
        let flat = flat(sql);
        let known = KNOWN.iter().chain(super::target_log::KNOWN).find(|(start, _, _)| flat.starts_with(start));
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

fn add_all(target: &mut Target, tx: &mut Tx, table: usize, rows: &[Cells], upsert: bool) -> Result<Answer, Stop> {
    let mut seen = Vec::new();
    for row in rows {
        if upsert {
            let key = key_of(table, row);
            if seen.contains(&key) {
                return Err(Refusal::new("21000", "ON CONFLICT DO UPDATE command cannot affect row a second time").into());
            }
            seen.push(key);
        }
        target.add(tx, table, row, upsert)?;
    }
    Ok(Answer::Done(rows.len() as u64))
}

/// Row by row, round after round; gives what is still refused.
fn sift(target: &mut Target, tx: &mut Tx, table: usize, mut rows: Vec<Cells>) -> Result<Vec<Cells>, Stop> {
    loop {
        let (before, mut left) = (rows.len(), Vec::new());
        for row in rows {
            let overlay = tx.overlay.clone();
            match target.add(tx, table, &row, true) {
                Ok(()) => {}
                Err(Stop::Refused(refusal)) if refusal.code == "23505" => {
                    tx.overlay = overlay;
                    left.push(row);
                }
                Err(stop) => return Err(stop),
            }
        }
        if left.len() == before || left.is_empty() {
            return Ok(left);
        }
        rows = left;
    }
}

fn plan_statement(target: &mut Target, tx: &mut Tx, table: usize, statement: &Statement, rows: &[Cells]) -> Result<Answer, Stop> {
    let shape = &SHAPES[table];
    match statement {
        Statement::Insert => add_all(target, tx, table, rows, false),
        Statement::Upsert => add_all(target, tx, table, rows, true),
        Statement::Delete => {
            for key in rows {
                let key = key.iter().map(|cell| cell.clone().expect("keys are not null")).collect();
                target.remove(tx, table, &Key::Row(table, key))?;
            }
            Ok(Answer::Done(rows.len() as u64))
        }
        Statement::DeleteOne => {
            let equal = target.rows(tx, table).into_iter().filter(|(_, row)| *row == rows[0]);
            let found: Vec<_> = equal.take(if broken!(DeletesAll) { usize::MAX } else { 1 }).collect();
            let lacking = i64::from(found.is_empty());
            for (key, _) in found {
                target.remove(tx, table, &key)?;
            }
            Ok(Answer::Rows(vec![vec![Value::Int8(lacking)]]))
        }
        Statement::Update(gone) | Statement::Move(gone) => {
            let present: Vec<usize> = (0..shape.columns.len()).filter(|column| !gone.contains(column)).collect();
            let mut lacking = Vec::new();
            for cells in rows {
                let mut new: Cells = vec![None; shape.columns.len()];
                present.iter().zip(cells).for_each(|(&column, cell)| new[column].clone_from(cell));
                let key = key_of(table, &new).expect("it has a key");
                let moves = matches!(statement, Statement::Move(_));
                let text = |cell: &Option<String>| cell.clone().expect("keys are not null");
                let base = if moves { cells[present.len()..].iter().map(text).collect() } else { key.clone() };
                let base = Key::Row(table, base);
                let old = if moves { target.remove(tx, table, &base)? } else { row_of(target.get(tx, &base)) };
                let Some(old) = old else {
                    lacking.push(vec![Value::Texts(key)]);
                    continue;
                };
                gone.iter().for_each(|&column| new[column].clone_from(&old[column]));
                if moves { target.add(tx, table, &new, false)? } else { target.change(tx, table, &base, &new)? }
            }
            Ok(Answer::Rows(lacking))
        }
        Statement::CopyIn => unreachable!("it has its own way"),
    }
}

fn row_of(value: Option<Val>) -> Option<Cells> {
    match value {
        Some(Val::Row(row)) => Some(row),
        _ => None,
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
fn mine(target: &mut Target, tx: &Tx, epoch: i64) -> Result<bool, Stop> {
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

fn ranges_of(target: &Target, tx: &Tx, table: usize) -> Vec<Key> {
    target.all(tx).into_keys().filter(|key| matches!(key, Key::Range(of, _) if *of == table)).collect()
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
        row.extend([text(state.window.map(|end| Lsn(end).to_string())), Value::Bool(false)]);
        Some(row)
    };
    target.all(tx).into_iter().filter_map(row).collect()
}

fn named(table: usize) -> Vec<Value> {
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

/// COPY's text form, of values that need no escapes.
fn lines(data: &[u8]) -> Vec<Cells> {
    let text = std::str::from_utf8(data).expect("UTF-8");
    let cell = |cell: &str| (cell != "\\N").then(|| cell.to_owned());
    text.lines().map(|line| line.split('\t').map(cell).collect()).collect()
}

pub fn line(row: &Cells) -> String {
    let cells: Vec<&str> = row.iter().map(|cell| cell.as_deref().unwrap_or("\\N")).collect();
    format!("{}\n", cells.join("\t"))
}

/// An array in text form, of values that need no escapes.
fn array(text: &str) -> Vec<Option<String>> {
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).expect("an array");
    if inner.is_empty() {
        return Vec::new();
    }
    inner.split(',').map(|item| (item != "NULL").then(|| item.trim_matches('"').to_owned())).collect()
}
