//! The target's control tables of the copy: ranges, and what is read again.

use super::source::SHAPES;
use super::target::{Key, Range, Reread, State, Stop, Target, Tx, Val, key_of};
use super::target_session::{TargetSession, change_state, keys_in, lsn, mine, named, table_in, table_named};
use super::wire::{
    Answer, BOOL, INT4, INT8, INT8S, Params, TEXT, TEXTS, Value, bool_param, int4_param, int8_param, int8s_param, text_param,
    texts_param,
};
use std::time::Duration;
use tokio::time::Instant;

/// Statements: how they begin, their parameters, their columns.
pub const KNOWN: &[(&str, &[u32], &[u32])] = &[
    (
        "WITH mine AS (SELECT FROM tablelift.checkpoint WHERE connector = $1 AND topic = $7 AND partition = 0 AND epoch = coalesce",
        &[TEXT, TEXT, TEXT, TEXTS, INT4, INT8, TEXT, TEXT],
        &[BOOL],
    ),
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
    ("SELECT ARRAY[", &[], &[TEXTS]),
];

impl TargetSession {
    pub fn ranges(&mut self, sql: &str, params: &Params) -> Result<Answer, Stop> {
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
                    state.halted = state.halted.take().filter(|(_, hint)| !hint.starts_with("copy: "));
                });
                done.map(Answer::Done)
            });
        }
        panic!("the model's target does not know `{sql}`")
    }

    pub fn rereads(&mut self, sql: &str, params: &Params) -> Result<Answer, Stop> {
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

    /// `target_keys`.
    pub fn keys(&mut self, sql: &str) -> Result<Answer, Stop> {
        let (table, condition) = (table_in(sql), sql.find(" WHERE ").expect("a condition"));
        let behind = keys_in(&sql[condition..], SHAPES[table].key.len()).pop();
        self.within(|target, tx, _| {
            let keys = target.rows(tx, table).into_iter().filter_map(|(_, row)| key_of(table, &row));
            let mut keys: Vec<Vec<String>> = keys.filter(|key| behind.as_ref().is_none_or(|behind| key > behind)).collect();
            keys.sort();
            Ok(Answer::Rows(keys.into_iter().map(|key| vec![Value::Texts(key)]).collect()))
        })
    }
}

fn ranges_of(target: &Target, tx: &Tx, table: usize) -> Vec<Key> {
    target.all(tx).into_keys().filter(|key| matches!(key, Key::Range(of, _) if *of == table)).collect()
}
