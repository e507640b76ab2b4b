//! Whether a snapshot sees what the stream has already brought. A commit is in the WAL, and so in our stream, before its transaction is
//! visible to others; a synchronous standby that is away makes that window long. A chunk read in it would lay older rows over newer ones.

use std::str::FromStr;

/// `pg_current_snapshot()` (PostgreSQL's manual, 9.27.8): which top-level transactions it sees, by their 64-bit ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// One past the last transaction that had ended.
    xmax: u64,
    /// Those below that had not, ascending.
    running: Vec<u64>,
}

/// The text is not `XMIN:XMAX:XID,...`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a snapshot: xmin, xmax and a list of transactions, such as 10:20:10,14")]
pub struct ParseSnapshotError(pub String);

impl FromStr for Snapshot {
    type Err = ParseSnapshotError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseSnapshotError(text.to_owned());
        let mut parts = text.splitn(3, ':');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok()).ok_or_else(wrong);
        let (_, xmax) = (number()?, number()?);
        let list = parts.next().ok_or_else(wrong)?;
        let listed = list.split(',').filter(|xid| !xid.is_empty()).map(|xid| xid.parse::<u64>().map_err(|_| wrong()));
        let mut running = listed.collect::<Result<Vec<_>, _>>()?;
        running.sort_unstable();
        Ok(Self { xmax, running })
    }
}

impl Snapshot {
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmax && self.running.binary_search(&xid).is_err()
    }

    /// The transactions that ran when it was taken, as far as it knows them.
    pub fn running(&self) -> &[u64] {
        &self.running
    }

    /// A transaction of the stream: pgoutput's 32 bits are those of the id nearest to `xmax`.
    fn widened(&self, xid: u32) -> u64 {
        let near = self.xmax & !u64::from(u32::MAX) | u64::from(xid);
        if broken!(NarrowXid) {
            return near;
        }
        let (half, turn) = (1_u64 << 31, 1_u64 << 32);
        if near > self.xmax && near - self.xmax >= half {
            near.saturating_sub(turn)
        } else if near < self.xmax && self.xmax - near > half {
            near + turn
        } else {
            near
        }
    }
}

/// What the stream has brought since it was opened, as far as a snapshot may still not see it.
///
/// A stream that begins has transactions behind it that are confirmed, or skipped as replays, and may not be visible yet. They are not known
/// one by one. So the first that is asked of it is a *barrier*: an own transaction id is drawn (and given back by a rollback), and then a
/// snapshot is taken; whatever is in the WAL by then is seen by it or is in its list of running transactions. Without the own id it would not
/// be: `xmax` is one past the last transaction that *ended*, and one that waits above it is in no list.
#[derive(Debug, Default)]
pub struct Emitted {
    /// Running when the barrier was drawn, and not seen to have ended since; `None`: a barrier is wanted.
    barrier: Option<Vec<u64>>,
    since: Vec<u32>,
}

/// What a chunk's snapshot must see. Fixed when the chunk is registered: what a younger snapshot of another chunk sees says nothing of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Must {
    barrier: Vec<u64>,
    since: Vec<u32>,
}

impl Emitted {
    /// More are not remembered one by one (8 bytes each, all told): a new barrier takes their place.
    const MOST: usize = if cfg!(test) { 6 } else { 100_000 };

    /// The stream brings a transaction: before its first change is handed on.
    pub fn add(&mut self, xid: u32) {
        if self.barrier.is_none() || self.since.last() == Some(&xid) {
            return;
        }
        self.since.push(xid);
        if self.since.len() > Self::MOST && broken!(ForgetsEmitted) {
            self.since.clear();
        }
        if self.since.len() > Self::MOST {
            *self = Self::default();
        }
    }

    /// A snapshot that was taken after an own transaction id was drawn, while the stream stood still.
    pub fn barrier(&mut self, snapshot: &Snapshot) {
        self.barrier = Some(snapshot.running.clone());
        self.since.clear();
    }

    /// What a snapshot that is taken from now on must see; `None`: a barrier is wanted first.
    pub fn must(&self) -> Option<Must> {
        Some(Must { barrier: self.barrier.clone()?, since: self.since.clone() })
    }

    /// What one snapshot has seen, all later ones see.
    pub fn seen(&mut self, by: &Snapshot) {
        if let Some(barrier) = &mut self.barrier {
            barrier.retain(|&xid| !by.sees(xid));
        }
        self.since.retain(|&xid| !by.sees(by.widened(xid)));
    }
}

impl Must {
    /// A transaction that the snapshot lacks.
    pub fn lacks(&self, snapshot: &Snapshot) -> Option<u64> {
        if broken!(LateIgnored) {
            return None;
        }
        let since = self.since.iter().map(|&xid| snapshot.widened(xid));
        let barrier: &[u64] = if broken!(NoBarrier) { &[] } else { &self.barrier };
        barrier.iter().copied().chain(since).find(|&xid| !snapshot.sees(xid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        text.parse().unwrap()
    }

    #[test]
    fn text_becomes_a_snapshot() {
        let seen = snapshot("10:20:10,14");
        assert!(seen.sees(9) && !seen.sees(10) && seen.sees(11) && !seen.sees(14) && seen.sees(19) && !seen.sees(20));
        assert!(snapshot("5:5:").sees(4));
        for text in ["", "1:2", "a:2:", "1:2:x"] {
            assert!(text.parse::<Snapshot>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_streams_short_ids_are_those_near_by() {
        let turn = 1_u64 << 32;
        let late = Snapshot { xmax: 3 * turn + 5, running: vec![] };
        assert_eq!(late.widened(4), 3 * turn + 4);
        assert_eq!(late.widened(u32::MAX), 3 * turn - 1, "before the wrap");
        let early = Snapshot { xmax: 3 * turn - 5, running: vec![] };
        assert_eq!(early.widened(7), 3 * turn + 7, "behind it");
        assert!(!early.sees(early.widened(7)));
    }

    #[test]
    fn nothing_is_read_before_the_barrier_and_what_ran_then_is_waited_for() {
        let mut emitted = Emitted::default();
        emitted.add(3);
        assert_eq!(emitted.must(), None);
        emitted.barrier(&snapshot("10:20:10,14"));
        emitted.add(21);
        emitted.add(21);
        let must = emitted.must().unwrap();
        assert_eq!(must.lacks(&snapshot("14:30:14")), Some(14));
        assert_eq!(must.lacks(&snapshot("21:30:21")), Some(21), "emitted, and not yet visible");
        assert_eq!(must.lacks(&snapshot("30:30:")), None);
        emitted.seen(&snapshot("14:30:14,21"));
        assert_eq!(emitted.must().unwrap(), Must { barrier: vec![14], since: vec![21] });
        assert_eq!(must.lacks(&snapshot("10:30:10")), Some(10), "a chunk's own list stays as it was");
    }

    #[test]
    fn too_much_to_remember_becomes_a_barrier() {
        let mut emitted = Emitted::default();
        emitted.barrier(&snapshot("1:1:"));
        (0..=u32::try_from(Emitted::MOST).unwrap()).for_each(|xid| emitted.add(xid));
        assert_eq!(emitted.must(), None);
    }
}
