//! The one order of everything: slot incarnation, then commit LSN, then the ordinal in the transaction.

use super::{CommitLsn, Lsn};
use std::{fmt, str::FromStr};

/// Where a change stands in the one order. Equal positions mean the same change seen again. Compared only within one
/// incarnation's line; a new incarnation sorts behind every older one. Never merged with `max()` across incarnations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Counts the slots that this connector has followed; a failover or a re-created slot is the next one.
    pub incarnation: u32,
    pub commit: CommitLsn,
    /// Counts the row messages of the transaction. A key change takes two neighbouring ordinals.
    pub ordinal: u64,
}

impl Position {
    pub fn new(incarnation: u32, commit: CommitLsn, ordinal: u64) -> Self {
        Self { incarnation, commit, ordinal }
    }

    /// The place before the first change of the transaction that commits at `commit`.
    pub fn start_of(incarnation: u32, commit: CommitLsn) -> Self {
        Self::new(incarnation, commit, 0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.incarnation, self.commit, self.ordinal)
    }
}

/// The text is not `INCARNATION/X/X/ORDINAL`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a position: INCARNATION/LSN/ORDINAL, such as 1/16/B374D848/0")]
pub struct ParsePositionError(pub String);

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParsePositionError(text.to_owned());
        let (incarnation, rest) = text.split_once('/').ok_or_else(wrong)?;
        let (lsn, ordinal) = rest.rsplit_once('/').ok_or_else(wrong)?;
        Ok(Self {
            incarnation: incarnation.parse().map_err(|_| wrong())?,
            commit: CommitLsn(lsn.parse::<Lsn>().map_err(|_| wrong())?),
            ordinal: ordinal.parse().map_err(|_| wrong())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_goes_both_ways_and_orders() {
        let a = Position::new(1, CommitLsn(Lsn(0x16_B374_D848)), 7);
        assert_eq!(a.to_string(), "1/16/B374D848/7");
        assert_eq!(a.to_string().parse(), Ok(a));
        assert!(a < Position::new(1, a.commit, 8));
        assert!(Position::new(1, a.commit, u64::MAX) < Position::new(2, CommitLsn::default(), 0));
        assert!("1/2".parse::<Position>().is_err());
    }
}
