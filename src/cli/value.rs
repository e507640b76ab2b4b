//! Values of options.

use crate::change::{EndLsn, Lsn};
use std::{str::FromStr, time::Duration};

/// `--lsn` and `--endpos`: a place in the source's WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// What is committed on the source now: drawn once, by a mark of our own.
    Current,
    At(EndLsn),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "current" => Ok(Place::Current),
            _ => text.parse::<Lsn>().map(|lsn| Place::At(EndLsn(lsn))).map_err(|wrong| format!("{wrong}, or `current`")),
        }
    }
}

/// A time such as `500ms`, `60s`, `5m`, `2h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time, such as 500ms, 60s, 5m or 2h");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_times() {
        assert_eq!("current".parse(), Ok(Place::Current));
        assert_eq!("1/A".parse(), Ok(Place::At(EndLsn(Lsn(0x1_0000_000A)))));
        assert!("now".parse::<Place>().unwrap_err().contains("`current`"));
        for (text, millis) in [("500ms", 500), ("60s", 60_000), ("5m", 300_000), ("2h", 7_200_000), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "60", "s", "-1s", "1 s", "99999999999999999999s", "18446744073709551615h", "1d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
