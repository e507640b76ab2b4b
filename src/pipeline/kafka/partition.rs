//! One partition that this process applies, and the work that a delivery brings for it.

use crate::apply::Item;
use crate::change::{Position, UnixMicros};
use crate::log::kafka::Partition;
use tokio::time::Instant;

/// What a partition is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doing {
    Running,
    /// A change meets a row in its way, or misses its parent: that may pass by itself.
    Stuck {
        since: Instant,
        again: Instant,
    },
    /// Stands before a marker until all partitions of the topic do.
    Barrier {
        marker: String,
        offset: i64,
    },
    /// Its table is halted, here or in another partition of ours.
    Halted {
        again: Instant,
    },
    /// Its table's rule does not fit the target: nothing is tried before a new life.
    Broken,
}

/// A partition that is ours.
#[derive(Clone, Debug)]
pub struct Share {
    pub partition: Partition,
    /// Which table.
    pub spec: usize,
    /// Drawn when the partition became ours; each transaction checks it.
    pub epoch: i64,
    pub capture_epoch: i64,
    /// Of the last change applied: what is not behind it was seen before.
    pub position: Option<Position>,
    pub next_offset: i64,
    pub doing: Doing,
    /// When the change that it is stuck at was first refused.
    pub stuck_since: Option<Instant>,
    /// It is to blame that its table is halted, and has not moved since.
    pub halted: bool,
    /// When the first change that it received and has not applied was committed.
    pub waiting: Option<UnixMicros>,
}

/// What all partitions of a topic do together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    Truncate(Position),
    /// A copy's attempt begins: what earlier ones brought is void, and so is what a capture of an older epoch still sends.
    Reset {
        attempt: String,
        epoch: i64,
    },
}

impl Marker {
    /// As the barrier's table has it. Resets of later attempts sort behind.
    pub fn name(&self) -> String {
        match self {
            Marker::Truncate(position) => format!("t:{position}"),
            Marker::Reset { attempt, .. } => format!("r:{attempt}"),
        }
    }
}

/// Changes for one partition, with what its checkpoint will be.
#[derive(Debug, Default)]
pub struct Work {
    pub items: Vec<Item>,
    /// The offset of each item's message, the position before it, and the newest capture up to it.
    pub places: Vec<(i64, Option<Position>, i64)>,
    /// When each item was committed.
    pub times: Vec<UnixMicros>,
    /// When the log was given each source transaction.
    pub sent: Vec<UnixMicros>,
    pub next_offset: i64,
    pub position: Option<Position>,
    pub capture_epoch: i64,
    /// Requests for a re-read that the items answer, with their messages' offsets.
    pub answered: Vec<(i64, i64)>,
    /// Behind the items.
    pub marker: Option<(Marker, i64)>,
    /// Behind the items stands an event that cannot be read.
    pub unreadable: Option<String>,
}

impl Work {
    /// Nothing moved. A marker of a capture that is new here moves something: what its predecessor sends behind it is void.
    pub fn is_idle(&self, share: &Share) -> bool {
        let is_known = self.capture_epoch == share.capture_epoch;
        self.items.is_empty() && self.next_offset == share.next_offset && is_known
    }

    /// Only what comes before item `at`; the checkpoint stands before its message.
    pub fn before(&mut self, at: usize) {
        let (offset, position, capture_epoch) = self.places[at];
        let first = self.places.iter().position(|(other, ..)| *other == offset).unwrap_or(at);
        self.items.truncate(first);
        self.places.truncate(first);
        self.times.truncate(first);
        self.answered.retain(|(at, _)| *at < offset);
        self.next_offset = offset;
        self.position = position;
        // a newer capture that comes behind it would make void what its predecessor sent before that
        if !broken!(CaptureOfBehind) {
            self.capture_epoch = capture_epoch;
        }
        self.marker = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What an earlier capture sent behind the refused row is still to be applied: no newer one may be known there yet.
    #[test]
    fn a_batch_cut_short_knows_no_capture_from_behind_the_cut() {
        let mut work =
            Work { places: vec![(5, None, 1), (6, None, 1), (9, None, 2)], capture_epoch: 2, next_offset: 10, ..Work::default() };
        work.before(1);
        assert_eq!((work.next_offset, work.capture_epoch, work.places.len()), (6, 1, 1));
    }
}
