//! Whether the target's rows are all of one moment. Not while a copy is under way, nor while a row waits to be read again; and after either
//! only from the place of its snapshot on.

use crate::change::{EndLsn, Lsn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use tokio::sync::Notify;

/// Shared by the writer, the copy and the re-reads of a life.
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
}

impl Window {
    pub fn new(copying: bool, until: EndLsn) -> Self {
        Self(Arc::new(Inner {
            copying: AtomicBool::new(copying),
            until: AtomicU64::new(until.0.0),
            asked: AtomicU64::new(1),
            answered: AtomicU64::new(0),
            news: Notify::new(),
        }))
    }

    /// All rows of the copies are read.
    pub fn copied(&self) {
        self.0.copying.store(false, SeqCst);
    }

    /// Re-reads are recorded.
    pub fn asks(&self) {
        self.0.asked.fetch_add(1, SeqCst);
        self.0.news.notify_one();
    }

    /// To be taken before one looks whether any is open.
    pub fn asked(&self) -> u64 {
        self.0.asked.load(SeqCst)
    }

    /// None was open when so many had been asked for.
    pub fn answered(&self, asked: u64) {
        self.0.answered.store(asked, SeqCst);
    }

    pub fn has_open_rereads(&self) -> bool {
        self.0.answered.load(SeqCst) != self.asked()
    }

    /// Ends when one is asked for.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }

    /// Rows came under a snapshot whose place is this.
    pub fn reaches(&self, until: EndLsn) {
        self.0.until.fetch_max(until.0.0, SeqCst);
    }

    /// The target is of one moment, given how far the stream has come.
    pub fn is_closed_at(&self, end: EndLsn) -> bool {
        !self.0.copying.load(SeqCst) && !self.has_open_rereads() && end >= EndLsn(Lsn(self.0.until.load(SeqCst)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_open_until_the_last_snapshot_is_passed() {
        let at = |lsn| EndLsn(Lsn(lsn));
        let window = Window::new(false, at(10));
        assert!(!window.is_closed_at(at(20)), "nobody has looked for re-reads yet");
        window.answered(window.asked());
        assert!(window.is_closed_at(at(10)) && !window.is_closed_at(at(9)));
        let asked = window.asked();
        window.asks();
        window.answered(asked);
        assert!(!window.is_closed_at(at(20)), "one came while he looked");
        window.reaches(at(30));
        window.answered(window.asked());
        assert!(!window.is_closed_at(at(29)) && window.is_closed_at(at(30)));
        assert!(!Window::new(true, at(0)).is_closed_at(at(1)));
    }
}
