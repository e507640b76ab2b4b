//! The statements of the plans, known by their text.

use super::source::{Cells, SHAPES};
use super::target::{Key, Stop, Target, Tx, Val, key_of};
use super::target_session::TargetSession;
use super::wire::{Answer, INT8, Params, Refusal, TEXTS, Value, optional_texts_param};
use crate::mapping::{CopyForm, Statement, TablePlan};
use std::collections::BTreeMap;

/// What the plans' own statements are, by their text.
#[derive(Default)]
pub struct Book(BTreeMap<String, Op>);

#[derive(Clone, Debug)]
pub enum Op {
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
            for form in [CopyForm::Binary, CopyForm::Text] {
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

    pub fn op(&self, sql: &str) -> Option<&Op> {
        self.0.get(sql)
    }

    /// The types of a statement's parameters and columns.
    pub fn describe(&self, sql: &str) -> Option<(Vec<u32>, Vec<u32>)> {
        let (params, columns) = match self.op(sql)? {
            Op::Plan(_, Statement::Update(_) | Statement::Move(_), params) => (*params, vec![TEXTS]),
            Op::Plan(_, Statement::DeleteOne, params) => (*params, vec![INT8]),
            Op::Plan(_, _, params) => (*params, Vec::new()),
            Op::Staged(_) => (0, vec![TEXTS]),
            Op::FromStaging(..) | Op::Sift(_) | Op::CopyIn(_) => (0, Vec::new()),
        };
        Some((vec![TEXTS; params], columns))
    }
}

impl TargetSession {
    pub fn planned(&mut self, op: &Op, params: &Params, copied: Option<&[u8]>) -> Result<Answer, Stop> {
        match op {
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
                let columns: Vec<Vec<Option<String>>> = (0..params.len()).map(|at| optional_texts_param(params, at)).collect();
                let rows: Vec<Cells> = (0..columns.first().map_or(0, Vec::len))
                    .map(|row| columns.iter().map(|column| column[row].clone()).collect())
                    .collect();
                self.within(|target, tx, _| plan_statement(target, tx, *number, statement, &rows))
            }
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
        Statement::Rekey(_) | Statement::Probe(..) => {
            unreachable!("nothing of the simulation's target fires, and no value is refused")
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

/// COPY's text form, of values that need no escapes.
pub fn lines(data: &[u8]) -> Vec<Cells> {
    let text = std::str::from_utf8(data).expect("UTF-8");
    let cell = |cell: &str| (cell != "\\N").then(|| cell.to_owned());
    text.lines().map(|line| line.split('\t').map(cell).collect()).collect()
}
