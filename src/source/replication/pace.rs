//! How the reader sets the walsender's pace. Pure.
//!
//! A walsender makes one `send` a message. A reader that empties the socket at once makes each of them a segment with its own
//! trip through the stack; one with a small window that naps while there is plenty lets the sender's kernel join them, for
//! twice the rate at less than half the walsender's CPU (measured). Over a network with a real round trip the window must be
//! large instead, and where little comes there must be no nap, for latency.

use std::time::{Duration, Instant};

/// SO_RCVBUF of a napping reader, in bytes. What comes before it is full comes in small segments.
pub const SMALL_WINDOW: usize = 32 * 1024;
/// Only closer servers are read with naps.
pub const NEAR: Duration = Duration::from_millis(1);
/// No busy server answers every question so late.
pub const FAR: Duration = Duration::from_millis(20);
/// The socket is emptied between two naps. What a nap brings in all decides how long the next one is.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(16);
const LITTLE: usize = 16 * SMALL_WINDOW;
const MUCH: usize = 48 * SMALL_WINDOW;
/// A read that brings less has emptied the socket.
const LAST: usize = SMALL_WINDOW / 2;
/// Plenty is this much within this time.
const PLENTY: usize = 16 * 1024;
const WITHIN: Duration = Duration::from_millis(2);

/// Whether to nap.
#[derive(Debug)]
pub struct Pace {
    naps: bool,
    since: Option<Instant>,
    bytes: usize,
    nap: Duration,
}

impl Pace {
    pub fn new(round_trip: Duration) -> Self {
        Self { naps: round_trip < NEAR, since: None, bytes: 0, nap: SHORTEST }
    }

    /// `bytes` were read just now: how long to leave the socket alone.
    pub fn after(&mut self, now: Instant, bytes: usize) -> Option<Duration> {
        if !self.naps {
            return None;
        }
        match self.since {
            Some(since) if now.duration_since(since) <= WITHIN => self.bytes += bytes,
            _ => (self.since, self.bytes) = (Some(now), bytes),
        }
        if self.bytes < PLENTY || bytes >= LAST {
            return None;
        }
        if self.bytes < LITTLE {
            self.nap = (2 * self.nap).min(LONGEST);
        } else if self.bytes > MUCH {
            self.nap = (self.nap / 2).max(SHORTEST);
        }
        self.since = None;
        Some(self.nap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plenty_from_nearby_naps() {
        let start = Instant::now();
        let mut near = Pace::new(Duration::from_micros(100));
        assert_eq!(near.after(start, 60_000), None, "the socket is emptied first");
        assert_eq!(near.after(start, 300), Some(2 * SHORTEST));
        assert_eq!(near.after(start, 300), None);
        let drip = (1..1000).filter_map(|ms| near.after(start + Duration::from_millis(ms), 600));
        assert_eq!(drip.count(), 0, "a thousand small transactions a second");
        let stream = (0..1000).filter_map(|n| near.after(start + Duration::from_secs(2) + 10 * Duration::from_micros(n), 400));
        assert!(stream.count() > 10, "an eager reader of a backlog sees small reads only");
        assert_eq!(Pace::new(Duration::from_millis(50)).after(start, 1 << 20), None);
    }
}
