//! What becomes of a failure. Decided once, from types, beside the error it belongs to; never from message text.

/// The three fates of a failure. See the map, "Three fates".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The world is away: back off and try again, for ever, while polling goes on.
    Retry,
    /// This one change is bad: until letters exist, its table halts and the others go on.
    Reject,
    /// A belief is wrong: stop (this table, or the connector), keep the slot, say what to do.
    Halt,
}
