//! The newest image per key of a batch, where sets may stand for the sequence. Pure.
//!
//! What cannot be told from the text of keys and rows (unsafe keys, an insert with unchanged values, two shapes of one table)
//! is not reduced: its changes go one by one.

use super::{Base, Item};
use crate::change::{Cell, Op, Row};
use crate::mapping::{Binding, KeyText, Kind, Partial, TablePlan};
use hashbrown::HashMap;
use std::{borrow::Cow, collections::BTreeMap};

/// What a batch comes to, per statement. Rows have the stream's layout; deletes hold the key's cells only.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sets {
    pub deletes: Vec<Row>,
    pub updates: BTreeMap<Partial, Vec<Row>>,
    pub upserts: Vec<Row>,
    pub inserts: Vec<Row>,
}

/// The state of one key at the end of the batch.
enum Slot {
    /// New in this batch: nothing of it is in the target.
    Insert(Row),
    Upsert(Row),
    Update(Row),
    Delete(Row),
}

type Key<'a> = Cow<'a, [u8]>;

/// Reduces one plan's changes; `None`: they must go one by one.
///
/// Where rows may be of a later moment, inserts may meet theirs.
pub(super) fn reduce(plan: &TablePlan, binding: &Binding, items: &[&Item]) -> Option<Sets> {
    if plan.kind != Kind::Keyed {
        return inserts_only(items);
    }
    if plan.key_text == KeyText::Unsafe {
        return None;
    }
    let mut slots: HashMap<Key<'_>, Slot> = HashMap::with_capacity(items.len());
    for item in items {
        let known = if item.base > Base::Exact { Known::Unknown } else { Known::New };
        let (old, new) = (item.change.before.row(), item.change.after.as_ref());
        if item.base == Base::Doubtful && new.is_some_and(Row::has_unchanged) {
            return None;
        }
        match (item.change.op, new) {
            (Op::Read | Op::Insert, Some(row)) => insert(plan, binding, &mut slots, row, known)?,
            (Op::Update, Some(row)) => update(plan, binding, &mut slots, (old, row), known)?,
            (Op::Delete, _) => {
                let old = old?;
                slots.insert(key(plan, binding, old)?, Slot::Delete(old.clone()));
            }
            _ => return None,
        }
    }
    Some(sets(plan, binding, slots))
}

/// What a row that the stream brings first in a batch is to the target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    New,
    Unknown,
}

impl Known {
    fn slot(self, row: Row) -> Slot {
        if self == Known::New { Slot::Insert(row) } else { Slot::Upsert(row) }
    }
}

/// Without a key, only pure insertion has no order.
fn inserts_only(items: &[&Item]) -> Option<Sets> {
    let rows = items.iter().map(|item| match item.change.op {
        Op::Read | Op::Insert => item.change.after.clone(),
        _ => None,
    });
    Some(Sets { inserts: rows.collect::<Option<Vec<Row>>>()?, ..Sets::default() })
}

fn insert<'a>(plan: &TablePlan, binding: &Binding, slots: &mut HashMap<Key<'a>, Slot>, row: &'a Row, known: Known) -> Option<()> {
    if !missing(plan, binding, row).is_empty() {
        return None;
    }
    let key = key(plan, binding, row)?;
    let slot = if slots.contains_key(&key) { Slot::Upsert(row.clone()) } else { known.slot(row.clone()) };
    slots.insert(key, slot);
    Some(())
}

fn update<'a>(
    plan: &TablePlan,
    binding: &Binding,
    slots: &mut HashMap<Key<'a>, Slot>,
    (old, new): (Option<&'a Row>, &'a Row),
    known: Known,
) -> Option<()> {
    let whole = missing(plan, binding, new).is_empty();
    let new_key = key(plan, binding, new)?;
    if let Some(old) = old.filter(|old| same_key(plan, binding, old, new) == Some(false)) {
        // a key change: delete(old) and insert(new), the unchanged values carried over where this batch has them
        let base = slots.insert(key(plan, binding, old)?, Slot::Delete(old.clone()));
        if broken!(KeyChangeLeaves) {
            slots.remove(&key(plan, binding, old)?);
        }
        let row = match (whole, base) {
            (true, _) => new.clone(),
            (false, Some(Slot::Insert(base) | Slot::Upsert(base))) => new.filled_from(&base),
            _ => return None,
        };
        let slot = if slots.contains_key(&new_key) { Slot::Upsert(row) } else { known.slot(row) };
        slots.insert(new_key, slot);
        return Some(());
    }
    let slot = match slots.get(&new_key) {
        Some(Slot::Insert(base)) => Slot::Insert(new.filled_from(base)),
        Some(Slot::Upsert(base)) => Slot::Upsert(new.filled_from(base)),
        _ if whole => Slot::Upsert(new.clone()),
        Some(Slot::Update(base)) => Slot::Update(new.filled_from(base)),
        None => Slot::Update(new.clone()),
        // a delete ends the older image: what lies behind it must not shine through
        Some(Slot::Delete(_)) => return None,
    };
    slots.insert(new_key, slot);
    Some(())
}

fn sets(plan: &TablePlan, binding: &Binding, slots: HashMap<Key<'_>, Slot>) -> Sets {
    let mut order: Vec<(SortKey<'_>, Slot)> = Vec::with_capacity(slots.len());
    let integer = plan.inputs[plan.key[0]].integer;
    let mut keys: Vec<(Key<'_>, Slot)> = slots.into_iter().collect();
    for (key, slot) in keys.drain(..) {
        order.push((SortKey::new(key, integer), slot));
    }
    // in the index's order, so that neighbouring rows share pages, and two writers never lock crosswise
    order.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut out = Sets::default();
    for (_, slot) in order {
        match slot {
            Slot::Insert(row) => out.inserts.push(row),
            Slot::Upsert(row) => out.upserts.push(row),
            Slot::Delete(row) => out.deletes.push(row),
            Slot::Update(row) => match missing(plan, binding, &row) {
                none if none.is_empty() => out.upserts.push(row),
                some => out.updates.entry(some).or_default().push(row),
            },
        }
    }
    out
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum SortKey<'a> {
    Number(i64, Key<'a>),
    Bytes(Key<'a>),
}

impl<'a> SortKey<'a> {
    fn new(key: Key<'a>, integer: bool) -> Self {
        let first = key.split(|&byte| byte == SEPARATOR).next().unwrap_or_default();
        let number = integer.then(|| std::str::from_utf8(first).ok()?.parse().ok()).flatten();
        match number {
            Some(number) => SortKey::Number(number, key),
            None => SortKey::Bytes(key),
        }
    }
}

/// Never in a value: PostgreSQL's text has no zero byte.
const SEPARATOR: u8 = 0;

/// The inputs that a row does not have.
pub(super) fn missing(plan: &TablePlan, binding: &Binding, row: &Row) -> Partial {
    if !row.has_unchanged() || broken!(UnchangedTaken) {
        return Partial::new();
    }
    let cells: Vec<Cell<'_>> = row.cells().collect();
    let is_missing = |input: &usize| binding.column(*input).and_then(|at| cells.get(at)) == Some(&Cell::Unchanged);
    (0..plan.inputs.len()).filter(is_missing).collect()
}

/// Whether the key's text is the same in both rows; `None` where a key cell is not there.
pub(super) fn same_key(plan: &TablePlan, binding: &Binding, old: &Row, new: &Row) -> Option<bool> {
    for &input in &plan.key {
        match (binding.cell(old, input)?, binding.cell(new, input)?) {
            (Cell::Text(old), Cell::Text(new)) if old == new => {}
            (Cell::Text(_), Cell::Text(_)) => return Some(false),
            _ => return None,
        }
    }
    Some(true)
}

/// The key as bytes that are equal exactly when the keys are.
fn key<'a>(plan: &TablePlan, binding: &Binding, row: &'a Row) -> Option<Key<'a>> {
    if let [input] = plan.key[..] {
        return match binding.cell(row, input)? {
            Cell::Text(text) => Some(Cow::Borrowed(canonical(plan.inputs[input].key_text, text))),
            _ => None,
        };
    }
    let mut whole = Vec::new();
    for &input in &plan.key {
        let Cell::Text(text) = binding.cell(row, input)? else { return None };
        whole.extend_from_slice(canonical(plan.inputs[input].key_text, text));
        whole.push(SEPARATOR);
    }
    Some(Cow::Owned(whole))
}

/// `1.00` and `1.0` are one numeric key.
fn canonical(kind: KeyText, text: &[u8]) -> &[u8] {
    if kind != KeyText::Numeric || !text.contains(&b'.') {
        return text;
    }
    let digits = text.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
    text[..digits].strip_suffix(b".").unwrap_or(&text[..digits])
}

#[cfg(test)]
mod tests;
