//! The target: rows and control tables under transactions, savepoints, row locks and unique indexes, READ COMMITTED. Values that nobody
//! has committed are seen by their transaction alone; whoever wants what another holds waits.

use super::source::{Cells, Fold, SHAPES};
use super::wire::{Answer, Refusal};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// What a lock, or a value, is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A lock only.
    Table(usize),
    /// A lock only: a value of a unique index.
    Unique(usize, String),
    Row(usize, Vec<String>),
    /// A row of a table without a key, by its number.
    Loose(usize, u64),
    Checkpoint(String, i32),
    State(usize),
    Range(usize, i32),
    Reread(usize, Vec<String>),
    /// Topic, marker, partition.
    Barrier(String, String, i32),
    Watermark,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Val {
    Row(Cells),
    Checkpoint(Checkpoint),
    State(State),
    Range(Range),
    Reread(Reread),
    Offset(i64),
    Watermark(u64, BTreeMap<String, Vec<i64>>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    pub epoch: i64,
    pub position: Option<String>,
    pub end: Option<u64>,
    pub offset: Option<i64>,
    pub capture_epoch: i64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// `new`, `copy` or `follow`.
    pub state: String,
    pub lacks: Option<String>,
    pub halted: Option<(String, String)>,
    pub window: Option<u64>,
    pub repeats: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    pub text: String,
    pub done: bool,
    pub rows: i64,
    pub bytes: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Reread {
    pub id: i64,
    pub tries: u32,
    pub asked: Instant,
}

#[derive(Debug, Default)]
struct Lock {
    exclusive: Option<u64>,
    shared: BTreeSet<u64>,
}

#[derive(Default)]
pub struct Target {
    pub committed: BTreeMap<Key, Val>,
    locks: BTreeMap<Key, Lock>,
    serial: u64,
    /// Counts restarts.
    pub life: u64,
    pub epochs: i64,
    /// No row of this table fits a constraint that somebody has added, until then.
    pub barred: Option<(usize, Instant)>,
}

type Overlay = BTreeMap<Key, Option<Val>>;

/// A transaction, open.
#[derive(Clone, Debug, Default)]
pub struct Tx {
    pub id: u64,
    pub overlay: Overlay,
    pub savepoints: Vec<(String, Overlay)>,
    pub failed: bool,
}

/// Why a statement ends early.
pub enum Stop {
    Wait,
    Refused(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

/// A statement's end, as its session tells it.
pub fn settle(done: Result<Answer, Stop>) -> Result<Answer, Refusal> {
    match done {
        Ok(answer) => Ok(answer),
        Err(Stop::Wait) => Ok(Answer::Wait),
        Err(Stop::Refused(refusal)) => Err(refusal),
    }
}

impl Target {
    pub fn begin(&mut self) -> Tx {
        self.serial += 1;
        Tx { id: self.serial, ..Tx::default() }
    }

    pub fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub fn release(&mut self, tx: u64) {
        self.locks.retain(|_, lock| {
            lock.shared.remove(&tx);
            lock.exclusive = lock.exclusive.filter(|&owner| owner != tx);
            lock.exclusive.is_some() || !lock.shared.is_empty()
        });
    }

    pub fn commit(&mut self, tx: Tx) {
        for (key, value) in tx.overlay {
            match value {
                Some(value) => drop(self.committed.insert(key, value)),
                None => drop(self.committed.remove(&key)),
            }
        }
        self.release(tx.id);
    }

    pub fn restart(&mut self) {
        self.locks.clear();
        self.life += 1;
    }

    pub fn lock(&mut self, tx: &Tx, key: &Key) -> Result<(), Stop> {
        let lock = self.locks.entry(key.clone()).or_default();
        let free = lock.exclusive.is_none_or(|owner| owner == tx.id) && lock.shared.iter().all(|&owner| owner == tx.id);
        if !free {
            return Err(Stop::Wait);
        }
        lock.exclusive = Some(tx.id);
        Ok(())
    }

    pub fn share(&mut self, tx: &Tx, key: &Key) -> Result<(), Stop> {
        let lock = self.locks.entry(key.clone()).or_default();
        if lock.exclusive.is_some_and(|owner| owner != tx.id) {
            return Err(Stop::Wait);
        }
        lock.shared.insert(tx.id);
        Ok(())
    }

    /// What a transaction sees.
    pub fn get(&self, tx: &Tx, key: &Key) -> Option<Val> {
        tx.overlay.get(key).cloned().unwrap_or_else(|| self.committed.get(key).cloned())
    }

    pub fn all(&self, tx: &Tx) -> BTreeMap<Key, Val> {
        let mut all = self.committed.clone();
        for (key, value) in &tx.overlay {
            match value {
                Some(value) => drop(all.insert(key.clone(), value.clone())),
                None => drop(all.remove(key)),
            }
        }
        all
    }

    /// The same, in no order, and nothing copied.
    pub fn each<'t>(&'t self, tx: &'t Tx) -> impl Iterator<Item = (&'t Key, &'t Val)> {
        let base = self.committed.iter().filter(|(key, _)| !tx.overlay.contains_key(key));
        base.chain(tx.overlay.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))))
    }

    pub fn put(&mut self, tx: &mut Tx, key: Key, value: Option<Val>) -> Result<(), Stop> {
        self.lock(tx, &key)?;
        tx.overlay.insert(key, value);
        Ok(())
    }

    /// Adds a row. `conflict`: an equal key is overwritten.
    pub fn add(&mut self, tx: &mut Tx, table: usize, row: &Cells, conflict: bool) -> Result<(), Stop> {
        self.fits(table)?;
        self.share(tx, &Key::Table(table))?;
        let shape = &SHAPES[table];
        let key = match key_of(table, row) {
            Some(key) => Key::Row(table, key),
            None => Key::Loose(table, self.serial()),
        };
        self.lock(tx, &key)?;
        let old = match self.get(tx, &key) {
            Some(_) if !conflict => return Err(unique(table, "the key").into()),
            Some(Val::Row(old)) => Some(old),
            _ => None,
        };
        if let Some(column) = shape.unique {
            self.free_unique(tx, table, old.as_ref().and_then(|old| old[column].as_ref()), row[column].as_ref())?;
        }
        tx.overlay.insert(key, Some(Val::Row(row.clone())));
        Ok(())
    }

    fn fits(&self, table: usize) -> Result<(), Stop> {
        match self.barred {
            Some((barred, until)) if barred == table && Instant::now() < until => {
                Err(refused("23514", table, "a row violates a check constraint").into())
            }
            _ => Ok(()),
        }
    }

    /// A unique index is at its value, or may come to it.
    fn free_unique(&mut self, tx: &Tx, table: usize, old: Option<&String>, new: Option<&String>) -> Result<(), Stop> {
        if let Some(old) = old {
            self.lock(tx, &Key::Unique(table, old.clone()))?;
        }
        let Some(new) = new.filter(|new| old != Some(new)) else { return Ok(()) };
        self.lock(tx, &Key::Unique(table, new.clone()))?;
        let column = SHAPES[table].unique.expect("it was asked for");
        let taken = self.rows(tx, table).into_iter().any(|(_, row)| row[column].as_ref() == Some(new));
        if taken { Err(unique(table, "a unique value").into()) } else { Ok(()) }
    }

    pub fn rows(&self, tx: &Tx, table: usize) -> Vec<(Key, Cells)> {
        let of = |key: &Key| matches!(key, Key::Row(at, _) | Key::Loose(at, _) if *at == table);
        let base = self.committed.iter().filter(|(key, _)| of(key) && !tx.overlay.contains_key(key));
        let own = tx.overlay.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))).filter(|(key, _)| of(key));
        base.chain(own)
            .map(|(key, value)| match value {
                Val::Row(row) => (key.clone(), row.clone()),
                other => panic!("{other:?} is no row"),
            })
            .collect()
    }

    /// Takes a row away. Gives what it was.
    pub fn remove(&mut self, tx: &mut Tx, table: usize, key: &Key) -> Result<Option<Cells>, Stop> {
        self.share(tx, &Key::Table(table))?;
        self.lock(tx, key)?;
        let Some(Val::Row(row)) = self.get(tx, key) else { return Ok(None) };
        if let Some(Some(value)) = SHAPES[table].unique.map(|column| row[column].clone()) {
            self.lock(tx, &Key::Unique(table, value))?;
        }
        tx.overlay.insert(key.clone(), None);
        Ok(Some(row))
    }

    /// Changes a row that is there.
    pub fn change(&mut self, tx: &mut Tx, table: usize, key: &Key, new: &Cells) -> Result<(), Stop> {
        self.fits(table)?;
        self.share(tx, &Key::Table(table))?;
        self.lock(tx, key)?;
        let Some(Val::Row(old)) = self.get(tx, key) else { return Ok(()) };
        if let Some(column) = SHAPES[table].unique {
            self.free_unique(tx, table, old[column].as_ref(), new[column].as_ref())?;
            if old[column] == new[column] {
                tx.overlay.insert(key.clone(), Some(Val::Row(new.clone())));
                return Ok(());
            }
        }
        tx.overlay.insert(key.clone(), Some(Val::Row(new.clone())));
        Ok(())
    }

    pub fn empty(&mut self, tx: &mut Tx, table: usize) -> Result<(), Stop> {
        self.lock(tx, &Key::Table(table))?;
        for (key, _) in self.rows(tx, table) {
            self.lock(tx, &key)?;
            tx.overlay.insert(key, None);
        }
        Ok(())
    }

    /// The committed rows of all tables.
    pub fn fold(&self) -> Fold {
        let mut fold = Fold::new();
        for (key, value) in &self.committed {
            if let (Key::Row(table, _) | Key::Loose(table, _), Val::Row(row)) = (key, value) {
                *fold.entry((*table, row.clone())).or_default() += 1;
            }
        }
        fold
    }
}

/// `None`: the table has no key.
pub fn key_of(table: usize, row: &Cells) -> Option<Vec<String>> {
    let key = SHAPES[table].key;
    (!key.is_empty()).then(|| key.iter().map(|&column| row[column].clone().expect("keys are not null")).collect())
}

fn unique(table: usize, what: &str) -> Refusal {
    refused("23505", table, &format!("duplicate key value violates {what}"))
}

fn refused(code: &'static str, table: usize, what: &str) -> Refusal {
    let mut refusal = Refusal::new(code, what.to_owned());
    refusal.table = Some(("shop".to_owned(), SHAPES[table].name.to_owned()));
    refusal
}
