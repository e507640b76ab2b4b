//! One event's bytes, in buffers that are used again for the next.

use std::ops::Range;

/// A larger buffer is not kept, in bytes.
pub const LARGE: usize = 1 << 20;

/// Key, value and headers of one event. Belongs to the caller, who keeps it from event to event.
#[derive(Clone, Default)]
pub struct Frame {
    pub(super) key: Vec<u8>,
    pub(super) keyed: bool,
    pub(super) value: Vec<u8>,
    pub(super) valued: bool,
    headers: Vec<(&'static str, Range<usize>)>,
    header_text: Vec<u8>,
}

impl Frame {
    /// `None` for keyless tables, truncates and resets.
    pub fn key(&self) -> Option<&[u8]> {
        self.keyed.then_some(&self.key)
    }

    /// `None` for a tombstone.
    pub fn value(&self) -> Option<&[u8]> {
        self.valued.then_some(&self.value)
    }

    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.headers.iter().map(|(name, at)| (*name, &self.header_text[at.clone()]))
    }

    /// Gives back what a large event took.
    pub fn slim(&mut self) {
        if self.value.capacity() > LARGE {
            self.value = Vec::new();
        }
    }

    /// Makes this delete's event its own tombstone: same key and headers, no value. `false` where there is none to send, for a tombstone
    /// without a key says nothing.
    pub fn into_tombstone(&mut self) -> bool {
        self.valued = false;
        self.keyed
    }

    /// Bytes that the log will keep, about.
    pub fn weight(&self) -> usize {
        self.key().map_or(0, <[u8]>::len) + self.value().map_or(0, <[u8]>::len) + self.header_text.len()
    }

    pub(super) fn clear(&mut self) {
        self.key.clear();
        self.value.clear();
        self.headers.clear();
        self.header_text.clear();
        (self.keyed, self.valued) = (false, true);
    }

    /// Adds a header whose text `write` appends.
    pub(super) fn header(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.header_text.len();
        write(&mut self.header_text);
        self.headers.push((name, start..self.header_text.len()));
    }
}

impl std::fmt::Debug for Frame {
    /// Sizes only: a frame holds a row's values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame").field("key", &self.key().map(<[u8]>::len)).field("value", &self.value().map(<[u8]>::len)).finish()
    }
}
