//! Whether the target's rows are of one moment, table by table. Not while a copy is under way, nor while a row waits to be read again; and
//! after either only from the place of its snapshot on: what the stream brings before that may come upon rows that are newer than itself.

use crate::apply::{Base, Item};
use crate::change::{EndLsn, Lsn, Op, Position, Row};
use hashbrown::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// Keys of one table that are remembered one by one: more, and all of its rows count as being read again.
const MOST_KEYS: usize = if cfg!(test) { 3 } else { 100_000 };

/// Shared by the writer, the copy and the re-reads of a life. Tables by the numbers of their plans (Kafka: of their topics).
#[derive(Clone)]
pub struct Window(Arc<Inner>);

struct Inner {
    copying: AtomicBool,
    until: AtomicU64,
    /// Re-reads that were asked for, all told; one more to begin with, for what an earlier life has left.
    asked: AtomicU64,
    /// As of so many, none is open.
    answered: AtomicU64,
    news: Notify,
    tables: Mutex<Vec<Marks>>,
}

/// What is known of one table.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Its copy is under way.
    copying: bool,
    /// It is, or was last, copied once more.
    repeated: bool,
    /// Chunks have entered under snapshots up to here.
    until: EndLsn,
    /// Keys whose rows wait to be read again (`None`), or were, and up to where.
    keys: HashMap<Vec<String>, Option<EndLsn>>,
    /// Too many to tell apart.
    any: bool,
}

impl Marks {
    /// As a life begins. `until`: what an earlier one has left.
    pub fn new(copying: bool, until: EndLsn) -> Self {
        Self { copying, until, ..Self::default() }
    }

    /// `repeated`: its copy is, or was, not its first.
    #[must_use]
    pub fn repeated(self, repeated: bool) -> Self {
        Self { repeated, ..self }
    }

    fn base(&self, position: Position) -> Base {
        let in_window = self.copying || position.commit.0 <= self.until.0;
        match in_window {
            true if self.repeated => Base::Doubtful,
            true => Base::Mixed,
            false if self.any => Base::Mixed,
            false => Base::Exact,
        }
    }

    /// The row of a key may be of another moment than the stream.
    fn is_marked(&self, key: &[String], position: Position) -> bool {
        self.keys.get(key).is_some_and(|until| until.is_none_or(|until| position.commit.0 <= until.0))
    }

    fn mark(&mut self, key: Vec<String>, until: Option<EndLsn>) {
        if self.keys.len() >= MOST_KEYS {
            self.any = true;
            return;
        }
        self.keys.insert(key, until);
    }
}

impl Window {
    /// `until`: what earlier lives have left, of all tables together.
    pub fn new(copying: bool, until: EndLsn, tables: Vec<Marks>) -> Self {
        Self(Arc::new(Inner {
            copying: AtomicBool::new(copying),
            until: AtomicU64::new(until.0.0),
            asked: AtomicU64::new(1),
            answered: AtomicU64::new(0),
            news: Notify::new(),
            tables: Mutex::new(tables),
        }))
    }

    fn tables(&self) -> MutexGuard<'_, Vec<Marks>> {
        self.0.tables.lock().expect("nothing panics while it holds the lock")
    }

    fn with(&self, table: usize, change: impl FnOnce(&mut Marks)) {
        if let Some(marks) = self.tables().get_mut(table) {
            change(marks);
        }
    }

    /// A chunk enters, in its turn.
    pub fn enters(&self, table: usize, until: EndLsn) {
        self.0.until.fetch_max(until.0.0, SeqCst);
        self.with(table, |marks| marks.until = marks.until.max(until));
    }

    /// A table's copy is complete, and recorded as such.
    pub fn completes(&self, table: usize, until: EndLsn) {
        self.0.until.fetch_max(until.0.0, SeqCst);
        self.with(table, |marks| {
            marks.until = marks.until.max(until);
            marks.copying = false;
        });
    }

    /// All copies are complete.
    pub fn copied(&self) {
        self.0.copying.store(false, SeqCst);
    }

    /// Re-reads are recorded.
    pub fn asks(&self, table: usize, keys: impl IntoIterator<Item = Vec<String>>) {
        self.with(table, |marks| keys.into_iter().for_each(|key| marks.mark(key, None)));
        self.0.asked.fetch_add(1, SeqCst);
        self.0.news.notify_one();
    }

    /// Rows that were read again enter, in their turn.
    pub fn rereads<'k>(&self, table: usize, keys: impl IntoIterator<Item = &'k Vec<String>>, until: EndLsn) {
        self.0.until.fetch_max(until.0.0, SeqCst);
        self.with(table, |marks| keys.into_iter().for_each(|key| marks.mark(key.clone(), Some(until))));
    }

    /// To be taken before one looks whether any is open.
    pub fn asked(&self) -> u64 {
        self.0.asked.load(SeqCst)
    }

    /// None was open when so many had been asked for.
    pub fn answered(&self, asked: u64) {
        self.0.answered.store(asked, SeqCst);
        if !self.has_open_rereads() {
            let until = EndLsn(Lsn(self.0.until.load(SeqCst)));
            for marks in self.tables().iter_mut() {
                marks.keys.retain(|_, read| read.is_some());
                if std::mem::take(&mut marks.any) {
                    marks.keys.clear();
                    marks.until = marks.until.max(until);
                }
            }
        }
    }

    pub fn has_open_rereads(&self) -> bool {
        self.0.answered.load(SeqCst) != self.asked()
    }

    /// Ends when one is asked for.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }

    /// The target is of one moment, given how far the stream has come.
    pub fn is_closed_at(&self, end: EndLsn) -> bool {
        !self.0.copying.load(SeqCst) && !self.has_open_rereads() && end >= EndLsn(Lsn(self.0.until.load(SeqCst)))
    }

    /// What is known of a table's rows where the stream stands.
    pub fn base(&self, table: usize, position: Position) -> Base {
        match self.tables().get(table) {
            Some(marks) => marks.base(position),
            None => Base::Exact,
        }
    }

    /// Says of changes what is known of their rows. Of a row's text `key` gives the key; `None`: it cannot be told from it.
    pub fn mark(&self, items: &mut [Item], key: impl Fn(&Item, &Row) -> Option<Vec<String>>) {
        if broken!(AlwaysExact) {
            return;
        }
        let mut tables = self.tables();
        let Some(first) = items.first().map(|item| item.change.position) else { return };
        for marks in tables.iter_mut().filter(|marks| !marks.keys.is_empty()) {
            marks.keys.retain(|_, until| until.is_none_or(|until| first.commit.0 <= until.0));
        }
        if !tables.iter().any(|marks| !marks.keys.is_empty() || marks.base(first) != Base::Exact) {
            return;
        }
        for item in items {
            let Some(marks) = tables.get(item.plan) else { continue };
            let position = item.change.position;
            let moves = || item.change.before.row().filter(|_| item.change.op == Op::Update && !marks.keys.is_empty());
            let marked = |row| key(item, row).is_none_or(|key| marks.is_marked(&key, position));
            // where it goes to there may be a row already, as where it comes from
            let either = |old| marked(old) || item.change.after.as_ref().is_some_and(marked);
            item.base = match marks.base(position) {
                Base::Exact if moves().is_some_and(either) => Base::Mixed,
                Base::Exact if !marks.keys.is_empty() => Base::Beside,
                base => base,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::CommitLsn;

    fn at(lsn: u64) -> EndLsn {
        EndLsn(Lsn(lsn))
    }

    fn place(lsn: u64) -> Position {
        Position::start_of(1, CommitLsn(Lsn(lsn)))
    }

    #[test]
    fn it_is_open_until_the_last_snapshot_is_passed() {
        let window = Window::new(false, at(10), vec![Marks::default()]);
        assert!(!window.is_closed_at(at(20)), "nobody has looked for re-reads yet");
        window.answered(window.asked());
        assert!(window.is_closed_at(at(10)) && !window.is_closed_at(at(9)));
        let asked = window.asked();
        window.asks(0, [vec!["1".to_owned()]]);
        window.answered(asked);
        assert!(!window.is_closed_at(at(20)), "one came while he looked");
        window.rereads(0, &[vec!["1".to_owned()]], at(30));
        window.answered(window.asked());
        assert!(!window.is_closed_at(at(29)) && window.is_closed_at(at(30)));
        assert!(!Window::new(true, at(0), Vec::new()).is_closed_at(at(1)));
    }

    #[test]
    fn a_chunk_concerns_its_table_up_to_its_snapshot() {
        let copying = Marks::new(true, at(0));
        let window = Window::new(true, at(0), vec![copying, Marks::default()]);
        window.enters(0, at(40));
        assert_eq!((window.base(0, place(50)), window.base(1, place(1))), (Base::Mixed, Base::Exact), "until that is recorded");
        window.completes(0, at(45));
        assert_eq!((window.base(0, place(45)), window.base(0, place(46))), (Base::Mixed, Base::Exact));
    }

    #[test]
    fn what_is_copied_once_more_is_doubted_up_to_its_window() {
        let window =
            Window::new(true, at(0), vec![Marks::new(true, at(0)).repeated(true), Marks::new(false, at(20)).repeated(true)]);
        assert_eq!((window.base(0, place(50)), window.base(1, place(20))), (Base::Doubtful, Base::Doubtful));
        assert_eq!(window.base(1, place(21)), Base::Exact);
        window.completes(0, at(45));
        assert_eq!((window.base(0, place(45)), window.base(0, place(46))), (Base::Doubtful, Base::Exact));
    }

    #[test]
    fn a_row_that_is_read_again_concerns_its_key() {
        let key = |text: &str| vec![text.to_owned()];
        let mut marks = Marks::default();
        marks.mark(key("1"), None);
        assert!(marks.is_marked(&key("1"), place(99)) && !marks.is_marked(&key("2"), place(1)));
        marks.mark(key("1"), Some(at(30)));
        assert!(marks.is_marked(&key("1"), place(30)) && !marks.is_marked(&key("1"), place(31)));
        (0..=MOST_KEYS).for_each(|nth| marks.mark(key(&nth.to_string()), None));
        assert_eq!(marks.base(place(99)), Base::Mixed, "too many to tell apart");
    }
}
