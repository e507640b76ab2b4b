//! What we tell the server about our progress: the rules of the standby status update (PostgreSQL's manual, 55.4). Pure.

use crate::change::{EndLsn, Lsn};
use bytes::{BufMut, BytesMut};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const EPOCH_2000: Duration = Duration::from_secs(946_684_800);

/// How far the stream was received and confirmed.
///
/// The server's fast shutdown waits until its sent position equals our flush position or, where that is zero, our write position.
/// A flush position held below what was received would hang it, so the last word is then always flush 0 and write = received;
/// zero takes nothing back of what was confirmed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    received: EndLsn,
    confirmed: EndLsn,
    /// The highest flush position the server knows. Never sent lower: up to 2025 a server moved a slot backwards then.
    told: EndLsn,
}

/// One standby status update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    pub write: Lsn,
    pub flush: Lsn,
}

impl Progress {
    /// `start`: where the stream was asked to begin; `slot`: the slot's confirmed position then.
    pub fn new(start: EndLsn, slot: EndLsn) -> Self {
        Self { received: start.max(slot), confirmed: slot, told: slot }
    }

    pub fn received(&mut self, end: EndLsn) {
        self.received = self.received.max(end);
    }

    /// `true` if that is news for the server.
    pub fn confirm(&mut self, end: EndLsn) -> bool {
        self.confirmed = self.confirmed.max(end);
        self.received = self.received.max(self.confirmed);
        self.confirmed > self.told
    }

    /// What to send now, in this order.
    pub fn statuses(&mut self) -> impl Iterator<Item = Status> + use<> {
        let (write, level) = (self.received.0, self.confirmed == self.received);
        let moved = level || self.confirmed > self.told;
        self.told = self.confirmed;
        let flush = moved.then_some(Status { write, flush: self.confirmed.0 });
        flush.into_iter().chain((!level).then_some(Status { write, flush: Lsn(0) }))
    }
}

impl Status {
    /// Writes it as a CopyData message. `ask`: the server shall answer at once.
    pub fn write_to(self, ask: bool, out: &mut BytesMut) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH + EPOCH_2000).unwrap_or_default();
        out.put_u8(b'd');
        out.put_u32(38);
        out.put_u8(b'r');
        out.put_u64(self.write.0);
        out.put_u64(self.flush.0);
        out.put_u64(self.flush.0); // applied; nobody reads it for a logical slot
        out.put_u64(now.as_micros() as u64);
        out.put_u8(u8::from(ask));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn end(lsn: u64) -> EndLsn {
        EndLsn(Lsn(lsn))
    }

    fn sent(progress: &mut Progress) -> Vec<(u64, u64)> {
        progress.statuses().map(|status| (status.write.0, status.flush.0)).collect()
    }

    #[test]
    fn a_held_position_never_stands_as_the_last_word() {
        let mut progress = Progress::new(end(0), end(100));
        assert_eq!(sent(&mut progress), [(100, 100)], "nothing in flight");
        progress.received(end(500));
        assert_eq!(sent(&mut progress), [(500, 0)]);
        assert!(progress.confirm(end(300)));
        assert_eq!(sent(&mut progress), [(500, 300), (500, 0)], "moved, but behind");
        assert_eq!(sent(&mut progress), [(500, 0)], "not twice");
        assert!(progress.confirm(end(500)));
        assert_eq!(sent(&mut progress), [(500, 500)]);
    }

    #[test]
    fn nothing_goes_backwards() {
        let mut progress = Progress::new(end(0), end(100));
        progress.received(end(50)); // the server reads from the slot's restart position and says so
        assert!(!progress.confirm(end(50)));
        assert_eq!(sent(&mut progress), [(100, 100)]);
        progress.received(end(200));
        assert!(progress.confirm(end(150)));
        assert!(progress.confirm(end(120)), "what was confirmed was not told yet");
        assert_eq!(sent(&mut progress), [(200, 150), (200, 0)]);
        assert!(!progress.confirm(end(140)));
    }

    #[test]
    fn a_start_ahead_of_the_slot_is_not_a_confirmation() {
        assert_eq!(sent(&mut Progress::new(end(200), end(100))), [(200, 0)]);
    }

    #[test]
    fn the_message_has_its_lengths() {
        let mut out = BytesMut::new();
        Status { write: Lsn(2), flush: Lsn(1) }.write_to(true, &mut out);
        assert_eq!(out.len(), 39);
        assert_eq!(&out[..14], b"d\0\0\0\x26r\0\0\0\0\0\0\0\x02");
        assert_eq!(out[38], 1);
    }
}
