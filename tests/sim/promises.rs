//! What the Kafka log promises while it runs. Checkpoints never move backwards. And where the watermark says that the target holds a place of
//! the source, and nothing is open, each row is as it was there or at some later change: never older, never anything else.

use super::source::{Cells, Change, Commit, Fold, SHAPES};
use super::target::{Key, Val, key_of};
use super::world::World;
use crate::change::{Lsn, Position};
use std::collections::{BTreeMap, BTreeSet};

/// The farthest that each partition has been.
pub type Checkpoints = BTreeMap<(String, i32), (i64, Option<Position>, i64)>;

type Row = (usize, Vec<String>);

impl World {
    /// How far the watermark says that the target is; `None`: not that far yet.
    pub fn held(&self) -> Option<u64> {
        let Some(Val::Watermark(end, ends)) = self.target.committed.get(&Key::Watermark) else { return None };
        let offset = |topic: &String, partition| match self.target.committed.get(&Key::Checkpoint(topic.clone(), partition)) {
            Some(Val::Checkpoint(found)) => found.offset.unwrap_or(0),
            _ => 0,
        };
        let reached =
            |(topic, ends): (&String, &Vec<i64>)| (0..).zip(ends).all(|(partition, end)| offset(topic, partition) >= *end);
        ends.iter().filter(|(topic, _)| !topic.ends_with(".tablelift")).all(reached).then_some(*end)
    }

    /// A copy, a re-read, or a table that stands still.
    pub fn is_open_at(&self, end: u64) -> bool {
        self.target.committed.iter().any(|(key, value)| match (key, value) {
            (Key::State(_), Val::State(state)) => {
                state.state != "follow"
                    || state.lacks.is_some()
                    || state.halted.is_some()
                    || state.window.is_some_and(|window| window > end)
            }
            (Key::Reread(..), _) => true,
            _ => false,
        })
    }

    pub fn keeps_promises(&mut self) -> Result<(), String> {
        self.never_backwards()?;
        let Some(end) = self.held().filter(|end| !self.is_open_at(*end)) else { return Ok(()) };
        self.seen.consistent += 1;
        let (before, behind) = self.source.commits.split_at(self.source.commits.partition_point(|commit| commit.end <= end));
        let empty = Fold::new();
        let base = before.last().map_or(&empty, |commit| &commit.fold);
        let found = self.target.fold();
        let wrong = difference(base, &found, behind);
        wrong.map_or(Ok(()), |wrong| Err(format!("the target is said to hold {}: {wrong}", Lsn(end))))
    }

    fn never_backwards(&mut self) -> Result<(), String> {
        for (key, value) in &self.target.committed {
            let (Key::Checkpoint(topic, partition), Val::Checkpoint(found)) = (key, value) else { continue };
            let position = found.position.as_ref().map(|text| text.parse::<Position>().expect("a position"));
            let now = (found.offset.unwrap_or(0), position, found.capture_epoch);
            let seen = self.checkpoints.entry((topic.clone(), *partition)).or_insert(now);
            if now.0 < seen.0 || now.1 < seen.1 || now.2 < seen.2 {
                return Err(format!("the checkpoint of {topic}/{partition} goes back from {seen:?} to {now:?}"));
            }
            *seen = now;
        }
        Ok(())
    }
}

/// What of the target is neither of the place that it is said to hold nor of any change behind that.
fn difference(base: &Fold, found: &Fold, behind: &[Commit]) -> Option<String> {
    let (mut later, mut emptied): (BTreeMap<Row, Vec<Option<&Cells>>>, BTreeSet<usize>) = Default::default();
    for (table, change) in behind.iter().flat_map(|commit| &commit.changes) {
        let mut comes = |row, is| {
            let key = key_of(*table, row).unwrap_or_default();
            later.entry((*table, key)).or_default().push(is);
        };
        match change {
            Change::Insert(new) => comes(new, Some(new)),
            Change::Update(old, new, _) => {
                comes(old, None);
                comes(new, Some(new));
            }
            Change::Delete(old) => comes(old, None),
            Change::Truncate => drop(emptied.insert(*table)),
            Change::Mark => {}
        }
    }
    let rows = |fold: &'_ Fold| -> BTreeMap<Row, Cells> {
        fold.keys().filter_map(|(table, row)| Some(((*table, key_of(*table, row)?), row.clone()))).collect()
    };
    let (then, now) = (rows(base), rows(found));
    for key in then.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
        let is = now.get(key);
        let other = later.get(key).is_some_and(|states| states.contains(&is)) || is.is_none() && emptied.contains(&key.0);
        if is != then.get(key) && !other {
            return Some(format!("{} {:?} is {is:?}, and was {:?}", SHAPES[key.0].name, key.1, then.get(key)));
        }
    }
    // rows without a key cannot be told apart: they are compared where nothing has come behind
    let keyless = |fold: &Fold| -> Fold {
        let of = |table: usize| SHAPES[table].key.is_empty();
        fold.iter().filter(|((table, _), _)| of(*table)).map(|(row, count)| (row.clone(), *count)).collect()
    };
    let quiet = (0..SHAPES.len())
        .filter(|&table| SHAPES[table].key.is_empty())
        .all(|table| !emptied.contains(&table) && !later.contains_key(&(table, Vec::new())));
    (quiet && keyless(base) != keyless(found)).then(|| format!("rows without a key: {:?}, {:?}", keyless(base), keyless(found)))
}
