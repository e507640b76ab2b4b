//! How much of each partition may lie between the consumer's thread and whoever applies it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// One partition's allowance, in bytes. A partition that used it up is not polled until some comes back; the others go on.
pub(super) struct Credit {
    limit: usize,
    out: AtomicUsize,
    /// The thread wants to hear of it.
    awaited: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Credit {
    /// `wake` is called when there is credit again after [`Credit::is_left`] had to say no.
    pub fn new(limit: usize, wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { limit, out: AtomicUsize::new(0), awaited: AtomicBool::new(false), wake: Box::new(wake) })
    }

    /// Whether more may be handed out. One message larger than the limit goes when nothing else is out.
    pub fn is_left(&self) -> bool {
        let left = || self.out.load(Ordering::SeqCst) < self.limit;
        if left() {
            return true;
        }
        self.awaited.store(true, Ordering::SeqCst);
        // some may have come back before the wish was seen
        left()
    }

    pub fn take(self: &Arc<Self>, bytes: usize) -> Lease {
        self.out.fetch_add(bytes, Ordering::SeqCst);
        Lease { credit: Arc::clone(self), bytes }
    }
}

/// Bytes that are out. Its end gives them back.
pub(super) struct Lease {
    credit: Arc<Credit>,
    bytes: usize,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let left = self.credit.out.fetch_sub(self.bytes, Ordering::SeqCst) - self.bytes;
        if left < self.credit.limit && self.credit.awaited.swap(false, Ordering::SeqCst) {
            (self.credit.wake)();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_had_to_wait_is_woken_once() {
        let woken = Arc::new(AtomicUsize::new(0));
        let credit = Credit::new(10, {
            let woken = Arc::clone(&woken);
            move || {
                woken.fetch_add(1, Ordering::SeqCst);
            }
        });
        let first = credit.take(8);
        assert!(credit.is_left());
        let second = credit.take(50);
        assert!(!credit.is_left());
        drop(first);
        assert_eq!(woken.load(Ordering::SeqCst), 0);
        drop(second);
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        assert!(credit.is_left());
        drop(credit.take(99));
        assert_eq!(woken.load(Ordering::SeqCst), 1);
    }
}
