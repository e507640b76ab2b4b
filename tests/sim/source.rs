//! The source: a heap of row versions under transactions, locks and snapshots, and the WAL that comes of it.

use super::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

pub type Cells = Vec<Option<String>>;

/// All rows of all tables: each with how often it is there.
pub type Fold = BTreeMap<(usize, Cells), usize>;

/// A table as both sides have it.
pub struct Shape {
    pub name: &'static str,
    pub columns: &'static [&'static str],
    pub key: &'static [usize],
    /// A column with a unique index of its own.
    pub unique: Option<usize>,
    /// A column whose values are large: an update that leaves it alone does not send it.
    pub large: Option<usize>,
    /// REPLICA IDENTITY FULL.
    pub full: bool,
}

pub const SHAPES: &[Shape] = &[
    Shape { name: "orders", columns: &["id", "code", "note", "size"], key: &[0], unique: Some(1), large: Some(2), full: false },
    Shape { name: "lines", columns: &["a", "b", "text"], key: &[0, 1], unique: None, large: Some(2), full: false },
    Shape { name: "seats", columns: &["id", "code", "note"], key: &[0], unique: Some(1), large: Some(2), full: true },
    Shape { name: "clicks", columns: &["who", "what"], key: &[], unique: None, large: None, full: true },
];

/// One version of a row.
#[derive(Clone, Debug)]
struct Tuple {
    row: Cells,
    block: u32,
    xmin: u64,
    xmax: Option<u64>,
}

#[derive(Debug)]
pub struct Table {
    pub file: u32,
    pub blocks: u32,
    heap: Vec<Tuple>,
    /// Transactions that read it.
    pub readers: BTreeSet<u64>,
    /// Who has it to himself, until he is visible.
    owner: Option<u64>,
}

#[derive(Clone, Debug)]
pub enum Change {
    Insert(Cells),
    /// Old, new, and whether the large value stays as it is.
    Update(Cells, Cells, bool),
    Delete(Cells),
    Truncate,
    /// Somebody's logical message.
    Mark,
}

/// A transaction in the WAL.
#[derive(Clone, Debug)]
pub struct Commit {
    pub xid: u64,
    pub lsn: u64,
    pub end: u64,
    pub changes: Vec<(usize, Change)>,
    /// What the tables hold after it.
    pub fold: Fold,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Status {
    Open,
    /// In the WAL, and visible to others from then on.
    Committed(Instant),
    Aborted,
}

/// What a transaction sees.
#[derive(Clone, Debug)]
pub struct Snapshot {
    xmax: u64,
    running: Vec<u64>,
}

impl Snapshot {
    fn sees(&self, xid: u64) -> bool {
        xid < self.xmax && !self.running.contains(&xid)
    }

    pub fn text(&self) -> String {
        let list: Vec<String> = self.running.iter().map(u64::to_string).collect();
        format!("{}:{}:{}", self.running.first().unwrap_or(&self.xmax), self.xmax, list.join(","))
    }
}

pub struct Source {
    pub tables: Vec<Table>,
    statuses: BTreeMap<u64, Status>,
    pub next_xid: u64,
    first_xid: u64,
    pub wal: u64,
    pub commits: Vec<Commit>,
    fold: Fold,
    open: BTreeMap<u64, Vec<(usize, Change)>>,
    /// How far the slot is confirmed, and how far that is on disk.
    pub confirmed: u64,
    pub confirmed_on_disk: u64,
    /// Who reads the slot, where one at a time may.
    pub reader: Option<u64>,
    /// Counts restarts.
    pub life: u64,
    names: u64,
}

pub const BLOCK_ROWS: usize = 2;

impl Source {
    pub fn new(rng: &mut Rng) -> Self {
        // most often the 32 bits that the stream shows are about to begin anew
        let base = *rng.pick(&[800_u64, (1 << 32) - 20, (3 << 32) - 60, (5 << 32) + 7]);
        let table = |number: usize| Table {
            file: 100 + u32::try_from(number).expect("few"),
            blocks: 0,
            heap: Vec::new(),
            readers: BTreeSet::new(),
            owner: None,
        };
        Self {
            tables: (0..SHAPES.len()).map(table).collect(),
            statuses: BTreeMap::new(),
            next_xid: base,
            first_xid: base,
            wal: 0x100_0000,
            commits: Vec::new(),
            fold: Fold::new(),
            open: BTreeMap::new(),
            confirmed: 0,
            confirmed_on_disk: 0,
            reader: None,
            life: 0,
            names: 0,
        }
    }

    fn visible(&self, xid: u64) -> bool {
        match self.statuses.get(&xid) {
            None => xid < self.first_xid,
            Some(Status::Committed(at)) => *at <= Instant::now(),
            Some(Status::Aborted) => true,
            Some(Status::Open) => false,
        }
    }

    /// Ended, for others: their locks are free.
    fn is_free(&self, xid: u64) -> bool {
        self.visible(xid)
    }

    fn aborted(&self, xid: u64) -> bool {
        self.statuses.get(&xid) == Some(&Status::Aborted)
    }

    fn committed(&self, xid: u64) -> bool {
        matches!(self.statuses.get(&xid), Some(Status::Committed(_)))
    }

    pub fn snapshot(&self) -> Snapshot {
        let ended = |&&xid: &&u64| self.visible(xid);
        let xmax = self.statuses.keys().rev().find(ended).map_or(self.first_xid, |xid| xid + 1);
        let running = self.statuses.keys().filter(|&&xid| xid < xmax && !self.visible(xid)).copied().collect();
        Snapshot { xmax, running }
    }

    pub fn draw_xid(&mut self) -> u64 {
        let xid = self.next_xid;
        self.next_xid += 1;
        self.statuses.insert(xid, Status::Open);
        xid
    }

    /// Takes an id and gives it back.
    pub fn draw_and_abort(&mut self) {
        let xid = self.draw_xid();
        self.statuses.insert(xid, Status::Aborted);
    }

    /// The rows of some blocks, or all.
    pub fn read(&self, table: usize, snapshot: &Snapshot, blocks: Option<(u32, u32)>) -> Vec<Cells> {
        let seen = |tuple: &&Tuple| {
            let inserted = self.committed(tuple.xmin) && snapshot.sees(tuple.xmin);
            let deleted = tuple.xmax.is_some_and(|xid| self.committed(xid) && snapshot.sees(xid));
            inserted && !deleted && blocks.is_none_or(|(from, until)| (from..until).contains(&tuple.block))
        };
        let mut rows: Vec<&Tuple> = self.tables[table].heap.iter().filter(seen).collect();
        rows.sort_by_key(|tuple| tuple.block);
        rows.into_iter().map(|tuple| tuple.row.clone()).collect()
    }

    /// Whether a table may be read, as far as locks go.
    pub fn may_read(&self, table: usize) -> bool {
        self.tables[table].owner.is_none_or(|xid| self.is_free(xid))
    }

    pub fn begin(&mut self) -> u64 {
        let xid = self.draw_xid();
        self.open.insert(xid, Vec::new());
        xid
    }

    pub fn open(&self) -> Vec<u64> {
        self.open.keys().copied().collect()
    }

    fn place(&mut self, table: usize, rng: &mut Rng) -> u32 {
        let at = &mut self.tables[table];
        let room: Vec<u32> = (0..at.blocks)
            .filter(|&block| at.heap.iter().filter(|tuple| tuple.block == block && tuple.xmax.is_none()).count() < BLOCK_ROWS)
            .collect();
        if room.is_empty() || rng.percent(25) {
            at.blocks += 1;
            at.blocks - 1
        } else {
            *rng.pick(&room)
        }
    }

    fn insert(&mut self, table: usize, xid: u64, row: Cells, rng: &mut Rng) {
        let block = self.place(table, rng);
        self.tables[table].heap.push(Tuple { row, block, xmin: xid, xmax: None });
    }

    /// Rows that a transaction may change: the newest, which nobody else holds.
    fn free_rows(&self, table: usize, xid: u64) -> Vec<usize> {
        let mine = |other: u64| other == xid || self.is_free(other);
        let tuples = self.tables[table].heap.iter().enumerate();
        let live = |tuple: &Tuple| !self.aborted(tuple.xmin) && tuple.xmax.is_none() && mine(tuple.xmin);
        tuples.filter(|(_, tuple)| live(tuple)).map(|(at, _)| at).collect()
    }

    /// Whether a row would break, or wait for, a unique index.
    fn collides(&self, table: usize, xid: u64, row: &Cells, but: Option<usize>) -> bool {
        let shape = &SHAPES[table];
        self.tables[table].heap.iter().enumerate().any(|(at, tuple)| {
            let gone = tuple.xmax.is_some_and(|by| by == xid || self.is_free(by) && !self.aborted(by));
            if Some(at) == but || self.aborted(tuple.xmin) || gone {
                return false;
            }
            let key = !shape.key.is_empty() && shape.key.iter().all(|&column| tuple.row[column] == row[column]);
            key || shape.unique.is_some_and(|column| row[column].is_some() && tuple.row[column] == row[column])
        })
    }

    fn fresh(&mut self, large: bool) -> String {
        self.names += 1;
        if large { format!("large{}", self.names) } else { format!("v{}", self.names) }
    }

    fn new_row(&mut self, table: usize, rng: &mut Rng) -> Cells {
        let shape = &SHAPES[table];
        (0..shape.columns.len())
            .map(|column| {
                if shape.key.contains(&column) {
                    let range = if shape.key.len() > 1 { 4 } else { 12 };
                    Some(rng.below(range).to_string())
                } else if shape.unique == Some(column) {
                    (!rng.percent(20)).then(|| format!("u{}", rng.below(8)))
                } else if shape.key.is_empty() {
                    (!rng.percent(20)).then(|| format!("w{}", rng.below(3)))
                } else {
                    (!rng.percent(15)).then(|| self.fresh(shape.large == Some(column)))
                }
            })
            .collect()
    }

    /// One statement of a transaction, if nothing is in its way.
    pub fn statement(&mut self, xid: u64, rng: &mut Rng) {
        self.statement_but(xid, SHAPES.len(), rng);
    }

    /// One of the first so many tables.
    pub fn statement_but(&mut self, xid: u64, tables: usize, rng: &mut Rng) {
        let table = rng.index(tables);
        if self.tables[table].owner.is_some_and(|owner| owner != xid && !self.is_free(owner)) {
            return;
        }
        let rows = self.free_rows(table, xid);
        match rng.below(100) {
            0..25 => self.try_insert(table, xid, rng),
            25..72 if !rows.is_empty() => self.try_update(table, xid, *rng.pick(&rows), rng),
            72..82 if !rows.is_empty() => {
                let at = *rng.pick(&rows);
                self.delete(table, xid, at);
            }
            82..98 => self.hand_over(table, xid, &rows, rng),
            _ => self.try_insert(table, xid, rng),
        }
    }

    pub fn try_insert(&mut self, table: usize, xid: u64, rng: &mut Rng) {
        let row = self.new_row(table, rng);
        if !self.collides(table, xid, &row, None) {
            self.insert(table, xid, row.clone(), rng);
            self.log(xid, table, Change::Insert(row));
        }
    }

    fn log(&mut self, xid: u64, table: usize, change: Change) {
        self.open.get_mut(&xid).expect("an open transaction").push((table, change));
    }

    fn try_update(&mut self, table: usize, xid: u64, at: usize, rng: &mut Rng) {
        let shape = &SHAPES[table];
        let old = self.tables[table].heap[at].row.clone();
        let fresh = self.new_row(table, rng);
        let mut new = old.clone();
        for column in 0..new.len() {
            let changes = if shape.key.contains(&column) {
                rng.percent(12)
            } else if shape.large == Some(column) {
                rng.percent(25)
            } else {
                rng.percent(50)
            };
            if changes {
                new[column].clone_from(&fresh[column]);
            }
        }
        let untouched = shape.large.is_some_and(|column| new[column] == old[column] && new[column].is_some());
        self.update(table, xid, at, new, untouched, rng);
    }

    fn update(&mut self, table: usize, xid: u64, at: usize, new: Cells, untouched: bool, rng: &mut Rng) {
        if self.collides(table, xid, &new, Some(at)) {
            return;
        }
        let old = self.tables[table].heap[at].row.clone();
        self.tables[table].heap[at].xmax = Some(xid);
        self.insert(table, xid, new.clone(), rng);
        self.log(xid, table, Change::Update(old, new, untouched));
    }

    fn delete(&mut self, table: usize, xid: u64, at: usize) {
        let old = self.tables[table].heap[at].row.clone();
        self.tables[table].heap[at].xmax = Some(xid);
        self.log(xid, table, Change::Delete(old));
    }

    /// One row gives its unique value to another; or a key is deleted and inserted anew.
    fn hand_over(&mut self, table: usize, xid: u64, rows: &[usize], rng: &mut Rng) {
        let (Some(column), true) = (SHAPES[table].unique, rows.len() > 1) else { return };
        let (from, to) = (*rng.pick(rows), *rng.pick(rows));
        if from == to {
            return;
        }
        let value = self.tables[table].heap[from].row[column].clone();
        let (mut giver, mut taker) = (self.tables[table].heap[from].row.clone(), self.tables[table].heap[to].row.clone());
        giver[column] = None;
        taker[column] = value;
        let large = |row: &Cells| SHAPES[table].large.is_some_and(|column| row[column].is_some());
        let (first, second) = (large(&giver), large(&taker));
        self.update(table, xid, from, giver, first, rng);
        self.update(table, xid, to, taker, second, rng);
    }

    pub fn abort(&mut self, xid: u64) {
        self.open.remove(&xid);
        self.statuses.insert(xid, Status::Aborted);
        for table in &mut self.tables {
            table.heap.retain(|tuple| tuple.xmin != xid);
            table.heap.iter_mut().filter(|tuple| tuple.xmax == Some(xid)).for_each(|tuple| tuple.xmax = None);
        }
    }

    /// Puts the commit into the WAL. Others see it `late`.
    pub fn commit(&mut self, xid: u64, late: Duration) -> u64 {
        let changes = self.open.remove(&xid).expect("an open transaction");
        self.statuses.insert(xid, Status::Committed(Instant::now() + late));
        for (table, change) in &changes {
            match change {
                Change::Insert(row) => add(&mut self.fold, *table, row),
                Change::Update(old, new, _) => {
                    take(&mut self.fold, *table, old);
                    add(&mut self.fold, *table, new);
                }
                Change::Delete(old) => take(&mut self.fold, *table, old),
                Change::Truncate => self.fold.retain(|(of, _), _| of != table),
                Change::Mark => {}
            }
        }
        self.wal += 40;
        let lsn = self.wal;
        self.wal += 48;
        let fold = self.fold.clone();
        self.commits.push(Commit { xid, lsn, end: self.wal, changes, fold });
        lsn
    }

    /// Nobody else is at a table.
    fn is_alone(&self, table: usize) -> bool {
        let at = &self.tables[table];
        let touched = |tuple: &Tuple| !self.is_free(tuple.xmin) || tuple.xmax.is_some_and(|xid| !self.is_free(xid));
        at.readers.is_empty() && self.may_read(table) && !at.heap.iter().any(touched)
    }

    pub fn truncate(&mut self, table: usize, late: Duration) {
        if !self.is_alone(table) {
            return;
        }
        let xid = self.begin();
        self.log(xid, table, Change::Truncate);
        let at = &mut self.tables[table];
        at.heap.clear();
        (at.blocks, at.owner) = (0, Some(xid));
        at.file += 1000;
        self.commit(xid, late);
    }

    /// VACUUM FULL: all rows move, and the WAL says nothing of it.
    pub fn rewrite(&mut self, table: usize, rng: &mut Rng) {
        if !self.is_alone(table) {
            return;
        }
        let xid = self.draw_xid();
        self.statuses.insert(xid, Status::Committed(Instant::now()));
        let mut heap = std::mem::take(&mut self.tables[table].heap);
        heap.retain(|tuple| tuple.xmax.is_none());
        self.tables[table].blocks = 0;
        self.tables[table].file += 1000;
        while !heap.is_empty() {
            let mut tuple = heap.swap_remove(rng.index(heap.len()));
            tuple.block = self.place(table, rng);
            self.tables[table].heap.push(tuple);
        }
    }

    /// A transactional message, which waits for no standby.
    pub fn mark(&mut self) -> u64 {
        let before = self.wal;
        let xid = self.begin();
        self.log(xid, 0, Change::Mark);
        self.commit(xid, Duration::ZERO);
        before
    }

    /// All that was open is gone, all that was committed is visible, and the slot is where its file says.
    pub fn restart(&mut self) {
        for xid in self.open() {
            self.abort(xid);
        }
        for status in self.statuses.values_mut() {
            match status {
                Status::Committed(at) => *at = (*at).min(Instant::now()),
                Status::Open => *status = Status::Aborted,
                Status::Aborted => {}
            }
        }
        self.tables.iter_mut().for_each(|table| table.readers.clear());
        self.confirmed = self.confirmed_on_disk;
        self.reader = None;
        self.life += 1;
    }

    /// When the last that is not visible yet will be.
    pub fn all_visible(&self) -> bool {
        self.statuses.values().all(|status| match status {
            Status::Committed(at) => *at <= Instant::now(),
            Status::Open => false,
            Status::Aborted => true,
        })
    }
}

fn add(fold: &mut Fold, table: usize, row: &Cells) {
    *fold.entry((table, row.clone())).or_default() += 1;
}

fn take(fold: &mut Fold, table: usize, row: &Cells) {
    let key = (table, row.clone());
    match fold.get_mut(&key) {
        Some(count) if *count > 1 => *count -= 1,
        Some(_) => drop(fold.remove(&key)),
        None => panic!("the model's source deletes a row that it does not have: {key:?}"),
    }
}
