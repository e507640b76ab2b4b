//! Which changes each table still wants, and how far the slot may be confirmed. Pure.

use crate::change::{CommitLsn, EndLsn, Lsn, Position};

/// Where one table stands in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Takes what lies behind the checkpoint.
    Follow,
    /// Lacks everything from here on, also what lies before the checkpoint; the stream comes from before it.
    Behind(Position),
    /// Takes nothing for now: it lacks everything from here on.
    Halted(Position),
    /// Takes nothing for now: its first copy has not been made, and no one knows yet from where on it will need changes.
    Waiting,
    /// Takes nothing and needs nothing: it is new, and its entry does not fit.
    Misfit,
}

/// The gates of all tables, and the checkpoint they share.
#[derive(Clone, Debug)]
pub struct Gates {
    gates: Vec<Gate>,
    /// The last transaction that the target holds, for those that follow.
    checkpoint: Position,
    end: EndLsn,
    /// The slot stood here when we started: nobody may go further while a table waits.
    floor: EndLsn,
}

impl Gates {
    pub fn new(gates: Vec<Gate>, checkpoint: Position, end: EndLsn, confirmed: EndLsn) -> Self {
        Self { gates, checkpoint, end, floor: confirmed }
    }

    /// Whether a table wants a change.
    pub fn wants(&self, table: usize, position: Position) -> bool {
        match self.gates[table] {
            Gate::Follow => position > self.checkpoint || broken!(ReplaysApplied),
            Gate::Behind(from) => position >= from,
            Gate::Halted(_) | Gate::Waiting | Gate::Misfit => false,
        }
    }

    /// Whether everything that ends here was seen before by every table that takes changes.
    pub fn is_replay(&self, position: Position) -> bool {
        position <= self.checkpoint
    }

    pub fn halt(&mut self, table: usize, from: Position) {
        self.gates[table] = Gate::Halted(from);
    }

    pub fn gate(&self, table: usize) -> Gate {
        self.gates[table]
    }

    /// The stream has brought everything up to the end of this transaction. Gives the tables that catch up, each with what it
    /// lacks now: something that is still before the checkpoint, or nothing.
    pub fn passed(&mut self, position: Position, end: EndLsn) -> Vec<(usize, Option<Position>)> {
        let next = Position::start_of(position.incarnation, CommitLsn(Lsn(position.commit.0.0 + 1)));
        if position > self.checkpoint {
            self.checkpoint = position;
        }
        self.end = self.end.max(end);
        let caught_up = position >= self.checkpoint;
        let mut moved = Vec::new();
        for (table, gate) in self.gates.iter_mut().enumerate() {
            if let Gate::Behind(from) = *gate {
                // a table that was copied under a later snapshot still wants nothing here
                let lacks = (!caught_up || from > next).then(|| from.max(next));
                *gate = lacks.map_or(Gate::Follow, Gate::Behind);
                if lacks != Some(from) {
                    moved.push((table, lacks));
                }
            }
        }
        moved
    }

    /// The source has sent everything up to here, and nothing is open.
    pub fn idle(&mut self, end: EndLsn) -> Vec<(usize, Option<Position>)> {
        if end < self.end {
            return Vec::new();
        }
        self.end = end;
        let mut moved = Vec::new();
        for (table, gate) in self.gates.iter_mut().enumerate() {
            match *gate {
                Gate::Behind(from) if from.commit.0 <= end.0 => {
                    *gate = Gate::Follow;
                    moved.push((table, None));
                }
                _ => {}
            }
        }
        moved
    }

    pub fn checkpoint(&self) -> Position {
        self.checkpoint
    }

    pub fn end(&self) -> EndLsn {
        self.end
    }

    /// How far the slot may be confirmed once the checkpoint is durable.
    pub fn confirmable(&self) -> EndLsn {
        self.gates.iter().fold(self.end, |least, gate| match gate {
            Gate::Follow | Gate::Misfit => least,
            Gate::Behind(from) | Gate::Halted(from) => least.min(EndLsn(from.commit.0)),
            Gate::Waiting => least.min(self.floor),
        })
    }

    /// Every table follows: the target is the source at the checkpoint, if its rows are of one moment.
    pub fn consistent(&self) -> bool {
        self.gates.iter().all(|gate| *gate == Gate::Follow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(commit: u64, ordinal: u64) -> Position {
        Position::new(1, CommitLsn(Lsn(commit)), ordinal)
    }

    fn end(lsn: u64) -> EndLsn {
        EndLsn(Lsn(lsn))
    }

    #[test]
    fn a_halted_table_holds_the_slot_and_the_others_go_on() {
        let mut gates = Gates::new(vec![Gate::Follow, Gate::Follow], at(10, u64::MAX), end(11), end(11));
        assert!(!gates.wants(0, at(10, 3)) && gates.wants(0, at(20, 0)));
        gates.halt(1, at(20, 4));
        assert_eq!(gates.passed(at(20, u64::MAX), end(21)), []);
        assert!(gates.wants(0, at(30, 0)) && !gates.wants(1, at(30, 0)));
        assert_eq!(gates.confirmable(), end(20));
        assert!(!gates.consistent());
    }

    #[test]
    fn a_table_catches_up_while_the_others_skip() {
        let mut gates = Gates::new(vec![Gate::Follow, Gate::Behind(at(20, 4))], at(40, u64::MAX), end(41), end(20));
        assert!(!gates.wants(0, at(20, 4)) && !gates.wants(1, at(20, 3)) && gates.wants(1, at(20, 4)));
        assert_eq!(gates.passed(at(20, u64::MAX), end(21)), [(1, Some(at(21, 0)))]);
        assert!(!gates.wants(1, at(20, 5)) && gates.wants(1, at(30, 0)));
        assert_eq!(gates.confirmable(), end(21));
        assert_eq!(gates.passed(at(40, u64::MAX), end(41)), [(1, None)]);
        assert!(gates.consistent() && !gates.wants(1, at(40, 9)) && gates.wants(1, at(50, 0)));
        assert_eq!(gates.end(), end(41));
    }

    #[test]
    fn a_copy_under_a_later_snapshot_waits_for_its_place() {
        let mut gates = Gates::new(vec![Gate::Behind(at(30, 0))], at(10, u64::MAX), end(11), end(5));
        assert!(!gates.wants(0, at(20, 0)) && gates.wants(0, at(30, 0)));
        // the checkpoint itself moves past 20: what lies between belongs to the snapshot
        gates.passed(at(20, u64::MAX), end(21));
        assert!(!gates.wants(0, at(25, 0)), "still before its snapshot");
    }

    #[test]
    fn a_new_table_that_does_not_fit_holds_nothing() {
        let mut gates = Gates::new(vec![Gate::Follow, Gate::Misfit], at(10, u64::MAX), end(11), end(7));
        gates.passed(at(20, u64::MAX), end(21));
        assert_eq!((gates.confirmable(), gates.consistent(), gates.wants(1, at(30, 0))), (end(21), false, false));
    }

    #[test]
    fn nothing_is_confirmed_while_a_table_waits() {
        let mut gates = Gates::new(vec![Gate::Waiting, Gate::Follow], at(10, u64::MAX), end(11), end(7));
        gates.passed(at(20, u64::MAX), end(21));
        assert_eq!(gates.confirmable(), end(7));
        assert_eq!(gates.idle(end(50)), []);
        assert_eq!((gates.confirmable(), gates.end()), (end(7), end(50)));
    }
}
