//! Source transactions that are known and not yet applied, in the order of the stream. Pure.

use crate::change::{CommitLsn, UnixMicros};
use std::collections::VecDeque;

/// Where each begins to wait, and since when it is committed.
#[derive(Debug, Default)]
pub(super) struct Waiting(VecDeque<(CommitLsn, UnixMicros)>);

impl Waiting {
    pub fn arrived(&mut self, transactions: &[(CommitLsn, UnixMicros)]) {
        self.0.extend(transactions);
    }

    /// Everything up to this commit is in the target, or needs not be.
    pub fn settled(&mut self, commit: CommitLsn) {
        while self.0.front().is_some_and(|(first, _)| *first <= commit) {
            self.0.pop_front();
        }
    }

    /// When the oldest was committed.
    pub fn oldest(&self) -> Option<UnixMicros> {
        self.0.front().map(|(_, committed_at)| *committed_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Lsn;

    #[test]
    fn the_oldest_counts_until_it_is_settled() {
        let at = |lsn| CommitLsn(Lsn(lsn));
        let mut waiting = Waiting::default();
        waiting.arrived(&[(at(10), 100), (at(20), 90), (at(30), 300)]);
        assert_eq!(waiting.oldest(), Some(100));
        waiting.settled(at(9));
        assert_eq!(waiting.oldest(), Some(100));
        waiting.settled(at(25));
        assert_eq!(waiting.oldest(), Some(300));
        waiting.settled(at(30));
        assert_eq!(waiting.oldest(), None);
    }
}
