//! Rates of the stream over the last half minute, and what follows from them. Pure.

use crate::change::{EndLsn, Lsn};
use std::collections::VecDeque;

/// Seconds that a rate is taken over.
const OVER: u64 = 30;
/// WAL that a busy target is always behind by, in bytes: less is caught up.
const CLOSE: u64 = 1 << 20;

#[derive(Clone, Copy, Debug)]
struct Note {
    second: u64,
    written: Option<Lsn>,
    applied: Option<EndLsn>,
    safe: Option<u64>,
}

/// Where things stood in the last half minute.
#[derive(Debug, Default)]
pub struct Trend {
    notes: VecDeque<Note>,
}

impl Trend {
    /// `second` only grows. `safe`: bytes until the slot is lost.
    pub fn note(&mut self, second: u64, (written, applied): (Option<Lsn>, Option<EndLsn>), safe: Option<u64>) {
        while self.notes.front().is_some_and(|first| first.second + OVER < second) {
            self.notes.pop_front();
        }
        self.notes.push_back(Note { second, written, applied, safe });
    }

    /// How much per second, by first and last note that know it.
    fn rate(&self, of: impl Fn(&Note) -> Option<u64>) -> Option<u64> {
        let known = || self.notes.iter().filter_map(|note| Some((note.second, of(note)?)));
        let ((from, first), (to, last)) = (known().next()?, known().next_back()?);
        last.checked_sub(first)?.checked_div(to - from)
    }

    /// Seconds until the target is where the source is, which goes on meanwhile; `None`: at this rate never.
    pub fn caught_up_in(&self, bytes: u64) -> Option<u64> {
        if bytes < CLOSE {
            return Some(0);
        }
        let written = self.rate(|note| note.written.map(|lsn| lsn.0))?;
        let applied = self.rate(|note| note.applied.map(|end| end.0.0))?;
        bytes.checked_div(applied.checked_sub(written)?)
    }

    /// Seconds until the slot is lost; `None`: it does not come closer.
    pub fn lost_in(&self) -> Option<u64> {
        let left = self.notes.back()?.safe?;
        left.checked_div(self.rate(|note| note.safe.map(|safe| u64::MAX - safe))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(written: u64, applied: u64) -> (Option<Lsn>, Option<EndLsn>) {
        (Some(Lsn(written)), Some(EndLsn(Lsn(applied))))
    }

    #[test]
    fn what_is_left_by_the_rate_of_the_last_half_minute() {
        let mut trend = Trend::default();
        assert_eq!(trend.caught_up_in(CLOSE), None);
        trend.note(0, at(0, 0), None);
        trend.note(100, at(10_000_000, 1_000_000), Some(600));
        assert_eq!(trend.caught_up_in(CLOSE), None, "one note is no rate");
        trend.note(110, at(20_000_000, 21_000_000), Some(500));
        assert_eq!(trend.caught_up_in(9_000_000), Some(9));
        assert_eq!(trend.lost_in(), Some(50));
        trend.note(111, at(90_000_000, 21_000_000), Some(900));
        assert_eq!(trend.lost_in(), None, "the slot moved on");
    }

    #[test]
    fn who_falls_behind_never_catches_up() {
        let mut trend = Trend::default();
        trend.note(0, at(0, 0), None);
        trend.note(10, at(100, 50), None);
        assert_eq!((trend.caught_up_in(CLOSE), trend.caught_up_in(5)), (None, Some(0)));
    }
}
