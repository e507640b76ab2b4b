//! The stream and the copy take turns. While a chunk is read and written, no change of the stream is handed on; so nothing has to be
//! remembered and laid over its rows: the chunk stands between two transactions, and its snapshot has only to see what came before. What
//! comes behind and was seen already is done again, which ends in the same rows.

use crate::chunk::{Emitted, Must, Snapshot};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Whose turn it is. Fair: whoever asked first comes first, so neither side starves.
#[derive(Clone, Default)]
pub struct Turns(Arc<Inner>);

#[derive(Default)]
struct Inner {
    turn: Arc<RwLock<()>>,
    emitted: Mutex<Emitted>,
    /// The stream has something to hand on and waits for us.
    waiting: AtomicUsize,
}

/// The stream's turn: until it is dropped, no chunk is under way.
pub struct StreamTurn(#[allow(dead_code, reason = "it is held, not used")] OwnedRwLockWriteGuard<()>);

/// A chunk's turn: until it is dropped, the stream stands still. Chunks have theirs together.
pub struct ChunkTurn {
    turns: Turns,
    guard: Option<OwnedRwLockReadGuard<()>>,
}

impl Turns {
    /// Waits for the chunks that are under way.
    pub async fn stream(&self) -> StreamTurn {
        let _waits = Waits::new(&self.0.waiting);
        StreamTurn(Arc::clone(&self.0.turn).write_owned().await)
    }

    /// Waits for the stream.
    pub async fn chunk(&self) -> ChunkTurn {
        let turn = if broken!(NoTurns) { Arc::default() } else { Arc::clone(&self.0.turn) };
        ChunkTurn { turns: self.clone(), guard: Some(turn.read_owned().await) }
    }

    /// The stream is about to hand on changes of these transactions. In its turn.
    pub fn emits(&self, _turn: &StreamTurn, xids: &[u32]) {
        let mut emitted = self.emitted();
        let xids = if broken!(EmitsNothing) { &[] } else { xids };
        xids.iter().for_each(|&xid| emitted.add(xid));
    }

    /// A barrier is to be drawn before the next chunk.
    pub fn want_barrier(&self) -> bool {
        self.emitted().must().is_none()
    }

    fn emitted(&self) -> MutexGuard<'_, Emitted> {
        self.0.emitted.lock().expect("nothing panics while it holds the lock")
    }
}

impl ChunkTurn {
    /// What a snapshot that is taken from now on must see; `None`: a barrier is wanted first.
    pub fn must(&self) -> Option<Must> {
        self.turns.emitted().must()
    }

    /// A snapshot that was taken in this turn after an own transaction id had been drawn.
    pub fn barrier(&self, snapshot: &Snapshot) {
        self.turns.emitted().barrier(snapshot);
    }

    pub fn seen(&self, by: &Snapshot) {
        self.turns.emitted().seen(by);
    }

    /// The stream goes on: it brings nothing to the table.
    pub fn release(&mut self) {
        self.guard = None;
    }

    /// It does, while the chunk is read and written.
    pub fn is_released(&self) -> bool {
        self.guard.is_none()
    }

    /// The stream waits for us.
    pub fn is_waited_for(&self) -> bool {
        !self.is_released() && self.turns.0.waiting.load(Relaxed) > 0
    }
}

struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn chunks_go_together_and_the_stream_alone() {
        let turns = Turns::default();
        let (one, other) = (turns.chunk().await, turns.chunk().await);
        let mut stream = Box::pin(turns.stream());
        assert!((&mut stream).now_or_never().is_none());
        assert!(one.is_waited_for());
        let mut third = Box::pin(turns.chunk());
        assert!((&mut third).now_or_never().is_none(), "behind the stream, which asked first");
        drop((one, other));
        let turn = stream.await;
        assert!((&mut third).now_or_never().is_none());
        turns.emits(&turn, &[7]);
        drop(turn);
        let mut third = third.await;
        assert_eq!(third.must(), None, "no barrier yet");
        let stream = turns.stream();
        third.release();
        stream.await;
        assert!(!third.is_waited_for());
    }
}
