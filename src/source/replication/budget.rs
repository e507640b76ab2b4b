//! The bound on memory: bytes of read buffers that are on their way to the consumer, or pinned by rows it still holds.

use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a chunk costs beside its bytes: its place in the channels, and the feed it becomes.
const OVERHEAD: usize = 512;

/// So many bytes may be in flight.
#[derive(Clone, Debug)]
pub struct Budget {
    room: Arc<Semaphore>,
    total: usize,
}

/// Room for one chunk; freed when the last slice of the chunk is dropped.
pub type Room = OwnedSemaphorePermit;

impl Budget {
    pub fn new(total: usize) -> Self {
        let total = total.clamp(1 << 16, 1 << 30);
        Self { room: Arc::new(Semaphore::new(total)), total }
    }

    /// Waits for room. A chunk larger than the whole waits until it is alone, and passes.
    pub async fn room_for(&self, chunk: &Vec<u8>) -> Room {
        let wanted = (chunk.capacity() + OVERHEAD).min(self.total);
        let wanted = u32::try_from(wanted).expect("the total is at most 1 GiB");
        Arc::clone(&self.room).acquire_many_owned(wanted).await.expect("nobody closes the semaphore")
    }
}

struct Chunk {
    bytes: Vec<u8>,
    _room: Room,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The chunk as shared memory that gives its room back at the end.
pub fn shared(bytes: Vec<u8>, room: Room) -> Bytes {
    Bytes::from_owner(Chunk { bytes, _room: room })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn room_comes_back_with_the_last_slice_and_an_oversized_chunk_passes_alone() {
        let budget = Budget::new(1 << 16);
        let chunk = vec![0; 40_000];
        let room = budget.room_for(&chunk).now_or_never().unwrap();
        let held = shared(chunk, room).slice(..1);
        let huge = vec![0; 1 << 20];
        assert!(budget.room_for(&huge).now_or_never().is_none());
        drop(held);
        assert!(budget.room_for(&huge).now_or_never().is_some());
    }
}
